//! What is attached, with and without the API for it.

use oci::store::RegistryOptions;
use oci::{Descriptor, Digest, Limits, MediaType, Store as _, StoreError};
use serde_json::{Value, json};
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};

use super::{attach, manifest, push_image, quick, read, registry, shapes, soon, store_at};

fn without_api() -> Switches {
    Switches {
        no_referrers_api: true,
        ..Switches::default()
    }
}

fn fallback_tag(subject: &Descriptor) -> String {
    format!("sha256-{}", subject.digest.hex())
}

fn digests(found: &[Descriptor]) -> Vec<Digest> {
    found.iter().map(|it| it.digest.clone()).collect()
}

async fn attach_all(store: &oci::store::RegistryStore, subject: &Descriptor) -> Vec<Digest> {
    let mut pushed = Vec::new();
    for artifact_type in ["application/x.a", "application/x.b", "application/x.c"] {
        pushed.push(attach(store, subject, artifact_type).await.unwrap().digest);
    }
    pushed.sort();
    pushed
}

#[tokio::test]
async fn referrers_are_listed_with_and_without_api() {
    for switches in [Switches::default(), without_api()] {
        let (registry, store) = registry(switches);
        let image = push_image(&store).await;
        assert_eq!(store.referrers(&image.digest).await.unwrap(), []);
        let pushed = attach_all(&store, &image).await;
        let fresh = store_at(&registry.host(), quick());
        let found = fresh.referrers(&image.digest).await.unwrap();
        assert_eq!(digests(&found), pushed);
        for referrer in &found {
            let artifact_type = referrer.artifact_type.as_ref().unwrap().as_str();
            assert!(artifact_type.starts_with("application/x."));
            assert_eq!(referrer.annotations["key"], artifact_type);
            read(&fresh, referrer).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_fallback_tag_is_written_only_where_it_is_needed() {
    let (first, store) = registry(Switches::default());
    let image = push_image(&store).await;
    first.take_requests();
    attach(&store, &image, "application/x.a").await.unwrap();
    assert_eq!(shapes(&first), ["PUT manifests/DIGEST"]);
    // Where one comes alone, none can get lost beside it.
    let layer = super::blob(&super::content(100));
    let one = vec![manifest(&layer, Some(&image), "application/x.b")];
    store.push_manifests(one).await.unwrap();
    assert_eq!(shapes(&first), ["PUT manifests/DIGEST"]);
    assert_eq!(first.tagged("team/app", &fallback_tag(&image)), None);

    let (second, store) = registry(without_api());
    let image = push_image(&store).await;
    second.take_requests();
    attach(&store, &image, "application/x.a").await.unwrap();
    assert_eq!(
        shapes(&second),
        [
            "PUT manifests/DIGEST",
            "GET manifests/FALLBACK",
            "PUT manifests/FALLBACK",
            "GET manifests/FALLBACK",
        ]
    );
    second.take_requests();
    store.referrers(&image.digest).await.unwrap();
    store.referrers(&image.digest).await.unwrap();
    assert_eq!(
        shapes(&second),
        [
            "GET referrers/DIGEST",
            "GET manifests/FALLBACK",
            "GET manifests/FALLBACK",
        ]
    );
}

#[tokio::test]
async fn an_answer_that_is_no_index_means_no_api() {
    let (registry, store) = registry(without_api());
    let image = push_image(&store).await;
    let pushed = attach_all(&store, &image).await;
    registry.set(|it| {
        it.no_referrers_api = false;
        it.referrers_media_type = Some("text/html");
    });
    let fresh = store_at(&registry.host(), quick());
    let found = fresh.referrers(&image.digest).await.unwrap();
    assert_eq!(digests(&found), pushed);
    // But not for good, as its absence does.
    registry.take_requests();
    fresh.referrers(&image.digest).await.unwrap();
    let asked = shapes(&registry);
    assert_eq!(asked, ["GET referrers/DIGEST", "GET manifests/FALLBACK"]);
}

#[tokio::test]
async fn what_is_no_list_of_referrers_is_not_taken_for_an_empty_one() {
    for by_api in [true, false] {
        let (_server, store) = super::scripted(quick(), move |asked| {
            if asked.line.contains("/referrers/") && !by_api {
                return testkit::Reply::new(404).body("");
            }
            testkit::Reply::new(200)
                .header(format!("Content-Type: {}", MediaType::IMAGE_INDEX))
                .body("[]")
        });
        let listed = store.referrers(&Digest::of(b"subject")).await;
        assert!(
            matches!(listed, Err(StoreError::Malformed { .. })),
            "{listed:?}"
        );
    }
}

#[tokio::test]
async fn all_pages_are_read() {
    let (registry, store) = registry(Switches {
        page_size: Some(1),
        ..Switches::default()
    });
    let image = push_image(&store).await;
    let pushed = attach_all(&store, &image).await;
    registry.take_requests();
    let found = store.referrers(&image.digest).await.unwrap();
    assert_eq!(digests(&found), pushed);
    assert_eq!(registry.take_requests().len(), 3);
}

#[tokio::test]
async fn pages_elsewhere_endless_or_missing_are_refused() {
    let other = TestRegistry::start(Switches::default());
    let (registry, store) = registry(Switches {
        page_size: Some(1),
        next_page_at: Some(format!("http://{}", other.host())),
        ..Switches::default()
    });
    let image = push_image(&store).await;
    attach_all(&store, &image).await;
    assert!(matches!(
        store.referrers(&image.digest).await,
        Err(StoreError::Malformed { .. })
    ));
    assert_eq!(other.requests(), Vec::<String>::new());

    registry.set(|it| {
        it.next_page_at = None;
        it.endless_pages = true;
    });
    let limits = Limits {
        pages: 4,
        ..Limits::default()
    };
    let bounded = store_at(&registry.host(), RegistryOptions { limits, ..quick() });
    registry.take_requests();
    assert!(matches!(
        soon(bounded.referrers(&image.digest)).await,
        Err(StoreError::TooMany { limit: 4, .. })
    ));
    assert_eq!(registry.take_requests().len(), 4);

    registry.set(|it| {
        it.endless_pages = false;
        it.faults = vec![Fault::first(1, "?start=", FaultKind::Status(404, None))];
    });
    assert!(matches!(
        store.referrers(&image.digest).await,
        Err(StoreError::Malformed { .. })
    ));
}

#[tokio::test]
async fn more_referrers_than_the_limit_are_an_error() {
    for switches in [Switches::default(), without_api()] {
        let (registry, store) = registry(switches);
        let image = push_image(&store).await;
        attach_all(&store, &image).await;
        let limits = Limits {
            referrers: 2,
            ..Limits::default()
        };
        let options = RegistryOptions { limits, ..quick() };
        let bounded = store_at(&registry.host(), options);
        assert!(matches!(
            bounded.referrers(&image.digest).await,
            Err(StoreError::TooMany { limit: 2, .. })
        ));
    }
}

#[tokio::test]
async fn none_differs_from_could_not_ask() {
    let (registry, store) = registry(Switches::default());
    let image = push_image(&store).await;
    attach_all(&store, &image).await;
    for status in [500, 401, 403, 429] {
        let fault = Fault::first(usize::MAX, "referrers", FaultKind::Status(status, None));
        registry.set(|it| it.faults = vec![fault]);
        let error = store.referrers(&image.digest).await.unwrap_err();
        assert!(!error.is_not_found(), "{status}");
    }
    registry.set(|it| {
        it.no_referrers_api = true;
        let fault = FaultKind::Status(500, None);
        it.faults = vec![Fault::first(usize::MAX, "manifests/sha256-", fault)];
    });
    assert!(matches!(
        store.referrers(&image.digest).await,
        Err(StoreError::Unavailable { .. })
    ));
}

#[tokio::test]
async fn nothing_is_filtered_by_what_a_listing_says() {
    let (_registry, store) = registry(Switches {
        wrong_artifact_type: Some("application/x.lie"),
        ignore_filter: true,
        ..Switches::default()
    });
    let image = push_image(&store).await;
    let pushed = attach_all(&store, &image).await;
    let found = store.referrers(&image.digest).await.unwrap();
    assert_eq!(digests(&found), pushed);
}

#[tokio::test]
async fn a_fallback_tag_that_is_no_index_is_kept_as_it_is() {
    let (registry, store) = registry(without_api());
    let image = push_image(&store).await;
    // As `cosign copy` does it.
    let tag = fallback_tag(&image);
    store.tag(&image, &tag.parse().unwrap()).await.unwrap();
    let before = registry.tagged("team/app", &tag);
    assert!(matches!(
        attach(&store, &image, "application/x.a").await,
        Err(StoreError::Malformed { .. })
    ));
    assert_eq!(registry.tagged("team/app", &tag), before);
    assert_eq!(store.referrers(&image.digest).await.unwrap(), []);

    // Nor is an index of another kind made one of referrers.
    let list = r#"{"schemaVersion":2,"manifests":[]}"#;
    let media_type = "application/vnd.docker.distribution.manifest.list.v2+json";
    registry.put_manifest("team/app", Some(&tag), media_type, list);
    assert!(matches!(
        attach(&store, &image, "application/x.a").await,
        Err(StoreError::Malformed { .. })
    ));
    assert_eq!(registry.tagged("team/app", &tag).unwrap(), list);

    // Nor is anything else that we do not understand.
    for (media_type, other) in [
        ("text/plain", "{}"),
        (MediaType::IMAGE_INDEX.as_str(), "{}"),
        (MediaType::IMAGE_INDEX.as_str(), "[]"),
    ] {
        registry.put_manifest("team/app", Some(&tag), media_type, other);
        assert!(matches!(
            attach(&store, &image, "application/x.a").await,
            Err(StoreError::Malformed { .. })
        ));
        assert_eq!(registry.tagged("team/app", &tag).unwrap(), other);
    }
}

#[tokio::test]
async fn several_answers_mean_that_there_is_no_api() {
    for (status, is_without) in [(400, true), (404, true), (406, true), (405, false)] {
        let (_server, store) = super::scripted(quick(), move |asked| {
            let status = if asked.line.contains("/referrers/") {
                status
            } else {
                404
            };
            testkit::Reply::new(status).body("")
        });
        let listed = store.referrers(&Digest::of(b"subject")).await;
        assert_eq!(listed.is_ok(), is_without, "{status}: {listed:?}");
    }
}

#[tokio::test]
async fn a_lost_race_for_the_fallback_tag_is_run_again() {
    for conditional in [false, true] {
        let (registry, store) = registry(Switches {
            conditional,
            lost_races: 2,
            ..without_api()
        });
        let image = push_image(&store).await;
        let referrer = attach(&store, &image, "application/x.a").await.unwrap();
        let found = digests(&store.referrers(&image.digest).await.unwrap());
        assert!(found.contains(&referrer.digest));
        // The other client's is still there, too.
        assert_eq!(found.len(), 2);
        drop(registry);
    }
}

#[tokio::test]
async fn who_lost_a_race_waits_before_the_next() {
    let (registry, _) = registry(Switches {
        lost_races: 2,
        ..without_api()
    });
    let mut options = quick();
    options.retries.first = std::time::Duration::from_millis(200);
    options.retries.longest = std::time::Duration::from_secs(1);
    let store = store_at(&registry.host(), options);
    let image = push_image(&store).await;
    let start = tokio::time::Instant::now();
    attach(&store, &image, "application/x.a").await.unwrap();
    // At least half of 200 ms, and then of 400.
    let waited = start.elapsed();
    assert!(waited.as_millis() >= 300, "{waited:?}");
}

#[tokio::test]
async fn a_registry_that_keeps_conditions_loses_nothing_between_clients() {
    let (registry, first) = registry(Switches {
        conditional: true,
        ..without_api()
    });
    let image = push_image(&first).await;
    let mut pushed = vec![
        attach(&first, &image, "application/x.0")
            .await
            .unwrap()
            .digest,
    ];
    let clients: Vec<_> = (1..8)
        .map(|at| {
            let store = store_at(&registry.host(), {
                let mut options = quick();
                options.retries.count = 10;
                options
            });
            let image = image.clone();
            tokio::spawn(async move {
                attach(&store, &image, &format!("application/x.{at}"))
                    .await
                    .unwrap()
                    .digest
            })
        })
        .collect();
    for client in clients {
        pushed.push(client.await.unwrap());
    }
    pushed.sort();
    let found = first.referrers(&image.digest).await.unwrap();
    assert_eq!(digests(&found), pushed);
}

#[tokio::test]
async fn many_at_once_are_merged_into_few_writes() {
    for conditional in [false, true] {
        let (registry, store) = registry(Switches {
            conditional,
            ..without_api()
        });
        let image = push_image(&store).await;
        registry.take_requests();
        let layer = super::blob(&super::content(100));
        let manifests: Vec<_> = (0..100)
            .map(|at| manifest(&layer, Some(&image), &format!("application/x.{at}")))
            .collect();
        store.push_manifests(manifests).await.unwrap();
        let writes = registry.take_requests();
        let writes = writes
            .iter()
            .filter(|it| it.contains("PUT") && it.contains("sha256-"));
        assert_eq!(writes.count(), 1);
        assert_eq!(store.referrers(&image.digest).await.unwrap().len(), 100);

        let pushes = (100..130).map(|at| {
            let (store, image) = (store.clone(), image.clone());
            tokio::spawn(
                async move { attach(&store, &image, &format!("application/x.{at}")).await },
            )
        });
        for push in pushes.collect::<Vec<_>>() {
            push.await.unwrap().unwrap();
        }
        assert_eq!(store.referrers(&image.digest).await.unwrap().len(), 130);
        let requests = registry.take_requests();
        let asked = |method: &str| {
            let is_fallback = |it: &&String| it.contains(method) && it.contains("sha256-");
            requests.iter().filter(is_fallback).count()
        };
        assert!(asked("PUT") < 20);
        // Whoever was served by another one asks for nothing: it is read before and after each
        // write, and when it is listed.
        assert!(asked("GET") < 2 * asked("PUT") + 10);
    }
}

#[tokio::test]
async fn what_others_wrote_into_a_fallback_index_stays() {
    let (registry, store) = registry(without_api());
    let image = push_image(&store).await;
    let entry = json!({
        "mediaType": MediaType::IMAGE_MANIFEST,
        "digest": Digest::of(b"other"),
        "size": 5,
        "x-unknown": {"a": [1]},
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::IMAGE_INDEX,
        "manifests": [entry],
        "annotations": {"theirs": "yes"},
    });
    registry.put_manifest(
        "team/app",
        Some(&fallback_tag(&image)),
        MediaType::IMAGE_INDEX.as_str(),
        index.to_string(),
    );
    let ours = attach(&store, &image, "application/x.a").await.unwrap();
    let document = |registry: &TestRegistry| -> Value {
        let content = registry.tagged("team/app", &fallback_tag(&image)).unwrap();
        serde_json::from_slice(&content).unwrap()
    };
    let written = document(&registry);
    assert_eq!(written["manifests"][0], entry);
    assert_eq!(written["annotations"], index["annotations"]);
    assert_eq!(written["manifests"][1]["artifactType"], "application/x.a");

    store.delete(&ours).await.unwrap();
    let written = document(&registry);
    assert_eq!(written["manifests"], json!([entry]));
}

#[tokio::test]
async fn referrers_that_the_registry_lost_are_pushed_again() {
    let (registry, store) = registry(Switches {
        lost_referrers: 3,
        // Some of which it lists all the same.
        lost_manifests: 6,
        ..Switches::default()
    });
    let image = push_image(&store).await;
    let layer = super::blob(&super::content(100));
    let manifests: Vec<_> = (0..10)
        .map(|at| manifest(&layer, Some(&image), &format!("application/x.{at}")))
        .collect();
    store.push_manifests(manifests).await.unwrap();
    let listed = store.referrers(&image.digest).await.unwrap();
    assert_eq!(listed.len(), 10);
    for it in listed {
        assert!(store.contains(&it).await.unwrap());
    }

    for (lost_referrers, lost_manifests) in [(usize::MAX, 0), (1, usize::MAX)] {
        registry.set(|it| {
            it.lost_referrers = lost_referrers;
            it.lost_manifests = lost_manifests;
        });
        let manifests: Vec<_> = (10..20)
            .map(|at| manifest(&layer, Some(&image), &format!("application/x.{at}")))
            .collect();
        assert!(matches!(
            store.push_manifests(manifests).await,
            Err(StoreError::Malformed { .. })
        ));
    }
}

#[tokio::test]
async fn a_repository_that_is_not_there_yet_says_nothing_about_the_api() {
    let unknown = |code: &str| {
        let body = format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#);
        testkit::Reply::new(404).body(body)
    };
    for (code, expected) in [("NAME_UNKNOWN", 2), ("UNSUPPORTED", 1)] {
        let (server, store) = super::scripted(quick(), move |_| unknown(code));
        for _ in 0..2 {
            let found = store.referrers(&Digest::of(b"subject")).await.unwrap();
            assert_eq!(found, []);
        }
        assert_eq!(super::count(&server.lines(), "/referrers/"), expected);
    }
}

#[tokio::test]
async fn a_registry_that_has_come_to_list_referrers_is_asked_for_them() {
    let (registry, store) = registry(without_api());
    let image = push_image(&store).await;
    assert_eq!(store.referrers(&image.digest).await.unwrap(), []);
    registry.set(|it| it.no_referrers_api = false);
    let proof = attach(&store, &image, "application/x.a").await.unwrap();
    let found = store.referrers(&image.digest).await.unwrap();
    assert_eq!(digests(&found), [proof.digest]);
}

#[tokio::test]
async fn a_fallback_index_is_not_written_for_ever_nor_beyond_the_limit() {
    let (registry, store) = registry(Switches {
        lost_races: usize::MAX,
        ..without_api()
    });
    let image = push_image(&store).await;
    registry.take_requests();
    assert!(matches!(
        soon(attach(&store, &image, "application/x.a")).await,
        Err(StoreError::Unavailable { .. })
    ));
    assert_eq!(super::count(&registry.take_requests(), "PUT"), 21);

    registry.set(|it| it.lost_races = 0);
    let limits = Limits {
        manifest_bytes: 1000,
        ..Limits::default()
    };
    let bounded = store_at(&registry.host(), RegistryOptions { limits, ..quick() });
    let mut result = Ok(());
    for at in 0..20 {
        let artifact_type = format!("application/x.{at}");
        result = attach(&bounded, &image, &artifact_type).await.map(drop);
        if result.is_err() {
            break;
        }
    }
    assert!(
        matches!(result, Err(StoreError::TooLarge { limit: 1000, .. })),
        "{result:?}"
    );
    let kept = registry.tagged("team/app", &fallback_tag(&image)).unwrap();
    assert!(kept.len() <= 1000);
}

#[tokio::test]
async fn a_fallback_index_is_written_under_the_condition_that_it_is_the_one_that_was_read() {
    let index = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::IMAGE_INDEX,
        "manifests": [],
    });
    let body = index.to_string();
    let (server, store) = super::scripted(quick(), move |asked| {
        if asked.line.starts_with("PUT") {
            return testkit::Reply::new(201).body("");
        }
        testkit::Reply::new(200)
            .header(format!("Content-Type: {}", MediaType::IMAGE_INDEX))
            .header("ETag: \"as-it-was\"")
            .body(body.clone())
    });
    let image = Descriptor::of(MediaType::IMAGE_MANIFEST, b"image");
    // It never gets what it is sent into its list.
    attach(&store, &image, "application/x.a").await.unwrap_err();
    let conditions: Vec<_> = server
        .asked()
        .into_iter()
        .filter(|it| it.line.starts_with("PUT") && it.line.contains("sha256-"))
        .map(|it| it.headers.get("if-match").cloned())
        .collect();
    assert_eq!(conditions, vec![Some("\"as-it-was\"".to_owned()); 20]);
}

#[tokio::test]
async fn a_registry_that_lists_another_subject_lists_nothing() {
    let (registry, store) = registry(Switches {
        wrong_subject: true,
        ..Switches::default()
    });
    let image = push_image(&store).await;
    attach(&store, &image, "application/x.a").await.unwrap();
    assert!(registry.tagged("team/app", &fallback_tag(&image)).is_some());
}

#[tokio::test]
async fn referrers_of_one_subject_are_pushed_one_after_the_other() {
    let (registry, store) = registry(Switches::default());
    let image = push_image(&store).await;
    let slow = FaultKind::Slow(std::time::Duration::from_millis(30));
    registry.set(|it| it.faults = vec![Fault::first(usize::MAX, "PUT", slow)]);
    let before = registry.most_at_once();
    assert_eq!(before, 1);
    let types: Vec<_> = (0..4).map(|at| format!("application/x.{at}")).collect();
    let pushes = types.iter().map(|it| attach(&store, &image, it));
    for pushed in futures_util::future::join_all(pushes).await {
        pushed.unwrap();
    }
    assert_eq!(registry.most_at_once(), 1);
}

#[tokio::test]
async fn what_arrived_is_listed_where_something_else_failed() {
    let (registry, store) = registry(without_api());
    let image = push_image(&store).await;
    let layer = super::blob(&super::content(100));
    let manifests: Vec<_> = (0..3)
        .map(|at| manifest(&layer, Some(&image), &format!("application/x.{at}")))
        .collect();
    let refused = Fault::first(1, "PUT", FaultKind::Status(403, None));
    registry.set(|it| it.faults = vec![refused]);
    assert!(matches!(
        store.push_manifests(manifests).await,
        Err(StoreError::Refused { .. })
    ));
    assert_eq!(store.referrers(&image.digest).await.unwrap().len(), 2);
}

/// Who has the turn takes along what the others have to add, but must not lose it.
#[tokio::test]
async fn who_fails_to_write_for_all_fails_for_himself_alone() {
    let (registry, store) = registry(without_api());
    let image = push_image(&store).await;
    // The first is slow enough for the others to come together; who is next fails.
    let slow = FaultKind::Slow(std::time::Duration::from_millis(500));
    let refused = Fault {
        after: 1,
        ..Fault::first(
            1,
            "PUT /v2/team/app/manifests/sha256-",
            FaultKind::Status(403, None),
        )
    };
    registry.set(|it| {
        it.faults = vec![
            Fault::first(1, "GET /v2/team/app/manifests/sha256-", slow),
            refused,
        ];
    });
    let types: Vec<_> = (0..3).map(|at| format!("application/x.{at}")).collect();
    let pushes = types.iter().map(|it| attach(&store, &image, it));
    let pushed = futures_util::future::join_all(pushes).await;
    let mut kept: Vec<_> = pushed
        .iter()
        .flatten()
        .map(|it| it.digest.clone())
        .collect();
    kept.sort();
    assert_eq!(kept.len(), 2);
    let found = digests(&store.referrers(&image.digest).await.unwrap());
    assert!(kept.iter().all(|it| found.contains(it)), "{found:?}");
}

#[tokio::test]
async fn more_referrers_than_we_read_can_be_added_to() {
    let (registry, store) = registry(Switches::default());
    let image = push_image(&store).await;
    attach_all(&store, &image).await;
    let limits = Limits {
        referrers: 2,
        ..Limits::default()
    };
    let bounded = store_at(&registry.host(), RegistryOptions { limits, ..quick() });
    let layer = super::blob(&super::content(100));
    let manifests: Vec<_> = (0..3)
        .map(|at| manifest(&layer, Some(&image), &format!("application/x.more-{at}")))
        .collect();
    bounded.push_manifests(manifests).await.unwrap();
    assert_eq!(store.referrers(&image.digest).await.unwrap().len(), 6);
}
