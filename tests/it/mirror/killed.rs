//! A run that is killed leaves no tag that lies, and is completed by another run.

use std::process::Stdio;
use std::time::Duration;

use testkit::registry::{Fault, FaultKind};

use super::*;

/// How often, spread over the whole of a run.
const KILLS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_run_again() {
    let site = Site::new();
    let from = TestRegistry::start(Switches::default());
    let fleet: Fleet = fleet(&from.host(), &site.key).await;
    let source: Vec<_> = (0..4)
        .map(|it| format!("{}/team/app{it}:v*", from.host()))
        .collect();
    let fleet: Fleet = fleet
        .into_iter()
        .filter(|((name, _), _)| source.iter().any(|it| it.contains(name.as_str())))
        .collect();
    let slow = FaultKind::Slow(Duration::from_millis(2));
    let to = TestRegistry::start(Switches {
        faults: vec![Fault::first(usize::MAX, "/v2/", slow)],
        ..Switches::default()
    });
    let host = to.host();
    let command = |prefix: &str| {
        let destination = format!("{host}/{prefix}/");
        let mut words = vec!["mirror"];
        words.extend(source.iter().map(String::as_str));
        words.extend([&*destination, "--policy", "policy"]);
        site.workspace.sealpack(words)
    };
    to.take_requests();
    Output::of(&mut command("whole")).expect(0);
    let all = to.take_requests().len();
    let mut interrupted = 0;
    for turn in 0..KILLS {
        let prefix = format!("turn{turn}");
        to.take_requests();
        let mut child = command(&prefix)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while to.requests().len() < all * turn / KILLS && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What has a tag is whole.
        let mut missing = 0;
        for ((name, version), (root, expected)) in &fleet {
            let store = repository(&host, &format!("{prefix}/{name}"));
            match tagged(&store, version).await {
                Some(found) => {
                    assert_eq!(found.digest, root.digest);
                    assert_eq!(contents(&store, root).await, *expected, "it is half tagged");
                }
                None => missing += 1,
            }
        }
        interrupted += usize::from(missing > 0);
        Output::of(&mut command(&prefix)).expect(0);
        is_mirrored(&fleet, None, |name| {
            repository(&host, &format!("{prefix}/{name}"))
        })
        .await;
    }
    assert!(
        interrupted > KILLS / 3,
        "only {interrupted} were interrupted"
    );
}
