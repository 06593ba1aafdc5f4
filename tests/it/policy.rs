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
            "require: no spdx by an accepted signer",
            "sbom: no SBOM (cyclonedx) by an accepted signer",
            "sbom: no SBOM (spdx) by an accepted signer",
            "signature: 0 of 1 required signers found",
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

/// What a policy with these rules and parameters finds in one claim, signed by whom it believes.
fn finds(
    rules: &str,
    claim: (&str, serde_json::Value),
    own: Option<&str>,
) -> Result<Vec<String>, policies::EvaluateError> {
    let private = PrivateKey::generate().unwrap();
    let identity = SignerPattern::Key(private.public_key().clone());
    let image = oci::Descriptor::of(oci::MediaType::IMAGE_MANIFEST, b"image");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.toml");
    let (kind, predicate) = claim;
    let text = format!("[[accept]]\nclaims = [\"{kind}\"]\nsigner = \"given\"\n{rules}\n");
    fs_err::write(&path, text).unwrap();
    if let Some(own) = own {
        fs_err::write(directory.path().join("own.rego"), own).unwrap();
    }
    let policy = Policy::load(&path, std::slice::from_ref(&identity)).unwrap();
    let predicate_type = policy.accepts()[0].predicate_type.clone();
    let subjects = vec![intoto::ResourceDescriptor::from(&image)];
    let statement = Statement::of_type(predicate_type, subjects, predicate).unwrap();
    let bundle = attest::sign(&statement, &private).unwrap();
    let verified = Verifier::of_keys().verify(bundle.json(), &image, policy.accepts());
    let verdict = evaluate(&policy, &Evidence::about(&image, [verified.unwrap()]))?;
    let findings = verdict.findings().iter();
    Ok(findings.map(|it| it.message.clone()).collect())
}

/// Attack 30: rules reach nobody, and one that tries decides nothing.
#[test]
fn row_30_rules_reach_nobody() {
    let claim = || ("vsa", serde_json::json!({}));
    let rules = "[rules]\nfiles = [\"own.rego\"]";
    for call in [
        "http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1:1\"}).status_code == 200",
        "count(net.lookup_ip_addr(\"localhost\")) > 0",
        "opa.runtime().env.HOME != \"\"",
        // Nobody said what time it is.
        "time.now_ns() > 0",
    ] {
        let own = format!("package sealpack.own\n\ndeny contains \"no\" if {{\n\t{call}\n}}\n");
        let error = finds(rules, claim(), Some(&own)).unwrap_err();
        assert_eq!(error.to_string(), "rules failed", "{call}");
    }
}

/// Attack 35: an SBOM of something else, though its statement names the image and is signed.
#[test]
fn row_35_an_sbom_of_another_image_is_none_of_this_one() {
    let sbom = |version: &str| {
        serde_json::json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "metadata": { "component": { "type": "container", "name": "app", "version": version } },
            "components": [{ "type": "library", "name": "x", "version": "1" }],
        })
    };
    let rules = "[rules]\nuse = [\"sbom\"]\n[parameters]\nsbom-types = [\"cyclonedx\"]";
    let of = |content: &[u8]| oci::Digest::of(content).to_string();
    let good = finds(rules, ("cyclonedx", sbom(&of(b"image"))), None).unwrap();
    assert_eq!(good, [""; 0]);
    let other = finds(rules, ("cyclonedx", sbom(&of(b"other"))), None).unwrap();
    assert_ne!(other, [""; 0]);
}

/// Attack 36: what provenance says of its builder counts only by who may speak for it, and nothing in
/// it may be unknown.
#[test]
fn row_36_provenance_is_bound_to_its_builder() {
    let provenance = |builder: &str, parameter: &str| {
        serde_json::json!({
            "buildDefinition": {
                "buildType": "https://t.example",
                "externalParameters": { "source": {}, parameter: {} },
                "resolvedDependencies": [{ "name": "source", "digest": { "sha256": "00" } }],
            },
            "runDetails": { "builder": { "id": builder } },
        })
    };
    let rules = "[rules]\nuse = [\"slsa\"]\n[parameters]\nbuilder-ids = [\"https://b.example\"]\n";
    let says = |rules: &str, builder: &str, parameter: &str| {
        finds(rules, ("provenance", provenance(builder, parameter)), None).unwrap()
    };
    assert_eq!(says(rules, "https://b.example", "source"), [""; 0]);
    let other = says(rules, "https://evil.example", "source");
    assert_eq!(
        other,
        ["builder `https://evil.example` is not one of `builder-ids`"]
    );
    let hidden = says(rules, "https://b.example", "extra");
    assert_eq!(hidden, ["external parameter `extra` is not known"]);
    // Whoever is believed about provenance, but is not this builder.
    let bound = format!("{rules}builder-signers = {{ \"https://b.example\" = [\"sha256:00\"] }}");
    let stranger = says(&bound, "https://b.example", "source");
    assert!(
        stranger[0].contains("does not speak for builder"),
        "{stranger:?}"
    );
}
