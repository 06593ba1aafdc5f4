//! A builder that a real pack made of upstream's lifecycle: what we build in it is, by its digest, the
//! image that upstream's lifecycle makes there, in one phase and in five.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci::{ExtractOptions, Image, LayoutStore, Limits, Owners, Platform, Selector, Store as _};
use serde_json::{Value, json};
use testkit::registry::{Switches, TestRegistry};
use testkit::{
    BuilderImage, LayerFiles, Output, Workspace, peer, repository, skipped, write_image_with,
};

use super::{config_of, is_root};
/// What pack makes the builder of; `HOST` is the registry.
const BUILDER: &str = r#"
description = "made by pack"

[[buildpacks]]
uri = "all.cnb"
[[buildpacks]]
uri = "rich"

[[order]]
[[order.group]]
id = "test/rich"
version = "1.0.0"
[[order.group]]
id = "example/all"
version = "0.1.0"

[build]
image = "HOST/base:1"
[[build.env]]
name = "GREETING"
value = "hello"

[[run.images]]
image = "HOST/run:1"

[lifecycle]
uri = "lifecycle.tar"

[[targets]]
os = "linux"
arch = "amd64"
"#;

/// A buildpack that leaves something of each kind.
const RICH: &str = r#"
layer="$CNB_LAYERS_DIR/rich"
mkdir -p "$layer/env" "$layer/env.launch" "$layer/profile.d" "$layer/bin"
echo "$GREETING $GIVEN $CNB_TARGET_OS $CNB_TARGET_ARCH ${CNB_STACK_ID:-}" > "$layer/said"
env | grep -E '^(HOME|PATH|CNB_EXEC_ENV|FROM_THE_IMAGE)=' | sort >> "$layer/said"
cat "$CNB_BP_PLAN_PATH" >> "$layer/said"
id -u >> "$layer/said"
chmod 4755 "$layer/bin"
printf value > "$layer/env/SHARED.override"
printf value > "$layer/env.launch/LAUNCHED.default"
echo 'export PROFILED=1' > "$layer/profile.d/x.sh"
printf '[types]\nlaunch = true\nbuild = true\ncache = true\n[metadata]\nz = 1\na = "b"\n' > "$layer.toml"
printf '{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"components":[]}' > "$layer.sbom.cdx.json"
mkdir -p "$CNB_LAYERS_DIR/only-build"
echo x > "$CNB_LAYERS_DIR/only-build/x"
printf '[types]\nbuild = true\n' > "$CNB_LAYERS_DIR/only-build.toml"
cat > "$CNB_LAYERS_DIR/launch.toml" <<TOML
[[labels]]
key = "made-by"
value = "rich"
[[processes]]
type = "web"
command = ["serve", "--port"]
args = ["8080"]
default = true
[[processes]]
type = "worker"
command = ["work"]
working-dir = "/tmp"
[[slices]]
paths = ["static/*"]
TOML
echo built > built
"#;

/// All that both build with.
struct Fixture {
    workspace: Workspace,
    registry: TestRegistry,
    version: String,
}

impl Fixture {
    async fn new() -> Option<Self> {
        let (pack, lifecycle) = (peer("pack")?, peer("upstream-lifecycle")?);
        let launcher = peer("upstream-launcher")?;
        if !is_root() || peer("unshare").is_none() {
            skipped("upstream's lifecycle is run as root, in a root file system of its own");
            return None;
        }
        let workspace = Workspace::new();
        let registry = TestRegistry::start(Switches::default());
        let mut asked = Command::new(&lifecycle);
        let version = Output::of(asked.arg("-version")).expect(0).stdout;
        let fixture = Self {
            workspace,
            registry,
            version: version.trim().to_owned(),
        };
        fixture.images().await?;
        fixture.archive(&lifecycle, &launcher);
        fixture.sources();
        let host = fixture.registry.host();
        let workspace = &fixture.workspace;
        workspace.write("builder.toml", BUILDER.replace("HOST", &host));
        for arguments in [
            &[
                "buildpack",
                "package",
                "all.cnb",
                "--config",
                "package.toml",
                "--format",
                "file",
            ][..],
            &[
                "builder",
                "create",
                &format!("{host}/builder:1"),
                "--config",
                "builder.toml",
                "--publish",
            ],
        ] {
            let mut command = workspace.command(&pack);
            Output::of(command.args(arguments).arg("--no-color")).expect(0);
        }
        Some(fixture)
    }

    /// What builder and app stand on, in the registry.
    async fn images(&self) -> Option<()> {
        let layers = BuilderImage::new().layers()?;
        let label = json!({
            "io.buildpacks.base.distro.name": "busy", "io.buildpacks.base.distro.version": "1",
            "io.buildpacks.stack.id": "busy.stack",
        });
        let env = json!([
            "CNB_USER_ID=1001",
            "CNB_GROUP_ID=1000",
            "FROM_THE_IMAGE=yes"
        ]);
        let base = json!({ "Env": env, "Labels": label, "User": "1001:1000" });
        let run = json!({ "Labels": label, "Env": ["PATH=/bin"], "User": "1001:1000" });
        let extra = LayerFiles::new().file("etc/run-image", "yes");
        let below = layers.into_iter().next()?;
        let of_base = [below.clone()];
        write_image_with(&self.workspace.join("base"), &of_base, |_| base).await;
        write_image_with(&self.workspace.join("run"), &[below, extra], |_| run).await;
        for name in ["base", "run"] {
            let from = format!("oci:{name}:latest");
            let to = format!("{}/{name}:1", self.registry.host());
            Output::of(&mut self.workspace.sealpack(["copy", &from, &to])).expect(0);
        }
        Some(())
    }

    /// Upstream's lifecycle as it is released: one program, and links to it.
    fn archive(&self, lifecycle: &Path, launcher: &Path) {
        let apis = |from: usize, to: usize| {
            let all: Vec<_> = (from..=to).map(|it| format!("\"0.{it}\"")).collect();
            format!("deprecated = []\nsupported = [{}]\n", all.join(", "))
        };
        let toml = format!(
            "[api]\nplatform = \"0.7\"\nbuildpack = \"0.7\"\n[apis]\n[apis.buildpack]\n{}[apis.platform]\n{}\
             [lifecycle]\nversion = \"{}\"\n",
            apis(7, 12),
            apis(7, 15),
            self.version,
        );
        let files = LayerFiles::new()
            .file("lifecycle.toml", toml)
            .folder("lifecycle")
            .program("lifecycle/lifecycle", fs_err::read(lifecycle).unwrap())
            .program("lifecycle/launcher", fs_err::read(launcher).unwrap())
            .file(
                "lifecycle/launcher.sbom.cdx.json",
                r#"{"bomFormat":"CycloneDX","specVersion":"1.4"}"#,
            )
            .file(
                "lifecycle/lifecycle.sbom.cdx.json",
                r#"{"bomFormat":"CycloneDX","specVersion":"1.4"}"#,
            );
        let phases = [
            "analyzer", "builder", "creator", "detector", "exporter", "extender", "rebaser",
            "restorer",
        ];
        let files = phases.iter().fold(files, |files, name| {
            files.symlink(&format!("lifecycle/{name}"), "lifecycle")
        });
        self.workspace.write("lifecycle.tar", files.tar());
    }

    /// The app, buildpacks of the builder, and one that is added.
    fn sources(&self) {
        let example = repository().join("examples/builder");
        for file in [
            "package.toml",
            "all/buildpack.toml",
            "greeting/buildpack.toml",
        ] {
            self.workspace
                .write(file, fs_err::read(example.join(file)).unwrap());
        }
        for name in ["build", "detect"] {
            let text = fs_err::read_to_string(example.join("greeting/bin").join(name)).unwrap();
            self.program(&format!("greeting/bin/{name}"), &text);
        }
        let plan = "#!/bin/sh\nprintf '[[provides]]\\nname = \"x\"\\n[[requires]]\\nname = \"x\"\\n\
                    [requires.metadata]\\nwhy = \"test\"\\n' > \"$CNB_BUILD_PLAN_PATH\"\n";
        for (folder, id, detect, build) in [
            ("rich", "test/rich", plan, RICH),
            ("more", "test/more", "#!/bin/sh\n", "echo more > more\n"),
        ] {
            let toml = format!(
                "api = \"0.12\"\n[buildpack]\nid = \"{id}\"\nversion = \"1.0.0\"\nname = \"A name\"\n\
                 homepage = \"https://example.org\"\n\
                 sbom-formats = [\"application/vnd.cyclonedx+json\"]\n[[targets]]\nos = \"linux\"\n"
            );
            self.workspace
                .write(format!("{folder}/buildpack.toml"), toml);
            self.program(&format!("{folder}/bin/detect"), detect);
            let build = format!("#!/bin/sh\nset -eu\n{build}");
            self.program(&format!("{folder}/bin/build"), &build);
        }
        self.workspace.write("app/hello.txt", "hello\n");
        self.workspace.write("app/static/page.html", "<p>\n");
        self.program("app/run.sh", "#!/bin/sh\n");
    }

    fn program(&self, path: &str, text: &str) {
        let path = self.workspace.write(path, text);
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The name of an image in the registry.
    fn name(&self, tag: &str) -> String {
        format!("{}/app:{tag}", self.registry.host())
    }

    /// What we build; nothing, loudly, if this machine cannot.
    fn ours(&self, tag: &str, arguments: &[&str]) -> Option<String> {
        let builder = format!("{}/builder:1", self.registry.host());
        let all = ["build", "app", "--builder", &builder, "--unsigned"];
        let mut command = self.workspace.sealpack(all);
        command
            .args([
                "--output",
                &self.name(tag),
                "--output",
                "json",
                "--no-cache",
            ])
            .args(["--env", "GIVEN=1"])
            .args(arguments);
        let (report, _) = super::built(&mut command)?;
        Some(report["digest"].as_str().unwrap().to_owned())
    }

    /// The root file system of the builder, with the app in it.
    async fn root(&self, name: &str) -> Root {
        let layout = format!("{name}-builder");
        let from = format!("{}/builder:1", self.registry.host());
        let copy = ["copy", &from, &format!("oci:{layout}:1")];
        Output::of(&mut self.workspace.sealpack(copy)).expect(0);
        let store = LayoutStore::open(self.workspace.join(&layout)).unwrap();
        let found = store.resolve(&Selector::Tag("1".parse().unwrap())).await;
        let (platform, limits) = (Platform::host(), Limits::default());
        let image = Image::read(&store, &found.unwrap(), &platform, &limits).await;
        let folder = self.workspace.join(name);
        fs_err::create_dir_all(&folder).unwrap();
        let options = ExtractOptions {
            owners: Owners::Keep,
            ..ExtractOptions::default()
        };
        for (layer, _) in image.unwrap().layers() {
            let done = oci::extract_layer(&store, layer, &folder, &options).await;
            done.unwrap();
        }
        let copy = Command::new("cp")
            .args(["-R", "--no-target-directory"])
            .args([self.workspace.join("app"), folder.join("workspace")])
            .status();
        assert!(copy.unwrap().success());
        fs_err::write(folder.join("platform/env/GIVEN"), "1").unwrap();
        for made in ["dev", "proc"] {
            fs_err::create_dir_all(folder.join(made)).unwrap();
        }
        super::give(&folder.join("workspace"), 1001, 1000);
        Root { folder }
    }

    /// Says where two images differ.
    fn assert_same(&self, ours: (&str, &str), theirs: (&str, &str)) {
        let mut configs: Vec<Value> = Vec::new();
        for (tag, _) in [ours, theirs] {
            let copy = ["copy", &self.name(tag), &format!("oci:seen-{tag}:1")];
            Output::of(&mut self.workspace.sealpack(copy)).expect(0);
            configs.push(config_of(&self.workspace.join(format!("seen-{tag}"))));
        }
        assert_eq!(configs[0], configs[1], "{} and {}", ours.0, theirs.0);
        assert_eq!(ours.1, theirs.1, "{} and {}", ours.0, theirs.0);
    }
}

/// A root file system that upstream's lifecycle is run in.
struct Root {
    folder: PathBuf,
}

impl Root {
    fn run(&self, user: &str, program: &str, arguments: &[&str]) {
        let script = "set -e; mount --rbind /dev \"$0/dev\"; mount -t proc proc \"$0/proc\"; \
                      user=$1; shift; exec chroot --userspec \"$user\" \"$0\" \"$@\"";
        let env = [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/home/cnb",
            "CNB_PLATFORM_API=0.15",
            "CNB_USER_ID=1001",
            "CNB_GROUP_ID=1000",
            "FROM_THE_IMAGE=yes",
        ];
        let mut command = Command::new("unshare");
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["--mount", "sh", "-c", script])
            .arg(&self.folder)
            .args([user, "/bin/env", "-i"])
            .args(env)
            .arg(format!("/cnb/lifecycle/{program}"))
            .args(["-log-level", "debug"])
            .args(arguments);
        Output::of(&mut command).expect(0);
    }

    /// The digest that the exporter reports.
    fn digest(&self) -> String {
        let report = fs_err::read_to_string(self.folder.join("layers/report.toml")).unwrap();
        let line = report
            .lines()
            .find_map(|it| it.trim().strip_prefix("digest = "));
        line.unwrap().trim_matches('"').to_owned()
    }

    /// Five phases, each as who has to run it.
    fn five_phases(&self, image: &str) {
        self.run("0:0", "analyzer", &[image]);
        self.run("1001:1000", "detector", &[]);
        self.run("0:0", "restorer", &[]);
        self.run("1001:1000", "builder", &[]);
        self.run("0:0", "exporter", &[image]);
    }

    /// Adds a buildpack in front of all others, as pack does it.
    fn add_more(&self, workspace: &Workspace) {
        let place = self.folder.join("cnb/buildpacks/test_more");
        fs_err::create_dir_all(&place).unwrap();
        let copied = Command::new("cp")
            .arg("-R")
            .args([workspace.join("more"), place.join("1.0.0")])
            .status();
        assert!(copied.unwrap().success());
        let order = self.folder.join("cnb/order.toml");
        let text = fs_err::read_to_string(&order).unwrap();
        let first = "  [[order.group]]\n    id = \"test/rich\"";
        assert!(text.contains(first), "{text}");
        let more = "  [[order.group]]\n    id = \"test/more\"\n    version = \"1.0.0\"\n";
        fs_err::write(order, text.replace(first, &format!("{more}{first}"))).unwrap();
    }
}

#[tokio::test]
async fn what_we_build_in_a_builder_of_pack_is_what_upstream_builds() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let Some(ours) = fixture.ours("ours", &[]) else {
        return;
    };
    let root = fixture.root("creator").await;
    root.run("0:0", "creator", &[&fixture.name("creator")]);
    let theirs = root.digest();
    fixture.assert_same(("ours", &ours), ("creator", &theirs));

    let root = fixture.root("five").await;
    root.five_phases(&fixture.name("five"));
    fixture.assert_same(("ours", &ours), ("five", &root.digest()));

    let added = ["--pre-buildpack", "more"];
    let with_more = fixture.ours("ours-more", &added).unwrap();
    let root = fixture.root("more-root").await;
    root.add_more(&fixture.workspace);
    root.run("0:0", "creator", &[&fixture.name("more")]);
    fixture.assert_same(("ours-more", &with_more), ("more", &root.digest()));
    assert_ne!(ours, with_more);
}
