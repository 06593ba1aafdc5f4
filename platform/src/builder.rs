//! Builders: which buildpacks there are, in which groups they are tried, and what the app runs on;
//! described by a `builder.toml` or held by a builder image, with modules from anywhere added.
//!
//! | file | about |
//! |---|---|
//! | `file` | `builder.toml` |
//! | `image` | builder images: labels and config |
//! | `package` | buildpacks and extensions from folders, archives, `.cnb` files and images |
//! | `locator` | what a user means by the name of one |
//! | `add` | what a user adds to a builder, and the order that this gives |
//! | `module`, `id`, `target`, `lifecycle` | what builders and packages are made of |

pub mod add;
mod cnb;
pub(crate) mod descriptor;
mod env;
pub mod file;
mod id;
pub mod image;
pub(crate) mod labels;
pub(crate) mod lifecycle;
mod locator;
pub(crate) mod module;
pub mod package;
mod target;

use std::path::PathBuf;

use lifecycle_core::buildpack::Kind;
use lifecycle_core::files::group::GroupElement;
use lifecycle_core::files::order::Order;
use lifecycle_core::files::run::Run;
use lifecycle_core::files::system::System;
use oci::Digest;

pub use self::add::{AddError, Additions, Part};
pub use self::cnb::LayOutError;
pub use self::descriptor::{License, ModuleInfo, Stack};
pub use self::env::{BuildEnv, EnvSuffix};
pub use self::file::{BuilderError, BuilderToml};
pub use self::id::{IdError, ModuleId, ModuleName, ModuleVersion};
pub use self::image::{BuilderImage, BuilderImageError};
pub use self::labels::{CreatedBy, LabelError, LabelProblem};
pub use self::lifecycle::{Apis, Lifecycle, Versions};
pub use self::locator::{Locator, LocatorError};
pub use self::module::{Content, LayerContent, Module, Origin};
pub use self::package::{Package, PackageError};
pub use self::target::{Target, TargetDistro, TargetError};

/// Which buildpacks there are, in which groups they are tried, and what the app runs on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Builder {
    /// What it was read from.
    pub source: BuilderSource,
    /// Of the file, or of the image's manifest.
    pub digest: Digest,
    /// What it is for, in its own words; may be empty.
    pub description: String,
    /// The buildpacks.
    pub buildpacks: Vec<Module>,
    /// The extensions.
    pub extensions: Vec<Module>,
    /// The groups; each member has a version.
    pub order: Order,
    /// Of a `builder.toml`: the image that it is to be made of.
    pub build_image: Option<String>,
    /// Variables that all buildpacks see.
    pub build_env: Vec<BuildEnv>,
    /// The images that the app may run on; the first is taken unless another is asked for.
    pub run: Run,
    /// The lifecycle that it asks for, or has.
    pub lifecycle: Lifecycle,
    /// What it builds for; empty if it does not say.
    pub targets: Vec<Target>,
    /// Buildpacks that run before and after each group.
    pub system: System,
    /// Whether modules were [added](Builder::with) to what it was read from: its order is another then
    /// than the one in the root of its image.
    pub is_added_to: bool,
}

/// What a builder was read from.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a build has to know both")]
pub enum BuilderSource {
    /// A `builder.toml`: the build runs on the machine's own root.
    File(PathBuf),
    /// A builder image: the build runs in it.
    Image(Box<BuilderImage>),
}

impl Builder {
    /// The image that it is, if it is one.
    pub fn image(&self) -> Option<&BuilderImage> {
        match &self.source {
            BuilderSource::Image(image) => Some(image),
            BuilderSource::File(_) => None,
        }
    }

    /// Its modules of this kind.
    pub fn modules(&self, kind: Kind) -> &[Module] {
        match kind {
            Kind::Buildpack => &self.buildpacks,
            Kind::Extension => &self.extensions,
        }
    }

    /// The module of this kind that `element`, a member of a group, means.
    pub fn module(&self, kind: Kind, element: &GroupElement) -> Option<&Module> {
        let mut modules = self.modules(kind).iter();
        modules.find(|it| it.is(element))
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
