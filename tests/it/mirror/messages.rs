//! What a mirror run says.

use insta::assert_snapshot;

use super::*;

/// A registry with a signed image `team/good:v1`, one that nobody signed, `team/bad:v1`, and another
/// signed one, `other/good:v1`.
async fn registry(site: &Site) -> TestRegistry {
    let registry = TestRegistry::start(Switches::default());
    for (name, is_signed) in [
        ("team/good", true),
        ("team/bad", false),
        ("other/good", true),
    ] {
        let store = repository(&registry.host(), name);
        let image = push(&store, &[name], None).await;
        if is_signed {
            sign(&store, &image, &site.key).await;
        }
        tag(&store, &image, "v1").await;
    }
    registry
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_says() {
    let site = Site::new();
    let registry = registry(&site).await;
    let host = registry.host();
    let says = |words: &str| {
        let words = words.replace("HOST", &host);
        let words: Vec<&str> = words.split(' ').collect();
        site.mirror(&words)
            .transcript(&[(&host, "registry.example")])
    };
    assert_snapshot!(says("HOST/team/good:v1 HOST/team/bad:v1 oci:out/"), @r#"
exit: 1
--- stdout
held back registry.example/team/good:v1 to oci:out/registry.example/team/good:v1
refused   registry.example/team/bad:v1 to oci:out/registry.example/team/bad:v1
--- stderr
error: 1 of 2 images was refused
  finding: registry.example/team/bad:v1: require: no signature by an accepted signer
    hint: attach one, or accept its signer in the policy
  note: 1 was accepted and held back: it is all or none
hint: `--keep-going` mirrors those that are accepted
hint: `--output json` or `--html FILE` says all that is known of each
"#);
    assert_snapshot!(says("HOST/team/good:v1 HOST/team/bad:v1 oci:out/ --keep-going"), @r#"
exit: 1
--- stdout
mirrored  registry.example/team/good:v1 to oci:out/registry.example/team/good:v1 (1.8 kB written, 1 referrer)
refused   registry.example/team/bad:v1 to oci:out/registry.example/team/bad:v1
--- stderr
   mirror  oci:out/registry.example/team/good:v1 (1.8 kB written)
error: 1 of 2 images was refused
  finding: registry.example/team/bad:v1: require: no signature by an accepted signer
    hint: attach one, or accept its signer in the policy
hint: `--output json` or `--html FILE` says all that is known of each
"#);
    assert_snapshot!(says("HOST/team/good:v1 oci:out/"), @r#"
exit: 0
--- stdout
there     registry.example/team/good:v1 to oci:out/registry.example/team/good:v1
--- stderr
"#);
    assert_snapshot!(says("HOST/team/good:v1 HOST/other/good:v1 oci:new/ --dry-run"), @r#"
exit: 0
--- stdout
planned   registry.example/team/good:v1 to oci:new/registry.example/team/good:v1
planned   registry.example/other/good:v1 to oci:new/registry.example/other/good:v1
--- stderr
"#);
    assert_snapshot!(says("HOST/team/good:v1 HOST/other/good:v1 oci:out"), @r#"
exit: 2
--- stdout
--- stderr
error: `registry.example/team/good:v1` and `registry.example/other/good:v1` would both be `oci:out:v1`
hint: end the destination with `/`: then each repository goes to one of its own
"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_says_where_it_cannot() {
    let site = Site::new();
    let registry = registry(&site).await;
    let host = registry.host();
    let says = |words: &str| {
        let words = words.replace("HOST", &host);
        let words: Vec<&str> = words.split(' ').collect();
        site.mirror(&words)
            .transcript(&[(&host, "registry.example")])
    };
    assert_snapshot!(says("HOST/team/good:v2.* oci:out"), @r#"
exit: 2
--- stdout
--- stderr
error: no tag matches `registry.example/team/good:v2.*`
"#);
    assert_snapshot!(says("HOST/team/none:v1 oci:out"), @r#"
exit: 2
--- stdout
undecided registry.example/team/none:v1 to oci:out:v1
--- stderr
error: 1 of 1 images could not be judged or copied
  finding: registry.example/team/none:v1: tag `v1` not found in `registry.example/team/none`
    hint: `sealpack ls registry.example/team/none` lists what is there
"#);
    assert_snapshot!(says("HOST/team/good:v1 oci:out:v1"), @r#"
exit: 2
--- stdout
--- stderr
error: `oci:out:v1` names one image, and images keep the tags that they have
hint: name a repository: `HOST/REPO`, or what they go below: `HOST/PREFIX/`
"#);
    assert_snapshot!(says("HOST/team/good:v1 docker-daemon:app"), @r#"
exit: 2
--- stdout
--- stderr
error: `docker-daemon:app` cannot be a mirror
hint: use `HOST/REPO`, `oci:DIR` or `oci-archive:FILE`
"#);
    assert_snapshot!(says("--from none.txt oci:out"), @r#"
exit: 2
--- stdout
--- stderr
error: file `none.txt` not found
"#);

    site.policy("policies/team", &format!("images = [\"{host}/team/*\"]"));
    site.policy("policies/more", &format!("images = [\"{host}/*/good\"]"));
    assert_snapshot!(says("HOST/team/good:v1 HOST/other/bad:v1 HOST/team/bad:v1 oci:out/ --policy policies"), @r#"
exit: 2
--- stdout
undecided registry.example/team/good:v1 to oci:out/registry.example/team/good:v1
undecided registry.example/other/bad:v1 to oci:out/registry.example/other/bad:v1
refused   registry.example/team/bad:v1 to oci:out/registry.example/team/bad:v1
--- stderr
error: 2 of 3 images could not be judged or copied, and 1 was refused
  finding: registry.example/team/good:v1: the policies `policies/more/policy.toml` and `policies/team/policy.toml` are both about `registry.example/team/good`, and neither is about less than the other
    hint: make the `images` of one of them narrower
  finding: registry.example/other/bad:v1: tag `v1` not found in `registry.example/other/bad`
    hint: `sealpack ls registry.example/other/bad` lists what is there
  finding: registry.example/team/bad:v1: require: no signature by an accepted signer
    hint: attach one, or accept its signer in the policy
hint: `--output json` or `--html FILE` says all that is known of each
"#);
}
