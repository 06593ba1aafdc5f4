//! How long the gate takes to say whether an image may be used, to which strangers have attached 2,000
//! signatures: cold, and warm.
//!
//! `cargo bench -p sealpack-tests --bench gate`

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark measures time, prints what it found, and stops when it cannot"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use attest::key::PrivateKey;
use attest::{Accept, SignerPattern};
use bytes::Bytes;
use gate::{Gate, GateOptions, Image, Question};
use intoto::PredicateType;
use oci::store::{RegistryClient, RegistryOptions};
use oci::{CopyOptions, Descriptor, MediaType, MemoryStore, Places, Store, copy_graph};
use policies::{Policy, PolicySource};
use serde_json::json;
use testkit::registry::{Switches, TestRegistry};

const STRANGERS: usize = 2_000;
const WARM: u32 = 1_000;

#[tokio::main]
async fn main() {
    // `cargo test --all-targets` runs benchmarks too, to see that they start.
    let strangers = if std::env::args().any(|it| it == "--bench") {
        STRANGERS
    } else {
        10
    };
    let registry = TestRegistry::start(Switches {
        // As large registries list them.
        page_size: Some(1_000),
        ..Switches::default()
    });
    let (image, key) = fill(&registry, strangers).await;
    let mut source = PolicySource::new("policy");
    source.accepts.push(Accept {
        predicate_type: PredicateType::COSIGN_SIGN,
        signer: SignerPattern::Key(key.public_key().clone()),
    });
    source.required.push(PredicateType::COSIGN_SIGN);
    let client = RegistryClient::new(RegistryOptions {
        concurrency: 32,
        ..RegistryOptions::default()
    });
    let reference = format!("{}/app@{}", registry.host(), image.digest);
    let question = Question {
        image: Image::Named {
            places: Arc::new(Places::default().with_client(client)),
            reference: reference.parse().unwrap(),
        },
        policy: Arc::new(Policy::compile(source).unwrap()),
        at: SystemTime::now(),
    };
    let gate = Gate::new(GateOptions::default());
    registry.take_requests();
    let begun = Instant::now();
    let answer = gate.ask(&question).await.unwrap();
    let cold = begun.elapsed();
    assert!(answer.judged.verdict.accepted());
    assert_eq!(answer.judged.unproven.len(), strangers);
    let requests = registry.take_requests().len();
    let begun = Instant::now();
    for _ in 0..WARM {
        gate.ask(&question).await.unwrap();
    }
    let warm = begun.elapsed() / WARM;
    assert_eq!(registry.take_requests().len(), 0);
    println!("{strangers} strangers: cold {cold:?} ({requests} requests), warm {warm:?} (none)");
}

/// Puts a signed image there, and signatures by a stranger.
async fn fill(registry: &TestRegistry, strangers: usize) -> (Descriptor, PrivateKey) {
    let store = MemoryStore::new();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::IMAGE_MANIFEST,
        "config": Descriptor::of(MediaType::EMPTY, b"{}"),
        "layers": [],
    });
    let manifest = Bytes::from(manifest.to_string());
    let image = Descriptor::of(MediaType::IMAGE_MANIFEST, &manifest);
    let empty = oci::Upload::Bytes(Bytes::from_static(b"{}"));
    let config = Descriptor::of(MediaType::EMPTY, b"{}");
    store.push_blob(&config, empty).await.unwrap();
    store.push_manifest(&image, manifest).await.unwrap();
    let (key, stranger) = (
        PrivateKey::generate().unwrap(),
        PrivateKey::generate().unwrap(),
    );
    for number in 0..=strangers {
        let annotations = BTreeMap::from([("number".to_owned(), number.to_string())]);
        let images = std::slice::from_ref(&image);
        let statement = attest::image_signature(images, &annotations).unwrap();
        let signer = if number == 0 { &key } else { &stranger };
        let bundle = attest::sign(&statement, signer).unwrap();
        attest::attach(&store, &image, &bundle, None).await.unwrap();
    }
    let client = RegistryClient::new(RegistryOptions::default());
    let name = format!("{}/app", registry.host()).parse().unwrap();
    let options = CopyOptions {
        referrers: true,
        ..CopyOptions::default()
    };
    let there = client.repository(&name);
    copy_graph(&store, &there, &image, &options, &())
        .await
        .unwrap();
    (image, key)
}
