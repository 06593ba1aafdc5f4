//! Buildpacks and image extensions: what they say of themselves, and what they are given.

pub mod descriptor;
mod environment;
pub mod target;
mod telemetry;
mod temporary;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

pub use self::descriptor::BuildpackDescriptor;
pub(crate) use self::environment::{base_env, tell_target, user_env};
pub(crate) use self::telemetry::Action;
pub use self::telemetry::Telemetry;
pub(crate) use self::temporary::Folder;
use crate::api::{BuildpackApi, PlatformApi, is_version};
use crate::env::Env;
use crate::exec::Run;
use crate::files::analyzed::TargetMetadata;
use crate::files::group::GroupElement;

/// What all phases need that run programs of buildpacks or extensions.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever runs a phase has to say all of it"
)]
pub struct ModuleContext<'a> {
    /// The API between platform and lifecycle.
    pub platform_api: PlatformApi,
    /// The app's source; programs start here.
    pub app_dir: PathBuf,
    /// Where buildpacks lie, as `<id>/<version>`.
    pub buildpacks_dir: PathBuf,
    /// Where extensions lie, as `<id>/<version>`.
    pub extensions_dir: PathBuf,
    /// What the platform gives: `env`, `bindings`.
    pub platform_dir: PathBuf,
    /// What the operator of the builder gives: `env`.
    pub build_config_dir: PathBuf,
    /// What the run image is, from `analyzed.toml`. What it leaves open is found out here.
    pub target: TargetMetadata,
    /// `/etc/os-release` of the build image.
    pub os_release: PathBuf,
    /// The execution environment, e.g. `production`.
    pub exec_env: String,
    /// The lifecycle's own environment. Programs see little of it.
    pub env: BTreeMap<OsString, OsString>,
    /// For files that programs read and write, and nobody after.
    pub temp_dir: PathBuf,
    /// How programs take part in a trace, if one was asked for.
    pub telemetry: Option<Telemetry>,
    /// Starts programs.
    pub run: &'a dyn Run,
}

impl ModuleContext<'_> {
    /// Where the modules of this kind lie.
    pub(crate) fn dir_of(&self, kind: Kind) -> &Path {
        match kind {
            Kind::Buildpack => &self.buildpacks_dir,
            Kind::Extension => &self.extensions_dir,
        }
    }

    /// Tells a module in `env` how it takes part in a trace.
    pub(crate) fn tell_telemetry(&self, env: &mut Env, element: &GroupElement, action: Action) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.tell(env, element, action);
        }
    }
}

/// A buildpack, or an image extension.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "the specification lists both")]
pub enum Kind {
    /// Has `bin/detect` and `bin/build`.
    Buildpack,
    /// Has `bin/detect` and `bin/generate`, or neither.
    Extension,
}

impl Kind {
    /// What this member of a group is.
    pub fn of(element: &GroupElement) -> Self {
        if element.extension {
            Self::Extension
        } else {
            Self::Buildpack
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buildpack => "Buildpack",
            Self::Extension => "Extension",
        })
    }
}

/// The Buildpack API that a module speaks by its descriptor, or by `group.toml`.
pub fn api_of(kind: Kind, element: &GroupElement, api: &str) -> Result<BuildpackApi, ApiError> {
    if !is_version(api) {
        return Err(ApiError::Malformed {
            kind,
            module: element.to_string(),
        });
    }
    api.parse().map_err(|_unsupported| ApiError::Incompatible {
        kind,
        module: element.to_string(),
        api: api.to_owned(),
    })
}

/// Why a module cannot be spoken to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// It speaks an API that we do not.
    #[error(
        "failed to set API for {kind} '{module}': buildpack API version '{api}' is incompatible with the lifecycle"
    )]
    Incompatible {
        /// What it is.
        kind: Kind,
        /// Which.
        module: String,
        /// What it speaks.
        api: String,
    },
    /// It does not say what it speaks, or says what is not a version: upstream shows neither.
    #[error("failed to parse buildpack API '<nil>' for {} '{module}'", kind.to_string().to_lowercase())]
    Malformed {
        /// What it is.
        kind: Kind,
        /// Which.
        module: String,
    },
}
