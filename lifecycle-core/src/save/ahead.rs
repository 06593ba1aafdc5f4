//! Pushes layers while others are still made: making them keeps processors busy, pushing them waits.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use oci::layer::Layer;
use oci::{Descriptor, Digest, Upload};
use tokio::sync::Mutex as Turn;
use tokio::task::JoinSet;
use tracing::{Instrument as _, Span};

use crate::images::Place;

/// Layers on their way to where the image will be. When this is dropped, what is not there yet is
/// not pushed.
#[derive(Debug)]
pub(crate) struct Ahead {
    place: Place,
    pushing: Mutex<JoinSet<Option<Digest>>>,
    turns: Arc<Turn<()>>,
    has_failed: Arc<AtomicBool>,
    /// What pushing is a part of: not of making a layer, which is made by then.
    span: Span,
}

/// What is there already.
#[derive(Debug)]
pub(super) struct Pushed {
    repository: String,
    layers: BTreeSet<Digest>,
}

impl Ahead {
    /// Pushes to `place`, one layer after the other: processors have enough to do.
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            pushing: Mutex::default(),
            turns: Arc::default(),
            has_failed: Arc::default(),
            span: Span::current(),
        }
    }

    /// Begins to push a layer. If that fails, it is pushed again when it is its turn, and why it fails
    /// is told then.
    pub(crate) fn push(&self, descriptor: &Descriptor, layer: &Layer) {
        let (descriptor, layer) = (descriptor.clone(), layer.clone());
        let store = Arc::clone(&self.place.store);
        let (turns, has_failed) = (Arc::clone(&self.turns), Arc::clone(&self.has_failed));
        let push = async move {
            let _turn = turns.lock().await;
            if has_failed.load(Ordering::Relaxed) {
                return None;
            }
            let pushed = store.push_blob(&descriptor, Upload::Layer(Box::new(layer)));
            if pushed.await.is_err() {
                has_failed.store(true, Ordering::Relaxed);
                return None;
            }
            Some(descriptor.digest)
        };
        let mut pushing = self.pushing.lock().unwrap_or_else(PoisonError::into_inner);
        pushing.spawn(push.instrument(self.span.clone()));
    }

    /// Waits for all that was begun.
    pub(super) async fn finish(self) -> Pushed {
        let pushing = self.pushing.into_inner();
        let mut pushing = pushing.unwrap_or_else(PoisonError::into_inner);
        let mut layers = BTreeSet::new();
        while let Some(pushed) = pushing.join_next().await {
            layers.extend(pushed.ok().flatten());
        }
        Pushed {
            repository: self.place.repository,
            layers,
        }
    }
}

impl Pushed {
    /// Whether `layer` is at `place`.
    pub(super) fn has(&self, place: &Place, layer: &Descriptor) -> bool {
        self.repository == place.repository && self.layers.contains(&layer.digest)
    }
}
