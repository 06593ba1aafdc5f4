//! The arguments of `sealpack build`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lifecycle_core::api::PlatformApi;
use oci::{Platform, Reference};
use platform::sandbox::{Isolation, Network};

use crate::args::{Access, ServiceArgs};
use crate::typed;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  Build, sign with a new key, judge, and write an OCI layout:
    sealpack build ./app --builder builder.toml --new-key release --policy policy.toml --tag oci:out:app
  In a builder image, as any user, without a daemon:
    sealpack build ./app --builder registry.example/builder:v1 --key release.key --tag oci:out:app
  The same to a registry; the tag moves last:
    sealpack build ./app --builder builder.toml --key release.key --policy policy.toml --tag registry.example/app:v1
  With a buildpack of one's own in front of those of the builder:
    sealpack build ./app --pre-buildpack ./my-buildpack --unsigned --tag oci:out:app")]
pub(crate) struct Build {
    /// The folder with the app's source.
    #[arg(value_name = "APP", default_value = ".")]
    pub(crate) app: PathBuf,

    /// What builds it: a builder image, or a `builder.toml` in pack's format. The build runs in the image,
    /// or, with the file, on this machine's root. Without one it is sought as `builder.toml` in the app's
    /// folder and beside it.
    #[arg(long, value_name = "IMAGE|FILE")]
    pub(crate) builder: Option<String>,

    /// A buildpack in place of the builder's (repeatable, in order). A folder, a `.tgz` or `.cnb` file, an
    /// image, `ID@VERSION` of the builder; `from=builder` for all groups of the builder.
    #[arg(long, short, value_name = "BUILDPACK", value_delimiter = ',')]
    pub(crate) buildpack: Vec<String>,

    /// A buildpack in front of each group of the builder. Repeatable; the last one is the first.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "BUILDPACK",
        value_delimiter = ',',
        conflicts_with = "buildpack"
    )]
    pub(crate) pre_buildpack: Vec<String>,

    /// A buildpack behind each group of the builder. Repeatable, in order.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "BUILDPACK",
        value_delimiter = ',',
        conflicts_with = "buildpack"
    )]
    pub(crate) post_buildpack: Vec<String>,

    /// An image extension, in place of the builder's: as `--buildpack`. Repeatable; the last one is the
    /// first.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "EXTENSION",
        value_delimiter = ','
    )]
    pub(crate) extension: Vec<String>,

    /// The CNB Platform API that is spoken: buildpacks and the image depend on it. Without one, the newest
    /// that the builder's lifecycle speaks, too.
    #[arg(long, hide_short_help = true, value_name = "VERSION")]
    pub(crate) platform_api: Option<PlatformApi>,

    /// What the app says of its build, in place of `project.toml` in its folder
    /// (docs/project-toml.md).
    #[arg(long, hide_short_help = true, short, value_name = "FILE")]
    pub(crate) descriptor: Option<PathBuf>,

    /// Where the image goes: `HOST/REPO:TAG`, `oci:DIR:TAG` (repeatable). Also `oci-archive:FILE:TAG`,
    /// `docker-archive:FILE:NAME:TAG` or, without its proof, `docker-daemon:NAME:TAG`.
    #[arg(long, short, value_name = "IMAGE", required_unless_present = "output")]
    pub(crate) tag: Vec<String>,

    /// Output format: `text` or `json`. Until the next release an image is taken here,
    /// too, as by `--tag`, and goes before those.
    #[arg(long, short, value_name = "FORMAT")]
    pub(crate) output: Vec<String>,

    /// What the app runs on: an image, or `static` for the base that sealpack makes itself.
    /// Without one, the builder's run image, else `static`.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) run_image: Option<String>,

    /// What it is built for: `linux/arm64`. Several, with commas between, give one index of as many
    /// images. A builder image has to have an image for each, and this machine an interpreter for
    /// programs of another machine type. With a `builder.toml`, buildpacks run on this machine, and are
    /// told (`CNB_TARGET_ARCH`); the launcher for another machine type is sought as
    /// `linux-arm64/launcher` beside ours.
    #[arg(
        long = "platform",
        value_name = "OS/ARCH",
        value_delimiter = ',',
        conflicts_with_all = ["links", "staging"]
    )]
    pub(crate) platforms: Vec<Platform>,

    /// Judge the image by this policy before it goes anywhere. A `policy.toml`, its folder, or a folder of
    /// policies, of which those count that are about where it goes.
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) policy: Option<PathBuf>,

    /// Judge the builder image, the run image and images of buildpacks by this policy before anything
    /// of them is used: a `policy.toml`, its folder, or a folder of policies, of which those count that
    /// are about them.
    #[arg(long, hide_short_help = true, value_name = "FILE|DIR")]
    pub(crate) input_policy: Option<PathBuf>,

    /// An environment variable for the buildpacks: `NAME=VALUE`, or `NAME` to pass on ours.
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,

    /// Environment variables for the buildpacks, one a line, as for `--env`, which wins. Lines that
    /// begin with `#` mean nothing. Repeatable.
    #[arg(long, hide_short_help = true, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,

    /// When the image says that it was made: seconds since 1970, or `now`. Without it,
    /// `SOURCE_DATE_EPOCH`, else 1980, so that the same source gives the same image.
    #[arg(long, hide_short_help = true, value_name = "SECONDS|now")]
    pub(crate) creation_time: Option<String>,

    /// The process that the image starts by default.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "TYPE",
        visible_short_alias = 'D',
        visible_alias = "default-process"
    )]
    pub(crate) process_type: Option<String>,

    /// How far the buildpacks are kept from this machine.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) isolation: IsolationArg,

    /// A folder or file that buildpacks see, read only unless it ends with `:rw`:
    /// `SOURCE:TARGET[:ro|rw]`. Never what is, holds or lies in keys, credentials and sockets that are
    /// known. Repeatable.
    #[arg(long, hide_short_help = true, value_name = "VOLUME")]
    pub(crate) volume: Vec<String>,

    /// The network that buildpacks see.
    #[arg(long, value_name = "WHICH", default_value = "none")]
    pub(crate) network: NetworkArg,

    /// Where layers are kept between builds. Without it, a folder of the user's cache for this app.
    #[arg(long, hide_short_help = true, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,

    /// Where the layers of builder images are kept, unpacked, for all builds. Without it, a folder of
    /// the user's cache.
    #[arg(long, hide_short_help = true, value_name = "DIR")]
    pub(crate) root_store: Option<PathBuf>,

    /// Keep layers between builds in this image, instead of a folder: `HOST/REPO:TAG` or `oci:DIR:TAG`.
    /// Whoever may write it has a say in what is built.
    #[arg(long, hide_short_help = true, value_name = "IMAGE", conflicts_with_all = ["cache", "no_cache"], value_parser = typed::image)]
    pub(crate) cache_image: Option<Reference>,

    /// Use nothing of what is cached, and begin the cache anew.
    #[arg(long, hide_short_help = true, conflicts_with = "no_cache")]
    pub(crate) clear_cache: bool,

    /// Use nothing of an earlier build, and keep nothing for a later one.
    #[arg(long, hide_short_help = true)]
    pub(crate) no_cache: bool,

    /// The image that the new one replaces, whose layers may be used again. Without it, what is there
    /// at the first destination.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "IMAGE",
        conflicts_with = "no_cache",
        value_parser = typed::image
    )]
    pub(crate) previous_image: Option<Reference>,

    /// The URI that the provenance names as the builder.
    #[arg(long, hide_short_help = true, value_name = "URI", default_value = lifecycle_core::provenance::LOCAL_BUILDER)]
    pub(crate) builder_id: String,

    /// Where the image is staged; a new folder for temporary files without it. Kept if the image is
    /// rejected.
    #[arg(long, hide_short_help = true, value_name = "DIR")]
    pub(crate) staging: Option<PathBuf>,

    /// A folder with another `lifecycle` or another `launcher` than those that are in this program, or
    /// with launchers for other platforms.
    #[arg(long, hide_short_help = true, value_name = "DIR")]
    pub(crate) lifecycle: Option<PathBuf>,

    /// Write a signed in-toto link for each phase into this folder: what it took and made
    /// (docs/links.md).
    #[arg(
        long,
        hide_short_help = true,
        value_name = "DIR",
        conflicts_with = "unsigned"
    )]
    pub(crate) links: Option<PathBuf>,

    /// Tell what was done, and for how long, as a trace of OpenTelemetry. A file gets lines of JSON, a
    /// collector (`http://HOST:4318`, `https://HOST/v1/traces`) all of it at the end. No names of images
    /// are in it (docs/tracing.md).
    #[arg(long, hide_short_help = true, value_name = "FILE|URL")]
    pub(crate) trace: Option<String>,

    #[command(flatten)]
    pub(crate) signer: BuildSigner,

    #[command(flatten)]
    pub(crate) access: Access,
}

#[derive(Args, Debug)]
#[group(
    id = "who_signs",
    required = true,
    multiple = true,
    args = ["key", "new_key", "unsigned", "signing_config", "fulcio_url"],
)]
pub(crate) struct BuildSigner {
    /// Sign with this private key. Its password comes from `COSIGN_PASSWORD` or a prompt. Without a key,
    /// whoever the identity token names signs, if a service gives a certificate.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["new_key", "unsigned"])]
    pub(crate) key: Option<PathBuf>,

    /// Sign with PREFIX.key; make it and PREFIX.pub first if it is missing.
    #[arg(long, value_name = "PREFIX", conflicts_with = "unsigned")]
    pub(crate) new_key: Option<PathBuf>,

    /// Sign nothing: the image goes out without proof.
    #[arg(long, conflicts_with_all = ["policy", "signing_config", "fulcio_url", "rekor_url", "timestamp_server_url", "identity_token"])]
    pub(crate) unsigned: bool,

    /// Do not ask, as always.
    #[arg(long, short, hide = true)]
    pub(crate) yes: bool,

    #[command(flatten)]
    pub(crate) services: ServiceArgs,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum IsolationArg {
    /// As far as this machine allows; the provenance says how far.
    Auto,
    /// In full, or not at all.
    Required,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum NetworkArg {
    /// None.
    None,
    /// This machine's.
    Host,
}

impl From<IsolationArg> for Isolation {
    fn from(arg: IsolationArg) -> Self {
        match arg {
            IsolationArg::Auto => Self::Auto,
            IsolationArg::Required => Self::Required,
        }
    }
}

impl From<NetworkArg> for Network {
    fn from(arg: NetworkArg) -> Self {
        match arg {
            NetworkArg::None => Self::None,
            NetworkArg::Host => Self::Host,
        }
    }
}
