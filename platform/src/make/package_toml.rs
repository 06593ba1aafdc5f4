//! `package.toml`: what a package is made of, in pack's format.

use std::path::{Path, PathBuf};

use lifecycle_core::buildpack::Kind;
use oci::Digest;
use serde::Deserialize;

use crate::builder::file::{self, BuilderError, TargetEntry};
use crate::builder::{Target, TargetError};

/// What a package is made of. What it does not know is an error, lest a misspelt key change nothing
/// in silence.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PackageToml {
    /// Where the buildpack or extension is.
    pub uri: String,
    /// Where those are that it stands for.
    pub dependencies: Vec<String>,
    /// What it is for, of a composite buildpack.
    pub targets: Vec<Target>,
    /// What is relative in it is so to this folder.
    pub folder: PathBuf,
    /// Of the file.
    pub digest: Digest,
}

impl PackageToml {
    /// Reads the file at `path`, for a package of this kind.
    pub fn read(kind: Kind, path: &Path) -> Result<Self, PackageTomlError> {
        Self::parse(kind, path, &file::read(path)?)
    }

    /// The same of its `text`; `path` is for messages, and what is relative.
    pub fn parse(kind: Kind, path: &Path, text: &str) -> Result<Self, PackageTomlError> {
        let parsed: File = file::parse(path, text)?;
        let invalid = |problem: String| PackageTomlError::Invalid {
            path: path.to_owned(),
            problem,
        };
        let (wanted, other, word) = match kind {
            Kind::Buildpack => (parsed.buildpack, parsed.extension, "buildpack"),
            Kind::Extension => (parsed.extension, parsed.buildpack, "extension"),
        };
        if other.is_some() {
            let problem = format!("it is not about one {word} alone");
            return Err(invalid(problem));
        }
        let uri = wanted.map(|it| it.uri).filter(|it| !it.is_empty());
        let uri = uri.ok_or_else(|| invalid(format!("it does not say `{word}.uri`")))?;
        if !matches!(parsed.platform.os.as_str(), "" | "linux" | "windows") {
            let os = parsed.platform.os;
            return Err(invalid(format!(
                "`platform.os` is `{os}`: only `linux` and `windows` are known"
            )));
        }
        let mut dependencies = Vec::new();
        for dependency in parsed.dependencies {
            match (dependency.uri, dependency.image) {
                (Some(uri), None) => dependencies.push(uri),
                (None, Some(image)) => dependencies.push(format!("docker://{image}")),
                (Some(_), Some(_)) => {
                    let problem = "a dependency has both `uri` and `image`";
                    return Err(invalid(problem.to_owned()));
                }
                (None, None) => {
                    let problem = "a dependency has neither `uri` nor `image`";
                    return Err(invalid(problem.to_owned()));
                }
            }
        }
        let mut targets: Vec<Target> = parsed.targets.iter().map(Into::into).collect();
        if targets.is_empty() && !parsed.platform.os.is_empty() {
            targets.push(parsed.platform.os.parse()?);
        }
        let folder = path.parent().filter(|it| *it != Path::new(""));
        Ok(Self {
            uri,
            dependencies,
            targets,
            folder: folder.unwrap_or(Path::new(".")).to_owned(),
            digest: Digest::of(text.as_bytes()),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    buildpack: Option<Place>,
    extension: Option<Place>,
    #[serde(default)]
    dependencies: Vec<Dependency>,
    #[serde(default)]
    platform: PlatformTable,
    #[serde(default)]
    targets: Vec<TargetEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    #[serde(default)]
    uri: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dependency {
    uri: Option<String>,
    image: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PlatformTable {
    os: String,
}

/// Why a `package.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageTomlError {
    /// It says something that cannot be.
    #[error("`{}`: {problem}", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// What.
        problem: String,
    },
    /// It could not be read.
    #[error(transparent)]
    File(#[from] BuilderError),
    /// It names what is no target.
    #[error(transparent)]
    Target(#[from] TargetError),
}
