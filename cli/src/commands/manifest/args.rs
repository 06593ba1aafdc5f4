//! The arguments of `sealpack manifest`.

use clap::{Args, Subcommand, ValueEnum};
use oci::{MediaType, Reference};

use crate::args::{Access, Printed, SignerArgs};
use crate::typed;

/// Combine images for several platforms into one index.
///
/// An index is put together as a list on this machine, kept where pack keeps its own
/// (`$XDG_RUNTIME_DIR`, else `$PACK_HOME/manifests`, else `~/.pack/manifests`) and in the same form, and
/// then pushed with all of its images and their proof.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  sealpack manifest create registry.example/app:v1 registry.example/app:amd64 oci:out:arm64
  sealpack manifest annotate registry.example/app:v1 oci:out:arm64 --variant v8
  sealpack manifest push registry.example/app:v1 --key release.key
  At once, without a list on this machine:
    sealpack manifest create registry.example/app:v1 oci:one:app oci:two:app --publish")]
pub(crate) enum Manifest {
    /// Create a list of images.
    Create(Create),
    /// Add images to a list.
    Add(Add),
    /// Say more of an image in a list, or something else.
    Annotate(Annotate),
    /// Take images out of a list.
    Rm(Rm),
    /// Remove lists from this machine.
    Remove(Remove),
    /// Push a list as an index, with its images and what is attached to them; the tag moves last.
    Push(Push),
    /// Show a list, or an index that lies elsewhere.
    Inspect(Inspect),
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// The list: where the index is to lie.
    #[arg(value_name = "LIST")]
    pub(crate) list: String,

    /// The images, wherever they are. Of an index, all of its images.
    #[arg(value_name = "IMAGE", required = true, value_parser = typed::image)]
    pub(crate) images: Vec<Reference>,

    /// Whose form the index has.
    #[arg(long, short, value_name = "FORM", default_value = "oci")]
    pub(crate) format: Form,

    /// Push it at once, and keep no list.
    #[arg(long)]
    pub(crate) publish: bool,

    #[command(flatten)]
    pub(crate) signer: SignerArgs,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
pub(crate) struct Add {
    /// The list.
    #[arg(value_name = "LIST")]
    pub(crate) list: String,

    /// The images, wherever they are. Of an index, all of its images.
    #[arg(value_name = "IMAGE", required = true, value_parser = typed::image)]
    pub(crate) images: Vec<Reference>,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
#[group(id = "what", required = true, multiple = true, args = ["os", "arch", "variant", "annotations"])]
pub(crate) struct Annotate {
    /// The list.
    #[arg(value_name = "LIST")]
    pub(crate) list: String,

    /// The image: as it was added, or by digest.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,

    /// The operating system.
    #[arg(long)]
    pub(crate) os: Option<String>,

    /// The architecture.
    #[arg(long)]
    pub(crate) arch: Option<String>,

    /// The variant of the architecture.
    #[arg(long)]
    pub(crate) variant: Option<String>,

    /// An annotation of the image: `KEY=VALUE`. Repeatable, or several with commas between.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    pub(crate) annotations: Vec<String>,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// The list.
    #[arg(value_name = "LIST")]
    pub(crate) list: String,

    /// The images: as they were added, or by digest.
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// The lists.
    #[arg(value_name = "LIST", required = true)]
    pub(crate) lists: Vec<String>,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
pub(crate) struct Push {
    /// The list.
    #[arg(value_name = "LIST")]
    pub(crate) list: String,

    /// Where it goes, if not where its name says.
    #[arg(value_name = "DESTINATION", value_parser = typed::image)]
    pub(crate) destination: Option<Reference>,

    /// Whose form the index has; without it, that with which the list was created.
    #[arg(long, short, value_name = "FORM")]
    pub(crate) format: Option<Form>,

    /// Remove the list from this machine when it is pushed.
    #[arg(long)]
    pub(crate) purge: bool,

    #[command(flatten)]
    pub(crate) signer: SignerArgs,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// The list, or an index wherever it is.
    #[arg(value_name = "LIST")]
    pub(crate) list: String,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// Whose form an index has.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Form {
    /// OCI's image index.
    Oci,
    /// Docker's manifest list.
    Docker,
}

impl Form {
    pub(super) fn media_type(self) -> MediaType {
        match self {
            Self::Oci => MediaType::IMAGE_INDEX,
            Self::Docker => MediaType::DOCKER_MANIFEST_LIST,
        }
    }
}
