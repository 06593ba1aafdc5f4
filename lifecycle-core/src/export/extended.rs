//! What the extender left of the run image: layers above it, and another config.
//!
//! The layers are written anew, as upstream does it: with the time of all other layers, and without
//! names of owners.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use oci::layer::{self, Compression};
use oci::tar::{self, EntryKind, Manner, Seen, TarError};
use oci::{Descriptor, DiffId, ExtractError, ExtractOptions, HashReader, Image, MediaType};
use thiserror::Error;

use super::layers::MadeLayer;
use super::tree::MTIME;
use super::{ExportContext, ExportError};
use crate::extend::hand_over;

/// The extended run image, and where it lies.
#[derive(Debug)]
pub(super) struct Extended {
    pub(super) image: Image,
    folder: PathBuf,
}

/// What the extender left, if it was to leave something.
pub(super) fn open(context: &ExportContext<'_>) -> Result<Option<Extended>, ExportError> {
    let Some(folder) = context.extended_dir.filter(|_it| context.api.has_targets()) else {
        return Ok(None);
    };
    let run_image = context.analyzed.run_image.as_ref();
    if !run_image.is_some_and(|it| it.extend) {
        return Ok(None);
    }
    let found = hand_over::read_extended(&folder.join("run"), context.limits);
    let (image, folder) = found
        .map_err(ExportError::Extended)?
        .ok_or(ExportError::NotExtended)?;
    Ok(Some(Extended { image, folder }))
}

/// What lies there though `analyzed.toml` does not say that extensions took part: its layers count, as
/// upstream has it, its config does not.
pub(super) fn unasked(context: &ExportContext<'_>) -> Result<Option<Extended>, ExportError> {
    let Some(folder) = context.extended_dir.filter(|_it| context.api.has_targets()) else {
        return Ok(None);
    };
    // A buildpack may be called so, and have a layer `run`.
    let mut group = context.group.group.iter();
    if group.any(|it| context.layers_dir.join(it.escaped_id()) == *folder) {
        return Ok(None);
    }
    let found = hand_over::read_extended(&folder.join("run"), context.limits);
    let found = found.map_err(ExportError::ExtendedLayers)?;
    Ok(found.map(|(image, folder)| Extended { image, folder }))
}

impl Extended {
    /// The layers above the run image: those that are there.
    pub(super) fn layers(
        &self,
        temporary: &Path,
        compression: Compression,
    ) -> Result<Vec<MadeLayer>, ExportError> {
        let told = self.image.config().history.iter();
        let told: Vec<&str> = told
            .filter(|it| !it.empty_layer)
            .map(|it| it.created_by.as_str())
            .collect();
        let mut layers = Vec::new();
        for (index, (descriptor, diff_id)) in self.image.layers().enumerate() {
            let digest = &descriptor.digest;
            let blobs = self.folder.join("blobs").join(digest.algorithm().name());
            let path = blobs.join(digest.hex());
            if !path.is_file() {
                continue;
            }
            let history = told.get(index).copied().unwrap_or_default();
            let extension = history.rsplit_once("Created by extension: ");
            let extension = extension.map_or("", |(_, id)| id);
            let id = format!("{extension}:extended-layer-{index}");
            let target = temporary.join(format!("extended-{index}"));
            let made = write(&path, diff_id, &target, compression);
            let made = made.map_err(|source| ExportError::ExtensionLayer {
                path: path.clone(),
                source,
            })?;
            // As every layer that is made here.
            let descriptor = Descriptor {
                media_type: MediaType::DOCKER_LAYER_GZIP,
                ..made.descriptor.clone()
            };
            layers.push(MadeLayer {
                id,
                history: history.to_owned(),
                diff_id: made.diff_id.clone(),
                descriptor,
                made: Some(made),
            });
        }
        Ok(layers)
    }
}

/// Writes the layer of `blob`, which is `diff_id` when it is not compressed, anew to `target`.
fn write(
    blob: &Path,
    diff_id: &DiffId,
    target: &Path,
    compression: Compression,
) -> Result<layer::Layer, layer::LayerError<ExtendedLayerError>> {
    layer::write(target, compression, |archive| {
        let file = fs::File::open(blob).map_err(ExtractError::Read)?;
        let options = ExtractOptions::default();
        let mut plain = HashReader::new(tar::decompressed(file)?.take(options.bytes));
        let mut from = tar::Reader::new(&mut plain, options.entries, options.path)?;
        while let Some(Seen { mut entry, manner }) = from.next_entry()? {
            // Their numbers are not known here, and of a wrong one more comes than of none.
            if matches!(entry.kind, EntryKind::Char { .. } | EntryKind::Block { .. }) {
                continue;
            }
            entry.mtime = MTIME;
            let manner = Manner {
                user: Vec::new(),
                group: Vec::new(),
                ..manner
            };
            archive.write_as(&entry, &manner, &mut from)?;
        }
        drop(from);
        let presented = DiffId(plain.finish().map_err(ExtractError::Read)?);
        if presented != *diff_id {
            let expected = diff_id.clone();
            return Err(ExtractError::OtherContent {
                expected,
                presented,
            }
            .into());
        }
        Ok(())
    })
}

/// Why a layer of an extension could not be written anew.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExtendedLayerError {
    /// It could not be read.
    #[error("failed to read the layer")]
    Read(#[from] ExtractError),
    /// It could not be written.
    #[error(transparent)]
    Tar(#[from] TarError),
}
