//! The arguments of `sealpack mirror`.

use std::path::PathBuf;

use clap::Args;

use crate::args::{Access, IdentityArgs, Printed};

/// Mirror images that a policy accepts.
///
/// Each image is judged, copied with all that belongs to it (the images of an index, what is attached to
/// any of them, cosign's old tags), judged again by what is found where it arrived, and only then
/// tagged. What is there is not sent again, so a mirror that was broken off is completed by running it
/// again.
#[derive(Args, Debug)]
#[command(
    override_usage = "sealpack mirror [OPTIONS] --policy <FILE|DIR> [SOURCE]... <DESTINATION>",
    after_help = "\
Examples:
  All releases of a repository, into another registry:
    sealpack mirror 'registry.example/team/app:v1.*' mirror.example/team/app --policy policy.toml
  Images of many repositories, each below a prefix, each by the policy that is about it:
    sealpack mirror --from images.txt mirror.example/prefix/ --policy policies
  Over an air gap: into a folder of layouts, and from it into a registry, judged on both sides:
    sealpack mirror --from images.txt oci:usb/ --policy policies
    sealpack mirror oci:usb/ registry.internal/ --policy policies
  What would be done:
    sealpack mirror --from images.txt mirror.example/ --policy policies --dry-run"
)]
pub(crate) struct Mirror {
    /// Images, and last where they go.
    ///
    /// Images are `HOST/REPO:TAG`, `HOST/REPO@sha256:…`; tags by a pattern, `HOST/REPO:v1.*`; `oci:DIR` or
    /// `oci-archive:FILE`, all that have a tag there; `oci:DIR/`, all layouts below. They go to
    /// `HOST/REPO`, `oci:DIR` or `oci-archive:FILE`, with the tags that they have; with a `/` at the end,
    /// `HOST/PREFIX/` or `oci:DIR/`, each repository goes to one of its own below.
    #[arg(value_name = "PLACE", required = true)]
    pub(crate) places: Vec<String>,

    /// Read more sources from this file, one a line; `-` for standard input. Repeatable.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Vec<PathBuf>,

    /// Of sources without a tag, take the tags that this pattern matches. Repeatable: any of them.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) tags: Vec<String>,

    /// What an image has to prove: a `policy.toml`, its folder, or a folder of policies, of which the
    /// one counts whose `images` match the source most strictly. Whom it calls `given` is who is named
    /// by `--key`.
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) policy: PathBuf,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,

    /// Mirror the images that are accepted even if others are not. Without it, it is all or none.
    #[arg(long)]
    pub(crate) keep_going: bool,

    /// Judge, and say what would be mirrored; write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// How many images are worked on at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) jobs: u8,

    /// Write the report as a page, too; `-` for standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}
