//! An independent client of registries, in Rust: what we attach it finds, with the referrers API and under
//! the fallback tag, and what it pushes we read.

use std::path::Path;

use oci::Digest;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use testkit::{Output, Server, Workspace, docker_registry, olareg};
use tokio::runtime::Runtime;

use crate::verify::{IMAGE, fixture};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn finds_what_we_attach(registry: impl Fn(&Path) -> Option<Server>) {
    let workspace = Workspace::new();
    let Some(registry) = registry(workspace.path()) else {
        return;
    };
    let image = format!("{}/peer/app@{IMAGE}", registry.host());
    let run = |arguments: &[&str]| Output::of(&mut workspace.sealpack(arguments)).expect(0);
    let source = format!("oci:{}@{IMAGE}", fixture("cosign-v3-key").display());
    run(&[
        "copy",
        "--no-referrers",
        &source,
        &image.replace(&format!("@{IMAGE}"), ":v1"),
    ]);
    let key = fixture("keys/cosign.key").display().to_string();
    let mut sign = workspace.sealpack(["sign", &image, "--key", &key]);
    Output::of(sign.env("COSIGN_PASSWORD", "sealpack")).expect(0);

    // Another test may have been first.
    let provider = rustls::crypto::ring::default_provider().install_default();
    provider.unwrap_or_default();
    let config = ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    };
    let client = oci_client::Client::new(config);
    let named: oci_client::Reference = image.parse().unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        client
            .store_auth_if_needed(named.resolve_registry(), &RegistryAuth::Anonymous)
            .await;
        let found = client.pull_referrers(&named, Some(BUNDLE)).await.unwrap();
        assert_eq!(found.manifests.len(), 1, "{found:?}");
        // And its manifest is the one that we wrote.
        let digest = &found.manifests[0].digest;
        let referrer = named.clone_with_digest(digest.clone());
        let types = ["application/vnd.oci.image.manifest.v1+json"];
        let (manifest, presented) = client
            .pull_manifest_raw(&referrer, &RegistryAuth::Anonymous, &types)
            .await
            .unwrap();
        assert_eq!((&presented, Digest::of(&manifest).as_str()), (digest, digest.as_str()));
        // What it pushes, we read.
        let theirs: oci_client::Reference = format!("{}/peer/theirs:v1", registry.host())
            .parse()
            .unwrap();
        let config = "{}";
        let digest = Digest::of(config.as_bytes());
        let pushed = client.push_blob(&theirs, config, digest.as_str()).await;
        pushed.unwrap();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"text/x","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{digest}","size":2}},"layers":[]}}"#,
            types[0]
        );
        let media_type = types[0].parse().unwrap();
        let pushed = client.push_manifest_raw(&theirs, manifest, media_type).await;
        pushed.unwrap();
        run(&["copy", &theirs.to_string(), "oci:theirs:v1"]);
    });
}

#[test]
fn oci_client_finds_what_we_attach_with_the_referrers_api() {
    finds_what_we_attach(olareg);
}

#[test]
fn oci_client_finds_what_we_attach_under_the_fallback_tag() {
    finds_what_we_attach(docker_registry);
}
