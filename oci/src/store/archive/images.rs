//! The images of a Docker archive, and what they are called.

use std::collections::{BTreeMap, BTreeSet};

use super::contents::Archive;
use super::docker::Pending;
use super::names;
use crate::store::layout::index::IndexFile;
use crate::store::layout::source::Source as _;
use crate::{Descriptor, Digest, ImageManifest, Manifest, MediaType, StoreError};

/// An image, and what it is called.
pub(super) struct NamedImage {
    pub(super) target: Descriptor,
    pub(super) manifest: ImageManifest,
    pub(super) names: Vec<String>,
}

impl Archive {
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
        let mut waiting: Vec<_> = entries.map(|it| (it.descriptor(), 0)).collect();
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

    /// The images that `index` lists, with their names: what `docker load` takes from it.
    pub(super) fn images(&self, index: &IndexFile) -> Vec<NamedImage> {
        let mut images: Vec<NamedImage> = Vec::new();
        for entry in &index.manifests {
            let target = entry.descriptor();
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
}
