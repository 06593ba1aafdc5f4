//! `sealpack` by itself: the lifecycle is in it, and it is called by several names.

use std::path::Path;
use std::process::Command;

use testkit::{Output, Project, Workspace, binary, copy_binary};

use crate::build::json;

/// A program that hears by which name it is called.
fn called(program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    let api = [("CNB_PLATFORM_API", "0.12")];
    Output::of(command.args(arguments).env_clear().envs(api))
}

#[test]
fn it_is_the_lifecycle_by_the_name_of_a_phase() {
    let workspace = Workspace::new();
    let lifecycle = binary("lifecycle");
    let said = called(&lifecycle, &["-version"]).expect(0);
    for name in [
        "lifecycle",
        "analyzer",
        "builder",
        "creator",
        "detector",
        "exporter",
        "extender",
        "rebaser",
        "restorer",
    ] {
        let link = workspace.join(name);
        fs_err::os::unix::fs::symlink(binary("sealpack"), &link).unwrap();
        assert_eq!(called(&link, &["-version"]), said, "{name}");
    }
    let inner = |arguments: &[&str]| called(&binary("sealpack"), arguments);
    assert_eq!(inner(&["lifecycle", "-version"]), said);
    // Flags, words and exit codes are those of platforms.
    for arguments in [&["detect", "-nothing"][..], &["analyze"], &["paint"], &[]] {
        let all: Vec<_> = ["lifecycle"].iter().chain(arguments).copied().collect();
        let output = inner(&all);
        assert_eq!(output, called(&lifecycle, arguments));
        assert_ne!(output.code, 0);
    }
}

/// A copy of `sealpack` in a folder in which nothing else is.
fn alone(workspace: &Workspace) -> std::path::PathBuf {
    fs_err::create_dir_all(workspace.join("alone")).unwrap();
    let program = workspace.join("alone/sealpack");
    copy_binary("sealpack", &program);
    program
}

#[test]
fn it_builds_with_nothing_but_a_launcher() {
    let project = Project::typical();
    let program = alone(project.workspace());
    let build = |program: &Path, arguments: &[&str]| {
        let mut command = project.workspace().command(program);
        command.args(["build", "app", "--builder", "builder.toml", "--no-cache"]);
        command.args(["--key", "test.key", "-o", "json", "--tag", "oci:out:v1"]);
        Output::of(command.args(arguments))
    };
    let doctor = || {
        let mut command = project.workspace().command(&program);
        json(&Output::of(command.args(["doctor", "-o", "json"])).expect(0))["findings"][0].clone()
    };
    // Built without one inside, it says so before anything is done.
    let missing = format!(
        "`{}` is not there",
        project.join("alone/launcher").display()
    );
    let output = build(&program, &[]).expect(2);
    assert!(output.stderr.contains(&missing), "{output:?}");
    assert!(output.stderr.contains("--lifecycle DIR"), "{output:?}");
    assert!(!output.stderr.contains("detect"), "{output:?}");
    assert_eq!(doctor()["state"], "bad");

    fs_err::create_dir(project.join("programs")).unwrap();
    copy_binary("launcher", project.join("programs/launcher"));
    let named = json(&build(&program, &["--lifecycle", "programs"]).expect(0));
    copy_binary("launcher", project.join("alone/launcher"));
    let beside = json(&build(&program, &[]).expect(0));
    assert_eq!(doctor()["state"], "good");
    let whole = json(&build(&binary("sealpack"), &[]).expect(0));
    assert_eq!(named["digest"], whole["digest"]);
    assert_eq!(beside["digest"], whole["digest"]);
    // Another lifecycle is one that was named.
    copy_binary("lifecycle", project.join("programs/lifecycle"));
    let other = json(&build(&program, &["--lifecycle", "programs"]).expect(0));
    assert_eq!(other["digest"], whole["digest"]);
}

/// The provenance names what ran.
#[test]
fn the_provenance_names_the_lifecycle_that_ran() {
    let project = Project::typical();
    let programs = binary("sealpack").parent().unwrap().display().to_string();
    let ran = |to: &str, arguments: &[&str]| {
        project.build_with(to, arguments).expect(0);
        let verify = ["verify", to, "--key", "test.pub", "--claim", "provenance"];
        let output = Output::of(project.sealpack(verify).args(["-o", "json"])).expect(0);
        let text = json(&output).to_string();
        let digest = |name: &str| {
            let digest = oci::Digest::of(&fs_err::read(binary(name)).unwrap());
            text.matches(digest.hex()).count()
        };
        (digest("sealpack"), digest("lifecycle"))
    };
    let (own, other) = ran("oci:own:v1", &[]);
    assert_eq!((own, other), (2, 0));
    let (own, other) = ran("oci:other:v1", &["--lifecycle", &programs]);
    assert_eq!((own, other), (1, 1));
}
