//! Pushes the image: blobs, then the manifest, then the name; once for each repository.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use futures_util::TryStreamExt as _;
use futures_util::stream;
use oci::layer::Layer;
use oci::{Descriptor, Image, Selector, Store, StoreError, Upload};

use crate::images::{Images, Place, PlaceError};
use crate::{Level, Log};

/// An image, and where its layers are.
pub(crate) struct Save<'a> {
    pub(crate) images: &'a dyn Images,
    /// The first is what it is called in the log.
    pub(crate) names: &'a [String],
    pub(crate) image: &'a Image,
    /// Its layers.
    pub(crate) layers: Vec<(Descriptor, Origin<'a>)>,
    /// How many layers are pushed at once.
    pub(crate) workers: NonZeroUsize,
}

/// Where a layer is.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// In an image there.
    Place(&'a Place),
    /// Made by us.
    Made(&'a Layer),
}

impl Save<'_> {
    /// Pushes the image to all its names; returns those that it has.
    pub(crate) async fn save(&self, log: &dyn Log) -> Result<Vec<String>, SaveError> {
        let shown = |name: &String| self.images.shown(name).unwrap_or_else(|_| name.clone());
        let first = self.names.first().map(shown).unwrap_or_default();
        log.line(Level::Info, &format!("Saving {first}..."));
        let mut written = Vec::new();
        let mut failed = Vec::new();
        let mut lines = Vec::new();
        let mut filled = BTreeSet::new();
        let mut identifier = self.image.descriptor().digest.to_string();
        for name in self.names {
            let shown = shown(name);
            match self.push(name, &mut filled).await {
                Ok(place) => {
                    if !self.images.has_digests() && written.is_empty() {
                        identifier = place.identifier(&self.image.descriptor().digest);
                    }
                    lines.push(format!("      {shown}"));
                    written.push(shown);
                }
                Err(error) => {
                    lines.push(format!("      {shown} - {}", crate::chain(&error)));
                    failed.push((shown, error));
                }
            }
        }
        log.line(Level::Info, &format!("*** Images ({identifier}):"));
        for line in lines {
            log.line(Level::Info, &line);
        }
        if !failed.is_empty() {
            return Err(SaveError { failed });
        }
        if self.images.has_digests() {
            log.line(Level::Debug, &format!("\n*** Digest: {identifier}"));
        }
        let size = self.image.descriptor().size;
        log.line(Level::Debug, &format!("\n*** Manifest Size: {size}"));
        Ok(written)
    }

    async fn push(&self, name: &str, filled: &mut BTreeSet<String>) -> Result<Place, PlaceError> {
        let place = self.images.create(name).await?;
        if !filled.contains(&place.repository) {
            self.fill(&place).await?;
            filled.insert(place.repository.clone());
        }
        if let Selector::Tag(tag) = &place.selector {
            let image = self.image.descriptor();
            let before = if self.images.has_digests() {
                None
            } else {
                place.resolve().await?
            };
            place.store.tag(image, tag).await?;
            // Upstream's layouts hold one image each: it cannot read those that list more.
            if let Some(before) = before.filter(|it| it.digest != image.digest) {
                place.store.delete(&before).await?;
            }
        }
        Ok(place)
    }

    /// Pushes all but the name.
    async fn fill(&self, place: &Place) -> Result<(), StoreError> {
        let store = &*place.store;
        stream::iter(self.layers.iter().map(Ok))
            .try_for_each_concurrent(self.workers.get(), |(layer, origin)| async move {
                match origin {
                    Origin::Made(made) => {
                        let upload = Upload::Layer(Box::new((*made).clone()));
                        store.push_blob(layer, upload).await
                    }
                    Origin::Place(from) => self.bring(from, store, layer).await,
                }
            })
            .await?;
        let config = &self.image.manifest().config;
        let bytes = Upload::Bytes(self.image.config_bytes().clone());
        store.push_blob(config, bytes).await?;
        let manifest = self.image.manifest_bytes().clone();
        store.push_manifest(self.image.descriptor(), manifest).await
    }

    /// Brings a layer that lies elsewhere, if it is not there; within a registry without moving it.
    async fn bring(
        &self,
        from: &Place,
        to: &dyn Store,
        layer: &Descriptor,
    ) -> Result<(), StoreError> {
        if to.contains(layer).await? {
            return Ok(());
        }
        if let (Some(source), Some(target)) = (from.store.repository(), to.repository())
            && source.registry() == target.registry()
            && to.mount(layer, source).await?
        {
            return Ok(());
        }
        let content = match from.store.fetch(layer).await {
            // Layouts may be sparse.
            Err(error) if error.is_not_found() && !self.images.has_digests() => {
                return Ok(());
            }
            content => content?,
        };
        to.push_blob(layer, Upload::Stream(content)).await
    }
}

/// Some names could not be given.
#[derive(Debug, thiserror::Error)]
#[error("failed to write image to the following tags: [{}]", list(failed))]
#[non_exhaustive]
pub struct SaveError {
    /// Which, and why.
    pub failed: Vec<(String, PlaceError)>,
}

fn list(failed: &[(String, PlaceError)]) -> String {
    let one = |(name, error): &(String, PlaceError)| format!("{name}: {}", crate::chain(error));
    failed.iter().map(one).collect::<Vec<_>>().join(", ")
}
