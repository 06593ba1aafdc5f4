//! Images that come out of a daemon.

use std::time::Duration;

use oci::store::{DaemonOptions, DaemonProblem};
use oci::{Digest, Limits, MemoryStore, Selector, Store, StoreError, Upload, copy_graph};
use serde_json::json;
use testkit::Workspace;
use testkit::daemon::{DaemonFault, DaemonSwitches, TestDaemon};

use super::{daemon_at, image_id, layer, podman, push_image, quick};

/// A daemon that has `app:v1` and `other:v9`, with these faults; and the image IDs.
async fn daemons(faults: Vec<(&'static str, DaemonFault)>) -> (TestDaemon, [Digest; 2]) {
    let working = TestDaemon::start(DaemonSwitches::default());
    let client = daemon_at(&working.host(), quick());
    let store = MemoryStore::new();
    let mut ids = Vec::new();
    for (name, tag) in [("app", "v1"), ("other", "v9")] {
        let image = push_image(&store, &[name], &[name]).await;
        let (repository, tag) = (name.parse().unwrap(), tag.parse().unwrap());
        let load = client.load(&store, &image, None, &repository, &tag, &());
        load.await.unwrap();
        ids.push(image_id(&store, &image).await);
    }
    if faults.is_empty() {
        return (working, ids.try_into().unwrap());
    }
    let daemon = TestDaemon::start(DaemonSwitches {
        faults,
        ..DaemonSwitches::default()
    });
    daemon.take_images(&working);
    (daemon, ids.try_into().unwrap())
}

fn by_tag(name: &str) -> Selector {
    Selector::Tag(name.parse().unwrap())
}

fn cause(error: &StoreError) -> &DaemonProblem {
    let StoreError::Unavailable { source, .. } = error else {
        panic!("{error:?}");
    };
    source.downcast_ref().unwrap()
}

/// A process that is killed leaves nothing behind: there is nothing at any time.
#[tokio::test]
async fn what_comes_has_no_name_on_the_disk() {
    let (daemon, _) = daemons(vec![("/get", DaemonFault::Stalls("begins"))]).await;
    let workspace = Workspace::new();
    let temporary = workspace.join("temporary");
    fs_err::create_dir(&temporary).unwrap();
    let options = DaemonOptions {
        temporary: temporary.clone(),
        silence_timeout: Duration::from_secs(1),
        ..quick()
    };
    let store = daemon_at(&daemon.host(), options).store(&"app".parse().unwrap());
    let selector = by_tag("v1");
    let reading = store.resolve(&selector);
    let looking = async {
        loop {
            assert_eq!(fs_err::read_dir(&temporary).unwrap().count(), 0);
            tokio::task::yield_now().await;
        }
    };
    let outcome = tokio::select! {
        outcome = reading => outcome,
        () = looking => return,
    };
    assert!(matches!(
        cause(&outcome.unwrap_err()),
        DaemonProblem::Silent(_)
    ));
}

#[tokio::test]
async fn an_image_is_what_the_daemon_calls_by_that_name() {
    let (daemon, [app, _]) = daemons(Vec::new()).await;
    let workspace = Workspace::new();
    let temporary = workspace.join("temporary");
    fs_err::create_dir(&temporary).unwrap();
    let options = DaemonOptions {
        temporary: temporary.clone(),
        ..quick()
    };
    let store = daemon_at(&daemon.host(), options).store(&"app".parse().unwrap());
    let image = store.resolve(&by_tag("v1")).await.unwrap();
    assert_eq!(image_id(&store, &image).await, app);
    assert_eq!(fs_err::read_dir(&temporary).unwrap().count(), 0);
    let dst = MemoryStore::new();
    let options = oci::CopyOptions::default();
    copy_graph(&store, &dst, &image, &options, &())
        .await
        .unwrap();

    // What is another's is another's.
    assert_eq!(store.tags().await.unwrap(), ["v1".parse().unwrap()]);
    let missing = store.resolve(&by_tag("v2")).await;
    assert!(missing.unwrap_err().is_not_found());
    for id in [&app, &image.digest] {
        let found = store.resolve(&Selector::Digest(id.clone())).await;
        assert_eq!(found.unwrap(), image);
    }
    assert!(
        store.fetch(&layer("app")).await.is_err(),
        "it was compressed"
    );
    assert_eq!(store.referrers(&image.digest).await.unwrap(), []);
    let requests = daemon.take_requests();
    let reads = requests.iter().filter(|it| it.ends_with("/get"));
    assert_eq!(reads.count(), 1, "{requests:?}");
}

/// What has no registry is its own, and nothing else is.
#[tokio::test]
async fn podman_calls_what_is_its_own_localhost() {
    let listed = json!([
        { "Id": "a", "RepoTags": ["localhost/app:v1", "app:v2"] },
        { "Id": "b", "RepoTags": ["app:v2", "other:v3", "docker.io/library/app:v4"] },
        { "Id": "c", "RepoTags": ["here.example/app:v5", "localhost/here.example/app:v6"] },
    ]);
    let listed = (
        "GET /images/json",
        DaemonFault::Gives(listed.to_string().into()),
    );
    for (mut switches, name, expected) in [
        (podman(), "app", &["v1", "v2", "v4"][..]),
        (DaemonSwitches::default(), "app", &["v2", "v4"]),
        (podman(), "here.example/app", &["v5"]),
    ] {
        switches.faults.push(listed.clone());
        let daemon = TestDaemon::start(switches);
        let store = daemon_at(&daemon.host(), quick()).store(&name.parse().unwrap());
        let tags = store.tags().await.unwrap();
        let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
        assert_eq!(tags, expected, "{name}");
    }
}

#[tokio::test]
async fn nothing_can_be_put_into_a_name() {
    let (daemon, _) = daemons(Vec::new()).await;
    let store = daemon_at(&daemon.host(), quick()).store(&"app".parse().unwrap());
    let image = store.resolve(&by_tag("v1")).await.unwrap();
    let upload = Upload::Bytes("new".into());
    for refused in [
        store.push_blob(&layer("new"), upload).await.unwrap_err(),
        store.push_manifest(&image, "{}".into()).await.unwrap_err(),
        store.tag(&image, &"v2".parse().unwrap()).await.unwrap_err(),
        store.delete(&image).await.unwrap_err(),
    ] {
        assert!(
            matches!(refused, StoreError::Unsupported { .. }),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn another_image_than_was_asked_for_is_found_out() {
    let (_, [_, other]) = daemons(Vec::new()).await;
    let wrong = wrong_archive();
    let (daemon, [app, _]) = daemons(vec![("/get", DaemonFault::Gives(wrong))]).await;
    let store = daemon_at(&daemon.host(), quick()).store(&"app".parse().unwrap());
    let refused = store.resolve(&by_tag("v1")).await.unwrap_err();
    let StoreError::Malformed { problem, .. } = &refused else {
        panic!("{refused:?}");
    };
    assert!(problem.contains("it gave another one"), "{problem}");

    // Another ID than that of the digest.
    let said = json!({ "Id": app }).to_string();
    let on = "GET /images/app@sha256";
    let (daemon, _) = daemons(vec![(on, DaemonFault::Gives(said.into()))]).await;
    let store = daemon_at(&daemon.host(), quick()).store(&"app".parse().unwrap());
    let refused = store.resolve(&Selector::Digest(other)).await.unwrap_err();
    let StoreError::Malformed { problem, .. } = &refused else {
        panic!("{refused:?}");
    };
    assert!(problem.contains("has forgotten its manifest"), "{problem}");
}

/// What `docker save` would write of an image of no layers.
fn wrong_archive() -> Vec<u8> {
    let config = json!({
        "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] },
    });
    let listed = json!([{ "Config": "c", "RepoTags": ["app:v1"], "Layers": [] }]);
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in [("c", config), ("manifest.json", listed)] {
        let content = content.to_string();
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, content.as_bytes())
            .unwrap();
    }
    tar.into_inner().unwrap()
}

#[tokio::test]
async fn what_is_no_image_or_too_much_is_refused() {
    let (daemon, _) = daemons(vec![("/get", DaemonFault::Gives(b"no tar".to_vec()))]).await;
    let store = daemon_at(&daemon.host(), quick()).store(&"app".parse().unwrap());
    let refused = store.resolve(&by_tag("v1")).await.unwrap_err();
    assert!(matches!(cause(&refused), DaemonProblem::Archive(_)));

    let (daemon, _) = daemons(Vec::new()).await;
    let options = DaemonOptions {
        image_bytes: 1000,
        ..quick()
    };
    let store = daemon_at(&daemon.host(), options).store(&"app".parse().unwrap());
    let refused = store.resolve(&by_tag("v1")).await.unwrap_err();
    let is_limit = matches!(cause(&refused), DaemonProblem::TooLong { limit: 1000 });
    assert!(is_limit, "{refused:?}");

    let small = DaemonOptions {
        limits: Limits {
            manifest_bytes: 10,
            ..Limits::default()
        },
        ..quick()
    };
    let store = daemon_at(&daemon.host(), small).store(&"app".parse().unwrap());
    let refused = store.resolve(&by_tag("v1")).await;
    assert!(matches!(
        refused,
        Err(StoreError::TooLarge { limit: 10, .. })
    ));

    // Refused, not there, in the middle of it.
    for (fault, is_there) in [
        (DaemonFault::Status(500, "on fire"), true),
        (DaemonFault::Status(404, "gone"), false),
        (DaemonFault::Endless("endless"), true),
    ] {
        let (daemon, _) = daemons(vec![("/get", fault)]).await;
        let options = DaemonOptions {
            image_bytes: 10_000,
            ..quick()
        };
        let store = daemon_at(&daemon.host(), options).store(&"app".parse().unwrap());
        let refused = store.resolve(&by_tag("v1")).await.unwrap_err();
        assert_eq!(!refused.is_not_found(), is_there, "{refused:?}");
    }
}

/// Silence in the middle of an answer is as long as silence before it.
#[tokio::test]
async fn an_answer_that_stalls_is_not_waited_for() {
    let hasty = DaemonOptions {
        silence_timeout: Duration::from_millis(200),
        work_timeout: Duration::from_millis(200),
        ..quick()
    };
    for on in ["/get", "GET /images/app"] {
        let (daemon, _) = daemons(vec![(on, DaemonFault::Stalls("{"))]).await;
        let store = daemon_at(&daemon.host(), hasty.clone()).store(&"app".parse().unwrap());
        let selector = by_tag("v1");
        let resolve = store.resolve(&selector);
        let limit = Duration::from_mins(1);
        let refused = tokio::time::timeout(limit, resolve).await.unwrap();
        let refused = refused.unwrap_err();
        assert!(
            matches!(cause(&refused), DaemonProblem::Silent(_)),
            "{refused:?}"
        );
    }
}
