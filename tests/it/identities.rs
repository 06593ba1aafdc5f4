//! Whom the command line names: keys and identities, exact or by a pattern, against a trusted root.

use testkit::{Output, Workspace, repository};

use crate::verify::fixture;

const IDENTITY: &str = "dev@example.test";
const ISSUER: &str = "http://127.0.0.1:5620/oidc";

/// Runs `sealpack` about the image that cosign signed without a key.
fn run(workspace: &Workspace, words: &str) -> Output {
    let image = format!("oci:{}:image", fixture("cosign-v3-keyless").display());
    let root = repository().join("tests/fixtures/keyless/trusted_root.json");
    let root = root.display().to_string();
    let words: Vec<_> = words
        .split(' ')
        .map(|it| match it {
            "IMAGE" => image.as_str(),
            "ROOT" => root.as_str(),
            "IDENTITY" => IDENTITY,
            "ISSUER" => ISSUER,
            other => other,
        })
        .collect();
    Output::of(&mut workspace.sealpack(words))
}

#[test]
fn an_identity_is_believed_as_it_is_named() {
    let workspace = Workspace::new();
    let key = attest::key::generate(b"").unwrap().public;
    workspace.write("other.pub", key);
    for (flags, code) in [
        (
            "--certificate-identity IDENTITY --certificate-oidc-issuer ISSUER",
            0,
        ),
        (
            "--certificate-identity-regexp .*@example\\.test --certificate-oidc-issuer ISSUER",
            0,
        ),
        (
            "--certificate-identity IDENTITY --certificate-oidc-issuer-regexp http://127.0.0.1:[0-9]+/oidc",
            0,
        ),
        (
            "--certificate-identity IDENTITY --certificate-oidc-issuer ISSUER --key other.pub",
            0,
        ),
        (
            "--certificate-identity dev@example.tes --certificate-oidc-issuer ISSUER",
            1,
        ),
        // A pattern has to match all of it.
        (
            "--certificate-identity-regexp example --certificate-oidc-issuer ISSUER",
            1,
        ),
        (
            "--certificate-identity IDENTITY --certificate-oidc-issuer http://127.0.0.1:5620",
            1,
        ),
        ("--key other.pub", 1),
        // Who says so is a part of it, always.
        ("--certificate-identity IDENTITY", 2),
        ("--certificate-oidc-issuer ISSUER", 2),
        (
            "--certificate-identity IDENTITY --certificate-identity-regexp x --certificate-oidc-issuer ISSUER",
            2,
        ),
        (
            "--certificate-identity-regexp ( --certificate-oidc-issuer ISSUER",
            2,
        ),
    ] {
        let words = format!("verify IMAGE --trusted-root ROOT {flags}");
        run(&workspace, &words).expect(code);
    }
    // Nobody is named by a root alone, and by Sigstore's public root this certificate says nothing.
    run(&workspace, "verify IMAGE --trusted-root ROOT").expect(2);
    let flags = "--certificate-identity IDENTITY --certificate-oidc-issuer ISSUER";
    run(&workspace, &format!("verify IMAGE {flags}")).expect(1);
    workspace.write("broken.json", "{");
    run(
        &workspace,
        &format!("verify IMAGE {flags} --trusted-root broken.json"),
    )
    .expect(2);
    run(
        &workspace,
        &format!("verify IMAGE {flags} --trusted-root none.json"),
    )
    .expect(2);
}

#[test]
fn policies_name_identities_or_mean_those_that_are_given() {
    let workspace = Workspace::new();
    let policy = |name: &str, signer: &str| {
        let text = format!(
            "[[accept]]\nclaims = [\"signature\"]\nsigner = {signer}\n\n[[require]]\nclaim = \"signature\"\n"
        );
        workspace.write(name, text);
    };
    policy("given.toml", "\"given\"");
    policy(
        "named.toml",
        &format!("{{ identity = \"{IDENTITY}\", issuer = \"{ISSUER}\" }}"),
    );
    policy(
        "other.toml",
        &format!("{{ identity = \"evil@example.test\", issuer = \"{ISSUER}\" }}"),
    );
    let flags = "--certificate-identity IDENTITY --certificate-oidc-issuer ISSUER";
    for (words, code) in [
        (
            format!("policy check IMAGE --policy given.toml --trusted-root ROOT {flags}"),
            0,
        ),
        (
            "policy check IMAGE --policy named.toml --trusted-root ROOT".to_owned(),
            0,
        ),
        (
            "policy check IMAGE --policy other.toml --trusted-root ROOT".to_owned(),
            1,
        ),
        ("policy check IMAGE --policy named.toml".to_owned(), 1),
        (
            "policy check IMAGE --policy given.toml --trusted-root ROOT".to_owned(),
            2,
        ),
        (
            "mirror IMAGE oci:mirrored --policy named.toml --trusted-root ROOT".to_owned(),
            0,
        ),
        (
            "copy IMAGE oci:copied:v1 --policy named.toml --trusted-root ROOT".to_owned(),
            0,
        ),
        (
            "copy IMAGE oci:refused:v1 --policy other.toml --trusted-root ROOT".to_owned(),
            1,
        ),
        // Without a policy there is nobody to believe.
        (format!("copy IMAGE oci:refused:v1 {flags}"), 2),
    ] {
        run(&workspace, &words).expect(code);
    }
    assert!(!workspace.join("refused").exists());
}

#[test]
fn a_tree_says_who_signed_what() {
    let workspace = Workspace::new();
    let flags =
        "--certificate-identity IDENTITY --certificate-oidc-issuer ISSUER --trusted-root ROOT";
    let output = run(&workspace, &format!("tree IMAGE {flags}")).expect(0);
    let signed = output
        .stdout
        .matches(&format!("✓ `{IDENTITY}` by `{ISSUER}`"))
        .count();
    assert_eq!(signed, 4, "{}", output.stdout);
    let output = run(&workspace, "tree IMAGE").expect(0);
    assert!(!output.stdout.contains('✓'), "{}", output.stdout);
    let other = flags.replace("IDENTITY", "evil@example.test");
    let output = run(&workspace, &format!("tree IMAGE {other} --output json")).expect(0);
    assert!(!output.stdout.contains("\"signer\""), "{}", output.stdout);
}
