//! Where content lies: a registry repository, an OCI layout, an archive, memory, …

use std::fmt;
use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::layer::Layer;
use crate::{Descriptor, Digest, Hasher, Manifest, ManifestError, Repository, Selector, Tag};

mod archive;
mod content;
mod daemon;
mod layout;
mod memory;
pub(crate) mod registry;

pub use archive::{ArchiveForm, ArchiveStore};
pub use content::Content;
pub use daemon::{
    Assembly, DaemonAddress, DaemonAddressError, DaemonImage, DaemonOptions, DaemonProblem,
    DaemonStore, DaemonTls, DockerDaemon, LayerSource, LoadError, Loaded, SshTarget,
};
pub use layout::{GcRoots, LayoutStore};
pub use memory::MemoryStore;
pub use registry::{
    ClientCertificate, LoginCheck, MirrorSettings, MirroredStore, Mirrors, MirrorsError, NameError,
    NoName, ProxySettings, RegistryClient, RegistryContent, RegistryOptions, RegistryOptionsError,
    RegistryRefusal, RegistryRequest, RegistrySettings, RegistrySilence, RegistryStore, Retries,
    TlsProblem, TrustSettings,
};

/// A place that holds content by digest, names some of it by tag, and knows what is attached to
/// what. One repository of a registry, one layout.
///
/// All that comes out of a store has been checked against digest and size, or is an error; all else
/// that a store says (media types, listings) is a hint.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Finds the manifest that `selector` names. A tag may move: resolve it once, then go by the
    /// digest.
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError>;

    /// Finds the image that is meant where neither tag nor digest is given: the only one, where images
    /// lie in files; `latest` elsewhere.
    async fn only(&self) -> Result<Descriptor, StoreError> {
        self.resolve(&Selector::Tag(Tag::latest())).await
    }

    /// Whether the store holds `target`.
    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError>;

    /// Opens `target`, a manifest or a blob. The stream ends with an error if what came is not what
    /// `target` describes; nothing read from it may be used before its end.
    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError>;

    /// Adds a blob. What is there already is not sent again; pushing twice is no error.
    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError>;

    /// Adds a manifest, byte for byte; what it refers to should be there. One with a subject
    /// appears among the [referrers](Store::referrers) of that subject, however the store keeps
    /// them. Pushing twice is no error.
    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError>;

    /// Adds manifests that do not refer to each other but as subjects, in any order: as
    /// [`push_manifest`](Store::push_manifest), with whatever list the store keeps of referrers
    /// written once for all of them.
    async fn push_manifests(&self, manifests: Vec<(Descriptor, Bytes)>) -> Result<(), StoreError> {
        for (target, content) in manifests {
            self.push_manifest(&target, content).await?;
        }
        Ok(())
    }

    /// Takes the blob `target` over from the repository `from`, without moving its bytes. False if
    /// that cannot be done: then the blob has to be pushed.
    async fn mount(&self, target: &Descriptor, from: &Repository) -> Result<bool, StoreError> {
        let (_, _) = (target, from);
        Ok(false)
    }

    /// The repository that this store is, if it is in a registry.
    fn repository(&self) -> Option<&Repository> {
        None
    }

    /// The repository that has `target`, if it is in a registry: others there may
    /// [mount](Store::mount) from it.
    fn repository_of(&self, target: &Descriptor) -> Option<Repository> {
        let _ = target;
        self.repository().cloned()
    }

    /// Names the manifest `target`.
    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError>;

    /// Adds a manifest and names it: as [`push_manifest`](Store::push_manifest) and
    /// [`tag`](Store::tag), in one request where that is possible.
    async fn push_tagged(
        &self,
        target: &Descriptor,
        content: Bytes,
        tag: &Tag,
    ) -> Result<(), StoreError> {
        self.push_manifest(target, content).await?;
        self.tag(target, tag).await
    }

    /// All tags, sorted.
    async fn tags(&self) -> Result<Vec<Tag>, StoreError>;

    /// The manifests whose subject is `subject`, in digest order; empty if there are none.
    ///
    /// There is no filter: what a listing says of a manifest (artifact type, annotations, even that
    /// it refers to `subject`) is a hint by the store, and some get it wrong.
    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError>;

    /// Removes a manifest, and it from the referrers of its subject. What is not there is no error.
    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError>;

    /// Ends a series of changes: what can only be written as a whole, an archive, is written now.
    /// Where each change is lasting by itself, there is nothing to do.
    async fn finish(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Reads all of `target`, of at most `limit` bytes, checked.
pub async fn read(store: &dyn Store, target: &Descriptor, limit: u64) -> Result<Bytes, StoreError> {
    use futures_util::StreamExt as _;

    if target.size > limit {
        return Err(StoreError::TooLarge {
            digest: target.digest.clone(),
            limit,
        });
    }
    let mut content = store.fetch(target).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = content.next().await {
        let chunk = chunk?;
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(StoreError::TooLarge {
                digest: target.digest.clone(),
                limit,
            });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

/// Reads the manifest that a list of referrers names, of at most `limit` bytes: what it is, and its
/// bytes. Nobody checks what such a list says beside the digest, so where the size is wrong, the store
/// is asked by the digest alone.
pub async fn read_listed(
    store: &dyn Store,
    listed: &Descriptor,
    limit: u64,
) -> Result<(Descriptor, Bytes), StoreError> {
    match read(store, listed, limit).await {
        Ok(content) => Ok((listed.clone(), content)),
        Err(error @ (StoreError::SizeMismatch { .. } | StoreError::TooLarge { .. })) => {
            let selector = Selector::Digest(listed.digest.clone());
            let found = match store.resolve(&selector).await {
                Ok(found) if found.size != listed.size => found,
                // What is there is no manifest: then the entry is what is wrong.
                Ok(_) | Err(StoreError::Malformed { .. } | StoreError::Manifest { .. }) => {
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            let content = read(store, &found, limit).await?;
            let found = Descriptor {
                annotations: listed.annotations.clone(),
                artifact_type: listed.artifact_type.clone(),
                ..found
            };
            Ok((found, content))
        }
        Err(error) => Err(error),
    }
}

/// Checks that `content` is what `target` describes.
pub(crate) fn check(target: &Descriptor, content: &[u8]) -> Result<(), StoreError> {
    if content.len() as u64 != target.size {
        return Err(StoreError::SizeMismatch {
            digest: target.digest.clone(),
            expected: target.size,
            presented: content.len() as u64,
            came: None,
        });
    }
    let mut hasher = Hasher::new(target.digest.algorithm());
    hasher.update(content);
    let presented = hasher.finish();
    if presented == target.digest {
        Ok(())
    } else {
        Err(StoreError::DigestMismatch {
            expected: target.digest.clone(),
            presented,
            came: None,
        })
    }
}

/// The entry that a listing of referrers has for `target`: artifact type and annotations are those
/// of the manifest itself.
///
/// <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers>
pub(crate) fn listed(target: &Descriptor, manifest: &Manifest) -> Descriptor {
    Descriptor {
        artifact_type: manifest.artifact_type().cloned(),
        annotations: manifest.annotations().clone(),
        ..target.bare()
    }
}

/// The outcome of `task`; a panic in it goes on here.
pub(crate) async fn joined<T>(
    place: impl fmt::Display,
    task: JoinHandle<T>,
) -> Result<T, StoreError> {
    match task.await {
        Ok(outcome) => Ok(outcome),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => Err(StoreError::io(place, "go on", io::Error::other(cancelled))),
        },
    }
}

/// Where the bytes of a blob are had from; more than once, if a store has to try again.
#[non_exhaustive]
pub enum Upload {
    /// In memory.
    Bytes(Bytes),
    /// In a file, all of it.
    File(PathBuf),
    /// A layer of our own. It was hashed as it was written, so it is not hashed again; and a store
    /// that is a folder on the same disk gives the file another name instead of copying it. So it
    /// must not be changed later; it may be removed.
    Layer(Box<Layer>),
    /// As they come; cannot be tried again.
    Stream(Content),
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Layer(layer) => f.debug_tuple("Layer").field(layer).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// Why content could not be read or added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// What came is not what was described. Never to be tried again elsewhere without a word.
    #[error("content is not what its digest says: expected {expected}, got {presented}")]
    DigestMismatch {
        /// The digest that the descriptor names.
        expected: Digest,
        /// The digest of what came.
        presented: Digest,
        /// How it came, if from a registry.
        came: Option<Box<RegistryContent>>,
    },
    /// What came is longer or shorter than was described.
    #[error("content of {digest} has the wrong size: expected {expected} bytes, got {presented}")]
    SizeMismatch {
        /// Which content.
        digest: Digest,
        /// The size that the descriptor names.
        expected: u64,
        /// What came, or at least so much.
        presented: u64,
        /// How it came, if from a registry.
        came: Option<Box<RegistryContent>>,
    },
    /// The store does not hold it: it answered, and said no.
    #[error("`{what}` was not found in `{place}`")]
    NotFound {
        /// What was asked for: a tag or a digest.
        what: String,
        /// Which store.
        place: String,
        /// What it said, if it is a registry.
        answer: Option<Box<RegistryRefusal>>,
    },
    /// More than we read.
    #[error("{digest} is larger than {limit} bytes")]
    TooLarge {
        /// Which content.
        digest: Digest,
        /// The limit.
        limit: u64,
    },
    /// More than we follow: pages, referrers, manifests, depth.
    #[error("`{place}` has more than {limit} {what}")]
    TooMany {
        /// Which store.
        place: String,
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The store cannot have a tag like this, as a layout can.
    #[error(
        "`{tag}` is not a tag that `{place}` can have: at most 128 letters, digits, `.`, `_` and `-`"
    )]
    Tag {
        /// The tag.
        tag: String,
        /// Which store.
        place: String,
    },
    /// A manifest could not be read.
    #[error("manifest {digest} cannot be read")]
    Manifest {
        /// Which.
        digest: Digest,
        /// Why.
        source: ManifestError,
    },
    /// The store is not of a form that we know: a folder that is no layout, a registry without API.
    #[error("`{place}` is malformed: {problem}")]
    Malformed {
        /// Which store.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What answered is no registry: a login page, or a server of another kind.
    #[error("`{place}` did not answer as a registry: text/html instead of {wanted}")]
    NoRegistry {
        /// Who was asked.
        place: String,
        /// For what.
        wanted: String,
    },
    /// A token server answered, and sent none.
    #[error("token server `{place}` sent no token")]
    NoToken {
        /// Which.
        place: String,
        /// What it answered.
        answer: Box<RegistryRefusal>,
    },
    /// The store said no: credentials, rights, quota.
    #[error("`{place}` refused access: cannot {action}")]
    Refused {
        /// Which store.
        place: String,
        /// What it refused.
        action: String,
        /// In its own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store could not be asked: it is down, unreachable, overloaded, or the disk failed.
    #[error("failed to {action} at `{place}`")]
    Unavailable {
        /// Which store.
        place: String,
        /// What was tried.
        action: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store cannot do this at all.
    #[error("`{place}` cannot {action}")]
    Unsupported {
        /// Which store.
        place: String,
        /// What it cannot.
        action: &'static str,
        /// What it said, if it is a registry.
        answer: Option<Box<RegistryRefusal>>,
    },
}

impl StoreError {
    /// The local file system failed.
    pub fn io(place: impl fmt::Display, action: impl Into<String>, source: io::Error) -> Self {
        Self::Unavailable {
            place: place.to_string(),
            action: action.into(),
            source: source.into(),
        }
    }

    /// What the registry answered, if one did.
    pub fn answer(&self) -> Option<&RegistryRefusal> {
        match self {
            Self::NotFound { answer, .. } | Self::Unsupported { answer, .. } => answer.as_deref(),
            Self::Refused { source, .. } | Self::Unavailable { source, .. } => {
                registry::answer_of(&**source)
            }
            _ => None,
        }
    }

    /// The request that a registry did not answer, if there was one.
    pub fn silence(&self) -> Option<&RegistrySilence> {
        match self {
            Self::Unavailable { source, .. } => registry::silence_of(&**source),
            _ => None,
        }
    }

    /// Whether the store answered that it does not hold it. All other errors leave that open.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// A file for tests of what reads files: it has far more than `limit` bytes, spaces after `start`. The
/// thread says whether
/// the reader went away before it had read them all.
#[cfg(test)]
pub(crate) fn endless_file(
    start: &'static str,
    limit: u64,
) -> (PathBuf, tempfile::TempDir, std::thread::JoinHandle<bool>) {
    use std::io::Write as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
    let pipe = path.clone();
    let writer = std::thread::spawn(move || {
        let mut file = std::fs::File::options().write(true).open(pipe).unwrap();
        file.write_all(start.as_bytes()).unwrap();
        let chunk = vec![b' '; 64 << 10];
        (0..=(4 * limit) >> 16).any(|_| file.write_all(&chunk).is_err())
    });
    (path, folder, writer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, MediaType, Platform};

    #[test]
    fn a_listing_says_of_a_manifest_what_it_says_itself() {
        let content = br#"{"schemaVersion":2,"manifests":[],"artifactType":"application/x.a","annotations":{"a":"b"}}"#;
        let target = Descriptor::of(MediaType::IMAGE_INDEX, content);
        let manifest = Manifest::parse(&target.media_type, content, &Limits::default()).unwrap();
        let hinted = Descriptor {
            annotations: [("c".to_owned(), "d".to_owned())].into(),
            artifact_type: Some("application/x.b".into()),
            platform: Some(Platform::host()),
            ..target.clone()
        };
        let expected = Descriptor {
            annotations: [("a".to_owned(), "b".to_owned())].into(),
            artifact_type: Some("application/x.a".into()),
            ..target
        };
        assert_eq!(listed(&hinted, &manifest), expected);
    }

    #[tokio::test]
    #[should_panic(expected = "as it was")]
    async fn a_panic_goes_on_where_it_is_waited_for() {
        let task: JoinHandle<()> = tokio::spawn(async { panic!("as it was") });
        joined("here", task).await.unwrap();
    }
}
