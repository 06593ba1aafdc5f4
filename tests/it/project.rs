//! `project.toml`: what the app says of its build is followed, what the command line says wins, and
//! what cannot be is refused before anything runs.

mod patterns;

use serde_json::Value;
use testkit::{FakeBuildpack, Output, Project};

use crate::build::json;

/// A project whose one buildpack writes into labels what it sees: files, and variables whose names begin
/// with `MY_`.
fn telling() -> Project {
    let tell = FakeBuildpack::new("test/tell").build(
        r#"
files=$(find . -mindepth 1 | sort | tr '\n' ' ')
variables=$(for it in "$CNB_PLATFORM_DIR"/env/MY_*; do [ ! -e "$it" ] || printf '%s=%s ' "${it##*/}" "$(cat "$it")"; done)
printf '[[labels]]\nkey = "files"\nvalue = "%s"\n[[labels]]\nkey = "variables"\nvalue = "%s"\n' \
    "$files" "$variables" > "$CNB_LAYERS_DIR/launch.toml"
"#,
    );
    let project = Project::new(&[tell]);
    for file in ["src/main.c", "src/notes.md", "target/main.o", "README.md"] {
        project.write(format!("app/{file}"), file);
    }
    project
}

/// Builds without a key; what went wrong, if something did.
fn build(project: &Project, arguments: &[&str]) -> Output {
    let all = ["--unsigned", "--tag", "oci:out:v1"];
    Output::of(project.build_command(all).args(arguments))
}

/// The labels of the image, from its config.
fn labels(project: &Project) -> Value {
    let read = |path: String| -> Value {
        serde_json::from_slice(&fs_err::read(project.join("out").join(path)).unwrap()).unwrap()
    };
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        read(format!("blobs/{}", digest.replace(':', "/")))
    };
    let index = read("index.json".to_owned());
    let mut images = index["manifests"].as_array().unwrap().iter();
    let named = |it: &&Value| it["annotations"]["org.opencontainers.image.ref.name"] == "v1";
    let manifest = blob(images.find(named).unwrap());
    blob(&manifest["config"])["config"]["Labels"].clone()
}

#[test]
fn files_and_variables_are_those_that_the_app_asks_for() {
    let project = telling();
    project.write(
        "app/project.toml",
        "[_]\nschema-version = \"0.2\"\nversion = \"1.2\"\nsource-url = \"https://a.example\"\n[io.buildpacks]\nexclude = [\"*.md\", \"/target/\", \"!README.md\"]\n[[io.buildpacks.build.env]]\nname = \"MY_A\"\nvalue = \"a\"\n[[io.buildpacks.build.env]]\nname = \"MY_B\"\nvalue = \"b\"\n",
    );
    build(&project, &[]).expect(0);
    let seen = labels(&project);
    assert_eq!(
        seen["files"],
        "./README.md ./hello.txt ./project.toml ./src ./src/main.c "
    );
    assert_eq!(seen["variables"], "MY_A=a MY_B=b ");
    let source: Value =
        serde_json::from_str(seen["io.buildpacks.project.metadata"].as_str().unwrap()).unwrap();
    let expected = serde_json::json!({ "source": {
        "type": "project",
        "version": { "declared": "1.2" },
        "metadata": { "url": "https://a.example" },
    }});
    assert_eq!(source, expected);

    // Of the sources only some are taken.
    project.write(
        "app/project.toml",
        "[build]\ninclude = [\"src/*.c\"]\n[[build.env]]\nname = \"MY_A\"\nvalue = \"old\"\n",
    );
    let output = build(&project, &[]).expect(0);
    assert!(
        output.stderr.contains("read as schema 0.1"),
        "{}",
        output.stderr
    );
    assert_eq!(labels(&project)["files"], "./src ./src/main.c ");
    assert_eq!(labels(&project)["variables"], "MY_A=old ");
}

#[test]
fn the_command_line_wins_over_files_and_these_over_the_app() {
    let project = telling();
    project.write(
        "app/project.toml",
        "[_]\nschema-version = \"0.3\"\n[[io.buildpacks.build.env]]\nname = \"MY_A\"\nvalue = \"project\"\n[[io.buildpacks.build.env]]\nname = \"MY_B\"\nvalue = \"project\"\n[[io.buildpacks.build.env]]\nname = \"MY_C\"\nvalue = \"project\"\n[[io.buildpacks.build.env]]\nname = \"MY_TEST\"\nvalue = \"only in tests\"\nexec-env = [\"test\"]\n",
    );
    project.write("one.env", "# of nothing\n\n MY_B=file \nMY_C=first\nMY_D\n");
    project.write("two.env", "MY_C=second=2\n");
    let arguments = [
        "-v",
        "--env-file",
        "one.env",
        "--env-file",
        "two.env",
        "--env",
        "MY_A=line",
    ];
    let all = ["--key", "test.key", "--tag", "oci:out:v1"];
    let mut command = project.build_command(all);
    let output = Output::of(command.args(arguments).env("MY_D", "ours")).expect(0);
    assert_eq!(
        labels(&project)["variables"],
        "MY_A=line MY_B=file MY_C=second=2 MY_D=ours "
    );
    assert!(
        output.stderr.contains("`MY_A` is not what"),
        "{}",
        output.stderr
    );

    // What stood in a file that is not the app's may be secret; what the app says is not.
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
    let verified = json(&verified.expect(0));
    let definition =
        &verified["claims"][0]["statements"][0]["statement"]["predicate"]["buildDefinition"];
    assert_eq!(
        definition["externalParameters"]["env"],
        serde_json::json!({ "MY_A": "line", "MY_B": null, "MY_C": null, "MY_D": null })
    );
    assert_eq!(
        definition["resolvedDependencies"][1]["name"],
        "project.toml"
    );

    for (text, expected) in [
        ("MY_A=1\n=2\n", "in `bad.env`, line 2"),
        ("MY_UNSET\n", "the variable `MY_UNSET` is not set"),
        ("../A=1\n", "`../A` is not the name of a variable"),
    ] {
        project.write("bad.env", text);
        let output = build(&project, &["--env-file", "bad.env"]).expect(2);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
    build(&project, &["--env-file", "not-there.env"]).expect(2);
}

#[test]
fn another_file_and_another_builder_may_be_named() {
    let project = telling();
    fs_err::rename(project.join("builder.toml"), project.join("other.toml")).unwrap();
    project.write(
        "ci/project.toml",
        "[_]\nschema-version = \"0.2\"\n[io.buildpacks]\nbuilder = \"../other.toml\"\ninclude = [\"*.txt\"]\n",
    );
    project.write("app/project.toml", "is not read");
    let arguments = ["build", "app", "--unsigned", "--tag", "oci:out:v1"];
    let named = ["--descriptor", "ci/project.toml"];
    Output::of(project.sealpack(arguments).args(named)).expect(0);
    assert_eq!(labels(&project)["files"], "./hello.txt ");

    let output = Output::of(&mut project.sealpack(arguments)).expect(2);
    assert!(
        output.stderr.contains("project.toml`, line 1"),
        "{}",
        output.stderr
    );
    let output = build(&project, &["--descriptor", "not-there.toml"]).expect(2);
    assert!(
        output.stderr.contains("not-there.toml"),
        "{}",
        output.stderr
    );
}

#[test]
fn no_path_in_patterns_leads_out_of_the_app() {
    let project = telling();
    project.write("secret.txt", "secret");
    std::os::unix::fs::symlink("..", project.join("app/up")).unwrap();
    project.write(
        "app/project.toml",
        "[_]\nschema-version = \"0.2\"\n[io.buildpacks]\ninclude = [\"../secret.txt\", \"up/secret.txt\", \"/up/*\", \"README.md\"]\n",
    );
    let output = build(&project, &[]).expect(0);
    assert!(
        output.stderr.contains("`../secret.txt` means nothing"),
        "{}",
        output.stderr
    );
    assert_eq!(labels(&project)["files"], "./README.md ");
}
