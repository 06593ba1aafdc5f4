//! The lifecycle that goes into a builder: an archive as upstream releases it, the last layer of a
//! lifecycle image, or our own programs.
//!
//! | checked | as pack does |
//! |---|---|
//! | `lifecycle.toml` at the root | `/cnb/lifecycle.toml` in an image |
//! | version and APIs in it | one form is filled from the other |
//! | all phases, one level deep, and the launcher | by name; `extender` and `rebaser` may be missing |

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use lifecycle_core::api::{BuildpackApi, PlatformApi};
use lifecycle_core::provenance::Named;
use oci::tar::{Entry, EntryKind, Reader, Seen};
use oci::{Digest, ExtractError, HashReader, Image, Store};

use super::spool::{SpoolError, spool};
use super::tar::{FillError, Tar, plain};
use crate::builder::lifecycle::{LifecycleToml, OldApi, reconcile};
use crate::builder::{Apis, LayerContent, Versions};
use crate::run::Launcher;

/// What must be there, besides the description.
const PROGRAMS: [&str; 7] = [
    "detector", "restorer", "analyzer", "builder", "exporter", "launcher", "creator",
];
/// The phases that our own program is called by, too.
const LINKS: [&str; 8] = [
    "analyzer", "builder", "creator", "detector", "exporter", "extender", "rebaser", "restorer",
];
/// The most bytes of `lifecycle.toml`.
const MAX_TOML: u64 = 1 << 20;
const MAX_ENTRIES: u64 = 10_000;
const MAX_PATH: usize = 4096;

/// A lifecycle that can be put into a builder.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LifecycleFiles {
    /// Its version.
    pub version: String,
    /// What it speaks.
    pub apis: Apis,
    /// What it was had from: an archive, an image, or our own programs.
    pub made_of: Vec<Named>,
    pub(crate) api: OldApi,
    from: From,
}

/// Where its files are.
#[derive(Clone, Debug)]
enum From {
    /// In a tar file whose entries stand below this folder.
    Archive { path: PathBuf, below: &'static str },
    /// Our own: the lifecycle, and the launcher. SBOMs may lie beside them.
    Programs(PathBuf, Launcher),
}

impl LifecycleFiles {
    /// The archive at `path`, plain or compressed.
    pub fn of_archive(path: &Path) -> Result<Self, LifecycleError> {
        let made_of = named("lifecycle", digest(path)?);
        Self::of_tar(path, "", made_of)
    }

    /// The last layer of the lifecycle image `image`, which lies in `store`: its files are below
    /// `/cnb`. The layer is brought to the folder `scratch`.
    pub async fn of_image(
        store: &Arc<dyn Store>,
        image: &Image,
        scratch: &Path,
    ) -> Result<Self, LifecycleError> {
        let (descriptor, diff_id) = image.layers().next_back().ok_or(LifecycleError::NoLayer)?;
        let layer = LayerContent {
            store: Arc::clone(store),
            descriptor: descriptor.clone(),
            diff_id: diff_id.clone(),
        };
        let plain = spool(&layer, scratch).await?;
        let made_of = named("lifecycle", image.descriptor().digest.clone());
        Self::of_tar(&plain.file, "cnb", made_of)
    }

    /// Our own programs, whose lifecycle calls itself `version`.
    pub fn of_programs(
        lifecycle: &Path,
        launcher: &Launcher,
        version: &str,
    ) -> Result<Self, LifecycleError> {
        if let Launcher::In(folder) = launcher
            && !folder.join("launcher").is_file()
        {
            return Err(LifecycleError::NoProgram {
                path: folder.clone(),
                name: "launcher".to_owned(),
            });
        }
        let texts = |all: Vec<&str>| Versions {
            deprecated: Some(Vec::new()),
            supported: all.into_iter().map(str::to_owned).collect(),
        };
        let buildpack = BuildpackApi::SUPPORTED.iter().map(|it| it.as_str());
        let platform = PlatformApi::SUPPORTED.iter().map(|it| it.as_str());
        let mut apis = Apis {
            buildpack: texts(buildpack.collect()),
            platform: texts(platform.collect()),
        };
        let mut api = OldApi::default();
        reconcile(&mut api, &mut apis);
        let launcher_digest = match launcher {
            Launcher::In(folder) => digest(&folder.join("launcher"))?,
            Launcher::Held(bytes) => Digest::of(bytes),
        };
        Ok(Self {
            version: version.to_owned(),
            apis,
            made_of: vec![
                named("lifecycle", digest(lifecycle)?),
                named("launcher", launcher_digest),
            ],
            api,
            from: From::Programs(lifecycle.to_owned(), launcher.clone()),
        })
    }

    fn of_tar(path: &Path, below: &'static str, made_of: Named) -> Result<Self, LifecycleError> {
        let mut toml = None;
        let mut names = BTreeSet::new();
        each(path, below, |place, seen, content| {
            if place == Path::new("lifecycle.toml") && toml.is_none() {
                let mut bytes = Vec::new();
                content.take(MAX_TOML + 1).read_to_end(&mut bytes)?;
                toml = Some(bytes);
            }
            if let Some(name) = program(place)
                && seen.entry.kind != EntryKind::Directory
                && !names.insert(name.to_owned())
            {
                return Err(LifecycleError::Twice {
                    path: path.to_owned(),
                    name: name.to_owned(),
                });
            }
            Ok(())
        })?;
        let bytes = toml.ok_or_else(|| LifecycleError::NoDescription {
            path: path.to_owned(),
        })?;
        let malformed = |problem: String| LifecycleError::Description {
            path: path.to_owned(),
            problem,
        };
        if bytes.len() as u64 > MAX_TOML {
            return Err(malformed(format!("it is larger than {MAX_TOML} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|error| malformed(error.to_string()))?;
        let description: LifecycleToml = toml::from_str(&text)
            .map_err(|error| malformed(error.message().trim().replace('\n', ", ")))?;
        let version = description
            .lifecycle
            .version
            .ok_or_else(|| malformed("it does not say the version".to_owned()))?;
        let (mut api, mut apis) = (description.api, description.apis);
        reconcile(&mut api, &mut apis);
        if apis.buildpack.supported.is_empty() || apis.platform.supported.is_empty() {
            return Err(malformed("it does not say which APIs it speaks".to_owned()));
        }
        for name in PROGRAMS {
            if !names.contains(name) && !names.contains(&format!("{name}.exe")) {
                return Err(LifecycleError::NoProgram {
                    path: path.to_owned(),
                    name: name.to_owned(),
                });
            }
        }
        Ok(Self {
            version,
            apis,
            made_of: vec![made_of],
            api,
            from: From::Archive {
                path: path.to_owned(),
                below,
            },
        })
    }

    /// Writes the layer of a builder: `/cnb/lifecycle/…`, and a link for what is old.
    pub(crate) fn fill(&self, tar: &mut Tar) -> Result<(), LifecycleError> {
        let folder = plain("/cnb/lifecycle".into(), EntryKind::Directory, 0o755);
        tar.write(&folder, io::empty()).map_err(FillError::from)?;
        match &self.from {
            From::Archive { path, below } => each(path, below, |place, seen, content| {
                let Some(name) = program(place) else {
                    return Ok(());
                };
                let entry = Entry {
                    path: Path::new("/cnb/lifecycle").join(name),
                    ..seen.entry.clone()
                };
                tar.write_as(&entry, &seen.manner, content)
                    .map_err(FillError::from)?;
                Ok(())
            })?,
            From::Programs(lifecycle, launcher) => programs(tar, lifecycle, launcher)?,
        }
        let target = PathBuf::from("/cnb/lifecycle");
        let link = plain("/lifecycle".into(), EntryKind::Symlink { target }, 0o644);
        tar.write(&link, io::empty()).map_err(FillError::from)?;
        Ok(())
    }
}

fn named(name: &str, digest: Digest) -> Named {
    Named {
        name: name.to_owned(),
        uri: None,
        digest,
    }
}

fn digest(path: &Path) -> io::Result<Digest> {
    HashReader::new(fs::File::open(path)?).finish()
}

/// What one of our own files in a builder is.
enum Ours {
    File(PathBuf),
    Bytes(&'static [u8]),
    Link,
}

/// Our own programs, each phase as a link to the one that has them all.
fn programs(tar: &mut Tar, lifecycle: &Path, launcher: &Launcher) -> Result<(), LifecycleError> {
    let mut all = BTreeMap::from([("lifecycle".to_owned(), Ours::File(lifecycle.to_owned()))]);
    all.extend(LINKS.map(|it| (it.to_owned(), Ours::Link)));
    let mut folders = vec![("lifecycle", lifecycle.parent())];
    let ours = match launcher {
        Launcher::Held(bytes) => Ours::Bytes(bytes),
        Launcher::In(folder) => {
            folders.push(("launcher", Some(folder)));
            Ours::File(folder.join("launcher"))
        }
    };
    all.insert("launcher".to_owned(), ours);
    for (program, folder) in folders {
        for format in ["cdx", "spdx", "syft"] {
            let name = format!("{program}.sbom.{format}.json");
            let path = folder.map(|it| it.join(&name));
            if let Some(path) = path.filter(|it| it.is_file()) {
                all.insert(name, Ours::File(path));
            }
        }
    }
    for (name, ours) in all {
        let place = Path::new("/cnb/lifecycle").join(&name);
        let mode = if name.contains('.') { 0o644 } else { 0o755 };
        let file = |size: u64| plain(place.clone(), EntryKind::File { size }, mode);
        match ours {
            Ours::Link => {
                let target = PathBuf::from("lifecycle");
                let link = plain(place, EntryKind::Symlink { target }, 0o777);
                tar.write(&link, io::empty()).map_err(FillError::from)?;
            }
            Ours::Bytes(bytes) => {
                tar.write(&file(bytes.len() as u64), bytes)
                    .map_err(FillError::from)?;
            }
            Ours::File(path) => {
                let content = fs::File::open(path).map_err(LifecycleError::Read)?;
                let size = content.metadata().map_err(LifecycleError::Read)?.len();
                tar.write(&file(size), content).map_err(FillError::from)?;
            }
        }
    }
    Ok(())
}

/// The name of what lies one folder deep: `lifecycle/detector`.
fn program(place: &Path) -> Option<&str> {
    let mut parts = place.iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(name), None) => name.to_str(),
        _ => None,
    }
}

/// Calls `take` with each entry below `below`: where it is, what it says, and its content.
fn each(
    path: &Path,
    below: &str,
    mut take: impl FnMut(&Path, &Seen, &mut Reader<'_>) -> Result<(), LifecycleError>,
) -> Result<(), LifecycleError> {
    let bad = |source| LifecycleError::Archive {
        path: path.to_owned(),
        source,
    };
    let file = fs::File::open(path).map_err(LifecycleError::Read)?;
    let mut reader = Reader::new(file, MAX_ENTRIES, MAX_PATH).map_err(bad)?;
    while let Some(seen) = reader.next_entry().map_err(bad)? {
        let place = super::tar::inside(&seen.entry.path);
        let place = place.ok_or_else(|| {
            bad(ExtractError::Outside {
                path: seen.entry.path.clone(),
            })
        })?;
        if let EntryKind::Symlink { target } | EntryKind::Hardlink { target } = &seen.entry.kind
            && super::tar::inside(target).is_none()
        {
            return Err(bad(ExtractError::Outside {
                path: seen.entry.path.clone(),
            }));
        }
        if let Ok(place) = place.strip_prefix(below) {
            take(place, &seen, &mut reader)?;
        }
    }
    Ok(())
}

/// Why a lifecycle cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LifecycleError {
    /// It is no archive, or a broken one.
    #[error("`{}` is not an archive of a lifecycle", path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ExtractError,
    },
    /// Its description is not of its form.
    #[error("`lifecycle.toml` in `{}` cannot be used: {problem}", path.display())]
    Description {
        /// In which archive.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// Its description is missing.
    #[error("`{}` has no `lifecycle.toml`: it is not a lifecycle", path.display())]
    NoDescription {
        /// Which.
        path: PathBuf,
    },
    /// An image has no layers.
    #[error("the image has no layers: it is not a lifecycle")]
    NoLayer,
    /// A program is missing.
    #[error("`{}` has no `{name}`: the lifecycle is not whole", path.display())]
    NoProgram {
        /// Which archive or folder.
        path: PathBuf,
        /// Which program.
        name: String,
    },
    /// A program is there more than once.
    #[error("`{}` has `{name}` twice", path.display())]
    Twice {
        /// Which archive.
        path: PathBuf,
        /// Which program.
        name: String,
    },
    /// A file could not be read; the error says which.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The layer of the image could not be had.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The layer could not be written.
    #[error(transparent)]
    Fill(#[from] FillError),
}
