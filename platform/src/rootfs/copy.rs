//! All layers of an image in one folder, for one build: where they cannot be stacked.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_core::exec::Cancel;
use oci::{Image, Store};

use super::layer::{Job, make_root};
use super::{RootStore, RootfsError};
use crate::sandbox::{Task, UserMap, work};

/// The files of an image in a folder of its own. Gone with this.
#[derive(Debug)]
pub struct RootCopy {
    folder: PathBuf,
    enter: Vec<OsString>,
    map: UserMap,
}

impl RootStore {
    /// Unpacks all of `image`, which lies in `store`, into `folder`, for `map`.
    pub async fn copy(
        &self,
        image: &Image,
        store: &Arc<dyn Store>,
        map: &UserMap,
        folder: &Path,
    ) -> Result<RootCopy, RootfsError> {
        make_root(folder, map)?;
        let copy = RootCopy {
            folder: folder.to_owned(),
            enter: self.enter.clone(),
            map: map.clone(),
        };
        for (layer, diff_id) in image.layers() {
            let job = Arc::new(Job {
                store: Arc::clone(store),
                layer: layer.clone(),
                diff_id: diff_id.clone(),
                folder: folder.to_owned(),
                boot: String::new(),
                map: map.clone(),
                enter: self.enter.clone(),
                cancel: self.cancel.clone(),
            });
            job.unpack(folder, true).await?;
        }
        Ok(copy)
    }
}

impl RootCopy {
    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for RootCopy {
    /// Removes what only those may remove whose it is. What is left is removed with the build's folders.
    fn drop(&mut self) {
        let folder = self.folder.clone().into();
        let (task, cancel) = (Task::Empty { folder }, Cancel::default());
        work(&self.enter, &self.map, task, &cancel, |_| Ok(()))
            .map(drop)
            .unwrap_or_default();
    }
}
