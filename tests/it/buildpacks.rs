//! Buildpacks that are added to a builder, from anywhere, by the command line or by `project.toml`.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use testkit::{FakeBuildpack, LayerFiles, Output, Project, olareg, write_image_with};

use crate::build::json;

/// A project whose builder has two groups: one that never fits, and one of `test/own`.
fn project() -> Project {
    let project = Project::new(&[
        FakeBuildpack::new("test/never").detect("exit 100"),
        FakeBuildpack::new("test/own"),
    ]);
    let toml = fs_err::read_to_string(project.join("builder.toml")).unwrap();
    let two = toml.replace(
        "[[order.group]]\nid = \"test/own\"",
        "[[order]]\n[[order.group]]\nid = \"test/own\"",
    );
    project.write("builder.toml", two);
    project
}

/// Writes a buildpack to `folder`, whose build adds `content` to the image.
fn buildpack(project: &Project, folder: &str, id: &str, content: &str) {
    let toml = format!(
        "api = \"0.10\"\n[buildpack]\nid = \"{id}\"\nversion = \"2.0.0\"\n[[targets]]\nos = \"linux\"\n"
    );
    project.write(format!("{folder}/buildpack.toml"), toml);
    let build = format!("#!/bin/sh\nset -eu\nprintf '%s' '{content}' > made-by-$(basename {id})\n");
    for (name, text) in [("detect", "#!/bin/sh\n"), ("build", &build)] {
        let path = project.write(format!("{folder}/bin/{name}"), text);
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Packs the buildpack in `folder` into the layout `layout`, as the specification has it.
async fn package(project: &Project, folder: &str, id: &str, layout: &str) {
    let place = format!("cnb/buildpacks/{}/2.0.0", id.replace('/', "_"));
    let files = LayerFiles::new().tree(&place, &project.join(folder));
    write_image_with(&project.join(layout), &[files], |diff_ids| {
        let own = json!({ "id": id, "version": "2.0.0" });
        let layers = json!({ id: { "2.0.0": {
            "api": "0.10", "layerDiffID": diff_ids[0], "targets": [{ "os": "linux" }],
        }}});
        json!({ "Labels": {
            "io.buildpacks.buildpackage.metadata": own.to_string(),
            "io.buildpacks.buildpack.layers": layers.to_string(),
        }})
    })
    .await;
}

fn output(project: &Project, arguments: &[&str]) -> Output {
    let all = ["--unsigned", "--tag", "oci:out:v1", "--output", "json"];
    Output::of(project.build_command(all).args(arguments))
}

/// The buildpacks that took part, in order.
fn built(project: &Project, arguments: &[&str]) -> Vec<String> {
    let report = json(&output(project, arguments).expect(0));
    let names = report["buildpacks"].as_array().unwrap().iter();
    names.map(|it| it.as_str().unwrap().to_owned()).collect()
}

const OWN: &str = "test/own@1.0.0";
const MORE: &str = "test/more@2.0.0";

#[tokio::test]
async fn a_buildpack_comes_from_anywhere() {
    let project = project();
    buildpack(&project, "more", "test/more", "more");
    let archive = LayerFiles::new().tree("", &project.join("more")).tar();
    project.write("more.tar", archive);
    package(&project, "more", "test/more", "package").await;
    let copy = ["copy", "oci:package:latest", "oci-archive:more.cnb:latest"];
    project.run(&copy).expect(0);

    assert_eq!(built(&project, &[]), [OWN]);
    for locator in ["more", "./more.tar", "more.cnb", "oci:package:latest"] {
        assert_eq!(built(&project, &["--buildpack", locator]), [MORE]);
        assert!(has(&project, "made-by-more"), "{locator}");
    }
    let url = format!("file://{}", project.join("more.cnb").display());
    assert_eq!(built(&project, &["--buildpack", &url]), [MORE]);

    let Some(server) = olareg(project.workspace().path()) else {
        return;
    };
    let name = format!("{}/test/more:2", server.host());
    project
        .run(&["copy", "oci:package:latest", &name])
        .expect(0);
    for locator in [name.clone(), format!("docker://{name}")] {
        assert_eq!(built(&project, &["--buildpack", &locator]), [MORE]);
    }
}

/// Whether the app in the image has this file.
fn has(project: &Project, file: &str) -> bool {
    fs_err::remove_dir_all(project.join("root")).unwrap_or_default();
    project.run(&["unpack", "oci:out:v1", "root"]).expect(0);
    project.join("root/workspace").join(file).exists()
}

#[test]
fn the_order_is_the_one_that_pack_makes() {
    let project = project();
    buildpack(&project, "more", "test/more", "more");
    buildpack(&project, "last", "test/last", "last");
    let last = "test/last@2.0.0";
    for (arguments, expected) in [
        (&["--pre-buildpack", "more"][..], &[MORE, OWN][..]),
        (&["--post-buildpack", "more"], &[OWN, MORE]),
        (
            &[
                "--pre-buildpack",
                "more,last",
                "--post-buildpack",
                "from=builder:test/own@1.0.0",
            ],
            &[last, MORE, OWN],
        ),
        (&["--buildpack", "from=builder"], &[OWN]),
        (
            &["--buildpack", "more,from=builder", "-b", "last"],
            &[MORE, OWN, last],
        ),
        (
            &[
                "--buildpack",
                "urn:cnb:builder:test/own",
                "--buildpack",
                "more",
            ],
            &[OWN, MORE],
        ),
        (&["--buildpack", "test/own@1.0.0"], &[OWN]),
    ] {
        assert_eq!(built(&project, arguments), expected, "{arguments:?}");
    }
}

#[test]
fn what_is_no_buildpack_is_refused_before_anything_runs() {
    let project = project();
    buildpack(&project, "more", "test/more", "more");
    buildpack(&project, "other", "test/more", "another content");
    buildpack(&project, "fake", "test/own", "not the builder's");
    fs_err::rename(project.join("fake/buildpack.toml"), project.join("toml")).unwrap();
    let toml = fs_err::read_to_string(project.join("toml")).unwrap();
    project.write("fake/buildpack.toml", toml.replace("2.0.0", "1.0.0"));
    project.write("empty/nothing", "");
    project.write("text.cnb", "no archive");
    for (arguments, expected) in [
        (
            &["--buildpack", "some/name"][..],
            "if it is an image, say `docker://some/name`",
        ),
        (
            &["--buildpack", "https://a.example/b.tgz"],
            "download it first",
        ),
        (
            &["--buildpack", "urn:cnb:registry:some/name"],
            "docker://IMAGE@DIGEST",
        ),
        (
            &["--buildpack", "urn:cnb:builder:test/gone"],
            "the builder has no `test/gone`",
        ),
        (
            &["--buildpack", "urn:cnb:builder:test/own@9.9.9"],
            "the builder has no `test/own@9.9.9`",
        ),
        (&["--buildpack", "from=builder,from=builder"], "once only"),
        (
            &["--pre-buildpack", "from=builder"],
            "in its groups already",
        ),
        (
            &["--buildpack", "more", "--pre-buildpack", "other"],
            "cannot be used with",
        ),
        (
            &["--buildpack", "more,other"],
            "`test/more@2.0.0` is there twice",
        ),
        (&["--buildpack", "fake"], "`test/own@1.0.0` is there twice"),
        (&["--buildpack", "empty"], "buildpack.toml"),
        (&["--buildpack", "text.cnb"], "text.cnb"),
        (&["--buildpack", "oci:gone:v1"], "gone"),
    ] {
        let output = output(&project, arguments).expect(2);
        assert!(
            output.stderr.contains(expected),
            "{arguments:?}\n{}",
            output.stderr
        );
        assert!(!project.join("out").exists());
    }
}

#[tokio::test]
async fn a_builder_file_may_name_packages() {
    let project = project();
    buildpack(&project, "more", "test/more", "more");
    package(&project, "more", "test/more", "package").await;
    let copy = ["copy", "oci:package:latest", "oci-archive:more.cnb:latest"];
    project.run(&copy).expect(0);
    let order = "[[order]]\n[[order.group]]\nid = \"test/more\"\n";
    project.write(
        "builder.toml",
        format!("[[buildpacks]]\nuri = \"more.cnb\"\n{order}"),
    );
    assert_eq!(built(&project, &[]), [MORE]);
    project.write(
        "builder.toml",
        format!("[[buildpacks]]\nuri = \"from=builder\"\n{order}"),
    );
    let output = output(&project, &[]).expect(2);
    assert!(
        output.stderr.contains("and this is one"),
        "{}",
        output.stderr
    );
}

/// The statement of provenance.
fn provenance(project: &Project) -> Value {
    let verified = project.run(&[
        "verify",
        "oci:out:v1",
        "--key",
        "test.pub",
        "--claim",
        "provenance",
        "--output",
        "json",
    ]);
    json(&verified.expect(0))["claims"][0]["statements"][0]["statement"]["predicate"]
        ["buildDefinition"]
        .clone()
}

#[test]
fn an_app_names_its_buildpacks() {
    let project = project();
    buildpack(&project, "app/ci/more", "test/more", "more");
    let head = "[_]\nschema-version = \"0.3\"\n";
    let script = "[[io.buildpacks.group]]\nid = \"me/script\"\n[io.buildpacks.group.script]\napi = \"0.10\"\ninline = '''\nprintf scripted > made-by-script\n'''\n";
    project.write(
        "app/project.toml",
        format!(
            "{head}{script}[[io.buildpacks.group]]\nuri = \"from=builder\"\n[[io.buildpacks.group]]\nuri = \"ci/more\"\n[[io.buildpacks.group]]\nid = \"test/not-there\"\nexec-env = [\"test\"]\n"
        ),
    );
    let all = ["--key", "test.key", "--tag", "oci:out:v1"];
    Output::of(&mut project.build_command(all)).expect(0);
    assert!(has(&project, "made-by-script"));
    let definition = provenance(&project);
    let script = "me/script@0.0.0";
    assert_eq!(
        definition["externalParameters"]["buildpacks"],
        json!([script, OWN, MORE])
    );
    let dependencies = definition["resolvedDependencies"].as_array().unwrap();
    let found = dependencies.iter().find(|it| it["name"] == script).unwrap();
    assert!(found["digest"]["sha256"].is_string(), "{found}");

    // The command line wins.
    assert_eq!(built(&project, &["--buildpack", "test/own"]), [OWN]);

    project.write(
        "app/project.toml",
        format!(
            "{head}[[io.buildpacks.pre.group]]\nuri = \"ci/more\"\n[[io.buildpacks.post.group]]\nid = \"test/own\"\nversion = \"1.0.0\"\n"
        ),
    );
    // The lifecycle takes the first of two that are the same.
    assert_eq!(built(&project, &[]), [MORE, OWN]);
    assert_eq!(built(&project, &["--pre-buildpack", "test/own"]), [OWN]);

    project.write(
        "app/project.toml",
        format!("{head}[[io.buildpacks.group]]\nid = \"test/gone\"\n"),
    );
    let said = output(&project, &[]).expect(2).stderr;
    assert!(said.contains("the builder has no `test/gone`"), "{said}");
    project.write(
        "app/project.toml",
        format!("{head}[[io.buildpacks.group]]\nuri = \"gone.cnb\"\n"),
    );
    let said = output(&project, &[]).expect(2).stderr;
    assert!(said.contains("line 3"), "{said}");
}

/// Where the build runs on this machine's own root, that is not what an extension may change; the image
/// that the app runs on may be another.
#[tokio::test]
async fn an_extension_does_not_change_this_machine() {
    let project = project();
    if !crate::flags::has_sandbox(&project) {
        return;
    }
    let toml = "api = \"0.10\"\n[extension]\nid = \"test/ext\"\nversion = \"1.0.0\"\n";
    project.write("ext/extension.toml", toml);
    let program = |name: &str, text: &str| {
        let path = project.write(format!("ext/bin/{name}"), text);
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    program("detect", "#!/bin/sh\n");
    let builder = fs_err::read_to_string(project.join("builder.toml")).unwrap();
    let with = "\n[[extensions]]\nuri = \"ext\"\n[[order-extensions]]\n\
                [[order-extensions.group]]\nid = \"test/ext\"\nversion = \"1.0.0\"\n";
    project.write("builder.toml", format!("{builder}{with}"));
    let generate = |file: &str, text: &str| {
        let script = format!("#!/bin/sh\nprintf '{text}' > \"$CNB_OUTPUT_DIR/{file}\"\n");
        program("generate", &script);
    };
    let dockerfile = "ARG base_image\\nFROM ${base_image}\\nRUN touch /changed\\n";
    generate("build.Dockerfile", dockerfile);
    let said = output(&project, &[]).expect(2).stderr;
    let expected = "the build image cannot be extended: it is this machine";
    assert!(said.contains(expected), "{said}");
    assert!(!project.join("out").exists());

    let mark = LayerFiles::new().folder("etc").file("etc/mark", "chosen");
    write_image_with(&project.join("run"), &[mark], |_| json!({})).await;
    generate("run.Dockerfile", "FROM oci:run:latest\\n");
    let said = output(&project, &[]).expect(2).stderr;
    assert!(
        said.contains("is not allowed to choose the run image"),
        "{said}"
    );
    let offered = "\n[[run.images]]\nimage = \"static\"\n\
                   [[run.images]]\nimage = \"oci:run:latest\"\n";
    project.write("builder.toml", format!("{builder}{with}{offered}"));
    let report = json(&output(&project, &[]).expect(0));
    assert_eq!(report["extensions"], json!(["test/ext@1.0.0"]));
    project.run(&["unpack", "oci:out:v1", "root"]).expect(0);
    assert!(project.join("root/etc/mark").exists());
}
