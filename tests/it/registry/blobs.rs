//! Blobs: what is read is what was asked for.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use oci::{Content, Descriptor, LayoutStore, Store as _, StoreError, Upload};
use testkit::Workspace;
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};

use super::{blob, content, read, registry, shapes};

const LARGE: usize = 3 << 20;

fn with_fault(fault: Fault) -> Switches {
    Switches {
        faults: vec![fault],
        ..Switches::default()
    }
}

fn file(content: &Bytes) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), content).unwrap();
    file
}

fn parts(content: &Bytes, size: usize) -> Upload {
    let chunks: Vec<_> = content
        .chunks(size)
        .map(|it| Ok(Bytes::copy_from_slice(it)))
        .collect();
    Upload::Stream(Content::new(stream::iter(chunks)))
}

#[tokio::test]
async fn blobs_of_all_sizes_and_sources_come_back() {
    let (registry, store) = registry(Switches::default());
    for size in [0, 1, 1 << 20, (1 << 20) + 1, LARGE] {
        let content = content(size);
        let file = file(&content);
        for upload in [
            Upload::Bytes(content.clone()),
            Upload::File(file.path().to_owned()),
            parts(&content, 100_000),
        ] {
            let (fresh, store) = super::registry(Switches::default());
            store.push_blob(&blob(&content), upload).await.unwrap();
            assert_eq!(read(&store, &blob(&content)).await.unwrap(), content);
            assert_eq!(fresh.open_uploads(), 0);
        }
    }
    let content = content(10);
    for _ in 0..2 {
        let upload = Upload::Bytes(content.clone());
        store.push_blob(&blob(&content), upload).await.unwrap();
    }
    assert_eq!(
        shapes(&registry),
        [
            "HEAD blobs/DIGEST",
            "POST blobs/uploads/",
            "PUT blobs/uploads/ID",
            "HEAD blobs/DIGEST",
        ]
    );
}

#[tokio::test]
async fn a_broken_upload_goes_on_where_it_broke() {
    let drop = Fault::first(2, "PATCH", FaultKind::Drop(1 << 20));
    let (registry, store) = registry(with_fault(drop));
    let content = content(LARGE);
    let file = file(&content);
    let upload = Upload::File(file.path().to_owned());
    store.push_blob(&blob(&content), upload).await.unwrap();
    assert_eq!(
        shapes(&registry),
        [
            "HEAD blobs/DIGEST",
            "POST blobs/uploads/",
            "PATCH blobs/uploads/ID",
            "GET blobs/uploads/ID",
            "PATCH blobs/uploads/ID",
            "GET blobs/uploads/ID",
            "PATCH blobs/uploads/ID",
            "PUT blobs/uploads/ID",
        ]
    );
    assert_eq!(read(&store, &blob(&content)).await.unwrap(), content);
}

#[tokio::test]
async fn an_upload_that_the_registry_lost_is_begun_anew() {
    let lost = Fault::first(1, "PUT /v2/team/app/blobs", FaultKind::Status(404, None));
    let (registry, store) = registry(with_fault(lost));
    let content = content(10);
    let upload = Upload::Bytes(content.clone());
    store.push_blob(&blob(&content), upload).await.unwrap();
    assert_eq!(registry.take_requests().len(), 6);
    assert_eq!(read(&store, &blob(&content)).await.unwrap(), content);
}

#[tokio::test]
async fn a_stream_that_is_not_as_described_is_not_pushed() {
    let (registry, store) = registry(Switches::default());
    for size in [10, LARGE] {
        let content = content(size);
        let other = Descriptor {
            size: content.len() as u64 + 1,
            ..blob(&content)
        };
        assert!(matches!(
            store.push_blob(&other, parts(&content, 1000)).await,
            Err(StoreError::SizeMismatch { .. })
        ));
        assert!(!store.contains(&other).await.unwrap());
    }
    let content = content(LARGE);
    let wrong = blob(&content);
    let failing = stream::iter(vec![
        Ok(content.slice(..1000)),
        Err(StoreError::DigestMismatch {
            expected: wrong.digest.clone(),
            presented: oci::Digest::of(b""),
            came: None,
        }),
    ]);
    assert!(matches!(
        store
            .push_blob(&wrong, Upload::Stream(Content::new(failing)))
            .await,
        Err(StoreError::DigestMismatch { .. })
    ));
    assert_eq!(registry.open_uploads(), 0);
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    for no_ranges in [false, true] {
        let (registry, store) = registry(Switches {
            no_ranges,
            ..Switches::default()
        });
        let content = content(LARGE);
        registry.put_blob("team/app", content.clone());
        let drop = Fault::first(2, "GET", FaultKind::Drop(1 << 20));
        registry.set(|it| it.faults = vec![drop]);
        assert_eq!(read(&store, &blob(&content)).await.unwrap(), content);
        assert_eq!(registry.take_requests().len(), 3);
    }
}

#[tokio::test]
async fn a_download_that_never_gets_on_is_given_up() {
    let (registry, store) = registry(Switches {
        no_ranges: true,
        ..Switches::default()
    });
    let content = content(LARGE);
    registry.put_blob("team/app", content.clone());
    let drop = Fault::first(usize::MAX, "GET", FaultKind::Drop(1000));
    registry.set(|it| it.faults = vec![drop]);
    assert!(matches!(
        read(&store, &blob(&content)).await,
        Err(StoreError::Unavailable { .. })
    ));
    assert!(registry.take_requests().len() < 10);
}

#[tokio::test]
async fn a_blob_that_is_another_longer_or_endless_is_noticed() {
    let small = content(1000);
    let wrong: [fn(&mut Switches); 3] = [
        |it| it.wrong_content = true,
        |it| it.excess = Some(1),
        |it| it.endless = true,
    ];
    for (at, change) in wrong.into_iter().enumerate() {
        let (registry, store) = registry(Switches::default());
        registry.put_blob("team/app", small.clone());
        registry.set(change);
        let error = read(&store, &blob(&small)).await.unwrap_err();
        match at {
            0 => assert!(matches!(error, StoreError::DigestMismatch { .. })),
            _ => assert!(matches!(error, StoreError::SizeMismatch { .. })),
        }
    }
    let (registry, store) = registry(Switches::default());
    registry.put_blob("team/app", small.clone());
    let longer = Descriptor {
        size: 1001,
        ..blob(&small)
    };
    assert!(matches!(
        read(&store, &longer).await,
        Err(StoreError::SizeMismatch {
            expected: 1001,
            presented: 1000,
            ..
        })
    ));
}

/// A layout relies on what downloads are checked for.
#[tokio::test]
async fn a_wrong_download_is_not_stored() {
    let wrong: [fn(&mut Switches); 3] = [
        |it| it.wrong_content = true,
        |it| it.excess = Some(1),
        |it| it.endless = true,
    ];
    for size in [1000, LARGE] {
        let content = content(size);
        let (registry, store) = registry(Switches::default());
        registry.put_blob("team/app", content.clone());
        let target = blob(&content);
        let workspace = Workspace::new();
        let layout = LayoutStore::create(workspace.join("layout")).unwrap();
        for change in wrong {
            registry.set(|it| {
                *it = Switches::default();
                change(it);
            });
            if let Ok(download) = store.fetch(&target).await {
                let pushed = layout.push_blob(&target, Upload::Stream(download)).await;
                assert!(pushed.is_err());
            }
            assert!(!layout.contains(&target).await.unwrap());
        }
        registry.set(|it| *it = Switches::default());
        let download = store.fetch(&target).await.unwrap();
        let upload = Upload::Stream(download);
        layout.push_blob(&target, upload).await.unwrap();
        assert_eq!(
            oci::store::read(&layout, &target, LARGE as u64)
                .await
                .unwrap(),
            content
        );
    }
}

#[tokio::test]
async fn a_mount_is_taken_or_declined_without_a_trace() {
    let (registry, store) = registry(Switches::default());
    let small = content(10);
    registry.put_blob("team/base", small.clone());
    let from = format!("{}/team/base", registry.host()).parse().unwrap();
    assert!(store.mount(&blob(&small), &from).await.unwrap());
    assert!(store.contains(&blob(&small)).await.unwrap());

    let other = content(20);
    registry.put_blob("team/base", other.clone());
    registry.set(|it| it.decline_mounts = true);
    assert!(!store.mount(&blob(&other), &from).await.unwrap());
    assert_eq!(registry.open_uploads(), 0);
    assert!(!store.contains(&blob(&other)).await.unwrap());

    registry.take_requests();
    let abroad = "other.example/team/base".parse().unwrap();
    assert!(!store.mount(&blob(&other), &abroad).await.unwrap());
    assert_eq!(registry.take_requests(), Vec::<String>::new());
}

#[tokio::test]
async fn uploads_and_downloads_elsewhere_work() {
    let other = TestRegistry::start(Switches::default());
    let (registry, store) = registry(Switches {
        elsewhere: Some(format!("http://{}", other.host())),
        ..Switches::default()
    });
    let content = content(LARGE);
    let file = file(&content);
    let upload = Upload::File(file.path().to_owned());
    store.push_blob(&blob(&content), upload).await.unwrap();
    assert_eq!(read(&store, &blob(&content)).await.unwrap(), content);
    assert!(!other.take_requests().is_empty());
    assert_eq!(registry.take_requests().len(), 3);
}

#[tokio::test]
async fn no_more_requests_run_at_once_than_asked_for() {
    let (registry, _) = registry(Switches::default());
    let mut options = super::quick();
    options.concurrency = 2;
    let store = super::store_at(&registry.host(), options);
    let content = content(LARGE);
    registry.put_blob("team/app", content.clone());
    let target = blob(&content);
    let (first, second) = tokio::join!(store.fetch(&target), store.fetch(&target));
    let third = store.fetch(&target);
    tokio::pin!(third);
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut third);
    assert!(waited.await.is_err());
    drop(first.unwrap());
    drop(third.await.unwrap());
    drop(second.unwrap());
}
