//! What is in an archive, and what will be in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::docker::Pending;
use super::members::Members;
use super::section::Section;
use super::staging::{Staged, Staging};
use super::write::Identity;
use super::{ArchiveForm, names, place};
use crate::store::layout::graph::{self, Graph};
use crate::store::layout::index::{Entry, IndexFile};
use crate::store::layout::snapshot::{Snapshot, Stamp};
use crate::store::layout::source::Source;
use crate::store::{check, listed};
use crate::{Descriptor, Digest, Hasher, ImageManifest, Limits, Manifest, MediaType, StoreError};

#[derive(Debug)]
pub(super) struct Archive {
    pub(super) path: PathBuf,
    pub(super) form: ArchiveForm,
    pub(super) limits: Limits,
    /// What was in it when it was opened.
    pub(super) members: Option<Members>,
    pub(super) staging: Staging,
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
    /// Images that nothing names any more, and what is attached to them.
    pub(super) dropped: Vec<Descriptor>,
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
        staging: Staging,
        on_disk: Option<Identity>,
    ) -> Self {
        let stamp = Stamp::numbered(0);
        Self {
            path,
            form,
            limits: Limits::default(),
            members,
            staging,
            graph: Graph::default(),
            pending: Mutex::default(),
            state: Mutex::new(State {
                snapshot: Arc::new(Snapshot { stamp, index }),
                changes: 0,
                added: BTreeMap::new(),
                deleted: BTreeSet::new(),
                dropped: Vec::new(),
                is_written: true,
                on_disk,
            }),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> MutexGuard<'_, Vec<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.state().snapshot)
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

    fn has(&self, target: &Descriptor) -> bool {
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

    /// The only image of a Docker archive.
    pub(super) fn only_of_docker(&self) -> Result<Descriptor, StoreError> {
        let images = self.images(&self.snapshot().index);
        if images.len() + self.pending().len() > 1 {
            let names: Vec<_> = self.names().iter().map(|it| names::short(it)).collect();
            return Err(self.malformed(format!(
                "it holds several images, and none was named: {}",
                names.join(", ")
            )));
        }
        self.make(|_| true)?;
        let images = self.images(&self.snapshot().index);
        let first = images.into_iter().next();
        first
            .map(|it| it.target)
            .ok_or_else(|| self.not_found("any image"))
    }

    /// What images of a Docker archive are called.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = self
            .pending()
            .iter()
            .flat_map(|it| it.names.clone())
            .collect();
        let snapshot = self.snapshot();
        let entries = snapshot.index.manifests.iter();
        all.extend(entries.filter_map(|it| it.ref_name().map(str::to_owned)));
        all
    }

    /// Takes over the images of `manifest.json`: those of which the archive has a manifest, and those
    /// of which one will be made when it is asked for.
    pub(super) fn adopt(&self, listed: Vec<Pending>) {
        let known = self.manifests_by_config();
        let mut pending = self.pending();
        for image in listed {
            match known.get(&Digest::of(&image.config)) {
                Some(target) => self.list(target, &image.names),
                None => pending.push(image),
            }
        }
    }

    fn list(&self, target: &Descriptor, names: &[String]) {
        let mut state = self.state();
        let index = state.index();
        index.list(target);
        for name in names {
            index.tag(target, name);
        }
    }

    /// The images that the index leads to and that are whole, by the digests of their configs.
    fn manifests_by_config(&self) -> BTreeMap<Digest, Descriptor> {
        let mut found = BTreeMap::new();
        let snapshot = self.snapshot();
        let entries = snapshot.index.manifests.iter();
        let mut waiting: Vec<_> = entries.map(|it| (it.descriptor.bare(), 0)).collect();
        let mut seen = BTreeSet::new();
        while let Some((target, depth)) = waiting.pop() {
            if depth > self.limits.depth
                || seen.len() >= self.limits.manifests
                || !seen.insert(target.digest.clone())
            {
                continue;
            }
            // What cannot be read is no image; if it was to be one, it is made.
            match self.manifest(&target) {
                Ok(Manifest::Image(image)) => {
                    if image.subject.is_none() && self.is_whole(&image) {
                        found.entry(image.config.digest).or_insert(target);
                    }
                }
                Ok(Manifest::Index(index)) => {
                    let children = index.manifests.iter();
                    waiting.extend(children.map(|it| (it.bare(), depth + 1)));
                }
                Err(_) => {}
            }
        }
        found
    }

    fn is_whole(&self, image: &ImageManifest) -> bool {
        self.has(&image.config) && image.layers.iter().all(|it| self.has(it))
    }

    /// Makes the manifests that were not made yet of those images that are `wanted`.
    pub(super) fn make(&self, wanted: impl Fn(&Pending) -> bool) -> Result<(), StoreError> {
        let mut pending = self.pending();
        let Some(members) = &self.members else {
            return Ok(());
        };
        while let Some((at, image)) = pending.iter().enumerate().find(|(_, it)| wanted(it)) {
            let made = image.make(members)?;
            let config = self.stage(&made.config, &image.config)?;
            let manifest = self.stage(&made.target, &made.manifest)?;
            let mut added = BTreeMap::from([
                (made.config.digest.clone(), config),
                (made.target.digest.clone(), manifest),
            ]);
            let layers = made.layers.into_iter();
            added.extend(layers.map(|(layer, section)| (layer.digest, section)));
            self.state().added.append(&mut added);
            self.list(&made.target, &image.names);
            pending.remove(at);
        }
        Ok(())
    }

    fn stage(&self, target: &Descriptor, content: &[u8]) -> Result<Section, StoreError> {
        let mut staged = self.staging.start(target, self.place())?;
        staged.write(content)?;
        staged.finish()
    }

    /// Writes what is in the file at `path`.
    pub(super) fn stage_file(
        &self,
        mut staged: Staged,
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

    /// Names `target`; without a name, it becomes the image of a Docker archive that has none. What
    /// had the name before is taken out if it has no other.
    pub(super) fn tag(&self, target: &Descriptor, name: Option<&str>) -> Result<(), StoreError> {
        let manifest = self.manifest(target)?;
        if self.form == ArchiveForm::Docker && !matches!(manifest, Manifest::Image(_)) {
            return Err(StoreError::Unsupported {
                place: self.place(),
                action: "name an image of several platforms",
            });
        }
        let mut pending = self.pending();
        let before = self.snapshot();
        let entries = before.index.manifests.iter();
        let old: Vec<Descriptor> = if let Some(name) = name {
            pending.retain_mut(|image| {
                let had = image.names.len();
                image.names.retain(|it| it != name);
                image.names.len() == had || !image.names.is_empty()
            });
            let named = entries.filter(|it| it.ref_name() == Some(name));
            named.map(|it| it.descriptor.bare()).collect()
        } else {
            pending.retain(|image| !image.names.is_empty());
            let images = self.images(&before.index).into_iter();
            let unnamed = images.filter(|it| it.names.is_empty());
            unnamed.map(|it| it.target).collect()
        };
        let subjects = if old.iter().all(|it| it.digest == target.digest) {
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
        let mut waiting = old;
        let mut dropped = Vec::new();
        while let Some(old) = waiting.pop() {
            let is_named =
                |it: &Entry| it.descriptor.digest == old.digest && it.ref_name().is_some();
            if old.digest == target.digest || index.manifests.iter().any(is_named) {
                continue;
            }
            index.remove(&old.digest);
            let attached = subjects.get(&old.digest).into_iter();
            waiting.extend(attached.flat_map(|it| it.values().map(Descriptor::bare)));
            dropped.push(old);
        }
        state.dropped.append(&mut dropped);
        state.is_written = false;
        Ok(())
    }

    /// The images that `index` lists, with their names: what `docker load` takes from it.
    pub(super) fn images(&self, index: &IndexFile) -> Vec<NamedImage> {
        let mut images: Vec<NamedImage> = Vec::new();
        for entry in &index.manifests {
            let target = entry.descriptor.bare();
            let name = entry.ref_name().map(str::to_owned);
            if let Some(known) = images.iter_mut().find(|it| it.target == target) {
                known.names.extend(name);
                continue;
            }
            let Ok(Manifest::Image(manifest)) = self.manifest(&target) else {
                continue;
            };
            let config = &manifest.config.media_type;
            if manifest.subject.is_some()
                || !(*config == MediaType::IMAGE_CONFIG || *config == MediaType::DOCKER_CONFIG)
            {
                continue;
            }
            images.push(NamedImage {
                target,
                manifest,
                names: name.into_iter().collect(),
            });
        }
        images
    }

    /// What only `dropped` needs.
    pub(super) fn dead(&self) -> BTreeSet<Digest> {
        let (dropped, snapshot) = {
            let state = self.state();
            (state.dropped.clone(), Arc::clone(&state.snapshot))
        };
        if dropped.is_empty() {
            return BTreeSet::new();
        }
        let listed = snapshot.index.manifests.iter();
        let live = self.reach(listed.map(|it| it.descriptor.digest.clone()).collect());
        let dead = self.reach(dropped.into_iter().map(|it| it.digest).collect());
        dead.difference(&live).cloned().collect()
    }

    /// What can be reached from `waiting`.
    fn reach(&self, mut waiting: Vec<Digest>) -> BTreeSet<Digest> {
        let mut reached = BTreeSet::new();
        while let Some(digest) = waiting.pop() {
            if reached.contains(&digest) {
                continue;
            }
            if let Ok(Some(content)) = self.read(&digest, self.limits.manifest_bytes)
                && let Some(media_type) = graph::media_type_of(&content)
            {
                let target = Descriptor::new(media_type, digest.clone(), content.len() as u64);
                if let Ok(manifest) = self.parse(&target, &content) {
                    for successor in manifest.successors() {
                        if successor.media_type.is_manifest() {
                            waiting.push(successor.digest.clone());
                        } else {
                            reached.insert(successor.digest.clone());
                        }
                    }
                }
            }
            reached.insert(digest);
        }
        reached
    }
}

/// An image, and what it is called.
pub(super) struct NamedImage {
    pub(super) target: Descriptor,
    pub(super) manifest: ImageManifest,
    pub(super) names: Vec<String>,
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
            });
        }
        Ok(Some(content.into()))
    }
}
