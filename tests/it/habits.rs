//! What is typed out of habit, or wrongly, and what is said of it.

use serde_json::Value;
use testkit::registry::{Login, Switches, TestRegistry};
use testkit::{Output, Project, Workspace};

fn said(arguments: &[&str]) -> Output {
    Output::of(&mut Workspace::new().sealpack(arguments)).expect(2)
}

#[test]
fn what_is_not_understood_is_a_document_for_who_asked_for_one() {
    for (arguments, error) in [
        (&["tree", "-o", "json"][..], "required arguments"),
        (&["verify", "docker://x/y", "--output=json"], "docker://"),
        (&["build", "--tag", "oci:out:v1", "-ojson"], "--key"),
        (
            &["inspect", "a", "b", "--output", "json"],
            "unexpected argument",
        ),
    ] {
        let output = said(arguments);
        let document: Value = serde_json::from_str(&output.stdout)
            .unwrap_or_else(|it| panic!("{arguments:?}: {it}: {output:?}"));
        let text = document["error"].as_str().unwrap();
        assert!(text.contains(error) && !text.contains("Usage"), "{text}");
        assert!(document["causes"].as_array().unwrap().is_empty());
        // People read the same as ever.
        assert!(output.stderr.starts_with("error: "), "{output:?}");
    }
    // Help is no error, and what stands behind `--` no flag.
    let help = Output::of(&mut Workspace::new().sealpack(["tree", "--help", "-o", "json"]));
    assert!(help.expect(0).stdout.starts_with("Show what"));
    assert_eq!(said(&["tree", "a", "b", "--", "-o", "json"]).stdout, "");
    // So are settings that cannot be read.
    let workspace = Workspace::new();
    let mut command = workspace.sealpack(["verify", "oci:a:b", "-o", "json"]);
    let output = Output::of(command.env("SEALPACK_CONFIG", "nowhere.toml")).expect(2);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let text = document["error"].as_str().unwrap();
    assert!(text.contains("nowhere.toml"), "{document}");
}

#[test]
fn a_document_calls_docker_hub_what_people_call_it() {
    let output = said(&["inspect", "busybox", "--offline", "-o", "json"]);
    assert!(output.stdout.contains("docker.io"), "{output:?}");
    assert!(!output.stdout.contains("index.docker.io"), "{output:?}");
}

#[test]
fn an_image_as_output_is_taken_with_a_word() {
    let project = Project::typical();
    let build = ["build", "app", "--builder", "builder.toml", "--unsigned"];
    let run = |more: &[&str]| Output::of(project.sealpack(build).args(more));
    let old = run(&["--output", "oci:out:v1"]).expect(0);
    assert!(old.stderr.contains("write `--tag oci:out:v1`"), "{old:?}");
    let new = run(&["--tag", "oci:out:v1"]).expect(0);
    assert!(!new.stderr.contains("--tag"), "{new:?}");
    let form = run(&["-o", "yaml"]).expect(2);
    assert!(
        form.stderr.contains("`yaml` is not an output format"),
        "{form:?}"
    );
    let copy = |more: &[&str]| {
        let copy = ["copy", "oci:out:v1", "oci:there:v1"];
        Output::of(project.sealpack(copy).args(more)).expect(0)
    };
    assert!(copy(&["--referrers"]).stderr.contains("next release"));
    assert!(!copy(&[]).stderr.contains("next release"));
}

#[test]
fn what_other_tools_call_it_is_the_only_hint() {
    for (arguments, hint) in [
        (&["public-key"][..], "sealpack key public"),
        (&["digest"], "sealpack inspect"),
        (&["auth"], "sealpack login"),
        (&["rm"], "sealpack delete"),
        (&["build", "--path", "x"], "sealpack build DIR"),
        (&["build", "--publish"], "`--tag`"),
        (&["build", "-B", "x"], "`--builder`"),
        (&["build", "--metadata-file", "x"], "-o json"),
        (&["login", "-p", "x"], "--password-stdin"),
        (&["verify", "--insecure-ignore-tlog"], "leave it out"),
        (&["verify", "--type", "slsaprovenance"], "`--claim`"),
        (
            &["copy", "a", "b", "--to-plain-http"],
            "--insecure-registry",
        ),
        (
            &["sbom", "generate", "a", "-o", "x"],
            "--format cyclonedx=FILE",
        ),
        (
            &["sbom", "generate", "a", "--format", "spdx-json"],
            "`--format spdx`",
        ),
    ] {
        let output = said(arguments);
        let hints = output.stderr.lines().filter(|it| it.starts_with("hint: "));
        let hints: Vec<_> = hints.collect();
        assert!(hints.len() == 1 && hints[0].contains(hint), "{output:?}");
        assert!(!output.stderr.contains("tip: "), "{output:?}");
    }
    // A flag means something else behind another command.
    assert!(!said(&["tree", "-p", "x"]).stderr.contains("hint: "));
    // A page of help is no command.
    let sigstore = said(&["sigstor"]);
    assert!(!sigstore.stderr.contains("'sigstore'"), "{sigstore:?}");
    // Where nothing is known better, what is alike is.
    assert!(said(&["verifi"]).stderr.contains("verify"));
}

#[test]
fn durations_are_as_others_write_them_and_yes_is_taken() {
    for time in ["3m0s", "1m30s", "90s", "2h", "7"] {
        let run = ["version", "--timeout", time];
        Output::of(&mut Workspace::new().sealpack(run)).expect(0);
    }
    for time in ["0s", "s", "1m30", "1x", "-1s", "", "18446744073709551615h"] {
        said(&["version", "--timeout", time]);
    }
    for command in [
        &["copy", "oci:a:b", "oci:c:d"][..],
        &["delete", "oci:a:b"],
        &["build", "--unsigned", "--tag", "oci:a:b"],
    ] {
        let output = said(&[command, &["--yes"]].concat());
        assert!(!output.stderr.contains("unexpected"), "{output:?}");
    }
}

#[test]
fn the_version_names_that_of_the_lifecycle() {
    let workspace = Workspace::new();
    let text = Output::of(&mut workspace.sealpack(["version"])).expect(0);
    let lifecycle = Output::of(&mut workspace.sealpack(["lifecycle", "-version"])).expect(0);
    let lifecycle = lifecycle
        .stdout
        .split('+')
        .next()
        .unwrap()
        .trim()
        .to_owned();
    let json = Output::of(&mut workspace.sealpack(["version", "-o", "json"])).expect(0);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["lifecycle"], lifecycle);
    assert!(
        text.stdout
            .contains(&format!("lifecycle:      {lifecycle}")),
        "{text:?}"
    );
}

#[test]
fn settings_hold_for_all_commands_that_ask() {
    let project = Project::typical();
    let registry = TestRegistry::start(Switches {
        login: Login::Basic {
            username: "robot",
            password: "secret",
        },
        ..Switches::default()
    });
    let image = format!("{}/app:v1", registry.host());
    let mut shell = project.workspace().command("bash");
    let login = "printf secret | \"$0\" login \"$1\" --username robot --password-stdin --authfile auth.json";
    shell
        .args(["-ec", login])
        .arg(testkit::binary("sealpack"))
        .arg(registry.host());
    Output::of(&mut shell).expect(0);
    let with = |arguments: &[&str], name: &str, value: &str| {
        Output::of(project.sealpack(arguments).env(name, value))
    };
    let build = [
        "build",
        "app",
        "--builder",
        "builder.toml",
        "--key",
        "test.key",
        "--tag",
        &image,
    ];
    with(&build, "SEALPACK_AUTHFILE", "auth.json").expect(0);
    project.run(&["tree", &image]).expect(2);
    for command in ["tree", "inspect", "report"] {
        with(&[command, &image], "SEALPACK_AUTHFILE", "auth.json").expect(0);
    }
    let repository = format!("{}/app", registry.host());
    with(&["ls", &repository], "SEALPACK_AUTHFILE", "auth.json").expect(0);
    // Only a file that is named says whom to believe, and then it does to all that ask.
    project.write(
        "ours.toml",
        "public-keys = [\"test.pub\"]\nauthfile = \"auth.json\"\n",
    );
    let tree = with(&["tree", &image], "SEALPACK_CONFIG", "ours.toml").expect(0);
    assert!(tree.stdout.contains("✓ key"), "{tree:?}");
    with(&["verify", &image], "SEALPACK_CONFIG", "ours.toml").expect(0);
    // `copy` judges nothing unless it is asked to.
    with(
        &["copy", &image, "oci:out:v1"],
        "SEALPACK_CONFIG",
        "ours.toml",
    )
    .expect(0);
    project.write("broken.toml", "registries-conf = \"nowhere.conf\"\n");
    let broken = with(&["inspect", &image], "SEALPACK_CONFIG", "broken.toml").expect(2);
    assert!(broken.stderr.contains("nowhere.conf"), "{broken:?}");
    // A command that has no such flag does not care.
    with(&["version"], "SEALPACK_CONFIG", "nowhere.toml").expect(0);
    let verify = with(&["verify", "oci:out:v1"], "SEALPACK_KEY", "test.key").expect(2);
    assert!(verify.stderr.contains("sealpack key public"), "{verify:?}");
}

#[test]
fn settings_that_are_not_there_are_shown_and_found_beside_the_app() {
    let project = Project::typical();
    for name in ["config", "env"] {
        let shown = project.run(&[name]).expect(0).stdout;
        for setting in ["SEALPACK_KEY", "SEALPACK_AUTHFILE", "public-keys"] {
            assert!(shown.contains(setting), "{shown}");
        }
    }
    project.write(
        "sealpack.toml",
        "key = \"test.key\"\ntags = [\"oci:../out:v1\"]\n",
    );
    let mut build = project.sealpack(["build"]);
    let built = Output::of(build.current_dir(project.join("app"))).expect(0);
    assert!(built.stderr.contains("attest"), "{built:?}");
    assert!(project.join("out/index.json").exists());
}

/// Somebody else's settings could name another key or policy. A checkout of another user is common, so what
/// is left out is said.
#[test]
fn settings_of_another_user_do_not_count_unless_they_are_named() {
    if !crate::build::may_chroot() {
        return;
    }
    let project = Project::typical();
    let settings = "key = \"test.key\"\nbuilder = \"builder.toml\"\ntags = [\"oci:out:v1\"]\n";
    let path = project.write("sealpack.toml", settings);
    let build = || project.sealpack(["build", "app"]);
    std::os::unix::fs::chown(&path, Some(1234), None).unwrap();
    let left_out = Output::of(&mut build()).expect(2);
    assert!(!project.join("out").exists(), "{left_out:?}");
    let given = [
        "--builder",
        "builder.toml",
        "--unsigned",
        "--tag",
        "oci:other:v1",
    ];
    let built = Output::of(build().args(given)).expect(0);
    let says = "is left out: it belongs to another user";
    assert!(built.stderr.contains(says), "{built:?}");
    assert!(built.stderr.contains("SEALPACK_CONFIG"), "{built:?}");
    // Of whoever called sudo it is ours.
    let called = Output::of(build().env("SUDO_UID", "1234")).expect(0);
    assert!(!called.stderr.contains(says), "{called:?}");
    let named = Output::of(build().env("SEALPACK_CONFIG", &path)).expect(0);
    assert!(!named.stderr.contains(says), "{named:?}");
}
