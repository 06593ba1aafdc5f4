//! Against registries that others wrote; skipped, loudly, where they are not installed.

use oci::{Descriptor, Selector, Store as _, Upload};
use testkit::{docker_registry, olareg};

use super::{attach, blob, content, manifest, push_image, quick, read, resolve, store_at};

#[tokio::test]
async fn docker_registry_keeps_what_we_push() {
    let folder = tempfile::tempdir().unwrap();
    if let Some(server) = docker_registry(folder.path()) {
        round_trip(server.host()).await;
    }
}

#[tokio::test]
async fn olareg_keeps_what_we_push() {
    let folder = tempfile::tempdir().unwrap();
    if let Some(server) = olareg(folder.path()) {
        round_trip(server.host()).await;
    }
}

async fn round_trip(host: &str) {
    let store = store_at(host, quick());
    store.ping().await.unwrap();
    let tag = Selector::Tag("v1".parse().unwrap());
    assert_eq!(store.check_read(&tag).await.unwrap(), None);
    let image = push_image(&store).await;
    assert_eq!(store.referrers(&image.digest).await.unwrap(), []);

    // Large, from a file, and mounted by a neighbour.
    let large = content(5 << 20);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), &large).unwrap();
    let upload = Upload::File(file.path().to_owned());
    store.push_blob(&blob(&large), upload).await.unwrap();
    assert_eq!(read(&store, &blob(&large)).await.unwrap(), large);
    let client = oci::store::RegistryClient::new(quick());
    let neighbour = client.repository(&format!("{host}/team/other").parse().unwrap());
    let from = format!("{host}/team/app").parse().unwrap();
    if neighbour.mount(&blob(&large), &from).await.unwrap() {
        assert_eq!(read(&neighbour, &blob(&large)).await.unwrap(), large);
    }

    // Referrers, one by one and many at once, also of a referrer.
    let referrer = attach(&store, &image, "application/x.a").await.unwrap();
    let nested = attach(&store, &referrer, "application/x.b").await.unwrap();
    let layer = blob(&content(100));
    let more = (0..20).map(|at| manifest(&layer, Some(&image), &format!("application/y.{at}")));
    store.push_manifests(more.collect()).await.unwrap();
    let fresh = store_at(host, quick());
    let found = fresh.referrers(&image.digest).await.unwrap();
    assert_eq!(found.len(), 21);
    let entry = |it: &&Descriptor| it.digest == referrer.digest;
    let entry = found.iter().find(entry).unwrap();
    assert_eq!(entry.artifact_type, Some("application/x.a".into()));
    assert_eq!(entry.annotations["key"], "application/x.a");
    let of_referrer = fresh.referrers(&referrer.digest).await.unwrap();
    assert_eq!(of_referrer.len(), 1);

    store.tag(&image, &"v1".parse().unwrap()).await.unwrap();
    assert_eq!(resolve(&fresh, "v1").await.unwrap(), image);
    assert!(fresh.tags().await.unwrap().contains(&"v1".parse().unwrap()));

    store.delete(&nested).await.unwrap();
    assert!(!fresh.contains(&nested).await.unwrap());
    assert_eq!(fresh.referrers(&referrer.digest).await.unwrap(), []);
}
