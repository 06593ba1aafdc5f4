//! What extensions make of a build: another run image, a run image with more in it, a build image with
//! more in it.
//!
//! Images are extended by the `extender` of the lifecycle, in the sandbox: as root of the image's user
//! namespace, who may change all of its files and become all of its users, and may do nothing to the
//! machine. What it leaves of the run image comes out as a layout, without the layers below.
//!
//! | image | its root | afterwards |
//! |---|---|---|
//! | run | its layers, unpacked as those of builders are | gone; the exporter takes the new layers |
//! | build | that of the builder | the buildpacks build in it, at once; then gone |

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use fs_err as fs;
use lifecycle_core::exec::Exit;
use lifecycle_core::extend::hand_over;
use lifecycle_core::files;
use lifecycle_core::files::analyzed::{Analyzed, ImageIdentifier};
use lifecycle_core::files::group::Group;
use lifecycle_core::provenance::Named as Ingredient;
use lifecycle_core::{Level, restore};
use oci::{Limits, spans};
use tracing::info_span;

use super::ground::{self, PROGRAMS};
use super::kept::KeptLayers;
use super::phases::Phases;
use super::programs::Ended;
use super::staging::{Named, StagedImages};
use super::{PhaseFailure, Request, RunError, RunImage, inputs};
use crate::builder::BuilderImage;
use crate::rootfs::MappedFolder;
use crate::sandbox::{
    BUILD_USER, Config, ImageRoot, Mount, Root, RootFiles, SIDES, Sandbox, SandboxError, User,
    UserMap,
};

/// With what the extender ends if it could not extend.
pub(super) const NOT_EXTENDED: i32 = 102;
/// Where the extender has what it is to extend, and leaves what it made.
const KANIKO: &str = "/kaniko";
/// Where below that it keeps layers.
const NEW_LAYERS: &str = "cache/layers/sealpack";
/// Where spans are, below the layers.
const TRACES: &str = "tracing";

/// Finds run images by the names that extensions give them.
#[async_trait]
pub trait FindRunImage: fmt::Debug + Send + Sync {
    /// Finds it, and says whether it may be used.
    async fn find(&self, name: &str) -> Result<RunImage, ChooseError>;
}

/// Why a run image cannot be used.
pub type ChooseError = Box<dyn Error + Send + Sync>;

/// What it was decided that the app runs on, and what is to be extended.
#[derive(Debug)]
pub(super) struct RunImageChoice {
    pub(super) run_image: Named,
    pub(super) images: StagedImages,
    pub(super) analyzed: Analyzed,
    pub(super) extends_build_image: bool,
}

/// What the extender is to do.
struct Job<'a> {
    /// `build` or `run`.
    kind: &'static str,
    /// What it sees of ours.
    mounts: Vec<Mount>,
    /// Where it works.
    work: &'a MappedFolder,
    /// What its commands made before.
    kept: Option<&'a KeptLayers>,
    /// Who builds afterwards.
    user: Option<User>,
}

impl RunImageChoice {
    /// No extension has a say.
    pub(super) fn none(run_image: Named, images: StagedImages, analyzed: Analyzed) -> Self {
        Self {
            run_image,
            images,
            analyzed,
            extends_build_image: false,
        }
    }

    fn extends_run_image(&self) -> bool {
        self.analyzed.run_image.as_ref().is_some_and(|it| it.extend)
    }
}

impl Phases<'_> {
    /// Reads what the extensions decided, if there are any, and finds the run image that they want.
    pub(super) async fn choose(
        &self,
        group: &Group,
        before: RunImageChoice,
        previous: Option<Named>,
    ) -> Result<RunImageChoice, RunError> {
        if group.group_extensions.is_empty() {
            return Ok(before);
        }
        let path = self.staging.layers().join("analyzed.toml");
        let mut analyzed: Analyzed = self.staging.read("analyzed.toml")?;
        let wanted = analyzed.run_image.as_ref();
        let wanted = wanted.map_or(String::new(), |it| it.image.clone());
        let mut run_image = before.run_image;
        if !wanted.is_empty() && wanted != run_image.name {
            let found = self.request.run_images.find(&wanted).await;
            let found = found.map_err(|source| RunError::Chosen {
                name: wanted.clone(),
                source,
            })?;
            let request = Request {
                run_image: &found,
                ..*self.request
            };
            run_image = inputs::run_image(&request, self.staging, self.progress).await?;
            run_image.name = wanted;
            let text = format!("an extension chose {}", run_image.name);
            self.progress.done("run image", &text);
        }
        let images = self.staging.images(run_image.clone(), previous);
        let (api, limits) = (self.ground.api, Limits::default());
        if let Some(chosen) = analyzed.run_image.as_mut().filter(|it| it.target.is_none()) {
            let found = restore::inspect_run_image(&images, api, &run_image.name, &limits).await;
            let found = found.map_err(|error| RunError::Restore(Box::new(error)))?;
            if let Some((reference, target)) = found {
                chosen.reference = reference;
                chosen.target = target;
            }
        }
        let generated = self.staging.layers().join("generated");
        let is_new = api.has_stable_extensions();
        let extends_build_image = group.group_extensions.iter().any(|it| {
            let id = it.escaped_id();
            let path = if is_new {
                generated.join(id).join("build.Dockerfile")
            } else {
                generated.join("build").join(id).join("Dockerfile")
            };
            fs::symlink_metadata(path).is_ok()
        });
        files::write(&path, &analyzed)?;
        // Before anything is extended or built.
        if extends_build_image {
            self.extendable_builder()?;
            self.map("build").await?;
        }
        Ok(RunImageChoice {
            run_image,
            images,
            analyzed,
            extends_build_image,
        })
    }

    /// Extends the run image, if an extension wants it. The folder in which the extended one is.
    pub(super) async fn extend_run_image(
        &self,
        chosen: &mut RunImageChoice,
        extensions: &[Ingredient],
    ) -> Result<Option<ExtendedRunImage>, RunError> {
        if !chosen.extends_run_image() {
            return Ok(None);
        }
        self.progress.begin("extend", "unpacking the run image");
        let map = self.map("run").await?;
        let work = self.work("run", &map)?;
        let (name, limits) = (chosen.run_image.name.clone(), Limits::default());
        let bases = work.folder().join("cache/base");
        let base = restore::pull_base(&chosen.images, &name, &bases, &limits, self.progress).await;
        let (reference, image) = base.map_err(|error| RunError::Restore(Box::new(error)))?;
        if let Some(run_image) = chosen.analyzed.run_image.as_mut() {
            run_image.reference = reference;
        }
        let path = self.staging.layers().join("analyzed.toml");
        files::write(&path, &chosen.analyzed)?;
        self.ground.hand_over(self.staging, self.sandbox)?;
        let roots = ground::root_store(self.request)?;
        let layers = roots.unpack(&image, &chosen.run_image.store, &map).await?;
        let mut root = ImageRoot {
            files: RootFiles::Layers(layers.folders.clone()),
            map,
            user: User { uid: 0, gid: 0 },
            as_root: true,
            sides: false,
        };
        let mut mounts: Vec<Mount> = ["layers", "workspace"]
            .map(|name| Mount {
                source: self.staging.root().join(name),
                target: Path::new("/").join(name),
                // What it makes it leaves elsewhere.
                writable: false,
            })
            .into();
        mounts.push(Mount {
            source: self.staging.root().join("cnb/lifecycle"),
            target: PROGRAMS.into(),
            writable: false,
        });
        mounts.extend(ground::names(self.request, self.staging)?);
        let traces = self.traces(&work)?;
        mounts.extend(traces.clone());
        self.progress.begin("extend", &name);
        let digest = &image.descriptor().digest;
        let kept = KeptLayers::open(self.request, "run", digest, extensions)?;
        let job = Job {
            kind: "run",
            mounts,
            work: &work,
            kept: kept.as_ref(),
            user: None,
        };
        let stacked = self.extender(&job, root.clone());
        let mut copy = None;
        let ended = match stacked.await {
            Err(RunError::Sandbox(SandboxError::NoRoot { .. })) => {
                let folder = self.staging.root().join("run-root");
                let made = roots.copy(&image, &chosen.run_image.store, &root.map, &folder);
                let made = copy.insert(made.await?);
                root.files = RootFiles::Copy(made.folder().to_owned());
                self.extender(&job, root).await?
            }
            ended => ended?,
        };
        drop(copy);
        if let (Some(traces), Some(telemetry)) = (traces, self.request.telemetry) {
            telemetry.collect(&traces.source);
        }
        match ended.exit {
            Exit::Code(0) => {}
            Exit::Code(NOT_EXTENDED) => return Err(not_extended(&ended, "run")),
            exit => {
                let what = format!("extending the run image failed ({exit})");
                return Err(ended.failed(PhaseFailure::Lifecycle, what));
            }
        }
        self.progress.done("extend", &format!("{name}, to run on"));
        let extended = ExtendedRunImage(work);
        refuse_links(&extended.folder())?;
        Ok(Some(extended))
    }

    /// Where the spans of a run image's extender go, if they are wanted: it cannot write to `/layers`.
    fn traces(&self, work: &MappedFolder) -> std::io::Result<Option<Mount>> {
        // There since the first phase that told something.
        let is_there = self.staging.layers().join(TRACES).is_dir();
        if self.request.telemetry.is_none() || !is_there {
            return Ok(None);
        }
        work.folder_in(TRACES)?;
        Ok(Some(Mount {
            source: work.folder().join(TRACES),
            target: Path::new("/layers").join(TRACES),
            writable: true,
        }))
    }

    /// The image of the builder, and the root that it is extended in.
    fn extendable_builder(&self) -> Result<(&BuilderImage, &ImageRoot), RunError> {
        match (self.request.builder.image(), &self.ground.root) {
            (Some(image), Root::Image(root)) => Ok((image, root)),
            _ => Err(RunError::CannotExtend {
                image: "build",
                problem: "it is this machine",
                hint: "build in a builder image: `--builder IMAGE`",
            }),
        }
    }

    /// Extends the build image, and has the buildpacks build in it.
    pub(super) async fn build_extended(
        &self,
        names: &str,
        extensions: &[Ingredient],
    ) -> Result<Ended, RunError> {
        let (image, ground) = self.extendable_builder()?;
        let map = self.map("build").await?;
        let work = self.work("build", &map)?;
        self.progress
            .begin("extend", &format!("the builder, then {names}"));
        hand_over::leave_base(&work.folder().join("cache/base"), &image.image).await?;
        let path = self.staging.layers().join("analyzed.toml");
        let mut analyzed: Analyzed = self.staging.read("analyzed.toml")?;
        analyzed.build_image = Some(ImageIdentifier {
            reference: format!("builder@{}", image.image.descriptor().digest),
        });
        files::write(&path, &analyzed)?;
        self.ground.hand_over(self.staging, self.sandbox)?;
        let root = ImageRoot {
            as_root: true,
            ..ground.clone()
        };
        let digest = &image.image.descriptor().digest;
        let kept = KeptLayers::open(self.request, "build", digest, extensions)?;
        let job = Job {
            kind: "build",
            mounts: self.ground.mounts.clone(),
            work: &work,
            kept: kept.as_ref(),
            user: Some(ground.user),
        };
        self.extender(&job, root).await
    }

    /// Runs the extender in `root`, and keeps what its commands made.
    async fn extender(&self, job: &Job<'_>, root: ImageRoot) -> Result<Ended, RunError> {
        let span = info_span!("sandbox", program = "extender", kind = job.kind);
        let ended = spans::within(span, self.extend_in(job, root)).await?;
        let work = job.work.folder();
        if let Some(Err(problem)) = job.kept.map(|it| it.take(work, NEW_LAYERS)) {
            // It costs time in the next build, not this one.
            let text = format!("what commands of extensions made is not kept: {problem}");
            self.progress.line(Level::Warn, &text);
        }
        Ok(ended)
    }

    async fn extend_in(&self, job: &Job<'_>, root: ImageRoot) -> Result<Ended, RunError> {
        let mut mounts = job.mounts.clone();
        mounts.push(Mount {
            source: job.work.folder().to_owned(),
            target: KANIKO.into(),
            writable: true,
        });
        let mut env: BTreeMap<OsString, OsString> = self.env();
        let mut root = root;
        if let RootFiles::Layers(_) = root.files {
            let sides = SIDES.map(|it| it.to_string()).join(",");
            env.insert("SEALPACK_OVERLAY".into(), sides.into());
            root.sides = true;
        }
        // Who else builds the app may use what was kept, so that it could not be removed.
        if let Some(kept) = job.kept.filter(|_| !self.request.clear_cache) {
            let target = Path::new(KANIKO).join("cache/kept");
            env.insert("SEALPACK_KEPT_LAYERS".into(), target.clone().into());
            mounts.push(Mount {
                source: kept.folder().to_owned(),
                target,
                writable: false,
            });
        }
        let can_trace =
            |it: &Mount| it.writable && Path::new("/layers").join(TRACES).starts_with(&it.target);
        if !mounts.iter().any(can_trace) {
            env.remove(std::ffi::OsStr::new("CNB_TELEMETRY"));
        }
        let sandbox = Sandbox::new(Config {
            enter: self.request.programs.enter.clone(),
            root: Root::Image(root),
            mounts,
            needs_mounts: true,
            hidden: Vec::new(),
            interpreter: self.request.interpreter.cloned(),
            network: self.request.network,
            isolation: self.request.isolation,
            cancel: self.request.cancel.clone(),
        })?;
        let told = [
            ("container", "sealpack".to_owned()),
            ("CNB_EXPERIMENTAL_MODE", "quiet".to_owned()),
            // The same input is to give the same layers.
            ("SOURCE_DATE_EPOCH", self.request.created.to_string()),
        ];
        env.extend(told.map(|(name, value)| (name.into(), value.into())));
        let mut flags = vec![
            ("-app", "/workspace"),
            ("-buildpacks", "/cnb/buildpacks"),
            ("-layers", "/layers"),
            ("-platform", "/platform"),
        ];
        if self.ground.api.has_targets() {
            flags.extend([("-kind", job.kind), ("-extended", "/kaniko/extended")]);
        }
        let user = job.user.map(|it| (it.uid.to_string(), it.gid.to_string()));
        if let Some((uid, gid)) = &user {
            flags.extend([("-uid", uid.as_str()), ("-gid", gid.as_str())]);
        }
        let mut args = self.printing();
        for (flag, value) in flags {
            args.extend([OsString::from(flag), OsString::from(value)]);
        }
        let program = Path::new(PROGRAMS).join("extender");
        let ended = self.program_in(Arc::new(sandbox), &program, args, env, true);
        let ended = ended.await?;
        self.staging.refuse_links()?;
        Ok(ended)
    }

    /// Whose the files of the image are: extending wants a root who may change owners.
    async fn map(&self, image: &'static str) -> Result<UserMap, RunError> {
        let map = match &self.ground.root {
            Root::Image(root) => root.map.clone(),
            Root::Machine => {
                let user = User {
                    uid: BUILD_USER,
                    gid: BUILD_USER,
                };
                ground::choose(user, self.request, self.progress).await?
            }
        };
        let (problem, hint) = match map {
            UserMap::Shifted | UserMap::Subordinate { .. } => return Ok(map),
            UserMap::One(_) => (
                "its files belong to several users, and you have one here",
                "install `newuidmap`, and have a range for you in `/etc/subuid` and `/etc/subgid`; or build as root",
            ),
            UserMap::Real => (
                "its commands run as root of a user namespace, which this machine refuses",
                "build where user namespaces are allowed, or without the extension",
            ),
        };
        Err(RunError::CannotExtend {
            image,
            problem,
            hint,
        })
    }

    fn work(&self, name: &str, map: &UserMap) -> Result<MappedFolder, RunError> {
        let folder = self.staging.root().join(format!("extend-{name}"));
        let work = ground::root_store(self.request)?.mapped(map, &folder)?;
        work.folder_in("cache/layers")?;
        Ok(work)
    }
}

/// An extended run image, as the exporter wants it. Gone with this.
#[derive(Debug)]
pub(super) struct ExtendedRunImage(MappedFolder);

impl ExtendedRunImage {
    /// The folder that the extender left it in.
    pub(super) fn folder(&self) -> PathBuf {
        self.0.folder().join("extended")
    }
}

pub(super) fn not_extended(ended: &Ended, image: &str) -> RunError {
    let what = format!("the {image} image could not be extended");
    ended.failed(PhaseFailure::Extend, what)
}

/// Refuses what a command of an extension may have left to lead the exporter elsewhere.
fn refuse_links(folder: &Path) -> Result<(), RunError> {
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let found = fs::symlink_metadata(&folder)?;
        if !found.is_dir() {
            return Err(RunError::LinkInLayers { path: folder });
        }
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if !kind.is_file() {
                return Err(RunError::LinkInLayers { path: entry.path() });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_left_of_a_run_image_leads_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("run/blobs")).unwrap();
        fs::write(at("run/index.json"), "").unwrap();
        refuse_links(folder.path()).unwrap();
        symlink("/etc/shadow", at("run/blobs/x")).unwrap();
        assert!(refuse_links(folder.path()).is_err());
        symlink("run", at("link")).unwrap();
        assert!(refuse_links(&at("link")).is_err());
    }
}
