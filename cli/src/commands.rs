//! One module a command.

mod attest;
pub(crate) mod build;
mod builder;
mod buildpack;
mod config;
pub(crate) mod copy;
mod delete;
mod doctor;
mod gc;
pub(crate) mod health;
mod inspect;
mod key;
mod login;
mod ls;
mod man;
mod manifest;
mod mirror;
pub(crate) mod policy;
mod rebase;
pub(crate) mod report;
mod sbom;
mod serve;
mod tree;
mod unpack;
mod verify;
mod version;

use std::time::Duration;

use clap::{Args as _, Subcommand};

use self::attest::{Attest, Sign};
use self::build::Build;
use self::builder::BuilderCommand;
use self::buildpack::{BuildpackCommand, ExtensionCommand};
use self::config::Config;
use self::copy::Copy;
use self::delete::Delete;
use self::doctor::Doctor;
use self::gc::Gc;
use self::health::HealthArgs;
use self::inspect::Inspect;
use self::key::Key;
use self::login::{Login, Logout};
use self::ls::Ls;
use self::manifest::Manifest;
use self::mirror::Mirror;
use self::policy::Policy;
use self::rebase::Rebase;
use self::report::ReportArgs;
use self::sbom::Sbom;
use self::serve::Serve;
use self::tree::Tree;
use self::unpack::Unpack;
use self::verify::Verify;
use self::version::Version;
use crate::completion;
use crate::environment::Environment;
use crate::error::{CommandError, Message};
use crate::interrupts::Interrupts;
use crate::ui::Ui;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image from source, sign it, attach its SBOMs and provenance, and check it against a
    /// policy.
    Build(Box<Build>),
    /// Make and inspect builder images.
    #[command(subcommand)]
    Builder(BuilderCommand),
    /// Make and inspect packages of buildpacks.
    #[command(subcommand)]
    Buildpack(BuildpackCommand),
    /// Make and inspect packages of image extensions.
    #[command(subcommand)]
    Extension(ExtensionCommand),
    /// Generate key pairs, and print public keys.
    #[command(subcommand)]
    Key(Key),
    /// Sign an image.
    Sign(Sign),
    /// Attach a signed claim to an image.
    Attest(Attest),
    /// Verify that an image is signed, or has other claims by an accepted signer.
    Verify(Verify),
    /// Show what is attached to an image.
    Tree(Tree),
    /// Show what an image is and how it was built.
    Inspect(Inspect),
    /// Generate, convert and merge SBOMs.
    #[command(subcommand)]
    Sbom(Sbom),
    /// Judge images by policies.
    #[command(subcommand)]
    Policy(Policy),
    /// Copy an image, and the signatures, SBOMs and provenance that are attached to it.
    #[command(visible_alias = "cp")]
    Copy(Copy),
    #[command(visible_alias = "env")]
    Config(Config),
    #[command(subcommand)]
    Manifest(Manifest),
    Mirror(Mirror),
    Rebase(Box<Rebase>),
    Serve(Serve),
    /// Unpack the root file system of an image into a folder.
    Unpack(Unpack),
    Delete(Delete),
    Doctor(Doctor),
    Gc(Gc),
    Health(HealthArgs),
    Report(ReportArgs),
    Login(Login),
    Ls(Ls),
    /// Log out of a registry.
    Logout(Logout),
    /// Print a completion script for a shell.
    ///
    /// In bash, zsh and fish, tags are completed, too, behind `HOST/REPO:`, `oci:DIR:`,
    /// `oci-archive:FILE:`, `docker-archive:FILE:NAME:` and `docker-daemon:NAME:`, by looking there for
    /// two seconds at most, with the flags that were typed before.
    #[command(after_help = "\
Examples:
  sealpack completion bash > /etc/bash_completion.d/sealpack
  sealpack completion zsh > /usr/local/share/zsh/site-functions/_sealpack
  sealpack completion fish > ~/.config/fish/completions/sealpack.fish
  In a running bash:
    source <(sealpack completion bash)")]
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one a command, into a folder.
    #[command(after_help = "Example:\n  sealpack man /usr/local/share/man/man1")]
    Man {
        /// The folder.
        folder: std::path::PathBuf,
    },
    Version(Version),
}

/// Gives a command its arguments.
type Augment = fn(clap::Command) -> clap::Command;

/// What is run again and again, for one image after another.
const FREQUENT: [(&str, Augment); 7] = [
    ("attest", Attest::augment_args),
    ("copy", Copy::augment_args),
    ("inspect", Inspect::augment_args),
    ("ls", Ls::augment_args),
    ("sign", Sign::augment_args),
    ("tree", Tree::augment_args),
    ("verify", Verify::augment_args),
];

/// A command by itself, if it is run often: to make the arguments of all others takes longer than to
/// understand its own.
pub(crate) fn alone(name: &str) -> Option<clap::Command> {
    let (name, arguments) = FREQUENT.iter().find(|(it, _)| *it == name)?;
    Some(arguments(clap::Command::new(*name)))
}

/// Runs a command, for no longer than `limit`, and until it is interrupted: then it is dropped where it
/// waits, and what it began is taken away by what it has in hand.
pub(crate) async fn run(
    command: Command,
    limit: Option<Duration>,
    mut interrupts: Interrupts,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    if let Command::Build(args) = command {
        // Telling how a build went has a limit of its own, and what it started is to end in order.
        let build = build::run(*args, limit, &mut interrupts, environment, ui);
        // Large: on the heap, once.
        return Box::pin(build).await;
    }
    let command = within(limit, Box::pin(any(command, environment, ui)));
    tokio::select! {
        biased;
        result = command => result,
        interrupted = interrupts.come() => Err(interrupted),
    }
}

/// Gives `command` up when `limit` has passed.
pub(crate) async fn within(
    limit: Option<Duration>,
    command: impl Future<Output = Result<(), CommandError>>,
) -> Result<(), CommandError> {
    let Some(limit) = limit else {
        return command.await;
    };
    let ended = tokio::time::timeout(limit, command).await;
    ended.unwrap_or_else(|_elapsed| {
        let limit = format!("{limit:?}");
        Err(CommandError::undecided(Message(format!(
            "not done within {limit} (`--timeout`)"
        ))))
    })
}

async fn any(command: Command, environment: &Environment, ui: &Ui) -> Result<(), CommandError> {
    match command {
        Command::Build(args) => {
            let mut never = Interrupts::never();
            Box::pin(build::run(*args, None, &mut never, environment, ui)).await
        }
        Command::Builder(command) => Box::pin(builder::run(command, environment, ui)).await,
        Command::Buildpack(command) => Box::pin(buildpack::run(command, environment, ui)).await,
        Command::Extension(command) => {
            Box::pin(buildpack::run_extension(command, environment, ui)).await
        }
        Command::Key(command) => key::run(&command, environment, ui),
        Command::Sign(args) => attest::sign(args, environment, ui).await,
        Command::Attest(args) => attest::attest(args, environment, ui).await,
        Command::Verify(args) => verify::run(args, environment, ui).await,
        Command::Tree(args) => tree::run(args, environment, ui).await,
        Command::Inspect(args) => inspect::run(args, environment, ui).await,
        Command::Sbom(command) => sbom::run(command, environment, ui).await,
        Command::Policy(command) => policy::run(command, environment, ui).await,
        Command::Report(args) => Box::pin(report::run(args, environment, ui)).await,
        Command::Copy(args) => copy::run(args, environment, ui).await,
        Command::Config(args) => config::run(&args, environment, ui),
        Command::Manifest(command) => Box::pin(manifest::run(command, environment, ui)).await,
        Command::Mirror(args) => Box::pin(mirror::run(args, environment, ui)).await,
        Command::Rebase(args) => Box::pin(rebase::run(*args, environment, ui)).await,
        Command::Serve(args) => Box::pin(serve::run(args, environment)).await,
        Command::Unpack(args) => unpack::run(args, environment, ui).await,
        Command::Delete(args) => delete::run(args, environment, ui).await,
        Command::Doctor(args) => doctor::run(&args, environment, ui),
        Command::Health(args) => health::run(&args, environment, ui),
        Command::Gc(args) => gc::run(args, environment, ui).await,
        Command::Login(args) => login::log_in(args, environment, ui).await,
        Command::Logout(args) => login::log_out(args, environment, ui).await,
        Command::Completion { shell } => {
            ui.document(completion::script(shell).trim_end());
            Ok(())
        }
        Command::Ls(args) => ls::run(args, environment, ui).await,
        Command::Man { folder } => man::run(&environment.directory.join(folder), ui),
        Command::Version(args) => version::run(&args, ui),
    }
}
