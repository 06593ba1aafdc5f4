//! The SBOM files that buildpacks leave, found and put where the exporter looks.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{BuildError, BuiltLayer, io_error};
use crate::copying;
use crate::files::group::GroupElement;

/// An SBOM file of a buildpack.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SbomFile {
    /// What it is about.
    pub kind: SbomKind,
    /// Whose it is, by id.
    pub buildpack: String,
    /// The layer that it describes, if it is one.
    pub layer: Option<String>,
    /// Its format.
    pub media_type: &'static str,
    /// The file.
    pub path: PathBuf,
}

/// What an SBOM is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "the specification lists them all")]
pub enum SbomKind {
    /// What built the image.
    Build,
    /// What is kept for the next build.
    Cache,
    /// What is in the image.
    Launch,
}

impl fmt::Display for SbomKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Build => "build",
            Self::Cache => "cache",
            Self::Launch => "launch",
        })
    }
}

/// The endings of SBOM files, and their media types.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md#bill-of-materials>
const FORMATS: &[(&str, &str)] = &[
    ("cdx", "application/vnd.cyclonedx+json"),
    ("spdx", "application/spdx+json"),
    ("syft", "application/vnd.syft+json"),
];

/// Whether there is anything that has the name of an SBOM file, about whatever.
pub(super) fn has_files(dir: &Path) -> bool {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names = names.map(|entry| entry.file_name());
    names.any(|name| name.to_str().and_then(subjects).is_some())
}

/// The SBOM files in the layers of a buildpack. One may be about two things.
pub(super) fn find(
    dir: &Path,
    element: &GroupElement,
    declared: &[String],
    layers: &[BuiltLayer],
) -> Result<Vec<SbomFile>, BuildError> {
    let failed = || io_error("open", dir);
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed())?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed())?.file_name().into_string());
    }
    names.sort();
    let mut files = Vec::new();
    for name in names {
        let Some((whole, first)) = subjects(&name) else {
            continue;
        };
        // Upstream takes what is before the first dot. So it overlooks layers with a dot in their name,
        // and no build fails by their SBOM.
        let dotted = layers.iter().find(|it| it.name == whole && whole != first);
        let subject = if dotted.is_some() { whole } else { first };
        // A file about something that is not a layer says nothing, whatever its format.
        let layer = layers.iter().find(|it| it.name == subject);
        if layer.is_none() && !matches!(subject, "launch" | "build") {
            continue;
        }
        let path = dir.join(&name);
        let format = |ending: &str| name.ends_with(&format!(".sbom.{ending}.json"));
        let Some((_, media_type)) = FORMATS.iter().find(|(it, _)| format(it)) else {
            if dotted.is_some() {
                continue;
            }
            return Err(BuildError::SbomFormat { path });
        };
        match is_declared(declared, media_type) {
            Ok(true) => {}
            _ if dotted.is_some() => continue,
            Ok(false) => {
                return Err(BuildError::SbomUndeclared {
                    path,
                    buildpack: element.to_string(),
                    media_type,
                });
            }
            Err(problem) => {
                return Err(BuildError::SbomDeclaration {
                    path,
                    buildpack: element.to_string(),
                    problem,
                });
            }
        }
        let file = |kind, layer: Option<&str>| SbomFile {
            kind,
            buildpack: element.id.clone(),
            layer: layer.map(str::to_owned),
            media_type,
            path: path.clone(),
        };
        match (subject, layer) {
            ("launch", _) => files.push(file(SbomKind::Launch, None)),
            ("build", _) => files.push(file(SbomKind::Build, None)),
            (_, None) => {}
            (_, Some(layer)) => {
                let kind = if layer.types.launch {
                    SbomKind::Launch
                } else {
                    SbomKind::Build
                };
                files.push(file(kind, Some(subject)));
                if layer.types.cache {
                    files.push(file(SbomKind::Cache, Some(subject)));
                }
            }
        }
    }
    Ok(files)
}

/// Copies them to where exporter and platform look for them, and makes their paths say so.
pub(super) fn copy(dir: &Path, files: &mut [SbomFile]) -> Result<(), BuildError> {
    for file in files {
        let ending = FORMATS
            .iter()
            .find(|(_, it)| *it == file.media_type)
            .map_or("", |(ending, _)| ending);
        let mut to = dir.join(file.kind.to_string());
        to.push(crate::files::group::escape_id(&file.buildpack));
        to.extend(&file.layer);
        go::files::create_dir_all(&to).map_err(BuildError::Io)?;
        to.push(format!("sbom.{ending}.json"));
        copying::copy(&file.path, &to).map_err(BuildError::Io)?;
        file.path = to;
    }
    Ok(())
}

/// What `<subject>.sbom.<format>.json` is about: as its name has it, and up to the first dot.
fn subjects(name: &str) -> Option<(&str, &str)> {
    let (whole, _format) = name.strip_suffix(".json")?.rsplit_once(".sbom.")?;
    let first = name.split('.').next()?;
    Some((whole, first))
}

/// Whether one of `declared`, which may have parameters, is this media type. What comes after it is not
/// looked at.
fn is_declared(declared: &[String], media_type: &str) -> Result<bool, &'static str> {
    for it in declared {
        if go::mime::media_type(it)? == media_type {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sbom_files() {
        let both = |whole, first| Some((whole, first));
        assert_eq!(subjects("launch.sbom.cdx.json"), both("launch", "launch"));
        assert_eq!(subjects("a.b.sbom.foo.json"), both("a.b", "a"));
        assert_eq!(subjects("sbom.cdx.json"), None);
        assert_eq!(subjects("x.toml"), None);
    }

    #[test]
    fn a_declaration_counts_if_those_before_it_are_well_formed() {
        let declared = |types: &[&str]| {
            let types: Vec<String> = types.iter().map(|&it| it.to_owned()).collect();
            is_declared(&types, "application/spdx+json")
        };
        assert_eq!(declared(&["a/b", "application/SPDX+json; v=2"]), Ok(true));
        assert_eq!(declared(&["application/spdx+json", "a/"]), Ok(true));
        assert_eq!(declared(&["application/spdx"]), Ok(false));
        let problem = Err("mime: invalid media parameter");
        assert_eq!(declared(&["application/spdx+json;v"]), problem);
    }
}
