//! Pushes the image: blobs, then the manifest, then the name; once for each repository.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use futures_util::stream;
use oci::{Descriptor, Image, Selector, Store, StoreError, Upload};

use super::ExportContext;
use super::layers::MadeLayer;
use crate::images::{Place, PlaceError};
use crate::{Level, Log};

/// An image, and where its layers are.
pub(super) struct Save<'a> {
    pub(super) context: &'a ExportContext<'a>,
    pub(super) image: &'a Image,
    pub(super) base: &'a (Place, Image),
    pub(super) previous: Option<&'a (Place, Image)>,
    pub(super) made: &'a [MadeLayer],
}

/// Pushes the image to all its names; returns those that it has.
pub(super) async fn save(save: &Save<'_>, log: &dyn Log) -> Result<Vec<String>, SaveError> {
    let images = save.context.images;
    let shown = |name: &String| images.shown(name).unwrap_or_else(|_| name.clone());
    let first = save.context.names.first().map(shown).unwrap_or_default();
    log.line(Level::Info, &format!("Saving {first}..."));
    let mut written = Vec::new();
    let mut failed = Vec::new();
    let mut lines = Vec::new();
    let mut filled = BTreeSet::new();
    let mut identifier = save.image.descriptor().digest.to_string();
    for name in save.context.names {
        let shown = shown(name);
        match save.push(name, &mut filled).await {
            Ok(place) => {
                if !images.has_digests() && written.is_empty() {
                    identifier = place.identifier(&save.image.descriptor().digest);
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
    if images.has_digests() {
        log.line(Level::Debug, &format!("\n*** Digest: {identifier}"));
    }
    let size = save.image.descriptor().size;
    log.line(Level::Debug, &format!("\n*** Manifest Size: {size}"));
    Ok(written)
}

impl Save<'_> {
    async fn push(&self, name: &str, filled: &mut BTreeSet<String>) -> Result<Place, PlaceError> {
        let place = self.context.images.create(name).await?;
        if !filled.contains(&place.repository) {
            self.fill(&place).await?;
            filled.insert(place.repository.clone());
        }
        if let Selector::Tag(tag) = &place.selector {
            place.store.tag(self.image.descriptor(), tag).await?;
        }
        Ok(place)
    }

    /// Pushes all but the name.
    async fn fill(&self, place: &Place) -> Result<(), StoreError> {
        let store = &*place.store;
        let base = self.base.1.layers().map(|(layer, _)| (layer, None));
        let made = self.made.iter().map(|it| (&it.descriptor, Some(it)));
        stream::iter(base.chain(made).map(Ok))
            .try_for_each_concurrent(self.context.workers.get(), |(layer, made)| async move {
                match made {
                    None => self.bring(&self.base.0, store, layer).await,
                    Some(MadeLayer {
                        file: Some(file), ..
                    }) => store.push_blob(layer, Upload::File(file.clone())).await,
                    Some(_) => match self.previous {
                        Some((previous, _)) => self.bring(previous, store, layer).await,
                        None => Ok(()),
                    },
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
            Err(error) if error.is_not_found() && !self.context.images.has_digests() => {
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
