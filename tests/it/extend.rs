//! The extender, in a root of its own: what it makes of Dockerfiles, and what the exporter makes of
//! that.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use lifecycle_core::extend::hand_over;
use oci::store::{RegistryClient, RegistryOptions};
use oci::{
    Descriptor, DiffId, Digest, Image, ImageConfig, ImageManifest, Limits, MediaType, Selector,
    Store as _,
};
use testkit::registry::{Switches, TestRegistry};
use testkit::{binary, copy_binary, peer, repository, skipped};

/// A root file system as a container has it, and how programs run in it.
struct Root {
    folder: tempfile::TempDir,
}

const DOCKERFILE: &str = "ARG base_image\nFROM ${base_image}\nUSER root\n\
    RUN id -u && mkdir -p /d/e && echo a > /d/a && ln /d/a /d/b && chown 7:8 /d/e && rm -r /home/cnb \
    && echo no > /workspace/no && touch /layers/no\n\
    COPY --chown=cnb file /copied/\nENV V=\"x=y\"\n\
    ARG build_id\nRUN echo only ${build_id}\nARG user_id\nARG group_id\nUSER ${user_id}\n\
    RUN id -u; echo $V $HOME $PATH\n";

const GROUP: &str = "[[group]]\nid = \"bp\"\nversion = \"1\"\napi = \"0.10\"\n\
    [[group-extensions]]\nid = \"a/one\"\nversion = \"1\"\napi = \"0.10\"\n";

impl Root {
    /// A new one, if this machine can have one.
    fn new() -> Option<Self> {
        let is_root = fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0);
        let tools = ["busybox", "bash-static", "unshare", "chroot"];
        if !is_root || tools.iter().any(|it| peer(it).is_none()) {
            skipped("the extender wants root, unshare, busybox-static and bash-static");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let root = Self { folder };
        let made = Command::new("sh")
            .arg(repository().join("tests/golden/make-root.sh"))
            .arg(root.path(""))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        root.write("layers/group.toml", GROUP);
        root.write("layers/plan.toml", "");
        root.write(
            "cnb/buildpacks/bp/1/buildpack.toml",
            "api = \"0.10\"\n[buildpack]\nid = \"bp\"\nversion = \"1\"\n[[targets]]\n",
        );
        root.write(
            "cnb/buildpacks/bp/1/bin/build",
            "#!/bin/sh\necho built as $(id -u) at $HOME with $(cat /d/a /copied/file)\n",
        );
        let build = root.path("cnb/buildpacks/bp/1/bin/build");
        fs::set_permissions(build, fs::Permissions::from_mode(0o755)).unwrap();
        let lifecycle = root.path("cnb/lifecycle/lifecycle");
        fs::hard_link(binary("lifecycle"), &lifecycle)
            .or_else(|_elsewhere| fs::copy(binary("lifecycle"), &lifecycle).map(drop))
            .unwrap();
        Some(root)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// What an extension left, in the folders of `api`.
    fn extension(&self, api: &str, dockerfile: &str) {
        let is_new = api != "0.10" && api != "0.12";
        for kind in ["build", "run"] {
            let path = if is_new {
                format!("layers/generated/a_one/{kind}.Dockerfile")
            } else {
                format!("layers/generated/{kind}/a_one/Dockerfile")
            };
            self.write(&path, dockerfile);
        }
        let (file, content) = if is_new {
            ("layers/generated/a_one/context/file", "from context")
        } else {
            ("workspace/file", "from app")
        };
        self.write(file, content);
        // What is copied keeps its time, which then is part of the layer.
        let file = fs::File::options()
            .write(true)
            .open(self.path(file))
            .unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        file.set_modified(time).unwrap();
    }

    /// Has the restorer leave what is to be extended, of both kinds.
    fn restore(&self, api: &str, registry: &TestRegistry) {
        let host = registry.host();
        let analyzed = format!(
            "[run-image]\nreference = \"{host}/run\"\nimage = \"{host}/run\"\nextend = true\n"
        );
        self.write("layers/analyzed.toml", &analyzed);
        // Who restores writes it again.
        let owner = Some(1000);
        std::os::unix::fs::chown(self.path("layers/analyzed.toml"), owner, owner).unwrap();
        let restorer =
            format!("/cnb/lifecycle/restorer -uid 1000 -gid 1000 -build-image {host}/build");
        let (code, text) = self.run(api, &restorer);
        assert_eq!(code, Some(0), "{text}");
    }

    /// Runs a program in it, with `/proc`, and returns its exit code and what it printed.
    fn run(&self, api: &str, arguments: &str) -> (Option<i32>, String) {
        self.run_as("0:0", api, arguments)
    }

    fn run_as(&self, user: &str, api: &str, arguments: &str) -> (Option<i32>, String) {
        let script = "mount -t proc proc \"$0/proc\" && exec chroot --userspec $3 \"$0\" /bin/env \
            container=test CNB_EXPERIMENTAL_MODE=quiet CNB_NO_COLOR=true CNB_PLATFORM_API=$1 $2";
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .arg(self.folder.path())
            .args([api, arguments, user])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text + &errors)
    }
}

/// A registry with an image to build in and one to run in.
fn registry(user: &str) -> (TestRegistry, Image) {
    let registry = TestRegistry::start(Switches::default());
    let layer = Descriptor::of(MediaType::LAYER_GZIP, b"layer");
    let mut config = ImageConfig {
        os: "linux".to_owned(),
        architecture: oci::Platform::host().architecture,
        ..ImageConfig::default()
    };
    config.rootfs.diff_ids = vec![DiffId(Digest::of(b"tar"))];
    user.clone_into(&mut config.config.user);
    config.config.env = vec!["PATH=/bin:/usr/bin".to_owned()];
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        config: layer.clone(),
        layers: Vec::new(),
        annotations: BTreeMap::new(),
        subject: None,
        artifact_type: None,
    };
    let image = Image::new(&manifest, config, vec![layer]).unwrap();
    for repository in ["build", "run"] {
        registry.put_blob(repository, &b"layer"[..]);
        registry.put_blob(repository, image.config_bytes().clone());
        let kind = MediaType::IMAGE_MANIFEST;
        let manifest = image.manifest_bytes().clone();
        registry.put_manifest(repository, Some("latest"), kind.as_str(), manifest);
    }
    (registry, image)
}

/// Name, mode, owner, group, and where a link points, of what a layer has.
fn entries(blobs: &Path, digest: &Digest) -> Vec<String> {
    entries_of(fs::File::open(blobs.join("sha256").join(digest.hex())).unwrap())
}

fn entries_of(layer: impl Read) -> Vec<String> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(layer));
    let entries = archive.entries().unwrap();
    let shown = entries.map(|entry| {
        let entry = entry.unwrap();
        let header = entry.header();
        let link = entry.link_name().unwrap().unwrap_or_default();
        format!(
            "{} {:o} {}:{} {}",
            entry.path().unwrap().display(),
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            link.display()
        )
    });
    shown.map(|it| it.trim_end().to_owned()).collect()
}

#[tokio::test]
async fn a_run_image_is_extended_exported_and_extended_again_from_the_cache() {
    for api in ["0.12", "0.13", "0.15"] {
        let Some(root) = Root::new() else { return };
        root.extension(api, DOCKERFILE);
        let (registry, base) = registry("1000:1000");
        root.restore(api, &registry);
        let flags = "-kind run -log-level debug -uid 1000 -gid 1000";
        let extender = format!("/cnb/lifecycle/extender {flags}");
        let (code, text) = root.run(api, &extender);
        assert_eq!(code, Some(0), "{text}");
        for line in [
            "No cached layer found for cmd RUN id -u && mkdir",
            "\n0\n",
            "\n1000\nx=y /home/cnb /bin:/usr/bin\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let run = root.path("layers/extended/run");
        let found = hand_over::read_extended(&run, &Limits::default());
        let (image, folder) = found.unwrap().unwrap();
        let layers: Vec<&Descriptor> = image.layers().map(|(it, _)| it).skip(1).collect();
        let blobs = folder.join("blobs");
        assert_eq!(
            entries(&blobs, &layers[0].digest),
            [
                "home/ 755 0:0",
                "home/.wh.cnb 0 0:0",
                "d/ 755 0:0",
                "d/a 644 0:0",
                "d/b 644 0:0 d/a",
                "d/e/ 755 7:8",
            ]
        );
        let copied = ["copied/ 755 1000:1000", "copied/file 644 1000:1000"];
        assert_eq!(entries(&blobs, &layers[1].digest), copied);
        assert_eq!(layers.len(), 2);
        let config = image.config();
        assert_eq!(config.config.user, "1000");
        assert_eq!(image.label("io.buildpacks.rebasable"), Some("false"));
        assert_eq!(
            config.history[2].created_by,
            "Layer: 'COPY --chown=cnb file /copied/', Created by extension: a/one"
        );
        let kept: Vec<_> = fs::read_dir(root.path("kaniko")).unwrap().collect();
        assert_eq!(kept.len(), 1, "{kept:?}");

        // The exporter puts the layers upon the run image.
        root.write("layers/config/metadata.toml", "");
        copy_binary("launcher", root.path("cnb/lifecycle/launcher"));
        let host = registry.host();
        let exporter = format!("/cnb/lifecycle/exporter -uid 1000 -gid 1000 {host}/app");
        let (code, text) = root.run(api, &exporter);
        assert_eq!(code, Some(0), "{text}");
        // Upstream says nothing of them.
        assert!(!text.contains("extended-layer"), "{text}");
        let client = RegistryClient::new(RegistryOptions::default());
        let store = client.repository(&format!("{host}/app").parse().unwrap());
        let latest = Selector::Tag("latest".parse().unwrap());
        let target = store.resolve(&latest).await.unwrap();
        let (here, limits) = (oci::Platform::host(), Limits::default());
        let app = Image::read(&store, &target, &here, &limits).await.unwrap();
        assert_eq!(app.label("io.buildpacks.rebasable"), Some("false"));
        assert_eq!(app.config().config.env("V"), Some("x=y"));
        let below: Vec<_> = app.layers().map(|(_, diff_id)| diff_id.clone()).collect();
        assert_eq!(below[..1], base.config().rootfs.diff_ids[..]);
        let told = |image: &Image, index: usize| image.config().history[index].created_by.clone();
        assert_eq!(
            [told(&app, 1), told(&app, 2)],
            [told(&image, 1), told(&image, 2)]
        );
        let layer = app.layers().nth(2).unwrap().0;
        let bytes = oci::store::read(&store, layer, 1 << 20).await.unwrap();
        assert_eq!(entries_of(&bytes[..]), copied);

        // In a new container with the same cache nothing is run but what has another `build_id`.
        let Some(again) = Root::new() else { return };
        again.extension(api, DOCKERFILE);
        fs::rename(root.path("kaniko/cache"), again.path("kaniko/cache")).unwrap();
        again.restore(api, &registry);
        let (code, text) = again.run(api, &extender);
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.contains("Using cached layer for cmd RUN id -u && mkdir"),
            "{text}"
        );
        assert!(
            text.contains("\nonly ") && !text.contains("\n0\n"),
            "{text}"
        );
        let run = again.path("layers/extended/run");
        let found = hand_over::read_extended(&run, &Limits::default());
        let (same, _folder) = found.unwrap().unwrap();
        assert_eq!(same.descriptor(), image.descriptor());
        let link = fs::metadata(again.path("d/b")).unwrap().nlink();
        assert_eq!(link, 2, "the layers were unpacked for what ran");
    }
}

/// What a run image was extended by: the entries of each layer that has some; and the config. Upstream
/// has targets of hard links begin with a slash, and its own cache in layers.
fn extended(root: &Root) -> (Vec<Vec<String>>, String) {
    let run = root.path("layers/extended/run");
    let found = hand_over::read_extended(&run, &Limits::default());
    let (image, folder) = found.unwrap().unwrap();
    let config = image.config();
    let mut layers = Vec::new();
    for (layer, _) in image.layers().skip(1) {
        let mut entries = entries(&folder.join("blobs"), &layer.digest);
        entries.retain(|it| !it.starts_with("kaniko/"));
        let mut entries: Vec<_> = entries.iter().map(|it| it.replace(" /d/", " d/")).collect();
        entries.sort();
        if !entries.is_empty() {
            layers.push(entries);
        }
    }
    let config = &config.config;
    let said = format!("{:?} {:?} {}", config.env, config.labels, config.user);
    (layers, said)
}

/// The same Dockerfile in the same root by upstream's extender, which is kaniko.
#[test]
fn a_run_image_is_extended_as_upstream_does() {
    const DOCKERFILE: &str = "ARG base_image\nFROM ${base_image}\nUSER root\n\
        RUN mkdir -p /d/e /d/f && echo a > /d/a && ln /d/a /d/b && chown 7:8 /d/e && rm -r /home/cnb\n\
        RUN rm /d/a && chmod 4755 /d/b && ln -s nowhere /d/link && mkdir -m 700 /d/own\n\
        COPY --chown=1000 file /copied/\nENV V=x\nLABEL by=test\nWORKDIR /etc\n\
        RUN rm -rf /d/e && echo file > /d/e && rm -r /d/f && mkdir /d/f && echo in > /d/f/in && pwd > at\n\
        ARG user_id\nUSER ${user_id}\n";
    let Some(upstream) = peer("upstream-lifecycle") else {
        return;
    };
    let (registry, _base) = registry("1000:1000");
    let both = [None, Some(&upstream)].map(|theirs| {
        let root = Root::new()?;
        root.extension("0.13", DOCKERFILE);
        root.restore("0.13", &registry);
        // By that kaniko knows a container.
        root.write(".dockerenv", "");
        if let Some(program) = theirs {
            let at = root.path("cnb/lifecycle/lifecycle");
            fs::remove_file(&at).unwrap();
            fs::copy(program, at).unwrap();
        }
        let flags = "-kind run -log-level debug -uid 1000 -gid 1000";
        let (code, text) = root.run("0.13", &format!("/cnb/lifecycle/extender {flags}"));
        assert_eq!(code, Some(0), "{text}");
        Some(extended(&root))
    });
    let [Some((ours, our_config)), Some((theirs, their_config))] = both else {
        return;
    };
    assert_eq!(ours, theirs, "ours and upstream's");
    assert_eq!(ours.len(), 4);
    assert_eq!(our_config, their_config);
}

#[test]
fn buildpacks_run_in_the_extended_build_image_and_not_as_root() {
    for api in ["0.10", "0.13"] {
        let Some(root) = Root::new() else { return };
        root.extension(api, DOCKERFILE);
        let (registry, _base) = registry("1000:1000");
        root.restore(api, &registry);
        let extender = "/cnb/lifecycle/extender -log-level debug -uid 1000 -gid 1000";
        for _twice in 0..2 {
            let (code, text) = root.run(api, extender);
            assert_eq!(code, Some(0), "{text}");
            let from = if api == "0.10" { "app" } else { "context" };
            let line = format!("built as 1000 at /home/cnb with a from {from}");
            assert!(text.contains(&line), "{text}");
        }
        let (code, text) = root.run(api, "/cnb/lifecycle/extender -uid 0 -gid 0");
        assert_eq!(code, Some(1), "{text}");
        assert!(
            text.contains("failed to build: refusing to run as root"),
            "{text}"
        );
    }
}

/// `examples/extension`, from its detection to the image.
#[tokio::test]
async fn the_example_trusts_the_certificates_of_an_app() {
    let Some(root) = Root::new() else { return };
    let example = repository().join("examples/extension");
    let extension = root.path("cnb/extensions/examples_certificates/0.1.0");
    fs::create_dir_all(extension.join("bin")).unwrap();
    for file in ["extension.toml", "bin/detect", "bin/generate"] {
        fs::copy(example.join(file), extension.join(file)).unwrap();
    }
    let order = "[[order]]\n[[order.group]]\nid = \"bp\"\nversion = \"1\"\n\
        [[order-extensions]]\n[[order-extensions.group]]\nid = \"examples/certificates\"\nversion = \"0.1.0\"\n";
    root.write("cnb/order.toml", order);
    root.write("cnb/buildpacks/bp/1/bin/detect", "#!/bin/sh\n");
    root.write(
        "cnb/buildpacks/bp/1/bin/build",
        "#!/bin/sh\ncat /etc/ssl/certs/ca-certificates.crt\n",
    );
    let detect = root.path("cnb/buildpacks/bp/1/bin/detect");
    fs::set_permissions(detect, fs::Permissions::from_mode(0o755)).unwrap();
    root.write("workspace/certificates/own.pem", "a certificate\n");
    let (registry, _base) = registry("1000:1000");
    let host = registry.host();
    let analyzed = format!(
        "[run-image]\nreference = \"{host}/run\"\nimage = \"{host}/run\"\n[run-image.target]\nos = \"linux\"\narch = \"amd64\"\n"
    );
    root.write("layers/analyzed.toml", &analyzed);
    for path in ["layers/group.toml", "layers/plan.toml"] {
        fs::remove_file(root.path(path)).unwrap();
    }
    for path in ["layers", "layers/analyzed.toml"] {
        std::os::unix::fs::chown(root.path(path), Some(1000), Some(1000)).unwrap();
    }
    let api = "0.13";
    for (command, expected) in [
        ("/cnb/lifecycle/detector", "examples/certificates 0.1.0"),
        (
            &format!("/cnb/lifecycle/restorer -uid 1000 -gid 1000 -build-image {host}/build"),
            "",
        ),
        (
            "/cnb/lifecycle/extender -kind run -uid 1000 -gid 1000",
            "cached layer",
        ),
        (
            "/cnb/lifecycle/extender -uid 1000 -gid 1000",
            "a certificate",
        ),
    ] {
        // The detector refuses to be root.
        let is_detector = command.ends_with("detector");
        let user = if is_detector { "1000:1000" } else { "0:0" };
        let (code, text) = root.run_as(user, api, command);
        assert_eq!(code, Some(0), "{command}: {text}");
        assert!(text.contains(expected), "{command}: {text}");
    }
    let run = root.path("layers/extended/run");
    let found = hand_over::read_extended(&run, &Limits::default());
    let (image, _folder) = found.unwrap().unwrap();
    assert_eq!(image.label("io.buildpacks.rebasable"), Some("true"));
    assert_eq!(image.config().config.user, "1000:1000");
    let set = image.config().config.env("SSL_CERT_FILE");
    assert_eq!(set, Some("/etc/ssl/certs/ca-certificates.crt"));
}

#[test]
fn what_cannot_be_extended_is_told_with_upstreams_code() {
    let Some(root) = Root::new() else { return };
    root.extension("0.13", "FROM x\nUSER root\nRUN exit 3\n");
    let run = "/cnb/lifecycle/extender -kind run";
    let (code, text) = root.run("0.13", run);
    assert_eq!(code, Some(102), "{text}");
    assert!(
        text.contains("failed to get digest for reference ''"),
        "{text}"
    );
    let (registry, _base) = registry("1000");
    root.restore("0.13", &registry);
    let (code, text) = root.run("0.13", run);
    assert_eq!(code, Some(102), "{text}");
    let line = "ERROR: failed to extend run image: /layers/generated/a_one/run.Dockerfile line 3, `RUN exit 3`: the command ended with exit status 3";
    assert!(text.contains(line), "{text}");
    root.extension("0.13", "FROM x\nUSER root\n");
    let (code, text) = root.run("0.13", run);
    assert_eq!(code, Some(102), "{text}");
    assert!(
        text.contains("the final user ID is 0 (root); please add another extension"),
        "{text}"
    );
    assert!(!root.path("layers/extended").exists());
    // Unless these tests run in a container themselves.
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let engines = [
        "docker",
        "kubepods",
        "containerd",
        "libpod",
        "lxc",
        "buildkit",
    ];
    if !engines.iter().any(|it| groups.contains(it)) {
        let (code, text) = root.run("0.13", "/bin/env -u container /cnb/lifecycle/extender");
        assert_eq!(code, Some(102), "{text}");
        assert!(text.contains("which has to be a container's"), "{text}");
    }
    let (code, text) = root.run("0.13", "/cnb/lifecycle/extender -kind other");
    assert_eq!(code, Some(3), "{text}");
}
