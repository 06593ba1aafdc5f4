//! A real pack builds with a builder that we made: with our lifecycle in it, through a Docker daemon. What
//! comes out runs, and is what `sealpack build` makes with the same builder.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use testkit::registry::{Switches, TestRegistry};
use testkit::{BuilderImage, Dockerd, Output, Workspace, copy_binary, peer, write_image_with};

/// What the builder is made of; `HOST` is the registry.
const BUILDER: &str = r#"
[[buildpacks]]
uri = "greeter.cnb"
[[order]]
[[order.group]]
id = "test/greeter"
version = "1.0.0"
[build]
image = "HOST/base:1"
[[build.env]]
name = "GREETING"
value = "hello from ours"
[[run.images]]
image = "HOST/run:1"
"#;

/// What the buildpack does: a layer, a file in the app, and a process that shows both.
const BUILD: &str = r#"#!/bin/sh
set -eu
layer=$CNB_LAYERS_DIR/greeting
mkdir -p "$layer"
echo "$GREETING" > "$layer/text"
printf '[types]\nlaunch = true\ncache = true\n' > "$layer.toml"
id -u > built-by
cat > "$CNB_LAYERS_DIR/launch.toml" <<TOML
[[processes]]
type = "web"
command = ["/bin/cat", "$layer/text", "hello.txt", "built-by"]
default = true
TOML
"#;

/// Which of the layers is the app's: after the run image, a layer of the buildpack and the SBOMs.
const APP: usize = 3;

/// A builder of ours in a registry, an app, and a Docker daemon.
struct Fixture {
    // It ends before its folder goes.
    docker: Dockerd,
    registry: TestRegistry,
    pack: PathBuf,
    workspace: Workspace,
}

impl Fixture {
    async fn new() -> Option<Self> {
        let pack = peer("pack")?;
        peer("docker")?;
        // A layer of the builder is large, and a container has it only once where layers are stacked.
        let workspace = Workspace::in_memory();
        let registry = TestRegistry::start(Switches::default());
        images(&workspace, &registry).await?;
        let folder = workspace.join("docker");
        fs_err::create_dir(&folder).unwrap();
        let docker = Dockerd::start(&folder, &["--storage-driver=overlay2".to_owned()])?;
        let fixture = Self {
            docker,
            registry,
            pack,
            workspace,
        };
        fixture.builder();
        Some(fixture)
    }

    /// A packaged buildpack, and the builder made of it.
    fn builder(&self) {
        for (file, content) in [
            ("greeter/bin/detect", "#!/bin/sh\n"),
            ("greeter/bin/build", BUILD),
        ] {
            let path = self.workspace.write(file, content);
            let mode = std::fs::Permissions::from_mode(0o755);
            fs_err::set_permissions(path, mode).unwrap();
        }
        let toml = "api = \"0.12\"\n[buildpack]\nid = \"test/greeter\"\nversion = \"1.0.0\"\n\
                    [[targets]]\nos = \"linux\"\n";
        self.workspace.write("greeter/buildpack.toml", toml);
        let host = self.registry.host();
        let toml = BUILDER.replace("HOST", &host);
        self.workspace.write("builder.toml", toml);
        self.workspace.write("app/hello.txt", "hello\n");
        // The lifecycle by itself, as it is released beside `sealpack`.
        fs_err::create_dir(self.workspace.join("programs")).unwrap();
        for name in ["lifecycle", "launcher"] {
            copy_binary(name, self.workspace.join("programs").join(name));
        }
        for arguments in [
            &["buildpack", "package", "greeter.cnb", "--path", "greeter"][..],
            &[
                "builder",
                "create",
                &format!("{host}/builder:1"),
                "--config",
                "builder.toml",
                "--lifecycle",
                "programs",
            ],
        ] {
            Output::of(&mut self.workspace.sealpack(arguments)).expect(0);
        }
    }

    /// `pack build` of the app as `name`; each phase that talks to the registry does so by the machine's
    /// network.
    fn pack(&self, name: &str) -> Command {
        let mut command = self.workspace.command(&self.pack);
        command
            .env("DOCKER_HOST", self.docker.host())
            .env("DOCKER_CONFIG", self.workspace.join("docker/config"))
            .args([
                "build",
                name,
                "--path",
                "app",
                "--no-color",
                "--trust-builder",
            ])
            .args(["--docker-host", "inherit", "--network", "host"])
            .args(["--builder", &format!("{}/builder:1", self.registry.host())]);
        command
    }

    /// What the image prints, run by Docker.
    fn says(&self, image: &str) -> String {
        let run = ["run", "--rm", "--network=host", image];
        self.docker.docker(&run).unwrap().expect(0).stdout
    }
}

/// What builder and app stand on, in the registry.
async fn images(workspace: &Workspace, registry: &TestRegistry) -> Option<()> {
    let below = BuilderImage::new().layers()?.into_iter().next()?;
    let label = json!({
        "io.buildpacks.base.distro.name": "busy", "io.buildpacks.base.distro.version": "1",
    });
    let env = ["CNB_USER_ID=1001", "CNB_GROUP_ID=1000", "PATH=/bin"];
    for (name, env) in [("base", &env[..]), ("run", &["PATH=/bin"])] {
        let config = json!({ "Env": env, "Labels": label, "User": "1001:1000" });
        let layers = [below.clone()];
        write_image_with(&workspace.join(name), &layers, |_| config).await;
        let to = format!("{}/{name}:1", registry.host());
        let copy = ["copy", &format!("oci:{name}:latest"), &to];
        Output::of(&mut workspace.sealpack(copy)).expect(0);
    }
    Some(())
}

#[tokio::test]
async fn a_real_pack_builds_with_a_builder_of_ours() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let host = fixture.registry.host();
    // Into the daemon: all phases in one container.
    let output = Output::of(&mut fixture.pack("app:daemon")).expect(0);
    assert!(output.stdout.contains("test/greeter"), "{output:?}");
    assert_eq!(fixture.says("app:daemon"), "hello from ours\nhello\n1001\n");
    // Once more, with what the first build left.
    let output = Output::of(&mut fixture.pack("app:daemon")).expect(0);
    assert!(output.stdout.contains("Reusing"), "{output:?}");

    // Into the registry: the same that we build.
    let published = format!("{host}/app:pack");
    let mut command = fixture.pack(&published);
    Output::of(command.args(["--publish", "--clear-cache"])).expect(0);
    let config = |from: &str, layout: &str| {
        let copy = ["copy", from, &format!("oci:{layout}:1")];
        Output::of(&mut fixture.workspace.sealpack(copy)).expect(0);
        crate::builder_image::config_of(&fixture.workspace.join(layout))
    };
    let theirs = config(&published, "theirs");
    let variables = theirs["config"]["Env"].as_array().unwrap().iter();
    let mut variables = variables.map(|it| it.as_str().unwrap());
    let api = variables.find_map(|it| it.strip_prefix("CNB_PLATFORM_API="));
    let ours = format!("{host}/app:ours");
    let builder = format!("{host}/builder:1");
    let build = [
        "build",
        "app",
        "--builder",
        &builder,
        "--unsigned",
        "--no-cache",
        "--tag",
        &ours,
    ];
    let mut command = fixture.workspace.sealpack(build);
    command.args(["--output", "json", "--platform-api", api.unwrap()]);
    if crate::builder_image::built(&mut command).is_none() {
        return;
    }
    let ours = config(&ours, "ours");
    for part in ["/config/Env", "/config/Entrypoint", "/config/User"] {
        assert!(theirs.pointer(part).is_some(), "{part}");
        assert_eq!(theirs.pointer(part), ours.pointer(part), "{part}");
    }
    // But for the app's: in pack's volume anybody may write to `/workspace`.
    let layers = |config: &Value| {
        let mut layers = config["rootfs"]["diff_ids"].as_array().unwrap().clone();
        layers.remove(APP);
        layers
    };
    assert_eq!(layers(&theirs), layers(&ours));
}
