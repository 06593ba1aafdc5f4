//! What other tools call it, for who types it out of habit.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, Error};

use crate::error::{CommandError, Message};
use crate::help;

/// Commands of cosign, oras, crane, skopeo, docker and pack, and what they are here.
const COMMANDS: [(&str, &str); 25] = [
    ("attach", "sealpack attest"),
    ("auth", "sealpack login"),
    ("clean", "sealpack delete IMAGE@DIGEST"),
    ("digest", "sealpack inspect IMAGE"),
    ("discover", "sealpack tree"),
    ("download", "sealpack verify IMAGE --claim TYPE -o json"),
    ("export", "sealpack unpack IMAGE DIR"),
    ("generate-key-pair", "sealpack key generate"),
    ("images", "sealpack ls oci:DIR"),
    ("list", "sealpack ls"),
    ("list-tags", "sealpack ls"),
    ("load", "sealpack copy oci:DIR:TAG IMAGE"),
    ("public-key", "sealpack key public"),
    ("pull", "sealpack copy IMAGE oci:DIR:TAG"),
    ("push", "sealpack copy oci:DIR:TAG IMAGE"),
    ("repo", "sealpack ls"),
    ("rm", "sealpack delete IMAGE@DIGEST"),
    ("rmi", "sealpack delete IMAGE@DIGEST"),
    ("save", "sealpack copy IMAGE oci:DIR:TAG"),
    ("scan", "sealpack sbom generate IMAGE"),
    ("sync", "sealpack mirror"),
    ("tag", "sealpack copy IMAGE HOST/REPO:TAG"),
    ("tags", "sealpack ls"),
    ("triangulate", "sealpack tree"),
    ("verify-attestation", "sealpack verify --claim TYPE"),
];

const REGISTRY: &str = "name the registry: `--insecure-registry HOST`; loopback needs none";
const NO_LOG: &str = "leave it out: what a key signs is in no log, and whether there is one is said by \
                      `--rekor-url` or `--signing-config`";
const APP: &str = "the folder of the app is an argument: `sealpack build DIR`";

/// A flag of theirs, and the commands of ours that it is typed behind; none: any.
struct Flag {
    theirs: &'static str,
    of: &'static [&'static str],
    what: &'static str,
}

const fn flag(theirs: &'static str, of: &'static [&'static str], what: &'static str) -> Flag {
    Flag { theirs, of, what }
}

/// Flags of the same, and what to do here.
const FLAGS: [Flag; 26] = [
    flag("--allow-insecure-registry", &[], REGISTRY),
    flag("--from-plain-http", &[], REGISTRY),
    flag("--insecure", &[], REGISTRY),
    flag("--insecure-ignore-tlog", &[], NO_LOG),
    flag("--plain-http", &[], REGISTRY),
    flag("--src-tls-verify", &[], REGISTRY),
    flag("--dest-tls-verify", &[], REGISTRY),
    flag("--tls-verify", &[], REGISTRY),
    flag("--tlog-upload", &[], NO_LOG),
    flag("--to-plain-http", &[], REGISTRY),
    flag("-B", &["build"], "that is `--builder` here"),
    flag(
        "--metadata-file",
        &["build"],
        "`-o json` prints digest and all else: `sealpack build … -o json > FILE`",
    ),
    flag("--path", &["build"], APP),
    flag("-p", &["build"], APP),
    flag(
        "--publish",
        &["build"],
        "an image goes where `--tag` says, a registry or elsewhere",
    ),
    flag(
        "--pull-policy",
        &["build"],
        "leave it out: what is here by its digest is not fetched again; `--offline` fetches nothing",
    ),
    flag(
        "--sbom-dir",
        &["build"],
        "SBOMs are attached to the image; `sealpack sbom generate IMAGE --format spdx=FILE` writes one",
    ),
    flag(
        "--sbom-output-dir",
        &["build"],
        "SBOMs are attached to the image; `sealpack sbom generate IMAGE --format spdx=FILE` writes one",
    ),
    flag(
        "--trust-builder",
        &["build"],
        "leave it out: no builder sees credentials; `--input-policy` says which may be used",
    ),
    flag(
        "--recursive",
        &["copy"],
        "what is attached is copied without a flag; `--no-referrers` leaves it out",
    ),
    flag(
        "-p",
        &["login"],
        "a password in the command line is seen by all: `--password-stdin` reads it",
    ),
    flag(
        "--password",
        &["login"],
        "a password in the command line is seen by all: `--password-stdin` reads it",
    ),
    flag(
        "-o",
        &["sbom"],
        "`--format cyclonedx=FILE` writes a file; without one it is printed",
    ),
    flag(
        "--output",
        &["sbom"],
        "`--format cyclonedx=FILE` writes a file; without one it is printed",
    ),
    flag("--type", &["verify"], "that is `--claim` here"),
    flag(
        "--certificate-identity-regex",
        &[],
        "that is `--certificate-identity-regexp`",
    ),
];

/// Forms of SBOMs as syft and trivy call them.
const FORMATS: [(&str, &str); 5] = [
    ("cyclonedx-json", "cyclonedx"),
    ("cyclonedx-xml", "cyclonedx"),
    ("spdx-json", "spdx"),
    ("spdx-tag-value", "spdx"),
    ("syft-json", "cyclonedx"),
];

/// What to type instead of what was not understood, if another tool has it.
pub(crate) fn hint(error: &Error, arguments: &[OsString]) -> Option<String> {
    if let Some(typed) = text(error, ContextKind::InvalidSubcommand) {
        let (_, ours) = COMMANDS.iter().find(|(theirs, _)| *theirs == typed)?;
        return Some(format!("that is `{ours}` here"));
    }
    if let Some(value) = text(error, ContextKind::InvalidValue) {
        let value = value.split('=').next().unwrap_or_default();
        let of_sbom = command(arguments) == Some("sbom");
        let known = FORMATS.iter().find(|(it, _)| of_sbom && *it == value);
        return known.map(|(_, ours)| format!("that is `--format {ours}` here: as JSON, always"));
    }
    let typed = text(error, ContextKind::InvalidArg)?;
    let typed = typed.split(['=', ' ']).next()?;
    let of = command(arguments);
    let mut flags = FLAGS.iter().filter(|it| it.theirs == typed);
    let found = flags.find(|it| it.of.is_empty() || of.is_some_and(|of| it.of.contains(&of)))?;
    Some(found.what.to_owned())
}

/// Takes out of what clap guesses from letters alone what would lead astray: all of it, where it is known
/// better, and pages of help, which are no commands.
pub(crate) fn without_wrong_tips(error: &mut Error, is_known: bool) {
    let kinds = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
        ContextKind::Suggested,
    ];
    if is_known {
        for kind in kinds {
            error.remove(kind);
        }
        return;
    }
    if let Some(ContextValue::Strings(names)) = error.get(ContextKind::SuggestedSubcommand) {
        let names: Vec<_> = names
            .iter()
            .filter(|it| !help::is_page(it))
            .cloned()
            .collect();
        error.remove(ContextKind::SuggestedSubcommand);
        if !names.is_empty() {
            error.insert(
                ContextKind::SuggestedSubcommand,
                ContextValue::Strings(names),
            );
        }
    }
}

/// The same as an error of ours: its first sentence, without how it is used.
pub(crate) fn error(error: &Error, hint: Option<String>) -> CommandError {
    let said = error.to_string();
    let mut parts = said.split("\n\n");
    let sentence = parts.next().unwrap_or_default();
    let sentence = sentence.trim_start_matches("error: ").lines();
    let sentence = sentence.map(str::trim).collect::<Vec<_>>().join(" ");
    let tips = parts.flat_map(str::lines).map(str::trim);
    let tips = tips
        .filter_map(|it| it.strip_prefix("tip: "))
        .map(str::to_owned);
    let failed = CommandError::undecided(Message(sentence));
    tips.chain(hint).fold(failed, CommandError::hint)
}

fn text(error: &Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

/// The command that was typed.
fn command(arguments: &[OsString]) -> Option<&str> {
    let mut typed = arguments.iter().skip(1).filter_map(|it| it.to_str());
    typed.find(|it| !it.starts_with('-'))
}
