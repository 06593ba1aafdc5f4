//! The phases as kpack's build pod runs them: each alone, as the user of the build from the start, with
//! folders that are that user's by their group only (`fsGroup`), on the Platform APIs that kpack speaks
//! and on the newest.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use oci::{Image, LayoutStore, Limits, Platform, Selector, Store as _};
use serde_json::{Value, json};
use testkit::registry::{Switches, TestRegistry};
use testkit::{LayerFiles, Output, Workspace, binary, peer, skipped, write_image_with};

/// The user and group of the build: not root, and nobody who is on the machine.
const USER: u32 = 51_001;
const GROUP: u32 = 51_002;

/// A pod's volumes.
const FOLDERS: [&str; 6] = ["layers", "workspace", "cache", "report", "home", "tmp"];

struct Pod {
    workspace: Workspace,
    registry: TestRegistry,
    setpriv: PathBuf,
}

impl Pod {
    async fn new() -> Option<Self> {
        let setpriv = peer("setpriv")?;
        if !nix::unistd::geteuid().is_root() {
            skipped("who becomes another user has to be root");
            return None;
        }
        let pod = Self {
            workspace: Workspace::new(),
            registry: TestRegistry::start(Switches::default()),
            setpriv,
        };
        let open = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(pod.workspace.path(), open).unwrap();
        let layers = [LayerFiles::new().file("etc/os-release", "ID=debian\nVERSION_ID=12\n")];
        write_image_with(
            &pod.workspace.join("run"),
            &layers,
            |_| json!({"Labels": {"io.buildpacks.stack.id": "test.stack"}}),
        )
        .await;
        let copy = ["copy", "oci:run", &pod.image("run:latest")];
        Output::of(&mut pod.workspace.sealpack(copy)).expect(0);
        let image = pod.image("run");
        let write = |name: &str, text: &str| pod.workspace.write(name, text);
        write("stack.toml", &format!("[run-image]\nimage = \"{image}\"\n"));
        write("run.toml", &format!("[[images]]\nimage = \"{image}\"\n"));
        write(
            "order.toml",
            "[[order]]\n[[order.group]]\nid = \"test/pod\"\nversion = \"1.0.0\"\n",
        );
        write(
            "buildpacks/test_pod/1.0.0/buildpack.toml",
            "api = \"0.9\"\n[buildpack]\nid = \"test/pod\"\nversion = \"1.0.0\"\n[[stacks]]\nid = \"*\"\n[[targets]]\nos = \"linux\"\n",
        );
        write(
            "buildpacks/test_pod/1.0.0/bin/detect",
            "#!/bin/sh\nexit 0\n",
        );
        write(
            "buildpacks/test_pod/1.0.0/bin/build",
            "#!/bin/sh\nset -e\ntest -d \"$1/deps\" && echo 'deps are there'\nmkdir -p \"$1/deps\"\necho dep > \"$1/deps/file\"\n\
             printf '[types]\\nlaunch = true\\ncache = true\\n' > \"$1/deps.toml\"\n\
             printf '[[processes]]\\ntype = \"web\"\\ncommand = [\"true\"]\\n' > \"$1/launch.toml\"\n",
        );
        for program in ["detect", "build"] {
            let path = format!("buildpacks/test_pod/1.0.0/bin/{program}");
            fs_err::set_permissions(
                pod.workspace.join(&path),
                std::fs::Permissions::from_mode(0o755),
            )
            .unwrap();
        }
        // Where the programs were built need not be open to others.
        for name in ["lifecycle", "launcher"] {
            fs_err::copy(binary(name), pod.workspace.join(name)).unwrap();
        }
        for phase in ["analyzer", "detector", "restorer", "builder", "exporter"] {
            symlink("lifecycle", pod.workspace.join(phase)).unwrap();
        }
        Some(pod)
    }

    fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host())
    }

    /// Empties all volumes but the cache, as a new pod has them.
    fn renew(&self, cache: bool) {
        for name in FOLDERS {
            let path = self.workspace.join(name);
            if path.is_dir() && (cache || name != "cache") {
                fs_err::remove_dir_all(&path).unwrap();
            }
            fs_err::create_dir_all(&path).unwrap();
            std::os::unix::fs::chown(&path, Some(0), Some(GROUP)).unwrap();
            let shared = std::fs::Permissions::from_mode(0o2775);
            fs_err::set_permissions(&path, shared).unwrap();
        }
        self.workspace.write("workspace/app", "an app");
    }

    fn run(&self, api: &str, phase: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.setpriv);
        let (user, group) = (format!("--reuid={USER}"), format!("--regid={GROUP}"));
        command
            .args([&user, &group])
            .args(["--clear-groups", "--no-new-privs"])
            .args(["--bounding-set=-all", "--inh-caps=-all"])
            .arg(self.workspace.join(phase))
            .args(arguments)
            .current_dir(self.workspace.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.workspace.join("home"))
            .env("TMPDIR", self.workspace.join("tmp"))
            .env("CNB_PLATFORM_API", api)
            .env("CNB_NO_COLOR", "true")
            .env("CNB_USER_ID", USER.to_string())
            .env("CNB_GROUP_ID", GROUP.to_string())
            // What a builder image has below `/cnb`.
            .env("CNB_BUILDPACKS_DIR", self.workspace.join("buildpacks"))
            .env("CNB_ORDER_PATH", self.workspace.join("order.toml"))
            .env("CNB_PLATFORM_DIR", self.workspace.join("platform"))
            .env("CNB_RUN_PATH", self.workspace.join("run.toml"))
            .env("CNB_STACK_PATH", self.workspace.join("stack.toml"))
            .env("CNB_RUN_IMAGE", self.image("run"));
        Output::of(&mut command).expect(0)
    }

    /// One build; what the buildpack and the exporter say.
    fn build(&self, api: &str, previous: Option<&str>) -> String {
        let (tag, other) = (self.image("app:v1"), self.image("app:v2"));
        let run_image = format!("-run-image={}", self.image("run"));
        let analyzed = "-analyzed=layers/analyzed.toml";
        let (group, plan) = ("-group=layers/group.toml", "-plan=layers/plan.toml");
        let (layers, app, cache) = ("-layers=layers", "-app=workspace", "-cache-dir=cache");
        let second = format!("-tag={other}");
        let before = previous.map(|it| format!("-previous-image={it}"));
        let mut analyze = vec![layers, analyzed, &run_image, &second];
        analyze.extend(before.as_deref());
        analyze.push(&tag);
        self.run(api, "analyzer", &analyze);
        self.run(api, "detector", &[app, group, plan]);
        self.run(api, "restorer", &[group, layers, cache, analyzed]);
        let built = self.run(api, "builder", &[layers, app, group, plan]);
        let project = "-project-metadata=layers/project-metadata.toml";
        let report = "-report=report/report.toml";
        let launcher = "-launcher=launcher";
        let export = [
            layers, app, group, analyzed, project, launcher, cache, report, &tag, &other,
        ];
        built.stdout + &self.run(api, "exporter", &export).stdout
    }

    /// The labels of the image; JSON is read.
    async fn labels(&self) -> BTreeMap<String, Value> {
        let copy = ["copy", &self.image("app:v1"), "oci:copied:app"];
        Output::of(&mut self.workspace.sealpack(copy)).expect(0);
        let layout = LayoutStore::open(self.workspace.join("copied")).unwrap();
        let tag = Selector::Tag("app".parse().unwrap());
        let found = layout.resolve(&tag).await.unwrap();
        let limits = Limits::default();
        let image = Image::read(&layout, &found, &Platform::host(), &limits).await;
        let labels = image.unwrap().config().config.labels.clone();
        let read = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| json!(text));
        labels
            .iter()
            .map(|(name, value)| (name.clone(), read(value)))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phases_of_a_pod_need_no_more_than_its_group() {
    let Some(pod) = Pod::new().await else { return };
    for api in ["0.7", "0.8", "0.9", "0.15"] {
        pod.renew(true);
        let said = pod.build(api, None);
        assert!(!said.contains("deps are there"), "{api}: {said}");
        let report = fs_err::read_to_string(pod.workspace.join("report/report.toml")).unwrap();
        let digest = report.lines().find(|it| it.contains("digest = "));
        let digest = digest.unwrap().split('"').nth(1).unwrap().to_owned();
        for tag in ["app:v1", "app:v2"] {
            assert!(report.contains(&pod.image(tag)), "{api}: {report}");
        }

        // What kpack reads of the image.
        let labels = pod.labels().await;
        assert_eq!(labels["io.buildpacks.stack.id"], "test.stack", "{api}");
        let build = &labels["io.buildpacks.build.metadata"];
        assert_eq!(build["buildpacks"][0]["id"], "test/pod", "{api}");
        assert_eq!(build["buildpacks"][0]["version"], "1.0.0", "{api}");
        let version = build["launcher"]["version"].as_str().unwrap();
        assert!(!version.is_empty(), "{api}: {build}");
        let lifecycle = &labels["io.buildpacks.lifecycle.metadata"];
        let reference = lifecycle["runImage"]["reference"].as_str().unwrap();
        assert!(reference.contains("/run@sha256:"), "{api}: {lifecycle}");
        assert_eq!(
            lifecycle["stack"]["runImage"]["image"],
            pod.image("run"),
            "{api}"
        );

        // The next pod has the cache, and the image by its digest.
        pod.renew(false);
        let said = pod.build(api, Some(&pod.image(&format!("app@{digest}"))));
        assert!(said.contains("deps are there"), "{api}: {said}");
        assert!(
            said.contains("Reusing layer 'test/pod:deps'"),
            "{api}: {said}"
        );
    }
}
