//! What else `sealpack build` can be told: volumes, where layers are kept, times, further names, the
//! image before.

use std::os::unix::net::UnixListener;

use serde_json::Value;
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};
use testkit::{FakeBuildpack, Output, Project, skipped};

use crate::build::json;

fn build(project: &Project, arguments: &[&str]) -> Output {
    let all = ["build", "app", "--builder", "builder.toml", "--unsigned"];
    Output::of(project.sealpack(all).args(arguments))
}

fn report(project: &Project, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--output", "json"]].concat();
    json(&build(project, &arguments).expect(0))
}

fn facts(project: &Project, image: &str) -> Value {
    json(
        &project
            .run(&["inspect", image, "--output", "json"])
            .expect(0),
    )
}

/// Whether this machine has a sandbox; says so if not.
pub(crate) fn has_sandbox(project: &Project) -> bool {
    let output = build(
        project,
        &[
            "--isolation",
            "required",
            "--no-cache",
            "--tag",
            "oci:probe:v1",
        ],
    );
    if output.code != 0 {
        skipped("in part: this machine does not isolate builds in full");
    }
    output.code == 0
}

#[test]
fn volumes_are_seen_and_written_as_far_as_they_may_be() {
    let see = FakeBuildpack::new("test/see").build(
        r#"
seen=$(cat /volume/read/fact "$CNB_PLATFORM_DIR/bindings/mine/type" 2>/dev/null | tr '\n' ' ' || :)
if echo no > /volume/read/new 2>/dev/null; then seen="$seen written"; fi
if [ -d /volume/write ]; then echo yes > /volume/write/new; fi
printf '[[labels]]\nkey = "seen"\nvalue = "%s"\n' "$seen" > "$CNB_LAYERS_DIR/launch.toml"
"#,
    );
    let project = Project::new(&[see]);
    if !has_sandbox(&project) {
        return;
    }
    project.write("facts/fact", "a fact\n");
    project.write("binding/type", "a binding\n");
    project.write("results/old", "");
    let arguments = [
        "--tag",
        "oci:out:v1",
        "--volume",
        "facts:/volume/read",
        "--volume",
        "binding:/platform/bindings/mine:ro",
        "--volume",
        "results:/volume/write:rw",
    ];
    build(&project, &arguments).expect(0);
    assert_eq!(
        facts(&project, "oci:out:v1")["labels"]["seen"],
        "a fact a binding "
    );
    assert!(!project.join("facts/new").exists());
    assert!(project.join("results/new").exists());
}

#[test]
fn no_volume_gives_a_key_away() {
    let project = Project::typical();
    let home = project.workspace().path().join("home-of-user");
    fs_err::create_dir_all(home.join(".ssh")).unwrap();
    fs_err::create_dir_all(project.join("fine")).unwrap();
    fs_err::create_dir_all(project.join("cache")).unwrap();
    fs_err::create_dir_all(project.join("temporary")).unwrap();
    std::os::unix::fs::symlink(home.join(".ssh"), project.join("innocent")).unwrap();
    let socket = UnixListener::bind(project.join("daemon.sock")).unwrap();
    for (volume, expected) in [
        ("home-of-user:/data", "which buildpacks must not see"),
        ("home-of-user/.ssh:/data", "which buildpacks must not see"),
        ("innocent:/data", "which buildpacks must not see"),
        ("test.key:/data", "which buildpacks must not see"),
        (".:/data", "which buildpacks must not see"),
        ("cache:/data:rw", "which buildpacks must not see"),
        // Where the build itself takes place.
        ("temporary:/data", "which buildpacks must not see"),
        ("daemon.sock:/data", "neither a file nor a folder"),
        ("fine:/cnb/lifecycle", "`/cnb` is the build's own"),
        ("fine:/usr/lib", "would cover `/usr`"),
        ("gone:/data", "no such file or folder"),
        ("fine:data", "the target is a path from `/`"),
        ("fine", "it is `SOURCE:TARGET`"),
        ("fine:/data:exec", "`:ro` or `:rw`"),
    ] {
        let arguments = [
            "build",
            "app",
            "--builder",
            "builder.toml",
            "--cache",
            "cache",
        ];
        let output = Output::of(
            project
                .sealpack(arguments)
                .args(["--key", "test.key", "--tag", "oci:out:v1"])
                .args(["--volume", volume])
                .env("HOME", &home)
                .env("TMPDIR", project.join("temporary")),
        )
        .expect(2);
        assert!(
            output.stderr.contains(expected),
            "{volume}\n{}",
            output.stderr
        );
        assert!(!project.join("out").exists());
    }
    drop(socket);
}

#[test]
fn layers_are_kept_in_an_image() {
    let project = Project::typical();
    let arguments = ["--cache-image", "oci:kept:v1", "--tag", "oci:out:v1"];
    let said = build(&project, &arguments).expect(0).stderr;
    assert!(said.contains("the cache is empty"), "{said}");
    let said = build(&project, &arguments).expect(0).stderr;
    assert!(said.contains(" from the cache"), "{said}");

    let cleared = [&arguments[..], &["--clear-cache"]].concat();
    let said = build(&project, &cleared).expect(0).stderr;
    assert!(said.contains("the cache is cleared"), "{said}");
    let said = build(&project, &arguments).expect(0).stderr;
    assert!(said.contains(" from the cache"), "{said}");

    for (more, expected) in [
        (&["--cache", "cache"][..], "cannot be used with"),
        (&["--no-cache"], "cannot be used with"),
        (
            &["--platform", "linux/amd64,linux/arm64"],
            "a cache image is for one platform",
        ),
    ] {
        let output = build(&project, &[&arguments[..], more].concat()).expect(2);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
    for image in ["oci-archive:kept.tar:v1", "docker-daemon:kept:v1"] {
        let arguments = ["--cache-image", image, "--tag", "oci:out:v1"];
        let output = build(&project, &arguments).expect(2);
        assert!(
            output.stderr.contains("cannot be a cache"),
            "{}",
            output.stderr
        );
    }
}

#[test]
fn a_cache_image_that_is_missing_is_an_empty_cache_however_a_registry_says_it() {
    let project = Project::typical();
    // Upstream wants it said in JSON, so the lifecycle does, too.
    let kind = FaultKind::Status(404, None);
    let registry = TestRegistry::start(Switches {
        faults: vec![Fault::first(usize::MAX, "GET /v2/kept/manifests/", kind)],
        ..Switches::default()
    });
    let image = format!("{}/kept:v1", registry.host());
    let arguments = ["--cache-image", &image, "--tag", "oci:out:v1"];
    let said = build(&project, &arguments).expect(0).stderr;
    assert!(said.contains("the cache is empty"), "{said}");
    assert!(!said.contains("nothing was cached"), "{said}");
}

#[test]
fn a_folder_of_layers_begins_anew_when_it_is_asked_to() {
    let project = Project::typical();
    let arguments = ["--cache", "cache", "--tag", "oci:out:v1"];
    build(&project, &arguments).expect(0);
    let cleared = [&arguments[..], &["--clear-cache"]].concat();
    let said = build(&project, &cleared).expect(0).stderr;
    assert!(said.contains("the cache is cleared"), "{said}");
    let said = build(&project, &arguments).expect(0).stderr;
    assert!(said.contains(" from the cache"), "{said}");
}

#[test]
fn an_image_is_as_old_as_it_is_said_to_be() {
    let project = Project::typical();
    let created = |time: &[&str]| {
        let arguments = [time, &["--no-cache", "--tag", "oci:out:v1"]].concat();
        let mut command = project.sealpack(["build", "app", "--builder", "builder.toml"]);
        command.args(["--unsigned"]).args(arguments);
        Output::of(command.env("SOURCE_DATE_EPOCH", "1000000000")).expect(0);
        facts(&project, "oci:out:v1")["created"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(created(&[]).starts_with("2001-09-09T01:46:40"));
    assert!(created(&["--creation-time", "1500000000"]).starts_with("2017-07-14T02:40:00"));
    assert!(created(&["--creation-time", "now"]).as_str() > "2025");
    for time in ["tomorrow", "99999999999999"] {
        let arguments = ["--creation-time", time, "--tag", "oci:out:v1"];
        let said = build(&project, &arguments).expect(2).stderr;
        assert!(said.contains("is not a creation time"), "{said}");
    }
}

#[test]
fn an_image_has_as_many_names_as_are_said() {
    let project = Project::typical();
    let arguments = [
        "--tag",
        "oci:out:v1",
        "--tag",
        "oci:out:v2",
        "-t",
        "oci:other:v1",
    ];
    let built = report(&project, &arguments);
    for name in ["oci:out:v1", "oci:out:v2", "oci:other:v1"] {
        assert_eq!(facts(&project, name)["digest"], built["digest"], "{name}");
    }
    let arguments = ["--tag", "oci:out:v1", "--tag", "not a name"];
    let said = build(&project, &arguments).expect(2).stderr;
    assert!(said.contains("is not a place for an image"), "{said}");
}

#[test]
fn layers_of_the_image_that_is_named_are_used_again() {
    let project = Project::typical();
    build(&project, &["--tag", "oci:first:v1", "--cache", "cache"]).expect(0);
    let arguments = ["--cache", "cache", "--tag", "oci:second:v1"];
    let named = ["--previous-image", "oci:first:v1"];
    let built = report(&project, &[&arguments[..], &named].concat());
    assert_eq!(built["layers"]["new"], 0, "{built:#}");
    let gone = ["--previous-image", "oci:gone:v1"];
    let output = build(&project, &[&arguments[..], &gone].concat()).expect(0);
    let expected = "`oci:gone:v1`, which was to be replaced, is not there";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
}
