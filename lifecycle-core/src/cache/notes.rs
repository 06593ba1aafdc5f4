//! What the export of the image finds out of layers that the cache needs, too.
//!
//! A layer that is for the image and for the cache is read and hashed once: while that is done, its
//! tar is compared with the one in the cache, or written there; and one that is made for the image is
//! not compressed a second time for a cache that is an image, too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use oci::DiffId;
use oci::layer::{Layer, PlainTar};

/// By the folder of the layer.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<BTreeMap<PathBuf, Note>>);

/// What is known of a layer.
#[derive(Debug)]
pub(crate) struct Note {
    /// The digest of its tar.
    pub(crate) diff_id: DiffId,
    /// Where its tar is, if it is somewhere.
    pub(crate) plain: Option<PlainTar>,
    /// It as it was made, where the cache can use that.
    pub(crate) made: Option<Layer>,
}

impl Notes {
    pub(super) fn add(&self, folder: PathBuf, note: Note) {
        self.all().insert(folder, note);
    }

    pub(super) fn has(&self, folder: &Path) -> bool {
        self.all().contains_key(folder)
    }

    pub(super) fn take(&self, folder: &Path) -> Option<Note> {
        self.all().remove(folder)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
