//! What is asked for by `-h` fits on a screen: a sentence for each flag, and flags that many commands
//! have for registries and for services that sign are a page of their own. `--help` has all of it.

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

/// The command line with its help.
pub(crate) fn command() -> Command {
    let root = each(Cli::command());
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
fn each(command: Command) -> Command {
    let headings: Vec<_> = command.get_arguments().map(heading).collect();
    let has = |wanted: &str| headings.iter().any(|it| it.as_deref() == Some(wanted));
    let pages = PAGES.iter().filter(|(heading, ..)| has(heading));
    let mut pages: Vec<_> = pages
        .map(|(heading, name, _)| format!("{heading}: sealpack help {name}"))
        .collect();
    if command.get_arguments().any(Arg::is_hide_short_help_set) {
        pages.insert(0, "All flags: --help".to_owned());
    }
    let mut command = command.mut_args(short).mut_subcommands(each);
    if let Some(examples) = command.get_after_help().map(ToString::to_string) {
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
