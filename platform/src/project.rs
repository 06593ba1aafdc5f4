//! `project.toml`: what an app says of how it wants to be built.
//!
//! Schemas 0.1, 0.2 and 0.3 of
//! <https://github.com/buildpacks/spec/blob/main/extensions/project-descriptor.md>. What `pack` does
//! otherwise, and why we do not, is in `docs/project-toml.md`.

mod file;
mod inline;
mod patterns;

use std::path::{Path, PathBuf};

use lifecycle_core::files::project_metadata::{ProjectMetadata, ProjectSource};
use oci::Digest;

pub use self::inline::{Script, ScriptError};
pub use self::patterns::{Files, Patterns};

/// What the file is called, in the folder of an app.
pub const FILE: &str = "project.toml";

/// The most bytes that the file may have.
const MAX_BYTES: u64 = 1 << 20;

/// A `project.toml`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Project {
    /// Where it lies.
    pub path: PathBuf,
    /// Of the file.
    pub digest: Digest,
    /// The schema that it is written in.
    pub schema: Schema,
    /// The version of the app; may be empty.
    pub version: String,
    /// Where its source is; may be empty.
    pub source_url: String,
    /// Which builder it asks for.
    pub builder: Option<String>,
    /// Which of its files are to be built.
    pub files: Files,
    /// The buildpacks that build it, instead of the builder's order.
    pub group: Vec<Wanted>,
    /// Those that come before each group of the builder's.
    pub pre: Vec<Wanted>,
    /// Those that come after.
    pub post: Vec<Wanted>,
    /// Variables for the buildpacks.
    pub env: Vec<Variable>,
    /// What it says that means nothing.
    pub warnings: Vec<Warning>,
}

/// The schema of a `project.toml`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Schema {
    /// Tables `project`, `build`, `metadata`.
    V0_1,
    /// Tables `_` and `io.buildpacks`.
    V0_2,
    /// The same with execution environments.
    V0_3,
}

impl Schema {
    /// As the file says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1",
            Self::V0_2 => "0.2",
            Self::V0_3 => "0.3",
        }
    }
}

/// A buildpack that a `project.toml` asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Wanted {
    /// Where the file asks for it, from 1.
    pub line: usize,
    /// Which.
    pub what: What,
    /// In which execution environments; empty for all.
    pub exec_env: Vec<String>,
}

/// Which buildpack is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the specification knows these")]
pub enum What {
    /// `ID` or `ID@VERSION`, or, as everywhere, what may look like it.
    Id(String),
    /// At this place; a relative path begins at the folder of the file.
    Uri(String),
    /// This script.
    Script(Script),
}

/// A variable for the buildpacks.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// In which execution environments it is set; empty for all.
    pub exec_env: Vec<String>,
}

/// What a `project.toml` says that means nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Warning {
    /// Where, from 1.
    pub line: usize,
    /// What.
    pub text: String,
}

impl Project {
    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ProjectError> {
        Self::parse(path, &read(path)?)
    }

    /// Reads `text`, which lies at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ProjectError> {
        file::parse(path, text)
    }

    /// The variables that are set in this execution environment; of several with one name, the
    /// last one is.
    pub fn env_in<'a>(&'a self, exec_env: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.env
            .iter()
            .filter(move |it| is_for(&it.exec_env, exec_env))
            .map(|it| (it.name.as_str(), it.value.as_str()))
    }

    /// What `project-metadata.toml` says of the source: none, if neither version nor source is
    /// named.
    pub fn metadata(&self) -> ProjectMetadata {
        if self.version.is_empty() && self.source_url.is_empty() {
            return ProjectMetadata::default();
        }
        let table = |key: &str, value: &str| {
            toml::Table::from_iter([(key.to_owned(), toml::Value::from(value))])
        };
        ProjectMetadata {
            source: Some(ProjectSource {
                kind: "project".to_owned(),
                version: table("declared", &self.version),
                metadata: table("url", &self.source_url),
            }),
        }
    }
}

impl Wanted {
    /// Whether it takes part in builds for this execution environment.
    pub fn is_for(&self, exec_env: &str) -> bool {
        is_for(&self.exec_env, exec_env)
    }
}

/// Whether what is limited to `limits` is meant for `exec_env`. No limits are none.
fn is_for(limits: &[String], exec_env: &str) -> bool {
    limits.is_empty() || limits.iter().any(|it| it == "*" || it == exec_env)
}

fn read(path: &Path) -> Result<String, ProjectError> {
    let unreadable = |source| ProjectError::Read {
        path: path.to_owned(),
        source,
    };
    // Anything else might never end.
    if !fs_err::metadata(path).map_err(unreadable)?.is_file() {
        return Err(ProjectError::NoFile {
            path: path.to_owned(),
        });
    }
    fs_err::File::open(path)
        .and_then(|file| oci::read_text_at_most(file, MAX_BYTES))
        .map_err(unreadable)?
        .ok_or_else(|| ProjectError::TooLarge {
            path: path.to_owned(),
        })
}

/// Why a `project.toml` cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// It says something that cannot be.
    #[error("`{}`, line {line}: {problem}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What.
        problem: String,
    },
    /// It could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no file.
    #[error("`{}` is not a file", path.display())]
    NoFile {
        /// Which.
        path: PathBuf,
    },
    /// It is longer than we read.
    #[error("`{}` is larger than {MAX_BYTES} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests;
