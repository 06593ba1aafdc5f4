//! How long an admission takes: through a real API server, without a webhook and with ours, warm; and cold,
//! with what two thousand strangers attached. Medians, in one run.
//!
//! `cargo bench -p sealpack-tests --bench admission`

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark measures time, prints what it found, and stops when it cannot"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use attest::key::PrivateKey;
use hyper::Method;
use oci::{Descriptor, MediaType};
use serde_json::{Value, json};
use testkit::registry::{Switches, TestRegistry};
use testkit::{Certificates, Kube, KubeClient, Webhook, Workspace};

const ROUNDS: usize = 100;
const STRANGERS: usize = 2_000;
const PODS: &str = "/api/v1/namespaces/default/pods?dryRun=All";

#[tokio::main]
async fn main() {
    // `cargo test --all-targets` runs benchmarks too, to see that they start.
    let real = std::env::args().any(|it| it == "--bench");
    let (rounds, strangers) = if real { (ROUNDS, STRANGERS) } else { (1, 10) };
    let workspace = Workspace::in_memory();
    for folder in ["tls", "kube", "policies"] {
        fs_err::create_dir(workspace.join(folder)).unwrap();
    }
    let Some(certificates) = Certificates::make(&workspace.join("tls")) else {
        return;
    };
    let key = PrivateKey::generate().unwrap();
    workspace.write("policies/release.pub", key.public_key().to_pem());
    workspace.write(
        "policies/policy.toml",
        "[[accept]]\nclaims = [\"signature\"]\nsigner = { key = \"release.pub\" }\n[[require]]\nclaim = \"signature\"\n",
    );
    let registry = TestRegistry::start(Switches::default());
    let quiet = push(&registry, "quiet", &key, 0);
    let flooded = push(&registry, "flooded", &key, strangers);

    let arguments = ["--policy", "policies", "--time-limit", "60"];
    let webhook = Webhook::start(&workspace, &certificates, &arguments);
    // A connection is made, and a client for the registry, before anything is measured.
    webhook.ask("/validate", &pod(&quiet)).await;
    let started = Instant::now();
    let response = webhook.ask("/validate", &pod(&flooded)).await;
    let cold = started.elapsed();
    assert_eq!(response.get("allowed"), Some(&true.into()), "{response}");
    println!(
        "cold, {strangers} strangers' referrers: {:.0} ms",
        cold.as_secs_f64() * 1e3
    );
    registry.take_requests();
    let mut connection = webhook.connect().await;
    let review = testkit::review("CREATE", &pod(&flooded), &Value::Null).to_string();
    let mut warm = Vec::new();
    for _ in 0..rounds {
        let started = Instant::now();
        let sent = connection.send(Method::POST, "/validate?timeout=10s", &[], review.clone());
        let answer = testkit::answer(&sent.await.unwrap());
        assert_eq!(answer.get("allowed"), Some(&true.into()));
        warm.push(started.elapsed());
    }
    println!(
        "warm, asked directly: {:.2} ms, {} requests to the registry",
        median(&mut warm),
        registry.take_requests().len()
    );

    let Some(kube) = Kube::start(&workspace.join("kube"), &certificates).await else {
        return;
    };
    let mut client = kube.client().await;
    let mut alone = measure(&mut client, &quiet, rounds).await;
    kube.register(
        "validating",
        "proof",
        &format!("{}/validate", webhook.url()),
        10,
    )
    .await;
    // It takes a moment to be seen.
    let before = webhook.logged("answered").len();
    while webhook.logged("answered").len() == before {
        measure(&mut client, &quiet, 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut with = measure(&mut client, &quiet, rounds).await;
    let (alone, with) = (median(&mut alone), median(&mut with));
    println!(
        "an admission: {alone:.2} ms without webhook, {with:.2} ms with it: {:.2} ms more, {} requests to the registry",
        with - alone,
        registry.take_requests().len()
    );
}

async fn measure(client: &mut KubeClient, image: &str, rounds: usize) -> Vec<Duration> {
    let pod = pod(image);
    let mut taken = Vec::new();
    for _ in 0..rounds {
        let started = Instant::now();
        let (status, answer) = client.request(Method::POST, PODS, Some(&pod)).await;
        taken.push(started.elapsed());
        assert_eq!(status, 201, "{answer}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    taken
}

/// In milliseconds.
fn median(taken: &mut [Duration]) -> f64 {
    taken.sort();
    taken
        .get(taken.len() / 2)
        .map_or(0.0, |it| it.as_secs_f64() * 1e3)
}

fn pod(image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bench", "namespace": "default"},
        "spec": {"containers": [{"name": "web", "image": image}]},
    })
}

/// An image that is signed, and by so many strangers; its name by digest.
fn push(registry: &TestRegistry, name: &str, key: &PrivateKey, strangers: usize) -> String {
    let put = |tag: Option<&str>, manifest: &Value| {
        let manifest = manifest.to_string();
        let media_type = MediaType::IMAGE_MANIFEST;
        registry.put_manifest(name, tag, media_type.as_str(), manifest.clone());
        Descriptor::of(media_type, manifest.as_bytes())
    };
    registry.put_blob(name, &b"{}"[..]);
    let image = put(
        Some("1"),
        &json!({
            "schemaVersion": 2, "mediaType": MediaType::IMAGE_MANIFEST, "layers": [],
            "config": Descriptor::of(MediaType::IMAGE_CONFIG, b"{}"), "annotations": {"name": name},
        }),
    );
    let attach = |bundle: Vec<u8>| {
        let layer = Descriptor::of(MediaType::SIGSTORE_BUNDLE, &bundle);
        registry.put_blob(name, bundle);
        put(
            None,
            &json!({
                "schemaVersion": 2, "mediaType": MediaType::IMAGE_MANIFEST, "layers": [layer], "subject": image,
                "artifactType": MediaType::SIGSTORE_BUNDLE, "config": Descriptor::of(MediaType::EMPTY, b"{}"),
            }),
        );
    };
    let bundle = |key: &PrivateKey| {
        let statement =
            attest::image_signature(std::slice::from_ref(&image), &BTreeMap::new()).unwrap();
        attest::sign(&statement, key).unwrap().json().to_vec()
    };
    attach(bundle(key));
    let by_stranger = bundle(&PrivateKey::generate().unwrap());
    for number in 0..strangers {
        // Each is another document.
        let mut bytes = by_stranger.clone();
        bytes.extend(std::iter::repeat_n(b' ', number + 1));
        attach(bytes);
    }
    format!("{}/{name}@{}", registry.host(), image.digest)
}
