//! What would go wrong later, and in silence, is said by the build.

use testkit::{FakeBuildpack, Project};

/// A buildpack whose process `web` is this command.
fn starting(command: &str, more: &str) -> Project {
    let build = format!(
        "{more}\nprintf '[[processes]]\\ntype = \"web\"\\ncommand = [{command}]\\ndefault = true\\n' > \"$CNB_LAYERS_DIR/launch.toml\""
    );
    Project::new(&[FakeBuildpack::new("test/starting").build(build)])
}

#[test]
fn a_process_that_needs_what_the_base_lacks_is_named() {
    let script = "printf '#!/bin/sh\\necho hi\\n' > run.sh\nchmod +x run.sh";
    let linked = "cp /bin/cat run.sh";
    for (command, more, part) in [
        ("\"bash\", \"-c\", \"x\"", "", "no `/bin/bash`"),
        ("\"/bin/sh\", \"-c\", \"x\"", "", "no `/bin/sh`"),
        ("\"/workspace/run.sh\"", script, "no `/bin/sh`"),
        (
            "\"/workspace/run.sh\"",
            linked,
            "is linked dynamically, and the run image has no `/lib",
        ),
    ] {
        let project = starting(command, more);
        for to in ["oci:out:v1", "oci:out:v2"] {
            let output = project.build_with(to, &[]).expect(0);
            let said = &output.stderr;
            assert!(said.contains("the process `web` cannot start"), "{said}");
            assert!(said.contains(part), "{part}: {said}");
            assert!(said.contains("--run-image"), "{said}");
        }
    }
}

#[test]
fn a_process_that_has_what_it_needs_is_not_named() {
    let brought = "mkdir -p \"$CNB_LAYERS_DIR/tools/bin\"\ncp run.sh \"$CNB_LAYERS_DIR/tools/bin/bash\"\nprintf '[types]\\nlaunch = true\\n' > \"$CNB_LAYERS_DIR/tools.toml\"";
    for (command, more) in [
        ("\"/workspace/missing\"", ""),
        ("\"bash\"", brought),
        ("\"/workspace/hello.txt\"", ""),
    ] {
        let project = starting(command, more);
        project.write("app/run.sh", "\u{7f}ELF");
        let output = project.build_with("oci:out:v1", &[]).expect(0);
        assert!(!output.stderr.contains("cannot start"), "{output:?}");
    }
}

/// As some distributions have shells that are added later.
#[tokio::test]
async fn a_shell_is_found_in_any_folder_of_programs() {
    let project = starting("\"bash\", \"-c\", \"x\"", "");
    let base = testkit::LayerFiles::new()
        .folder("usr")
        .folder("usr/local")
        .folder("usr/local/bin")
        .file("usr/local/bin/bash", "bash")
        .folder("etc")
        .file("etc/os-release", "ID=debian\nVERSION_ID=12\n");
    testkit::write_image(&project.join("run"), &[base]).await;
    let output = project
        .build_with("oci:out:v1", &["--run-image", "oci:run:latest"])
        .expect(0);
    assert!(!output.stderr.contains("cannot start"), "{output:?}");
}

/// A base with a shell, by a link as distributions have it.
#[tokio::test]
async fn a_base_with_a_shell_is_enough() {
    let project = starting("\"/bin/sh\", \"-c\", \"x\"", "");
    let base = testkit::LayerFiles::new()
        .folder("usr")
        .folder("usr/bin")
        .file("usr/bin/dash", "dash")
        .symlink("usr/bin/sh", "dash")
        .symlink("bin", "usr/bin")
        .folder("etc")
        .file("etc/os-release", "ID=debian\nVERSION_ID=12\n");
    testkit::write_image(&project.join("run"), &[base]).await;
    for _ in 0..2 {
        let output = project
            .build_with("oci:out:v1", &["--run-image", "oci:run:latest"])
            .expect(0);
        assert!(!output.stderr.contains("cannot start"), "{output:?}");
    }
}

#[test]
fn what_is_written_into_the_app_is_named() {
    let project = Project::typical();
    let says = |arguments: &[&str]| {
        let output = project
            .build_with("oci:app/inner/out:v1", arguments)
            .expect(0);
        output.stderr
    };
    let said = says(&["--links", "app/links"]);
    assert!(
        said.contains("`inner/out` lies in the app's folder"),
        "{said}"
    );
    assert!(said.contains("`links` lies in the app's folder"), "{said}");
    assert!(said.contains("exclude = [\"/links\"]"), "{said}");
    // What is left out is no source.
    project.write(
        "app/project.toml",
        "[_]\nschema-version = \"0.2\"\n[io.buildpacks]\nexclude = [\"/inner\", \"/links\"]\n",
    );
    let said = says(&["--links", "app/links"]);
    assert!(!said.contains("lies in the app's folder"), "{said}");
    let output = project.build("oci:out:v1").expect(0);
    assert!(!output.stderr.contains("lies in the app's folder"));
}
