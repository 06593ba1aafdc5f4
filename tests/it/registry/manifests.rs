//! Manifests and tags.

use std::time::Duration;

use oci::store::RegistryOptions;
use oci::{Descriptor, Limits, Selector, Store as _, StoreError};
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};

use super::{
    blob, content, count, manifest, push_image, quick, read, registry, resolve, shapes, soon,
    store_at,
};

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
    read(&again, &blob(&content(100))).await.unwrap();
    assert_eq!(shapes(&registry), ["GET manifests/v1", "GET blobs/DIGEST",]);
}

#[tokio::test]
async fn a_tag_resolves_to_what_it_names_whatever_the_headers_say() {
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
        assert_eq!(shapes(&registry), ["GET manifests/v1"]);
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
        (FaultKind::Status(408, None), 3),
        (FaultKind::Status(500, None), 3),
        (FaultKind::Status(502, None), 3),
        (FaultKind::Status(503, None), 3),
        (FaultKind::Status(504, None), 3),
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
        soon(bounded.tags()).await,
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
    let selector = Selector::Digest(digest.clone());
    assert!(store.resolve(&selector).await.is_err());
    let target = Descriptor::new(oci::MediaType::IMAGE_INDEX, digest, 5 << 20);
    assert!(matches!(
        read(&store, &target).await,
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

    // Nor does it have to be good.
    let switches = Switches {
        wrong_content: true,
        ..Switches::default()
    };
    let (registry, store) = registry(switches);
    let image = push_image(&store).await;
    assert!(read(&store, &image).await.is_err());
    store.delete(&image).await.unwrap();
    assert_eq!(registry.manifests("team/app"), 0);
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

#[tokio::test]
async fn refusals_of_all_kinds_are_no_success_and_not_asked_for_twice() {
    let (registry, store) = registry(Switches::default());
    let image = push_image(&store).await;
    let (target, document) = manifest(&blob(&content(100)), None, "application/x.other");
    let tag = "v1".parse().unwrap();
    // 412 is what some say of a tag that must not move.
    for status in [400, 401, 403, 404, 412] {
        for on in ["HEAD", "PUT", "DELETE"] {
            let fault = Fault::first(usize::MAX, on, FaultKind::Status(status, None));
            registry.set(|it| it.faults = vec![fault]);
            registry.take_requests();
            let outcomes = match on {
                // That would be an answer.
                "HEAD" | "DELETE" if status == 404 => vec![],
                "HEAD" => vec![store.contains(&image).await.map(drop)],
                "DELETE" => vec![store.delete(&image).await],
                _ => vec![
                    store.push_manifest(&target, document.clone()).await,
                    store.tag(&image, &tag).await,
                    store
                        .push_manifests(vec![(target.clone(), document.clone())])
                        .await,
                ],
            };
            for outcome in &outcomes {
                assert!(
                    matches!(outcome, Err(StoreError::Refused { .. })),
                    "{on} {status}: {outcome:?}"
                );
            }
            let requests = registry.take_requests();
            assert_eq!(count(&requests, on), outcomes.len(), "{on} {status}");
        }
    }
    registry.set(|it| it.faults = Vec::new());
    assert!(store.contains(&image).await.unwrap());
    assert!(!store.contains(&target).await.unwrap());
    assert!(resolve(&store, "v1").await.unwrap_err().is_not_found());

    let fault = |on, status| {
        let kind = FaultKind::Status(status, None);
        registry.set(|it| it.faults = vec![Fault::first(usize::MAX, on, kind)]);
    };
    fault("DELETE", 405);
    assert!(matches!(
        store.delete(&image).await,
        Err(StoreError::Unsupported { .. })
    ));
    // Somebody else was quicker.
    fault("DELETE", 404);
    store.delete(&image).await.unwrap();
    // Whether it is there cannot be known.
    fault("GET", 403);
    assert!(store.delete(&image).await.is_err());
    assert!(matches!(
        store.ping().await,
        Err(StoreError::Refused { .. })
    ));
    registry.take_requests();
    fault("GET", 404);
    assert!(resolve(&store, "v1").await.unwrap_err().is_not_found());
    assert_eq!(registry.take_requests().len(), 1);
}

#[tokio::test]
async fn overload_is_no_refusal_and_nothing_is_tried_for_ever() {
    let (registry, store) = registry(Switches::default());
    let image = push_image(&store).await;
    for kind in [
        FaultKind::Status(429, None),
        FaultKind::Status(503, None),
        FaultKind::Drop(0),
    ] {
        registry.set(|it| it.faults = vec![Fault::first(usize::MAX, "GET", kind)]);
        registry.take_requests();
        assert!(matches!(
            soon(read(&store, &image)).await,
            Err(StoreError::Unavailable { .. })
        ));
        assert_eq!(registry.take_requests().len(), 4);
    }
    // Nor is it asked in another way.
    store.tag(&image, &"v1".parse().unwrap()).await.unwrap();
    let overloaded = Fault::first(usize::MAX, "GET", FaultKind::Status(503, None));
    registry.set(|it| it.faults = vec![overloaded]);
    assert!(matches!(
        soon(resolve(&store, "v1")).await,
        Err(StoreError::Unavailable { .. })
    ));
}

#[tokio::test]
async fn a_manifest_that_is_not_as_described_is_not_pushed() {
    let (registry, store) = registry(Switches::default());
    let (target, document) = manifest(&blob(&content(100)), None, "application/x.a");
    let longer = Descriptor {
        size: target.size + 1,
        ..target.clone()
    };
    let other = Descriptor {
        digest: oci::Digest::of(b"other"),
        ..target.clone()
    };
    for wrong in [longer, other] {
        let pushed = store.push_manifest(&wrong, document.clone()).await;
        assert!(pushed.is_err());
    }
    let other = Descriptor {
        digest: target.digest.clone(),
        media_type: oci::MediaType::IMAGE_INDEX,
        ..target
    };
    assert!(store.push_manifest(&other, document).await.is_err());
    assert_eq!(registry.requests(), [""; 0]);
}

#[tokio::test]
async fn tags_have_limits_and_a_page_that_is_refused_is_no_end() {
    let (registry, store) = registry(Switches {
        page_size: Some(1),
        ..Switches::default()
    });
    let image = push_image(&store).await;
    for tag in ["v1", "v2", "v3"] {
        store.tag(&image, &tag.parse().unwrap()).await.unwrap();
    }
    let limits = Limits {
        manifests: 2,
        ..Limits::default()
    };
    let bounded = store_at(&registry.host(), RegistryOptions { limits, ..quick() });
    assert!(matches!(
        bounded.tags().await,
        Err(StoreError::TooMany { limit: 2, .. })
    ));
    for status in [403, 404] {
        let fault = Fault::first(1, "?start=", FaultKind::Status(status, None));
        registry.set(|it| it.faults = vec![fault]);
        assert!(store.tags().await.is_err(), "{status}");
    }
}

#[tokio::test]
async fn as_many_requests_run_as_asked_for_and_one_at_least() {
    let slow = || {
        vec![Fault::first(
            usize::MAX,
            "HEAD",
            FaultKind::Slow(Duration::from_millis(50)),
        )]
    };
    for (concurrency, expected) in [(0, 1), (1, 1), (3, 3)] {
        let (registry, _) = registry(Switches {
            faults: slow(),
            ..Switches::default()
        });
        let options = RegistryOptions {
            concurrency,
            ..quick()
        };
        let store = store_at(&registry.host(), options);
        let target = blob(&content(10));
        let asks = futures_util::future::join_all((0..6).map(|_| store.contains(&target)));
        let answers = tokio::time::timeout(Duration::from_secs(20), asks).await;
        assert!(answers.expect("it ends").into_iter().all(|it| !it.unwrap()));
        assert_eq!(registry.most_at_once(), expected);
        push_image(&store).await;
        let one = vec![manifest(&blob(&content(100)), None, "application/x.a")];
        let pushed = tokio::time::timeout(Duration::from_secs(20), store.push_manifests(one));
        pushed.await.expect("it ends").unwrap();
    }
}
