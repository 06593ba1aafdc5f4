//! `sealpack doctor`: what this machine lacks for builds and registries.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use lifecycle_core::exec::Cancel;
use oci::auth::{ConfigFile, config_paths};
use oci::store::Mirrors;
use platform::run::Launcher;
use platform::run::PROXIES;
use platform::sandbox::{Config, Isolation, Network, Root, Sandbox, User, UserMap};
use serde::Serialize;

use crate::args::Printed;
use crate::building::places::obstacle;
use crate::building::{self, OwnPrograms};
use crate::defaults::{self, Setting};
use crate::environment::Environment;
use crate::error::CommandError;
use crate::machine::{self, Lacks};
use crate::temporary;
use crate::ui::{Tone, Ui, size};

/// Check what builds and registries need on this machine, and say what to do.
///
/// Nothing is changed, and nobody is connected to. Exit code 0, whatever is found.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sealpack doctor --output json")]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// What `sealpack doctor --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
struct Report {
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Finding {
    /// What was looked at: `programs`, `processes`, `isolation`, `users`, `credentials`, `mirrors`,
    /// `proxies`, `temporary`, `cache`, `settings`, `keys`.
    about: &'static str,
    state: State,
    text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum State {
    Good,
    /// It works, but not as it could.
    Warning,
    /// Something will not work.
    Bad,
}

impl Finding {
    fn good(about: &'static str, text: impl Into<String>) -> Self {
        Self {
            about,
            state: State::Good,
            text: text.into(),
            hint: None,
        }
    }

    fn odd(about: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            state: State::Warning,
            hint: Some(hint.into()),
            ..Self::good(about, text)
        }
    }

    fn bad(about: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            state: State::Bad,
            ..Self::odd(about, text, hint)
        }
    }
}

pub(crate) fn run(args: &Doctor, environment: &Environment, ui: &Ui) -> Result<(), CommandError> {
    let mut findings = vec![programs(environment)];
    findings.push(processes());
    findings.push(isolation());
    findings.push(users());
    findings.extend(credentials(environment));
    findings.push(mirrors(environment));
    findings.extend(proxies(environment));
    findings.extend(of_temporary(environment));
    findings.push(cache(environment));
    findings.extend(settings(environment));
    ui.result(args.printed.output, &Report { findings }, |ui, report| {
        for it in &report.findings {
            let (tone, sign) = match it.state {
                State::Good => (Tone::Good, "✓"),
                State::Warning => (Tone::Odd, "!"),
                State::Bad => (Tone::Bad, "✗"),
            };
            ui.line(format_args!(
                "{} {:11}  {}",
                ui.paint(tone, sign),
                it.about,
                it.text
            ));
            if let Some(hint) = &it.hint {
                ui.line(format_args!(
                    "               {}",
                    ui.paint(Tone::Label, hint)
                ));
            }
        }
    })
}

/// Where this program lies.
fn own_path() -> Option<PathBuf> {
    fs_err::canonicalize("/proc/self/exe").ok()
}

/// What `build` starts.
fn programs(environment: &Environment) -> Finding {
    const ABOUT: &str = "programs";
    let programs = match OwnPrograms::find(None, environment) {
        Ok(programs) => programs,
        Err(error) => return Finding::bad(ABOUT, error.line(), building::HOW),
    };
    match (programs.missing(), &programs.launcher) {
        (Some(folder), _) => Finding::bad(
            ABOUT,
            format!("`{}` is not there", folder.join("launcher").display()),
            building::HOW,
        ),
        (None, Launcher::In(folder)) => Finding::good(
            ABOUT,
            format!(
                "the lifecycle is in this program, `launcher` in `{}`",
                folder.display()
            ),
        ),
        (None, Launcher::Held(_)) => {
            Finding::good(ABOUT, "lifecycle and launcher are in this program")
        }
    }
}

/// Whether there is `/proc`, by which this program finds itself.
fn processes() -> Finding {
    const ABOUT: &str = "processes";
    if own_path().is_some() {
        return Finding::good(ABOUT, "`/proc` is there");
    }
    Finding::bad(
        ABOUT,
        "`/proc` is not there: nothing can be built",
        "mount it: `mount -t proc proc /proc`",
    )
}

/// How far a build with a `builder.toml` is kept from this machine.
fn isolation() -> Finding {
    const ABOUT: &str = "isolation";
    let sandbox = Sandbox::new(Config {
        enter: enter(),
        root: Root::Machine,
        needs_mounts: false,
        mounts: Vec::new(),
        hidden: Vec::new(),
        interpreter: None,
        network: Network::None,
        isolation: Isolation::Auto,
        cancel: Cancel::default(),
    });
    match sandbox {
        Ok(sandbox) if sandbox.report().is_complete(Network::None) => {
            Finding::good(ABOUT, sandbox.report().to_string())
        }
        Ok(sandbox) => Finding {
            hint: machine::remedy(Lacks::of(sandbox.report())).map(str::to_owned),
            state: State::Warning,
            ..Finding::good(ABOUT, sandbox.report().to_string())
        },
        Err(error) => Finding::bad(
            ABOUT,
            CommandError::undecided(error).line(),
            machine::remedy(Lacks::ALL).unwrap_or("`--isolation auto` goes on with what there is"),
        ),
    }
}

/// Whether files of builder images can have their owners.
fn users() -> Finding {
    const ABOUT: &str = "users";
    let builder = User {
        uid: platform::sandbox::BUILD_USER,
        gid: platform::sandbox::BUILD_USER,
    };
    match UserMap::choose(builder, &enter(), &Cancel::default()) {
        Ok((map, _)) if map.has_owners() => {
            Finding::good(ABOUT, "files of builder images have their owners")
        }
        Ok((_, problem)) => Finding::odd(
            ABOUT,
            format!(
                "all files of builder images are the builder's: {}",
                problem.unwrap_or_default()
            ),
            "install `uidmap`, and add a range to `/etc/subuid` and `/etc/subgid`",
        ),
        Err(problem) => Finding::odd(
            ABOUT,
            format!("no builder image can be used: {problem}"),
            machine::remedy(Lacks::ALL).unwrap_or("build with a `builder.toml`"),
        ),
    }
}

/// What enters a sandbox.
fn enter() -> Vec<OsString> {
    let own = own_path().into_iter().map(Into::into);
    own.chain(["__sandbox".into()]).collect()
}

/// Which files of credentials there are.
fn credentials(environment: &Environment) -> Vec<Finding> {
    const ABOUT: &str = "credentials";
    let paths = config_paths(environment.home().as_deref(), &environment.texts());
    let found = paths
        .iter()
        .filter_map(|path| match ConfigFile::read(path) {
            Ok(None) => None,
            Ok(Some(_)) => Some(Finding::good(ABOUT, format!("`{}`", path.display()))),
            Err(error) => Some(Finding::odd(
                ABOUT,
                CommandError::undecided(error).line(),
                "mend it, or name another one by `--authfile FILE`",
            )),
        });
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        return vec![Finding::good(
            ABOUT,
            "none are kept; `sealpack login` keeps some",
        )];
    }
    found
}

/// Whether settings of mirrors can be read.
fn mirrors(environment: &Environment) -> Finding {
    const ABOUT: &str = "mirrors";
    match Mirrors::find(None, environment.home().as_deref(), &environment.texts()) {
        Ok(_) => Finding::good(
            ABOUT,
            match registries_conf(environment) {
                Some(path) => format!("as `{}` has it", path.display()),
                None => "there is no `registries.conf`".to_owned(),
            },
        ),
        Err(error) => Finding::bad(
            ABOUT,
            CommandError::undecided(error).line(),
            "mend it, or name another file by `--registries-conf FILE`",
        ),
    }
}

/// The `registries.conf` that counts, if there is one.
fn registries_conf(environment: &Environment) -> Option<PathBuf> {
    let named = environment.text("CONTAINERS_REGISTRIES_CONF");
    if let Some(path) = named.filter(|it| !it.is_empty()) {
        return Some(path.into());
    }
    let own = environment.home().map(|it| it.join(".config"));
    let folders = own.into_iter().chain([PathBuf::from("/etc")]);
    let mut paths = folders.map(|it| it.join("containers/registries.conf"));
    paths.find(|it| it.is_file())
}

/// Which proxies are set: without what their URLs hold, passwords perhaps.
fn proxies(environment: &Environment) -> Option<Finding> {
    let set = PROXIES.into_iter();
    let set: Vec<_> = set
        .filter(|it| environment.text(it).is_some_and(|it| !it.is_empty()))
        .map(str::to_owned)
        .collect();
    (!set.is_empty()).then(|| Finding::good("proxies", crate::error::list(&set)))
}

/// Whether there is room where images are staged, and what killed builds left there.
fn of_temporary(environment: &Environment) -> Vec<Finding> {
    const ABOUT: &str = "temporary";
    /// A small image with its compiler needs as much.
    const ROOM: u64 = 1 << 30;
    let folder = environment.temporary();
    let shown = folder.display();
    let bad = |problem: String| {
        let text = format!("`{shown}` cannot be used: {problem}");
        Finding::bad(ABOUT, text, temporary::HINT)
    };
    let mut findings = vec![match (temporary::problem(&folder), room(&folder)) {
        (Some(problem), _) => bad(problem),
        (None, Err(error)) => bad(error.to_string()),
        (None, Ok(free)) if free < ROOM => Finding::odd(
            ABOUT,
            format!("only {} are free in `{shown}`", size(free)),
            temporary::ROOM,
        ),
        (None, Ok(free)) => Finding::good(ABOUT, format!("{} are free in `{shown}`", size(free))),
    }];
    if temporary::relative(environment).is_some() {
        findings.push(Finding::odd(
            ABOUT,
            format!("{}, so `{shown}` is used", temporary::said_by(environment)),
            "set `TMPDIR` to an absolute path",
        ));
    }
    let stale = platform::run::stale(&folder).len();
    if stale > 0 {
        findings.push(Finding::odd(
            ABOUT,
            format!("{stale} folders in `{shown}` were left by builds that were killed"),
            "the next build takes away what it may",
        ));
    }
    findings
}

/// Where layers are kept between builds, and those of builder images.
fn cache(environment: &Environment) -> Finding {
    const ABOUT: &str = "cache";
    const HINT: &str =
        "name folders by `--cache DIR` and `--root-store DIR`, or set `XDG_CACHE_HOME`";
    let Some(folder) = environment.cache() else {
        let text = "`HOME` is not set: nothing is kept for later builds";
        return Finding::odd(ABOUT, text, HINT);
    };
    match obstacle(&folder) {
        None => Finding::good(ABOUT, format!("`{}`", folder.display())),
        Some((at, error)) => Finding::odd(
            ABOUT,
            format!(
                "`{}` cannot be used, so nothing is kept for later builds: `{}`: {error}",
                folder.display(),
                at.display()
            ),
            HINT,
        ),
    }
}

/// What `sealpack.toml` and variables say, and of keys and policies whether they are there.
fn settings(environment: &Environment) -> Vec<Finding> {
    const FILES: [&str; 3] = ["key", "policy", "public-keys"];
    let settings = match defaults::all(environment, true) {
        Ok(settings) => settings,
        Err(error) => {
            let hint = "mend it; `sealpack config` shows what counts";
            return vec![Finding::bad("settings", error.line(), hint)];
        }
    };
    if settings.is_empty() {
        return vec![Finding::good(
            "settings",
            "there is no `sealpack.toml`, nor a variable in its place",
        )];
    }
    let of = |it: Setting| {
        let about = if FILES.contains(&it.name) {
            "keys"
        } else {
            "settings"
        };
        let text = format!("{} `{}` ({})", it.name, it.value, it.from);
        let is_file = about == "keys" && !it.value.contains("://");
        match fs_err::metadata(environment.directory.join(&it.value)) {
            Err(error) if is_file => Finding::bad(
                about,
                format!(
                    "{text} is of no use: {}",
                    CommandError::undecided(error).line()
                ),
                "put it there, or name another one",
            ),
            _ => Finding::good(about, text),
        }
    };
    settings.into_iter().map(of).collect()
}

fn room(folder: &Path) -> std::io::Result<u64> {
    // That there is room does not say that we may use it.
    drop(tempfile::tempfile_in(folder)?);
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
