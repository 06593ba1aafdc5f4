//! Uploads that go wrong: nothing is lost, nothing is sent for ever, nothing is left behind.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream;
use oci::{Content, Descriptor, Store as _, StoreError, Upload};
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};
use testkit::{Asked, Reply};

use super::{blob, content, count, quick, read, registry, scripted, shapes, text_of};

const LARGE: usize = 3 << 20;

/// A file that is uploaded.
struct Source {
    file: tempfile::NamedTempFile,
    content: Bytes,
}

impl Source {
    fn new(size: usize) -> Self {
        let (file, content) = (tempfile::NamedTempFile::new().unwrap(), content(size));
        fs_err::write(file.path(), &content).unwrap();
        Self { file, content }
    }

    fn upload(&self) -> Upload {
        Upload::File(self.file.path().to_owned())
    }

    fn stream(&self) -> Upload {
        let chunks: Vec<_> = self
            .content
            .chunks(100_000)
            .map(|it| Ok(Bytes::copy_from_slice(it)))
            .collect();
        Upload::Stream(Content::new(stream::iter(chunks)))
    }

    fn target(&self) -> Descriptor {
        blob(&self.content)
    }
}

fn with_faults(faults: Vec<Fault>) -> (TestRegistry, oci::store::RegistryStore) {
    registry(Switches {
        faults,
        ..Switches::default()
    })
}

#[tokio::test]
async fn an_end_of_which_no_answer_came_is_looked_for() {
    let lost = Fault::first(1, "PUT /v2/team/app/blobs", FaultKind::Lost);
    let (registry, store) = with_faults(vec![lost]);
    let small = content(10);
    store
        .push_blob(&blob(&small), Upload::Bytes(small.clone()))
        .await
        .unwrap();
    assert_eq!(
        shapes(&registry),
        [
            "HEAD blobs/DIGEST",
            "POST blobs/uploads/",
            "PUT blobs/uploads/ID",
            "PUT blobs/uploads/ID",
            "HEAD blobs/DIGEST",
        ]
    );
    assert_eq!(registry.open_uploads(), 0);
}

#[tokio::test]
async fn what_goes_wrong_in_the_middle_is_mended() {
    let first = |on, kind| Fault::first(1, on, kind);
    let broken = || first("PATCH", FaultKind::Drop(1 << 20));
    let (begun_anew, went_on) = (2, 1);
    for (faults, begun) in [
        // Nothing of it arrived, which some say as they say that one byte did.
        (vec![first("PATCH", FaultKind::Drop(0))], begun_anew),
        (
            vec![first("PATCH", FaultKind::Status(404, None))],
            begun_anew,
        ),
        (
            vec![first("PATCH", FaultKind::Status(503, None))],
            begun_anew,
        ),
        (vec![first("PATCH", FaultKind::Lost)], went_on),
        (
            vec![broken(), first("PATCH", FaultKind::Status(416, None))],
            went_on,
        ),
        (
            vec![
                broken(),
                first(
                    "GET /v2/team/app/blobs/uploads",
                    FaultKind::Status(404, None),
                ),
            ],
            begun_anew,
        ),
    ] {
        let what = format!("{faults:?}");
        let (registry, store) = with_faults(faults);
        let source = Source::new(LARGE);
        let pushed = store.push_blob(&source.target(), source.upload()).await;
        pushed.unwrap_or_else(|error| panic!("{what}: {}", text_of(&error)));
        let requests = registry.take_requests();
        assert_eq!(count(&requests, "POST"), begun, "{what}: {requests:?}");
        let found = read(&store, &source.target()).await.unwrap();
        assert_eq!(found, source.content, "{what}");
    }
}

#[tokio::test]
async fn an_upload_that_gets_on_is_not_given_up() {
    let drop = Fault::first(5, "PATCH", FaultKind::Drop((1 << 20) + 4096));
    let (registry, store) = with_faults(vec![drop]);
    let source = Source::new(8 << 20);
    let pushed = store.push_blob(&source.target(), source.upload()).await;
    pushed.unwrap_or_else(|error| panic!("{}", text_of(&error)));
    assert_eq!(count(&registry.take_requests(), "POST"), 1);
}

#[tokio::test]
async fn what_never_succeeds_is_given_up() {
    for (on, kind) in [
        ("PATCH", FaultKind::Drop(0)),
        ("PATCH", FaultKind::Drop(100)),
        ("PATCH", FaultKind::Status(503, None)),
        ("PATCH", FaultKind::Status(416, None)),
        ("PATCH", FaultKind::Status(404, None)),
        ("PUT", FaultKind::Status(404, None)),
    ] {
        let what = format!("{on}: {kind:?}");
        let (registry, store) = with_faults(vec![Fault::first(usize::MAX, on, kind)]);
        let source = Source::new(LARGE);
        let error = store
            .push_blob(&source.target(), source.upload())
            .await
            .unwrap_err();
        assert!(
            matches!(error, StoreError::Unavailable { .. }),
            "{what}: {error:?}"
        );
        let requests = registry.take_requests();
        assert!(count(&requests, "POST") <= 4, "{what}: {requests:?}");
        assert!(count(&requests, "PATCH") <= 16, "{what}: {requests:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_not_tried_again() {
    let source = Source::new(LARGE);
    let small = content(10);
    for (on, upload, target) in [
        ("PATCH", source.upload(), source.target()),
        ("PATCH", source.stream(), source.target()),
        ("PUT", Upload::Bytes(small.clone()), blob(&small)),
        ("POST", Upload::Bytes(small.clone()), blob(&small)),
    ] {
        for status in [400, 403] {
            let fault = Fault::first(1, on, FaultKind::Status(status, None));
            let (registry, store) = with_faults(vec![fault]);
            let again = match &upload {
                Upload::Bytes(it) => Upload::Bytes(it.clone()),
                Upload::File(path) => Upload::File(path.clone()),
                _ => source.stream(),
            };
            let error = store.push_blob(&target, again).await.unwrap_err();
            assert!(
                matches!(error, StoreError::Refused { .. }),
                "{on}: {error:?}"
            );
            assert_eq!(count(&registry.take_requests(), on), 1, "{on}");
        }
    }
    // Not found is the repository, and it cannot be made.
    let fault = Fault::first(1, "POST", FaultKind::Status(404, None));
    let (_registry, store) = with_faults(vec![fault]);
    let upload = Upload::Bytes(small.clone());
    assert!(matches!(
        store.push_blob(&blob(&small), upload).await,
        Err(StoreError::Refused { .. })
    ));
}

#[tokio::test]
async fn a_stream_is_sent_once() {
    for (on, kind) in [
        ("PATCH", FaultKind::Status(503, None)),
        ("PATCH", FaultKind::Drop(1000)),
        ("PUT", FaultKind::Status(404, None)),
    ] {
        let (registry, store) = with_faults(vec![Fault::first(1, on, kind)]);
        let source = Source::new(LARGE);
        let error = store
            .push_blob(&source.target(), source.stream())
            .await
            .unwrap_err();
        assert!(
            matches!(error, StoreError::Unavailable { .. }),
            "{on}: {error:?}"
        );
        let requests = registry.take_requests();
        assert_eq!(count(&requests, "POST"), 1, "{on}: {requests:?}");
        assert_eq!(count(&requests, "PATCH"), 1, "{on}: {requests:?}");
        assert!(!store.contains(&source.target()).await.unwrap());
    }
    // Nor when the registry asks who we are only then.
    let (server, store) = scripted(quick(), |asked| match asked.line.split(' ').next() {
        Some("HEAD") => Reply::new(404).body(""),
        Some("POST") => session(),
        _ => Reply::new(401)
            .header("WWW-Authenticate: Basic realm=\"test\"")
            .body(""),
    });
    let source = Source::new(LARGE);
    let error = store
        .push_blob(&source.target(), source.stream())
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    assert_eq!(count(&server.lines(), "PATCH"), 1);
}

#[tokio::test]
async fn what_is_not_as_described_is_not_sent() {
    let source = Source::new(LARGE);
    let small = Source::new(10);
    // A file that says of itself that it is empty.
    let odd = Upload::File(Path::new("/proc/version").to_owned());
    let empty = blob(&Bytes::new());
    let other = |target: Descriptor, size| Descriptor { size, ..target };
    for (target, upload) in [
        (
            other(small.target(), 9),
            Upload::Bytes(small.content.clone()),
        ),
        (
            other(small.target(), 11),
            Upload::Bytes(small.content.clone()),
        ),
        (other(small.target(), 9), small.upload()),
        (other(small.target(), 9), small.stream()),
        (other(source.target(), LARGE as u64 + 1), source.upload()),
        (empty, odd),
    ] {
        let (registry, store) = registry(Switches::default());
        let what = format!("{upload:?}");
        let error = store.push_blob(&target, upload).await.unwrap_err();
        assert!(
            matches!(error, StoreError::SizeMismatch { .. }),
            "{what}: {error:?}"
        );
        assert_eq!(count(&registry.take_requests(), "POST"), 0, "{what}");
    }
    // Of a large stream that is known at its end only.
    let (registry, store) = registry(Switches::default());
    let target = other(source.target(), LARGE as u64 - 1);
    assert!(matches!(
        store.push_blob(&target, source.stream()).await,
        Err(StoreError::SizeMismatch { .. })
    ));
    assert_eq!(registry.open_uploads(), 0);
}

/// An upload was begun.
fn session() -> Reply {
    Reply::new(202)
        .header("Location: /v2/team/app/blobs/uploads/1")
        .body("")
}

/// A registry that says so of how far an upload is, whatever it is sent.
fn says(range: &'static str) -> impl Fn(&Asked) -> Reply + Send + Sync + 'static {
    move |asked| match asked.line.split(' ').next() {
        Some("HEAD") => Reply::new(404).body(""),
        Some("PUT") => Reply::new(416).body(""),
        Some("POST") => session(),
        _ => session().header(format!("Range: {range}")),
    }
}

#[tokio::test]
async fn what_a_registry_says_that_it_has_is_not_believed_for_ever() {
    let source = Source::new(LARGE);
    let size = LARGE as u64;
    for range in ["0-0", "0-9", "0-99999999", "5-9", "0-x"] {
        let (server, store) = scripted(quick(), says(range));
        let target = source.target();
        let pushed = store.push_blob(&target, source.upload());
        let pushed = tokio::time::timeout(std::time::Duration::from_secs(30), pushed);
        let error = pushed.await.expect("it ends").unwrap_err();
        assert!(
            matches!(error, StoreError::Unavailable { .. }),
            "{range}: {error:?}"
        );
        let asked = server.asked();
        let lines: Vec<_> = asked.iter().map(|it| it.line.clone()).collect();
        assert!(count(&lines, "PATCH") <= 16, "{range}: {lines:?}");
        // One of which it has too much, or nobody knows how much, is given up.
        let given_up = ["0-0", "0-99999999"].contains(&range);
        let cancelled = if given_up { 4 } else { 0 };
        assert_eq!(count(&lines, "DELETE"), cancelled, "{range}: {lines:?}");
        // What is sent again says where it belongs.
        for it in asked.iter().filter(|it| it.line.starts_with("PATCH")) {
            let len = it.body.len() as u64;
            let place = it.headers.get("content-range");
            let expected = (len < size).then(|| format!("{}-{}", size - len, size - 1));
            assert_eq!(place.cloned(), expected, "{range}");
        }
    }
}

/// It may have all or nothing of what was on its way.
#[tokio::test]
async fn where_it_is_not_said_how_far_an_upload_is_all_is_sent_again() {
    let patches = AtomicUsize::new(0);
    let (server, store) = scripted(quick(), move |asked| match asked.line.split(' ').next() {
        Some("HEAD") => Reply::new(404).body(""),
        Some("PATCH") if patches.fetch_add(1, Ordering::Relaxed) == 0 => Reply::none(),
        Some("POST" | "PATCH") => session(),
        Some("GET") => Reply::new(204),
        _ => Reply::new(201).body(""),
    });
    let source = Source::new(LARGE);
    let pushed = store.push_blob(&source.target(), source.upload()).await;
    pushed.unwrap();
    let asked = server.asked().into_iter();
    let patches: Vec<_> = asked.filter(|it| it.line.starts_with("PATCH")).collect();
    assert_eq!(patches.len(), 2);
    assert!(patches[1].body == source.content);
}

#[tokio::test]
async fn an_upload_that_is_sent_elsewhere_is_not_tried_again() {
    let (server, store) = scripted(quick(), |asked| match asked.line.split(' ').next() {
        Some("HEAD") => Reply::new(404).body(""),
        Some("POST") => session(),
        Some("GET") => Reply::new(204),
        _ => Reply::new(302)
            .header("Location: /v2/team/app/blobs/uploads/2")
            .body(""),
    });
    let source = Source::new(LARGE);
    let pushed = store.push_blob(&source.target(), source.upload()).await;
    let error = pushed.unwrap_err();
    assert!(matches!(error, StoreError::Malformed { .. }), "{error:?}");
    assert_eq!(count(&server.lines(), "PATCH"), 1);
}

#[tokio::test]
async fn an_upload_is_cancelled_once() {
    let fault = Fault::first(usize::MAX, "DELETE", FaultKind::Status(500, None));
    let (registry, store) = with_faults(vec![fault]);
    registry.set(|it| it.decline_mounts = true);
    let from = format!("{}/team/base", registry.host()).parse().unwrap();
    assert!(!store.mount(&blob(&content(10)), &from).await.unwrap());
    assert_eq!(count(&registry.take_requests(), "DELETE"), 1);
}
