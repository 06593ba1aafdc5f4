//! Image extensions in `sealpack build`: another run image, one with more in it, and more to build with.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use testkit::{BuilderImage, LayerFiles, Output, write_image_with};

use super::{Fixture, built, config_of, provenance};

/// Writes an extension to `ext`, which generates these Dockerfiles.
pub(super) fn extension(fixture: &Fixture, files: &[(&str, &str)]) {
    let toml = "api = \"0.10\"\n[extension]\nid = \"test/ext\"\nversion = \"1.0.0\"\n";
    fixture.workspace.write("ext/extension.toml", toml);
    let mut generate = "#!/bin/sh\nset -eu\n".to_owned();
    for (name, text) in files {
        let file = format!("cat > \"$CNB_OUTPUT_DIR/{name}\" <<'END'\n{text}END\n");
        generate.push_str(&file);
    }
    for (name, text) in [("detect", "#!/bin/sh\n"), ("generate", &generate)] {
        let path = fixture.workspace.write(format!("ext/bin/{name}"), text);
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// A builder whose buildpack says what is there, and an image to run on in `run`, with a shell.
pub(super) async fn fixture() -> Option<Fixture> {
    let look = "for it in /usr/tool /etc/by-copy /given/here; do [ -e $it ] && echo \"there is $it\"; done\n\
                echo \"greeting $GREETING, path $PATH, I am $(id -u)\"; touch /usr/x && echo leaked; [ -e /usr/out ] && echo leaked; \
                for it in /proc/*/fd/*/usr/tool /kaniko/*/*/usr/tool; do [ -e $it ] && echo leaked; done; \
                mv /kaniko/cache/layers /kaniko/cache/y 2>/dev/null && echo leaked; true\n";
    let builder = BuilderImage::new().build(look);
    let builder = builder.run_image("oci:other:latest");
    let fixture = Fixture::new(&builder.run_image("oci:gone:latest")).await?;
    let layers = BuilderImage::new().layers()?;
    for name in ["run", "other"] {
        let mark = LayerFiles::new().file("etc/mark", name);
        let config = json!({ "User": "1001:1000", "Env": ["PATH=/bin"] });
        let layers = [layers.first()?.clone(), mark];
        write_image_with(&fixture.folder.join(name), &layers, |_| config).await;
    }
    Some(fixture)
}

pub(super) const ARGUMENTS: [&str; 4] = ["--extension", "ext", "--run-image", "oci:run:latest"];

/// The config of what is built, and the root file system of it.
fn image(fixture: &Fixture, output: &str) -> (Value, std::path::PathBuf) {
    let root = fixture.folder.join(format!("{output}-root"));
    let name = format!("oci:{output}:app");
    let mut unpack = fixture.workspace.sealpack(["unpack", &name]);
    Output::of(unpack.arg(&root)).expect(0);
    (config_of(&fixture.folder.join(output)), root)
}

#[tokio::test]
async fn an_extension_chooses_the_run_image() {
    let Some(fixture) = fixture().await else {
        return;
    };
    extension(&fixture, &[("run.Dockerfile", "FROM oci:other:latest\n")]);
    let Some((report, _)) = built(
        fixture
            .command("out")
            .args(ARGUMENTS)
            .args(["--links", "links"]),
    ) else {
        return;
    };
    assert_eq!(report["extensions"], json!(["test/ext@1.0.0"]));
    // Nothing changes between the links of two phases.
    let layers = |phase: &str, what: &str| {
        let mut files = fs_err::read_dir(fixture.folder.join("links")).unwrap();
        let file = files.find_map(|it| {
            let name = it.as_ref().unwrap().file_name().into_string().unwrap();
            name.starts_with(phase).then(|| it.unwrap().path())
        });
        let link: Value = serde_json::from_slice(&fs_err::read(file.unwrap()).unwrap()).unwrap();
        let all = link["signed"][what].as_object().unwrap().clone();
        all.into_iter()
            .filter(|(name, _)| name.starts_with("layers/"))
            .collect::<Vec<_>>()
    };
    assert_eq!(layers("detect", "products"), layers("extend", "materials"));
    assert_eq!(layers("extend", "products"), layers("restore", "materials"));
    let (_, root) = image(&fixture, "out");
    assert_eq!(
        fs_err::read_to_string(root.join("etc/mark")).unwrap(),
        "other"
    );
    let definition = provenance(&fixture)["buildDefinition"].clone();
    let parameters = &definition["externalParameters"];
    assert_eq!(parameters["runImage"], "oci:other:latest");
    assert_eq!(parameters["extensions"], json!(["test/ext@1.0.0"]));
    let dependencies = definition["resolvedDependencies"].as_array().unwrap();
    assert!(dependencies.iter().any(|it| it["name"] == "test/ext@1.0.0"));
    let index = fs_err::read(fixture.folder.join("other/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let used = dependencies
        .iter()
        .find(|it| it["name"] == "oci:other:latest");
    assert_eq!(
        format!(
            "sha256:{}",
            used.unwrap()["digest"]["sha256"].as_str().unwrap()
        ),
        digest
    );

    // One that may not be used is not.
    let policy = "[[accept]]\nclaims = [\"signature\"]\nsigner = { key = \"../test.pub\" }\n\n\
                  [[require]]\nclaim = \"signature\"\n\n[rules]\nuse = [\"signature\"]\n";
    fixture.workspace.write("inputs/policy.toml", policy);
    for name in ["builder", "run"] {
        let image = format!("oci:{name}:latest");
        let sign = ["sign", &image, "--key", "test.key"];
        Output::of(&mut fixture.workspace.sealpack(sign)).expect(0);
    }
    let mut command = fixture.command("refused");
    let command = command.args(ARGUMENTS).args(["--input-policy", "inputs"]);
    let output = Output::of(command).expect(1);
    let expected = "it is the run image: nothing of it was used";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
    assert!(!fixture.folder.join("refused").exists());
    // One that is not there is said.
    extension(&fixture, &[("run.Dockerfile", "FROM oci:gone:latest\n")]);
    let output = Output::of(fixture.command("refused").args(ARGUMENTS)).expect(2);
    assert!(output.stderr.contains("gone"), "{}", output.stderr);
    // One that only the extension names is not looked for.
    extension(&fixture, &[("run.Dockerfile", "FROM oci:run:app\n")]);
    let output = Output::of(fixture.command("refused").args(ARGUMENTS)).expect(2);
    let expected = "an extension is not allowed to choose the run image";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
}

/// Whether this machine lets an extension change an image; says so loudly, if not.
pub(super) fn may_extend(report: &Value) -> bool {
    let has_owners = report["isolation"]["root"] == "image";
    if !has_owners {
        testkit::skipped("extending wants a root with several users");
    }
    has_owners
}

#[tokio::test]
async fn an_extension_extends_the_run_image() {
    let Some(fixture) = fixture().await else {
        return;
    };
    let Some((report, _)) = built(&mut fixture.command("plain")) else {
        return;
    };
    if !may_extend(&report) {
        return;
    }
    let dockerfile = "ARG base_image\nFROM ${base_image}\nUSER root\nARG word\n\
        RUN echo $word > /etc/extended && chmod 640 /etc/extended\n\
        RUN busybox rm $(busybox find / -path /proc -prune -o -path /sys -prune -o -name mark -print)\n\
        COPY file /opt/copied\nENV MORE=1\nLABEL by=extension\nARG user_id\nUSER ${user_id}\n";
    extension(
        &fixture,
        &[
            ("run.Dockerfile", dockerfile),
            (
                "extend-config.toml",
                "[[run.args]]\nname = \"word\"\nvalue = \"given\"\n",
            ),
        ],
    );
    let generate = fixture.folder.join("ext/bin/generate");
    let mut text = fs_err::read_to_string(&generate).unwrap();
    text += "mkdir \"$CNB_OUTPUT_DIR/context\"\necho content > \"$CNB_OUTPUT_DIR/context/file\"\n";
    fs_err::write(generate, text).unwrap();
    let mut digests = Vec::new();
    for output in ["one", "two"] {
        let (report, _) = built(fixture.command(output).args(ARGUMENTS)).unwrap();
        digests.push(report["digest"].clone());
    }
    assert_eq!(digests[0], digests[1]);
    let (config, root) = image(&fixture, "one");
    assert_eq!(
        fs_err::read_to_string(root.join("etc/extended")).unwrap(),
        "given\n"
    );
    assert_eq!(
        fs_err::read_to_string(root.join("opt/copied")).unwrap(),
        "content\n"
    );
    assert!(!root.join("etc/mark").exists());
    for nothing_of_ours in ["kaniko", "cnb/sealpack", "etc/resolv.conf"] {
        assert!(!root.join(nothing_of_ours).exists(), "{nothing_of_ours}");
    }
    let config = &config["config"];
    assert_eq!(config["Labels"]["by"], "extension");
    assert_eq!(config["User"], "1001");
    let env = config["Env"].to_string();
    assert!(env.contains("MORE=1"), "{env}");

    // What it finds in the layers is not its own to change.
    let planting = "ARG base_image\nFROM ${base_image}\nUSER root\n\
        RUN ln -s /etc /layers/planted && echo it was planted; [ -e /layers/group.toml ]\n\
        ARG user_id\nUSER ${user_id}\n";
    extension(&fixture, &[("run.Dockerfile", planting)]);
    let output = Output::of(fixture.command("planted").args(ARGUMENTS)).expect(0);
    let was_planted = output
        .stderr
        .lines()
        .any(|it| it.ends_with("it was planted") && !it.contains("echo"));
    assert!(!was_planted, "{}", output.stderr);

    // What fails is said, and nothing is made.
    extension(
        &fixture,
        &[(
            "run.Dockerfile",
            "ARG base_image\nFROM ${base_image}\nRUN exit 7\n",
        )],
    );
    let output = Output::of(fixture.command("bad").args(ARGUMENTS)).expect(2);
    let expected = "the run image could not be extended";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
    assert!(!fixture.folder.join("bad").exists());
}

#[tokio::test]
async fn an_extension_extends_what_buildpacks_build_in() {
    let Some(fixture) = fixture().await else {
        return;
    };
    let Some((report, seen)) = built(&mut fixture.command("plain")) else {
        return;
    };
    if !may_extend(&report) {
        return;
    }
    assert!(!seen.contains("there is /usr/tool"), "{seen}");
    extension(
        &fixture,
        &[(
            "build.Dockerfile",
            "ARG base_image\nFROM ${base_image}\nUSER root\nENV PATH=/more:/bin\n\
             RUN echo tool > /usr/tool; [ -e /dev/mem ] && touch /usr/out; mount -t tmpfs x /mnt && touch /usr/out; true\n\
             COPY hello.txt /etc/by-copy\nUSER 1001:1000\n",
        )],
    );
    fixture.workspace.write("given/here", "");
    let mut command = fixture.command("out");
    let command = command.args(ARGUMENTS).args(["--volume", "given:/given"]);
    let (_, seen) = built(command).unwrap();
    for line in [
        "there is /given/here",
        "there is /usr/tool",
        "there is /etc/by-copy",
        "greeting hello, path /more:/bin, I am 1001",
    ] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
    assert!(!seen.contains("leaked"), "{seen}");
    // The app does not get what was for the build alone, and the next build begins anew.
    let (_, root) = image(&fixture, "out");
    assert!(!root.join("usr/tool").exists());
    let (_, seen) = built(&mut fixture.command("again")).unwrap();
    assert!(!seen.contains("there is /usr/tool"), "{seen}");

    // What a command of it leaves in the layers leads no later phase elsewhere.
    let planting = "ARG base_image\nFROM ${base_image}\nUSER root\nRUN ln -s /etc /layers/planted\n\
        ARG user_id\nUSER ${user_id}\n";
    extension(&fixture, &[("build.Dockerfile", planting)]);
    let output = Output::of(fixture.command("planted").args(ARGUMENTS)).expect(2);
    let expected = "is not allowed in the layers";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
}
