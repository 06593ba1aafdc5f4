//! `sealpack`: turns app source into a container image that carries its own proof.

mod args;
mod building;
mod claims;
mod commands;
mod completion;
mod contents;
mod defaults;
mod digest_tags;
mod environment;
mod error;
mod files;
mod gated;
mod habits;
mod help;
mod identities;
mod images;
mod interrupts;
mod keys;
mod machine;
mod making;
mod prompt;
mod publishing;
mod registries;
mod signing;
mod stranger;
mod superseded;
mod temporary;
mod transfer;
mod typed;
mod ui;
mod unproven;
mod written;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use crate::args::{Cli, Format};
use crate::environment::Environment;
use crate::error::{CommandError, Context as _};
use crate::interrupts::Interrupts;
use crate::ui::Ui;

/// The argument by which this program starts itself anew, as the inner stage of the sandbox.
const SANDBOX: &str = "__sandbox";

/// How often a log hears that something is under way.
const MINUTE: Duration = Duration::from_mins(1);

/// How long the threads of a command that was interrupted may take to end.
const GRACE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    if let Some(arguments) = of_lifecycle() {
        return lifecycle::main(&arguments);
    }
    let environment = match Environment::read() {
        Ok(environment) => environment,
        Err(error) => {
            // There is no `Ui` yet to say it.
            let what = match error.kind() {
                std::io::ErrorKind::NotFound => "was removed",
                _ => "cannot be used",
            };
            ui::log(&format!("error: the working folder {what}: {error}"));
            return ExitCode::from(2);
        }
    };
    // No command: nobody is to find it in a help or a completion script.
    if environment.arguments.get(1).is_some_and(|it| it == SANDBOX) {
        // Before there is any other thread.
        return platform::sandbox::enter();
    }
    if environment
        .arguments
        .get(1)
        .is_some_and(|it| it == completion::ASKED)
    {
        return completion::answer(environment);
    }
    let arguments = match defaults::arguments(&environment) {
        Ok(arguments) => arguments,
        Err(error) => return failed(&error, &environment),
    };
    // To make the texts of help takes longer than to understand the arguments, and few ask for them.
    let matches = match Cli::understood(&arguments) {
        Some(matches) => matches,
        None => match help::command(&arguments).try_get_matches_from(arguments) {
            Ok(matches) => matches,
            Err(error) => return not_understood(error, &environment),
        },
    };
    let format = format(&matches);
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return not_understood(error.format(&mut Cli::command()), &environment),
    };
    let name = matches.subcommand_name().unwrap_or_default();
    let ui = Ui::new(&cli.global, &environment).of_command(name, &environment);
    if let Some(path) = defaults::ignored(&environment).filter(|_| name == "build") {
        ui.warn(format_args!(
            "`{}` is left out: it belongs to another user (`SEALPACK_CONFIG` uses it all the same)",
            path.display()
        ));
    }
    let result = run(cli, format, &environment, &ui).and_then(|()| ui.written());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = temporary::explained(error, &environment);
            ui.failed(&error, format);
            error.exit_code()
        }
    }
}

/// The arguments of the lifecycle, if this program was started as it: by its name or that of a phase,
/// or by `sealpack lifecycle …`, whose flags are not of clap's kind.
fn of_lifecycle() -> Option<Vec<OsString>> {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.first().is_some_and(|it| lifecycle::is_name(it)) {
        return Some(arguments);
    }
    if arguments.get(1).is_some_and(|it| it == "lifecycle") {
        arguments.remove(0);
        return Some(arguments);
    }
    None
}

/// Says what clap has to say (help is such an error, too), and what other tools call it.
fn not_understood(mut error: clap::Error, environment: &Environment) -> ExitCode {
    let hint = habits::hint(&error, &environment.arguments);
    habits::without_wrong_tips(&mut error, hint.is_some());
    let ui = Ui::plain(environment);
    // There is nobody to tell that nobody can be told; but a help that was asked for is a result.
    if let Err(failed) = error.print()
        && !error.use_stderr()
        && failed.kind() != std::io::ErrorKind::BrokenPipe
    {
        let failed = Err::<(), _>(failed).context(|| "failed to write the result".to_owned());
        if let Err(failed) = failed {
            ui.error(&failed);
            return failed.exit_code();
        }
    }
    if let Some(hint) = &hint {
        ui.hint(hint);
    }
    if error.use_stderr() && wants_json(&environment.arguments) {
        ui.failure(&habits::error(&error, hint));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Says what is wrong before it is known what was asked for.
fn failed(error: &CommandError, environment: &Environment) -> ExitCode {
    let ui = Ui::plain(environment);
    ui.error(error);
    if wants_json(&environment.arguments) {
        ui.failure(error);
    }
    error.exit_code()
}

/// Whether somebody asked for JSON, in arguments that were not understood.
fn wants_json(arguments: &[OsString]) -> bool {
    let typed = arguments.iter().skip(1).map_while(|it| it.to_str());
    let typed: Vec<_> = typed.take_while(|it| *it != "--").collect();
    let mut pairs = typed.windows(2);
    let apart = |it: &[&str]| matches!(it, ["-o" | "--output", "json"]);
    let joined = |it: &&str| ["-ojson", "-o=json", "--output=json"].contains(it);
    pairs.any(apart) || typed.iter().any(joined)
}

/// The form of what the command prints, whichever command it is.
fn format(matches: &ArgMatches) -> Format {
    let mut last = matches;
    while let Some((_, inner)) = last.subcommand() {
        last = inner;
    }
    let named = last.try_get_one::<Format>("output").ok().flatten();
    // `build` has images there, too.
    let texts = last.try_get_many::<String>("output").ok().flatten();
    let is_json = texts.is_some_and(|mut it| it.any(|it| it == "json"));
    match named {
        Some(format) => *format,
        None if is_json => Format::Json,
        None => Format::Text,
    }
}

fn run(cli: Cli, format: Format, environment: &Environment, ui: &Ui) -> Result<(), CommandError> {
    // One thread is enough to wait on; what works hard has threads of its own. A server has many
    // clients, none of which is to wait for another.
    let limit = cli.global.timeout;
    let is_server = matches!(cli.command, commands::Command::Serve(_));
    let mut builder = if is_server {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder
        .enable_all()
        .build()
        .context(|| "failed to start".to_owned())?;
    if is_server {
        // Which has a log of its own, and ends in order by itself.
        let never = Interrupts::never();
        let result = runtime.block_on(commands::run(cli.command, limit, never, environment, ui));
        runtime.shutdown_background();
        return result;
    }
    ui.while_telling(MINUTE, || {
        interrupts::while_listening(ui, format, |interrupts| {
            let command = commands::run(cli.command, limit, interrupts, environment, ui);
            let result = runtime.block_on(command);
            // A thread that still works takes away what it made, if it hears that nobody wants it any
            // more; one that waits, for a lock say, waits for a command that was given up.
            let is_early = result.as_ref().is_err_and(CommandError::is_interruption);
            runtime.shutdown_timeout(if is_early { GRACE } else { Duration::ZERO });
            result
        })
    })
}
