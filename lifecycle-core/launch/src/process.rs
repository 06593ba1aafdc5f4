//! Which process to start, and with which arguments.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use crate::api::{BuildpackApi, PlatformApi};
use crate::files::metadata::{BuildMetadata, Process};

/// A process that is to be started: the arguments are settled.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Selected {
    /// The process type; empty when the user gave a command.
    pub(super) name: String,
    /// The program; `None` when the process has no command.
    pub(super) command: Option<OsString>,
    pub(super) args: Vec<OsString>,
    pub(super) direct: bool,
    /// Relative to the app's folder.
    pub(super) working_directory: String,
    /// The buildpack that it says is its own, if that is not in the image.
    pub(super) stranger: Option<String>,
}

/// The process whose type is the last part of `argv0`, or, when there is none of that name in any
/// execution environment, the command in `args`.
///
/// # Errors
///
/// When the process may not start in `exec_env`, its buildpack is unknown, or there is nothing to
/// start.
pub(super) fn select(
    metadata: &BuildMetadata,
    api: PlatformApi,
    exec_env: &str,
    argv0: &OsStr,
    args: &[OsString],
) -> Result<Selected, SelectError> {
    let name = argv0.as_bytes().rsplit(|byte| *byte == b'/').next();
    let name = OsStr::from_bytes(name.unwrap_or_default());
    if name.is_empty() {
        return of_user(args);
    }
    let mut known = metadata
        .processes()
        .iter()
        .filter(|it| OsStr::new(&it.r#type) == name)
        .peekable();
    let Some(first) = known.peek().copied() else {
        return of_user(args);
    };
    let process = known
        .find(|it| !api.has_exec_env() || is_eligible(it, exec_env))
        .ok_or_else(|| SelectError::NoProcess {
            name: first.r#type.clone(),
        })?;
    of_process(metadata, api, process, args)
}

fn is_eligible(process: &Process, exec_env: &str) -> bool {
    process.exec_env.is_empty()
        || process
            .exec_env
            .iter()
            .any(|it| it == "*" || it == exec_env)
}

fn of_user(args: &[OsString]) -> Result<Selected, SelectError> {
    let (direct, words) = match args {
        [dashes, rest @ ..] if dashes.as_bytes() == b"--" && !rest.is_empty() => (true, rest),
        _ => (false, args),
    };
    let (command, args) = words.split_first().ok_or(SelectError::NoCommand)?;
    Ok(Selected {
        command: Some(command.clone()),
        args: args.to_vec(),
        direct,
        ..Selected::default()
    })
}

/// User arguments replace `args` or follow them, by the API of platform and buildpack.
fn of_process(
    metadata: &BuildMetadata,
    api: PlatformApi,
    process: &Process,
    user: &[OsString],
) -> Result<Selected, SelectError> {
    let owned = |words: &[String]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let (command, always) = match process.command.words().split_first() {
        Some((command, always)) => (Some(OsString::from(command)), always),
        None => (None, [].as_slice()),
    };
    // Before lists of words a shell was given all of them as one.
    let is_joined = !process.direct && !api.has_command_lists() && !always.is_empty();
    let command = if is_joined {
        Some(OsString::from(process.command.words().join(" ")))
    } else {
        command
    };
    let mut args = if is_joined { Vec::new() } else { owned(always) };
    if user.is_empty() {
        args.extend(owned(process.args.as_deref().unwrap_or_default()));
    } else {
        if !replaces_args(metadata, api, process, always)? {
            args.extend(owned(process.args.as_deref().unwrap_or_default()));
        }
        args.extend_from_slice(user);
    }
    Ok(Selected {
        name: process.r#type.clone(),
        command,
        args,
        direct: process.direct,
        working_directory: process.working_dir.clone(),
        stranger: (!process.buildpack_id.is_empty()
            && !metadata
                .buildpacks()
                .iter()
                .any(|it| it.id == process.buildpack_id))
        .then(|| process.buildpack_id.clone()),
    })
}

fn replaces_args(
    metadata: &BuildMetadata,
    api: PlatformApi,
    process: &Process,
    always: &[String],
) -> Result<bool, SelectError> {
    if !api.has_command_lists() {
        return Ok(false);
    }
    if !always.is_empty() {
        return Ok(true);
    }
    let unknown = || SelectError::NoBuildpack {
        process: process.r#type.clone(),
        buildpack: process.buildpack_id.clone(),
    };
    let buildpack = metadata
        .buildpacks()
        .iter()
        .find(|it| it.id == process.buildpack_id)
        .ok_or_else(unknown)?;
    let buildpack_api: BuildpackApi = buildpack.api.parse().map_err(|_unsupported| unknown())?;
    Ok(buildpack_api.has_command_lists())
}

/// There is nothing to start.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// The launcher was called by its own name, without a command.
    #[error("when there is no default process a command is required")]
    NoCommand,
    /// The process may not start in this execution environment.
    #[error("process type {name} was not found")]
    NoProcess {
        /// The process type.
        name: String,
    },
    /// The buildpack of a process is not in the metadata.
    #[error("failed to find buildpack for process {process} with buildpack ID {buildpack}")]
    NoBuildpack {
        /// The process type.
        process: String,
        /// What it says is its buildpack.
        buildpack: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"
        [[buildpacks]]
        id = "old"
        api = "0.8"
        [[buildpacks]]
        id = "new"
        api = "0.9"
        [[processes]]
        type = "new"
        command = ["run"]
        args = ["a"]
        buildpack-id = "new"
        [[processes]]
        type = "old"
        command = ["run"]
        args = ["a"]
        buildpack-id = "old"
        [[processes]]
        type = "always"
        command = ["run", "keep"]
        args = ["a"]
        [[processes]]
        type = "test"
        command = ["run"]
        exec-env = ["test"]
    "#;

    fn selected(api: PlatformApi, argv: &[&str]) -> Result<(bool, String), SelectError> {
        let metadata = toml::from_str(METADATA).unwrap();
        let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
        let selected = select(&metadata, api, "production", &argv[0], &argv[1..])?;
        let words = selected.command.into_iter().chain(selected.args);
        let words: Vec<_> = words.map(|it| it.into_string().unwrap()).collect();
        Ok((selected.direct, words.join(" ")))
    }

    #[test]
    fn user_arguments_replace_or_follow() {
        for (api, argv, expected) in [
            (PlatformApi::V0_15, &["/cnb/process/new"][..], "run a"),
            (PlatformApi::V0_15, &["/cnb/process/new", "x"], "run x"),
            (PlatformApi::V0_9, &["/cnb/process/new", "x"], "run a x"),
            (PlatformApi::V0_15, &["old", "x"], "run a x"),
            (PlatformApi::V0_15, &["always", "x"], "run keep x"),
            (PlatformApi::V0_9, &["always", "x"], "run keep a x"),
            (PlatformApi::V0_14, &["test"], "run"),
        ] {
            assert_eq!(
                selected(api, argv),
                Ok((false, expected.to_owned())),
                "{argv:?}"
            );
        }
    }

    #[test]
    fn a_command_needs_no_process() {
        let api = PlatformApi::V0_15;
        assert_eq!(
            selected(api, &["launcher", "a", "b"]),
            Ok((false, "a b".to_owned()))
        );
        assert_eq!(
            selected(api, &["launcher", "--", "a"]),
            Ok((true, "a".to_owned()))
        );
        assert_eq!(
            selected(api, &["launcher", "--"]),
            Ok((false, "--".to_owned()))
        );
        assert_eq!(selected(api, &["launcher"]), Err(SelectError::NoCommand));
    }

    #[test]
    fn the_name_is_what_stands_after_the_last_slash() {
        let metadata = "[[processes]]\ntype = \"\"\ncommand = [\"none\"]\n\
            [[processes]]\ntype = \"..\"\ncommand = [\"dots\"]\n";
        let metadata = toml::from_str(metadata).unwrap();
        let selected = |argv0: &str| {
            let api = PlatformApi::V0_9;
            let command = select(&metadata, api, "", OsStr::new(argv0), &["x".into()]);
            command.unwrap().command.unwrap()
        };
        for (argv0, command) in [("web/", "x"), ("/", "x"), ("", "x"), ("a/..", "dots")] {
            assert_eq!(selected(argv0), command, "{argv0}");
        }
    }

    #[test]
    fn a_process_of_another_environment_does_not_start() {
        let refused = SelectError::NoProcess {
            name: "test".to_owned(),
        };
        assert_eq!(selected(PlatformApi::V0_15, &["test", "x"]), Err(refused));
    }
}
