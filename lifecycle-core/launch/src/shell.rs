//! Starting a process by bash.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::process::Selected;

/// The shell that images have to bring for processes that are not direct.
pub(super) const BASH: &str = "/bin/bash";

/// The arguments that make [`BASH`] read `profiles`, change to `working_directory` and start
/// `process`; `argv0` is what profile scripts see as `$0`.
///
/// Without arguments the command is a script. With arguments each word is expanded as between
/// double quotes, and is one word still, with the blanks that it had: `printf` and not `echo` prints
/// it, to which `-e` would be an option.
pub(super) fn arguments(
    process: Selected,
    profiles: &[PathBuf],
    working_directory: &Path,
    argv0: &OsStr,
) -> Vec<OsString> {
    let mut script = Vec::new();
    for profile in profiles {
        push_line(&mut script, b"source", profile);
    }
    push_line(&mut script, b"cd", working_directory);
    if process.args.is_empty() {
        script.extend_from_slice(br#"exec bash -c "$@""#);
    } else {
        let words: Vec<_> = (0..=process.args.len())
            .map(|number| format!(r#""$(eval "set -- \"${{{number}}}\"; printf %s \"\$*\"")""#))
            .collect();
        let words = words.join(" ");
        script.extend_from_slice(format!(r#"exec bash -c '{words}' "${{@:1}}""#).as_bytes());
    }
    let mut arguments = vec![
        OsString::from("bash"),
        OsString::from("-c"),
        OsString::from_vec(script),
        argv0.to_owned(),
        process.command.unwrap_or_default(),
    ];
    arguments.extend(process.args);
    arguments
}

fn push_line(script: &mut Vec<u8>, verb: &[u8], path: &Path) {
    script.extend_from_slice(verb);
    script.extend_from_slice(b" \"");
    script.extend_from_slice(path.as_os_str().as_bytes());
    script.extend_from_slice(b"\"\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(args: &[&str], profiles: &[&str]) -> String {
        let process = Selected {
            command: Some("run".into()),
            args: args.iter().map(OsString::from).collect(),
            ..Selected::default()
        };
        let profiles: Vec<_> = profiles.iter().map(PathBuf::from).collect();
        let words = arguments(
            process,
            &profiles,
            Path::new("/app"),
            OsStr::new("/cnb/process/web"),
        );
        assert_eq!(words[..2], ["bash", "-c"]);
        assert_eq!(words[3..5], ["/cnb/process/web", "run"]);
        words[2].clone().into_string().unwrap()
    }

    #[test]
    fn a_command_without_arguments_is_a_script() {
        assert_eq!(script(&[], &[]), "cd \"/app\"\nexec bash -c \"$@\"");
    }

    #[test]
    fn arguments_are_expanded_word_by_word() {
        assert_eq!(
            script(&["$HOME"], &["/layers/b/x/profile.d/a b"]),
            "source \"/layers/b/x/profile.d/a b\"\ncd \"/app\"\nexec bash -c \
             '\"$(eval \"set -- \\\"${0}\\\"; printf %s \\\"\\$*\\\"\")\" \
             \"$(eval \"set -- \\\"${1}\\\"; printf %s \\\"\\$*\\\"\")\"' \"${@:1}\""
        );
    }
}
