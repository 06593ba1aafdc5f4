//! What a daemon says of what it has: when it is asked, and how far it is believed.

use bytes::Bytes;
use oci::store::{DaemonOptions, DaemonProblem, LoadError};
use oci::{Descriptor, Limits, MediaType, MemoryStore, Store, StoreError, Upload};
use serde_json::json;
use testkit::daemon::{DaemonFault, DaemonSwitches, TestDaemon};

use super::faults::problem;
use super::{
    Lying, daemon_at, image_id, layer, layers_among, load, load_as, podman, push_image,
    push_manifest, quick,
};

fn containerd(api: &'static str) -> DaemonSwitches {
    DaemonSwitches {
        containerd: true,
        api,
        ..DaemonSwitches::default()
    }
}

/// A daemon that has an image `app:v1` of `layers`, and then this fault.
async fn with_image(on: &'static str, fault: DaemonFault, layers: &[&str]) -> TestDaemon {
    let working = TestDaemon::start(DaemonSwitches::default());
    let store = MemoryStore::new();
    let image = push_image(&store, layers, layers).await;
    load(&working, &store, &image).await.unwrap();
    let daemon = TestDaemon::start(DaemonSwitches {
        faults: vec![(on, fault)],
        ..DaemonSwitches::default()
    });
    daemon.take_images(&working);
    daemon
}

#[tokio::test]
async fn a_name_that_was_not_given_is_found_out() {
    let daemon = with_image("/tag?", DaemonFault::Lie, &["layer"]).await;
    let store = MemoryStore::new();
    let image = push_image(&store, &["layer"], &["layer"]).await;
    let client = daemon_at(&daemon.host(), quick());
    let error = load_as(&client, &store, &image, "other").await.unwrap_err();
    assert!(matches!(problem(&error), DaemonProblem::Strange(_)));
    assert_eq!(daemon.image("other:v1"), None);
    assert_eq!(daemon.loads().len(), 0);
}

/// Half an image has the ID of the whole one.
#[tokio::test]
async fn an_image_that_is_not_all_there_is_sent() {
    let daemon = TestDaemon::start(containerd("1.48"));
    let store = MemoryStore::new();
    let image = push_image(&store, &["layer"], &["layer"]).await;
    load(&daemon, &store, &image).await.unwrap();
    daemon.forget_layers();
    load(&daemon, &store, &image).await.unwrap();
    // First without the layer, which it could have had.
    assert_eq!(daemon.loads().len(), 3);
    assert_eq!(layers_among(&daemon.loads()[2], &["layer"]), ["layer"]);

    // One that does not say is not believed to have it, either.
    let daemon = TestDaemon::start(containerd("1.47"));
    for count in 1..=2 {
        load(&daemon, &store, &image).await.unwrap();
        assert_eq!(daemon.loads().len(), count);
    }
}

#[tokio::test]
async fn another_manifest_that_is_there_is_not_this_one() {
    let store = MemoryStore::new();
    let image = push_image(&store, &["layer"], &["layer"]).await;
    let other = layer("other").digest;
    // What is there, by the ID of what is not.
    let said = json!({
        "Id": image.digest, "Manifests": [{ "ID": other, "Available": true }],
    });
    let daemon = TestDaemon::start(DaemonSwitches {
        faults: vec![(
            "GET /images/sha256",
            DaemonFault::Gives(said.to_string().into()),
        )],
        ..containerd("1.48")
    });
    load(&daemon, &store, &image).await.unwrap();
    assert_eq!(daemon.loads().len(), 1);
}

#[tokio::test]
async fn layers_in_zstd_are_not_sent_to_who_cannot_read_them() {
    let store = MemoryStore::new();
    let zstd = Descriptor {
        media_type: MediaType::LAYER_ZSTD,
        ..layer("zstd")
    };
    let upload = Upload::Bytes(Bytes::from_static(b"zstd"));
    store.push_blob(&zstd, upload).await.unwrap();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [zstd.digest] },
    });
    let config_bytes = Bytes::from(config.to_string());
    let config = Descriptor::of(MediaType::IMAGE_CONFIG, &config_bytes);
    let upload = Upload::Bytes(config_bytes);
    store.push_blob(&config, upload).await.unwrap();
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [zstd] });
    let image = push_manifest(&store, MediaType::IMAGE_MANIFEST, &manifest).await;
    let docker = |api: &'static str| DaemonSwitches {
        api,
        ..DaemonSwitches::default()
    };
    for (switches, is_read) in [
        (docker("1.41"), false),
        (docker("1.42"), true),
        (podman(), true),
    ] {
        let daemon = TestDaemon::start(switches);
        let loaded = load(&daemon, &store, &image).await;
        assert_eq!(loaded.is_ok(), is_read, "{loaded:?}");
        assert_eq!(daemon.loads().len(), usize::from(is_read));
        if let Err(error) = loaded {
            let unsupported = StoreError::Unsupported {
                place: daemon.host(),
                action: "",
                answer: None,
            };
            let LoadError::Destination(error) = error else {
                panic!("{error:?}");
            };
            assert_eq!(
                std::mem::discriminant(&error),
                std::mem::discriminant(&unsupported)
            );
        }
    }
}

/// A source that fails would fail again.
#[tokio::test]
async fn a_source_that_fails_is_not_asked_again() {
    let daemon = TestDaemon::start(DaemonSwitches::default());
    let store = MemoryStore::new();
    let base = push_image(&store, &["base"], &["base"]).await;
    load(&daemon, &store, &base).await.unwrap();
    // All would be sent the second time, and the first layer is not there either.
    let sparse = MemoryStore::new();
    let image = push_image(&sparse, &["base", "gone"], &[]).await;
    let error = load(&daemon, &sparse, &image).await.unwrap_err();
    let LoadError::Source { digest, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(digest, layer("gone").digest);
}

/// What has gone since it was listed has no layers to offer.
#[tokio::test]
async fn an_image_that_has_gone_since_it_was_listed_is_none() {
    let store = MemoryStore::new();
    let base = push_image(&store, &["base"], &["base"]).await;
    let id = image_id(&store, &base).await;
    let on: &'static str = format!("GET /images/{id}/json").leak();
    let gone = DaemonFault::Status(404, "No such image");
    let daemon = with_image(on, gone, &["base"]).await;
    let image = push_image(&store, &["base", "top"], &["top"]).await;
    load(&daemon, &store, &image).await.unwrap();
    assert_eq!(daemon.loads()[0].len(), 4, "all layers were sent");
}

#[tokio::test]
async fn only_so_many_images_are_looked_at() {
    let daemon = TestDaemon::start(DaemonSwitches::default());
    let store = MemoryStore::new();
    let mut ids = Vec::new();
    for content in ["one", "two", "three"] {
        let image = push_image(&store, &[content], &[content]).await;
        let client = daemon_at(&daemon.host(), quick());
        load_as(&client, &store, &image, content).await.unwrap();
        ids.push((image_id(&store, &image).await, content));
    }
    daemon.take_requests();
    let options = DaemonOptions {
        inspections: 2,
        ..quick()
    };
    // First the one that it replaces: that which the daemon lists last.
    let (id, name) = ids.into_iter().max().unwrap();
    let image = push_image(&store, &["new"], &["new"]).await;
    let client = daemon_at(&daemon.host(), options);
    load_as(&client, &store, &image, name).await.unwrap();
    let requests = daemon.take_requests();
    let listed = requests.iter().position(|it| it == "GET /images/json");
    let asked = requests[listed.unwrap() + 1..].iter();
    let asked: Vec<_> = asked.take_while(|it| it.starts_with("GET")).collect();
    assert_eq!(asked.len(), 2, "{requests:?}");
    // Both are asked at once, and may come in either order.
    let is_asked = asked.iter().any(|it| it.contains(id.as_str()));
    assert!(is_asked, "{asked:?}");
}

/// A connection that was closed is none to ask on.
#[tokio::test]
async fn a_daemon_that_closes_its_connections_is_reached_anew() {
    let daemon = TestDaemon::start(DaemonSwitches {
        closes: true,
        ..DaemonSwitches::default()
    });
    let store = MemoryStore::new();
    let image = push_image(&store, &["layer"], &["layer"]).await;
    load(&daemon, &store, &image).await.unwrap();
}

#[tokio::test]
async fn a_load_that_is_refused_has_failed() {
    let fault = DaemonFault::Status(507, "no space left");
    let daemon = TestDaemon::start(DaemonSwitches {
        faults: vec![("POST /images/load", fault)],
        ..DaemonSwitches::default()
    });
    let store = MemoryStore::new();
    let image = push_image(&store, &["layer"], &["layer"]).await;
    let error = load(&daemon, &store, &image).await.unwrap_err();
    assert_eq!(problem(&error).to_string(), "it says: no space left");
}

/// As long as it should be, and not what it should be.
#[tokio::test]
async fn a_layer_that_is_another_one_is_not_loaded() {
    let daemon = TestDaemon::start(DaemonSwitches::default());
    let store = Lying::default();
    let good = "y".repeat(4096);
    let image = push_image(&store, &[&good], &[&good]).await;
    let error = load(&daemon, &store, &image).await.unwrap_err();
    assert!(
        matches!(
            &error,
            LoadError::Source {
                source: StoreError::DigestMismatch { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(daemon.loads(), [] as [Vec<String>; 0]);
}

/// The words of a daemon are shown, but not all that it could say.
#[tokio::test]
async fn long_words_are_cut_and_endless_ones_not_read() {
    for (length, is_read) in [(5000, true), (100_000, false)] {
        let words: &'static str = "x".repeat(length).leak();
        let daemon = TestDaemon::start(DaemonSwitches {
            faults: vec![("GET /info", DaemonFault::Status(403, words))],
            ..DaemonSwitches::default()
        });
        let store = MemoryStore::new();
        let image = push_image(&store, &["layer"], &["layer"]).await;
        let error = load(&daemon, &store, &image).await.unwrap_err();
        match problem(&error) {
            DaemonProblem::Said { message, .. } if is_read => assert_eq!(message.len(), 1000),
            DaemonProblem::TooLong { .. } if !is_read => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn referrers_are_counted_up_to_the_limit() {
    let daemon = TestDaemon::start(DaemonSwitches::default());
    let store = MemoryStore::new();
    let image = push_image(&store, &["layer"], &["layer"]).await;
    for turn in 0..3_u8 {
        crate::layout::push_image(&store, &[turn], Some(&image)).await;
    }
    let options = DaemonOptions {
        limits: Limits {
            referrers: 2,
            ..Limits::default()
        },
        ..quick()
    };
    let client = daemon_at(&daemon.host(), options);
    let loaded = load_as(&client, &store, &image, "app").await.unwrap();
    assert_eq!(loaded.copied.left_behind, 2);
}
