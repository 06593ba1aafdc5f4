//! `sealpack build` in a builder image: as whoever runs the tests, and as an ordinary user if that is root.

mod extensions;
mod kept;
mod ladder;
mod pack;
mod platforms;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::{BuilderImage, LayerFiles, Output, Workspace, copy_binary, repository, skipped};

use crate::build::json;

const NOBODY: u32 = 65_534;

/// One whose buildpack leaves something in detecting, and looks around in building.
fn looking() -> BuilderImage {
    BuilderImage::new()
        .detect("touch /home/cnb/before")
        .build(LOOK)
}

/// What a buildpack sees, line by line.
const LOOK: &str = r#"
echo "I am $(id -u):$(id -g) at $HOME in $(pwd)"
echo "greeting $GREETING, path $PATH"
for it in /cnb/order.toml /cnb/lifecycle/launcher /cnb/buildpacks/test_inside /platform/env/GIVEN; do
  [ -e "$it" ] && echo "there is $it"
done
for it in "$(cat /platform/env/CALLER_HOME)" "$(cat /platform/env/CALLER_KEY)" /etc/shadow /var; do
  [ -e "$it" ] && echo "leaked $it"
done
env | grep CALLER_SECRET && echo "leaked a variable"
cat /root/secret && echo "leaked root's"
touch /usr/x && echo "wrote to /usr"
touch /home/cnb/x /tmp/x && echo "wrote to its own"
[ -e /home/cnb/before ] && echo "leaked of an earlier phase"
mkdir -p "$CNB_LAYERS_DIR/one"
echo content > "$CNB_LAYERS_DIR/one/file"
printf '[types]\nlaunch = true\ncache = true\n' > "$CNB_LAYERS_DIR/one.toml"
printf '[[processes]]\ntype = "web"\ncommand = ["/layers/x"]\ndefault = true\n' > "$CNB_LAYERS_DIR/launch.toml"
true
"#;

/// An app, a key, a builder image in `builder`, and our programs where anybody may run them.
struct Fixture {
    workspace: Workspace,
    folder: PathBuf,
}

impl Fixture {
    async fn new(builder: &BuilderImage) -> Option<Self> {
        let workspace = Workspace::new();
        let folder = workspace.path().to_owned();
        builder.write(&folder.join("builder")).await?;
        workspace.write("app/hello.txt", "hello\n");
        for (from, to) in [("p256-pkcs8.pem", "test.key"), ("p256.pub.pem", "test.pub")] {
            let key = repository().join("tests/fixtures/keys").join(from);
            workspace.write(to, fs_err::read(key).unwrap());
        }
        let policy = repository().join("examples/policy/policy.toml");
        workspace.write("policy/policy.toml", fs_err::read(policy).unwrap());
        for name in ["sealpack", "lifecycle", "launcher"] {
            copy_binary(name, folder.join(name));
        }
        Some(Self { workspace, folder })
    }

    /// `sealpack build` in the builder image to `oci:OUTPUT:app`.
    fn command(&self, output: &str) -> Command {
        self.command_in("oci:builder:latest", output)
    }

    /// The same in another builder image.
    fn command_in(&self, builder: &str, output: &str) -> Command {
        let mut command = Command::new(self.folder.join("sealpack"));
        command
            .current_dir(&self.folder)
            .env_clear()
            .env("HOME", &self.folder)
            .env("PATH", "/usr/bin:/bin:/nowhere")
            .env("CALLER_SECRET", "secret")
            .args(["build", "app", "--builder", builder, "--key", "test.key"])
            .args([
                "--output",
                &format!("oci:{output}:app"),
                "--output",
                "json",
                "--no-cache",
                "-v",
            ])
            .args(["--env", "GIVEN=1"])
            .arg("--env")
            .arg(format!("CALLER_HOME={}", self.folder.display()))
            .arg("--env")
            .arg(format!(
                "CALLER_KEY={}",
                self.folder.join("test.key").display()
            ));
        command
    }

    /// Gives all of it to somebody else.
    fn give_to(&self, uid: u32) {
        give(&self.folder, uid, uid);
    }
}

fn give(path: &Path, uid: u32, gid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).unwrap();
    if fs_err::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs_err::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), uid, gid);
        }
    }
}

fn is_root() -> bool {
    fs_err::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .any(|line| line.starts_with("Uid:\t0\t0"))
}

/// The config of the one image in a layout.
pub(crate) fn config_of(layout: &Path) -> Value {
    let read = |path: PathBuf| {
        serde_json::from_slice::<Value>(&fs_err::read(layout.join(path)).unwrap()).unwrap()
    };
    let blob = |digest: &Value| {
        let hex = digest.as_str().unwrap().trim_start_matches("sha256:");
        read(Path::new("blobs/sha256").join(hex))
    };
    let index = read("index.json".into());
    let all = index["manifests"].as_array().unwrap().iter();
    let mut manifests = all.map(|it| blob(&it["digest"]));
    let image = manifests.find(|it| it.get("subject").is_none()).unwrap();
    blob(&image["config"]["digest"])
}

/// The output of a build in a builder image, and what it printed; nothing, loudly, if this machine
/// cannot do it.
pub(crate) fn built(command: &mut Command) -> Option<(Value, String)> {
    let output = Output::of(command);
    if output
        .stderr
        .contains("this machine cannot run a build in the root of an image")
    {
        skipped(&output.stderr);
        return None;
    }
    let output = output.expect(0);
    Some((json(&output), output.stderr))
}

/// Whether the buildpack saw what it shall, and nothing else.
fn assert_inside(seen: &str, root: &str) {
    for line in [
        "I am 1001:1000 at /home/cnb in /workspace",
        "greeting hello, path /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "there is /cnb/order.toml",
        "there is /cnb/lifecycle/launcher",
        "there is /cnb/buildpacks/test_inside",
        "there is /platform/env/GIVEN",
        "wrote to its own",
    ] {
        assert!(seen.contains(line), "`{line}` in\n{seen}");
    }
    // With one user all files are the builder's, and what is written there is gone at the end.
    let leaks: Vec<_> = seen.lines().filter(|it| it.contains("leaked")).collect();
    if root == "image" {
        assert!(leaks.is_empty(), "{leaks:?}");
        assert!(!seen.contains("wrote to /usr"), "{seen}");
    } else {
        assert!(
            leaks.iter().all(|it| it.ends_with("leaked root's")),
            "{leaks:?}"
        );
    }
}

#[tokio::test]
async fn a_build_sees_the_builder_and_nothing_of_the_machine() {
    let Some(fixture) = Fixture::new(&looking()).await else {
        return;
    };
    let Some((report, seen)) = built(&mut fixture.command("one")) else {
        return;
    };
    let root = report["isolation"]["root"].as_str().unwrap();
    assert_inside(&seen, root);
    assert!(seen.contains("5 of 5 layers unpacked"), "{seen}");
    let (again, seen) = built(&mut fixture.command("two")).unwrap();
    assert!(seen.contains("its layers are here"), "{seen}");
    assert_inside(&seen, root);
    assert_eq!(report["digest"], again["digest"]);
    // What was used just now stays, unless it is said otherwise.
    for (older_than, count) in [("60", 0), ("0", 5)] {
        let mut gc = Command::new(fixture.folder.join("sealpack"));
        let gc = gc.env_clear().env("HOME", &fixture.folder);
        let arguments = ["gc", "--roots", "--output", "json", "--older-than"];
        let freed = json(&Output::of(gc.args(arguments).arg(older_than)).expect(0));
        assert_eq!(freed["freedLayers"], count, "{freed}");
    }
    let (after, seen) = built(&mut fixture.command("three")).unwrap();
    assert!(seen.contains("5 of 5 layers unpacked"), "{seen}");
    assert_eq!(report["digest"], after["digest"]);

    let run = |arguments: &[&str]| Output::of(&mut fixture.workspace.sealpack(arguments)).expect(0);
    let config = config_of(&fixture.folder.join("one"));
    let label = config["config"]["Labels"]["io.buildpacks.build.metadata"].as_str();
    let label: Value = serde_json::from_str(label.unwrap()).unwrap();
    assert_eq!(label["launcher"]["version"], "0.20.9");
    let claims = json(&run(&[
        "verify",
        "oci:one:app",
        "--key",
        "test.pub",
        "--claim",
        "provenance",
        "--output",
        "json",
    ]));
    let provenance = claims["claims"][0]["statements"][0]["statement"].to_string();
    let index = fs_err::read(fixture.folder.join("builder/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let builder = index["manifests"][0]["digest"].as_str().unwrap();
    assert!(
        provenance.contains(builder.trim_start_matches("sha256:")),
        "{builder} in {provenance}"
    );
    assert!(provenance.contains("test/inside@1.0.0"), "{provenance}");
}

#[tokio::test]
async fn an_ordinary_user_builds_the_same() {
    if !is_root() {
        skipped("the test above is as an ordinary user already");
        return;
    }
    let Some(fixture) = Fixture::new(&looking()).await else {
        return;
    };
    let Some((of_root, _)) = built(&mut fixture.command("one")) else {
        return;
    };
    fs_err::remove_dir_all(fixture.folder.join(".cache")).unwrap();
    fs_err::set_permissions(&fixture.folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    fixture.give_to(NOBODY);
    let mut command = fixture.command("two");
    let Some((report, seen)) = built(command.uid(NOBODY).gid(NOBODY)) else {
        return;
    };
    assert_inside(&seen, report["isolation"]["root"].as_str().unwrap());
    assert_eq!(report["digest"], of_root["digest"]);
}

#[tokio::test]
async fn a_builder_that_is_not_proven_is_not_used() {
    let Some(fixture) = Fixture::new(&BuilderImage::new()).await else {
        return;
    };
    let policy = "[[accept]]\nclaims = [\"signature\"]\nsigner = { key = \"../test.pub\" }\n\n\
                  [[require]]\nclaim = \"signature\"\n\n[rules]\nuse = [\"signature\"]\n";
    fixture.workspace.write("inputs/policy.toml", policy);
    let judged = ["--input-policy", "inputs", "--run-image"];
    let refused = |run_image: &str, expected: &str| {
        let mut command = fixture.command("out");
        let output = Output::of(command.args(judged).arg(run_image)).expect(1);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
        assert!(!fixture.folder.join(".cache/sealpack/roots").exists());
        assert!(!fixture.folder.join("out").exists());
    };
    refused("static", "it is the builder: nothing of it was used");
    let sign = ["sign", "oci:builder:latest", "--key", "test.key"];
    Output::of(&mut fixture.workspace.sealpack(sign)).expect(0);
    // The builder is good now, and a copy of it without its proof is not.
    let copy = [
        "copy",
        "--no-referrers",
        "oci:builder:latest",
        "oci:unsigned:latest",
    ];
    Output::of(&mut fixture.workspace.sealpack(copy)).expect(0);
    refused(
        "oci:unsigned:latest",
        "it is the run image: nothing of it was used",
    );
}

#[tokio::test]
async fn an_api_that_the_builder_does_not_speak_is_refused_with_what_to_do() {
    let Some(fixture) = Fixture::new(&BuilderImage::new()).await else {
        return;
    };
    let mut command = fixture.command("out");
    let output = Output::of(command.args(["--platform-api", "0.13"])).expect(2);
    for expected in [
        "speaks Platform API 0.12, 0.14, and not 0.13",
        "leave out `--platform-api`",
    ] {
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
}

/// Writes a buildpack of this id to `folder`, which says what it is, and leaves a file.
fn buildpack(fixture: &Fixture, folder: &str, id: &str, version: &str) {
    let toml = format!(
        "api = \"0.10\"\n[buildpack]\nid = \"{id}\"\nversion = \"{version}\"\n[[targets]]\nos = \"linux\"\n"
    );
    fixture
        .workspace
        .write(format!("{folder}/buildpack.toml"), toml);
    let build = format!(
        "#!/bin/sh\nset -eu\necho \"{id} {version} as $(id -u), greeted by $GREETING\"\necho x > by-{folder}\n"
    );
    for (name, text) in [("detect", "#!/bin/sh\n"), ("build", &build)] {
        let path = format!("{folder}/bin/{name}");
        let path = fixture.workspace.write(path, text);
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[tokio::test]
async fn buildpacks_are_added_to_a_builder_image() {
    const INSIDE: &str = "test/inside@1.0.0";
    const MORE: &str = "test/more@2.0.0";
    let Some(fixture) = Fixture::new(&BuilderImage::new()).await else {
        return;
    };
    buildpack(&fixture, "more", "test/more", "2.0.0");
    buildpack(&fixture, "other", "test/inside", "1.0.0");
    let tar = LayerFiles::new().tree("", &fixture.folder.join("more"));
    fixture.workspace.write("more.tar", tar.tar());
    for (destination, name) in [("more.cnb", "more"), ("oci:packages:more", "more")] {
        let package = ["buildpack", "package", destination, "--path", name];
        Output::of(&mut fixture.workspace.sealpack(package)).expect(0);
    }
    for (arguments, took_part) in [
        (&["--buildpack", "more"][..], &[MORE][..]),
        (&["--buildpack", "more.tar"], &[MORE]),
        (&["--buildpack", "more.cnb"], &[MORE]),
        (&["--buildpack", "oci:packages:more"], &[MORE]),
        (&["--pre-buildpack", "more"], &[MORE, INSIDE]),
        (&["--post-buildpack", "more.cnb"], &[INSIDE, MORE]),
        (&["--buildpack", "more,from=builder"], &[MORE, INSIDE]),
        (&["--buildpack", "test/inside@1.0.0,more"], &[INSIDE, MORE]),
        // In place of the builder's own of this name.
        (&["--buildpack", "other"], &[INSIDE]),
    ] {
        let Some((report, seen)) = built(fixture.command("out").args(arguments)) else {
            return;
        };
        let names = report["buildpacks"].as_array().unwrap().iter();
        let names: Vec<_> = names.map(|it| it.as_str().unwrap()).collect();
        assert_eq!(names, took_part, "{arguments:?}");
        let added = if arguments == ["--buildpack", "other"] {
            "test/inside 1.0.0"
        } else {
            "test/more 2.0.0"
        };
        let line = format!("{added} as 1001, greeted by hello");
        assert!(seen.contains(&line), "{arguments:?}\n{seen}");
    }
    // What was added is named by what it was had by.
    let digests = provenance(&fixture)["buildDefinition"]["resolvedDependencies"].clone();
    let found = digests.as_array().unwrap().iter();
    let found: Vec<_> = found.filter(|it| it["name"] == INSIDE).collect();
    let tree = platform::source::digest(&fixture.folder.join("other")).unwrap();
    assert_eq!(found[0]["digest"]["sha256"], tree.hex(), "{found:?}");
}

/// The predicate of the provenance of `oci:out:app`.
fn provenance(fixture: &Fixture) -> Value {
    let verify = ["verify", "oci:out:app", "--key", "test.pub", "--claim"];
    let verify = verify.iter().chain(&["provenance", "--output", "json"]);
    let output = Output::of(&mut fixture.workspace.sealpack(verify)).expect(0);
    json(&output)["claims"][0]["statements"][0]["statement"]["predicate"].clone()
}

#[tokio::test]
async fn a_layer_that_is_another_is_not_kept() {
    let Some(fixture) = Fixture::new(&BuilderImage::new()).await else {
        return;
    };
    if built(&mut fixture.command("good")).is_none() {
        return;
    }
    // The config says of the last layer that it is something else.
    let blobs = fixture.folder.join("builder/blobs/sha256");
    let index_path = fixture.folder.join("builder/index.json");
    let read = |digest: &Value| {
        let hex = digest
            .as_str()
            .unwrap()
            .trim_start_matches("sha256:")
            .to_owned();
        serde_json::from_slice::<Value>(&fs_err::read(blobs.join(hex)).unwrap()).unwrap()
    };
    let write = |value: &Value| {
        let text = value.to_string();
        let digest = oci::Digest::of(text.as_bytes());
        fs_err::write(blobs.join(digest.hex()), &text).unwrap();
        (Value::from(digest.to_string()), Value::from(text.len()))
    };
    let mut index: Value = serde_json::from_slice(&fs_err::read(&index_path).unwrap()).unwrap();
    let mut manifest = read(&index["manifests"][0]["digest"]);
    let mut config = read(&manifest["config"]["digest"]);
    let other = oci::Digest::of(b"something else").to_string();
    config["rootfs"]["diff_ids"][4] = Value::from(other.clone());
    (manifest["config"]["digest"], manifest["config"]["size"]) = write(&config);
    (
        index["manifests"][0]["digest"],
        index["manifests"][0]["size"],
    ) = write(&manifest);
    fs_err::write(&index_path, index.to_string()).unwrap();
    let output = Output::of(&mut fixture.command("bad"));
    assert_eq!(output.code, 2, "{}", output.stderr);
    let stderr = &output.stderr;
    assert!(stderr.contains("failed to unpack the layer"), "{stderr}");
    assert!(stderr.contains(&other), "{stderr}");
    let roots = fixture.folder.join(".cache/sealpack/roots");
    let hex = other.trim_start_matches("sha256:");
    for map in fs_err::read_dir(roots).unwrap() {
        assert!(!map.unwrap().path().join(hex).exists());
    }
}

/// A folder that a layer has only for what is in it has the mode that it has below: in the image, and never
/// where a link of the image leads on the machine.
#[tokio::test]
async fn links_of_a_layer_do_not_lead_to_the_machine() {
    let outside = Workspace::new();
    outside.write("sub/secret", "of the machine");
    let odd = std::fs::Permissions::from_mode(0o711);
    fs_err::set_permissions(outside.join("sub"), odd).unwrap();
    let link = LayerFiles::new()
        .folder("opt")
        .folder("opt/real")
        .mode(0o751)
        .symlink("opt/link", outside.path().to_str().unwrap());
    let above = LayerFiles::new()
        .file("opt/link/sub/file", "x")
        .file("opt/real/file", "x");
    let look =
        "ls -ld /opt/link/sub /opt/real; ls /opt/link/sub; cat /opt/link/sub/secret || true\n";
    let builder = BuilderImage::new().build(look).layer(link).layer(above);
    let Some(fixture) = Fixture::new(&builder).await else {
        return;
    };
    let Some((_, seen)) = built(&mut fixture.command("out")) else {
        return;
    };
    let mode_of = |path: &str| {
        let line = seen.lines().find(|it| it.trim_end().ends_with(path));
        let line = line.unwrap_or_else(|| panic!("{path} in {seen}"));
        let mode = line.split_whitespace().find(|it| it.starts_with("drwx"));
        mode.unwrap().to_owned()
    };
    assert_eq!(mode_of("/opt/real"), "drwxr-x--x");
    assert_eq!(mode_of("/opt/link/sub"), "drwxr-xr-x");
    assert!(!seen.contains("of the machine"), "{seen}");
}
