//! Folders of one build whose files belong to users that only a map knows: all layers of an image in one
//! folder, where they cannot be stacked, and what the root of an image leaves.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_core::exec::Cancel;
use oci::{Image, Store};

use super::layer::{Job, make_root};
use super::{RootStore, RootfsError};
use crate::sandbox::{Task, UserMap, work};

/// A folder whose files belong to users that only a map knows. Emptied with this.
#[derive(Debug)]
#[non_exhaustive]
pub struct MappedFolder {
    folder: PathBuf,
    enter: Vec<OsString>,
    map: UserMap,
}

impl RootStore {
    /// Makes `folder`, which the root of `map` may write to.
    pub fn mapped(&self, map: &UserMap, folder: &Path) -> io::Result<MappedFolder> {
        make_root(folder, map)?;
        Ok(MappedFolder {
            folder: folder.to_owned(),
            enter: self.enter.clone(),
            map: map.clone(),
        })
    }

    /// Unpacks all of `image`, which lies in `store`, into `folder`, for `map`.
    pub async fn copy(
        &self,
        image: &Image,
        store: &Arc<dyn Store>,
        map: &UserMap,
        folder: &Path,
    ) -> Result<MappedFolder, RootfsError> {
        let copy = self.mapped(map, folder)?;
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

impl MappedFolder {
    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a folder in it, with those above, that the root of the map may write to, too.
    pub(crate) fn folder_in(&self, path: &str) -> io::Result<()> {
        let mut folder = self.folder.clone();
        for part in Path::new(path) {
            folder.push(part);
            make_root(&folder, &self.map)?;
        }
        Ok(())
    }
}

impl Drop for MappedFolder {
    /// Removes what only those may remove whose it is. What is left is removed with the build's folders.
    fn drop(&mut self) {
        let folder = self.folder.clone().into();
        let (task, cancel) = (Task::Empty { folder }, Cancel::default());
        work(&self.enter, &self.map, task, &cancel, |_| Ok(()))
            .map(drop)
            .unwrap_or_default();
    }
}
