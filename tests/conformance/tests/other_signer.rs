//! Rust clients of Sigstore that are not ours, against a real private one: what `sigstore-sign` signs we
//! verify, and what we sign `sigstore-verify` does.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy exempts only the `#[test]` functions themselves"
)]

#[path = "second_opinion/provider.rs"]
mod provider;

use std::collections::BTreeMap;

use attest::Bundle;
use keyless::SigningConfig;
use oci::{Descriptor, Digest, LayoutStore, Limits, Selector, Store as _};
use sigstore_sign::rekor::RekorApiVersion;
use sigstore_sign::{SigningContext, SigningServices, SigstoreInstance};
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{Bundle as TheirBundle, Sha256Hash};
use sigstore_verify::{VerificationPolicy, Verifier};
use testkit::{Output, Sigstore, Workspace, repository};
use time::macros::datetime;
use tokio::runtime::Runtime;

const IMAGE: &str = "sha256:900ba210f34615e96cc5560c1177cc82499c1460eb6bb418199a63d512713ded";
const WHO: &str = "dev@example.test";

/// A layout with an image that nobody has signed, and a Sigstore to sign it with.
struct Scene {
    workspace: Workspace,
    sigstore: Sigstore,
    image: String,
    runtime: Runtime,
}

impl Scene {
    fn set() -> Option<Self> {
        provider::install();
        // Another test may have been first.
        let provider = rustls::crypto::ring::default_provider().install_default();
        provider.unwrap_or_default();
        let workspace = Workspace::new();
        let sigstore = Sigstore::start(&workspace.join("sigstore"))?;
        let fixture = repository().join("tests/fixtures/cosign-v3-key");
        let layout = workspace.join("layout");
        let source = format!("oci:{}@{IMAGE}", fixture.display());
        let destination = format!("oci:{}:app", layout.display());
        Output::of(&mut workspace.sealpack(["copy", "--no-referrers", &source, &destination]))
            .expect(0);
        Some(Self {
            image: format!("oci:{}@{IMAGE}", layout.display()),
            workspace,
            sigstore,
            runtime: Runtime::new().unwrap(),
        })
    }

    fn layout(&self) -> LayoutStore {
        LayoutStore::open(self.workspace.join("layout")).unwrap()
    }

    async fn subject(&self) -> Descriptor {
        let digest: Digest = IMAGE.parse().unwrap();
        self.layout()
            .resolve(&Selector::Digest(digest))
            .await
            .unwrap()
    }

    /// How our verification ends, believing `who`.
    fn verify(&self, who: &str) -> Output {
        let root = self.sigstore.trusted_root().display().to_string();
        Output::of(&mut self.workspace.sealpack([
            "verify",
            &self.image,
            "--certificate-identity",
            who,
            "--certificate-oidc-issuer",
            self.sigstore.issuer(),
            "--trusted-root",
            &root,
        ]))
    }
}

#[test]
fn what_sigstore_sign_signs_we_verify() {
    let Some(scene) = Scene::set() else { return };
    scene.runtime.block_on(async {
        let subject = scene.subject().await;
        let statement =
            attest::image_signature(std::slice::from_ref(&subject), &BTreeMap::new()).unwrap();
        let statement = serde_json::to_vec(&statement).unwrap();
        let services = SigningServices::new(scene.sigstore.fulcio(), scene.sigstore.rekor())
            .with_rekor(scene.sigstore.rekor(), RekorApiVersion::V2)
            .with_tsa_url(scene.sigstore.timestamps());
        let token = scene.sigstore.token(WHO, 3600);
        let token = sigstore_sign::oidc::IdentityToken::from_jwt(&token).unwrap();
        let signer = SigningContext::new(services).signer(token);
        let bundle = signer.sign_raw_statement(&statement).await.unwrap();
        let bundle = Bundle::parse(bundle.to_json().unwrap()).unwrap();
        attest::attach(&scene.layout(), &subject, &bundle, None)
            .await
            .unwrap();
    });
    scene.verify(WHO).expect(0);
    scene.verify("other@example.test").expect(1);
}

#[test]
fn what_we_sign_sigstore_verify_verifies() {
    let Some(scene) = Scene::set() else { return };
    let config = scene.sigstore.signing_config().display().to_string();
    let root = scene.sigstore.trusted_root();
    let token = scene.sigstore.token(WHO, 3600);
    Output::of(&mut scene.workspace.sealpack([
        "sign",
        &scene.image,
        "--identity-token",
        &token,
        "--signing-config",
        &config,
        "--trusted-root",
        &root.display().to_string(),
    ]))
    .expect(0);
    let bundle = scene.runtime.block_on(async {
        let subject = scene.subject().await;
        let discovered = attest::discover(&scene.layout(), &subject, &Limits::default())
            .await
            .unwrap();
        discovered.attached.first().unwrap().bundle.clone()
    });
    let root = TrustedRoot::from_file(&root).unwrap();
    let verifier = Verifier::new(&root).unwrap();
    let bundle = TheirBundle::from_json(std::str::from_utf8(&bundle).unwrap()).unwrap();
    let digest = Sha256Hash::from_hex(IMAGE.trim_start_matches("sha256:")).unwrap();
    let of = |who: &str| VerificationPolicy::new(who, scene.sigstore.issuer());
    verifier.verify(digest, &bundle, &of(WHO)).unwrap();
    assert!(
        verifier
            .verify(digest, &bundle, &of("other@example.test"))
            .is_err()
    );
}

#[test]
fn the_public_services_are_those_that_are_published() {
    let published = SigstoreInstance::PublicGood.embedded_signing_config_json();
    let published = SigningConfig::parse(published.unwrap().as_bytes()).unwrap();
    let at = datetime!(2026-01-01 00:00:00 UTC);
    let plans = [SigningConfig::public().unwrap(), published].map(|it| it.plan(at).unwrap());
    assert_eq!(format!("{:?}", plans[0]), format!("{:?}", plans[1]));
}
