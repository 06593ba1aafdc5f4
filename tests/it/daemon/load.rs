//! What a daemon is sent.

use oci::{MediaType, MemoryStore, Store as _};
use serde_json::json;
use testkit::daemon::{DaemonSwitches, TestDaemon};

use super::{image_id, layers_among, load, podman, push_image, push_manifest};

const ALL: [&str; 3] = ["base", "middle", "top"];

fn containerd(api: &'static str) -> DaemonSwitches {
    DaemonSwitches {
        containerd: true,
        api,
        ..DaemonSwitches::default()
    }
}

#[tokio::test]
async fn layers_that_the_daemon_has_are_neither_fetched_nor_sent() {
    for switches in [DaemonSwitches::default(), containerd("1.48")] {
        let daemon = TestDaemon::start(switches);
        let store = MemoryStore::new();
        let base = push_image(&store, &ALL[..2], &ALL[..2]).await;
        load(&daemon, &store, &base).await.unwrap();
        assert_eq!(layers_among(&daemon.loads()[0], &ALL), ALL[..2]);

        // A source without the layers below cannot have been asked for them.
        let sparse = MemoryStore::new();
        let image = push_image(&sparse, &ALL, &ALL[2..]).await;
        let loaded = load(&daemon, &sparse, &image).await.unwrap();
        assert_eq!(layers_among(&daemon.loads()[1], &ALL), ALL[2..]);
        assert_eq!(daemon.image("app:v1"), Some(loaded.id));
        assert_eq!(
            (loaded.copied.new.blobs, loaded.copied.skipped.blobs),
            (2, 2)
        );
        assert_eq!(loaded.copied.skipped.bytes, "basemiddle".len() as u64);
    }
}

#[tokio::test]
async fn a_layer_is_known_only_on_the_layers_below_it() {
    let daemon = TestDaemon::start(DaemonSwitches::default());
    let store = MemoryStore::new();
    let image = push_image(&store, &["base", "top"], &ALL).await;
    load(&daemon, &store, &image).await.unwrap();
    let image = push_image(&store, &["middle", "top"], &[]).await;
    load(&daemon, &store, &image).await.unwrap();
    assert_eq!(layers_among(&daemon.loads()[1], &ALL), ["middle", "top"]);
}

/// It would refuse an image without its layers.
#[tokio::test]
async fn podman_is_sent_all() {
    let daemon = TestDaemon::start(podman());
    let store = MemoryStore::new();
    let base = push_image(&store, &ALL[..2], &ALL[..2]).await;
    load(&daemon, &store, &base).await.unwrap();
    let image = push_image(&store, &ALL, &ALL).await;
    load(&daemon, &store, &image).await.unwrap();
    assert_eq!(daemon.loads().len(), 2);
    assert_eq!(layers_among(&daemon.loads()[1], &ALL), ALL);
}

#[tokio::test]
async fn an_image_that_the_daemon_has_is_only_named() {
    for switches in [DaemonSwitches::default(), containerd("1.48")] {
        let is_containerd = switches.containerd;
        let daemon = TestDaemon::start(switches);
        let store = MemoryStore::new();
        let image = push_image(&store, &ALL, &ALL).await;
        load(&daemon, &store, &image).await.unwrap();
        let client = super::daemon_at(&daemon.host(), super::quick());
        let again = super::load_as(&client, &store, &image, "r.example/other").await;
        let again = again.unwrap();
        assert_eq!(daemon.loads().len(), 1);
        assert_eq!(daemon.image("r.example/other:v1"), Some(again.id.clone()));
        assert_eq!(again.copied.new.bytes, 0);
        let mut id = image_id(&store, &image).await;
        if is_containerd {
            id = image.digest.clone();
        }
        assert_eq!(again.id, id);
    }
}

#[tokio::test]
async fn all_is_sent_where_it_is_not_known_what_is_there() {
    let daemon = TestDaemon::start(containerd("1.47"));
    let store = MemoryStore::new();
    for layers in [&ALL[..2], &ALL] {
        let image = push_image(&store, layers, &ALL).await;
        let loaded = load(&daemon, &store, &image).await.unwrap();
        assert_eq!(loaded.id, image.digest);
        assert_eq!(layers_among(daemon.loads().last().unwrap(), &ALL), layers);
    }
}

#[tokio::test]
async fn all_is_sent_if_a_layer_has_gone_meanwhile() {
    for switches in [DaemonSwitches::default(), containerd("1.48")] {
        let daemon = TestDaemon::start(switches);
        let store = MemoryStore::new();
        let base = push_image(&store, &ALL[..2], &ALL).await;
        load(&daemon, &store, &base).await.unwrap();
        daemon.forget_layers();
        let image = push_image(&store, &ALL, &[]).await;
        let loaded = load(&daemon, &store, &image).await.unwrap();
        let sent: Vec<_> = daemon
            .loads()
            .iter()
            .map(|it| layers_among(it, &ALL))
            .collect();
        assert_eq!(sent, [ALL[..2].to_vec(), ALL[2..].to_vec(), ALL.to_vec()]);
        assert_eq!(daemon.image("app:v1"), Some(loaded.id));
        assert_eq!(loaded.copied.skipped.blobs, 0);
    }
}

#[tokio::test]
async fn nothing_is_asked_twice() {
    let daemon = TestDaemon::start(DaemonSwitches::default());
    let store = MemoryStore::new();
    let base = push_image(&store, &ALL[..1], &ALL).await;
    load(&daemon, &store, &base).await.unwrap();
    daemon.take_requests();
    let image = push_image(&store, &ALL, &[]).await;
    load(&daemon, &store, &image).await.unwrap();
    let (new, old) = (
        image_id(&store, &image).await,
        image_id(&store, &base).await,
    );
    assert_eq!(
        daemon.take_requests(),
        [
            "GET /version".to_owned(),
            "GET /info".to_owned(),
            format!("GET /images/{new}/json?manifests=1"),
            "GET /images/json".to_owned(),
            format!("GET /images/{old}/json?manifests=1"),
            "POST /images/load?quiet=0".to_owned(),
            "GET /images/app:v1/json?manifests=1".to_owned(),
        ]
    );
}

#[tokio::test]
async fn of_an_index_it_is_the_image_for_the_daemons_machine() {
    let daemon = TestDaemon::start(DaemonSwitches::default());
    let store = MemoryStore::new();
    let images = [
        (push_image(&store, &["arm"], &["arm"]).await, "arm64"),
        (push_image(&store, &["amd"], &["amd"]).await, "amd64"),
    ];
    let manifests = images.iter().map(|(image, architecture)| {
        let platform = json!({"os": "linux", "architecture": architecture});
        json!({
            "mediaType": image.media_type, "digest": image.digest, "size": image.size,
            "platform": platform,
        })
    });
    let manifests: Vec<_> = manifests.collect();
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    let index = push_manifest(&store, MediaType::IMAGE_INDEX, &index).await;
    for subject in [&index, &images[1].0] {
        let proof = json!({
            "schemaVersion": 2, "mediaType": MediaType::IMAGE_MANIFEST, "layers": [],
            "config": {"mediaType": MediaType::EMPTY, "digest": subject.digest, "size": 2},
            "subject": subject,
        });
        push_manifest(&store, MediaType::IMAGE_MANIFEST, &proof).await;
    }
    let loaded = load(&daemon, &store, &index).await.unwrap();
    assert_eq!(loaded.copied.root.digest, images[1].0.digest);
    assert_eq!(loaded.copied.left_behind, 2);
    assert_eq!(layers_among(&daemon.loads()[0], &["arm", "amd"]), ["amd"]);
    let proof = store.referrers(&index.digest).await.unwrap();
    let refused = load(&daemon, &store, &proof[0]).await;
    assert!(refused.is_err(), "{refused:?}");
}
