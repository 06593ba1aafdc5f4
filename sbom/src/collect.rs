//! Finds the SBOM files that a build left behind.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::document::{Document, DocumentError, Limits};
use crate::format::Format;

/// Which part of a build an SBOM is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Scope {
    /// What is in the image.
    Launch,
    /// What was there while it was built, and is not in the image.
    Build,
}

impl Scope {
    /// The name of the directory: `launch` or `build`.
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Build => "build",
        }
    }
}

/// An SBOM file of a build.
#[derive(Clone, Debug, PartialEq)]
pub struct Collected {
    /// Where it lies below `<layers>/sbom`, with `/` on every system:
    /// `launch/examples_hello/deps/sbom.cdx.json`.
    pub path: String,
    /// The buildpack that wrote it: its id with `/` written as `_`.
    pub buildpack: String,
    /// The layer that it is about; none if it is about all that the buildpack did.
    pub layer: Option<String>,
    /// What it says.
    pub document: Document,
}

/// Reads all SBOM files below `<layers>/sbom/<scope>`, sorted by path. There may be none.
///
/// Files that do not end in a [`Format::file_suffix`] are not SBOMs. One that does and cannot be
/// read or understood is an error: what a buildpack says of the image must not get lost.
///
/// <https://github.com/buildpacks/spec/blob/platform/v0.15/platform.md#software-bill-of-materials>
pub fn collect(
    layers: &Path,
    scope: Scope,
    limits: &Limits,
) -> Result<Vec<Collected>, CollectError> {
    let root = layers.join("sbom").join(scope.directory());
    let mut found = Vec::new();
    let mut components = 0;
    for buildpack in entries(&root)? {
        if !buildpack.is_directory {
            continue;
        }
        let mut files = Vec::new();
        for entry in entries(&buildpack.path)? {
            if entry.is_directory {
                let layer = Some(entry.name.clone());
                files.extend(
                    sboms(&entry.path)?
                        .into_iter()
                        .map(|it| (layer.clone(), it)),
                );
            } else if Format::of_file_name(&entry.name).is_some() {
                files.push((None, entry));
            }
        }
        for (layer, file) in files {
            let Some(format) = Format::of_file_name(&file.name) else {
                continue;
            };
            if found.len() == limits.documents {
                return Err(CollectError::TooManyDocuments {
                    directory: root,
                    limit: limits.documents,
                });
            }
            let mut names = vec![scope.directory(), &buildpack.name];
            names.extend(layer.as_deref());
            names.push(&file.name);
            let path = names.join("/");
            let bytes = read(&file.path, limits)?;
            let document = Document::parse(format, &bytes, &*path, limits).map_err(|source| {
                CollectError::Document {
                    path: file.path.clone(),
                    source,
                }
            })?;
            // Several formats about one layer are one account of it.
            let document = match path.rsplit_once('/') {
                Some((directory, _)) => document.at(directory),
                None => document,
            };
            components += document.len();
            if components > limits.components {
                return Err(CollectError::Document {
                    path: file.path,
                    source: DocumentError::TooManyComponents {
                        limit: limits.components,
                    },
                });
            }
            found.push(Collected {
                path,
                buildpack: buildpack.name.clone(),
                layer,
                document,
            });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Why the SBOMs of a build could not be collected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// A file is not the SBOM that its name says it is.
    #[error("malformed SBOM `{}`", path.display())]
    Document {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// The name of a directory or file is not UTF-8.
    #[error("name of `{}` is not UTF-8", path.display())]
    Name {
        /// Which.
        path: PathBuf,
    },
    /// Something that is named like an SBOM is a link, a pipe or a directory.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// A directory or file could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There are more SBOMs than are read.
    #[error("more than {limit} SBOMs in `{}`", directory.display())]
    TooManyDocuments {
        /// Where.
        directory: PathBuf,
        /// How many are read.
        limit: usize,
    },
}

struct Entry {
    name: String,
    path: PathBuf,
    is_directory: bool,
}

/// The entries of `directory` that can matter: directories, and regular files. Sorted by name.
fn entries(directory: &Path) -> Result<Vec<Entry>, CollectError> {
    let read_error = |path: &Path| {
        let path = path.to_owned();
        move |source| CollectError::Read { path, source }
    };
    let listing = match std::fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read_error(directory)(error)),
    };
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry.map_err(read_error(directory))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(read_error(&path))?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(CollectError::Name { path });
        };
        // A link could lead out of the layers.
        let is_sbom = Format::of_file_name(&name).is_some();
        if kind.is_symlink() || is_sbom && !kind.is_file() {
            return Err(CollectError::NotAFile { path });
        }
        entries.push(Entry {
            name,
            path,
            is_directory: kind.is_dir(),
        });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn sboms(directory: &Path) -> Result<Vec<Entry>, CollectError> {
    let mut entries = entries(directory)?;
    entries.retain(|it| Format::of_file_name(&it.name).is_some());
    Ok(entries)
}

fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, CollectError> {
    let read_error = |source| CollectError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(read_error)?
        // One more than is allowed, so that `Document::parse` sees that there is more.
        .take(limits.document_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(read_error)?;
    Ok(bytes)
}
