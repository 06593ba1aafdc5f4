//! Images in a tar file: an OCI image layout, or what `docker save` writes.
//!
//! | file | in `oci-archive` | in `docker-archive` |
//! |---|---|---|
//! | `oci-layout`, `index.json`, `blobs/sha256/…` | the layout | the same, as Docker 25 and later have it |
//! | `manifest.json` | not there | the images, their names, and which blobs are config and layers |
//!
//! **Reading.** The headers are read once, and nothing is unpacked: content is read from where it
//! lies in the file, and checked as in any other store. What is compressed, or comes through a pipe,
//! is first put into a temporary file. In a Docker archive `manifest.json` says which images there
//! are. Where the archive is a layout too, and one of its manifests has the config that
//! `manifest.json` names, that manifest is the image, byte for byte; so signatures hold. Else a
//! manifest is made, [as Docker, crane and skopeo make it](docker).
//!
//! **Writing.** What is pushed is kept in temporary files without a name until
//! [`finish`](Store::finish) writes the archive anew, with what was in it: temporary file, fsync,
//! rename. So a process that is killed leaves the archive as it was. The same content gives the same
//! bytes: metadata first, then blobs in the order of their digests, with no times and no owners.
//! One that is compressed, or that is no plain file, can only be read.
//! An archive behaves as a layout does: what is in it stays, and a tag moves; but an image whose
//! last name has moved to another one is taken out, with what is attached to it, or an archive that
//! is written again and again would only grow.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::spawn_blocking;

use self::contents::Archive;
use self::members::Members;
use self::unwritten::Unwritten;
use self::write::Identity;
use super::joined;
use super::layout::index::IndexFile;
use super::layout::source::Source as _;
use super::layout::version;
use crate::Upload;
use crate::{Content, Descriptor, Digest, Limits, Repository, Selector, Store, StoreError, Tag};

mod contents;
mod docker;
mod images;
mod members;
mod names;
mod section;
mod spool;
mod unwritten;
mod write;

/// Bytes of `index.json`, as in a layout.
const INDEX_BYTES: u64 = 64 << 20;

/// A [`Store`] in a tar file.
///
/// What is pushed is in the file after [`finish`](Store::finish), and not before.
#[derive(Clone, Debug)]
pub struct ArchiveStore {
    archive: Arc<Archive>,
    /// In a Docker archive: the name whose tags are meant.
    name: Option<Repository>,
}

/// How an archive says what is in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are these two")]
pub enum ArchiveForm {
    /// An OCI image layout.
    Oci,
    /// What `docker save` writes.
    Docker,
}

impl ArchiveStore {
    /// Opens the archive at `path`. `name` is meant in a Docker archive only: its images by that
    /// name, or those without a name.
    pub fn open(
        path: impl Into<PathBuf>,
        form: ArchiveForm,
        name: Option<Repository>,
    ) -> Result<Self, StoreError> {
        let path = path.into();
        let place = place(form, &path);
        match File::open(&path) {
            Ok(file) => Self::read(path, form, name, file, Unwritten::anywhere()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NotFound {
                what: "archive".to_owned(),
                place,
                answer: None,
            }),
            Err(error) => Err(StoreError::io(place, "open it", error)),
        }
    }

    /// Reads an archive that has no name. It cannot be written.
    pub(super) fn of_file(file: File, form: ArchiveForm) -> Result<Self, StoreError> {
        Self::read(PathBuf::new(), form, None, file, Unwritten::anywhere())
    }

    /// Opens the archive at `path`, or one that will be there after [`finish`](Store::finish). An
    /// empty file counts as none.
    pub fn create(
        path: impl Into<PathBuf>,
        form: ArchiveForm,
        name: Option<Repository>,
    ) -> Result<Self, StoreError> {
        let path = path.into();
        let failed = |error| StoreError::io(place(form, &path), "open it", error);
        let unwritten = Unwritten::beside(path.parent().map(ToOwned::to_owned).unwrap_or_default());
        let file = match File::open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.as_ref().map(File::metadata).transpose();
        let metadata = metadata.map_err(failed)?;
        if metadata.as_ref().is_some_and(|it| !it.is_file()) {
            return Err(StoreError::Unsupported {
                place: place(form, &path),
                action: "be written: it is not a plain file",
                answer: None,
            });
        }
        if let Some(file) = file {
            if metadata.is_some_and(|it| it.len() > 0) {
                return Self::read(path, form, name, file, unwritten);
            }
            let on_disk = Identity::of(&file).map_err(failed)?;
            let path = fs_err::canonicalize(&path).map_err(failed)?;
            let index = IndexFile::default();
            let archive = Archive::new(path, form, None, index, unwritten, Some(on_disk));
            return Ok(Self::of(archive, name));
        }
        let archive = Archive::new(path, form, None, IndexFile::default(), unwritten, None);
        Ok(Self::of(archive, name))
    }

    fn read(
        path: PathBuf,
        form: ArchiveForm,
        name: Option<Repository>,
        file: File,
        unwritten: Unwritten,
    ) -> Result<Self, StoreError> {
        let place = place(form, &path);
        let failed = |error| StoreError::io(&place, "open it", error);
        let on_disk = Identity::of(&file).map_err(failed)?;
        let is_file = file.metadata().map_err(failed)?.is_file();
        let members = Members::read(file, &place)?;
        let mut index = read_index(&members)?;
        let images = match form {
            ArchiveForm::Oci if index.is_none() => {
                return Err(
                    members.malformed("it is not an OCI image layout: `index.json` is missing")
                );
            }
            ArchiveForm::Oci => Vec::new(),
            ArchiveForm::Docker => {
                index.iter_mut().for_each(names::clear);
                docker::list(&members, &Limits::default())?
            }
        };
        // Whoever replaces it replaces the file, not a link to it. What has no name is not replaced.
        let path = if is_file && !path.as_os_str().is_empty() {
            fs_err::canonicalize(path).map_err(failed)?
        } else {
            path
        };
        let index = index.unwrap_or_default();
        let archive = Archive::new(path, form, Some(members), index, unwritten, Some(on_disk));
        archive.adopt(images);
        Ok(Self::of(archive, name))
    }

    fn of(archive: Archive, name: Option<Repository>) -> Self {
        Self {
            name: name.filter(|_| archive.form == ArchiveForm::Docker),
            archive: Arc::new(archive),
        }
    }

    /// What `tag` is called in the index; in a Docker archive a reference without a name means an
    /// image without one.
    fn full_name(&self, tag: &Tag) -> Option<String> {
        match (self.archive.form, &self.name) {
            (ArchiveForm::Oci, _) => Some(tag.to_string()),
            (ArchiveForm::Docker, Some(name)) => Some(format!("{}:{tag}", name.long())),
            (ArchiveForm::Docker, None) => None,
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Archive) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let archive = Arc::clone(&self.archive);
        let place = archive.place();
        joined(&place, spawn_blocking(move || work(&archive))).await?
    }
}

#[async_trait]
impl Store for ArchiveStore {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        let selector = selector.clone();
        let name = match &selector {
            Selector::Tag(tag) => Some(self.full_name(tag)),
            Selector::Digest(_) => None,
        };
        self.blocking(move |archive| match (selector, name) {
            (Selector::Digest(digest), _) => archive.resolve_digest(&digest),
            (Selector::Tag(_), Some(Some(name))) => archive.resolve_name(&name),
            (Selector::Tag(tag), _) => Err(archive.not_found(tag.as_str())),
        })
        .await
    }

    async fn only(&self) -> Result<Descriptor, StoreError> {
        let name = self.name.as_ref().map(|it| format!("{}:latest", it.long()));
        self.blocking(move |archive| match (archive.form, name) {
            (ArchiveForm::Oci, _) => archive.only_listed(&archive.snapshot().index),
            (ArchiveForm::Docker, Some(name)) => archive.resolve_name(&name),
            (ArchiveForm::Docker, None) => archive.only_of_docker(),
        })
        .await
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        let found = self.archive.locate(&target.digest);
        Ok(found.is_some_and(|it| it.size == target.size))
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        let found = self.archive.locate(&target.digest);
        let section = found.ok_or_else(|| self.archive.not_found(target.digest.as_str()))?;
        if section.size != target.size {
            return Err(StoreError::SizeMismatch {
                digest: target.digest.clone(),
                expected: target.size,
                presented: section.size,
                came: None,
            });
        }
        Ok(section.stream(target.bare(), self.archive.place()))
    }

    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        if self.contains(target).await? {
            return Ok(());
        }
        self.archive.check_writable()?;
        let digest = target.digest.clone();
        let mut staged = self.archive.unwritten.start(target, self.archive.place())?;
        let section = match upload {
            Upload::Stream(content) => staged.receive(content).await?,
            Upload::Bytes(bytes) => {
                self.blocking(move |_| {
                    staged.write(&bytes)?;
                    staged.finish()
                })
                .await?
            }
            Upload::File(path) => {
                self.blocking(move |archive| archive.stage_file(staged, &path))
                    .await?
            }
            Upload::Layer(layer) => {
                if layer.is(target) {
                    staged = staged.without_hashing();
                }
                self.blocking(move |archive| archive.stage_file(staged, &layer.file))
                    .await?
            }
        };
        self.archive.add(digest, section);
        Ok(())
    }

    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        self.push_manifests(vec![(target.clone(), content)]).await
    }

    async fn push_manifests(&self, manifests: Vec<(Descriptor, Bytes)>) -> Result<(), StoreError> {
        self.blocking(move |archive| archive.push_manifests(&manifests))
            .await
    }

    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        let (target, name) = (target.bare(), self.full_name(tag));
        self.blocking(move |archive| archive.tag(&target, name.as_deref()))
            .await
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        let Some(repository) = &self.name else {
            return Ok(match self.archive.form {
                ArchiveForm::Oci => self.archive.snapshot().index.tags(),
                ArchiveForm::Docker => Vec::new(),
            });
        };
        let names = self.archive.names();
        let tags: BTreeSet<Tag> = names
            .iter()
            .filter_map(|it| names::tag_of(repository, it))
            .collect();
        Ok(tags.into_iter().collect())
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        let subject = subject.clone();
        self.blocking(move |archive| {
            let snapshot = archive.snapshot();
            archive.graph.referrers(archive, &snapshot, &subject)
        })
        .await
    }

    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        if !target.media_type.is_manifest() {
            return Err(StoreError::Unsupported {
                place: self.archive.place(),
                action: "delete a single blob",
                answer: None,
            });
        }
        self.archive.check_writable()?;
        let target = target.bare();
        self.blocking(move |archive| {
            archive.delete(&target);
            Ok(())
        })
        .await
    }

    async fn finish(&self) -> Result<(), StoreError> {
        self.blocking(Archive::write).await
    }
}

/// How the archive at `path` is called in errors.
fn place(form: ArchiveForm, path: &Path) -> String {
    let kind = match form {
        ArchiveForm::Oci => "oci-archive",
        ArchiveForm::Docker => "docker-archive",
    };
    if path.as_os_str().is_empty() {
        return format!("a {kind} without a name");
    }
    format!("{kind}:{}", path.display())
}

/// Reads `index.json`, if this is a layout.
fn read_index(members: &Members) -> Result<Option<IndexFile>, StoreError> {
    let Some(text) = members.small("oci-layout", 4096)? else {
        return Ok(None);
    };
    version::check(&text).map_err(|problem| members.malformed(problem))?;
    let Some(text) = members.small("index.json", INDEX_BYTES)? else {
        return Ok(None);
    };
    match serde_json::from_str(&crate::json::text(&text)) {
        Ok(index) => Ok(Some(index)),
        Err(error) => Err(members.malformed(format!("`index.json` cannot be read: {error}"))),
    }
}
