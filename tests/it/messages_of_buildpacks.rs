//! What a user reads when builders and buildpacks are broken, or fail.

#![expect(
    clippy::too_many_lines,
    reason = "what is said is long; what is done for it is not"
)]

use insta::assert_snapshot;
use testkit::{FakeBuildpack, Project};

use crate::messages::{build_says, says};

fn with_builder(text: &str) -> Project {
    let project = Project::typical();
    project.write("builder.toml", text);
    project
}

#[test]
fn builders_that_are_missing_or_broken() {
    let project = Project::typical();
    fs_err::remove_file(project.join("builder.toml")).unwrap();
    assert_snapshot!(build_says(&project, &[]), @r#"
exit: 2
--- stdout
--- stderr
error: builder file `builder.toml` not found
hint: `--builder` takes a `builder.toml`, or a builder image: `HOST/REPO:TAG` or `oci:DIR:TAG`
"#);
    let unnamed = ["build", "app", "--unsigned", "--tag", "oci:out:v1"];
    assert_snapshot!(says(&project, &unnamed), @r#"
exit: 2
--- stdout
--- stderr
error: `builder.toml` is missing in `[workspace]/app` and beside it
hint: name a builder image or a file with `--builder IMAGE|FILE`
"#);
    assert_snapshot!(build_says(&with_builder("[[buildpacks]\n"), &[]), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the builder `[workspace]/builder.toml`
  cause: `[workspace]/builder.toml`, line 1: unclosed array table, expected `]`
"#);
    assert_snapshot!(build_says(&with_builder("\n[[order]]\n\n[surprise]\nkey = 1\n"), &[]), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the builder `[workspace]/builder.toml`
  cause: `[workspace]/builder.toml`, line 4: unknown field `surprise`, expected one of `description`, `buildpacks`, `extensions`, `order`, `order-extensions`, `build`, `run`, `stack`, `lifecycle`, `targets`, `system`
"#);
    assert_snapshot!(build_says(&with_builder("description = \"empty\"\n"), &[]), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
error: no buildpack group detected this app
hint: the builder's `[[order]]` says which groups there are
"#);
    let nowhere = "[[buildpacks]]\nid = \"a/b\"\nversion = \"1\"\nuri = \"nowhere\"\n\n[[order]]\n[[order.group]]\nid = \"a/b\"\nversion = \"1\"\n";
    assert_snapshot!(build_says(&with_builder(nowhere), &[]), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the builder `[workspace]/builder.toml`
  cause: file `[workspace]/nowhere` not found
"#);
    let image = nowhere.replace("nowhere", "https://example.test/buildpack.tgz");
    assert_snapshot!(build_says(&with_builder(&image), &[]), @r#"
exit: 2
--- stdout
--- stderr
error: `https://example.test/buildpack.tgz` is neither on this machine nor an image
  note: failed to read the builder `[workspace]/builder.toml`
hint: download it first, and name the file
"#);
    let other = "[[buildpacks]]\nid = \"test/typical\"\nversion = \"2.0.0\"\nuri = \"buildpacks/test/typical\"\n\n[[order]]\n[[order.group]]\nid = \"test/typical\"\nversion = \"2.0.0\"\n";
    assert_snapshot!(build_says(&with_builder(other), &[]), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the builder `[workspace]/builder.toml`
  cause: `[workspace]/builder.toml`, line 3: the version is `2.0.0`, but `buildpacks/test/typical` says `1.0.0`
"#);
}

#[test]
fn buildpacks_that_are_broken() {
    let broken = |text: &str| {
        let project = Project::typical();
        project.write("buildpacks/test/typical/buildpack.toml", text);
        build_says(&project, &[])
    };
    assert_snapshot!(broken("api = \"0.12\"\n[buildpack\n"), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the builder `[workspace]/builder.toml`
  cause: `[workspace]/buildpacks/test/typical/buildpack.toml`, line 2: unclosed table, expected `]`
"#);
    assert_snapshot!(broken("api = \"0.12\"\n\n[buildpack]\nid = \"test/typical\"\nversion = 1\n"), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the builder `[workspace]/builder.toml`
  cause: `[workspace]/buildpacks/test/typical/buildpack.toml`, line 5: invalid type: integer `1`, expected a string
"#);
    assert_snapshot!(broken("api = \"9.9\"\n\n[buildpack]\nid = \"test/typical\"\nversion = \"1.0.0\"\n\n[[targets]]\nos = \"linux\"\n"), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
error: detect failed (exit status 12)
  note: ERROR: failed to set API for Buildpack 'test/typical@1.0.0': buildpack API version '9.9' is incompatible with the lifecycle
"#);
    assert_snapshot!(broken(""), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the builder `[workspace]/builder.toml`
  cause: `[workspace]/buildpacks/test/typical/buildpack.toml`, line 1: the table `buildpack` is missing
"#);
    let project = Project::typical();
    fs_err::remove_file(project.join("buildpacks/test/typical/bin/detect")).unwrap();
    assert_snapshot!(build_says(&project, &[]), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
error: a buildpack failed to detect
  note: ======== Error: test/typical@1.0.0 ========
    fork/exec /cnb/buildpacks/test_typical/1.0.0/bin/detect: no such file or directory
    err:  test/typical@1.0.0
"#);
}

#[test]
fn buildpacks_that_fail() {
    let detecting = |script: &str| {
        let project = Project::new(&[FakeBuildpack::new("test/failing").detect(script)]);
        build_says(&project, &[])
    };
    let building = |script: &str| {
        let project = Project::new(&[FakeBuildpack::new("test/failing").build(script)]);
        build_says(&project, &[])
    };
    assert_snapshot!(detecting("echo 'not for me'; exit 100"), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
error: no buildpack group detected this app
  note: ======== Output: test/failing@1.0.0 ========
    not for me
    fail: test/failing@1.0.0
hint: the builder's `[[order]]` says which groups there are
"#);
    assert_snapshot!(detecting("echo 'something broke' >&2; exit 3"), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
error: a buildpack failed to detect
  note: ======== Output: test/failing@1.0.0 ========
    something broke
    err:  test/failing@1.0.0 (3)
"#);
    assert_snapshot!(detecting("kill -9 $$"), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
error: a buildpack failed to detect
  note: err:  test/failing@1.0.0
"#);
    assert_snapshot!(detecting("echo '[[provides' > \"$CNB_BUILD_PLAN_PATH\""), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
error: a buildpack failed to detect
  note: ======== Error: test/failing@1.0.0 ========
    toml: line 2: expected '.' or ']' to end table name, but got '\n' instead
    err:  test/failing@1.0.0
"#);
    assert_snapshot!(detecting("printf '[[requires]]\\nname = \"what nobody has\"\\n' > \"$CNB_BUILD_PLAN_PATH\""), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
error: no buildpack group detected this app
  note: pass: test/failing@1.0.0
    Resolving plan... (try #1)
    fail: test/failing@1.0.0 requires what nobody has
hint: the builder's `[[order]]` says which groups there are
"#);
    assert_snapshot!(building("echo working; echo 'no compiler' >&2; exit 7"), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
   detect  test/failing 1.0.0
  restore  the cache is empty
error: buildpack `test/failing` 1.0.0 failed to build
  note: working
    no compiler
    ERROR: failed to build: exit status 7
"#);
    let several = Project::new(&[
        FakeBuildpack::new("test/first").build("echo first"),
        FakeBuildpack::new("test/second").build("echo second; exit 3"),
        FakeBuildpack::new("test/third").build("echo third"),
    ]);
    assert_snapshot!(build_says(&several, &[]), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
   detect  test/first 1.0.0, test/second 1.0.0, test/third 1.0.0
  restore  the cache is empty
error: buildpack `test/second` 1.0.0 failed to build
  note: first
    second
    ERROR: failed to build: exit status 3
"#);
    // What a buildpack says of who builds is believed of those that build only.
    let lying = Project::new(&[
        FakeBuildpack::new("test/first").build("true"),
        FakeBuildpack::new("test/second")
            .build("printf 'secret' > \"$CNB_LAYERS_DIR/../building\"; exit 3"),
    ]);
    assert_snapshot!(build_says(&lying, &[]), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
   detect  test/first 1.0.0, test/second 1.0.0
  restore  the cache is empty
error: one of the buildpacks test/first, test/second failed to build
  note: ERROR: failed to build: exit status 3
"#);
    assert_snapshot!(building("kill -9 $$"), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
   detect  test/failing 1.0.0
  restore  the cache is empty
error: buildpack `test/failing` 1.0.0 failed to build
  note: ERROR: failed to build: signal: killed
"#);
    assert_snapshot!(building("echo 'types = 1' > \"$CNB_LAYERS_DIR/bad.toml\""), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
   detect  test/failing 1.0.0
  restore  the cache is empty
error: build failed at buildpack `test/failing` 1.0.0 (exit status 52)
  note: ERROR: failed to build: failed to process buildpack layer: failed to decode layer metadata file: toml: line 1 (last key "types"): type mismatch for buildpack.typesTable: expected table but found int64
"#);
    assert_snapshot!(building("echo '[[processes' > \"$CNB_LAYERS_DIR/launch.toml\""), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
   detect  test/failing 1.0.0
  restore  the cache is empty
error: build failed at buildpack `test/failing` 1.0.0 (exit status 52)
  note: ERROR: failed to build: failed to process buildpack layer: failed to decode layer metadata file: toml: line 2: expected '.' or ']' to end table name, but got '\n' instead
"#);
    assert_snapshot!(building("mkdir \"$CNB_LAYERS_DIR/a\"; printf '[types]\\nlaunch = true\\n' > \"$CNB_LAYERS_DIR/a.toml\"; echo '{' > \"$CNB_LAYERS_DIR/a.sbom.cdx.json\""), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
   detect  test/failing 1.0.0
  restore  the cache is empty
    build  test/failing in [time]
   export  sha256:[digest] (5 layers, 0 reused)
error: failed to read what the buildpacks say is in the image
  cause: malformed SBOM `[workspace]/sealpack-build-[name]/layers/sbom/launch/test_failing/a/sbom.cdx.json`
  cause: not a JSON object
  cause: EOF while parsing an object at line 2 column 0
"#);
}
