//! Builder images as pack makes them, but small: a busybox and buildpacks of shell scripts.

use std::path::{Path, PathBuf};

use oci::Descriptor;
use serde_json::json;

use crate::{LayerFiles, binary, peer, write_image_with};

/// The user and group that buildpacks run as.
const USER: (u64, u64) = (1001, 1000);
/// What the programs of busybox are called that scripts need.
const PROGRAMS: [&str; 19] = [
    "cat", "chmod", "cp", "echo", "env", "find", "grep", "id", "ls", "mkdir", "mv", "printf",
    "pwd", "rm", "sh", "sleep", "sort", "touch", "uname",
];

/// A builder image in the making, with the one buildpack `test/inside`.
#[derive(Clone, Debug)]
pub struct BuilderImage {
    detect: String,
    build: String,
    more: Vec<LayerFiles>,
    arm64: Option<PathBuf>,
    run_images: Vec<String>,
}

impl Default for BuilderImage {
    fn default() -> Self {
        Self::new()
    }
}

impl BuilderImage {
    /// One whose buildpack fits all apps, and does nothing.
    pub fn new() -> Self {
        Self {
            detect: String::new(),
            build: String::new(),
            more: Vec::new(),
            arm64: None,
            run_images: Vec::new(),
        }
    }

    /// What `bin/detect` does, in busybox's shell.
    #[must_use]
    pub fn detect(mut self, script: impl Into<String>) -> Self {
        self.detect = script.into();
        self
    }

    /// What `bin/build` does, in busybox's shell.
    #[must_use]
    pub fn build(mut self, script: impl Into<String>) -> Self {
        self.build = script.into();
        self
    }

    /// One more layer, above all others.
    #[must_use]
    pub fn layer(mut self, layer: LayerFiles) -> Self {
        self.more.push(layer);
        self
    }

    /// With programs for arm64: this busybox, and a launcher that nobody starts. The configuration still says
    /// that it is for amd64.
    #[must_use]
    pub fn of_arm64(mut self, busybox: impl Into<PathBuf>) -> Self {
        self.arm64 = Some(busybox.into());
        self
    }

    /// One more run image that it offers, besides `static`.
    #[must_use]
    pub fn run_image(mut self, name: impl Into<String>) -> Self {
        self.run_images.push(name.into());
        self
    }

    /// The layers, lowest first; none, loudly, if there is no busybox.
    ///
    /// # Panics
    /// If busybox cannot be read.
    pub fn layers(&self) -> Option<Vec<LayerFiles>> {
        let busybox = match &self.arm64 {
            Some(busybox) => busybox.clone(),
            None => peer("busybox")?,
        };
        let busybox = fs_err::read(busybox).expect("busybox is readable");
        let mut base = LayerFiles::new()
            .folder("bin")
            .program("bin/busybox", busybox)
            .folder("etc")
            .file(
                "etc/passwd",
                "root:x:0:0::/root:/bin/sh\ncnb:x:1001:1000::/home/cnb:/bin/sh\n",
            )
            .folder("home")
            .folder("home/cnb")
            .owned(USER.0, USER.1)
            .folder("root")
            .mode(0o700)
            .file("root/secret", "of root")
            .mode(0o600)
            .folder("tmp")
            .mode(0o1777)
            .folder("usr");
        for name in PROGRAMS {
            base = base.symlink(&format!("bin/{name}"), "busybox");
        }
        let folders = LayerFiles::new()
            .folder("workspace")
            .owned(USER.0, USER.1)
            .folder("layers")
            .owned(USER.0, USER.1)
            .folder("cnb")
            .folder("cnb/buildpacks")
            .folder("platform")
            .folder("platform/env");
        let mut launcher = fs_err::read(binary("launcher")).expect("the launcher is built");
        if let (Some(_), Some(machine)) = (&self.arm64, launcher.get_mut(18)) {
            *machine = 183;
        }
        let lifecycle = LayerFiles::new()
            .folder("cnb")
            .folder("cnb/lifecycle")
            .program("cnb/lifecycle/launcher", launcher);
        let script = |text: &str| format!("#!/bin/sh\nset -eu\n{text}\n");
        let at = "cnb/buildpacks/test_inside/1.0.0";
        let buildpack = LayerFiles::new()
            .folder("cnb/buildpacks/test_inside")
            .folder(at)
            .file(
                &format!("{at}/buildpack.toml"),
                "api = \"0.12\"\n\n[buildpack]\nid = \"test/inside\"\nversion = \"1.0.0\"\n\n[[targets]]\nos = \"linux\"\n",
            )
            .folder(&format!("{at}/bin"))
            .program(&format!("{at}/bin/detect"), script(&self.detect))
            .program(&format!("{at}/bin/build"), script(&self.build));
        let files = LayerFiles::new()
            .file(
                "cnb/order.toml",
                "[[order]]\n[[order.group]]\nid = \"test/inside\"\nversion = \"1.0.0\"\n",
            )
            .file("cnb/run.toml", "[[images]]\nimage = \"static\"\n")
            .folder("cnb/build-config")
            .folder("cnb/build-config/env")
            .file("cnb/build-config/env/GREETING", "hello");
        let own = [base, folders, lifecycle, buildpack, files];
        Some(own.into_iter().chain(self.more.iter().cloned()).collect())
    }

    /// Writes it to a new layout at `folder`, and calls it `latest`; nothing, loudly, if there is no
    /// busybox.
    ///
    /// # Panics
    /// If the disk is full.
    pub async fn write(&self, folder: &Path) -> Option<Descriptor> {
        let layers = self.layers()?;
        let offered = ["static".to_owned()];
        let offered = offered.iter().chain(&self.run_images);
        let offered: Vec<_> = offered
            .map(|it| json!({ "image": it, "mirrors": [] }))
            .collect();
        let image = write_image_with(folder, &layers, |diff_ids| {
            let apis = json!({
                "buildpack": { "deprecated": [], "supported": ["0.10", "0.12"] },
                "platform": { "deprecated": [], "supported": ["0.12", "0.14"] },
            });
            let metadata = json!({
                "description": "a test",
                "buildpacks": [{ "id": "test/inside", "version": "1.0.0" }],
                "stack": { "runImage": { "image": "static", "mirrors": null } },
                "images": offered,
                "lifecycle": {
                    "version": "0.20.9",
                    "api": { "buildpack": "0.10", "platform": "0.12" },
                    "apis": apis,
                },
                "createdBy": { "name": "Pack CLI", "version": "0.38.2" },
            });
            let order = json!([{ "group": [{ "id": "test/inside", "version": "1.0.0" }] }]);
            let layers = json!({ "test/inside": { "1.0.0": {
                "api": "0.12", "layerDiffID": diff_ids.get(3), "targets": [{ "os": "linux" }],
            } } });
            json!({
                "Env": ["CNB_USER_ID=1001", "CNB_GROUP_ID=1000", "FROM_THE_IMAGE=yes"],
                "User": "1001:1000",
                "WorkingDir": "/layers",
                "Labels": {
                    "io.buildpacks.builder.metadata": metadata.to_string(),
                    "io.buildpacks.buildpack.order": order.to_string(),
                    "io.buildpacks.buildpack.layers": layers.to_string(),
                },
            })
        });
        Some(image.await)
    }
}
