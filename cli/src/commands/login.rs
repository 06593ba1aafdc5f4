//! `sealpack login` and `sealpack logout`: credentials, kept where Docker keeps them.

use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};

use clap::Args;
use oci::auth::{ConfigFile, Credential, Credentials, Secret, docker_config_path};
use oci::store::{LoginCheck, RegistryClient, RegistryOptions, RegistryRefusal};
use oci::{ReferenceError, Registry, StoreError};
use serde::Serialize;

use crate::args::{Access, Printed};
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::prompt;
use crate::registries;
use crate::ui::{Tone, Ui};

/// Log in to a registry.
///
/// Asks for name and password, has the registry check them, and keeps them where Docker does:
/// `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, or the credential helper that this file
/// names. docker, podman, skopeo, crane, oras and cosign find them there, and sealpack finds theirs.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  Asking for name and password:
    sealpack login registry.example
  In a script:
    printenv TOKEN | sealpack login registry.example --username robot --password-stdin")]
pub(crate) struct Login {
    /// The registry: `HOST[:PORT]`.
    pub(crate) registry: String,

    /// The name.
    #[arg(long, short, value_name = "NAME")]
    pub(crate) username: Option<String>,

    /// Read the password, or an access token in the place of one, from standard input.
    #[arg(long, requires = "username")]
    pub(crate) password_stdin: bool,

    /// Read an identity token (an OAuth 2 refresh token) from standard input.
    #[arg(long, conflicts_with_all = ["username", "password_stdin"])]
    pub(crate) identity_token_stdin: bool,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sealpack logout registry.example")]
pub(crate) struct Logout {
    /// The registry: `HOST[:PORT]`.
    pub(crate) registry: String,

    /// Remove the credentials from this file instead of the usual place.
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// What `sealpack login --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LoggedIn {
    registry: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// Whether the registry asked for the credential.
    checked: bool,
    file: PathBuf,
    /// The program that keeps the secret in place of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    helper: Option<String>,
}

/// What `sealpack logout --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LoggedOut {
    registry: String,
    file: PathBuf,
    /// Whether there was a credential.
    removed: bool,
}

/// Keeps a credential, once the registry has taken it.
pub(crate) async fn log_in(
    args: Login,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let registry = parse(&args.registry)?;
    if args.access.offline && !registry.is_loopback() {
        return Err(CommandError::undecided(Message(format!(
            "`{registry}` is not on this machine, and `--offline` forbids connections"
        ))));
    }
    let file = file(args.access.authfile.as_deref(), environment)?;
    // Before anybody is asked for anything.
    ConfigFile::read(&file).map_err(CommandError::undecided)?;
    let options = registries::options(&with_authfile(&args.access), environment)?;
    let credential = ask(&args, environment, ui)?;
    let options = RegistryOptions {
        credentials: Credentials::default().with(registry.as_str(), credential.clone()),
        ..options
    };
    let check = RegistryClient::new(options).check_login(&registry).await;
    let checked = check.map_err(|error| refusal(error, &registry, &credential))?;
    let checked = checked == LoginCheck::Taken;
    let kept = ConfigFile::log_in(&file, &registry, &credential).await;
    let report = LoggedIn {
        registry: registry.to_string(),
        username: match credential {
            Credential::Basic { username, .. } => Some(username),
            _ => None,
        },
        checked,
        helper: kept.map_err(CommandError::undecided)?,
        file,
    };
    if !checked {
        ui.warn(format_args!(
            "`{registry}` allows anonymous access: the password was saved, but is not checked"
        ));
    }
    if report.helper.is_none() {
        ui.warn(format_args!(
            "credentials are stored unencrypted in `{}`; configure a credential helper",
            report.file.display()
        ));
    }
    ui.result(args.printed.output, &report, |ui, report| {
        let name = report.username.as_ref();
        ui.line(format_args!(
            "{} {}{}{}",
            ui.paint(Tone::Good, "logged in to"),
            report.registry,
            name.map(|it| format!(" as {it}")).unwrap_or_default(),
            match &report.helper {
                Some(helper) => format!("; kept by `{helper}`"),
                None => String::new(),
            },
        ));
    })
}

/// Forgets a credential.
pub(crate) async fn log_out(
    args: Logout,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let registry = parse(&args.registry)?;
    let file = file(args.authfile.as_deref(), environment)?;
    let done = ConfigFile::log_out(&file, &registry).await;
    let done = done.map_err(CommandError::undecided)?;
    let report = LoggedOut {
        registry: registry.to_string(),
        removed: done.found,
        file,
    };
    for part in done.left {
        ui.warn(format_args!(
            "`{part}` has a credential of its own, which stays in `{}`",
            report.file.display()
        ));
    }
    ui.result(args.printed.output, &report, |ui, report| {
        let (registry, file) = (&report.registry, report.file.display());
        if report.removed {
            let done = ui.paint(Tone::Good, "logged out of");
            ui.line(format_args!("{done} {registry}"));
        } else {
            ui.line(format_args!("not logged in to {registry} (`{file}`)"));
        }
    })
}

/// How the registry is reached: a file of credentials that is to be made has none yet.
fn with_authfile(access: &Access) -> Access {
    let mut access = access.clone();
    access.authfile = access.authfile.filter(|it| it.exists());
    access
}

/// A registry, as it is typed or copied out of a browser.
fn parse(text: &str) -> Result<Registry, CommandError> {
    let bare = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .unwrap_or(text)
        .trim_end_matches('/');
    bare.parse().map_err(|error: ReferenceError| {
        CommandError::undecided(error)
            .hint("a registry is `HOST` or `HOST:PORT`, without the path of a repository")
    })
}

/// Where credentials are kept.
fn file(named: Option<&Path>, environment: &Environment) -> Result<PathBuf, CommandError> {
    if let Some(path) = named {
        return Ok(environment.directory.join(path));
    }
    docker_config_path(environment.home().as_deref(), &environment.texts()).ok_or_else(|| {
        CommandError::undecided(Message(
            "`HOME` is missing: credentials have no place".to_owned(),
        ))
        .hint("name a file by `--authfile`, or set `DOCKER_CONFIG` to a folder")
    })
}

/// The credential, from standard input or whoever sits there.
fn ask(args: &Login, environment: &Environment, ui: &Ui) -> Result<Credential, CommandError> {
    if args.identity_token_stdin {
        return Ok(Credential::IdentityToken(from_stdin("identity token")?));
    }
    if let (Some(username), true) = (&args.username, args.password_stdin) {
        return Ok(Credential::basic(name(username)?, from_stdin("password")?));
    }
    if !environment.stdin_is_terminal {
        return Err(CommandError::undecided(Message(
            "there is no terminal to ask for a password".to_owned(),
        ))
        .hint("send it to standard input, and say `--username NAME --password-stdin`"));
    }
    let username = if let Some(username) = &args.username {
        name(username)?
    } else {
        ui.prompt("Username: ");
        let mut line = String::new();
        io::stdin()
            .lock()
            .read_line(&mut line)
            .context(|| "failed to read the name".to_owned())?;
        if line.is_empty() {
            return Err(Message("nobody typed a name".to_owned()).into());
        }
        ui.answered();
        name(line.trim_end_matches(['\n', '\r']))?
    };
    let password = prompt::password("Password: ")?;
    Ok(Credential::basic(username, secret("password", &password)?))
}

/// What a name of HTTP's basic credentials may be.
fn name(text: &str) -> Result<String, CommandError> {
    if text.is_empty() || text.contains(':') || text.contains(char::is_control) {
        let rule = "a name is not empty, and has neither `:` nor control characters in it";
        return Err(Message(rule.to_owned()).into());
    }
    Ok(text.to_owned())
}

/// Reads a secret, and the end of the line that most programs write after it.
fn from_stdin(what: &str) -> Result<Secret, CommandError> {
    /// More than any token.
    const LIMIT: u64 = 64 << 10;
    let text = oci::read_text_at_most(io::stdin().lock(), LIMIT)
        .context(|| format!("failed to read the {what} from standard input"))?;
    let Some(text) = text else {
        return Err(Message(format!("the {what} is longer than {LIMIT} bytes")).into());
    };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    secret(what, line.strip_suffix('\r').unwrap_or(line))
}

fn secret(what: &str, text: &str) -> Result<Secret, CommandError> {
    if text.is_empty() {
        return Err(Message(format!("the {what} is empty")).into());
    }
    if text.contains(char::is_control) {
        return Err(Message(format!("the {what} is more than one line")).into());
    }
    Ok(text.into())
}

/// A refusal by the registry, which is an answer, apart from all else that may go wrong.
fn refusal(error: StoreError, registry: &Registry, credential: &Credential) -> CommandError {
    let answer = match &error {
        StoreError::Refused { source, .. } => source.downcast_ref::<RegistryRefusal>(),
        _ => None,
    };
    let Some(answer) = answer.filter(|it| matches!(it.status, 401 | 403)) else {
        return CommandError::undecided(error);
    };
    let what = match (answer.status, credential) {
        (401, Credential::Basic { .. }) => "wrong username or password for",
        (401, _) => "wrong token for",
        _ => "login is not allowed for",
    };
    let refused = match (answer.status, credential) {
        (403, Credential::Basic { username, .. }) => format!("{what} `{username}` at `{registry}`"),
        (403, _) => format!("{what} this token at `{registry}`"),
        _ => format!("{what} `{registry}`"),
    };
    let refused =
        CommandError::rejected(Message(refused)).note(format!("the registry says: {answer}"));
    match credential {
        Credential::Basic { .. } => {
            refused.hint("many registries want an access token in place of the password")
        }
        _ => refused,
    }
}
