//! A real private Sigstore on loopback, and real cosign: what we sign it verifies, what it signs we verify.
//! With and without a key, an image and an attestation, with the referrers API and without.

use std::path::Path;
use std::process::Command;

use testkit::{Output, Server, Sigstore, Workspace, docker_registry, olareg, peer, skipped};

use crate::verify::{IMAGE, fixture};

const WHO: &str = "dev@example.test";

/// A private Sigstore, a registry with an image in it, and cosign.
struct Scene {
    workspace: Workspace,
    sigstore: Sigstore,
    _registry: Server,
    /// By digest.
    image: String,
}

impl Scene {
    fn set(registry: impl Fn(&Path) -> Option<Server>) -> Option<Self> {
        let workspace = Workspace::new();
        let registry = registry(workspace.path())?;
        let sigstore = Sigstore::start(&workspace.join("sigstore"))?;
        let image = format!("{}/keyless/app@{IMAGE}", registry.host());
        let scene = Self {
            workspace,
            sigstore,
            image,
            _registry: registry,
        };
        let source = format!("oci:{}@{IMAGE}", fixture("cosign-v3-key").display());
        let destination = scene.image.replace(&format!("@{IMAGE}"), ":v1");
        scene
            .sealpack(&["copy", "--no-referrers", &source, &destination])
            .expect(0);
        Some(scene)
    }

    fn sealpack(&self, arguments: &[&str]) -> Output {
        Output::of(&mut self.workspace.sealpack(arguments))
    }

    fn cosign(&self, arguments: &[&str]) -> Output {
        let mut command = self.workspace.command(peer("cosign").unwrap());
        command.args(arguments);
        Output::of(&mut command)
    }

    /// As whom, and with which services.
    fn signing(&self) -> Vec<String> {
        let path = |it: std::path::PathBuf| it.display().to_string();
        let mut arguments: Vec<String> = ["--identity-token", "--signing-config", "--trusted-root"]
            .map(str::to_owned)
            .to_vec();
        arguments.insert(1, self.sigstore.token(WHO, 3600));
        arguments.insert(3, path(self.sigstore.signing_config()));
        arguments.push(path(self.sigstore.trusted_root()));
        arguments
    }

    /// Whom to believe.
    fn believing(&self, who: &str) -> Vec<String> {
        let root = self.sigstore.trusted_root();
        [
            "--certificate-identity",
            who,
            "--certificate-oidc-issuer",
            self.sigstore.issuer(),
            "--trusted-root",
            &root.display().to_string(),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn predicate(&self) -> String {
        let text = r#"{"bomFormat":"CycloneDX","specVersion":"1.6","version":1}"#;
        let path = self.workspace.write("bom.json", text);
        path.display().to_string()
    }

    /// A key pair of cosign's: its two files.
    fn key(&self) -> (String, String) {
        let prefix = self.workspace.join("cosign");
        self.cosign(&[
            "generate-key-pair",
            "--output-key-prefix",
            &prefix.display().to_string(),
        ])
        .expect(0);
        let file = |ending: &str| format!("{}.{ending}", prefix.display());
        (file("key"), file("pub"))
    }
}

fn all<'a>(first: &[&'a str], then: &'a [String], last: &[&'a str]) -> Vec<&'a str> {
    let then = then.iter().map(String::as_str);
    first
        .iter()
        .copied()
        .chain(then)
        .chain(last.iter().copied())
        .collect()
}

const PLAIN: &str = "--allow-http-registry";

fn cosign_verifies_what_we_sign(registry: impl Fn(&Path) -> Option<Server>) {
    let Some(scene) = Scene::set(registry) else {
        return;
    };
    let (image, signing, bom) = (scene.image.as_str(), scene.signing(), scene.predicate());
    let believing = scene.believing(WHO);
    let entries = scene.sigstore.log_size();
    scene
        .sealpack(&all(&["sign", image], &signing, &[]))
        .expect(0);
    let attest = ["attest", image, "--type", "cyclonedx", "--predicate", &bom];
    scene.sealpack(&all(&attest, &signing, &[])).expect(0);
    assert_eq!(scene.sigstore.log_size(), entries + 2);

    let seen = ["--use-signed-timestamps", PLAIN, image];
    scene.cosign(&all(&["verify"], &believing, &seen)).expect(0);
    let attested = ["verify-attestation", "--type", "cyclonedx"];
    scene.cosign(&all(&attested, &believing, &seen)).expect(0);
    let others = scene.believing("other@example.test");
    assert_ne!(scene.cosign(&all(&["verify"], &others, &seen)).code, 0);

    let claims = [
        "verify",
        image,
        "--claim",
        "signature",
        "--claim",
        "cyclonedx",
    ];
    scene.sealpack(&all(&claims, &believing, &[])).expect(0);
    scene.sealpack(&all(&claims, &others, &[])).expect(1);
}

fn we_verify_what_cosign_signs(registry: impl Fn(&Path) -> Option<Server>) {
    let Some(scene) = Scene::set(registry) else {
        return;
    };
    let (image, signing, bom) = (scene.image.as_str(), scene.signing(), scene.predicate());
    scene
        .cosign(&all(&["sign", "--yes", PLAIN], &signing, &[image]))
        .expect(0);
    let attest = [
        "attest",
        "--yes",
        PLAIN,
        "--type",
        "cyclonedx",
        "--predicate",
        &bom,
    ];
    scene.cosign(&all(&attest, &signing, &[image])).expect(0);

    let claims = [
        "verify",
        image,
        "--claim",
        "signature",
        "--claim",
        "cyclonedx",
    ];
    scene
        .sealpack(&all(&claims, &scene.believing(WHO), &[]))
        .expect(0);
    let others = scene.believing("other@example.test");
    scene.sealpack(&all(&claims, &others, &[])).expect(1);
}

fn both_ways_with_a_key(registry: impl Fn(&Path) -> Option<Server>) {
    let Some(scene) = Scene::set(registry) else {
        return;
    };
    let (image, bom) = (scene.image.as_str(), scene.predicate());
    let (private, public) = scene.key();
    // The same services see it; only nobody is asked for a certificate.
    let services = scene.signing().split_off(2);
    let root = scene.sigstore.trusted_root().display().to_string();

    let by_key = ["--key", &private];
    scene
        .sealpack(&all(&["sign", image, by_key[0], by_key[1]], &services, &[]))
        .expect(0);
    let seen = [
        "--trusted-root",
        &root,
        "--use-signed-timestamps",
        PLAIN,
        image,
    ];
    let with = ["verify", "--key", &public];
    scene.cosign(&[&with[..], &seen].concat()).expect(0);

    let attest = [
        "attest",
        "--yes",
        PLAIN,
        "--type",
        "cyclonedx",
        "--predicate",
        &bom,
    ];
    scene
        .cosign(&all(&[&attest[..], &by_key].concat(), &services, &[image]))
        .expect(0);
    let claims = [
        "verify",
        image,
        "--claim",
        "signature",
        "--claim",
        "cyclonedx",
    ];
    scene
        .sealpack(&[&claims[..], &["--key", &public]].concat())
        .expect(0);
}

#[test]
fn cosign_verifies_what_we_sign_with_the_referrers_api() {
    cosign_verifies_what_we_sign(olareg);
}

#[test]
fn cosign_verifies_what_we_sign_under_the_fallback_tag() {
    cosign_verifies_what_we_sign(docker_registry);
}

#[test]
fn we_verify_what_cosign_signs_with_the_referrers_api() {
    we_verify_what_cosign_signs(olareg);
}

#[test]
fn we_verify_what_cosign_signs_under_the_fallback_tag() {
    we_verify_what_cosign_signs(docker_registry);
}

#[test]
fn a_key_is_seen_by_the_same_services_with_the_referrers_api() {
    both_ways_with_a_key(olareg);
}

#[test]
fn a_key_is_seen_by_the_same_services_under_the_fallback_tag() {
    both_ways_with_a_key(docker_registry);
}

#[test]
fn a_real_authority_refuses_what_is_no_token_of_its_issuer() {
    let Some(scene) = Scene::set(olareg) else {
        return;
    };
    let good = scene.signing();
    let forged = {
        let token = scene.sigstore.token(WHO, 3600);
        let (claims, _) = token.rsplit_once('.').unwrap();
        format!("{claims}.aHVudGVyMg")
    };
    let mut signing = good.clone();
    signing[1].clone_from(&forged);
    let output = scene
        .sealpack(&all(&["sign", &scene.image], &signing, &[]))
        .expect(2);
    assert!(
        output.stderr.contains("did not give a certificate"),
        "{}",
        output.stderr
    );
    assert!(!output.stderr.contains(&forged));
    // One that has expired is shown to nobody, though Fulcio would refuse it, too.
    signing[1] = scene.sigstore.token(WHO, -60);
    let output = scene
        .sealpack(&all(&["sign", &scene.image], &signing, &[]))
        .expect(2);
    assert!(output.stderr.contains("expired"), "{}", output.stderr);
    let mut tree = scene.workspace.sealpack(["tree", &scene.image]);
    let tree = Output::of(&mut tree).expect(0);
    assert!(!tree.stdout.contains("bundle"), "{}", tree.stdout);
}

/// The example that users are shown.
#[test]
fn the_example_builds_and_verifies_without_a_key() {
    let workspace = Workspace::new();
    let Some(rustc) = peer("rustc") else { return };
    let toolchain = Output::of(workspace.command(rustc).args(["--print", "sysroot"]));
    if toolchain.code != 0 {
        skipped(&format!("rustc does not work here: {}", toolchain.stderr));
        return;
    }
    // The compiler itself: what rustup puts on `PATH` wants the user's home.
    let path = format!("{}/bin:/usr/bin:/bin", toolchain.stdout.trim());
    let Some(sigstore) = Sigstore::start(&workspace.join("sigstore")) else {
        return;
    };
    let script = testkit::repository().join("examples/keyless/build.sh");
    let mut command: Command = workspace.command("bash");
    command
        .arg(script)
        .env("PATH", path)
        .env("SEALPACK", testkit::binary("sealpack"))
        .env("SIGSTORE_ID_TOKEN", sigstore.token(WHO, 3600))
        .env("SIGNING_CONFIG", sigstore.signing_config())
        .env("TRUSTED_ROOT", sigstore.trusted_root())
        .env("IDENTITY", WHO)
        .env("ISSUER", sigstore.issuer());
    // What it builds with lies beside `sealpack`.
    drop((testkit::binary("lifecycle"), testkit::binary("launcher")));
    Output::of(&mut command).expect(0);
}
