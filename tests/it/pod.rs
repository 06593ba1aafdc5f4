//! The phases as kpack's build pod runs them: each alone, as the user of the build from the start, with
//! folders that are that user's by their group only (`fsGroup`), on the Platform APIs that kpack speaks
//! and on the newest.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use oci::{Image, LayoutStore, Limits, Platform, Selector, Store as _};
use serde_json::{Value, json};
use testkit::registry::{Switches, TestRegistry};
use testkit::{LayerFiles, Output, Workspace, copy_binary, peer, skipped, write_image_with};

use crate::tracing::{Span, decode, hangs_together};

/// The user and group of the build: not root, and nobody who is on the machine.
const USER: u32 = 51_001;
const GROUP: u32 = 51_002;
/// Whom each machine knows.
const NOBODY: u32 = 65_534;

/// A pod's volumes.
const FOLDERS: [&str; 6] = ["layers", "workspace", "cache", "report", "home", "tmp"];

pub(crate) struct Pod {
    /// Who builds.
    user: u32,
    /// What the platform says besides.
    pub(crate) variables: Vec<(&'static str, String)>,
    pub(crate) workspace: Workspace,
    pub(crate) registry: TestRegistry,
    setpriv: PathBuf,
}

impl Pod {
    pub(crate) async fn new() -> Option<Self> {
        let setpriv = peer("setpriv")?;
        if !nix::unistd::geteuid().is_root() {
            skipped("who becomes another user has to be root");
            return None;
        }
        let pod = Self {
            user: USER,
            variables: Vec::new(),
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
            "#!/bin/sh\nset -e\ntest -d \"$1/deps\" && echo 'deps are there'\nmkdir -p \"$1/deps\"\n[ -z \"${CNB_OTEL_LOG_PATH:-}\" ] || echo \"$CNB_OTEL_TRACEPARENT\" > \"$CNB_OTEL_LOG_PATH\"\necho dep > \"$1/deps/file\"\n\
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
            copy_binary(name, pod.workspace.join(name));
        }
        for phase in ["analyzer", "detector", "restorer", "builder", "exporter"] {
            symlink("lifecycle", pod.workspace.join(phase)).unwrap();
        }
        Some(pod)
    }

    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host())
    }

    /// Empties all volumes but the cache, as a new pod has them.
    pub(crate) fn renew(&self, cache: bool) {
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

    /// A phase, as it runs in a container of the pod.
    pub(crate) fn command(&self, api: &str, phase: &str, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.setpriv);
        let (user, group) = (format!("--reuid={}", self.user), format!("--regid={GROUP}"));
        command
            .args([&user, &group])
            .args(["--clear-groups", "--no-new-privs"])
            .args(["--bounding-set=-all", "--inh-caps=-all"])
            .arg(self.workspace.join(phase))
            .args(arguments);
        self.surround(&mut command, api);
        command
    }

    /// Gives a command the folder and the environment of the pod.
    pub(crate) fn surround(&self, command: &mut Command, api: &str) {
        command
            .current_dir(self.workspace.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.workspace.join("home"))
            .env("TMPDIR", self.workspace.join("tmp"))
            .env("CNB_PLATFORM_API", api)
            .env("CNB_NO_COLOR", "true")
            .env("CNB_USER_ID", self.user.to_string())
            .env("CNB_GROUP_ID", GROUP.to_string())
            // What a builder image has below `/cnb`.
            .env("CNB_BUILDPACKS_DIR", self.workspace.join("buildpacks"))
            .env("CNB_ORDER_PATH", self.workspace.join("order.toml"))
            .env("CNB_PLATFORM_DIR", self.workspace.join("platform"))
            .env("CNB_RUN_PATH", self.workspace.join("run.toml"))
            .env("CNB_STACK_PATH", self.workspace.join("stack.toml"))
            .env("CNB_RUN_IMAGE", self.image("run"))
            .envs(self.variables.iter().cloned());
    }

    /// The phases of a build in their order, each with its arguments.
    pub(crate) fn phases(&self, previous: Option<&str>) -> Vec<(&'static str, Vec<String>)> {
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
        let project = "-project-metadata=layers/project-metadata.toml";
        let report = "-report=report/report.toml";
        let launcher = "-launcher=launcher";
        let export = vec![
            layers, app, group, analyzed, project, launcher, cache, report, &tag, &other,
        ];
        let phases = [
            ("analyzer", analyze),
            ("detector", vec![app, group, plan]),
            ("restorer", vec![group, layers, cache, analyzed]),
            ("builder", vec![layers, app, group, plan]),
            ("exporter", export),
        ];
        let owned = |it: Vec<&str>| it.into_iter().map(str::to_owned).collect();
        phases
            .into_iter()
            .map(|(phase, arguments)| (phase, owned(arguments)))
            .collect()
    }

    /// One build; what the phases say.
    pub(crate) fn build(&self, api: &str, previous: Option<&str>) -> String {
        let mut said = String::new();
        for (phase, arguments) in self.phases(previous) {
            let output = Output::of(&mut self.command(api, phase, &arguments)).expect(0);
            said.push_str(&output.stdout);
        }
        said
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

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_asks_for_each_manifest_once_and_writes_it_with_its_tags() {
    let Some(pod) = Pod::new().await else { return };
    for cache in [true, false] {
        pod.renew(cache);
        for (phase, arguments) in pod.phases(None) {
            pod.registry.take_requests();
            Output::of(&mut pod.command("0.15", phase, &arguments)).expect(0);
            let mut manifests = each_once(&pod.registry.take_requests(), phase);
            manifests.retain(|it| it.starts_with("PUT "));
            let written = ["PUT /v2/app/manifests/v1", "PUT /v2/app/manifests/v2"];
            let written = &written[..if phase == "exporter" { 2 } else { 0 }];
            assert_eq!(manifests, written, "{phase}");
        }
    }
    // Where the analyzer chooses the run image, it has looked at it then.
    let offered = format!("[[images]]\nimage = \"{}\"\n", pod.image("run"));
    pod.workspace.write("run.toml", offered);
    let (phase, mut arguments) = pod.phases(None).swap_remove(0);
    arguments.retain(|it| !it.starts_with("-run-image="));
    let mut analyzer = pod.command("0.15", phase, &arguments);
    pod.registry.take_requests();
    Output::of(analyzer.env_remove("CNB_RUN_IMAGE")).expect(0);
    let manifests = each_once(&pod.registry.take_requests(), phase);
    assert!(manifests.iter().any(|it| it.contains("/v2/run/")));
}

/// The requests about manifests, none of which may stand there twice.
fn each_once(requests: &[String], phase: &str) -> Vec<String> {
    let about = |it: &&String| it.contains("/manifests/");
    let all: Vec<_> = requests.iter().filter(about).cloned().collect();
    let different: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(different.len(), all.len(), "{phase}: {requests:#?}");
    different.into_iter().collect()
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// The span of these that has no parent among them, and this one below it.
fn outermost<'a>(spans: &'a [Span], span: &'a Span) -> &'a Span {
    let parent = spans.iter().find(|it| it.id == span.parent);
    parent.map_or(span, |it| outermost(spans, it))
}

/// RFC 0131: files below `<layers>/tracing`, if they are asked for.
#[tokio::test(flavor = "multi_thread")]
async fn the_phases_of_a_pod_write_what_they_did() {
    let Some(mut pod) = Pod::new().await else {
        return;
    };
    pod.renew(true);
    let given = format!("00-{TRACE}-{PARENT}-01");
    // Who only says which trace it is asks for nothing.
    // The detector is told nowhere else.
    let layers = pod.workspace.join("layers").display().to_string();
    pod.variables = vec![
        ("CNB_LAYERS_DIR", layers.clone()),
        ("CNB_OTEL_TRACEPARENT", given.clone()),
    ];
    pod.build("0.15", None);
    assert!(!pod.workspace.join("layers/tracing").exists());
    let labels = pod.labels().await;

    pod.renew(false);
    pod.variables.push(("CNB_TELEMETRY", "true".to_owned()));
    let said = pod.build("0.15", None);
    assert!(!said.contains("trace"), "{said}");
    let tracing = pod.workspace.join("layers/tracing");
    let mut all = Vec::new();
    for (phase, names) in [
        ("analyze", ["analyze"].as_slice()),
        ("detect", &["detect", "buildpack-detect"]),
        ("restore", &["restore", "cache-restore"]),
        ("build", &["build", "buildpack-build"]),
        (
            "export",
            &["export", "layer", "save-image", "cache-add", "cache-commit"],
        ),
    ] {
        let path = tracing.join(format!("lifecycle/{phase}.jsonl"));
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{phase}");
        let text = fs_err::read_to_string(path).unwrap();
        let host = pod.registry.host();
        assert!(!text.contains(&host) && !text.contains("app:v1"), "{text}");
        assert!(text.contains("lifecycle.version"), "{text}");
        let spans = decode(&text);
        for name in names {
            assert!(
                spans.iter().any(|it| it.name == *name),
                "{name}: {spans:#?}"
            );
        }
        assert_eq!(spans[0].trace, TRACE);
        all.extend(spans);
    }
    hangs_together(&all, Some(PARENT));
    // As it was given, not below a span of ours: so the newer drafts of the specification.
    let told = tracing.join("buildpacks/test_pod@1.0.0-build.jsonl");
    assert_eq!(fs_err::read_to_string(told).unwrap().trim(), given);
    // What was told is not part of the image.
    assert_eq!(pod.labels().await, labels);

    // The platform may name one place for all modules.
    pod.renew(true);
    // There is something to push this time.
    pod.workspace.write("workspace/app", "another app");
    let place = pod.workspace.join("report/modules.jsonl");
    pod.variables = vec![
        ("CNB_LAYERS_DIR", layers),
        ("CNB_OTEL_LOG_PATH", place.display().to_string()),
    ];
    pod.build("0.15", None);
    let told = fs_err::read_to_string(place).unwrap();
    assert!(told.starts_with("00-"), "{told}");
    assert!(tracing.join("lifecycle/build.jsonl").is_file());
    assert!(!tracing.join("buildpacks").exists());
    // What is pushed while other layers are made is a part of the phase, too.
    let text = fs_err::read_to_string(tracing.join("lifecycle/export.jsonl")).unwrap();
    let spans = decode(&text);
    let uploads: Vec<_> = spans.iter().filter(|it| it.name == "upload").collect();
    assert!(uploads.len() > 1, "{spans:#?}");
    for upload in uploads {
        assert_eq!(outermost(&spans, upload).name, "export", "{spans:#?}");
    }
}

/// RFCs 0126 and 0129: what upstream has not, and nobody gets unasked.
#[tokio::test(flavor = "multi_thread")]
async fn what_approved_proposals_add_is_for_who_asks() {
    let Some(mut pod) = Pod::new().await else {
        return;
    };
    let read = |pod: &Pod| {
        let text = fs_err::read_to_string(pod.workspace.join("report/report.toml")).unwrap();
        text.parse::<toml::Table>().unwrap()["image"].clone()
    };
    pod.renew(true);
    pod.build("0.15", None);
    assert!(read(&pod).get("run-image").is_none());
    pod.renew(false);
    pod.variables = vec![("CNB_REPORT_RUN_IMAGE", "true".to_owned())];
    pod.build("0.15", None);
    let said = read(&pod);
    let run_image = &said["run-image"];
    assert_eq!(run_image["image"].as_str().unwrap(), pod.image("run"));
    let label = &pod.labels().await["io.buildpacks.lifecycle.metadata"]["runImage"];
    assert_eq!(run_image["reference"].as_str(), label["reference"].as_str());
    assert_eq!(run_image["top-layer"].as_str(), label["topLayer"].as_str());

    pod.variables.clear();
    // The creator looks for its user in `/etc/passwd`.
    pod.user = NOBODY;
    symlink("lifecycle", pod.workspace.join("creator")).unwrap();
    let restored = "Restoring data for SBOM from previous image";
    pod.renew(true);
    for (flag, is_restored) in [(None, true), (None, true), (Some("-skip-sbom"), false)] {
        let is_first = !pod.workspace.join("cache/committed").exists();
        pod.renew(false);
        let run_image = format!("-run-image={}", pod.image("run"));
        let arguments = [
            "-app=workspace",
            "-layers=layers",
            "-cache-dir=cache",
            "-launcher=launcher",
            "-report=report/report.toml",
            &run_image,
        ];
        let arguments = arguments.into_iter().chain(flag);
        let mut arguments: Vec<_> = arguments.map(str::to_owned).collect();
        arguments.push(pod.image("app:v1"));
        let mut command = pod.command("0.15", "creator", &arguments);
        let said = Output::of(&mut command).expect(0).stdout;
        assert_eq!(said.contains(restored), is_restored, "{said}");
        // The layers are there all the same.
        assert!(is_first || said.contains("deps are there"), "{said}");
    }
    let usage = pod.command("0.15", "creator", &["-h".to_owned()]);
    let usage = Output::of(&mut { usage }).expect(0).stderr;
    assert!(
        usage.contains("-skip-restore") && !usage.contains("-skip-sbom"),
        "{usage}"
    );
}
