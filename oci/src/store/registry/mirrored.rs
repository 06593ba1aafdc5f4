//! Reads from mirrors first, and checks what they give.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tempfile::SpooledTempFile;

use super::RegistryStore;
use super::mirrors::Serves;
use crate::{Content, Descriptor, Digest, Repository, Selector, Store, StoreError, Tag, Upload};

/// Content of a mirror that waits in memory until it is checked; what is larger waits in a file.
const IN_MEMORY: usize = 1 << 20;
/// Bytes that are read of it at once.
const CHUNK: usize = 256 << 10;

/// A repository that is read from its mirrors where they have what is asked for, and else from
/// itself. Made by [`RegistryClient::mirrored`](super::RegistryClient::mirrored).
///
/// A mirror can do little harm:
/// 1. What it sends is checked before any of it is handed out. What is wrong is as good as missing:
///    the next place is asked, and this mirror nothing more.
/// 2. What is attached to an image has no digest to check a list of it by, and who leaves a signature
///    out hides it. So the repository itself is asked, and mirrors only where that gives no answer:
///    all of them, then, so that each would have to hide it.
/// 3. Credentials are those for the mirror itself.
/// 4. All that is written goes to the repository itself.
///
/// One thing is a mirror's word: which image a tag names.
#[derive(Debug)]
pub struct MirroredStore {
    mirrors: Vec<Mirror>,
    /// Where the repository really is.
    located: RegistryStore,
    /// What it is called; here is written to.
    named: RegistryStore,
    notes: Notes,
    temporary: PathBuf,
    ahead: Mutex<Ahead>,
}

/// What was resolved ahead, or why it could not be.
type Ahead = Option<(Selector, Result<Descriptor, StoreError>)>;

#[derive(Debug)]
struct Mirror {
    store: RegistryStore,
    serves: Serves,
    /// It did not answer, or answered wrong.
    put_aside: AtomicBool,
    /// It said which image a tag names, so it is asked for that.
    has_resolved: AtomicBool,
}

/// What was odd about mirrors, for who wants to hear it.
pub(super) type Notes = Arc<Mutex<Vec<String>>>;

impl MirroredStore {
    pub(super) fn new(
        mirrors: Vec<(RegistryStore, Serves)>,
        located: RegistryStore,
        named: RegistryStore,
        notes: Notes,
        temporary: &Path,
    ) -> Self {
        Self {
            mirrors: mirrors
                .into_iter()
                .map(|(store, serves)| Mirror {
                    store,
                    serves,
                    put_aside: AtomicBool::new(false),
                    has_resolved: AtomicBool::new(false),
                })
                .collect(),
            located,
            named,
            notes,
            temporary: temporary.to_owned(),
            ahead: Mutex::default(),
        }
    }

    /// [Resolves](Store::resolve) `selector`; who does so next is told the same, without asking again:
    /// also an error, if `keeps` says so of it. Other errors are returned.
    pub async fn resolve_ahead(
        &self,
        selector: &Selector,
        keeps: impl Fn(&StoreError) -> bool + Send,
    ) -> Result<(), StoreError> {
        let found = match self.resolve(selector).await {
            Err(error) if !keeps(&error) => return Err(error),
            found => found,
        };
        *self.ahead() = Some((selector.clone(), found));
        Ok(())
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is what `selector` names, by a request for its head alone.
    pub async fn has(&self, selector: &Selector) -> Result<bool, StoreError> {
        let mut failures = Vec::new();
        for mirror in self.for_selector(selector) {
            match mirror.store.endpoint.has(selector).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => self.failed(mirror, &error, &mut failures),
            }
        }
        let found = self.located.endpoint.has(selector).await;
        found.map_err(|error| with_failures(error, failures))
    }

    /// The mirrors to ask for what `selector` names.
    fn for_selector(&self, selector: &Selector) -> Vec<&Mirror> {
        match selector {
            Selector::Digest(_) => self.for_digests().collect(),
            Selector::Tag(_) => {
                let fits = |it: &&Mirror| it.serves != Serves::Digests;
                self.left().filter(fits).collect()
            }
        }
    }

    /// The mirrors to ask for something by digest.
    fn for_digests(&self) -> impl Iterator<Item = &Mirror> {
        let fits = |it: &&Mirror| it.serves != Serves::Tags || it.has_resolved();
        self.left().filter(fits)
    }

    fn left(&self) -> impl Iterator<Item = &Mirror> {
        let left = |it: &&Mirror| !it.put_aside.load(Ordering::Relaxed);
        self.mirrors.iter().filter(left)
    }

    /// Remembers that a mirror did not help, and why.
    fn failed(&self, mirror: &Mirror, error: &StoreError, failures: &mut Vec<String>) {
        let text = format!(
            "mirror `{}`: {}",
            mirror.store.endpoint.place(),
            go::words::chain(error)
        );
        if !error.is_not_found() {
            mirror.put_aside.store(true, Ordering::Relaxed);
            let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
            notes.push(text.clone());
        }
        failures.push(text);
    }

    /// What the mirrors list in place of the repository itself, which said `error`.
    fn in_its_place<T>(
        &self,
        error: StoreError,
        listed: Option<T>,
        failures: Vec<String>,
    ) -> Result<T, StoreError> {
        let Some(listed) = listed else {
            return Err(with_failures(error, failures));
        };
        let text = format!("listed by mirrors only: {}", go::words::chain(&error));
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push(text);
        Ok(listed)
    }
}

impl Mirror {
    fn has_resolved(&self) -> bool {
        self.has_resolved.load(Ordering::Relaxed)
    }

    /// All of `target`, checked.
    async fn content(&self, target: &Descriptor, folder: &Path) -> Result<Content, StoreError> {
        let mut content = self.store.fetch(target).await?;
        if target.media_type.is_manifest() {
            return Ok(content);
        }
        let failed = |error| StoreError::io(folder.display(), "write", error);
        let mut file = tempfile::spooled_tempfile_in(IN_MEMORY, folder);
        while let Some(chunk) = content.next().await {
            file.write_all(&chunk?).map_err(failed)?;
        }
        file.rewind().map_err(failed)?;
        Ok(read_back(target, file, folder.display().to_string()))
    }
}

fn read_back(target: &Descriptor, file: SpooledTempFile, place: String) -> Content {
    let chunks = stream::try_unfold((file, place), |(mut file, place)| async move {
        let mut chunk = vec![0; CHUNK];
        let count = file
            .read(&mut chunk)
            .map_err(|error| StoreError::io(&place, "read", error))?;
        chunk.truncate(count);
        Ok((count > 0).then(|| (Bytes::from(chunk), (file, place))))
    });
    // It was checked on its way into the file.
    Content::checked(target, chunks)
}

#[async_trait]
impl Store for MirroredStore {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        let ahead = self.ahead().take().filter(|(of, _)| of == selector);
        if let Some((_, found)) = ahead {
            return found;
        }
        let mut failures = Vec::new();
        for mirror in self.for_selector(selector) {
            match mirror.store.resolve(selector).await {
                Ok(found) => {
                    mirror.has_resolved.store(true, Ordering::Relaxed);
                    return Ok(found);
                }
                Err(error) => self.failed(mirror, &error, &mut failures),
            }
        }
        let found = self.located.resolve(selector).await;
        found.map_err(|error| with_failures(error, failures))
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        let mut failures = Vec::new();
        for mirror in self.for_digests() {
            match mirror.store.contains(target).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => self.failed(mirror, &error, &mut failures),
            }
        }
        let found = self.located.contains(target).await;
        found.map_err(|error| with_failures(error, failures))
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        let mut failures = Vec::new();
        for mirror in self.for_digests() {
            match mirror.content(target, &self.temporary).await {
                Ok(content) => return Ok(content),
                Err(error) => self.failed(mirror, &error, &mut failures),
            }
        }
        let content = self.located.fetch(target).await;
        content.map_err(|error| with_failures(error, failures))
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        let error = match self.located.referrers(subject).await {
            Err(error) if gave_no_answer(&error) => error,
            answer => return answer,
        };
        let (mut listed, mut failures) = (None::<BTreeMap<_, _>>, Vec::new());
        for mirror in self.left() {
            match mirror.store.referrers(subject).await {
                Ok(list) => listed
                    .get_or_insert_default()
                    .extend(list.into_iter().map(|it| (it.digest.clone(), it))),
                Err(error) => self.failed(mirror, &error, &mut failures),
            }
        }
        let listed = self.in_its_place(error, listed, failures)?;
        Ok(listed.into_values().collect())
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        let error = match self.located.tags().await {
            Err(error) if gave_no_answer(&error) => error,
            answer => return answer,
        };
        let (mut listed, mut failures) = (None::<BTreeSet<_>>, Vec::new());
        for mirror in self.left() {
            match mirror.store.tags().await {
                Ok(list) => listed.get_or_insert_default().extend(list),
                Err(error) => self.failed(mirror, &error, &mut failures),
            }
        }
        let listed = self.in_its_place(error, listed, failures)?;
        Ok(listed.into_iter().collect())
    }

    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        self.named.push_blob(target, upload).await
    }

    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        self.named.push_manifest(target, content).await
    }

    async fn push_manifests(&self, manifests: Vec<(Descriptor, Bytes)>) -> Result<(), StoreError> {
        self.named.push_manifests(manifests).await
    }

    async fn mount(&self, target: &Descriptor, from: &Repository) -> Result<bool, StoreError> {
        self.named.mount(target, from).await
    }

    fn repository(&self) -> Option<&Repository> {
        self.named.repository()
    }

    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        self.named.tag(target, tag).await
    }

    async fn push_tagged(
        &self,
        target: &Descriptor,
        content: Bytes,
        tag: &Tag,
    ) -> Result<(), StoreError> {
        self.named.push_tagged(target, content, tag).await
    }

    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        self.named.delete(target).await
    }
}

/// Whether a repository could not or would not say: that is no answer, as "there is none" is.
fn gave_no_answer(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Unavailable { .. } | StoreError::Refused { .. }
    )
}

/// The error of the last place that was asked, and what went wrong before.
fn with_failures(error: StoreError, failures: Vec<String>) -> StoreError {
    if failures.is_empty() {
        return error;
    }
    let with = |source| Box::new(Tried { source, failures });
    match error {
        StoreError::Refused {
            place,
            action,
            source,
        } => StoreError::Refused {
            place,
            action,
            source: with(source),
        },
        StoreError::Unavailable {
            place,
            action,
            source,
        } => StoreError::Unavailable {
            place,
            action,
            source: with(source),
        },
        // It has an answer, which is what counts.
        other => other,
    }
}

/// What the last place said, without what went wrong at mirrors before.
pub(super) fn cause_of<'e>(
    cause: &'e (dyn Error + Send + Sync + 'static),
) -> &'e (dyn Error + Send + Sync + 'static) {
    cause
        .downcast_ref::<Tried>()
        .map_or(cause, |it| &*it.source)
}

/// Why the last place could not be read, with what went wrong at the mirrors.
#[derive(Debug)]
struct Tried {
    source: Box<dyn Error + Send + Sync>,
    failures: Vec<String>,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        for it in &self.failures {
            write!(f, "; {it}")?;
        }
        Ok(())
    }
}

impl Error for Tried {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}
