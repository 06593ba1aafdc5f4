//! What other tools call it, for who types it out of habit.

use clap::error::{ContextKind, ContextValue, Error};

/// Commands of cosign, oras, crane, skopeo and pack, and what they are here.
const COMMANDS: [(&str, &str); 14] = [
    ("attach", "sealpack attest"),
    ("discover", "sealpack tree"),
    ("generate-key-pair", "sealpack key generate"),
    ("list-tags", "sealpack ls"),
    ("load", "sealpack copy oci:DIR:TAG IMAGE"),
    ("public-key", "sealpack key public"),
    ("pull", "sealpack copy IMAGE oci:DIR:TAG"),
    ("push", "sealpack copy oci:DIR:TAG IMAGE"),
    ("repo", "sealpack ls"),
    ("save", "sealpack copy IMAGE oci:DIR:TAG"),
    ("sync", "sealpack mirror"),
    ("tags", "sealpack ls"),
    ("triangulate", "sealpack tree"),
    ("verify-attestation", "sealpack verify --claim TYPE"),
];

/// Flags of the same, and what to do here.
const FLAGS: [(&str, &str); 11] = [
    (
        "--allow-insecure-registry",
        "name the registry: `--insecure-registry HOST`",
    ),
    (
        "--from-plain-http",
        "name the registry: `--insecure-registry HOST`; loopback needs none",
    ),
    (
        "--insecure",
        "name the registry: `--insecure-registry HOST`",
    ),
    (
        "--path",
        "the folder of the app is an argument: `sealpack build DIR`",
    ),
    (
        "--plain-http",
        "name the registry: `--insecure-registry HOST`; loopback needs none",
    ),
    (
        "--publish",
        "an image goes where `--tag` says, a registry or elsewhere",
    ),
    (
        "--recursive",
        "what is attached is copied without a flag; `--no-referrers` leaves it out",
    ),
    (
        "--sbom-output-dir",
        "SBOMs are attached to the image (`sealpack tree IMAGE`); `sealpack sbom generate IMAGE` makes one as a file",
    ),
    (
        "--src-tls-verify",
        "name the registry: `--insecure-registry HOST`",
    ),
    (
        "--tls-verify",
        "name the registry: `--insecure-registry HOST`",
    ),
    (
        "-p",
        "the folder of the app is an argument: `sealpack build DIR`",
    ),
];

/// What to type instead of what was not understood, if another tool has it.
pub(crate) fn hint(error: &Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    if let Some(typed) = text(ContextKind::InvalidSubcommand) {
        let (_, ours) = COMMANDS.iter().find(|(theirs, _)| *theirs == typed)?;
        return Some(format!("that is `{ours}` here"));
    }
    let typed = text(ContextKind::InvalidArg)?;
    let typed = typed.split(['=', ' ']).next()?;
    let (_, what) = FLAGS.iter().find(|(theirs, _)| *theirs == typed)?;
    Some((*what).to_owned())
}
