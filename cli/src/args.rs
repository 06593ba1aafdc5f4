//! The command line, as typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use oci::{Platform, Reference};

/// Builds container images from source, with their proof; signs, verifies and judges them.
///
/// An image is `registry.example/repo[:tag][@digest]`; `oci:DIR[:tag|@digest]`, in an OCI image
/// layout; `oci-archive:FILE[:tag|@digest]`, in such a layout as one tar file;
/// `docker-archive:FILE[:name[:tag]]`, in what `docker save` writes; or
/// `docker-daemon:name[:tag]`, in a Docker daemon or Podman's service. In every command.
///
/// Exit codes: 0 done or accepted, 1 rejected, 2 could not decide.
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

#[derive(Args, Debug)]
pub(crate) struct Global {
    /// Print results and errors only.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,

    /// Say more: once for what the phases print, twice for their debug lines.
    #[arg(long, short, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,

    /// Colour what is printed.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless `NO_COLOR` is set.
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

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turn app source into a signed, attested and judged image.
    Build(Build),
    /// Make keys.
    #[command(subcommand)]
    Key(Key),
    /// Sign an image.
    Sign(Sign),
    /// Attach a signed claim to an image.
    Attest(Attest),
    /// Verify that an image is signed, or has other claims by an accepted signer.
    Verify(Verify),
    /// Show what is attached to an image.
    Tree(Tree),
    /// Show what an image is and how it was built.
    Inspect(Inspect),
    /// Judge images by policies.
    #[command(subcommand)]
    Policy(Policy),
    /// Copy an image and what is attached to it.
    Copy(Copy),
    /// Unpack the root file system of an image into a folder.
    Unpack(Unpack),
    Delete(Delete),
    Gc(Gc),
    Health(crate::commands::health::HealthArgs),
    Login(Login),
    /// Forget the credential for a registry.
    Logout(Logout),
    /// Print a completion script for a shell.
    ///
    /// Example: `sealpack completion bash > /etc/bash_completion.d/sealpack`
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// The inner stage of the sandbox: not for people.
    #[command(name = "__sandbox", hide = true)]
    Sandbox,
}

/// How images are reached. Of the environment, `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`,
/// `SSL_CERT_FILE`, `SSL_CERT_DIR`, `CONTAINERS_REGISTRIES_CONF` and `CNB_REGISTRY_MIRRORS` count, and
/// certificates that `certs.d` of Podman or Docker holds for a registry.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Registries")]
pub(crate) struct Access {
    /// Speak plain HTTP, or accept any certificate, at this registry (`host[:port]`; repeatable).
    /// A registry on this machine needs no such flag.
    #[arg(long = "insecure-registry", value_name = "HOST")]
    pub(crate) insecure_registries: Vec<String>,

    /// Open no connection at all: only files on this machine.
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

    /// Mirrors are named in this file, in the format of containers' `registries.conf`, and not where
    /// Podman and skopeo keep it.
    #[arg(long, value_name = "FILE")]
    pub(crate) registries_conf: Option<PathBuf>,

    /// Credentials are in this file, a `config.json` of Docker or `auth.json` of Podman, and not
    /// where these keep them.
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Printed {
    /// The form of what is printed.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  Build, sign with a new key, judge, and write an OCI layout:
    sealpack build ./app --builder builder.toml --new-key release --policy policy.toml --output oci:out:app
  The same to a registry; the tag moves last:
    sealpack build ./app --builder builder.toml --key release.key --policy policy.toml --output registry.example/app:v1")]
pub(crate) struct Build {
    /// The folder with the app's source.
    #[arg(value_name = "APP", default_value = ".")]
    pub(crate) app: PathBuf,

    /// What builds it: a `builder.toml`, in pack's format. Without one it is sought as
    /// `builder.toml` in the app's folder and beside it.
    #[arg(long, value_name = "FILE")]
    pub(crate) builder: Option<PathBuf>,

    /// Where the image goes: `HOST/REPO:TAG`, `oci:DIR:TAG`, `oci-archive:FILE:TAG`,
    /// `docker-archive:FILE:NAME:TAG` or, without its proof, `docker-daemon:NAME:TAG`. `text` or
    /// `json` instead sets the form of what is printed. Repeatable.
    #[arg(long, short, value_name = "IMAGE|FORMAT", required = true)]
    pub(crate) output: Vec<String>,

    /// What the app runs on: an image, or `static` for the base that sealpack makes itself.
    /// Without one, the builder's run image, else `static`.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) run_image: Option<String>,

    #[command(flatten)]
    pub(crate) signer: BuildSigner,

    /// Judge the image by this policy before it goes anywhere (`policy.toml` or its folder).
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// An environment variable for the buildpacks: `NAME=VALUE`, or `NAME` to pass on ours.
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,

    /// The process that the image starts by default.
    #[arg(long, value_name = "TYPE")]
    pub(crate) process_type: Option<String>,

    /// How far the buildpacks are kept from this machine.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) isolation: IsolationArg,

    /// The network that buildpacks see.
    #[arg(long, value_name = "WHICH", default_value = "none")]
    pub(crate) network: Network,

    /// Where layers are kept between builds. Without it, a folder of the user's cache for this app.
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,

    /// Use nothing of an earlier build.
    #[arg(long)]
    pub(crate) no_cache: bool,

    /// The URI that the provenance names as the builder.
    #[arg(long, value_name = "URI", default_value = lifecycle_core::provenance::LOCAL_BUILDER)]
    pub(crate) builder_id: String,

    /// Where the image is staged; a new folder for temporary files without it. Kept if the image is
    /// rejected.
    #[arg(long, value_name = "DIR")]
    pub(crate) staging: Option<PathBuf>,

    /// The folder with `lifecycle` and `launcher`; beside this program without it.
    #[arg(long, value_name = "DIR")]
    pub(crate) lifecycle: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) access: Access,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct BuildSigner {
    /// Sign with this private key. Its password comes from `COSIGN_PASSWORD` or a prompt.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// Sign with PREFIX.key; make it and PREFIX.pub first if there is none.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) new_key: Option<PathBuf>,

    /// Sign nothing: the image goes out without proof.
    #[arg(long, conflicts_with = "policy")]
    pub(crate) unsigned: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum IsolationArg {
    /// As far as this machine allows; the provenance says how far.
    Auto,
    /// In full, or not at all.
    Required,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Network {
    /// None.
    None,
    /// This machine's.
    Host,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key pair in cosign's format: PREFIX.key, encrypted, and PREFIX.pub.
    ///
    /// The password comes from `COSIGN_PASSWORD` or a prompt.
    #[command(after_help = "Example:\n  sealpack key generate --output-key-prefix release")]
    Generate {
        /// What the files' names begin with.
        #[arg(long, value_name = "PREFIX", default_value = "sealpack")]
        output_key_prefix: PathBuf,

        #[command(flatten)]
        printed: Printed,
    },
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sealpack sign registry.example/app@sha256:… --key release.key")]
pub(crate) struct Sign {
    /// The image.
    pub(crate) image: Reference,

    /// The private key. Its password comes from `COSIGN_PASSWORD` or a prompt.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,

    /// Sign these facts too: `NAME=VALUE`.
    #[arg(long = "annotation", short, value_name = "NAME=VALUE")]
    pub(crate) annotations: Vec<String>,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  sealpack attest registry.example/app:v1 --key release.key --type cyclonedx --predicate bom.json"
)]
pub(crate) struct Attest {
    /// The image.
    pub(crate) image: Reference,

    /// The private key. Its password comes from `COSIGN_PASSWORD` or a prompt.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,

    /// What kind of claim: a short name (`provenance`, `cyclonedx`, `spdx`, `vuln`, …) or a
    /// predicate type URI.
    #[arg(long = "type", value_name = "CLAIM")]
    pub(crate) claim: String,

    /// The claim: a JSON file, `-` for standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) predicate: PathBuf,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  Is it signed by this key?
    sealpack verify registry.example/app:v1 --key release.pub
  Does it have provenance and an SBOM by this key?
    sealpack verify oci:out:app --key release.pub --claim provenance --claim cyclonedx")]
pub(crate) struct Verify {
    /// The image.
    pub(crate) image: Reference,

    /// The public key whose claims count.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,

    /// What must be claimed: a short name (`signature`, `provenance`, `cyclonedx`, `spdx`, `vsa`, …)
    /// or a predicate type URI. Repeatable: all of them.
    #[arg(long, value_name = "CLAIM", default_value = "signature")]
    pub(crate) claim: Vec<String>,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sealpack tree oci:out:app")]
pub(crate) struct Tree {
    /// The image.
    pub(crate) image: Reference,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sealpack inspect registry.example/app:v1 --output json")]
pub(crate) struct Inspect {
    /// The image.
    pub(crate) image: Reference,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Judge an image by what is proven about it.
    #[command(
        after_help = "Example:\n  sealpack policy check registry.example/app:v1 --policy policy.toml"
    )]
    Check(PolicyCheck),
}

#[derive(Args, Debug)]
pub(crate) struct PolicyCheck {
    /// The image.
    pub(crate) image: Reference,

    /// The policy: a `policy.toml` or its folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,

    /// The public key that the policy means by `signer = "given"`.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  With its proof, to a registry:
    sealpack copy oci:out:app registry.example/app:v1 --referrers
  Also what cosign attached before there were referrers:
    sealpack copy registry.example/app:v1 mirror.example/app:v1 --referrers --digest-tags
  Of an index, one image:
    sealpack copy registry.example/app:v1 oci:out:app --platform linux/arm64
  Into a file, with its proof, that `docker load` takes:
    sealpack copy registry.example/app:v1 docker-archive:app.tar:app:v1 --referrers
  What `docker save` writes, to a registry:
    docker save app:v1 | sealpack copy docker-archive:/dev/stdin registry.example/app:v1
  Into the Docker daemon, to run it:
    sealpack copy registry.example/app:v1 docker-daemon:app:v1")]
pub(crate) struct Copy {
    /// The image.
    pub(crate) source: Reference,

    /// Where it goes. What else a layout or an archive holds stays; a tag moves.
    pub(crate) destination: Reference,

    /// Copy what is attached too, and what is attached to that.
    #[arg(long)]
    pub(crate) referrers: bool,

    /// Copy cosign's old tags (`sha256-….sig`, `.att`, `.sbom`) too.
    #[arg(long)]
    pub(crate) digest_tags: bool,

    #[command(flatten)]
    pub(crate) platforms: CopyPlatforms,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
#[group(multiple = false)]
pub(crate) struct CopyPlatforms {
    /// Of an index, copy only the image for this platform: OS/ARCHITECTURE[/VARIANT]. The index
    /// itself, and what is attached to it, then stays behind.
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,

    /// The same for this machine's platform.
    #[arg(long)]
    pub(crate) this_platform: bool,

    /// Copy an index whole, so that it keeps its digest and its signatures. This is the default.
    #[arg(long)]
    pub(crate) all_platforms: bool,
}

impl CopyPlatforms {
    /// The platform that was asked for; `None` means all.
    pub(crate) fn one(&self) -> Option<Platform> {
        self.platform
            .clone()
            .or_else(|| self.this_platform.then(Platform::host))
    }
}

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  sealpack unpack oci:out:app root && chroot root /cnb/process/web"
)]
pub(crate) struct Unpack {
    /// The image.
    pub(crate) image: Reference,

    /// The folder; made if it is not there, and empty if it is.
    pub(crate) directory: PathBuf,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// Delete an image, or something that is attached to one.
///
/// Only by digest, as `tree` and `inspect` show it: what is deleted is gone by all of its tags. Its
/// layers are freed by the registry's own garbage collection, in a layout by `sealpack gc`, and in an
/// archive at once.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  An image, and all that is attached to it:
    sealpack delete registry.example/app@sha256:… --referrers
  A signature that should not be there:
    sealpack tree registry.example/app:v1
    sealpack delete registry.example/app@sha256:…")]
pub(crate) struct Delete {
    /// The image or what is attached to one: `HOST/REPO@sha256:…`, `oci:DIR@sha256:…`.
    pub(crate) image: Reference,

    /// Delete what is attached too, and what is attached to that.
    #[arg(long)]
    pub(crate) referrers: bool,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// Free what nothing in a layout refers to any more.
///
/// That is what broken writes left, layers of deleted images, and by choice images whose tag has moved
/// on. Others may write into the layout meanwhile: what is younger than `--older-than` stays.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sealpack gc oci:out
  Also the images of earlier builds, whose tag has moved on:
    sealpack gc oci:out --untagged")]
pub(crate) struct Gc {
    /// The layout: `oci:DIR`.
    pub(crate) layout: Reference,

    /// Free images without a tag, too, unless an index or artifact that stays refers to them.
    #[arg(long)]
    pub(crate) untagged: bool,

    /// Leave files that were written in the last so many minutes: someone may be about to refer to
    /// them.
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    pub(crate) older_than: u32,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// Log in to a registry.
///
/// Asks for name and password, has the registry check them, and keeps them where Docker does:
/// `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, or the credential helper that this file
/// names. docker, podman, skopeo, crane, oras and cosign find them there, and sealpack finds theirs.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  Asking for name and password:
    sealpack login registry.example
  In a script:
    printenv TOKEN | sealpack login registry.example --username robot --password-stdin")]
pub(crate) struct Login {
    /// The registry: `HOST[:PORT]`.
    pub(crate) registry: String,

    /// The name.
    #[arg(long, short, value_name = "NAME")]
    pub(crate) username: Option<String>,

    /// Read the password, or an access token in the place of one, from standard input.
    #[arg(long, requires = "username")]
    pub(crate) password_stdin: bool,

    /// Read an identity token (an OAuth 2 refresh token) from standard input.
    #[arg(long, conflicts_with_all = ["username", "password_stdin"])]
    pub(crate) identity_token_stdin: bool,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sealpack logout registry.example")]
pub(crate) struct Logout {
    /// The registry: `HOST[:PORT]`.
    pub(crate) registry: String,

    /// The credentials are in this file, and not where Docker keeps them.
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) printed: Printed,
}
