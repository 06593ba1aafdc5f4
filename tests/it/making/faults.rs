//! What cannot be made is refused, says why, and leaves nothing behind.

use serde_json::json;
use testkit::{LayerFiles, Output, Workspace};

use super::{BUILDER, base, lifecycle, workspace};

/// Whether `arguments` are refused with these words, and nothing is made.
#[track_caller]
fn refused(workspace: &Workspace, arguments: &[&str], words: &str) {
    let output = Output::of(&mut workspace.sealpack(arguments)).expect(2);
    assert!(output.stderr.contains(words), "{}", output.stderr);
    assert!(!workspace.join("out").exists(), "{words}");
    assert!(!workspace.join("out.cnb").exists(), "{words}");
    assert!(!workspace.join("out.cnb.part").exists(), "{words}");
}

#[tokio::test]
async fn what_does_not_go_together_is_named() {
    let workspace = workspace().await;
    for (good, bad, words) in [
        (
            "[build]\nimage = \"BASE\"",
            "[build]",
            "the builder names no base image",
        ),
        ("BASE", "oci:nowhere:1", "nowhere"),
        (
            "uri = \"one\"",
            "uri = \"./nowhere\"",
            "is neither there nor in the builder",
        ),
        (
            "uri = \"one\"",
            "uri = \"https://example.org/one\"",
            "`https://example.org/one`",
        ),
        (
            "uri = \"two\"",
            "uri = \"two-newer\"",
            // Twice the same is once; but then the other version is missing.
            "`example/all@1.0.0` stands for `example/two@0.0.1`, which is not in the builder",
        ),
        (
            "uri = \"lifecycle.tar\"",
            "version = \"0.21.0\"",
            "lifecycle 0.21.0 is not on this machine",
        ),
        (
            "id = \"example/one\"\n[[order-ext",
            "id = \"example/three\"\n[[order-ext",
            "`example/three` is not listed",
        ),
        (
            "[[buildpacks]]\nuri = \"two\"\n",
            "",
            "`example/all@1.0.0` stands for `example/two@0.0.1`, which is not in the builder",
        ),
        ("arch = \"amd64\"", "arch = \"arm64\"", "arm64"),
        (
            "[[targets]]",
            "[stack]\nid = \"other\"\n[[targets]]",
            "is to be of the stack `other`",
        ),
        (
            "suffix = \"append\"",
            "suffix = \"append\"\nexec-env = [\"test\"]",
            "for some execution environments only",
        ),
        ("description", "descripton", "unknown field"),
    ] {
        assert!(BUILDER.contains(good), "{good}");
        let toml = BUILDER.replacen(good, bad, 1).replace("BASE", "oci:base:1");
        workspace.write("builder.toml", toml);
        let create = ["builder", "create", "oci:out:1", "--config", "builder.toml"];
        refused(&workspace, &create, words);
    }
}

#[tokio::test]
async fn modules_that_do_not_fit_are_named() {
    let workspace = workspace().await;
    let create = ["builder", "create", "oci:out:1", "--config", "builder.toml"];
    let head = "[buildpack]\nid = \"example/two\"\nversion = \"0.0.1\"\n";
    for (text, words) in [
        (
            format!("api = \"0.2\"\n{head}"),
            "speaks Buildpack API 0.2, and lifecycle 0.21.0 does not",
        ),
        (
            format!("api = \"0.10\"\n{head}[[targets]]\nos = \"windows\"\n"),
            "is for windows",
        ),
        (
            format!("api = \"0.10\"\n{head}[[stacks]]\nid = \"other\"\n"),
            "does not run on the stack",
        ),
        (
            format!(
                "api = \"0.10\"\n{head}[[stacks]]\nid = \"example.stack\"\nmixins = [\"git\"]\n"
            ),
            "needs the mixin `git`",
        ),
        (
            "api = \"0.10\"\n[buildpack]\nid = \"config\"\nversion = \"1\"\n".to_owned(),
            "`config` cannot be an id",
        ),
    ] {
        workspace.write("two/buildpack.toml", text);
        refused(&workspace, &create, words);
    }
}

#[tokio::test]
async fn a_base_that_does_not_say_who_builds_is_no_base() {
    let workspace = workspace().await;
    for (env, words) in [
        (json!(["CNB_GROUP_ID=1"]), "no variable `CNB_USER_ID`"),
        (
            json!(["CNB_USER_ID=me", "CNB_GROUP_ID=1"]),
            "is `me`, which is not the number",
        ),
    ] {
        fs_err::remove_dir_all(workspace.join("base")).unwrap();
        base(&workspace, env).await;
        let create = ["builder", "create", "oci:out:1", "--config", "builder.toml"];
        refused(&workspace, &create, words);
    }
}

#[tokio::test]
async fn a_lifecycle_is_whole_and_stays_inside() {
    let workspace = workspace().await;
    let create = ["builder", "create", "oci:out:1", "--config", "builder.toml"];
    let toml = "[lifecycle]\nversion = \"1\"\n[apis.buildpack]\nsupported = [\"0.10\"]\n[apis.platform]\nsupported = [\"0.12\"]\n";
    for (files, words) in [
        (
            LayerFiles::new().program("lifecycle/detector", ""),
            "has no `lifecycle.toml`",
        ),
        (
            LayerFiles::new().file("lifecycle.toml", toml),
            "has no `detector`",
        ),
        (
            LayerFiles::new().file("lifecycle.toml", "x = ["),
            "cannot be used",
        ),
        (
            LayerFiles::new().file("lifecycle.toml", "[lifecycle]\n"),
            "does not say the version",
        ),
        (
            LayerFiles::new().file("lifecycle.toml", "[lifecycle]\nversion = \"1\"\n"),
            "which APIs it speaks",
        ),
        (
            lifecycle().program("lifecycle/detector", "other"),
            "has `detector` twice",
        ),
        (
            lifecycle().program("../out", ""),
            "is not an archive of a lifecycle",
        ),
        (
            lifecycle().symlink("lifecycle/extender", "../../../etc/passwd"),
            "is not an archive of a lifecycle",
        ),
    ] {
        workspace.write("lifecycle.tar", files.tar());
        refused(&workspace, &create, words);
    }
}

#[tokio::test]
async fn packages_hold_what_is_stood_for_and_no_more() {
    let workspace = workspace().await;
    let buildpack = "[buildpack]\nuri = \"all\"\n";
    let one = "[[dependencies]]\nuri = \"one\"\n";
    let two = "[[dependencies]]\nuri = \"two\"\n";
    let newer = "[[dependencies]]\nuri = \"two-newer\"\n";
    let (both, none) = (
        "[[dependencies]]\nuri = \"one\"\nimage = \"one\"\n",
        "[[dependencies]]\n",
    );
    let ext = "[extension]\nuri = \"ext\"\n";
    for (toml, words) in [
        (
            format!("{buildpack}{one}"),
            "`example/all@1.0.0` stands for `example/two@0.0.1`, which is not among",
        ),
        (
            format!("{buildpack}{one}{two}{newer}"),
            "`example/two@0.0.2` is a dependency, but nothing",
        ),
        (format!("{buildpack}{both}"), "has both `uri` and `image`"),
        (
            format!("{buildpack}{none}"),
            "has neither `uri` nor `image`",
        ),
        (format!("{buildpack}x = 1\n"), "unknown field `x`"),
        (ext.to_owned(), "not about one buildpack alone"),
        (String::new(), "does not say `buildpack.uri`"),
        (
            format!("{buildpack}[platform]\nos = \"plan9\"\n"),
            "`platform.os` is `plan9`",
        ),
    ] {
        workspace.write("package.toml", toml);
        for out in ["oci:out:1", "out.cnb"] {
            let package = ["buildpack", "package", out, "--config", "package.toml"];
            refused(&workspace, &package, words);
        }
    }
    fs_err::remove_file(workspace.join("one/bin/build")).unwrap();
    let package = ["buildpack", "package", "out.cnb", "--path", "one"];
    refused(&workspace, &package, "lacks `bin/build`");
    let cases: [(&[&str], &str); 5] = [
        (
            &["--label", "io.buildpacks.stack.id=x"],
            "names that begin with `io.buildpacks.` are written here",
        ),
        (&["--label", "x"], "is not of the form NAME=VALUE"),
        (&["--key", "nowhere.key"], "nowhere.key"),
        // Who names a service wants to sign.
        (&["--rekor-url", "http://127.0.0.1:1"], "missing service"),
        (
            &["--flatten", "--flatten-exclude", "example/none@1.0.0"],
            "is not in the package",
        ),
    ];
    for (more, words) in cases {
        let package = ["buildpack", "package", "out.cnb", "--path", "two"];
        refused(&workspace, &[&package[..], more].concat(), words);
    }
}

/// What a policy does not accept is published nowhere.
#[tokio::test]
async fn a_policy_judges_before_anything_is_published() {
    let workspace = workspace().await;
    let require = |claim: &str| {
        format!(
            "[[accept]]\nclaims = [\"signature\", \"vsa\"]\nsigner = \"given\"\n\n\
             [[require]]\nclaim = \"{claim}\"\n\n[rules]\nuse = [\"signature\"]\n"
        )
    };
    let create = [
        "builder",
        "create",
        "oci:out:1",
        "--config",
        "builder.toml",
        "--policy",
        "policy.toml",
        "--key",
        "test.key",
    ];
    workspace.write("policy.toml", require("vsa"));
    let output = Output::of(&mut workspace.sealpack(create)).expect(1);
    assert!(
        output.stderr.contains("nothing was published"),
        "{}",
        output.stderr
    );
    assert!(!workspace.join("out").exists());
    workspace.write("policy.toml", require("signature"));
    Output::of(&mut workspace.sealpack(create)).expect(0);
}
