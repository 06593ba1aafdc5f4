//! What users type where an image is wanted and name a registry alone, and what is not a registry.

use testkit::{Output, Project, Reply, Scripted, Workspace};

#[test]
fn a_registry_alone_is_not_taken_for_an_image_of_docker_hub() {
    let workspace = Workspace::new();
    workspace.write("policy.toml", "");
    for command in [
        &["inspect"][..],
        &["tree"],
        &["report"],
        &["verify", "--key", "none"],
        &["policy", "check", "--policy", "policy.toml"],
        &["delete"],
        &["ls"],
        &["sbom", "generate"],
        &["copy", "oci:out:v1"],
        &["manifest", "create", "r.example/list:v1"],
    ] {
        for host in ["localhost:5000", "registry.example"] {
            let output = Output::of(workspace.sealpack(command).arg(host)).expect(2);
            let says =
                format!("`{host}` names a registry, not an image; write `{host}/REPOSITORY`");
            assert!(output.stderr.contains(&says), "{command:?}: {output:?}");
        }
    }
}

/// Of those that take other things than images, too.
#[test]
fn nor_where_a_file_or_a_list_may_be_named() {
    let project = Project::typical();
    project.build("oci:out:v1").expect(0);
    let create = ["manifest", "create", "r.example/list:v1", "oci:out:v1"];
    project.run(&create).expect(0);
    let build = ["build", "app", "--key", "test.key", "--tag", "oci:out:v1"];
    let with_builder = [&build[..], &["--builder", "builder.toml"]].concat();
    let buildpack = ["buildpack", "package"];
    let mirror = [
        "mirror",
        "--policy",
        "policy",
        "--key",
        "test.pub",
        "oci:out:v1",
    ];
    for host in ["localhost:5000", "docker.io"] {
        let prefixed = format!("docker://{host}");
        for command in [
            &[&build[..], &["--builder", host]].concat()[..],
            &[&with_builder[..], &["--run-image", host]].concat(),
            &[&with_builder[..], &["--buildpack", &prefixed]].concat(),
            &["rebase", "oci:out:v1", "--run-image", host, "--unsigned"],
            &[&buildpack[..], &[host, "--path", "buildpacks/test/typical"]].concat(),
            &["manifest", "create", host, "oci:out:v1"],
            &["manifest", "inspect", host],
            &[
                "manifest",
                "annotate",
                "r.example/list:v1",
                host,
                "--os",
                "linux",
            ],
            &["manifest", "rm", "r.example/list:v1", host],
            &["buildpack", "inspect", &prefixed],
            &[&mirror[..], &[host]].concat(),
        ] {
            let output = project.run(command).expect(2);
            let says =
                format!("`{host}` names a registry, not an image; write `{host}/REPOSITORY`");
            assert!(output.stderr.contains(&says), "{command:?}: {output:?}");
        }
    }
}

#[test]
fn a_web_page_is_no_registry_to_log_in_to() {
    for status in [200, 404] {
        let server = Scripted::start(move |_| {
            Reply::new(status)
                .header("Content-Type: text/html; charset=utf-8")
                .body("<html>")
        });
        let workspace = Workspace::new();
        let login = [
            "login",
            &server.host(),
            "--username",
            "me",
            "--password-stdin",
        ];
        let mut command = workspace.command("bash");
        let script = "printf hunter2 | \"$0\" \"$@\"";
        let command = command
            .args(["-c", script])
            .arg(testkit::binary("sealpack"));
        let output = Output::of(command.args(login)).expect(2);
        let says = "did not answer as a registry: text/html instead of";
        assert!(output.stderr.contains(says), "{output:?}");
        assert!(!output.stdout.contains("logged in"), "{output:?}");
        assert!(!workspace.join("home/.docker/config.json").exists());
    }
}

#[test]
fn a_file_that_is_not_there_is_said_in_one_way() {
    let workspace = Workspace::new();
    workspace.write("app/file", "");
    for command in [
        &["verify", "oci:x", "--key", "none"][..],
        &["sign", "oci:x", "--key", "none"],
        &[
            "attest",
            "oci:x",
            "--key",
            "none",
            "--predicate",
            "none",
            "--type",
            "spdx",
        ],
        &["policy", "check", "oci:x", "--policy", "none"],
        &["mirror", "oci:x", "oci:y", "--policy", "none"],
        &["key", "public", "--key", "none"],
        &["sbom", "convert", "none"],
        &["inspect", "127.0.0.1:9/a", "--registry-ca", "none"],
        &["inspect", "127.0.0.1:9/a", "--registries-conf", "none"],
        &["inspect", "127.0.0.1:9/a", "--authfile", "none"],
        &["report", "oci:x", "--policy", "none"],
    ] {
        let output = Output::of(&mut workspace.sealpack(command)).expect(2);
        assert!(
            output.stderr.contains("file `none` not found\n"),
            "{command:?}: {output:?}"
        );
        assert!(!output.stderr.contains("os error"), "{output:?}");
    }
}
