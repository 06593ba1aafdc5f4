//! The arguments of `sealpack rebase`.

use std::path::PathBuf;

use clap::Args;
use oci::Reference;

use crate::args::{Access, Printed, ServiceArgs};
use crate::typed;

/// Put an image on another run image, without building it again.
///
/// Of the app's own layers none is fetched or sent. Layers of the new run image are read once to say
/// which packages they hold; what was found is kept in the user's cache. What is attached to the image
/// stays with it; the new one gets proof of its own.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  On the newest run image that the image names; its tag moves last:
    sealpack rebase registry.example/app:v1 --key release.key
  On this one, under another name, if a policy accepts all three images:
    sealpack rebase registry.example/app:v1 --run-image registry.example/run:2 --tag registry.example/app:v1-2 --key release.key --policy policies
  In a layout, on a run image that came over an air gap:
    sealpack rebase oci:out:app --run-image oci:usb:run --key release.key --offline")]
pub(crate) struct Rebase {
    /// The image, or the index: then each of its images.
    #[arg(value_name = "IMAGE", value_parser = typed::image)]
    pub(crate) image: Reference,

    /// The new run image. Without it, the one that the image names, or the nearest of its mirrors.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) run_image: Option<String>,

    /// Rebase this image, and only write IMAGE.
    #[arg(long, value_name = "IMAGE", value_parser = typed::image)]
    pub(crate) previous_image: Option<Reference>,

    /// Where the new image goes; IMAGE itself then stays as it is. Repeatable.
    #[arg(long = "tag", short, value_name = "IMAGE", value_parser = typed::image)]
    pub(crate) tags: Vec<Reference>,

    /// Do it though the run image is for another target, or none that the image names, or the image says
    /// not to be rebasable.
    #[arg(long)]
    pub(crate) force: bool,

    /// Do it only if this policy accepts the image, the new run image, and what is made of both: a
    /// `policy.toml`, its folder, or a folder of policies.
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) policy: Option<PathBuf>,

    /// The same for the run image, in place of that policy.
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) run_image_policy: Option<PathBuf>,

    /// Leave the packages of the run image out of the SBOM, which says so: then no layer is read.
    #[arg(long)]
    pub(crate) no_base_packages: bool,

    /// The URI that the provenance names as the builder.
    #[arg(long, value_name = "URI", default_value = lifecycle_core::provenance::LOCAL_BUILDER)]
    pub(crate) builder_id: String,

    /// Write a `report.toml` of the lifecycle to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) signer: RebaseSigner,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
#[group(
    id = "who_signs",
    required = true,
    multiple = true,
    args = ["key", "unsigned", "signing_config", "fulcio_url"],
)]
pub(crate) struct RebaseSigner {
    /// Sign with this private key. Its password comes from `COSIGN_PASSWORD` or a prompt. Without a key,
    /// whoever the identity token names signs, if a service gives a certificate.
    #[arg(long, value_name = "FILE", conflicts_with = "unsigned")]
    pub(crate) key: Option<PathBuf>,

    /// Sign nothing: the image goes out without proof.
    #[arg(long, conflicts_with_all = ["policy", "signing_config", "fulcio_url", "rekor_url", "timestamp_server_url", "identity_token"])]
    pub(crate) unsigned: bool,

    #[command(flatten)]
    pub(crate) services: ServiceArgs,
}
