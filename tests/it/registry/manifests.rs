use std::time::Duration;

use oci::store::RegistryOptions;
use oci::{Descriptor, Limits, Selector, Store as _, StoreError};
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};

use super::{push_image, quick, read, registry, resolve, shapes, store_at};

#[tokio::test]
async fn a_push_and_a_pull_make_no_request_twice() {
    let (registry, store) = registry(Switches::default());
    let image = push_image(&store).await;
    store.tag(&image, &"v1".parse().unwrap()).await.unwrap();
    assert_eq!(
        shapes(&registry),
        [
            "HEAD blobs/DIGEST",
            "POST blobs/uploads/",
            "PUT blobs/uploads/ID",
            "HEAD blobs/DIGEST",
            "POST blobs/uploads/",
            "PUT blobs/uploads/ID",
            "PUT manifests/DIGEST",
            "PUT manifests/v1",
        ]
    );
    let again = store_at(&registry.host(), quick());
    let found = resolve(&again, "v1").await.unwrap();
    assert_eq!(found, image);
    read(&again, &found).await.unwrap();
    read(&again, &super::blob(&super::content(100)))
        .await
        .unwrap();
    assert_eq!(
        shapes(&registry),
        [
            "HEAD manifests/v1",
            "GET manifests/DIGEST",
            "GET blobs/DIGEST",
        ]
    );
}

#[tokio::test]
async fn a_tag_resolves_without_head_and_without_digest_header() {
    for switches in [
        Switches {
            no_head: true,
            ..Switches::default()
        },
        Switches {
            no_digest_header: true,
            ..Switches::default()
        },
    ] {
        let (registry, store) = registry(switches);
        let image = push_image(&store).await;
        store.tag(&image, &"v1".parse().unwrap()).await.unwrap();
        registry.take_requests();
        assert_eq!(resolve(&store, "v1").await.unwrap(), image);
        assert_eq!(shapes(&registry), ["HEAD manifests/v1", "GET manifests/v1"]);
    }
}

#[tokio::test]
async fn a_manifest_that_is_another_is_noticed() {
    let (registry, store) = registry(Switches::default());
    let image = push_image(&store).await;
    registry.set(|it| it.wrong_content = true);
    assert!(matches!(
        read(&store, &image).await,
        Err(StoreError::DigestMismatch { .. })
    ));
    let wrong_size = Descriptor::new(
        image.media_type.clone(),
        image.digest.clone(),
        image.size + 1,
    );
    registry.set(|it| it.wrong_content = false);
    assert!(matches!(
        read(&store, &wrong_size).await,
        Err(StoreError::SizeMismatch { .. })
    ));
}

#[tokio::test]
async fn not_found_differs_from_could_not_ask() {
    let (registry, store) = registry(Switches::default());
    assert!(resolve(&store, "v1").await.unwrap_err().is_not_found());
    let always = |kind| vec![Fault::first(usize::MAX, "", kind)];
    registry.set(|it| it.faults = always(FaultKind::Status(503, None)));
    assert!(matches!(
        resolve(&store, "v1").await,
        Err(StoreError::Unavailable { .. })
    ));
    registry.set(|it| it.faults = always(FaultKind::Status(403, None)));
    assert!(matches!(
        resolve(&store, "v1").await,
        Err(StoreError::Refused { .. })
    ));
    let host = registry.host();
    drop(registry);
    assert!(matches!(
        resolve(&store_at(&host, quick()), "v1").await,
        Err(StoreError::Unavailable { .. })
    ));
}

#[tokio::test]
async fn what_may_yet_succeed_is_tried_again_and_nothing_else() {
    let (registry, store) = registry(Switches::default());
    let image = push_image(&store).await;
    for (kind, tries) in [
        (FaultKind::Status(500, None), 3),
        (FaultKind::Status(502, None), 3),
        (FaultKind::Status(429, Some("0")), 3),
        (FaultKind::Status(429, None), 3),
        (FaultKind::Drop(0), 3),
        (FaultKind::Drop(20), 3),
    ] {
        registry.set(|it| it.faults = vec![Fault::first(2, "GET", kind)]);
        registry.take_requests();
        read(&store, &image).await.unwrap();
        assert_eq!(registry.take_requests().len(), tries);
    }
    for status in [400, 403, 404, 405, 410, 413] {
        let kind = FaultKind::Status(status, None);
        registry.set(|it| it.faults = vec![Fault::first(1, "GET", kind)]);
        assert!(read(&store, &image).await.is_err());
        assert_eq!(registry.take_requests().len(), 1, "{status}");
    }
    let kind = FaultKind::Status(500, None);
    registry.set(|it| it.faults = vec![Fault::first(usize::MAX, "GET", kind)]);
    assert!(read(&store, &image).await.is_err());
    assert_eq!(registry.take_requests().len(), 4);
}

#[tokio::test]
async fn retry_after_is_kept_up_to_a_bound() {
    let (registry, _) = registry(Switches::default());
    let mut options = quick();
    options.retries.longest = Duration::from_secs(2);
    let store = store_at(&registry.host(), options);
    let image = push_image(&store).await;
    let kind = FaultKind::Status(429, Some("1"));
    registry.set(|it| it.faults = vec![Fault::first(1, "GET", kind)]);
    let start = tokio::time::Instant::now();
    read(&store, &image).await.unwrap();
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(1), "{waited:?}");

    let kind = FaultKind::Status(503, Some("3600"));
    registry.set(|it| it.faults = vec![Fault::first(1, "GET", kind)]);
    let start = tokio::time::Instant::now();
    read(&store, &image).await.unwrap();
    assert!(start.elapsed() < Duration::from_mins(1));
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let registry = TestRegistry::start(Switches {
        faults: vec![Fault::first(
            usize::MAX,
            "",
            FaultKind::Slow(Duration::from_secs(30)),
        )],
        ..Switches::default()
    });
    let mut options = RegistryOptions {
        silence_timeout: Duration::from_millis(50),
        ..quick()
    };
    options.retries.count = 1;
    let store = store_at(&registry.host(), options);
    assert!(matches!(
        resolve(&store, "v1").await,
        Err(StoreError::Unavailable { .. })
    ));
}

#[tokio::test]
async fn tags_come_page_by_page_sorted() {
    let (registry, store) = registry(Switches {
        page_size: Some(1),
        ..Switches::default()
    });
    let image = push_image(&store).await;
    for tag in ["v3", "v1", "v2"] {
        store.tag(&image, &tag.parse().unwrap()).await.unwrap();
    }
    let tags = store.tags().await.unwrap();
    assert_eq!(
        tags.iter().map(oci::Tag::as_str).collect::<Vec<_>>(),
        ["v1", "v2", "v3"]
    );
    registry.set(|it| it.endless_pages = true);
    let options = RegistryOptions {
        limits: Limits {
            pages: 5,
            ..Limits::default()
        },
        ..quick()
    };
    registry.take_requests();
    let bounded = store_at(&registry.host(), options);
    assert!(matches!(
        bounded.tags().await,
        Err(StoreError::TooMany { limit: 5, .. })
    ));
    assert_eq!(registry.take_requests().len(), 5);
}

#[tokio::test]
async fn a_manifest_larger_than_the_limit_is_not_read() {
    let (registry, store) = registry(Switches::default());
    let digest = registry.put_manifest(
        "team/app",
        Some("big"),
        oci::MediaType::IMAGE_INDEX.as_str(),
        vec![b' '; 5 << 20],
    );
    registry.set(|it| it.no_digest_header = true);
    assert!(resolve(&store, "big").await.is_err());
    let selector = Selector::Digest(digest);
    let found = store.resolve(&selector).await.unwrap();
    assert!(matches!(
        read(&store, &found).await,
        Err(StoreError::TooLarge { .. })
    ));
}

#[tokio::test]
async fn a_deleted_manifest_is_gone_and_deleting_twice_is_no_error() {
    let (_registry, store) = registry(Switches::default());
    let image = push_image(&store).await;
    store.delete(&image).await.unwrap();
    assert!(!store.contains(&image).await.unwrap());
    store.delete(&image).await.unwrap();
}

#[tokio::test]
async fn access_is_checked_without_leaving_anything_behind() {
    let (registry, store) = registry(Switches::default());
    let selector = Selector::Tag("v1".parse().unwrap());
    assert_eq!(store.check_read(&selector).await.unwrap(), None);
    store.check_write().await.unwrap();
    store.ping().await.unwrap();
    assert_eq!(registry.open_uploads(), 0);
    let refused = vec![Fault::first(
        usize::MAX,
        "POST",
        FaultKind::Status(403, None),
    )];
    registry.set(|it| it.faults = refused);
    assert!(matches!(
        store.check_write().await,
        Err(StoreError::Refused { .. })
    ));
}
