//! The command line, as typed: what all commands share. Their own arguments lie beside them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, Args, CommandFactory as _, Parser, ValueEnum};
use net::Secret;
use url::Url;

use crate::commands::{self, Command};

/// Builds container images from source, with their proof; signs, verifies and judges them.
///
/// An image is `registry.example/repo[:tag][@digest]`; `oci:DIR[:tag|@digest]`, in an OCI image
/// layout; `oci-archive:FILE[:tag|@digest]`, in such a layout as one tar file;
/// `docker-archive:FILE[:name[:tag]]`, in what `docker save` writes; or
/// `docker-daemon:name[:tag]`, in a Docker daemon or Podman's service. In every command.
///
/// Exit codes: 0 done or accepted, 1 rejected, 2 could not decide, 130 or 143 interrupted.
#[derive(Debug, Parser)]
#[command(
    name = "sealpack",
    version,
    about,
    long_about,
    max_term_width = 100,
    verbatim_doc_comment
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) global: Global,
}

impl Cli {
    /// What was typed, if it is understood. Says nothing of what is not: that takes the texts of help.
    pub(crate) fn understood(typed: &[OsString]) -> Option<ArgMatches> {
        let name = typed.get(1).and_then(|it| it.to_str());
        let alone = name.and_then(commands::alone);
        let command = match alone {
            Some(alone) => Global::augment_args(clap::Command::new("sealpack")).subcommand(alone),
            None => Self::command(),
        };
        command.try_get_matches_from(typed).ok()
    }
}

#[derive(Args, Debug)]
#[command(next_help_heading = "General")]
pub(crate) struct Global {
    /// Print results and errors only.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,

    /// Show details, such as what buildpacks and the lifecycle print. Twice (`-vv`), debug lines too.
    #[arg(long, short, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,

    /// Color what is printed.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_short_help = true
    )]
    pub(crate) color: When,

    /// Give up, with exit code 2, after so long: `90s`, `5m`, `1m30s`.
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, hide_short_help = true)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless `NO_COLOR` is set; anywhere, if `FORCE_COLOR` is.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs; docs/output.md describes it.
    Json,
}

/// How images are reached. Of the environment, `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`,
/// `SSL_CERT_FILE`, `SSL_CERT_DIR`, `CONTAINERS_REGISTRIES_CONF` and `CNB_REGISTRY_MIRRORS` count, and
/// certificates that `certs.d` of Podman or Docker holds for a registry.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Registries")]
pub(crate) struct Access {
    /// Allow plain HTTP and unverified certificates for this registry (`host[:port]`; repeatable).
    /// Loopback needs no flag.
    #[arg(long = "insecure-registry", value_name = "HOST")]
    pub(crate) insecure_registries: Vec<String>,

    /// Do not reach beyond this machine. Registries on loopback are allowed, and are not followed
    /// elsewhere.
    #[arg(long)]
    pub(crate) offline: bool,

    /// Trust these root certificates (PEM) beside the others. Repeatable.
    #[arg(long, value_name = "FILE")]
    pub(crate) registry_ca: Vec<PathBuf>,

    /// Show this certificate (PEM) to registries that ask for one.
    #[arg(long, value_name = "FILE", requires = "registry_key")]
    pub(crate) registry_cert: Option<PathBuf>,

    /// The private key of that certificate (PEM, not encrypted).
    #[arg(long, value_name = "FILE", requires = "registry_cert")]
    pub(crate) registry_key: Option<PathBuf>,

    /// Read mirrors from this file, in the format of containers' `registries.conf`, instead of the
    /// usual places.
    #[arg(long, value_name = "FILE")]
    pub(crate) registries_conf: Option<PathBuf>,

    /// Read credentials from this file, a `config.json` of Docker or `auth.json` of Podman, instead of
    /// the usual places.
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
}

/// `90s`, `5m`, `1h`, several of these (`1m30s`, as Go's programs print it), or seconds.
fn duration(text: &str) -> Result<Duration, String> {
    match seconds(text) {
        Some(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected a duration such as `90s`, `5m`, `1m30s` or `1h`".to_owned()),
    }
}

fn seconds(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let (mut sum, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let at = rest.find(|it: char| !it.is_ascii_digit())?;
        let (number, behind) = rest.split_at_checked(at)?;
        let mut behind = behind.chars();
        let unit = match behind.next()? {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return None,
        };
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = behind.as_str();
    }
    Some(sum)
}

#[derive(Args, Debug)]
pub(crate) struct Printed {
    /// Output format.
    #[arg(long, short, value_name = "FORMAT", default_value = "text", help_heading = None)]
    pub(crate) output: Format,
}

/// Who signs.
#[derive(Args, Clone, Debug)]
pub(crate) struct SignerArgs {
    /// The private key: a file, or `env://NAME` for what a variable holds. Its password comes from
    /// `COSIGN_PASSWORD` or a prompt. Without a key, whoever the identity token names signs.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// Sign without asking, as always: cosign's recipes have it.
    #[arg(long, short, hide = true)]
    pub(crate) yes: bool,

    #[command(flatten)]
    pub(crate) services: ServiceArgs,
}

/// Which services give a certificate to who signs without a key, log what is signed, and say when it was.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sigstore")]
pub(crate) struct ServiceArgs {
    /// Who signs: an identity token, or the file that holds one. Without it, `SIGSTORE_ID_TOKEN` (where
    /// GitLab puts it) is one, or GitHub Actions are asked, or
    /// `/var/run/sigstore/cosign/oidc-token` holds one.
    #[arg(long, value_name = "TOKEN|FILE")]
    pub(crate) identity_token: Option<Secret>,

    /// The services: a signing config (JSON), as `cosign signing-config create` writes it; or `public`
    /// for the public ones, where the name of who signs stays for all to see.
    #[arg(long, value_name = "FILE|public", conflicts_with_all = ["fulcio_url", "rekor_url", "timestamp_server_url"])]
    pub(crate) signing_config: Option<String>,

    /// Get the certificate here.
    #[arg(long, value_name = "URL", value_parser = service_url)]
    pub(crate) fulcio_url: Option<Url>,

    /// Log the signature here.
    #[arg(long, value_name = "URL", value_parser = service_url)]
    pub(crate) rekor_url: Option<Url>,

    /// Which version of Rekor that is: 1, or 2 (on tiles).
    #[arg(long, value_name = "1|2", default_value_t = 1, requires = "rekor_url",
        value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(crate) rekor_version: u8,

    /// Have it said here when it was signed (RFC 3161).
    #[arg(long, value_name = "URL", value_parser = service_url)]
    pub(crate) timestamp_server_url: Option<Url>,

    /// Verify what was signed by this `trusted_root.json` before it is attached, as strangers will. Of
    /// the public services it is known.
    #[arg(long, value_name = "FILE")]
    pub(crate) trusted_root: Option<PathBuf>,

    /// Wait so long for the answer of a service, each time it is asked.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) service_timeout: u64,
}

/// The URL of a service.
fn service_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err("neither HTTP nor HTTPS".to_owned()),
    }
}

impl ServiceArgs {
    /// Whether it was typed who is to sign without a key, or by which services: then somebody signs.
    pub(crate) fn are_named(&self) -> bool {
        self.identity_token.is_some()
            || self.signing_config.is_some()
            || self.fulcio_url.is_some()
            || self.rekor_url.is_some()
            || self.timestamp_server_url.is_some()
    }
}

/// Whom to believe.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct IdentityArgs {
    /// Accept signatures that verify with this public key. It is a file, or `env://NAME` for what a
    /// variable holds. Repeatable: any of them.
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,

    /// Accept signers whose certificate names this identity. It is an address, or the URI of a workflow.
    #[arg(
        long,
        value_name = "NAME",
        group = "certificate_subject",
        requires = "certificate_issuer"
    )]
    pub(crate) certificate_identity: Option<String>,

    /// The same for all identities that this regular expression matches from beginning to end.
    #[arg(
        long,
        value_name = "PATTERN",
        hide_short_help = true,
        group = "certificate_subject",
        requires = "certificate_issuer",
        conflicts_with = "certificate_identity"
    )]
    pub(crate) certificate_identity_regexp: Option<String>,

    /// The OIDC issuer that vouches for this identity.
    #[arg(
        long,
        value_name = "URL",
        group = "certificate_issuer",
        requires = "certificate_subject"
    )]
    pub(crate) certificate_oidc_issuer: Option<String>,

    /// The same for all issuers that this regular expression matches from beginning to end.
    #[arg(
        long,
        value_name = "PATTERN",
        hide_short_help = true,
        group = "certificate_issuer",
        requires = "certificate_subject",
        conflicts_with = "certificate_oidc_issuer"
    )]
    pub(crate) certificate_oidc_issuer_regexp: Option<String>,

    /// Trust the certificate authorities, logs and timestamp authorities of this `trusted_root.json`;
    /// without it, those of Sigstore's public instance, as this program was built with them.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(crate) trusted_root: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;

    #[test]
    fn a_command_by_itself_understands_what_the_whole_program_does() {
        for line in [
            "verify a/b c/d --key k.pub -o json --timeout 5m -vv",
            "verify a/b --certificate-identity me --certificate-oidc-issuer it --offline",
            "sign a/b --key k --yes --color never",
            "attest a/b --type spdx --predicate f --key k -q",
            "copy a/b oci:c --no-referrers --insecure-registry h:1",
            "tree a/b --authfile f",
            "inspect a/b",
            "ls a/b --all",
        ] {
            let typed: Vec<OsString> = ["sealpack"]
                .into_iter()
                .chain(line.split(' '))
                .map(Into::into)
                .collect();
            let whole = Cli::command().try_get_matches_from(&typed).expect(line);
            let alone = Cli::understood(&typed).expect(line);
            let [whole, alone] = [whole, alone].map(|it| Cli::from_arg_matches(&it).expect(line));
            assert_eq!(format!("{alone:?}"), format!("{whole:?}"));
            assert!(
                commands::alone(&typed[1].to_string_lossy()).is_some(),
                "{line}"
            );
        }
    }
}
