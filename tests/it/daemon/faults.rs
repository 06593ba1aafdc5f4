//! Daemons that fail, break off, lie or never end.

use std::error::Error;
use std::time::Duration;

use oci::store::{DaemonOptions, DaemonProblem, LoadError};
use oci::{Limits, MemoryStore, StoreError};
use testkit::daemon::{DaemonFault, DaemonSwitches, TestDaemon};

use super::{Lying, daemon_at, load, load_as, push_image, quick};

const LOAD: &str = "POST /images/load";

fn faulty(on: &'static str, fault: DaemonFault) -> TestDaemon {
    TestDaemon::start(DaemonSwitches {
        faults: vec![(on, fault)],
        ..DaemonSwitches::default()
    })
}

/// How loading an image fails.
async fn failure(daemon: &TestDaemon, options: DaemonOptions) -> LoadError {
    let store = MemoryStore::new();
    let image = push_image(&store, &["layer"], &["layer"]).await;
    let daemon = daemon_at(&daemon.host(), options);
    load_as(&daemon, &store, &image, "app").await.unwrap_err()
}

pub(super) fn problem(error: &LoadError) -> &DaemonProblem {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(it) = cause {
        if let Some(problem) = it.downcast_ref() {
            return problem;
        }
        cause = it.source();
    }
    panic!("no daemon is to blame for {error:?}");
}

#[tokio::test]
async fn an_error_after_a_good_beginning_is_an_error() {
    let daemon = faulty(
        LOAD,
        DaemonFault::ErrorLine("no space left \u{1b}[2J on device"),
    );
    let error = failure(&daemon, quick()).await;
    let LoadError::Destination(StoreError::Refused { .. }) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(
        problem(&error).to_string(),
        "it says: no space left  [2J on device"
    );
}

#[tokio::test]
async fn a_refusal_is_told_in_the_daemons_words() {
    let daemon = faulty(
        "GET /info",
        DaemonFault::Status(403, "authorization denied"),
    );
    let error = failure(&daemon, quick()).await;
    assert_eq!(problem(&error).to_string(), "it says: authorization denied");
    assert!(matches!(
        error,
        LoadError::Destination(StoreError::Refused { .. })
    ));
    let daemon = faulty("GET /images/json", DaemonFault::Status(500, "on fire"));
    let error = failure(&daemon, quick()).await;
    assert!(matches!(
        error,
        LoadError::Destination(StoreError::Unavailable { .. })
    ));
}

#[tokio::test]
async fn what_breaks_off_has_failed() {
    for at in [0, 700] {
        let daemon = faulty(LOAD, DaemonFault::Drop(at));
        let error = failure(&daemon, quick()).await;
        assert!(
            matches!(problem(&error), DaemonProblem::Broken(_)),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_daemon_that_says_yes_and_does_nothing_is_found_out() {
    let daemon = faulty(LOAD, DaemonFault::Lie);
    let error = failure(&daemon, quick()).await;
    assert!(
        matches!(problem(&error), DaemonProblem::Strange(_)),
        "{error:?}"
    );
}

#[tokio::test]
async fn another_image_by_the_name_is_found_out() {
    let daemon = faulty(LOAD, DaemonFault::Lie);
    let store = MemoryStore::new();
    let other = push_image(&store, &["other"], &["other"]).await;
    let working = TestDaemon::start(DaemonSwitches::default());
    load(&working, &store, &other).await.unwrap();
    daemon.take_images(&working);
    let error = failure(&daemon, quick()).await;
    let text = problem(&error).to_string();
    assert!(text.contains("in place of"), "{text}");
}

#[tokio::test]
async fn endless_answers_are_cut_off() {
    let small = DaemonOptions {
        limits: Limits {
            metadata_bytes: 1 << 20,
            ..Limits::default()
        },
        ..quick()
    };
    for on in [LOAD, "GET /images/json", "GET /version"] {
        let daemon = faulty(on, DaemonFault::Endless("[[[[[[[[[[[[[[[["));
        let error = failure(&daemon, small.clone()).await;
        assert!(
            matches!(problem(&error), DaemonProblem::TooLong { .. }),
            "{on}: {error:?}"
        );
    }
}

#[tokio::test]
async fn silence_ends() {
    let hasty = DaemonOptions {
        silence_timeout: Duration::from_millis(200),
        work_timeout: Duration::from_millis(200),
        ..quick()
    };
    for on in [LOAD, "GET /info"] {
        let daemon = faulty(on, DaemonFault::Silent);
        let error = failure(&daemon, hasty.clone()).await;
        assert!(
            matches!(problem(&error), DaemonProblem::Silent(_)),
            "{on}: {error:?}"
        );
    }
}

#[tokio::test]
async fn an_archive_is_not_ended_if_the_source_fails() {
    let daemon = TestDaemon::start(DaemonSwitches::default());
    let store = MemoryStore::new();
    let image = push_image(&store, &["good", "gone"], &["good"]).await;
    let error = load(&daemon, &store, &image).await.unwrap_err();
    let LoadError::Source { source, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(source.is_not_found());
    assert_eq!(daemon.loads(), [] as [Vec<String>; 0]);
}

/// What a layer has too much must not become a file of its own in the archive.
#[tokio::test]
async fn a_layer_that_is_longer_than_it_should_be_is_cut_off() {
    let daemon = TestDaemon::start(DaemonSwitches::default());
    let store = Lying::default();
    let image = push_image(&store, &["layer"], &["layer"]).await;
    let error = load(&daemon, &store, &image).await.unwrap_err();
    assert!(
        matches!(
            &error,
            LoadError::Source {
                source: StoreError::SizeMismatch { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(daemon.loads(), [] as [Vec<String>; 0]);
}
