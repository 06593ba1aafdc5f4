//! A copy that is killed leaves no tag that lies, and is completed by doing it again.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use bytes::Bytes;
use oci::{Descriptor, Digest, LayoutStore, MemoryStore, Selector, Store, copy_graph};
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};
use testkit::{Output, Workspace};

use super::{all, contents, graph, repository, tag};
use crate::layout::push_image;

/// How often, spread over the whole of a copy.
const KILLS: usize = 12;

/// A registry that takes its time.
fn slow() -> TestRegistry {
    let kind = FaultKind::Slow(Duration::from_millis(2));
    TestRegistry::start(Switches {
        faults: vec![Fault::first(usize::MAX, "/v2/", kind)],
        ..Switches::default()
    })
}

/// An index with a few referrers, and all that belongs to it.
async fn push(store: &dyn Store) -> (Descriptor, BTreeMap<Digest, Bytes>) {
    let source = MemoryStore::new();
    let root = graph(&source).await;
    for number in 0..10 {
        push_image(&source, &[number], Some(&root)).await;
    }
    copy_graph(&source, store, &root, &all(), &())
        .await
        .unwrap();
    store.tag(&root, &tag("v1")).await.unwrap();
    (root.clone(), contents(&source, &root).await)
}

/// Whether the tag is there; if so, all must be.
async fn is_tagged(store: &dyn Store, expected: &BTreeMap<Digest, Bytes>) -> bool {
    match store.resolve(&Selector::Tag(tag("v1"))).await {
        Ok(root) => {
            assert_eq!(contents(store, &root).await, *expected, "it is half tagged");
            true
        }
        Err(error) => {
            assert!(error.is_not_found(), "{error}");
            false
        }
    }
}

fn start(workspace: &Workspace, from: &str, to: &str) -> Child {
    workspace
        .sealpack(["copy", "--referrers", from, to])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills `child` once `steps` says that it did so many. Whether it was still at it.
fn kill_at(mut child: Child, count: usize, steps: impl Fn() -> usize) -> bool {
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if steps() >= count {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread")]
async fn into_a_layout() {
    let workspace = Workspace::new();
    let registry = slow();
    let (_, expected) = push(&repository(&registry.host(), "app")).await;
    let from = format!("{}/app:v1", registry.host());
    let steps = |name: &str| {
        // Its files, and once more when the first one is listed, and so on to the tag.
        let folder = workspace.join(name);
        let index = std::fs::metadata(folder.join("index.json")).map_or(0, |it| it.len());
        files(&folder.join("blobs/sha256")) + usize::try_from(index).unwrap() / 500
    };
    Output::of(&mut workspace.sealpack(["copy", "--referrers", &from, "oci:whole:v1"])).expect(0);
    let all = steps("whole");
    let mut interrupted = 0;
    for turn in 0..KILLS {
        let name = format!("layout-{turn}");
        let to = format!("oci:{name}:v1");
        let child = start(&workspace, &from, &to);
        let was_killed = kill_at(child, all * turn / (KILLS - 1), || steps(&name));
        let path = workspace.join(&name);
        if path.join("oci-layout").exists() {
            let store = LayoutStore::open(&path).unwrap();
            let is_tagged = is_tagged(&store, &expected).await;
            interrupted += usize::from(was_killed && !is_tagged);
        }
        Output::of(&mut workspace.sealpack(["copy", "--referrers", &from, &to])).expect(0);
        let store = LayoutStore::open(&path).unwrap();
        assert!(is_tagged(&store, &expected).await);
    }
    assert!(
        interrupted > KILLS / 3,
        "only {interrupted} were interrupted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn into_a_registry() {
    let workspace = Workspace::new();
    let layout = LayoutStore::create(workspace.join("layout")).unwrap();
    let (_, expected) = push(&layout).await;
    let run = |to: &str| {
        let words = ["copy", "--referrers", "oci:layout:v1", to];
        Output::of(&mut workspace.sealpack(words)).expect(0)
    };
    for no_referrers_api in [false, true] {
        let registry = slow();
        registry.set(|it| it.no_referrers_api = no_referrers_api);
        run(&format!("{}/whole:v1", registry.host()));
        let all = registry.take_requests().len();
        let mut interrupted = 0;
        for turn in 0..KILLS {
            let name = format!("copy-{turn}");
            let to = format!("{}/{name}:v1", registry.host());
            registry.take_requests();
            let child = start(&workspace, "oci:layout:v1", &to);
            let steps = || registry.requests().len();
            let was_killed = kill_at(child, all * (turn + 1) / KILLS, steps);
            let store = repository(&registry.host(), &name);
            let is_tagged_now = is_tagged(&store, &expected).await;
            interrupted += usize::from(was_killed && !is_tagged_now);
            run(&to);
            // Another view: what the first one knows of the registry may be out of date.
            let store = repository(&registry.host(), &name);
            assert!(is_tagged(&store, &expected).await);
        }
        assert!(
            interrupted > KILLS / 3,
            "only {interrupted} were interrupted"
        );
    }
}
