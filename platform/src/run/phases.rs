//! Each phase by itself: those that reach images are functions, those that run buildpacks are programs
//! in the sandbox.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lifecycle_core::analyze::{self, AnalyzeContext};
use lifecycle_core::buildpack::Kind;
use lifecycle_core::cache::{
    Cache, CacheContext, CacheError, DirectoryCache, ImageCache, export_cache,
};
use lifecycle_core::exec::Exit;
use lifecycle_core::files;
use lifecycle_core::files::analyzed::Analyzed;
use lifecycle_core::files::group::{Group, GroupElement};
use lifecycle_core::labels::LifecycleVersion;
use lifecycle_core::provenance::Named as Ingredient;
use lifecycle_core::restore::{self, RestoreContext};
use lifecycle_core::{Level, Log};
use oci::{Limits, spans};
use tracing::info_span;

use super::extending::{NOT_EXTENDED, RunImageChoice, not_extended};
use super::ground::Ground;
use super::programs::{BUILDING, Ended};
use super::staging::{IMAGE, Named, StagedImages, Staging};
use super::{BuildProgress, CachePlace, EXEC_ENV, Lack, PhaseFailure, Request, RunError};
use crate::sandbox::Sandbox;

/// The name by which the lifecycle runs no phase, but says its version.
const VERSION_OF: &str = "lifecycle";

/// Where the source of a lifecycle is that knows its commit.
const SOURCE: &str = "github.com/buildpacks/lifecycle";

/// What the phases of one build share.
#[derive(Debug)]
pub(super) struct Phases<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) staging: &'a Staging,
    pub(super) ground: &'a Ground,
    pub(super) sandbox: &'a Arc<Sandbox>,
    pub(super) progress: &'a dyn BuildProgress,
}

impl Phases<'_> {
    /// The folder that the image calls `/`. Where there is no sandbox, buildpacks see our folders by
    /// the paths that they have here, and so does the image.
    pub(super) fn root(&self) -> PathBuf {
        if self.sandbox.path(Path::new("/layers")) == self.staging.layers() {
            PathBuf::from("/")
        } else {
            self.staging.root().to_owned()
        }
    }

    /// The version of the lifecycle, by its own word.
    pub(super) async fn version(&self) -> Result<String, RunError> {
        let ended = self
            .lifecycle(VERSION_OF, vec!["-version".into()], false)
            .await?;
        match (ended.exit, ended.text()) {
            (Exit::Code(0), text) if !text.is_empty() => Ok(text),
            (_, text) => Err(RunError::NoVersion { text }),
        }
    }

    /// The lifecycle that the image is to name: that of the builder, if it has one. Its commit is known
    /// only to itself.
    pub(super) async fn named(&self, version: &str) -> LifecycleVersion {
        let Some(version) = &self.ground.lifecycle else {
            return LifecycleVersion {
                version: version.to_owned(),
                ..LifecycleVersion::default()
            };
        };
        let mut named = LifecycleVersion {
            version: version.clone(),
            ..LifecycleVersion::default()
        };
        let program = Path::new("/cnb/lifecycle/lifecycle");
        let said = self.program(program, vec!["-version".into()], false).await;
        let text = said.map(|it| it.text()).unwrap_or_default();
        if let Some((known, commit)) = text.trim().split_once('+')
            && known == version
            && (7..=64).contains(&commit.len())
            && commit.bytes().all(|it| it.is_ascii_hexdigit())
        {
            SOURCE.clone_into(&mut named.repository);
            commit.clone_into(&mut named.commit);
        }
        named
    }

    pub(super) async fn analyze(
        &self,
        found: &StagedImages,
        run_image: &Named,
        limits: &Limits,
    ) -> Result<Analyzed, RunError> {
        self.progress
            .begin("analyze", "looking at the previous image");
        let context = AnalyzeContext {
            api: self.ground.api,
            images: found,
            cache_images: found,
            output: IMAGE,
            tags: &[],
            previous: found.previous_name(),
            cache_image: None,
            run_image: &run_image.name,
            root: &self.root(),
            layers_dir: &self.staging.layers(),
            skip_layers: self.request.clear_cache,
            limits,
        };
        let analyzing = async {
            let opened = analyze::open(&context, self.progress).await?;
            analyze::analyze(&context, opened, self.progress).await
        };
        let analyzed = spans::within(info_span!("analyze"), Box::pin(analyzing))
            .await
            .map_err(|error| RunError::Analyze(Box::new(error)))?;
        files::write(&self.staging.layers().join("analyzed.toml"), &analyzed)?;
        let before = match analyzed.previous_image() {
            Some(reference) => {
                let name = reference.to_string();
                let name = name.strip_prefix("previous:").unwrap_or(&name);
                format!("previous image {name}")
            }
            None => "no previous image".to_owned(),
        };
        let text = format!("{before}; run image: {}", run_image.name);
        self.progress.done("analyze", &text);
        Ok(analyzed)
    }

    pub(super) async fn detect(&self) -> Result<(), RunError> {
        self.progress.begin("detect", "asking the buildpacks");
        let mut flags = vec![("-order", "/cnb/order.toml")];
        if self.ground.api.tells_detector_of_run_images() {
            flags.push(("-run", "/cnb/run.toml"));
        }
        let ended = self.phase("detector", &flags).await?;
        let (failure, what) = match ended.exit {
            Exit::Code(0) => return Ok(()),
            Exit::Code(20) => (
                PhaseFailure::NoGroup,
                "no buildpack group detected this app".to_owned(),
            ),
            Exit::Code(21) => (
                PhaseFailure::Detect,
                "a buildpack failed to detect".to_owned(),
            ),
            exit => (PhaseFailure::Lifecycle, format!("detect failed ({exit})")),
        };
        Err(ended.failed(failure, what))
    }

    /// The buildpacks that take part, with the digests of their folders.
    pub(super) fn buildpacks(&self, group: &Group) -> Result<Vec<Ingredient>, RunError> {
        let all = group.group_extensions.iter().chain(&group.group);
        let names: Vec<_> = all.map(|it| format!("{} {}", it.id, it.version)).collect();
        self.progress.done("detect", &names.join(", "));
        self.modules(Kind::Buildpack, &group.group)
    }

    /// The extensions that take part.
    pub(super) fn extensions(&self, group: &Group) -> Result<Vec<Ingredient>, RunError> {
        self.modules(Kind::Extension, &group.group_extensions)
    }

    fn modules(&self, kind: Kind, members: &[GroupElement]) -> Result<Vec<Ingredient>, RunError> {
        members
            .iter()
            .map(|member| {
                let module =
                    self.request
                        .builder
                        .module(kind, member)
                        .ok_or_else(|| RunError::Unknown {
                            id: member.id.clone(),
                            version: member.version.clone(),
                        })?;
                Ok(Ingredient {
                    name: format!("{}@{}", module.id, module.version),
                    uri: Some(format!("pkg:cnb/{}@{}", module.id, module.version)),
                    digest: module.origin.digest.clone(),
                })
            })
            .collect()
    }

    /// Brings back what buildpacks cached, and holds the cache: another build on it waits.
    pub(super) async fn restore(
        &self,
        analyzed: &Analyzed,
        group: &Group,
    ) -> Result<Option<Cache>, RunError> {
        self.progress.begin("restore", "waiting for the cache");
        let log = self.progress;
        let cache = match self.request.cache {
            Some(CachePlace::Folder(folder)) => {
                Some(Cache::Directory(open_cache(folder, log).await?))
            }
            Some(CachePlace::Usual(folder)) => match open_cache(folder, log).await {
                Ok(cache) => Some(Cache::Directory(cache)),
                Err(error) => {
                    let why = go::words::chain(&error);
                    log.lacks(&Lack::Cache { why });
                    None
                }
            },
            Some(CachePlace::Image(place)) => {
                let temporary = self.staging.root().join("tmp");
                fs_err::create_dir_all(&temporary)?;
                let limits = Limits::default();
                let opened =
                    ImageCache::at(place.clone(), &place.name, false, &temporary, &limits).await;
                let cache = opened.map_err(|source| RunError::Cache {
                    name: place.name.clone(),
                    source,
                })?;
                Some(Cache::Image(Box::new(cache)))
            }
            None => None,
        };
        let context = RestoreContext {
            api: self.ground.api,
            group,
            metadata: &analyzed.metadata,
            layers_dir: &self.staging.layers(),
            root: &self.root(),
            exec_env: EXEC_ENV,
            skip_layers: self.request.clear_cache,
        };
        let counting = Counting {
            inner: log,
            restored: AtomicUsize::new(0),
        };
        let restoring = restore::restore(&context, cache.as_ref(), &counting);
        spans::within(info_span!("restore"), restoring)
            .await
            .map_err(|error| RunError::Restore(Box::new(error)))?;
        let text = match counting.restored.into_inner() {
            _ if cache.is_none() => match self.request.cache {
                None => "skipped: caching is off".to_owned(),
                Some(_) => "skipped: there is no cache".to_owned(),
            },
            _ if self.request.clear_cache => "skipped: the cache is cleared".to_owned(),
            0 => "the cache is empty".to_owned(),
            count => format!("{count} from the cache"),
        };
        self.progress.done("restore", &text);
        Ok(cache)
    }

    /// Puts what buildpacks want to see again into the cache. A cache that fails costs time, not
    /// the image.
    pub(super) async fn keep(&self, cache: Option<Cache>, group: &Group) {
        let Some(cache) = cache else {
            return;
        };
        let context = CacheContext {
            api: self.ground.api,
            group,
            layers_dir: &self.staging.layers(),
            root: &self.root(),
            owner: self.ground.owner,
        };
        let exporting = export_cache(&context, cache, self.progress);
        if let Err(error) = spans::within(info_span!("cache"), exporting).await {
            let text = format!("nothing was cached: {}", go::words::chain(&error));
            self.progress.line(Level::Warn, &text);
        }
    }

    pub(super) async fn build(
        &self,
        group: &Group,
        chosen: &RunImageChoice,
        extensions: &[Ingredient],
    ) -> Result<(), RunError> {
        let names: Vec<_> = group.group.iter().map(|it| it.id.clone()).collect();
        let names = names.join(", ");
        let ended = if chosen.extends_build_image {
            self.build_extended(&names, extensions).await?
        } else {
            self.progress.begin("build", &names);
            self.phase("builder", &[]).await?
        };
        match ended.exit {
            Exit::Code(0) => {
                self.progress.done("build", &names);
                Ok(())
            }
            Exit::Code(51) => Err(ended.failed(
                PhaseFailure::Build,
                match (self.building(group), group.group.as_slice()) {
                    (Some(name), _) => format!("buildpack {name} failed to build"),
                    (None, [only]) => format!("buildpack {} failed to build", named(only)),
                    (None, _) => format!("one of the buildpacks {names} failed to build"),
                },
            )),
            Exit::Code(NOT_EXTENDED) => Err(not_extended(&ended, "build")),
            exit => Err(ended.failed(
                PhaseFailure::Lifecycle,
                match self.building(group) {
                    Some(name) => format!("build failed at buildpack {name} ({exit})"),
                    None => format!("build failed ({exit})"),
                },
            )),
        }
    }

    /// Which buildpack built last: its name and version, as far as it is known. By its own lifecycle's
    /// word, where buildpacks can write, too: taken only for one of the group.
    fn building(&self, group: &Group) -> Option<String> {
        let path = self.staging.layers().join(BUILDING);
        let is_file = fs_err::symlink_metadata(&path).is_ok_and(|it| it.is_file());
        let mut told = String::new();
        if is_file && let Ok(file) = fs_err::File::open(&path) {
            // What cannot be read is not known.
            file.take(4 << 10)
                .read_to_string(&mut told)
                .unwrap_or_default();
        }
        let is_told = |it: &&GroupElement| it.to_string() == told;
        group.group.iter().find(is_told).map(named)
    }

    /// Runs a phase in the sandbox.
    async fn phase(&self, name: &str, flags: &[(&str, &str)]) -> Result<Ended, RunError> {
        let span = info_span!("sandbox", program = name);
        let running = self.lifecycle(name, self.arguments(flags), true);
        spans::within(span, running).await
    }

    /// What each phase is told of what it is to print.
    pub(super) fn printing(&self) -> Vec<OsString> {
        let level = match self.request.log_level {
            Level::Debug => "debug",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Info => "info",
        };
        ["-no-color", "-log-level", level]
            .map(OsString::from)
            .into()
    }

    /// What a phase is told that buildpacks take part in, besides `flags`.
    fn arguments(&self, flags: &[(&str, &str)]) -> Vec<OsString> {
        let mut common = vec![
            ("-app", "/workspace"),
            ("-buildpacks", "/cnb/buildpacks"),
            ("-layers", "/layers"),
            ("-platform", "/platform"),
        ];
        if self.ground.api.has_build_config() {
            common.push(("-build-config", "/cnb/build-config"));
        }
        let mut args = self.printing();
        for (flag, path) in common.iter().chain(flags) {
            args.push(flag.into());
            args.push(self.sandbox.path(Path::new(path)).into());
        }
        args
    }
}

/// What a user reads of a buildpack.
fn named(element: &GroupElement) -> String {
    format!("`{}` {}", element.id, element.version)
}

/// Opens a cache; waits for it on a thread of its own, so that whoever gives up is heard.
async fn open_cache(folder: &Path, log: &dyn Log) -> Result<DirectoryCache, RunError> {
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let failed = |source: CacheError| RunError::Cache {
        name: folder.display().to_string(),
        source,
    };
    fs_err::create_dir_all(folder)?;
    let path = folder.to_owned();
    let opening =
        tokio::task::spawn_blocking(move || DirectoryCache::open(&path, &SentLog(sender)));
    while let Some((level, text)) = lines.recv().await {
        log.line(level, &text);
    }
    match opening.await {
        Ok(opened) => opened.map_err(failed),
        Err(error) => Err(RunError::Io(error.into())),
    }
}

/// What another thread says.
#[derive(Debug)]
struct SentLog(tokio::sync::mpsc::UnboundedSender<(Level, String)>);

impl Log for SentLog {
    fn line(&self, level: Level, text: &str) {
        // Nobody listens any more: the build was given up.
        self.0.send((level, text.to_owned())).unwrap_or_default();
    }

    fn output(&self, bytes: &[u8]) {
        self.line(Level::Info, &String::from_utf8_lossy(bytes));
    }
}

/// Counts what the restorer brings back: it says so, and nothing else does.
#[derive(Debug)]
struct Counting<'a> {
    inner: &'a dyn Log,
    restored: AtomicUsize,
}

impl Log for Counting<'_> {
    fn line(&self, level: Level, text: &str) {
        if text.starts_with("Restoring data for") {
            self.restored.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.line(level, text);
    }

    fn output(&self, bytes: &[u8]) {
        self.inner.output(bytes);
    }
}
