//! The phases with `-daemon`: they look for images in a daemon, and have it make the new one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use oci::store::DockerDaemon;
use oci::{DiffId, Digest, Image, Limits, MemoryStore, Platform, Selector, Store as _};
use serde_json::Value;
use testkit::daemon::{DaemonSwitches, TestDaemon};
use testkit::{Dockerd, Output, binary};

use super::images::Images;
use super::{daemon_at, layer, load_as, push_image, quick};

/// An app, and what a buildpack left of it.
struct App {
    folder: tempfile::TempDir,
    host: String,
}

impl App {
    fn new(host: &str) -> Self {
        let app = Self {
            folder: tempfile::tempdir().unwrap(),
            host: host.to_owned(),
        };
        app.write("app/code", "print");
        app.write("launcher", "#!");
        app.write("launch-cache/.keep", "");
        app.write(
            "layers/group.toml",
            "[[group]]\nid = \"some/bp\"\nversion = \"1\"\napi = \"0.12\"\n",
        );
        app.write(
            "layers/config/metadata.toml",
            "[[buildpacks]]\nid = \"some/bp\"\nversion = \"1\"\napi = \"0.12\"\n\
             [[processes]]\ntype = \"web\"\ncommand = [\"run\"]\nargs = []\ndirect = true\n",
        );
        app.write("layers/sbom/launch/some_bp/sbom.cdx.json", "{}");
        for layer in ["low", "top"] {
            let toml = format!("layers/some_bp/{layer}.toml");
            app.write(&toml, "[types]\nlaunch = true\n");
            app.write(&format!("layers/some_bp/{layer}/file"), layer);
        }
        app
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }

    fn run(&self, phase: &str, arguments: &[&str]) -> Output {
        Output::of(&mut self.command(phase, arguments))
    }

    fn command(&self, phase: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("lifecycle"));
        command
            .args([phase, "-daemon", "-log-level", "debug"])
            .args(arguments)
            .current_dir(&self.folder)
            .env("CNB_PLATFORM_API", "0.14")
            .env("CNB_NO_COLOR", "true")
            .env("CNB_USER_ID", nix::unistd::geteuid().to_string())
            .env("CNB_GROUP_ID", nix::unistd::getegid().to_string())
            .env("DOCKER_HOST", &self.host);
        command
    }

    /// Analyzes and exports to `app:v1` and `other:v2`; returns what was said, and the image ID that is
    /// reported.
    fn build(&self, run_image: &str, cache: &[&str]) -> (String, Digest) {
        let common = ["-layers", "layers"];
        let images = ["-run-image", run_image, "app:v1"];
        let analyze = [&common[..], cache, &images].concat();
        let analyzed = self.run("analyze", &analyze).expect(0);
        let files = ["-app", "app", "-launcher", "launcher"];
        let images = ["app:v1", "other:v2"];
        let export = [&common[..], &files, cache, &images].concat();
        let exported = self.run("export", &export).expect(0);
        let report = fs_err::read_to_string(self.path("layers/report.toml")).unwrap();
        let id = value(&report, "image-id");
        assert!(
            report.contains("tags = [\"app:v1\", \"other:v2\"]"),
            "{report}"
        );
        assert!(!report.contains("digest"), "{report}");
        let id = format!("sha256:{id}").parse().unwrap();
        (analyzed.stdout + &exported.stdout, id)
    }
}

/// The value of `key` in a TOML file.
fn value<'a>(toml: &'a str, key: &str) -> &'a str {
    let line = toml.lines().find(|it| it.trim_start().starts_with(key));
    line.unwrap().split('"').nth(1).unwrap()
}

const CACHE: [&str; 2] = ["-launch-cache", "launch-cache"];

/// Whether a whole image was asked for.
fn asked_for_an_image(daemon: &TestDaemon) -> bool {
    let requests = daemon.take_requests();
    requests.iter().any(|it| it.ends_with("/get"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_is_sent_what_it_lacks() {
    let daemon = TestDaemon::start(DaemonSwitches::default());
    let client = daemon_at(&daemon.host(), quick());
    let store = MemoryStore::new();
    let mut bases = Vec::new();
    for (name, base) in [("run", "base"), ("newer", "newer base")] {
        let image = push_image(&store, &[base], &[base]).await;
        load_as(&client, &store, &image, name).await.unwrap();
        bases.push(layer(base).digest);
    }
    let app = App::new(&daemon.host());
    daemon.take_requests();

    let (said, first) = app.build("run:v1", &CACHE);
    let id = daemon.image("run:v1").unwrap();
    let short: String = first.hex().chars().take(12).collect();
    for line in [
        "Image with name \"app:v1\" not found",
        &format!("Found image with identifier \"{}\"", id.hex()),
        "Adding layer 'some/bp:low'",
        "Saving app:v1...",
        &format!("*** Images ({short}):"),
        &format!("*** Image ID: {}", first.hex()),
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    for name in ["app:v1", "other:v2"] {
        assert_eq!(daemon.image(name), Some(first.clone()));
    }
    let kept = || {
        fs_err::read_dir(app.path("launch-cache/committed"))
            .unwrap()
            .count()
    };
    let sent = |of: usize| daemon.loads()[of].len();
    // Two layers of the buildpack, their SBOM, the app, the launcher, its config and the links; not the
    // run image.
    assert_eq!((kept(), sent(2)), (7, 7 + 2), "{:?}", daemon.loads());
    assert!(!asked_for_an_image(&daemon));

    // The same again is the same image, of which nothing but the documents is sent.
    let (said, second) = app.build("run:v1", &CACHE);
    assert!(said.contains("Reusing layer 'some/bp:low'"), "{said}");
    assert!(said.contains("Reusing layers from image with id"), "{said}");
    assert_eq!((second, sent(3), kept()), (first, 2, 7));
    assert!(!asked_for_an_image(&daemon));

    // The SBOM came from the cache, too, and does not come where it is not wanted (RFC 0126).
    let restored = "Restoring data for SBOM from previous image";
    assert!(said.contains(restored), "{said}");
    let analyze = ["-layers", "layers", "-run-image", "run:v1", "app:v1"];
    let mut analyze = app.command("analyze", &analyze);
    let said = Output::of(analyze.env("CNB_SKIP_SBOM", "true"))
        .expect(0)
        .stdout;
    assert!(!said.contains(restored), "{said}");
    assert!(!asked_for_an_image(&daemon));

    // What lies above a changed layer is sent again: from the cache, and without it from the daemon,
    // which gives it with all of its image.
    app.write("layers/some_bp/low/file", "changed");
    app.build("run:v1", &CACHE);
    assert_eq!((sent(4), kept()), (7 + 2, 7));
    assert!(!asked_for_an_image(&daemon));
    app.write("layers/some_bp/low/file", "once more");
    let (_, before) = app.build("run:v1", &[]);
    assert_eq!(sent(5), 7 + 2);
    assert!(asked_for_an_image(&daemon));

    // A rebase, too; `-force` because the image names no run image.
    let rebase = [
        "-force",
        "-run-image",
        "newer:v1",
        "-report",
        "report.toml",
        "app:v1",
    ];
    let rebased = app.run("rebase", &rebase).expect(0);
    assert!(rebased.stdout.contains("*** Image ID:"), "{rebased:?}");
    let report = fs_err::read_to_string(app.path("report.toml")).unwrap();
    let after = daemon.image("app:v1").unwrap();
    assert_eq!(value(&report, "image-id"), after.hex());
    assert_ne!(after, before);
    let (old, new) = (
        diff_ids(&client, &before).await,
        diff_ids(&client, &after).await,
    );
    assert_eq!((&old[0].0, &new[0].0), (&bases[0], &bases[1]));
    assert_eq!(old[1..], new[1..]);
}

/// The layers of the image that a daemon has by this ID.
async fn diff_ids(daemon: &DockerDaemon, id: &Digest) -> Vec<DiffId> {
    let place = daemon.image(id.as_str()).await.unwrap().unwrap();
    let found = place.resolve(&Selector::Digest(id.clone())).await.unwrap();
    let (platform, limits) = (Platform::host(), Limits::default());
    let image = Image::read(&place, &found, &platform, &limits).await;
    image.unwrap().config().rootfs.diff_ids.clone()
}

#[test]
fn that_there_is_no_daemon_is_said_in_upstreams_words() {
    let mut app = App::new("");
    app.write(
        "layers/analyzed.toml",
        "[run-image]\nreference = \"0123456789012345678901234567890123456789012345678901234567890123\"\n",
    );
    let file = app.path("missing.sock").display().to_string();
    let texts: BTreeMap<String, String> = [
        (
            format!("unix://{file}"),
            format!(
                "failed to connect to the docker API at unix://{file}; check if the path is correct and if \
                 the daemon is running: dial unix {file}: connect: no such file or directory"
            ),
        ),
        (
            "tcp://127.0.0.1:1".to_owned(),
            "Cannot connect to the Docker daemon at tcp://127.0.0.1:1. Is the docker daemon running?"
                .to_owned(),
        ),
    ]
    .into();
    for (host, text) in texts {
        app.host.clone_from(&host);
        let layers = ["-layers", "layers"];
        for (phase, arguments, code, action) in [
            (
                "analyze",
                &["-run-image", "run:v1"][..],
                32,
                "initialize analyzer: getting previous image",
            ),
            ("export", &["-app", "app"], 1, " image"),
            (
                "create",
                &["-app", "app", "-run-image", "run:v1"],
                32,
                "initialize analyzer: getting previous image",
            ),
        ] {
            let arguments = [&layers[..], arguments, &["app:v1"]].concat();
            let output = app.run(phase, &arguments).expect(code);
            let line = format!("ERROR: failed to {action}: {text}\n");
            assert!(output.stdout.ends_with(&line), "{line}: {output:?}");
        }
        let output = app
            .run("rebase", &["-run-image", "run:v1", "app:v1"])
            .expect(72);
        let line =
            format!("ERROR: failed to set app image: failed to access image to rebase: {text}\n");
        assert!(output.stdout.ends_with(&line), "{line}: {output:?}");
        // It is not needed for what is in a cache.
        app.run("restore", &layers).expect(0);
    }
    "foo bar".clone_into(&mut app.host);
    let output = app.run("rebase", &["app:v1"]).expect(1);
    let line = "ERROR: failed to initialize docker client: unable to parse docker host `foo bar`\n";
    assert!(output.stdout.ends_with(line), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_has_what_the_phases_make() {
    let Some(images) = Images::make().await else {
        return;
    };
    let folder = images.workspace.join("docker");
    fs_err::create_dir(&folder).unwrap();
    let Some(docker) = Dockerd::start(&folder, &[]) else {
        return;
    };
    let host = docker.host();
    images.copy(&host, "oci:src:base", "docker-daemon:run:v1");
    let app = App::new(&host);
    let inspect = |image: &str| {
        let shown = images.sealpack(&host, &["inspect", image, "--output", "json"]);
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        shown["imageId"].as_str().unwrap().to_owned()
    };
    let (said, first) = app.build("run:v1", &CACHE);
    assert!(said.contains("Adding layer 'some/bp:low'"), "{said}");
    let (said, second) = app.build("run:v1", &CACHE);
    assert!(said.contains("Reusing layer 'some/bp:low'"), "{said}");
    assert_eq!(first, second);
    for cache in [&CACHE[..], &[]] {
        app.write("layers/some_bp/low/file", &format!("changed {cache:?}"));
        let (_, id) = app.build("run:v1", cache);
        assert_ne!(id, first);
        for name in ["docker-daemon:app:v1", "docker-daemon:other:v2"] {
            assert_eq!(inspect(name), id.as_str());
        }
    }
    // Layers that were used again are whole.
    let file = app.path("layers/some_bp/top/file").display().to_string();
    let run = ["run", "--rm", "--network=host", "--entrypoint=/bin/busybox"];
    let run = [&run[..], &["app:v1", "cat", &file]].concat();
    if let Some(output) = docker.docker(&run) {
        assert_eq!(
            (output.code, output.stdout.as_str()),
            (0, "top"),
            "{output:?}"
        );
    }
}
