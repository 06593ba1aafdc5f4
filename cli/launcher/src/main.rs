//! The launcher of CNB images: the entry point of each of their processes.
//!
//! It has no flags: its name and its arguments say what to start. What it has to say itself goes to
//! stdout, in upstream's words. It ends with 1 when `metadata.toml` cannot be read, 11 and 12 for
//! API versions that it does not speak, and 82 when the process cannot be started; else the exit
//! code is that of the process, which has taken its place.

use std::convert::Infallible;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use go::flag::parse_bool;
use go::words::chain;
use launch::env::Env;
use launch::files::metadata::{BuildMetadata, LaunchMetadata};
use launch::{LaunchContext, api, files};
use signal_hook::consts::SIGPIPE;

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    let argv0 = arguments.next().unwrap_or_default();
    let arguments: Vec<_> = arguments.collect();
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the environment is read"
    )]
    let env = Env::new(env::vars_os().collect());
    let is_colored = !env
        .get("CNB_NO_COLOR")
        .to_str()
        .and_then(parse_bool)
        .unwrap_or_default();
    match run(env, is_colored, &argv0, &arguments) {
        Ok(never) => match never {},
        Err(Failure { code, text }) => {
            let label = if is_colored {
                "\x1b[31;1mERROR: \x1b[0m"
            } else {
                "ERROR: "
            };
            say(&format!("{label}{text}\n"));
            ExitCode::from(code)
        }
    }
}

/// The exit code and the line that goes with it.
struct Failure {
    code: u8,
    text: String,
}

fn run(
    env: Env,
    is_colored: bool,
    argv0: &OsStr,
    arguments: &[OsString],
) -> Result<Infallible, Failure> {
    let text_of = |name: &str| env.get(name).to_string_lossy().into_owned();
    let or = |name: &str, default: &str| {
        Some(env.get(name))
            .filter(|it| !it.is_empty())
            .unwrap_or(OsStr::new(default))
            .to_owned()
    };
    let platform_api =
        api::negotiate_platform(Some(&text_of("CNB_PLATFORM_API"))).map_err(|error| Failure {
            code: 11,
            text: chain(&error),
        })?;
    let layers = PathBuf::from(or("CNB_LAYERS_DIR", "/layers"));
    let metadata: LaunchMetadata = files::read_required(&layers.join("config/metadata.toml"))
        .map_err(|error| Failure {
            code: 1,
            text: format!("failed to read metadata: {}", chain(&error)),
        })?;
    let metadata = BuildMetadata::from(metadata);
    for buildpack in metadata.buildpacks() {
        api::negotiate_buildpack("buildpack", &buildpack.id, &buildpack.api).map_err(|error| {
            Failure {
                code: 12,
                text: chain(&error),
            }
        })?;
    }
    let name = text_of("CNB_PROCESS_TYPE");
    if !name.is_empty() {
        let label = if is_colored {
            "\x1b[33;1mWarning: \x1b[0m"
        } else {
            "Warning: "
        };
        say(&format!(
            "{label}CNB_PROCESS_TYPE is not supported in Platform API {platform_api}\n\
             {label}Run with ENTRYPOINT '{name}' to invoke the '{name}' process type\n"
        ));
    }
    // Rust ignores SIGPIPE, and what is ignored stays so in the process; what has a handler does not.
    let piped = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGPIPE, piped).map_err(|error| Failure {
        code: 82,
        text: format!("failed to launch: {error}"),
    })?;
    let context = LaunchContext {
        platform_api,
        layers,
        app: or("CNB_APP_DIR", "/workspace").into(),
        exec_env: or("CNB_EXEC_ENV", "production")
            .to_string_lossy()
            .into_owned(),
        env,
    };
    launch::launch(context, &metadata, argv0, arguments).map_err(|error| Failure {
        code: 82,
        text: format!("failed to launch: {}", chain(&error)),
    })
}

/// To stdout. When nobody listens there is nobody to tell.
fn say(text: &str) {
    io::stdout().write_all(text.as_bytes()).ok();
}
