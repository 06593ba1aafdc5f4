//! What is not typed each time: variables, and the project's file `sealpack.toml`.
//!
//! Each stands for a flag, and is put behind what was typed as if it had been typed, unless that flag, or
//! one that says otherwise, was. So there is one way in which settings reach a command, and flags win.
//!
//! A file that lies where somebody works says how to build, and nothing about whom to believe: it may have
//! come with the source of a stranger. Only one that is named (`SEALPACK_CONFIG`) says that.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command, CommandFactory as _};
use serde::{Deserialize, Serialize};

use crate::args::Cli;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::files;

/// The file of a project, where it is not named.
const FILE: &str = "sealpack.toml";
/// The variable that names it.
const VARIABLE: &str = "SEALPACK_CONFIG";
/// More than any such file has.
const MAX_BYTES: u64 = 1 << 20;

/// A flag that may be set elsewhere.
struct Flag {
    /// As clap knows it.
    id: &'static str,
    /// As it is typed.
    typed: &'static str,
    /// The variable that stands for it.
    variable: Option<&'static str>,
    /// What it is called in the file.
    field: &'static str,
    /// If one of these is typed, it is not set: they say otherwise.
    unless: &'static [&'static str],
    /// Whether only a file that was named may say it.
    is_trust: bool,
}

const SIGNS: &[&str] = &[
    "new_key",
    "unsigned",
    "signing_config",
    "fulcio_url",
    "identity_token",
];

const FLAGS: [Flag; 9] = [
    Flag {
        id: "builder",
        typed: "--builder",
        variable: Some("SEALPACK_BUILDER"),
        field: "builder",
        unless: &[],
        is_trust: false,
    },
    Flag {
        id: "key",
        typed: "--key",
        variable: Some("SEALPACK_KEY"),
        field: "key",
        unless: SIGNS,
        is_trust: false,
    },
    Flag {
        id: "policy",
        typed: "--policy",
        variable: Some("SEALPACK_POLICY"),
        field: "policy",
        unless: &["unsigned"],
        is_trust: false,
    },
    Flag {
        id: "tag",
        typed: "--tag",
        variable: None,
        field: "tags",
        unless: &["output"],
        is_trust: false,
    },
    Flag {
        id: "keys",
        typed: "--key",
        variable: None,
        field: "public-keys",
        unless: &["certificate_identity", "certificate_identity_regexp"],
        is_trust: true,
    },
    Flag {
        id: "insecure_registries",
        typed: "--insecure-registry",
        variable: None,
        field: "insecure-registries",
        unless: &[],
        is_trust: true,
    },
    Flag {
        id: "registry_ca",
        typed: "--registry-ca",
        variable: None,
        field: "registry-ca",
        unless: &[],
        is_trust: true,
    },
    Flag {
        id: "registries_conf",
        typed: "--registries-conf",
        variable: None,
        field: "registries-conf",
        unless: &[],
        is_trust: true,
    },
    Flag {
        id: "authfile",
        typed: "--authfile",
        variable: Some("SEALPACK_AUTHFILE"),
        field: "authfile",
        unless: &[],
        is_trust: true,
    },
];

/// The commands that take what is to be built, who signs and what is asked for; others have flags of the
/// same name that mean something else to them.
const COMMANDS: [&[&str]; 8] = [
    &["build"],
    &["sign"],
    &["attest"],
    &["verify"],
    &["policy", "check"],
    &["mirror"],
    &["rebase"],
    &["key", "public"],
];

impl Flag {
    /// Whether what is set elsewhere holds for the command: whom to believe and how registries are reached
    /// holds for all that ask.
    fn holds_for(&self, path: &[&str], leaf: &ArgMatches) -> bool {
        match self.field {
            // Which judges only if it is asked to.
            "public-keys" if path == ["copy"] => leaf.try_contains_id("policy").unwrap_or_default(),
            _ => self.is_trust || COMMANDS.contains(&path),
        }
    }
}

/// `sealpack.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    builder: Option<String>,
    key: Option<String>,
    policy: Option<String>,
    tags: Vec<String>,
    public_keys: Vec<String>,
    insecure_registries: Vec<String>,
    registry_ca: Vec<String>,
    registries_conf: Option<String>,
    authfile: Option<String>,
}

/// A setting, and where it comes from.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    /// What it is called in `sealpack.toml`.
    pub(crate) name: &'static str,
    /// The flag that it stands for.
    pub(crate) flag: &'static str,
    pub(crate) value: String,
    /// The variable or file that says so.
    pub(crate) from: String,
    /// Whether it holds for `build` alone: the file was not named.
    #[serde(rename = "buildOnly")]
    pub(crate) build_only: bool,
}

/// What was typed, and behind it what is set elsewhere.
pub(crate) fn arguments(environment: &Environment) -> Result<Vec<OsString>, CommandError> {
    let mut typed = environment.arguments.clone();
    let is_set = |name: &str| environment.text(name).is_some_and(|it| !it.is_empty());
    let mut variables = FLAGS.iter().filter_map(|it| it.variable).chain([VARIABLE]);
    if !variables.any(is_set) && found(environment).is_none() {
        return Ok(typed);
    }
    let command = Cli::command().ignore_errors(true);
    let Ok(matches) = command.try_get_matches_from(&typed) else {
        return Ok(typed);
    };
    let (path, leaf) = leaf(&matches);
    let known = known(&path);
    let holds = |it: &Flag| known.iter().any(|id| id == it.id) && it.holds_for(&path, leaf);
    if !FLAGS.iter().any(holds) {
        return Ok(typed);
    }
    let is_typed = |id: &str| {
        // There, a form of what is printed says nothing about where an image goes.
        let texts = leaf.try_get_many::<String>(id).ok().flatten();
        let is_form = texts.is_some_and(|mut it| it.all(|it| it == "json" || it == "text"));
        !is_form
            && leaf.try_contains_id(id).unwrap_or_default()
            && leaf.value_source(id) == Some(clap::parser::ValueSource::CommandLine)
    };
    let mut added = Vec::new();
    // A file that nobody named holds for `build` alone: a mistake in it is nothing to others.
    for setting in all(environment, path == ["build"])? {
        let Some(flag) = FLAGS.iter().find(|it| it.field == setting.name) else {
            continue;
        };
        let is_said = is_typed(flag.id) || flag.unless.iter().any(|it| is_typed(it));
        if !is_said && holds(flag) {
            added.extend([OsString::from(flag.typed), OsString::from(setting.value)]);
        }
    }
    // What follows `--` is not a flag.
    let end = typed
        .iter()
        .position(|it| it == "--")
        .unwrap_or(typed.len());
    typed.splice(end..end, added);
    Ok(typed)
}

/// All that is set elsewhere: what holds comes first. `unnamed`: the file in the working directory
/// counts, though nobody named it.
pub(crate) fn all(environment: &Environment, unnamed: bool) -> Result<Vec<Setting>, CommandError> {
    let mut settings: Vec<Setting> = Vec::new();
    for flag in &FLAGS {
        if let Some(variable) = flag.variable
            && let Some(value) = environment.text(variable).filter(|it| !it.is_empty())
        {
            settings.push(Setting {
                name: flag.field,
                flag: flag.typed,
                value: value.to_owned(),
                from: variable.to_owned(),
                build_only: false,
            });
        }
    }
    let named = environment.text(VARIABLE).filter(|it| !it.is_empty());
    let path = match named {
        Some(name) => Some(environment.directory.join(name)),
        None => found(environment).filter(|_| unnamed),
    };
    let Some(path) = path else {
        return Ok(settings);
    };
    let file = read(&path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    for flag in &FLAGS {
        if settings.iter().any(|it| it.name == flag.field) {
            continue;
        }
        let values = file.values(flag.field, folder);
        if flag.is_trust && named.is_none() && !values.is_empty() {
            return Err(CommandError::undecided(Message(format!(
                "`{}` says whom to trust (`{}`), which only a file that is named may say",
                path.display(),
                flag.field
            )))
            .hint(format!("name it: `{VARIABLE}={}`", path.display())));
        }
        settings.extend(values.into_iter().map(|value| Setting {
            name: flag.field,
            flag: flag.typed,
            value,
            from: path.display().to_string(),
            build_only: named.is_none(),
        }));
    }
    Ok(settings)
}

/// The file that nobody named: where somebody works, or beside that, as a builder is sought.
fn found(environment: &Environment) -> Option<PathBuf> {
    unnamed(environment).filter(|it| is_ours(it, environment))
}

/// The file that would count if it were not another user's. As git has it, the settings of others say
/// nothing of what runs here: not in a folder that all write to, nor in sources that somebody else unpacked.
pub(crate) fn ignored(environment: &Environment) -> Option<PathBuf> {
    let is_named = environment.text(VARIABLE).is_some_and(|it| !it.is_empty());
    let path = unnamed(environment).filter(|_| !is_named)?;
    (!is_ours(&path, environment)).then_some(path)
}

fn unnamed(environment: &Environment) -> Option<PathBuf> {
    let here = environment.directory.join(FILE);
    if here.exists() {
        return Some(here);
    }
    let beside = environment.directory.parent()?.join(FILE);
    beside.exists().then_some(beside)
}

/// Whether a file is the user's own, or root's; for root also that of who became root by `sudo`.
fn is_ours(path: &Path, environment: &Environment) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    let user = rustix::process::getuid().as_raw();
    let before = environment.text("SUDO_UID").filter(|_| user == 0);
    let before: Option<u32> = before.and_then(|it| it.parse().ok());
    fs_err::symlink_metadata(path).is_ok_and(|it| {
        let owner = it.uid();
        owner == 0 || owner == user || Some(owner) == before
    })
}

/// All that can be set: what it is called in the file, the flag, and the variable.
pub(crate) fn known_settings()
-> impl Iterator<Item = (&'static str, &'static str, Option<&'static str>)> {
    FLAGS.iter().map(|it| (it.field, it.typed, it.variable))
}

impl File {
    /// What it says of a field. Paths are taken from its own folder on.
    fn values(&self, field: &str, folder: &Path) -> Vec<String> {
        let path = |it: &String| {
            if it.contains("://") {
                it.clone()
            } else {
                folder.join(it).display().to_string()
            }
        };
        let one = |it: &Option<String>| it.iter().map(path).collect();
        match field {
            // An image, if no file has this name.
            "builder" => {
                let is_file = |it: &&String| folder.join(it).exists();
                let file = self.builder.as_ref().filter(is_file).map(path);
                file.or_else(|| self.builder.clone()).into_iter().collect()
            }
            "key" => one(&self.key),
            "policy" => one(&self.policy),
            "registries-conf" => one(&self.registries_conf),
            "authfile" => one(&self.authfile),
            "tags" => self.tags.clone(),
            "public-keys" => self.public_keys.iter().map(path).collect(),
            "insecure-registries" => self.insecure_registries.clone(),
            "registry-ca" => self.registry_ca.iter().map(path).collect(),
            _ => Vec::new(),
        }
    }
}

fn read(path: &PathBuf) -> Result<File, CommandError> {
    let tried = || format!("failed to read the settings `{}`", path.display());
    let file = fs_err::File::open(path).map_err(CommandError::undecided)?;
    let text = oci::read_text_at_most(file, MAX_BYTES).context(tried)?;
    let text = files::whole(text, path, MAX_BYTES)?;
    toml::from_str(&text).context(tried)
}

/// The names of the innermost command, and what it was given.
pub(crate) fn leaf(matches: &ArgMatches) -> (Vec<&str>, &ArgMatches) {
    let (mut path, mut last) = (Vec::new(), matches);
    while let Some((name, inner)) = last.subcommand() {
        path.push(name);
        last = inner;
    }
    (path, last)
}

/// The flags that a command has, as clap knows them.
fn known(path: &[&str]) -> Vec<String> {
    let mut command: Command = Cli::command();
    for name in path {
        match command.find_subcommand(name) {
            Some(inner) => command = inner.clone(),
            None => return Vec::new(),
        }
    }
    let ids = command.get_arguments().map(|it| it.get_id().to_string());
    ids.collect()
}
