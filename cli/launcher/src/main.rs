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
use std::iter;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use go::files::join;
use go::flag::parse_bool;
use go::words::chain;
use launch::env::Env;
use launch::files::metadata::{BuildMetadata, LaunchMetadata};
use launch::{LaunchContext, api, files};
use signal_hook::consts::{FORBIDDEN, SIGPIPE};
use signal_hook::flag;

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    let argv0 = arguments.next().unwrap_or_default();
    let arguments: Vec<_> = arguments.collect();
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the environment is read"
    )]
    let env = Env::of_process(env::vars_os());
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
            say(format!("{label}{text}\n").as_bytes());
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
    let metadata: LaunchMetadata = files::read_required(&join(&layers, "config/metadata.toml"))
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
    // Told as it is, whatever its bytes are.
    let name = env.get("CNB_PROCESS_TYPE").as_bytes();
    if !name.is_empty() {
        let label = if is_colored {
            "\x1b[33;1mWarning: \x1b[0m"
        } else {
            "Warning: "
        };
        let before = format!(
            "{label}CNB_PROCESS_TYPE is not supported in Platform API {platform_api}\n\
             {label}Run with ENTRYPOINT '"
        );
        let parts = [
            before.as_bytes(),
            name,
            b"' to invoke the '",
            name,
            b"' process type\n",
        ];
        say(&parts.concat());
    }
    // What is ignored stays so in the process, and Rust ignores SIGPIPE; what has a handler does not.
    take(iter::once(SIGPIPE).chain(go::signals::ignored()));
    let context = LaunchContext {
        platform_api,
        layers,
        app: or("CNB_APP_DIR", "/workspace").into(),
        exec_env: or("CNB_EXEC_ENV", "production")
            .to_string_lossy()
            .into_owned(),
        env,
        stay_alive: || take(go::signals::survived()),
    };
    launch::launch(context, &metadata, argv0, arguments).map_err(|error| Failure {
        code: 82,
        text: format!("failed to launch: {}", chain(&error)),
    })
}

/// Has these signals do nothing, until the process is there.
fn take(signals: impl IntoIterator<Item = i32>) {
    let taken = Arc::new(AtomicBool::new(false));
    for signal in signals {
        if !FORBIDDEN.contains(&signal) {
            flag::register(signal, Arc::clone(&taken)).ok();
        }
    }
}

/// To stdout. When nobody listens there is nobody to tell.
fn say(text: &[u8]) {
    io::stdout().write_all(text).ok();
}
