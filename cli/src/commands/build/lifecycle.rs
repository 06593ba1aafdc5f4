//! The phases that run the `lifecycle` program in the sandbox, and those that stand between them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lifecycle_core::analyze::{self, AnalyzeContext};
use lifecycle_core::api::PlatformApi;
use lifecycle_core::cache::{Cache, CacheContext, DirectoryCache, export_cache};
use lifecycle_core::exec::{Cancel, Capped, Command, Exit, Output, Run as _};
use lifecycle_core::export::Owner;
use lifecycle_core::files;
use lifecycle_core::files::analyzed::Analyzed;
use lifecycle_core::files::group::Group;
use lifecycle_core::provenance::Named as Ingredient;
use lifecycle_core::restore::{self, RestoreContext};
use lifecycle_core::{Level, Log};
use oci::Limits;
use platform::sandbox::{self, Config, Isolation, Mount, Sandbox};

use super::args::{IsolationArg, Network};
use super::settings::Settings;
use super::staging::{IMAGE, Named, StagedImages, Staging};
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::ui::Ui;

/// The API that we speak with the lifecycle.
pub(super) const API: PlatformApi = PlatformApi::V0_15;

/// What the image is built for.
pub(super) const EXEC_ENV: &str = "production";

/// Who owns what is in the image: the user of the static base, and of most others.
pub(super) const OWNER: Owner = Owner {
    uid: 1000,
    gid: 1000,
};

/// The name by which the lifecycle runs no phase, but says its version.
const VERSION_OF: &str = "lifecycle";

/// What the phases of one build share.
pub(super) struct Lifecycle<'a> {
    pub(super) settings: &'a Settings,
    pub(super) staging: &'a Staging,
    pub(super) sandbox: &'a Arc<Sandbox>,
    pub(super) environment: &'a Environment,
    pub(super) ui: &'a Ui,
}

impl Lifecycle<'_> {
    /// The folder that the image calls `/`. Where there is no sandbox, buildpacks see our folders by
    /// the paths that they have here, and so does the image.
    pub(super) fn root(&self) -> PathBuf {
        if self.sandbox.path(Path::new("/layers")) == Path::new("/layers") {
            self.staging.root().to_owned()
        } else {
            PathBuf::from("/")
        }
    }

    /// The version of the lifecycle, by its own word.
    pub(super) async fn version(&self) -> Result<String, CommandError> {
        let output = self.lifecycle(VERSION_OF, &["-version"]).await?;
        let text = String::from_utf8_lossy(&output.text).trim().to_owned();
        match output.exit {
            Exit::Code(0) if !text.is_empty() => Ok(text),
            _ => Err(Message(format!("the lifecycle does not say its version: {text}")).into()),
        }
    }

    pub(super) async fn analyze(
        &self,
        found: &StagedImages,
        run_image: &Named,
        root: &Path,
        limits: &Limits,
        log: &PhaseLog<'_>,
    ) -> Result<Analyzed, CommandError> {
        self.ui.begin("analyze", "looking at the image before");
        let context = AnalyzeContext {
            api: API,
            images: found,
            cache_images: found,
            output: IMAGE,
            tags: &[],
            previous: found.previous_name(),
            cache_image: None,
            run_image: &run_image.name,
            root,
            layers_dir: &self.staging.layers(),
            skip_layers: false,
            limits,
        };
        let analyzed = analyze::analyze(&context, log)
            .await
            .context(|| "failed to analyze".to_owned())?;
        files::write(&self.staging.layers().join("analyzed.toml"), &analyzed)
            .map_err(CommandError::undecided)?;
        let before = match analyzed.previous_image() {
            Some(reference) => format!("replaces {reference}"),
            None => "no image before".to_owned(),
        };
        self.ui.done(
            "analyze",
            format_args!("{before}; runs on {}", run_image.name),
        );
        Ok(analyzed)
    }

    pub(super) async fn detect(&self) -> Result<(), CommandError> {
        self.ui.begin("detect", "asking the buildpacks");
        let output = self
            .phase(
                "detector",
                &[("-order", "/cnb/order.toml"), ("-run", "/cnb/run.toml")],
            )
            .await?;
        match output.exit {
            Exit::Code(0) => Ok(()),
            Exit::Code(20) => Err(failed("no group of buildpacks fits this app", &output)
                .hint("the builder's `[[order]]` says which groups there are")),
            Exit::Code(21) => Err(failed("a buildpack failed to look at this app", &output)),
            exit => Err(failed(&format!("detecting failed ({exit})"), &output)),
        }
    }

    /// The buildpacks that take part, with the digests of their folders.
    pub(super) fn buildpacks(&self, group: &Group) -> Result<Vec<Ingredient>, CommandError> {
        let names: Vec<_> = group
            .group
            .iter()
            .map(|it| format!("{} {}", it.id, it.version))
            .collect();
        self.ui.done("detect", names.join(", "));
        group
            .group
            .iter()
            .map(|member| {
                let module = self
                    .settings
                    .builder
                    .buildpacks
                    .iter()
                    .find(|it| it.id == member.id && it.version == member.version)
                    .ok_or_else(|| {
                        Message(format!(
                            "the lifecycle chose `{}@{}`, which is not in the builder",
                            member.id, member.version
                        ))
                    })?;
                Ok(Ingredient {
                    name: format!("{}@{}", module.id, module.version),
                    uri: Some(format!("pkg:cnb/{}@{}", module.id, module.version)),
                    digest: module.digest.clone(),
                })
            })
            .collect()
    }

    /// Brings back what buildpacks cached, and holds the cache: another build on it waits.
    pub(super) async fn restore(
        &self,
        analyzed: &Analyzed,
        group: &Group,
        root: &Path,
        log: &PhaseLog<'_>,
    ) -> Result<Option<Cache>, CommandError> {
        self.ui.begin("restore", "waiting for the cache");
        let cache = match &self.settings.cache {
            Some(folder) => {
                fs_err::create_dir_all(folder).map_err(CommandError::undecided)?;
                Some(Cache::Directory(open_cache(folder, log).await?))
            }
            None => None,
        };
        let context = RestoreContext {
            api: API,
            group,
            metadata: &analyzed.metadata,
            layers_dir: &self.staging.layers(),
            root,
            skip_layers: false,
        };
        let counting = Counting {
            inner: log,
            restored: AtomicUsize::new(0),
        };
        restore::restore(&context, cache.as_ref(), &counting)
            .await
            .context(|| "failed to restore layers".to_owned())?;
        let text = match counting.restored.into_inner() {
            _ if cache.is_none() => "nothing: there is no cache".to_owned(),
            0 => "nothing was cached".to_owned(),
            count => format!("{count} from the cache"),
        };
        self.ui.done("restore", text);
        Ok(cache)
    }

    /// Puts what buildpacks want to see again into the cache. A cache that fails costs time, not
    /// the image.
    pub(super) async fn keep(
        &self,
        cache: Option<Cache>,
        group: &Group,
        root: &Path,
        log: &PhaseLog<'_>,
    ) -> Result<(), CommandError> {
        let Some(cache) = cache else {
            return Ok(());
        };
        let context = CacheContext {
            api: API,
            group,
            layers_dir: &self.staging.layers(),
            root,
            owner: OWNER,
        };
        if let Err(error) = export_cache(&context, cache, log).await {
            self.ui.warn(format_args!("nothing was cached: {error}"));
        }
        Ok(())
    }

    pub(super) async fn build(&self, group: &Group) -> Result<(), CommandError> {
        let names: Vec<_> = group.group.iter().map(|it| it.id.clone()).collect();
        self.ui.begin("build", names.join(", "));
        let started = crate::environment::instant();
        let output = self.phase("builder", &[]).await?;
        match output.exit {
            Exit::Code(0) => {
                self.ui.done(
                    "build",
                    format_args!(
                        "{} in {:.1} s",
                        names.join(", "),
                        started.elapsed().as_secs_f64()
                    ),
                );
                Ok(())
            }
            Exit::Code(51) => Err(failed("a buildpack failed to build", &output)),
            exit => Err(failed(&format!("building failed ({exit})"), &output)),
        }
    }

    /// Runs a phase in the sandbox.
    async fn phase(&self, name: &str, flags: &[(&str, &str)]) -> Result<PhaseOutput, CommandError> {
        let common = [
            ("-app", "/workspace"),
            ("-buildpacks", "/cnb/buildpacks"),
            ("-build-config", "/cnb/build-config"),
            ("-layers", "/layers"),
            ("-platform", "/platform"),
        ];
        let level = match self.ui.verbosity() {
            0 | 1 => "info",
            _ => "debug",
        };
        let mut args: Vec<String> = vec![
            "-no-color".to_owned(),
            "-log-level".to_owned(),
            level.to_owned(),
        ];
        for (flag, path) in common.iter().chain(flags) {
            args.push((*flag).to_owned());
            args.push(self.sandbox.path(Path::new(path)).display().to_string());
        }
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        self.lifecycle(name, &args).await
    }

    /// Runs the lifecycle in the sandbox.
    async fn lifecycle(&self, name: &str, args: &[&str]) -> Result<PhaseOutput, CommandError> {
        let program = Path::new("/cnb/lifecycle").join(name);
        let command = Command {
            program: self.sandbox.path(&program),
            args: args.iter().map(OsString::from).collect(),
            env: self.env(),
            dir: self.sandbox.path(Path::new("/workspace")),
        };
        let sandbox = self.sandbox.clone();
        // What it says of its version is for us.
        let shown = self.ui.verbosity() > 0 && name != VERSION_OF;
        // Bounded: who prints faster than is shown has to wait.
        let (sender, mut lines) = tokio::sync::mpsc::channel::<Vec<u8>>(16);
        let running = tokio::task::spawn_blocking(move || {
            let kept = Kept {
                capped: Capped::default(),
                shown: shown.then_some(sender),
            };
            let exit = sandbox.run(&command, &kept);
            (exit, kept.capped.into_bytes())
        });
        while let Some(bytes) = lines.recv().await {
            self.ui.aside(String::from_utf8_lossy(&bytes));
        }
        let (exit, text) = running.await.context(|| format!("failed to run {name}"))?;
        let exit = exit.context(|| format!("failed to run {name}"))?;
        Ok(PhaseOutput { exit, text })
    }

    /// What the lifecycle's environment is in the sandbox.
    fn env(&self) -> BTreeMap<OsString, OsString> {
        const PASSED: [&str; 2] = ["PATH", "HOME"];
        const PROXIES: [&str; 6] = [
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "http_proxy",
            "https_proxy",
            "no_proxy",
        ];
        let proxies = PROXIES
            .iter()
            .filter(|_| self.settings.network == Network::Host);
        PASSED
            .iter()
            .chain(proxies)
            .filter_map(|name| {
                let name = OsString::from(name);
                let value = self.environment.variables.get(&name)?.clone();
                Some((name, value))
            })
            .chain(
                [
                    ("CNB_PLATFORM_API", API.as_str()),
                    ("CNB_EXEC_ENV", EXEC_ENV),
                    ("CNB_DEPRECATION_MODE", "quiet"),
                ]
                .map(|(name, value)| (name.into(), value.into())),
            )
            .collect()
    }
}

/// Opens a cache; waits for it on a thread of its own, so that Ctrl-C is heard.
async fn open_cache(folder: &Path, log: &PhaseLog<'_>) -> Result<DirectoryCache, CommandError> {
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let path = folder.to_owned();
    let opening =
        tokio::task::spawn_blocking(move || DirectoryCache::open(&path, &SentLog(sender)));
    while let Some((level, text)) = lines.recv().await {
        log.line(level, &text);
    }
    let tried = || format!("failed to open the cache `{}`", folder.display());
    opening.await.context(tried)?.context(tried)
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

/// How a program in the sandbox ended, and what it printed.
struct PhaseOutput {
    exit: Exit,
    text: Vec<u8>,
}

/// Says that a phase failed, with the end of what it printed.
fn failed(what: &str, output: &PhaseOutput) -> CommandError {
    const LINES: usize = 30;
    /// One line may be long, too.
    const BYTES: usize = 8 << 10;
    let end = output.text.len().saturating_sub(BYTES);
    let text = String::from_utf8_lossy(output.text.get(end..).unwrap_or_default());
    let lines: Vec<_> = text.trim_end().lines().collect();
    let from = lines.len().saturating_sub(LINES);
    let mut error = CommandError::undecided(Message(what.to_owned()));
    let last = lines.get(from..).unwrap_or_default().join("\n");
    if !last.is_empty() {
        error = error.note(last);
    }
    error
}

/// Keeps what is printed, and hands it on to who wants to see it.
struct Kept {
    capped: Capped,
    shown: Option<tokio::sync::mpsc::Sender<Vec<u8>>>,
}

impl Output for Kept {
    fn write(&self, bytes: &[u8]) {
        self.capped.write(bytes);
        if let Some(shown) = &self.shown {
            // Nobody listens any more: the build was given up.
            shown.blocking_send(bytes.to_vec()).unwrap_or_default();
        }
    }
}

/// Counts what the restorer brings back: it says so, and nothing else does.
#[derive(Debug)]
struct Counting<'a> {
    inner: &'a PhaseLog<'a>,
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

/// What phases say here, for who wants to hear it.
#[derive(Debug)]
pub(super) struct PhaseLog<'a> {
    pub(super) ui: &'a Ui,
}

impl Log for PhaseLog<'_> {
    fn line(&self, level: Level, text: &str) {
        match level {
            Level::Debug if self.ui.verbosity() < 2 => {}
            Level::Warn => self.ui.warn(text),
            _ => self.ui.aside(text),
        }
    }

    fn output(&self, bytes: &[u8]) {
        self.ui.aside(String::from_utf8_lossy(bytes));
    }
}

/// Opens the sandbox, and says how much of one it is.
pub(super) fn open_sandbox(
    settings: &Settings,
    staging: &Staging,
    cancel: &Cancel,
    ui: &Ui,
) -> Result<Sandbox, CommandError> {
    // A copy, so that what runs is what was there at the beginning.
    let programs = staging.root().join("cnb/lifecycle");
    fs_err::create_dir_all(&programs).map_err(CommandError::undecided)?;
    fs_err::copy(
        settings.programs.path("lifecycle"),
        programs.join("lifecycle"),
    )
    .map_err(CommandError::undecided)?;
    for name in ["detector", "builder"] {
        fs_err::os::unix::fs::symlink("lifecycle", programs.join(name))
            .map_err(CommandError::undecided)?;
    }
    let mount = |name: &str, writable: bool| Mount {
        source: staging.root().join(name),
        target: Path::new("/").join(name),
        writable,
    };
    let sandbox = Sandbox::new(Config {
        enter: vec![
            settings.programs.sealpack.clone().into(),
            "__sandbox".into(),
        ],
        mounts: vec![
            mount("layers", true),
            mount("workspace", true),
            mount("platform", false),
            mount("cnb", false),
        ],
        hidden: settings.secrets.clone(),
        network: match settings.network {
            Network::None => sandbox::Network::None,
            Network::Host => sandbox::Network::Host,
        },
        isolation: match settings.isolation {
            IsolationArg::Auto => Isolation::Auto,
            IsolationArg::Required => Isolation::Required,
        },
        cancel: cancel.clone(),
    })
    .map_err(|error| {
        let hint = matches!(error, sandbox::SandboxError::Refused { .. });
        let error = CommandError::undecided(error);
        if hint {
            error.hint("allow user namespaces, or build with `--isolation auto`")
        } else {
            error
        }
    })?;
    let report = sandbox.report();
    if !report.refused.is_empty() {
        ui.warn(report);
    }
    Ok(sandbox)
}
