//! The registry client against a registry with faults: each test here fails when the defence that
//! it is named for is taken out.

mod answers;
mod auth;
mod blobs;
mod hostile;
mod hosts;
mod manifests;
mod real;
mod referrers;
mod schemes;
mod secure;
mod sizes;
mod tokens;
mod tools;
mod uploads;

use std::time::Duration;

use bytes::Bytes;
use oci::store::{RegistryClient, RegistryOptions, RegistryStore, Retries};
use oci::{Descriptor, MediaType, Selector, Store as _, StoreError, Upload};
use serde_json::json;
use testkit::registry::{Switches, TestRegistry};
use testkit::{Asked, Reply, Scripted};

/// Options that do not make tests wait.
fn quick() -> RegistryOptions {
    RegistryOptions {
        retries: Retries {
            count: 3,
            first: Duration::from_millis(1),
            longest: Duration::from_millis(50),
        },
        ..RegistryOptions::default()
    }
}

fn store_at(host: &str, options: RegistryOptions) -> RegistryStore {
    RegistryClient::new(options).repository(&format!("{host}/team/app").parse().unwrap())
}

/// A registry with these switches, and its repository `team/app`.
fn registry(switches: Switches) -> (TestRegistry, RegistryStore) {
    let registry = TestRegistry::start(switches);
    let store = store_at(&registry.host(), quick());
    (registry, store)
}

/// A server that answers so, and its repository `team/app`.
fn scripted(
    options: RegistryOptions,
    answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> (Scripted, RegistryStore) {
    let server = Scripted::start(answer);
    let store = store_at(&server.host(), options);
    (server, store)
}

/// Bytes that do not repeat soon.
fn content(len: usize) -> Bytes {
    let mut state = 1_u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        })
        .collect()
}

fn blob(content: &Bytes) -> Descriptor {
    Descriptor::of(MediaType::LAYER_GZIP, content)
}

/// An image manifest of one layer; attached to `subject`, if there is one.
fn manifest(
    layer: &Descriptor,
    subject: Option<&Descriptor>,
    artifact_type: &str,
) -> (Descriptor, Bytes) {
    let config = Descriptor::of(MediaType::EMPTY, b"{}");
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::IMAGE_MANIFEST,
        "artifactType": artifact_type,
        "config": config,
        "layers": [layer],
        "annotations": {"key": artifact_type},
    });
    if let Some(subject) = subject {
        document["subject"] = json!(subject.bare());
    }
    let content = Bytes::from(document.to_string());
    (Descriptor::of(MediaType::IMAGE_MANIFEST, &content), content)
}

/// Pushes an image of one small layer; its descriptor.
async fn push_image(store: &RegistryStore) -> Descriptor {
    let layer = content(100);
    let (target, document) = manifest(&blob(&layer), None, "application/x.image");
    for (target, content) in [
        (blob(&layer), layer.clone()),
        (
            Descriptor::of(MediaType::EMPTY, b"{}"),
            Bytes::from_static(b"{}"),
        ),
    ] {
        store
            .push_blob(&target, Upload::Bytes(content))
            .await
            .unwrap();
    }
    store.push_manifest(&target, document).await.unwrap();
    target
}

/// Pushes a manifest that refers to `subject`.
async fn attach(
    store: &RegistryStore,
    subject: &Descriptor,
    artifact_type: &str,
) -> Result<Descriptor, StoreError> {
    let (target, document) = manifest(&blob(&content(100)), Some(subject), artifact_type);
    store.push_manifest(&target, document).await?;
    Ok(target)
}

async fn read(store: &RegistryStore, target: &Descriptor) -> Result<Bytes, StoreError> {
    oci::store::read(store, target, u64::MAX).await
}

async fn resolve(store: &RegistryStore, tag: &str) -> Result<Descriptor, StoreError> {
    store.resolve(&Selector::Tag(tag.parse().unwrap())).await
}

/// All that an error shows, to users and developers.
fn text_of(error: &StoreError) -> String {
    let mut text = format!("{error:?} {error}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push(' ');
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// The outcome of what has to end soon.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .expect("it ends")
}

/// How many of the requests have this in them.
fn count(lines: &[String], part: &str) -> usize {
    lines.iter().filter(|it| it.contains(part)).count()
}

/// The requests without what differs from run to run.
fn shapes(registry: &TestRegistry) -> Vec<String> {
    registry
        .take_requests()
        .iter()
        .map(|line| {
            let (line, _) = line.split_once('?').unwrap_or((line, ""));
            line.split('/')
                .map(|it| match it {
                    it if it.starts_with("sha256:") => "DIGEST",
                    it if it.starts_with("sha256-") => "FALLBACK",
                    it if it.starts_with("upload-") => "ID",
                    it => it,
                })
                .collect::<Vec<_>>()
                .join("/")
                .replace("/v2/team/app/", "")
        })
        .collect()
}
