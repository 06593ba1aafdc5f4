//! Pushes the image: blobs, then the manifest, then the name; once for each repository. A Docker
//! daemon is given all of it at once.

mod ahead;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use futures_util::future::try_join3;
use futures_util::{TryStreamExt as _, stream};
use oci::layer::Layer;
use oci::store::{Assembly, LayerSource};
use oci::{Descriptor, Digest, Image, Selector, Store, StoreError, Upload, spans};
use tokio::sync::Semaphore;
use tracing::info_span;

pub(crate) use self::ahead::Ahead;
use self::ahead::Pushed;
use crate::images::{DaemonImages, Images, Kind, Place, PlaceError, target};
use crate::{Level, Log, words};

/// How many layers a registry is asked for at the same time.
pub(crate) const ASKED_AT_ONCE: usize = 8;

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
    /// Layers that are being pushed already.
    pub(crate) ahead: Option<Ahead>,
}

/// Where a layer is.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// In an image there.
    Place(&'a Place),
    /// Made by us.
    Made(&'a Layer),
}

/// What was written.
pub(crate) struct Saved {
    /// The names that the image has.
    pub(crate) names: Vec<String>,
    /// The image ID, if it went to a daemon.
    pub(crate) image_id: Option<Digest>,
}

impl Save<'_> {
    /// Pushes the image to all its names; returns those that it has.
    pub(crate) async fn save(mut self, log: &dyn Log) -> Result<Saved, SaveError> {
        let ahead = self.ahead.take();
        let first = self.names.first().map(|it| self.shown(it));
        let what = format!("Saving {}...", first.unwrap_or_default());
        let started = log.started(&what);
        let saved = spans::within(info_span!("save-image"), self.push_all(ahead, log)).await;
        if let Some(started) = started {
            log.ended(&what, started);
        }
        saved
    }

    /// What the image is called in the log by this name.
    fn shown(&self, name: &str) -> String {
        if self.images.daemon().is_some() {
            return name.to_owned();
        }
        let shown = self.images.shown(name);
        shown.unwrap_or_else(|_| name.to_owned())
    }

    async fn push_all(&self, ahead: Option<Ahead>, log: &dyn Log) -> Result<Saved, SaveError> {
        if let Some(images) = self.images.daemon() {
            // It is large, and most images go elsewhere.
            return Box::pin(self.load(images, log)).await;
        }
        let first = self.names.first().map(|it| self.shown(it));
        let first = first.unwrap_or_default();
        log.line(Level::Info, &format!("Saving {first}..."));
        let pushed = match ahead {
            Some(ahead) => Some(ahead.finish().await),
            None => None,
        };
        let mut written = Vec::new();
        let mut failed = Vec::new();
        let mut lines = Vec::new();
        let mut filled = BTreeSet::new();
        let mut identifier = self.image.descriptor().digest.to_string();
        for name in self.names {
            let shown = self.shown(name);
            match self.push(name, pushed.as_ref(), &mut filled).await {
                Ok(place) => {
                    if self.images.kind() == Kind::Layout && written.is_empty() {
                        identifier = place.identifier(&self.image.descriptor().digest);
                    }
                    lines.push(format!("      {shown}"));
                    written.push(shown);
                }
                Err(error @ PlaceError::Layout { .. }) => return Err(SaveError::Layout(error)),
                Err(error) => {
                    lines.push(format!("      {shown} - {}", words::chain(&error)));
                    failed.push((shown, error));
                }
            }
        }
        log.line(Level::Info, &format!("*** Images ({identifier}):"));
        for line in lines {
            log.line(Level::Info, &line);
        }
        if self.images.kind() == Kind::Registry {
            log.line(Level::Debug, &format!("\n*** Digest: {identifier}"));
        }
        let size = self.image.descriptor().size;
        log.line(Level::Debug, &format!("\n*** Manifest Size: {size}"));
        if !failed.is_empty() {
            return Err(SaveError::Names { failed });
        }
        Ok(Saved {
            names: written,
            image_id: None,
        })
    }

    /// Has a daemon make the image, and give it all its names.
    async fn load(&self, images: &DaemonImages, log: &dyn Log) -> Result<Saved, SaveError> {
        let first = self.names.first().map_or("", String::as_str);
        log.line(Level::Info, &format!("Saving {first}..."));
        let made = self.assemble(images, first).await;
        let identifier = made.as_ref().map_or("", |id| short(id));
        log.line(Level::Info, &format!("*** Images ({identifier}):"));
        let mut written = Vec::new();
        let mut failed = Vec::new();
        for name in self.names {
            let named = match &made {
                Ok(id) => images.name(id, name).await,
                Err(error) => Err(PlaceError::Said {
                    text: error.clone(),
                }),
            };
            match named {
                Ok(()) => {
                    log.line(Level::Info, &format!("      {name}"));
                    written.push(name.clone());
                }
                Err(error) => {
                    let cause = go::words::chain(&error);
                    log.line(Level::Info, &format!("      {name} - {cause}"));
                    failed.push((name.clone(), error));
                }
            }
        }
        if !failed.is_empty() {
            return Err(SaveError::Names { failed });
        }
        let image_id = made.ok();
        if let Some(id) = &image_id {
            let text = format!("\n*** Image ID: {}", id.hex());
            log.line(Level::Debug, &text);
        }
        Ok(Saved {
            names: written,
            image_id,
        })
    }

    /// Has a daemon make the image by the name `first`; returns its ID. The error is a text, for it is
    /// told once for each name.
    async fn assemble(&self, images: &DaemonImages, first: &str) -> Result<Digest, String> {
        let (repository, tag) = target(first).map_err(|error| error.to_string())?;
        let diff_ids = &self.image.config().rootfs.diff_ids;
        let mut relatives = Vec::new();
        let mut layers = Vec::new();
        for (diff_id, (descriptor, origin)) in diff_ids.iter().zip(&self.layers) {
            let source = match origin {
                Origin::Made(made) => LayerSource::File(&made.file),
                Origin::Place(place) => {
                    if let Some(id) = &place.image_id
                        && !relatives.contains(id)
                    {
                        relatives.push(id.clone());
                    }
                    LayerSource::Store(&*place.store, descriptor)
                }
            };
            layers.push((diff_id.clone(), source));
        }
        let parts = Assembly {
            config: self.image.config_bytes(),
            layers,
            relatives,
        };
        let made = images.daemon().assemble(&parts, &repository, &tag).await;
        made.map_err(|error| go::words::chain(&error))
    }

    async fn push(
        &self,
        name: &str,
        pushed: Option<&Pushed>,
        filled: &mut BTreeSet<String>,
    ) -> Result<Place, PlaceError> {
        self.images.check_name(name).await?;
        let place = self.images.create(name).await?;
        if !filled.contains(&place.repository) {
            self.fill(&place, pushed).await?;
            filled.insert(place.repository.clone());
        }
        let image = self.image.descriptor();
        let manifest = self.image.manifest_bytes().clone();
        match &place.selector {
            Selector::Tag(tag) => {
                let before = if self.images.kind() == Kind::Registry {
                    None
                } else {
                    place.resolve().await?
                };
                place.store.push_tagged(image, manifest, tag).await?;
                // Upstream's layouts hold one image each: it cannot read those that list more.
                if let Some(before) = before.filter(|it| it.digest != image.digest) {
                    place.store.delete(&before).await?;
                }
            }
            Selector::Digest(_) => place.store.push_manifest(image, manifest).await?,
        }
        Ok(place)
    }

    /// Pushes all but the manifest.
    async fn fill(&self, place: &Place, pushed: Option<&Pushed>) -> Result<(), StoreError> {
        let store = &*place.store;
        let there = self
            .layers
            .iter()
            .filter_map(|(layer, origin)| match origin {
                Origin::Place(from) => Some(Ok((layer, *from))),
                Origin::Made(_) => None,
            });
        let turns = &Semaphore::new(self.workers.get());
        let there = stream::iter(there).try_for_each_concurrent(ASKED_AT_ONCE, |(layer, from)| {
            self.bring(from, store, layer, turns)
        });
        let made = self
            .layers
            .iter()
            .filter_map(|(layer, origin)| match origin {
                Origin::Place(_) => None,
                Origin::Made(_) if pushed.is_some_and(|it| it.has(place, layer)) => None,
                Origin::Made(made) => Some(Ok((layer, *made))),
            });
        let made = stream::iter(made).try_for_each_concurrent(
            self.workers.get(),
            |(layer, made)| async move {
                let upload = Upload::Layer(Box::new(made.clone()));
                store.push_blob(layer, upload).await
            },
        );
        let config = &self.image.manifest().config;
        let bytes = Upload::Bytes(self.image.config_bytes().clone());
        let config = store.push_blob(config, bytes);
        try_join3(there, made, config).await.map(|_| ())
    }

    /// Brings a layer that lies elsewhere, if it is not there; within a registry without moving it.
    async fn bring(
        &self,
        from: &Place,
        to: &dyn Store,
        layer: &Descriptor,
        turns: &Semaphore,
    ) -> Result<(), StoreError> {
        if to.contains(layer).await? {
            return Ok(());
        }
        if let (Some(source), Some(target)) = (from.store.repository(), to.repository())
            && source.registry() == target.registry()
            // Where that is refused, it can be written all the same.
            && to.mount(layer, source).await.unwrap_or(false)
        {
            return Ok(());
        }
        // Asking costs little, moving does not. Nobody closes the semaphore.
        let _turn = turns.acquire().await.ok();
        let content = match from.store.fetch(layer).await {
            // Layouts may be sparse.
            Err(error) if error.is_not_found() && self.images.kind() == Kind::Layout => {
                return Ok(());
            }
            content => content?,
        };
        to.push_blob(layer, Upload::Stream(content)).await
    }
}

/// What upstream shows of an image ID.
fn short(id: &Digest) -> &str {
    id.hex().get(..12).unwrap_or_default()
}

/// Why an image was not saved, or not by each of its names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// A layout could not be begun. Upstream goes no further then.
    #[error("saving image")]
    Layout(#[source] PlaceError),
    /// Some names could not be given.
    #[error("failed to write image to the following tags: {}", list(failed))]
    Names {
        /// Which, and why.
        failed: Vec<(String, PlaceError)>,
    },
}

fn list(failed: &[(String, PlaceError)]) -> String {
    let one = |(name, error): &(String, PlaceError)| format!("[{name}: {}]", words::chain(error));
    failed.iter().map(one).collect::<Vec<_>>().join(",")
}
