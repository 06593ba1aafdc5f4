//! What is said of policies that cannot be read, and by those that say no.

use insta::assert_snapshot;
use testkit::Project;

use super::build_says;

fn with_policy(text: &str) -> Project {
    let project = Project::typical();
    project.write("policy/policy.toml", text);
    project
}

#[test]
fn policies_that_are_broken_or_say_no() {
    let judged = ["--policy", "policy"];
    let project = Project::typical();
    assert_snapshot!(build_says(&project, &["--policy", "nowhere"]), @r#"
exit: 2
--- stdout
--- stderr
error: file `nowhere` not found
"#);
    assert_snapshot!(build_says(&with_policy("[[accept]]\nclaims = [\n"), &judged), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the policy `policy/policy.toml`
  cause: policy/policy.toml:2: unclosed array, expected `]`
"#);
    assert_snapshot!(build_says(&with_policy("[[accept]]\nclaims = [\"signature\"]\nsigner = \"given\"\n\n[[demand]]\nclaim = \"signature\"\n"), &judged), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the policy `policy/policy.toml`
  cause: policy/policy.toml:5: unknown field `demand`, expected one of `images`, `namespaces`, `undecided`, `accept`, `require`, `rules`, `parameters`
"#);
    let rules = "[[accept]]\nclaims = [\"signature\"]\nsigner = \"given\"\n\n[[require]]\nclaim = \"signature\"\n\n[rules]\nfiles = [\"*.rego\"]\n";
    let with_rules = |text: &str| {
        let project = with_policy(rules);
        project.write("policy/own.rego", text);
        build_says(&project, &judged)
    };
    assert_snapshot!(with_rules("package sealpack.own\n\ndeny contains \"x\" if {\n"), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the policy `policy/policy.toml`
  cause: policy/own.rego:4: expecting expression
"#);
    assert_snapshot!(with_rules("package sealpack.own\n\ndeny := 7\n"), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
   detect  test/typical 1.0.0
  restore  the cache is empty
    build  test/typical in [time]
   export  sha256:[digest] (6 layers, 0 reused)
     sbom  CycloneDX: 5 components, SPDX: 6 packages
   attest  provenance, cyclonedx, spdx, signature
error: the policy could not be evaluated
  cause: policy/own.rego: `data.sealpack.own.deny` is not a set of texts or of objects with `message`
"#);
    assert_snapshot!(with_rules("package sealpack.own\n\ndeny contains \"x\" if {\n\tinput.nothing == 1 / 0\n\tto_number(\"a\") == 1\n}\n"), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
   detect  test/typical 1.0.0
  restore  the cache is empty
    build  test/typical in [time]
   export  sha256:[digest] (6 layers, 0 reused)
     sbom  CycloneDX: 5 components, SPDX: 6 packages
   attest  provenance, cyclonedx, spdx, signature
error: the policy could not be evaluated
  cause: rules failed
  cause: policy/own.rego:4: divide by zero
"#);
    assert_snapshot!(with_rules("package sealpack.own\n\ndeny contains {\"message\": \"this is Friday\", \"solution\": \"wait for Monday\"} if true\n"), @r#"
exit: 1
--- stdout
--- stderr
  analyze  no previous image; run image: static
   detect  test/typical 1.0.0
  restore  the cache is empty
    build  test/typical in [time]
   export  sha256:[digest] (6 layers, 0 reused)
     sbom  CycloneDX: 5 components, SPDX: 6 packages
   attest  provenance, cyclonedx, spdx, signature
error: `oci:[workspace]/sealpack-staged-[name]@sha256:[digest]` was rejected by the policy
  finding: own: this is Friday
    hint: wait for Monday
  note: key sha256:[digest] signed other claims: cyclonedx, provenance, spdx
  note: nothing was published; the image is kept in `oci:[workspace]/sealpack-staged-[name]`
"#);
    let strict = fs_err::read_to_string(project.join("policy/policy.toml"))
        .unwrap()
        .replace("https://sealpack.example", "https://elsewhere.example");
    assert_snapshot!(build_says(&with_policy(&strict), &judged), @r#"
exit: 1
--- stdout
--- stderr
  analyze  no previous image; run image: static
   detect  test/typical 1.0.0
  restore  the cache is empty
    build  test/typical in [time]
   export  sha256:[digest] (6 layers, 0 reused)
     sbom  CycloneDX: 5 components, SPDX: 6 packages
   attest  provenance, cyclonedx, spdx, signature
error: `oci:[workspace]/sealpack-staged-[name]@sha256:[digest]` was rejected by the policy
  finding: slsa: builder `https://sealpack.example/docs/buildtypes/cnb-v1.md#local-builder` is not one of `builder-ids`
    hint: build with a builder of the list, or add this one to `parameters.builder-ids`
  note: nothing was published; the image is kept in `oci:[workspace]/sealpack-staged-[name]`
"#);
}
