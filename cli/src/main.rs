//! `sealpack`: turns app source into a container image that carries its own proof.

mod args;
mod building;
mod claims;
mod commands;
mod contents;
mod environment;
mod error;
mod gated;
mod identities;
mod images;
mod keys;
mod making;
mod prompt;
mod registries;
mod signing;
mod stranger;
mod transfer;
mod ui;
mod written;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _};
use crate::ui::Ui;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let commands::Command::Sandbox = cli.command {
        // Before there is any other thread.
        return platform::sandbox::enter();
    }
    let Ok(environment) = Environment::read() else {
        // The working directory was removed; there is no `Ui` yet to say it.
        return ExitCode::from(2);
    };
    let ui = Ui::new(&cli.global, &environment);
    match run(cli, &environment, &ui) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui.error(&error);
            error.exit_code()
        }
    }
}

fn run(cli: Cli, environment: &Environment, ui: &Ui) -> Result<(), CommandError> {
    // One thread is enough to wait on; what works hard has threads of its own. A server has many
    // clients, none of which is to wait for another.
    let mut builder = match cli.command {
        commands::Command::Serve(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder
        .enable_all()
        .build()
        .context(|| "failed to start".to_owned())?;
    let result = runtime.block_on(commands::run(cli.command, environment, ui));
    // A thread that still waits, for a lock say, waits for a command that was interrupted.
    runtime.shutdown_background();
    result
}
