//! One module a command.

mod attest;
pub(crate) mod build;
mod copy;
mod delete;
mod gc;
pub(crate) mod health;
mod inspect;
mod key;
mod login;
mod policy;
mod tree;
mod unpack;
mod verify;

use clap::CommandFactory as _;

use crate::args::{Cli, Command, Key, Policy};
use crate::environment::Environment;
use crate::error::{CommandError, Message};
use crate::ui::Ui;

pub(crate) async fn run(
    command: Command,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    match command {
        // Large: on the heap, once.
        Command::Build(args) => Box::pin(build::run(args, environment, ui)).await,
        Command::Key(Key::Generate {
            output_key_prefix,
            printed,
        }) => key::generate(&output_key_prefix, printed.output, environment, ui),
        Command::Sign(args) => attest::sign(args, environment, ui).await,
        Command::Attest(args) => attest::attest(args, environment, ui).await,
        Command::Verify(args) => verify::run(args, environment, ui).await,
        Command::Tree(args) => tree::run(args, environment, ui).await,
        Command::Inspect(args) => inspect::run(args, environment, ui).await,
        Command::Policy(Policy::Check(args)) => policy::check(args, environment, ui).await,
        Command::Copy(args) => copy::run(args, environment, ui).await,
        Command::Unpack(args) => unpack::run(args, environment, ui).await,
        Command::Delete(args) => delete::run(args, environment, ui).await,
        Command::Health(args) => health::run(&args, environment, ui),
        Command::Gc(args) => gc::run(args, environment, ui).await,
        Command::Login(args) => login::log_in(args, environment, ui).await,
        Command::Logout(args) => login::log_out(args, environment, ui).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sealpack", &mut script);
            ui.line(String::from_utf8_lossy(&script).trim_end());
            Ok(())
        }
        Command::Sandbox => Err(Message("the sandbox is entered before this".to_owned()).into()),
    }
}
