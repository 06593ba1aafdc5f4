//! A folder for temporary files that cannot be used: the variable that names it is said, and what to do.

use std::path::Path;

use serde_json::Value;
use testkit::{Output, Project, Workspace};

/// Values of `TMPDIR` that cannot be used, and what is said of each.
fn unusable(workspace: &Workspace) -> Vec<(String, &'static str)> {
    let file = workspace.write("a-file", "");
    vec![
        ("/nowhere/at/all".to_owned(), "it does not exist"),
        (file.display().to_string(), "it is not a folder"),
        ("/proc/self".to_owned(), "`/proc/self` cannot be used"),
    ]
}

#[test]
fn what_needs_the_folder_names_the_variable() {
    let project = Project::typical();
    let build = ["build", "app", "--builder", "builder.toml", "--unsigned"];
    let package = ["buildpack", "package", "oci:package:v1", "--path"];
    let commands = [
        [&build[..], &["--tag", "oci:out:v1"]].concat(),
        [&package[..], &["buildpacks/test/typical"]].concat(),
        vec!["sbom", "generate", "app/hello.txt"],
    ];
    for (folder, says) in unusable(project.workspace()) {
        for command in &commands {
            let output = Output::of(project.sealpack(command).env("TMPDIR", &folder));
            let output = output.expect(2);
            assert!(output.stderr.contains("TMPDIR"), "{command:?}: {output:?}");
            assert!(output.stderr.contains(&folder), "{command:?}: {output:?}");
            if folder != "/proc/self" {
                assert!(output.stderr.contains(says), "{command:?}: {output:?}");
            }
            assert!(!project.join("out").exists());
        }
    }
}

/// What `sealpack doctor` says of it: state, text and hint.
fn doctor(workspace: &Workspace, folder: &str) -> Vec<[String; 3]> {
    let mut command = workspace.sealpack(["doctor", "-o", "json"]);
    let output = Output::of(command.env("TMPDIR", folder)).expect(0);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap().iter();
    let about = findings.filter(|it| it["about"] == "temporary");
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    about
        .map(|it| ["state", "text", "hint"].map(|name| text(&it[name])))
        .collect()
}

#[test]
fn the_doctor_says_it_too() {
    let workspace = Workspace::new();
    for (folder, says) in unusable(&workspace) {
        let [[state, text, hint]] = &doctor(&workspace, &folder)[..] else {
            panic!("{folder}");
        };
        assert_eq!(state, "bad", "{text}");
        assert!(text.contains(says), "{text}");
        assert!(hint.contains("TMPDIR"), "{hint}");
    }
}

/// Buildpacks and phases run in other folders.
#[test]
fn one_that_is_relative_does_not_count_and_is_told_of() {
    let project = Project::typical();
    fs_err::create_dir(project.join("relative")).unwrap();
    let findings = doctor(project.workspace(), "relative");
    let told = findings.iter().find(|it| it[0] == "warning");
    let told = told.unwrap_or_else(|| panic!("{findings:?}"));
    assert!(told[1].contains("`TMPDIR` is `relative`"), "{told:?}");
    assert!(told[1].contains("`/tmp` is used"), "{told:?}");
    let build = ["--key", "test.key", "--tag", "oci:out:v1"];
    let mut build = project.build_command(build);
    Output::of(build.env("TMPDIR", "relative")).expect(0);
    let used = fs_err::read_dir(project.join("relative")).unwrap();
    assert_eq!(used.count(), 0);
    assert!(Path::new("/tmp").is_dir());
}
