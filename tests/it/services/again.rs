//! What is built again by the same identity: each signature is another one, and the newest stays.

use serde_json::Value;
use testkit::{Output, Project, Sigstore};

/// The statements that are attached, however many signed them.
fn attached(project: &Project) -> usize {
    let tree = project.run(&["tree", "oci:out:v1", "--output", "json"]);
    let tree: Value = serde_json::from_str(&tree.expect(0).stdout).unwrap();
    let nodes = tree["nodes"].as_array().unwrap().iter();
    nodes.filter(|it| it["relation"] == "referrer").count()
}

#[test]
fn what_an_identity_signs_again_takes_the_place_of_what_it_signed() {
    let project = Project::typical();
    let Some(sigstore) = Sigstore::start(&project.join("sigstore")) else {
        return;
    };
    let build = |who: &str| {
        // Claims of the same second are of the same time.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let mut command = project.build_command(["--tag", "oci:out:v1", "--verbose"]);
        command
            .args(["--identity-token", &sigstore.token(who, 3600)])
            .arg("--signing-config")
            .arg(sigstore.signing_config())
            .arg("--trusted-root")
            .arg(sigstore.trusted_root());
        Output::of(&mut command).expect(0)
    };
    let (one, two) = ("one@example.test", "two@example.test");
    build(one);
    assert_eq!(attached(&project), 4);
    build(one);
    assert_eq!(attached(&project), 4);
    // What somebody else says of the same image stays, and is not counted as said by them.
    build(two);
    assert_eq!(attached(&project), 8);
    let last = build(one);
    assert_eq!(attached(&project), 8, "{last:?}");
    for who in [one, two] {
        let mut verify = project.sealpack(["verify", "oci:out:v1", "--claim", "provenance"]);
        verify
            .args(["--certificate-identity", who])
            .args(["--certificate-oidc-issuer", sigstore.issuer()])
            .arg("--trusted-root")
            .arg(sigstore.trusted_root());
        Output::of(&mut verify).expect(0);
    }
}
