//! The examples of help and documents can be copied, and do what they say: each is run, in a world that
//! has what it names.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use oci::{Descriptor, LayoutStore, MediaType, Store as _, Upload};
use serde_json::json;
use testkit::registry::{Switches, TestRegistry};
use testkit::{
    LayerFiles, Output, Project, Workspace, binary, repository, write_image, write_image_with,
};

/// What is not run: a part of the example, and why.
const NOT_RUN: [(&str, &str); 14] = [
    (
        "--signing-config public",
        "the services of all, which log it for good",
    ),
    (
        "--certificate-identity release@example.com",
        "what they gave a certificate for",
    ),
    (
        "--identity-token token",
        "a Sigstore of one's own; keyless.rs has one",
    ),
    (
        "docker save",
        "a Docker daemon; archive.rs reads what it writes",
    ),
    ("docker-daemon:", "a Docker daemon; daemon.rs has one"),
    (
        "--builder registry.example/builder",
        "namespaces, or root; builder_image.rs builds in one",
    ),
    (
        "-t linux/amd64 -t linux/arm64",
        "a lifecycle for arm64; making.rs has one",
    ),
    (
        "--platform linux/amd64,linux/arm64",
        "a launcher for arm64; platforms.rs has one",
    ),
    (
        "sealpack serve",
        "runs until it is stopped; admission.rs asks it",
    ),
    (
        "https://git.example",
        "a repository in the network; health.rs has one",
    ),
    (
        "login registry.example",
        "a terminal, but for the one with a pipe; prompt.rs has one",
    ),
    (
        "--layout root.layout",
        "what in-toto's own tool signs; links.rs has it",
    ),
    (
        "localhost:4318",
        "a collector of traces; tracing.rs has one",
    ),
    (
        "oci:proof:0.1.0-files",
        "a release; dist.rs makes one and verifies it so",
    ),
];

/// What has to be there for one example: a part of it, and how it is made.
const BEFORE: [(&str, &str); 15] = [
    ("key generate", "rm release.key release.pub"),
    ("--new-key release", "rm release.key release.pub"),
    (
        "-a build=42",
        "sealpack sign registry.example/app:v1 --key release.key -a build=42
         sealpack sign registry.example/web:v1 --key release.key -a build=42",
    ),
    (
        "--platform linux/arm64",
        "sealpack manifest create registry.example/app:v1 oci:out:app oci:arm64 --publish",
    ),
    ("sealpack builder", "cp made/builder.toml builder.toml"),
    (
        "manifest create registry.example/app:v1",
        "sealpack manifest remove registry.example/app:v1 || :",
    ),
    (
        "mirror oci:usb/",
        "rm -r usb && sealpack mirror --from images.txt oci:usb/ --policy policies",
    ),
    (
        "builder inspect",
        "sealpack builder create registry.example/builder:v1 --config builder.toml",
    ),
    (
        "buildpack inspect registry.example",
        "sealpack buildpack package registry.example/buildpack:v1 --path buildpack",
    ),
    (
        "buildpack inspect buildpack.cnb",
        "sealpack buildpack package buildpack.cnb --path buildpack",
    ),
    ("extension package", "cp extension.toml package.toml"),
    (
        "extension inspect registry.example",
        "sealpack extension package registry.example/extension:v1 --path extension",
    ),
    (
        "extension inspect extension.cnb",
        "sealpack extension package extension.cnb --path extension",
    ),
    (
        "sealpack health",
        "git init -q . && git -c user.name=a -c user.email=a@example.org commit -q --allow-empty -m x",
    ),
    ("--type health", "sealpack health -o json > health.json"),
];

/// What is typed instead: the machine is not ours to change, and not each test is root.
const INSTEAD: [(&str, &str); 3] = [
    ("/etc/bash_completion.d", "share"),
    ("/usr/local/share", "share"),
    (" && CNB_PLATFORM_API=0.15 chroot root /cnb/process/web", ""),
];

/// What leaves all as it is.
const READ: [&str; 9] = [
    "completion",
    "inspect",
    "ls",
    "man ",
    "policy check",
    "report",
    "sbom generate",
    "tree",
    "verify",
];

/// What each example finds.
const FILL: &str = r"
rm -rf usb
cp test.key release.key
cp test.pub release.pub
cp machine.toml builder.toml
cp buildpacks.toml package.toml
sealpack copy oci:kept:app oci:out:app
for at in out:app usb:v1 one:app; do sealpack copy oci:kept:app oci:$at; done
sealpack copy oci:arm64 oci:out:arm64
sealpack copy oci:arm64 oci:two:app
sealpack copy oci:run-2 oci:usb:run
sealpack copy oci:run-1 registry.example/run:1
sealpack copy oci:run-2 registry.example/run:2
for at in app:v1 app:v1.0 app:amd64 app:v1-amd64 web:v1 team/app:v1.0; do sealpack copy oci:kept:app registry.example/$at; done
";

/// What is made once.
const MAKE: &str = r#"
cp test.pub old.pub
cp test.pub new.pub
cp builder.toml machine.toml
sed 's/signer = "given"/signer = { key = "release.pub" }/' policy/policy.toml > policy.toml
mkdir policies share home/.config home/.config/fish home/.config/fish/completions share/zsh share/zsh/site-functions
sed 's/signer = "given"/signer = { key = "..\/release.pub" }/' policy/policy.toml > policies/app.toml
cat > policies/run.toml <<'TOML'
images = ["registry.example/run*"]
[[accept]]
claims = ["signature"]
signer = { key = "../release.pub" }
[[require]]
claim = "signature"
TOML
cp test.key release.key
cp test.pub release.pub
for at in run-1 run-2; do sealpack sign oci:$at --key release.key; done
sealpack copy oci:run-1 registry.example/run:1
sealpack build ./app --builder builder.toml --run-image registry.example/run:1 --key release.key --tag oci:kept:app
sealpack sbom generate oci:kept:app --format cyclonedx=bom.json --format spdx=app.spdx
cp bom.json a.cdx.json
cp app.spdx b.spdx.json
echo registry.example/app:v1 > images.txt
echo '{"scanner":{"uri":"pkg:generic/scan","result":[]},"metadata":{"scanStartedOn":"2026-01-01T00:00:00Z","scanFinishedOn":"2026-01-01T00:00:00Z"}}' > scan.json
echo '{}' > forge.json
cp -R rootfs-of rootfs
cp -R buildpacks/test/typical buildpack
cp -R buildpack my-buildpack
sed -i s,test/typical,test/mine, my-buildpack/buildpack.toml
"#;

struct World {
    project: Project,
    registries: [(&'static str, TestRegistry); 3],
    not_run: RefCell<BTreeSet<&'static str>>,
    changed: RefCell<BTreeSet<&'static str>>,
    /// Whether all is there that examples find.
    is_whole: Cell<bool>,
}

impl World {
    async fn new() -> Self {
        let project = Project::typical();
        let start = |name| (name, TestRegistry::start(Switches::default()));
        let world = Self {
            project,
            registries: ["registry.example", "mirror.example", "registry.internal"].map(start),
            not_run: RefCell::default(),
            changed: RefCell::default(),
            is_whole: Cell::default(),
        };
        let folder = world.project.workspace().path();
        for (at, version) in [("run-1", "1"), ("run-2", "2")] {
            let files = LayerFiles::new()
                .folder("etc")
                .file("etc/os-release", "ID=debian\nVERSION_ID=12\n")
                .file("etc/version", version);
            write_image(&folder.join(at), &[files]).await;
        }
        let user = |_: &[_]| json!({ "Env": ["CNB_USER_ID=1001", "CNB_GROUP_ID=1002"] });
        let release = LayerFiles::new().file("etc/os-release", "ID=debian\n");
        write_image_with(&folder.join("base"), &[release], user).await;
        of_arm64(&folder.join("arm64")).await;
        world.made();
        world.script(MAKE).expect(0);
        world
    }

    /// What builders and packages are made of.
    fn made(&self) {
        for (id, version) in [("one", "1.0.0"), ("two", "2.0.0"), ("big", "1.0.0")] {
            let folder = self.project.join("made").join(id);
            let module = format!(
                "api = \"0.12\"\n[buildpack]\nid = \"example/{id}\"\nversion = \"{version}\"\n[[targets]]\nos = \"linux\"\n"
            );
            self.module(&folder, "buildpack.toml", &module, &["detect", "build"]);
        }
        let all = "api = \"0.12\"\n[buildpack]\nid = \"example/all\"\nversion = \"1.0.0\"\n[[order]]\n\
            [[order.group]]\nid = \"example/one\"\nversion = \"1.0.0\"\n\
            [[order.group]]\nid = \"example/big\"\nversion = \"1.0.0\"\n";
        self.project.write("made/all/buildpack.toml", all);
        let dependencies =
            "[[dependencies]]\nuri = \"made/one\"\n[[dependencies]]\nuri = \"made/big\"\n";
        let package = format!("[buildpack]\nuri = \"made/all\"\n{dependencies}");
        self.project.write("buildpacks.toml", package);
        let extension = "api = \"0.12\"\n[extension]\nid = \"example/ext\"\nversion = \"1.0.0\"\n";
        let folder = self.project.join("extension");
        self.module(
            &folder,
            "extension.toml",
            extension,
            &["detect", "generate"],
        );
        let package = "[extension]\nuri = \"extension\"\n";
        self.project.write("extension.toml", package);
        let builder = "[[buildpacks]]\nuri = \"made/one\"\n[[buildpacks]]\nuri = \"made/two\"\n[[order]]\n\
            [[order.group]]\nid = \"example/one\"\nversion = \"1.0.0\"\n\
            [[order.group]]\nid = \"example/two\"\nversion = \"2.0.0\"\n\
            [build]\nimage = \"oci:base\"\n[[run.images]]\nimage = \"registry.example/run:1\"\n";
        let builder = builder.replace("registry.example", &self.registries[0].1.host());
        self.project.write("made/builder.toml", builder);
        self.project
            .write("rootfs-of/etc/os-release", "ID=debian\n");
    }

    fn module(&self, folder: &Path, file: &str, text: &str, programs: &[&str]) {
        use std::os::unix::fs::PermissionsExt as _;

        self.project.write(folder.join(file), text);
        for name in programs {
            let path = self
                .project
                .write(folder.join("bin").join(name), "#!/bin/sh\n");
            let mode = std::fs::Permissions::from_mode(0o755);
            fs_err::set_permissions(path, mode).unwrap();
        }
    }

    /// Runs a script, in the shell that examples are typed into.
    fn script(&self, script: &str) -> Output {
        let mut script = script.to_owned();
        for (name, registry) in &self.registries {
            script = script.replace(name, &registry.host());
        }
        let mut shell = self.project.workspace().command("bash");
        let programs = binary("sealpack").parent().unwrap().display().to_string();
        let path = format!("{programs}:/usr/local/bin:/usr/bin:/bin");
        shell.args(["-euc", &script]).env("PATH", path);
        shell
            .env("COSIGN_PASSWORD", "secret")
            .env("TOKEN", "secret");
        let key = fs_err::read_to_string(self.project.join("test.key")).unwrap();
        Output::of(shell.env("COSIGN_PRIVATE_KEY", key))
    }

    /// Runs an example; whether it was one to run.
    fn run(&self, example: &str) -> bool {
        if let Some((part, _)) = NOT_RUN.iter().find(|(it, _)| example.contains(it))
            && !example.contains("--password-stdin")
        {
            self.not_run.borrow_mut().insert(part);
            return false;
        }
        if !self.is_whole.get() {
            self.script(FILL).expect(0);
        }
        let only_reads = |it: &&str| example.starts_with(&format!("sealpack {it}"));
        self.is_whole.set(READ.iter().any(only_reads));
        let before = BEFORE.iter().filter(|(it, _)| example.contains(it));
        for (part, script) in before {
            self.script(script).expect(0);
            self.is_whole.set(false);
            self.changed.borrow_mut().insert(part);
        }
        let mut typed = example.to_owned();
        for (from, to) in INSTEAD {
            if typed.contains(from) {
                typed = typed.replace(from, to);
                self.changed.borrow_mut().insert(from);
            }
        }
        if typed.contains("sha256:…") {
            let digest = self
                .script("sealpack inspect registry.example/app:v1 -o json")
                .expect(0);
            let digest: serde_json::Value = serde_json::from_str(&digest.stdout).unwrap();
            typed = typed.replace("sha256:…", digest["digest"].as_str().unwrap());
        }
        let output = self.script(&typed);
        assert_eq!(output.code, 0, "`{example}`: {}", output.transcript(&[]));
        true
    }
}

/// Writes an image for arm64 into a new layout, and calls it `latest`.
async fn of_arm64(folder: &Path) {
    let store = LayoutStore::create(folder).unwrap();
    let tar = Bytes::from(
        LayerFiles::new()
            .file("etc/os-release", "ID=debian\n")
            .tar(),
    );
    let layer = Descriptor::of(MediaType::LAYER_TAR, &tar);
    let config = json!({
        "architecture": "arm64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
    });
    let config_bytes = Bytes::from(config.to_string());
    let config = Descriptor::of(MediaType::IMAGE_CONFIG, &config_bytes);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::IMAGE_MANIFEST,
        "config": config, "layers": [layer],
    });
    let manifest = Bytes::from(manifest.to_string());
    let image = Descriptor::of(MediaType::IMAGE_MANIFEST, &manifest);
    store.push_blob(&layer, Upload::Bytes(tar)).await.unwrap();
    let upload = Upload::Bytes(config_bytes);
    store.push_blob(&config, upload).await.unwrap();
    store.push_manifest(&image, manifest).await.unwrap();
    store.tag(&image, &"latest".parse().unwrap()).await.unwrap();
}

/// The help of `command` and of all commands below it.
fn helps(workspace: &Workspace, command: &[&str]) -> Vec<(String, String)> {
    let help = Output::of(workspace.sealpack(command).arg("--help")).expect(0);
    let help = help.stdout;
    let listed = help.split_once("\nCommands:\n").map(|(_, it)| it);
    let listed = listed.and_then(|it| it.split_once("\n\n"));
    let names = listed.map(|(it, _)| it.to_owned()).unwrap_or_default();
    let mut all = vec![(command.join(" "), help)];
    for line in names.lines().filter_map(|it| it.strip_prefix("  ")) {
        let name = line.split(' ').next().unwrap_or_default();
        if !name.is_empty() && name != "help" {
            all.extend(helps(workspace, &[command, &[name]].concat()));
        }
    }
    all
}

/// What a help shows as examples, line by line.
fn examples(help: &str) -> Vec<&str> {
    let headings = ["\nExample:\n", "\nExamples:\n"];
    let found = headings.iter().find_map(|it| help.split_once(it));
    let lines = found.map(|(_, it)| it).unwrap_or_default().lines();
    lines.take_while(|it| !it.is_empty()).collect()
}

#[test]
fn examples_of_help_can_be_copied() {
    let mut seen = 0;
    for (command, help) in helps(&Workspace::new(), &[]) {
        for line in examples(&help) {
            // What was broken goes on at the margin.
            assert!(line.starts_with("  "), "{command}: `{line}` in\n{help}");
            let line = line.trim();
            // And is about this command, or one that is used with it.
            seen += usize::from(line.contains("sealpack "));
        }
        let long = examples(&help).iter().any(|it| it.contains("sealpack "));
        let own = examples(&help)
            .iter()
            .any(|it| it.contains(&format!("sealpack {command}")));
        assert!(!long || own, "{command} shows examples of others:\n{help}");
        let workspace = Workspace::new();
        let words: Vec<_> = command.split_whitespace().collect();
        let short = Output::of(workspace.sealpack(words).arg("-h")).expect(0);
        // The short help has the first of them.
        let (short, long) = (examples(&short.stdout), examples(&help));
        assert!(long.starts_with(&short), "{command}: {short:?}");
        assert_eq!(short.is_empty(), long.is_empty(), "{command}");
    }
    assert!(seen > 60, "{seen}");
}

#[tokio::test]
async fn examples_do_what_they_say() {
    let world = World::new().await;
    let mut run = 0;
    for (_, help) in helps(world.project.workspace(), &[]) {
        for line in examples(&help) {
            let is_command = line.contains(" sealpack ") || line.contains("(sealpack ");
            run += usize::from(is_command && world.run(line.trim()));
        }
    }
    assert!(run > 60, "{run} of help");
    let docs = fs_err::read_dir(repository().join("docs")).unwrap();
    let mut files: Vec<_> = docs.map(|it| it.unwrap().path()).collect();
    files.retain(|it| it.extension().is_some_and(|it| it == "md"));
    files.sort();
    files.push(repository().join("README.md"));
    let mut run = 0;
    for file in files {
        // Which begins with files of its own; another test goes through it.
        if file.ends_with("start.md") {
            continue;
        }
        let text = fs_err::read_to_string(&file).unwrap();
        for command in crate::readme::commands(&text) {
            run += usize::from(world.run(command.trim()));
        }
    }
    assert!(run > 20, "{run} of documents");
    // What is not run, or not as it stands, is what there is.
    let not_run = world.not_run.borrow();
    let said = NOT_RUN.iter().map(|(it, _)| *it);
    let idle: Vec<_> = said.filter(|it| !not_run.contains(it)).collect();
    assert!(idle.is_empty(), "no example has {idle:?}");
    let changed = world.changed.borrow();
    let said = BEFORE.iter().map(|(it, _)| *it);
    let said = said.chain(INSTEAD.iter().map(|(it, _)| *it));
    let idle: Vec<_> = said.filter(|it| !changed.contains(it)).collect();
    assert!(idle.is_empty(), "no example has {idle:?}");
}
