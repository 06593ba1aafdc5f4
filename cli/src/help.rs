//! What is asked for by `-h` fits on a screen: a sentence for each flag, and flags that many commands
//! have for registries and for services that sign are a page of their own. `--help` has all of it.

use std::ffi::OsString;

use clap::{Arg, Args as _, Command, CommandFactory as _};

use crate::args::{Access, Cli, ServiceArgs};

/// Pages that many commands point at: the heading of their flags, the name, what it is about.
const PAGES: [(&str, &str, &str); 2] = [
    (
        "Registries",
        "registries",
        "How registries are reached: flags of each command that takes an image",
    ),
    (
        "Sigstore",
        "sigstore",
        "Who signs without a key: flags of `build`, `sign`, `attest` and others that sign",
    ),
];

/// Whether this is a page, and no command.
pub(crate) fn is_page(name: &str) -> bool {
    PAGES.iter().any(|(_, it, _)| *it == name)
}

/// How much a help has to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Extent {
    /// What fits on a screen (`-h`): what is used most, and an example.
    Screen,
    /// All.
    Whole,
}

/// The command line with its help, as what was typed asks for it.
pub(crate) fn command(typed: &[OsString]) -> Command {
    let mut flags = typed.iter().skip(1).take_while(|it| *it != "--");
    let extent = if flags.any(|it| it == "-h") {
        Extent::Screen
    } else {
        Extent::Whole
    };
    let root = each(Cli::command(), extent);
    PAGES.iter().fold(root, |root, (heading, name, about)| {
        let page = Command::new(*name)
            .about(*about)
            .hide(true)
            .arg_required_else_help(true)
            .override_usage(format!("sealpack <COMMAND> [{}]", heading.to_uppercase()));
        root.subcommand(match *name {
            "registries" => Access::augment_args(page),
            _ => ServiceArgs::augment_args(page),
        })
    })
}

/// The same of a command and of those below it.
fn each(command: Command, extent: Extent) -> Command {
    let headings: Vec<_> = command.get_arguments().map(heading).collect();
    let has = |wanted: &str| headings.iter().any(|it| it.as_deref() == Some(wanted));
    let pages = PAGES.iter().filter(|(heading, ..)| has(heading));
    let mut pages: Vec<_> = pages
        .map(|(heading, name, _)| format!("{heading}: sealpack help {name}"))
        .collect();
    let examples = command.get_after_help().map(ToString::to_string);
    let first = examples.as_deref().map(first);
    let has_more = first.as_ref() != examples.as_ref();
    let is_rare = command.get_arguments().any(Arg::is_hide_short_help_set);
    match (is_rare, has_more) {
        (true, true) => pages.insert(0, "All flags and examples: --help".to_owned()),
        (true, false) => pages.insert(0, "All flags: --help".to_owned()),
        (false, true) => pages.insert(0, "All examples: --help".to_owned()),
        (false, false) => {}
    }
    let command = command.mut_args(short);
    let mut command = command.mut_subcommands(|it| each(it, extent));
    let examples = match extent {
        Extent::Screen => first,
        Extent::Whole => examples,
    };
    if let Some(examples) = examples {
        command = command.help_template(template(&examples));
    }
    command
        .after_help(pages.join("\n"))
        .after_long_help(String::new())
}

/// How the help of a command with examples looks. What stands behind the arguments is broken at the width
/// of the terminal, and a command that is copied in two lines fails; what stands in a template is not.
fn template(examples: &str) -> String {
    format!(
        "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{{all-args}}\n\n{examples}{{after-help}}"
    )
}

/// The first of several examples: its sentence, if it has one, and its commands.
fn first(examples: &str) -> String {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut lines = examples.lines();
    let mut kept: Vec<&str> = lines.by_ref().take(2).collect();
    let of_first = kept.last().map_or(0, |it| depth(it));
    let is_sentence = kept
        .last()
        .is_some_and(|it| it.ends_with(':') || it.ends_with('?'));
    if is_sentence {
        kept.extend(lines.take_while(|it| depth(it) > of_first));
    }
    kept.join("\n")
}

fn heading(arg: &Arg) -> Option<String> {
    arg.get_help_heading().map(str::to_owned)
}

/// An argument whose short help is one sentence, or nothing, if it is on a page.
fn short(arg: Arg) -> Arg {
    let on_page = PAGES
        .iter()
        .any(|(it, ..)| heading(&arg).as_deref() == Some(it));
    let whole = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let is_rare = arg.is_hide_short_help_set();
    let arg = arg.hide_short_help(on_page || is_rare);
    match whole.split_once(". ") {
        Some((sentence, _)) if arg.get_long_help().is_none() => {
            let sentence = sentence.to_owned();
            arg.help(sentence).long_help(whole)
        }
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many lines fit on a screen.
    const LINES: usize = 40;

    fn measure(command: &mut Command, path: &str, found: &mut Vec<String>) {
        let lines = command.render_help().to_string().lines().count();
        // A list of commands has a line for each of them.
        if !command.has_subcommands() && lines > LINES {
            found.push(format!("{path}: {lines}"));
        }
        for inner in command.get_subcommands_mut() {
            if !is_page(inner.get_name()) {
                let path = format!("{path} {}", inner.get_name());
                measure(inner, &path, found);
            }
        }
    }

    #[test]
    fn the_short_help_of_each_command_fits_on_a_screen() {
        let mut root = command(&["sealpack", "-h"].map(Into::into));
        root.build();
        let mut found = Vec::new();
        measure(&mut root, "sealpack", &mut found);
        assert!(found.is_empty(), "more than {LINES} lines: {found:#?}");
    }

    #[test]
    fn the_first_example_is_whole() {
        let several = "Examples:\n  One:\n    a \\\n      b\n    c\n  Two:\n    d";
        assert_eq!(
            first(several),
            "Examples:\n  One:\n    a \\\n      b\n    c"
        );
        for all in ["Example:\n  a b", "Examples:\n  Only:\n    a"] {
            assert_eq!(first(all), all);
        }
        assert_eq!(first("Examples:\n  a\n  b"), "Examples:\n  a");
    }
}
