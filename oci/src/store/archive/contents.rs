//! What is in an archive, and what will be in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::docker::Pending;
use super::members::Members;
use super::section::Section;
use super::unwritten::{Unwritten, UnwrittenBlob};
use super::write::Identity;
use super::{ArchiveForm, place};
use crate::store::layout::graph::Graph;
use crate::store::layout::index::{Entry, IndexFile};
use crate::store::layout::snapshot::{Snapshot, Stamp};
use crate::store::layout::source::Source;
use crate::store::{check, listed};
use crate::{Descriptor, Digest, Hasher, Limits, Manifest, StoreError};

#[derive(Debug)]
pub(super) struct Archive {
    pub(super) path: PathBuf,
    pub(super) form: ArchiveForm,
    pub(super) limits: Limits,
    /// What was in it when it was opened.
    pub(super) members: Option<Members>,
    pub(super) unwritten: Unwritten,
    pub(super) graph: Graph,
    /// Of a Docker archive: images of which no manifest was made yet. Locked before the state.
    pending: Mutex<Vec<Pending>>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    /// In a Docker archive, its index has whole names for tags.
    snapshot: Arc<Snapshot>,
    changes: u64,
    /// What was pushed, or made.
    pub(super) added: BTreeMap<Digest, Section>,
    pub(super) deleted: BTreeSet<Digest>,
    /// Images that nothing names any more, and what is attached to them; and what deleted manifests
    /// referred to.
    pub(super) dropped: BTreeSet<Digest>,
    /// Whether the file has all of this.
    pub(super) is_written: bool,
    pub(super) on_disk: Option<Identity>,
}

impl State {
    /// The index, to be changed.
    pub(super) fn index(&mut self) -> &mut IndexFile {
        self.changes += 1;
        let snapshot = Arc::make_mut(&mut self.snapshot);
        snapshot.stamp = Stamp::numbered(self.changes);
        &mut snapshot.index
    }
}

impl Archive {
    pub(super) fn new(
        path: PathBuf,
        form: ArchiveForm,
        members: Option<Members>,
        index: IndexFile,
        unwritten: Unwritten,
        on_disk: Option<Identity>,
    ) -> Self {
        let stamp = Stamp::numbered(0);
        Self {
            path,
            form,
            limits: Limits::default(),
            members,
            unwritten,
            graph: Graph::default(),
            pending: Mutex::default(),
            state: Mutex::new(State {
                snapshot: Arc::new(Snapshot { stamp, index }),
                changes: 0,
                added: BTreeMap::new(),
                deleted: BTreeSet::new(),
                dropped: BTreeSet::new(),
                is_written: true,
                on_disk,
            }),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, Vec<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.state().snapshot)
    }

    /// An error if the archive cannot be written again.
    pub(super) fn check_writable(&self) -> Result<(), StoreError> {
        match &self.members {
            Some(members) if !members.is_original => Err(StoreError::Unsupported {
                place: self.place(),
                action: "be changed: it is compressed, or no plain file",
                answer: None,
            }),
            _ => Ok(()),
        }
    }

    /// Where `digest` is, if it is there.
    pub(super) fn locate(&self, digest: &Digest) -> Option<Section> {
        let state = self.state();
        if let Some(section) = state.added.get(digest) {
            return Some(section.clone());
        }
        if state.deleted.contains(digest) {
            return None;
        }
        self.members.as_ref()?.blob(digest)
    }

    pub(super) fn has(&self, target: &Descriptor) -> bool {
        self.locate(&target.digest)
            .is_some_and(|it| it.size == target.size)
    }

    pub(super) fn resolve_name(&self, name: &str) -> Result<Descriptor, StoreError> {
        self.make(|image| image.names.iter().any(|it| it == name))?;
        let index = &self.snapshot().index;
        self.resolve_tag(index, name, |target| Ok(self.has(target)))
    }

    pub(super) fn resolve_digest(&self, digest: &Digest) -> Result<Descriptor, StoreError> {
        if self.locate(digest).is_none() {
            self.make(|_| true)?;
        }
        self.resolve_listed(&self.snapshot().index, digest)
    }

    /// Writes `content`, which is known to be `target`.
    pub(super) fn stage(&self, target: &Descriptor, content: &[u8]) -> Result<Section, StoreError> {
        let staged = self.unwritten.start(target, self.place())?;
        let mut staged = staged.without_hashing();
        staged.write(content)?;
        staged.finish()
    }

    /// Writes what is in the file at `path`.
    pub(super) fn stage_file(
        &self,
        mut staged: UnwrittenBlob,
        path: &Path,
    ) -> Result<Section, StoreError> {
        let failed = |error| StoreError::io(self.place(), "add a file", error);
        let mut file = fs_err::File::open(path).map_err(failed)?;
        let mut chunk = vec![0; 256 << 10];
        loop {
            let read = file.read(&mut chunk).map_err(failed)?;
            let Some(filled) = chunk.get(..read).filter(|it| !it.is_empty()) else {
                return staged.finish();
            };
            staged.write(filled)?;
        }
    }

    pub(super) fn add(&self, digest: Digest, section: Section) {
        let mut state = self.state();
        state.added.insert(digest, section);
        state.is_written = false;
    }

    pub(super) fn push_manifests(
        &self,
        manifests: &[(Descriptor, Bytes)],
    ) -> Result<(), StoreError> {
        self.check_writable()?;
        let mut to_list = Vec::new();
        for (target, content) in manifests {
            check(target, content)?;
            let manifest = self.parse(target, content)?;
            if manifest.subject().is_some() {
                to_list.push(listed(target, &manifest));
            }
            if !self.has(target) {
                let section = self.stage(target, content)?;
                self.add(target.digest.clone(), section);
            }
            self.graph.learn(target, &manifest);
        }
        if !to_list.is_empty() {
            let mut state = self.state();
            if state.index().list_all(&to_list) {
                state.is_written = false;
            }
        }
        Ok(())
    }

    /// Takes out `target`, and what nothing else needs then.
    pub(super) fn delete(&self, target: &Descriptor) {
        // Of one that cannot be read it is not known what it needed.
        let manifest = self.manifest(target).ok();
        let successors = manifest.iter().flat_map(Manifest::successors);
        let mut needed = successors.map(|it| it.digest.clone()).collect();
        self.graph.forget(&target.digest);
        let mut state = self.state();
        state.index().remove(&target.digest);
        state.added.remove(&target.digest);
        state.deleted.insert(target.digest.clone());
        state.dropped.append(&mut needed);
        state.is_written = false;
    }

    /// Names `target`; without a name, it becomes the image of a Docker archive that has none. What
    /// had the name before is taken out if it has no other.
    pub(super) fn tag(&self, target: &Descriptor, name: Option<&str>) -> Result<(), StoreError> {
        self.check_writable()?;
        let manifest = self.manifest(target)?;
        if self.form == ArchiveForm::Docker && !matches!(manifest, Manifest::Image(_)) {
            return Err(StoreError::Unsupported {
                place: self.place(),
                action: "name an image of several platforms",
                answer: None,
            });
        }
        let mut pending = self.pending();
        let before = self.snapshot();
        let entries = before.index.manifests.iter();
        let old: Vec<Digest> = if let Some(name) = name {
            pending.retain_mut(|image| {
                let had = image.names.len();
                image.names.retain(|it| it != name);
                image.names.len() == had || !image.names.is_empty()
            });
            let named = entries.filter(|it| it.ref_name() == Some(name));
            named.map(|it| it.digest.clone()).collect()
        } else {
            pending.retain(|image| !image.names.is_empty());
            let images = self.images(&before.index).into_iter();
            let unnamed = images.filter(|it| it.names.is_empty());
            unnamed.map(|it| it.target.digest).collect()
        };
        let subjects = if old.iter().all(|it| *it == target.digest) {
            Arc::default()
        } else {
            self.graph.subjects(self, &before)?
        };
        let mut state = self.state();
        let index = state.index();
        match name {
            Some(name) => index.tag(target, name),
            None => drop(index.list(target)),
        }
        let entries = index.manifests.iter();
        let named = entries.filter(|it| it.ref_name().is_some());
        let kept: BTreeSet<Digest> = named.map(|it| it.digest.clone()).collect();
        let mut waiting = old;
        let mut gone = BTreeSet::new();
        while let Some(old) = waiting.pop() {
            if old != target.digest && !kept.contains(&old) && !gone.contains(&old) {
                let attached = subjects.get(&old).into_iter();
                waiting.extend(attached.flat_map(|it| it.keys().cloned()));
                gone.insert(old);
            }
        }
        let is_kept = |it: &Entry| !gone.contains(&it.digest);
        index.manifests.retain(is_kept);
        state.dropped.append(&mut gone);
        state.is_written = false;
        Ok(())
    }
}

impl Source for Archive {
    fn place(&self) -> String {
        place(self.form, &self.path)
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Bytes>, StoreError> {
        let Some(section) = self.locate(digest) else {
            return Ok(None);
        };
        if section.size > limit {
            return Err(StoreError::TooLarge {
                digest: digest.clone(),
                limit,
            });
        }
        let mut content = Vec::new();
        let read = section.reader().read_to_end(&mut content);
        read.map_err(|error| StoreError::io(self.place(), format!("read {digest}"), error))?;
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&content);
        let presented = hasher.finish();
        if presented != *digest {
            return Err(StoreError::DigestMismatch {
                expected: digest.clone(),
                presented,
                came: None,
            });
        }
        Ok(Some(content.into()))
    }
}
