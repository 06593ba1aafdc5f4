//! Which manifest is attached to which, by their own words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::{RawValue, to_raw_value};

use super::snapshot::{Snapshot, Stamp};
use super::source::{Source, media_type_of};
use crate::{Descriptor, Digest, Manifest, StoreError};

/// What is known of the manifests, so that none is read twice.
#[derive(Debug, Default)]
pub(in crate::store) struct Graph {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Facts, by digest; they hold for good. None: no manifest that we can read.
    facts: BTreeMap<Digest, Option<Arc<Facts>>>,
    /// What `index.json` of that stamp leads to, by subject.
    subjects: Option<(Stamp, Subjects)>,
}

pub(in crate::store) type Subjects = Arc<BTreeMap<Digest, BTreeMap<Digest, Attached>>>;

/// What is known of a manifest. There may be thousands, so it is little.
#[derive(Debug)]
struct Facts {
    attached: Option<Attached>,
    /// Of an index: its manifests.
    children: Box<[Digest]>,
}

/// That a manifest is attached to another.
#[derive(Clone, Debug)]
pub(in crate::store) struct Attached {
    subject: Digest,
    /// The entry that it has in a listing of referrers.
    entry: Arc<RawValue>,
}

impl Graph {
    pub(in crate::store) fn referrers(
        &self,
        source: &impl Source,
        snapshot: &Snapshot,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, StoreError> {
        let subjects = self.subjects(source, snapshot)?;
        let found = subjects.get(subject);
        let listed = found.into_iter().flat_map(BTreeMap::values);
        listed.map(|it| it.descriptor(source)).collect()
    }

    pub(in crate::store) fn subjects(
        &self,
        source: &impl Source,
        snapshot: &Snapshot,
    ) -> Result<Subjects, StoreError> {
        let mut state = self.state();
        if let Some((stamp, known)) = &state.subjects
            && *stamp == snapshot.stamp
        {
            return Ok(Arc::clone(known));
        }
        let mut subjects: BTreeMap<Digest, BTreeMap<Digest, Attached>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let entries = snapshot.index.manifests.iter();
        let mut waiting: Vec<(Digest, usize)> = entries.map(|it| (it.digest.clone(), 0)).collect();
        while let Some((digest, depth)) = waiting.pop() {
            if !seen.insert(digest.clone()) {
                continue;
            }
            if seen.len() > source.limits().manifests {
                return Err(StoreError::TooMany {
                    place: source.place(),
                    what: "manifests",
                    limit: source.limits().manifests,
                });
            }
            let Some(facts) = state.facts(source, &digest)? else {
                continue;
            };
            if let Some(attached) = &facts.attached {
                let referrers = subjects.entry(attached.subject.clone()).or_default();
                referrers.insert(digest, attached.clone());
            }
            if depth < source.limits().depth {
                let children = facts.children.iter();
                waiting.extend(children.map(|it| (it.clone(), depth + 1)));
            }
        }
        let subjects = Arc::new(subjects);
        state.subjects = Some((snapshot.stamp, Arc::clone(&subjects)));
        Ok(subjects)
    }

    /// Remembers a manifest that was just written.
    pub(in crate::store) fn learn(&self, target: &Descriptor, manifest: &Manifest) {
        let facts = Facts::of(target, manifest);
        let mut state = self.state();
        state
            .facts
            .insert(target.digest.clone(), Some(Arc::new(facts)));
    }

    pub(in crate::store) fn forget(&self, digest: &Digest) {
        let mut state = self.state();
        state.facts.remove(digest);
        state.subjects = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// None for what is missing, as it may be in a sparse layout, and for what is no manifest:
    /// anyone may attach anything. What is not what its name says is an error: then the disk lies.
    fn facts(
        &mut self,
        source: &impl Source,
        digest: &Digest,
    ) -> Result<Option<Arc<Facts>>, StoreError> {
        if let Some(known) = self.facts.get(digest) {
            return Ok(known.clone());
        }
        let content = match source.read(digest, source.limits().manifest_bytes) {
            Ok(Some(content)) => content,
            Ok(None) | Err(StoreError::TooLarge { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let facts = media_type_of(&content).and_then(|media_type| {
            let manifest = Manifest::parse(&media_type, &content, source.limits()).ok()?;
            let target = Descriptor::new(media_type, digest.clone(), content.len() as u64);
            Some(Arc::new(Facts::of(&target, &manifest)))
        });
        self.facts.insert(digest.clone(), facts.clone());
        Ok(facts)
    }
}

impl Facts {
    fn of(target: &Descriptor, manifest: &Manifest) -> Self {
        let children = match manifest {
            Manifest::Image(_) => Box::default(),
            Manifest::Index(index) => index.manifests.iter().map(|it| it.digest.clone()).collect(),
        };
        let attached = manifest.subject().and_then(|subject| {
            let entry = to_raw_value(&crate::store::listed(target, manifest)).ok()?;
            Some(Attached {
                subject: subject.digest.clone(),
                entry: entry.into(),
            })
        });
        Self { attached, children }
    }
}

impl Attached {
    pub(in crate::store) fn descriptor(
        &self,
        source: &impl Source,
    ) -> Result<Descriptor, StoreError> {
        serde_json::from_str(self.entry.get())
            .map_err(|error| source.malformed(format!("a referrer cannot be listed: {error}")))
    }
}
