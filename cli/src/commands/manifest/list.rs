//! Lists on this machine, in pack's place and form: a folder with `index.json` and `oci-layout`. Beside
//! them, `sealpack.json` says where the images were; pack does not keep it, and takes all for granted
//! to be in the repository that the list is named after.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci::{
    Descriptor, Digest, Index, Limits, Location, Manifest, ManifestError, MediaType, Reference,
};
use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::ui::Ui;
use crate::{files, typed, written};

const INDEX: &str = "index.json";
const LAYOUT: &str = "oci-layout";
const SOURCES: &str = "sealpack.json";
const VERSION: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Where lists are.
#[derive(Debug)]
pub(super) struct Lists {
    folder: PathBuf,
}

/// A list.
#[derive(Clone, Debug)]
pub(super) struct List {
    folder: PathBuf,
    /// Where the index is to lie.
    pub(super) name: Reference,
    pub(super) index: Index,
    sources: Sources,
}

/// Where the images of a list were, by digest.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Sources {
    /// What the list is called: several names have one folder.
    name: String,
    images: BTreeMap<String, Source>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Source {
    /// As it was added.
    named: String,
    /// The same, by digest.
    image: String,
}

/// An image for a list.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) descriptor: Descriptor,
    /// As it was named.
    pub(super) named: String,
    /// Where it is, by digest.
    pub(super) place: Reference,
}

impl Member {
    /// The same, with a place that is found from any folder.
    pub(super) fn found_anywhere(mut self, directory: &Path) -> Self {
        let mut place = self.place.clone();
        if let Location::Layout(path)
        | Location::LayoutArchive(path)
        | Location::DockerArchive { path, .. } = &mut place.location
        {
            *path = directory.join(&*path);
        }
        // A folder with `@` in its name cannot be said so.
        if place
            .to_string()
            .parse()
            .is_ok_and(|it: Reference| it == place)
        {
            self.place = place;
        }
        self
    }
}

impl Lists {
    /// Those of this user, or of this session.
    pub(super) fn of(environment: &Environment) -> Result<Self, CommandError> {
        let set = |name: &str| environment.text(name).filter(|it| !it.is_empty());
        let folder = if let Some(folder) = set("XDG_RUNTIME_DIR") {
            PathBuf::from(folder)
        } else if let Some(pack) = set("PACK_HOME") {
            Path::new(pack).join("manifests")
        } else if let Some(home) = environment.home() {
            home.join(".pack/manifests")
        } else {
            return Err(CommandError::undecided(Message(
                "nothing says where lists are".to_owned(),
            ))
            .hint("set HOME or PACK_HOME"));
        };
        Ok(Self {
            folder: environment.directory.join(folder),
        })
    }

    /// A list that is not there yet. Nothing is written.
    pub(super) fn create(&self, name: &str, form: MediaType) -> Result<List, CommandError> {
        let list = self.empty(name, form)?;
        if list.folder.join(INDEX).exists() {
            return Err(CommandError::undecided(Message(format!(
                "manifest list '{name}' already exists in local storage"
            )))
            .hint("remove it first: `sealpack manifest remove`"));
        }
        if list.folder.exists() {
            return Err(Message(format!(
                "`{}` is there already, and is not a manifest list",
                list.folder.display()
            ))
            .into());
        }
        Ok(list)
    }

    /// A list of no images, that is kept nowhere.
    pub(super) fn empty(&self, name: &str, form: MediaType) -> Result<List, CommandError> {
        let (reference, folder) = self.parse(name)?;
        Ok(List {
            folder,
            name: reference,
            index: Index::new(form, Vec::new(), BTreeMap::new()),
            sources: Sources {
                name: name.to_owned(),
                images: BTreeMap::new(),
            },
        })
    }

    /// A list that is there; none, if it is not.
    pub(super) fn find(&self, name: &str) -> Result<Option<List>, CommandError> {
        let (reference, folder) = self.parse(name)?;
        if !folder.join(INDEX).is_file() || !folder.join(LAYOUT).is_file() {
            return Ok(None);
        }
        let failed = || format!("failed to read the manifest list '{name}'");
        let bytes = read(&folder.join(INDEX))?;
        let index = parse(&bytes).context(failed)?;
        let sources = if folder.join(SOURCES).is_file() {
            serde_json::from_slice(&read(&folder.join(SOURCES))?).context(failed)?
        } else {
            // By pack.
            Sources {
                name: name.to_owned(),
                images: BTreeMap::new(),
            }
        };
        if sources.name != name {
            return Err(CommandError::undecided(Message(format!(
                "`{}` holds the manifest list '{}', not '{name}'",
                folder.display(),
                sources.name
            )))
            .hint("name it as it was created"));
        }
        Ok(Some(List {
            folder,
            name: reference,
            index,
            sources,
        }))
    }

    /// A list that has to be there.
    pub(super) fn load(&self, name: &str) -> Result<List, CommandError> {
        self.find(name)?.ok_or_else(|| {
            CommandError::undecided(Message(format!(
                "the manifest list '{name}' is not in `{}`",
                self.folder.display()
            )))
            .hint("create it first: `sealpack manifest create`")
        })
    }

    /// What the index is called, and the folder of its list.
    fn parse(&self, name: &str) -> Result<(Reference, PathBuf), CommandError> {
        let reference =
            typed::image(name).context(|| format!("`{name}` is not a name for a manifest list"))?;
        let is_name = matches!(reference.location, Location::Registry(_));
        if !is_name || reference.digest.is_some() {
            return Err(CommandError::undecided(Message(format!(
                "`{name}` is not a name for a manifest list"
            )))
            .hint("name it after where it is to lie: `HOST/REPO:TAG`; `manifest push LIST oci:DIR:TAG` puts it elsewhere"));
        }
        // As pack has it. The name begins with a letter or a digit, so it leads nowhere else.
        let folder = name.replace(':', "-").replace('/', "_");
        Ok((reference, self.folder.join(folder)))
    }
}

impl List {
    /// Adds an image.
    pub(super) fn add(&mut self, member: Member) -> Result<(), CommandError> {
        let digest = &member.descriptor.digest;
        if self.position(digest).is_some() {
            return Err(Message(format!(
                "`{}` is in the manifest list '{}' already",
                member.named, self.sources.name
            ))
            .into());
        }
        let source = Source {
            named: member.named,
            image: member.place.to_string(),
        };
        self.sources.images.insert(digest.to_string(), source);
        self.index.manifests.push(member.descriptor);
        Ok(())
    }

    /// What it is called, as that was typed when it was created.
    pub(super) fn typed_name(&self) -> &str {
        &self.sources.name
    }

    /// The images that were added under this name.
    pub(super) fn named(&self, name: &str) -> Vec<Digest> {
        let is_named = |it: &&Descriptor| {
            let source = self.sources.images.get(it.digest.as_str());
            source.is_some_and(|it| it.named == name || it.image == name)
        };
        let manifests = self.index.manifests.iter().filter(is_named);
        manifests.map(|it| it.digest.clone()).collect()
    }

    /// The entry of an image.
    pub(super) fn entry(&mut self, digest: &Digest) -> Option<&mut Descriptor> {
        let mut manifests = self.index.manifests.iter_mut();
        manifests.find(|it| it.digest == *digest)
    }

    pub(super) fn position(&self, digest: &Digest) -> Option<usize> {
        let mut manifests = self.index.manifests.iter();
        manifests.position(|it| it.digest == *digest)
    }

    /// Takes an image out.
    pub(super) fn take_out(&mut self, digest: &Digest) {
        // Where it was is not forgotten: the list on the disk may still name it.
        self.index.manifests.retain(|it| it.digest != *digest);
    }

    /// Where an image is: where it was added from, else in the repository that the list is named after.
    pub(super) fn place(&self, digest: &Digest) -> Result<Reference, CommandError> {
        match self.sources.images.get(digest.as_str()) {
            Some(source) => Ok(source.image.parse()?),
            None => Ok(self.name.at(digest.clone())),
        }
    }

    /// Writes the list, each file as a whole; the images last, so that a list never names one of which
    /// it is not known where it is.
    pub(super) fn save(&self, ui: &Ui) -> Result<(), CommandError> {
        fs_err::create_dir_all(&self.folder).map_err(CommandError::undecided)?;
        let sources = serde_json::to_string(&self.sources).map_err(CommandError::undecided)?;
        let (_, index) = self.index.encode().map_err(CommandError::undecided)?;
        for (name, text) in [
            (SOURCES, sources.as_str()),
            (LAYOUT, VERSION),
            (INDEX, &String::from_utf8_lossy(&index)),
        ] {
            written::write(&self.folder.join(name), text, ui)?;
        }
        Ok(())
    }

    /// Removes the files of the list, and no others.
    pub(super) fn remove(&self) -> Result<(), CommandError> {
        for name in [INDEX, LAYOUT, SOURCES] {
            let path = self.folder.join(name);
            if path.exists() {
                fs_err::remove_file(path).map_err(CommandError::undecided)?;
            }
        }
        // What else is there stays, and then its folder does.
        for folder in ["blobs/sha256", "blobs", ""] {
            fs_err::remove_dir(self.folder.join(folder)).unwrap_or_default();
        }
        Ok(())
    }
}

/// Reads a small file.
fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    files::read(path, Limits::default().manifest_bytes)
}

/// An index of either form.
fn parse(bytes: &[u8]) -> Result<Index, ManifestError> {
    let parse = |media_type: &MediaType| Manifest::parse(media_type, bytes, &Limits::default());
    let parsed = match parse(&MediaType::IMAGE_INDEX) {
        Err(ManifestError::OtherType { own, .. }) if own.is_index() => parse(&own),
        parsed => parsed,
    };
    match parsed? {
        Manifest::Index(index) => Ok(index),
        Manifest::Image(_) => Err(ManifestError::NotAManifest {
            media_type: MediaType::IMAGE_MANIFEST,
        }),
    }
}
