//! Policies, as they lie in files.

use std::path::Path;

use attest::key::{PrivateKey, PublicKey, generate};
use attest::{SignerPattern, Verifier};
use intoto::Statement;
use policies::{Evidence, Policy, PolicyError, evaluate};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn key() -> (String, SignerPattern) {
    let pem = generate(b"").unwrap().public;
    let key = PublicKey::from_pem(pem.as_bytes()).unwrap();
    (pem, SignerPattern::Key(key))
}

#[test]
fn the_example_rejects_what_proves_nothing() {
    let path = root().join("examples/policy/policy.toml");
    let policy = Policy::load(&path, &[key().1]).unwrap();
    assert_eq!(policy.accepts().len(), 4);
    let image = oci::Descriptor::of(oci::MediaType::IMAGE_MANIFEST, b"image");
    let verdict = evaluate(&policy, &Evidence::about(&image, [])).unwrap();
    assert!(!verdict.accepted());
    let findings: Vec<_> = verdict
        .findings()
        .iter()
        .map(|it| format!("{}: {}", it.rule, it.message))
        .collect();
    assert_eq!(
        findings,
        [
            "require: no cyclonedx by an accepted signer",
            "require: no provenance by an accepted signer",
            "require: no signature by an accepted signer",
            "require: no spdxjson by an accepted signer",
            "sbom: no SBOM (cyclonedx) by an accepted signer",
            "sbom: no SBOM (spdx) by an accepted signer",
            "signature: 0 of 1 signers stand for the image",
            "slsa: no SLSA provenance by an accepted signer",
        ]
    );
}

#[test]
fn keys_and_rules_lie_beside_the_policy() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let write = |name: &str, text: &str| fs_err::write(directory.join(name), text).unwrap();
    let (pem, identity) = key();
    write("release.pub", &pem);
    fs_err::create_dir(directory.join("rules")).unwrap();
    write(
        "rules/one.rego",
        "package sealpack.one\ndeny contains \"one\" if true\n",
    );
    write(
        "rules/two.rego",
        "package sealpack.two\ndeny contains \"two\" if true\n",
    );
    write("rules/notes.txt", "no rules");
    write(
        "policy.toml",
        "[[accept]]\nclaims = [\"vsa\"]\nsigner = { key = \"release.pub\" }\n[rules]\nfiles = [\"rules/*.rego\"]\n",
    );
    let path = directory.join("policy.toml");
    let policy = Policy::load(&path, &[]).unwrap();
    assert_eq!(policy.accepts().first().unwrap().signer, identity);
    let image = oci::Descriptor::of(oci::MediaType::IMAGE_MANIFEST, b"image");
    let verdict = evaluate(&policy, &Evidence::about(&image, [])).unwrap();
    let rules: Vec<_> = verdict
        .findings()
        .iter()
        .map(|it| it.rule.as_str())
        .collect();
    assert_eq!(rules, ["one", "two"]);

    write("rules/two.rego", "package sealpack.two\n\ndeny contains\n");
    let error = Policy::load(&path, &[]).unwrap_err();
    assert!(
        matches!(&error, PolicyError::Rules(error) if error.line == Some(4)),
        "{error}"
    );
    assert!(error.to_string().contains("rules/two.rego:4: "), "{error}");
}

#[test]
fn a_policy_that_is_not_there_is_an_error() {
    let error = Policy::load(Path::new("/does/not/exist.toml"), &[]).unwrap_err();
    assert_eq!(error.to_string(), "failed to read `/does/not/exist.toml`");
}

#[test]
fn the_sboms_that_we_merge_satisfy_the_rules() {
    let private = PrivateKey::generate().unwrap();
    let identity = SignerPattern::Key(private.public_key().clone());
    let image = oci::Descriptor::of(oci::MediaType::IMAGE_MANIFEST, b"image");
    let document = sbom::Document::parse(
        sbom::Format::CycloneDx,
        br#"{"bomFormat":"CycloneDX","specVersion":"1.5","components":[
            {"type":"library","name":"x","version":"1","licenses":[{"license":{"id":"MIT"}}]}]}"#,
        "test",
        &sbom::Limits::default(),
    )
    .unwrap();
    let merged = sbom::merge(
        &sbom::Subject {
            name: "app".to_owned(),
            digest: image.digest.clone(),
        },
        time::OffsetDateTime::UNIX_EPOCH,
        [&document],
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.toml");
    let judge = |denied: &str| {
        let text = format!(
            "[[accept]]\nclaims = [\"cyclonedx\", \"spdx\"]\nsigner = \"given\"\n\
             [rules]\nuse = [\"sbom\"]\n\
             [parameters]\nsbom-types = [\"cyclonedx\", \"spdx\"]\ndenied-licenses = [\"{denied}\"]\n"
        );
        fs_err::write(&path, text).unwrap();
        let policy = Policy::load(&path, std::slice::from_ref(&identity)).unwrap();
        let verifier = Verifier::of_keys();
        let statements = [
            attest::sign(
                &Statement::about(&image, merged.cyclonedx.clone()),
                &private,
            )
            .unwrap(),
            attest::sign(&Statement::about(&image, merged.spdx.clone()), &private).unwrap(),
        ]
        .map(|it| {
            verifier
                .verify(it.json(), &image, policy.accepts())
                .unwrap()
        });
        let verdict = evaluate(&policy, &Evidence::about(&image, statements)).unwrap();
        verdict
            .findings()
            .iter()
            .map(|it| it.message.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(judge("AGPL-3.0-only"), [] as [&str; 0]);
    // Found in both documents, and said once.
    assert_eq!(judge("MIT"), ["`x@1` has the denied licence `MIT`"]);
}
