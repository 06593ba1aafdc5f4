//! What a shell offers behind what was typed: commands, flags and kinds of claims by scripts that clap
//! makes; images by asking this program, which looks where they would be.
//!
//! Who presses a key waits for the answer, so there is little time for it, and nothing is said of what
//! cannot be reached.

use std::any::TypeId;
use std::cell::LazyCell;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, CommandFactory as _, ValueHint};
use clap_complete::Shell;
use oci::{Location, Reference};

use crate::args::{Access, Cli};
use crate::defaults;
use crate::environment::Environment;
use crate::images::Lookup;
use crate::ui::Ui;

/// The argument by which scripts ask: behind it stands the word that is to be completed, and behind that
/// the whole line.
pub(crate) const ASKED: &str = "__complete";

/// How long who pressed a key waits at most.
const LONGEST: Duration = Duration::from_secs(2);

/// More than anybody reads.
const MOST: usize = 1000;

/// Places on this machine, as they are typed, and whether each is a folder.
const PATHS: [(&str, bool); 3] = [
    ("oci:", true),
    ("oci-archive:", false),
    ("docker-archive:", false),
];

/// How a Docker daemon's images begin.
const DAEMON: &str = "docker-daemon:";

/// Stands for the word that is asked for, where it is asked whose it is: an image whatever the word is.
const PLACEHOLDER: &str = "sealpack.invalid/asked";

/// The script for `shell`.
pub(crate) fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut marked(Cli::command()), "sealpack", &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        Shell::Bash => format!(
            "{}\n{}",
            script.trim_end(),
            include_str!("completion/images.bash")
        ),
        // The file is the function itself: at its end it is called for the first time.
        Shell::Zsh => script.replace("_urls", "_sealpack_images").replacen(
            "if [ \"$funcstack[1]\"",
            concat!(
                include_str!("completion/images.zsh"),
                "\nif [ \"$funcstack[1]\""
            ),
            1,
        ),
        Shell::Fish => format!(
            "{}\n{}",
            script.trim_end(),
            include_str!("completion/images.fish")
        ),
        _ => script.into_owned(),
    }
}

/// The command with a hint at each argument that is an image: clap knows no such hint, and no other of
/// our arguments has this one.
fn marked(command: Command) -> Command {
    let mark = |arg: Arg| {
        if is_image(&arg) {
            arg.value_hint(ValueHint::Url)
        } else {
            arg
        }
    };
    command.mut_args(mark).mut_subcommands(marked)
}

/// Whether an argument is an image.
fn is_image(arg: &Arg) -> bool {
    is_called(arg, "IMAGE")
        || is_called(arg, "PLACE")
        || arg.get_value_parser().type_id() == TypeId::of::<Reference>()
}

/// Whether the help calls what an argument is given so, or that among others.
fn is_called(arg: &Arg, name: &str) -> bool {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().any(|it| it.split('|').any(|one| one == name))
}

/// Answers a script: prints what the word may become, a line each.
pub(crate) fn answer(mut environment: Environment) -> ExitCode {
    let mut arguments = std::mem::take(&mut environment.arguments).into_iter();
    let word = arguments.nth(2).and_then(|it| it.into_string().ok());
    environment.arguments = ours(arguments.collect());
    let ui = Ui::plain(&environment);
    for found in word.iter().flat_map(|it| found(it, &environment, &ui)) {
        ui.document(found);
    }
    ExitCode::SUCCESS
}

/// Our command, in a line in which others may stand before it. One by another name begins the line.
fn ours(mut line: Vec<OsString>) -> Vec<OsString> {
    let is_ours = |it: &OsString| Path::new(it).file_name() == Some("sealpack".as_ref());
    let begin = line.iter().position(is_ours).unwrap_or_default();
    line.split_off(begin)
}

/// What `word` may become.
fn found(word: &str, environment: &Environment, ui: &Ui) -> Vec<String> {
    let argument = LazyCell::new(|| argument(word, &environment.arguments));
    let is_image = || argument.as_ref().is_some_and(is_image);
    let mut found = match split(word, &environment.directory) {
        // Many words are a name and something behind a colon: only an image is worth a connection.
        Some(Asked::Tag { bare: true, .. }) if !is_image() => Vec::new(),
        Some(Asked::Tag { place, begun, .. }) => tags(place, begun, environment, ui),
        Some(Asked::Path {
            scheme,
            path,
            folder,
        }) => paths(scheme, path, folder, &environment.directory),
        None => Vec::new(),
    };
    // A file or folder of this machine may be meant, and who offers nothing lets the shell offer those.
    let is_file = |it: &Arg| is_called(it, "FILE") || is_called(it, "FOLDER");
    if argument.as_ref().is_some_and(|it| !is_file(it)) && is_image() {
        found.extend(names(word, environment));
    }
    found.sort();
    found.dedup();
    found
}

/// What begins with `word` and is known without looking for it: images that the settings name, and the
/// beginnings of all places that are no registry.
fn names(word: &str, environment: &Environment) -> Vec<String> {
    // That the file here was not named is no matter: nothing is done with what is offered.
    let settings = defaults::all(environment, true).unwrap_or_default();
    let tags = settings.into_iter().filter(|it| it.name == "tags");
    let places = PATHS.iter().map(|(scheme, _)| *scheme).chain([DAEMON]);
    let all = tags.map(|it| it.value).chain(places.map(str::to_owned));
    all.filter(|it| it.starts_with(word) && *it != word && !it.contains(char::is_control))
        .collect()
}

/// The tags in `place` that begin so.
fn tags(place: &str, begun: &str, environment: &Environment, ui: &Ui) -> Vec<String> {
    let Ok(reference) = place.parse::<Reference>() else {
        return Vec::new();
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return Vec::new();
    };
    let Some(access) = access(environment) else {
        return Vec::new();
    };
    let images = Lookup::new(&access, environment, ui);
    let tags = runtime.block_on(async {
        let listing = async { images.open(&reference).await.ok()?.tags().await.ok() };
        tokio::time::timeout(LONGEST, listing).await.ok().flatten()
    });
    // What still waits for an answer is not waited for.
    runtime.shutdown_background();
    tags.into_iter()
        .flatten()
        .filter(|it| !it.is_digest_tag() && it.as_str().starts_with(begun))
        .take(MOST)
        .map(|it| format!("{place}:{it}"))
        .collect()
}

/// What is asked for.
enum Asked<'w> {
    /// A tag in this place, of which there is so much. `bare`: nothing but the colon says that it is one.
    Tag {
        place: &'w str,
        begun: &'w str,
        bare: bool,
    },
    /// A file or folder.
    Path {
        scheme: &'static str,
        path: &'w str,
        folder: bool,
    },
}

/// Splits the beginning of an image's name. What may be something else, such as `host:port`, is not asked
/// for: nobody meant to reach it.
fn split<'w>(word: &'w str, directory: &Path) -> Option<Asked<'w>> {
    if word.contains('@') {
        return None;
    }
    for (scheme, folder) in PATHS {
        let Some(path) = word.strip_prefix(scheme) else {
            continue;
        };
        let mut colons = path.match_indices(':').map(|(at, _)| at);
        let is_there = |at: &usize| {
            path.get(..*at)
                .is_some_and(|it| directory.join(it).exists())
        };
        let Some(end) = colons.find(is_there) else {
            return Some(Asked::Path {
                scheme,
                path,
                folder,
            });
        };
        // Of what Docker saves, a file has names, and these have tags.
        let end = match scheme {
            "docker-archive:" => path.rfind(':').filter(|it| *it > end)?,
            _ => end,
        };
        return at(word, scheme.len() + end, false);
    }
    let end = word.rfind(':')?;
    let name = word.get(..end)?;
    match name.parse::<Reference>().ok()?.location {
        Location::DockerDaemon(_) => at(word, end, false),
        Location::Registry(_) if word.get(end..)?.contains('/') || is_host(name) => None,
        Location::Registry(_) => at(word, end, !name.contains('/')),
        _ => None,
    }
}

/// Whether a port may follow, rather than a tag.
fn is_host(name: &str) -> bool {
    !name.contains('/') && (name.contains('.') || name == "localhost")
}

/// The word, split at this colon.
fn at(word: &str, colon: usize, bare: bool) -> Option<Asked<'_>> {
    let (place, begun) = word.split_at_checked(colon)?;
    Some(Asked::Tag {
        place,
        begun: begun.strip_prefix(':')?,
        bare,
    })
}

/// What lies where `path` begins: folders end with a slash, and layouts and archives with the colon
/// behind which their tags stand.
fn paths(scheme: &str, path: &str, folder: bool, directory: &Path) -> Vec<String> {
    let (parent, begun) = path.rsplit_once('/').map_or(("", path), |(parent, begun)| {
        (path.get(..=parent.len()).unwrap_or_default(), begun)
    });
    let Ok(entries) = directory.join(parent).read_dir() else {
        return Vec::new();
    };
    let offered = entries.filter_map(Result::ok).filter_map(|it| {
        let name = it.file_name().into_string().ok()?;
        let is_hidden = name.starts_with('.') && !begun.starts_with('.');
        if is_hidden || name.contains(char::is_control) || !name.starts_with(begun) {
            return None;
        }
        let is_layout = folder && it.path().join("oci-layout").exists();
        let end = if is_layout {
            ":"
        } else if it.path().is_dir() {
            "/"
        } else if folder {
            return None;
        } else {
            ""
        };
        Some(format!("{scheme}{parent}{name}{end}"))
    });
    let mut offered: Vec<_> = offered.collect();
    offered.sort();
    offered.truncate(MOST);
    offered
}

/// How registries are reached, by what was typed so far; `None` if that is not understood: then nobody is
/// asked.
fn access(environment: &Environment) -> Option<Access> {
    let typed = environment.arguments.clone();
    let words: Vec<OsString> = defaults::arguments(environment).unwrap_or(typed);
    let matches = understood(words)?;
    let (_, leaf) = defaults::leaf(&matches);
    Some(Access {
        insecure_registries: all(leaf, "insecure_registries"),
        offline: all(leaf, "offline").first().is_some_and(|it| *it),
        registry_ca: all(leaf, "registry_ca"),
        registry_cert: all(leaf, "registry_cert").pop(),
        registry_key: all(leaf, "registry_key").pop(),
        registries_conf: all(leaf, "registries_conf").pop(),
        authfile: all(leaf, "authfile").pop(),
    })
}

/// The argument that `word`, which is the last of those that were typed, belongs to.
fn argument(word: &str, typed: &[OsString]) -> Option<Arg> {
    let before = |it: &OsString| {
        let before = it.to_str()?.strip_suffix(word)?;
        (before.is_empty() || before.starts_with('-') && before.ends_with('='))
            .then(|| before.to_owned())
    };
    let mut words = typed.to_vec();
    // Not every shell hands it over with the others.
    match words
        .iter_mut()
        .rev()
        .find_map(|it| Some((before(it)?, it)))
    {
        Some((before, it)) => *it = (before + PLACEHOLDER).into(),
        None => words.push(PLACEHOLDER.into()),
    }
    let matches = understood(words)?;
    let (path, leaf) = defaults::leaf(&matches);
    let is_given = |id: &clap::Id| {
        let given = leaf.get_raw(id.as_str());
        given.into_iter().flatten().any(|it| it == PLACEHOLDER)
    };
    let id = leaf.ids().find(|it| is_given(it))?;
    let mut command = Cli::command();
    for name in path {
        command = command.find_subcommand(name)?.clone();
    }
    command
        .get_arguments()
        .find(|it| it.get_id() == id)
        .cloned()
}

/// What clap makes of a line that is not complete.
fn understood(words: Vec<OsString>) -> Option<ArgMatches> {
    let command = Cli::command().ignore_errors(true);
    let matches = command.try_get_matches_from(words).ok()?;
    matches.subcommand().is_some().then_some(matches)
}

/// What an argument was given, if the command has it.
fn all<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, id: &str) -> Vec<T> {
    let given = matches.try_get_many::<T>(id).ok().flatten();
    given.into_iter().flatten().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_an_image_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("out")).unwrap();
        let asked = |word: &str| match split(word, folder.path()) {
            Some(Asked::Tag { place, begun, bare }) => {
                format!("{place} {begun}{}", if bare { " bare" } else { "" })
            }
            Some(Asked::Path { scheme, path, .. }) => format!("{scheme} {path}"),
            None => String::new(),
        };
        for (word, expected) in [
            ("r.example/app:", "r.example/app "),
            ("r.example:5000/app:v", "r.example:5000/app v"),
            ("r.example:5000/a", ""),
            ("r.example:5000", ""),
            ("localhost:5000", ""),
            ("app:v", "app v bare"),
            ("app:v/", ""),
            ("app", ""),
            ("r.example/app", ""),
            ("r.example/app:v1@sha256:", ""),
            ("https://r.example/app:v", ""),
            ("/source:/target:r", ""),
            ("NAME=a/b:c", ""),
            ("docker-daemon:app:v", "docker-daemon:app v"),
            ("oci:ou", "oci: ou"),
            ("oci:out:v", "oci:out v"),
            ("oci:out:localhost/app:v", "oci:out localhost/app:v"),
            ("oci:nowhere:v", "oci: nowhere:v"),
            ("docker-archive:out:", ""),
            ("docker-archive:out:a:v", "docker-archive:out:a v"),
        ] {
            assert_eq!(asked(word), expected, "{word}");
        }
    }
}
