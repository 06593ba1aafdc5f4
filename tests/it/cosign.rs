//! Real cosign verifies what we sign and attest, in registries with and without the referrers API.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use attest::key::PrivateKey;
use intoto::{
    BuildDefinition, BuildMetadata, Builder, PredicateType, Provenance, ResourceDescriptor,
    RunDetails, Statement,
};
use oci::store::{RegistryClient, RegistryOptions};
use oci::{Descriptor, LayoutStore, Limits, Repository, Store, Upload};
use serde_json::{Map, json};
use testkit::{Output, Server, Workspace, docker_registry, olareg, peer};

use crate::verify::{IMAGE, accept_all, attached, descriptor, fixture, private_key};

fn cosign(workspace: &Workspace, arguments: &[&str]) -> Option<Command> {
    let mut command = workspace.command(peer("cosign")?);
    command.args(arguments);
    Some(command)
}

/// Runs cosign on the image that `reference` names, with the public half of the fixtures' key.
fn verify_with(workspace: &Workspace, arguments: &[&str], reference: &str) -> Option<Output> {
    let key = fixture("keys/cosign.pub");
    let key = key.to_str().unwrap();
    let all = [
        arguments,
        &[
            "--key",
            key,
            "--insecure-ignore-tlog",
            "--allow-http-registry",
        ],
        &[reference],
    ]
    .concat();
    Some(Output::of(&mut cosign(workspace, &all)?))
}

fn provenance() -> Provenance {
    Provenance {
        build_definition: BuildDefinition {
            build_type: "https://example.test/build/v1".to_owned(),
            external_parameters: Map::from_iter([("source".to_owned(), json!("."))]),
            internal_parameters: Map::new(),
            resolved_dependencies: Vec::new(),
        },
        run_details: RunDetails {
            builder: Builder {
                id: "https://example.test/builder".to_owned(),
                builder_dependencies: Vec::new(),
                version: BTreeMap::new(),
            },
            metadata: BuildMetadata::default(),
            byproducts: Vec::new(),
        },
    }
}

/// Attaches a signature and three attestations to the image in `store`.
async fn sign_and_attest(store: &dyn Store, image: &Descriptor, key: &PrivateKey) {
    let annotations = BTreeMap::from([("team".to_owned(), "release".to_owned())]);
    let signature = attest::image_signature(std::slice::from_ref(image), &annotations).unwrap();
    let sbom = |predicate_type, document| {
        let subject = ResourceDescriptor::from(image);
        Statement::of_type(predicate_type, vec![subject], document).unwrap()
    };
    let cyclonedx = json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1});
    let spdx = json!({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT"});
    let bundles = [
        attest::sign(&signature, key),
        attest::sign(&Statement::about(image, provenance()), key),
        attest::sign(&sbom(PredicateType::CYCLONEDX, cyclonedx), key),
        attest::sign(&sbom(PredicateType::SPDX, spdx), key),
    ];
    for bundle in bundles {
        attest::attach(store, image, &bundle.unwrap(), None)
            .await
            .unwrap();
    }
}

async fn cosign_verifies_what_we_attach(
    start: impl Fn(&Path) -> Option<Server>,
    names_fallback_tag: bool,
) {
    let workspace = Workspace::new();
    let Some(server) = start(workspace.path()) else {
        return;
    };
    let name = format!("{}/attest/app", server.host());
    let repository: Repository = name.parse().unwrap();
    let store = RegistryClient::new(RegistryOptions::default()).repository(&repository);
    let image = descriptor(IMAGE);
    let layout = LayoutStore::open(fixture("cosign-v3-key")).unwrap();
    let manifest = oci::store::read(&layout, &image, 1 << 20).await.unwrap();
    let parsed = oci::Manifest::parse(&image.media_type, &manifest, &Limits::default()).unwrap();
    for blob in parsed.successors() {
        let content = oci::store::read(&layout, blob, 1 << 20).await.unwrap();
        store.push_blob(blob, Upload::Bytes(content)).await.unwrap();
    }
    store.push_manifest(&image, manifest).await.unwrap();

    let key = private_key("cosign.key");
    let reference = format!("{name}@{IMAGE}");
    let verify = |arguments: &[&str]| verify_with(&workspace, arguments, &reference);
    let Some(before) = verify(&["verify"]) else {
        return;
    };
    assert_ne!(before.code, 0);

    sign_and_attest(&store, &image, &key).await;

    verify(&["verify"]).unwrap().expect(0);
    verify(&["verify", "-a", "team=release"]).unwrap().expect(0);
    assert_ne!(verify(&["verify", "-a", "team=other"]).unwrap().code, 0);
    for predicate_type in ["slsaprovenance1", "cyclonedx", "spdxjson"] {
        verify(&["verify-attestation", "--type", predicate_type])
            .unwrap()
            .expect(0);
    }
    assert_ne!(
        verify(&["verify-attestation", "--type", "vuln"])
            .unwrap()
            .code,
        0
    );

    // And we read it back from there as a stranger would.
    let accepted = accept_all(key.public_key());
    let found = attached(&store, IMAGE).await;
    let (verified, rejected) = attest::Verifier::of_keys().verify_all(&found, &image, &accepted);
    assert_eq!((verified.len(), rejected.len()), (4, 0));
    assert!(attest::is_signed(&verified, &image.digest));
    let fallback = IMAGE.replace(':', "-");
    let tags = store.tags().await.unwrap();
    assert_eq!(
        tags.iter().any(|it| it.as_str() == fallback),
        names_fallback_tag
    );
}

#[tokio::test]
async fn in_a_registry_without_the_referrers_api() {
    cosign_verifies_what_we_attach(docker_registry, true).await;
}

#[tokio::test]
async fn in_a_registry_with_the_referrers_api() {
    cosign_verifies_what_we_attach(olareg, false).await;
}

/// A bundle and the blob that it is about, as files: what cosign says of each.
#[test]
fn as_files_for_each_kind_of_key_that_it_can_verify() {
    let workspace = Workspace::new();
    let blob = workspace.write("blob", "content");
    let subject = Descriptor::of("text/plain".into(), b"content");
    let other = workspace.write("other", "other");
    for (name, public) in [
        ("cosign.key", "cosign.pub"),
        ("p256-sec1.pem", "p256.pub.pem"),
        ("rsa-pkcs1.pem", "rsa.pub.pem"),
    ] {
        let bundle = attest::sign(
            &Statement::about(&subject, provenance()),
            &private_key(name),
        );
        let bundle = workspace.write("bundle.sigstore.json", bundle.unwrap().json());
        let verify = |key: &str, blob: &Path| {
            let key = fixture(&format!("keys/{key}"));
            let mut command = cosign(
                &workspace,
                &[
                    "verify-blob-attestation",
                    "--insecure-ignore-tlog",
                    "--type",
                    "slsaprovenance1",
                ],
            )?;
            command.arg("--key").arg(key);
            command.arg("--bundle").arg(&bundle).arg(blob);
            Some(Output::of(&mut command))
        };
        let Some(output) = verify(public, &blob) else {
            return;
        };
        output.expect(0);
        assert_ne!(verify(public, &other).unwrap().code, 0);
        assert_ne!(verify("nopass.pub", &blob).unwrap().code, 0);
    }
}

/// cosign opens a key that we made, and we open and verify what it signed with it.
#[tokio::test]
async fn with_a_key_that_we_made() {
    let workspace = Workspace::new();
    let pair = attest::key::generate(b"test").unwrap();
    let private = workspace.write("k.key", &pair.private);
    let public = workspace.write("k.pub", &pair.public);
    let blob = workspace.write("blob", "content");
    let bundle = workspace.join("b.json");
    let Some(mut command) = cosign(
        &workspace,
        &[
            "sign-blob",
            "--yes",
            "--use-signing-config=false",
            "--tlog-upload=false",
        ],
    ) else {
        return;
    };
    command
        .arg("--key")
        .arg(private)
        .arg("--bundle")
        .arg(&bundle);
    Output::of(command.arg(blob)).expect(0);
    let key = attest::key::PublicKey::from_pem(&fs_err::read(public).unwrap()).unwrap();
    let signer = attest::SignerPattern::Key(key);
    attest::Verifier::of_keys()
        .verify_blob(
            &fs_err::read(bundle).unwrap(),
            &attest::Message::Bytes(b"content".as_slice().into()),
            &[signer],
        )
        .unwrap();
}
