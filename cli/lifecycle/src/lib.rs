//! The CNB lifecycle: one program for all phases, by itself or as a part of `sealpack`.
//!
//! The name it is called by says which phase it runs (`analyzer`, `detector`, `restorer`,
//! `extender`, `builder`, `exporter`, `creator`, `rebaser`), or as `lifecycle` its first argument
//! does (`analyze`, `detect`, …). Flags, exit codes and log lines are those of upstream's lifecycle:
//! platforms depend on each.
//!
//! | code | meaning |
//! |---|---|
//! | 1 | failed, with no code of its own |
//! | 2 | unknown or malformed flag |
//! | 3 | arguments that make no sense |
//! | 11, 12 | Platform API, Buildpack API not supported |
//! | 20, 21, 22 | no group passed, one failed with an error, detect failed otherwise |
//! | 32, 42, 62, 72, 102 | analyze, restore, export, rebase, extend failed |
//! | 51, 52 | a buildpack failed, build failed otherwise |
//! | 91, 92 | an extension failed, generate failed otherwise |

mod commands;
mod console;
mod environment;
mod experimental;
mod failure;
mod files;
mod flags;
mod inputs;
mod phase;
mod privileges;
mod resolve;
mod session;
mod signals;
mod telemetry;
pub mod version;

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use go::flag::{Flag, FlagError, Value};
use lifecycle_core::api::{self, PlatformApi};
use lifecycle_core::exec::Cancel;
use lifecycle_core::{Level, Log as _};

use crate::console::{Console, Least};
use crate::environment::Environment;
use crate::failure::{Failure, GENERIC, INVALID_ARGUMENTS, PLATFORM_API};
use crate::flags::is_flag_of;
use crate::inputs::Inputs;
use crate::phase::Phase;

/// Whether a program of this name is the lifecycle: `lifecycle`, or what is called as a phase is.
pub fn is_name(argv0: &OsStr) -> bool {
    Phase::of_program(argv0).is_some() || Path::new(argv0).file_name() == Some("lifecycle".as_ref())
}

/// Runs it with these arguments, the first of which is the name it was started by.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let environment = Environment::of_process();
    let mut console = Console {
        least: Least::Level(Level::Info),
        is_colored: true,
    };
    match run(&environment, arguments, &mut console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.text.is_empty() {
                console.line(Level::Error, &failure.text);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn run(
    environment: &Environment,
    arguments: &[OsString],
    console: &mut Console,
) -> Result<(), Failure> {
    let [argv0, rest @ ..] = arguments else {
        return Err(Failure {
            code: INVALID_ARGUMENTS,
            text: "failed to parse arguments".to_owned(),
        });
    };
    let rest: Vec<String> = rest
        .iter()
        .map(|it| it.to_string_lossy().into_owned())
        .collect();
    if let Some(phase) = Phase::of_program(argv0) {
        return run_phase(phase, phase.program(), environment, &rest, console);
    }
    match rest.split_first() {
        None => Err(Failure {
            code: INVALID_ARGUMENTS,
            text: "failed to parse arguments".to_owned(),
        }),
        Some((first, _)) if matches!(first.as_str(), "-version" | "--version") => {
            console.output(format!("{}\n", version::text()).as_bytes());
            Ok(())
        }
        Some((first, rest)) => {
            negotiate(environment)?;
            let name = base_name(first);
            match Phase::of_subcommand(name) {
                Some(phase) => run_phase(phase, phase.name(), environment, rest, console),
                None => Err(Failure::because(
                    INVALID_ARGUMENTS,
                    "recognize phase",
                    &format!(
                        "{name} \nValid phases: detect, analyze, restore, build, export, rebase, create, extend"
                    ),
                )),
            }
        }
    }
}

/// What the platform speaks.
fn negotiate(environment: &Environment) -> Result<PlatformApi, Failure> {
    api::negotiate_platform(environment.text("CNB_PLATFORM_API").as_deref()).map_err(|error| {
        Failure {
            code: PLATFORM_API,
            text: error.to_string(),
        }
    })
}

/// The last part of a path, as Go's `filepath.Base` has it: never empty.
fn base_name(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let path = path.trim_end_matches('/');
    match path.rsplit('/').next() {
        None | Some("") => "/",
        Some(name) => name,
    }
}

/// Runs a phase, which was called by this name.
fn run_phase(
    phase: Phase,
    name: &str,
    environment: &Environment,
    arguments: &[String],
    console: &mut Console,
) -> Result<(), Failure> {
    let platform_api = negotiate(environment)?;

    // An input that is no flag at this API has what the environment says.
    let (flags, others): (Vec<Flag>, Vec<Flag>) = flags::all(environment)
        .into_iter()
        .partition(|it| is_flag_of(phase, platform_api, it.name));
    let mut parsed = match go::flag::parse(&flags, arguments) {
        Ok(parsed) => parsed,
        Err(error) => return usage(&flags, &error),
    };
    for flag in others {
        // One input with two names: the phase has a flag of the one or of the other.
        let twin = match flag.name {
            "skip-layers" => parsed.values.get("skip-restore").cloned(),
            "skip-restore" => parsed.values.get("skip-layers").cloned(),
            _ => None,
        };
        parsed
            .values
            .insert(flag.name, twin.unwrap_or(flag.default));
    }

    let is_set = |name: &str| matches!(parsed.values.get(name), Some(Value::Switch(true)));
    console.is_colored = !is_set("no-color");
    if is_set("version") {
        console.output(format!("{}\n", version::text()).as_bytes());
        return Ok(());
    }
    let Some(Value::Text(level)) = parsed.values.get("log-level") else {
        return Err(Failure::because(
            GENERIC,
            "parse log level",
            "invalid level",
        ));
    };
    console.least = Least::parse(level)
        .ok_or_else(|| Failure::because(GENERIC, "parse log level", "invalid level"))?;
    let console = *console;
    for argument in parsed.arguments.iter().filter(|it| it.starts_with('-')) {
        console.line(
            Level::Warn,
            &format!(
                "Warning: unconsumed flag-like positional arg: \n\t{argument}\n\t This will not be \
                 interpreted as a flag.\n\t Did you mean to put this before the first positional argument?"
            ),
        );
    }

    console.line(Level::Debug, &format!("Starting {name}..."));
    console.line(Level::Debug, "Parsing inputs...");
    count(phase, parsed.arguments.len())
        .map_err(|cause| Failure::because(INVALID_ARGUMENTS, "parse arguments", &cause))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "relative paths are made absolute here, once"
    )]
    let working_directory = env::current_dir().unwrap_or_else(|_gone| PathBuf::from("/"));
    let inputs = Inputs::new(
        parsed,
        platform_api,
        environment.clone(),
        &working_directory,
    );
    let cancel = Cancel::default();
    signals::cancel_on_signal(&cancel);
    if inputs.platform_api.has_exec_env() && inputs.exec_env().contains('/') {
        console.line(
            Level::Warn,
            "CNB_EXEC_ENV contains the character '/', which is not allowed: it is reserved",
        );
    }
    let traced = telemetry::start(phase, &inputs, console);
    let result = commands::run(phase, inputs, &cancel, console);
    telemetry::finish(traced.as_deref(), console);
    result
}

/// Whether a phase takes this many images.
fn count(phase: Phase, count: usize) -> Result<(), String> {
    match phase {
        Phase::Analyze | Phase::Create if count != 1 => {
            Err(format!("received {count} arguments, but expected 1"))
        }
        Phase::Export | Phase::Rebase if count == 0 => {
            Err("at least one image argument is required".to_owned())
        }
        Phase::Restore if count != 0 => Err("received unexpected Args".to_owned()),
        Phase::Detect | Phase::Build | Phase::Extend if count != 0 => {
            Err("received unexpected arguments".to_owned())
        }
        _ => Ok(()),
    }
}

/// What Go's `flag` does: the mistake and the usage go to stderr.
fn usage(flags: &[Flag], error: &FlagError) -> Result<(), Failure> {
    let mut text = String::new();
    if *error != FlagError::Help {
        text = format!("{error}\n");
    }
    let mut shown = flags.to_vec();
    shown.retain(|it| !flags::BEYOND_UPSTREAM.contains(&it.name));
    text.push_str(&go::flag::usage("lifecycle", &shown));
    io::stderr().write_all(text.as_bytes()).ok();
    if *error == FlagError::Help {
        Ok(())
    } else {
        Err(Failure {
            code: 2,
            text: String::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_a_path_is_as_in_go() {
        for (path, expected) in [
            ("", "."),
            ("/", "/"),
            ("//", "/"),
            ("a", "a"),
            ("b/a/", "a"),
        ] {
            assert_eq!(base_name(path), expected, "{path}");
        }
    }
}
