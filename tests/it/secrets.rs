//! What buildpacks and images must not get: keys and credentials.

use std::path::Path;

use testkit::{Output, Workspace};

/// A builder with one buildpack, whose `bin/build` is this script.
fn builder(workspace: &Workspace, build: &str) {
    use std::os::unix::fs::PermissionsExt as _;

    workspace.write(
        "builder.toml",
        "[[buildpacks]]\nid = \"test/spy\"\nversion = \"1.0.0\"\nuri = \"spy\"\n[[order]]\n[[order.group]]\nid = \"test/spy\"\nversion = \"1.0.0\"\n",
    );
    workspace.write(
        "spy/buildpack.toml",
        "api = \"0.12\"\n[buildpack]\nid = \"test/spy\"\nversion = \"1.0.0\"\n",
    );
    for (name, script) in [("detect", "#!/bin/sh\nexit 0\n"), ("build", build)] {
        let path = workspace.write(Path::new("spy/bin").join(name), script);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_private_key_in_the_app_is_refused() {
    let workspace = Workspace::new();
    builder(&workspace, "#!/bin/sh\n");
    workspace.write("app/file", "");
    for flag in ["--new-key", "--key"] {
        let key = if flag == "--key" {
            "app/release.key"
        } else {
            "app/release"
        };
        let mut command = workspace.sealpack(["build", "app", flag, key, "--tag", "oci:out:v1"]);
        let output = Output::of(&mut command).expect(2);
        assert!(
            output.stderr.contains("lies in the app's folder"),
            "{}",
            output.stderr
        );
        assert!(!workspace.join("app/release.key").exists());
        assert!(!workspace.join("out").exists());
    }
}

#[test]
fn buildpacks_see_neither_keys_nor_credentials() {
    // Elsewhere than in `/tmp`, of which a build has its own.
    let workspace = Workspace::below("/var/tmp");
    let script = format!(
        "#!/bin/sh\ncat {0}/release.key {0}/home/.docker/config.json {0}/home/.ssh/id {0}/home/plain 2>&1\nenv\n",
        workspace.path().display()
    );
    builder(&workspace, &script);
    workspace.write("app/file", "");
    workspace.write("home/.docker/config.json", "{\"auths\": {}}");
    workspace.write("home/.ssh/id", "secret-id");
    workspace.write("home/plain", "plain-file");
    let mut command = workspace.sealpack([
        "build",
        "app",
        "--new-key",
        "release",
        "--tag",
        "oci:out:v1",
        "-v",
        "--isolation",
        "required",
    ]);
    let output = Output::of(&mut command);
    if output.stderr.contains("cannot isolate the build") {
        return testkit::skipped("this machine refuses isolation");
    }
    let output = output.expect(0);
    assert!(
        output.stderr.contains("plain-file"),
        "the spy did not spy: {}",
        output.stderr
    );
    for secret in ["PRIVATE KEY", "auths", "secret-id", "COSIGN_PASSWORD"] {
        assert!(
            !output.stderr.contains(secret),
            "{secret}: {}",
            output.stderr
        );
    }
}
