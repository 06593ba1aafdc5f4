//! What the extender left of the run image: layers above it, and another config.
//!
//! The layers are written anew, as upstream does it: with the time of all other layers, and without
//! names of owners.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use oci::layer::{self, Compression};
use oci::tar::{Entry, EntryKind, TarError};
use oci::{Image, tar};
use thiserror::Error;

use super::layers::MadeLayer;
use super::tree::MTIME;
use super::{ExportContext, ExportError};
use crate::extend::hand_over;
use crate::{Level, Log};

/// The extended run image, and where it lies.
#[derive(Debug)]
pub(super) struct Extended {
    pub(super) image: Image,
    folder: PathBuf,
}

/// What the extender left, if it was to leave something.
pub(super) async fn open(context: &ExportContext<'_>) -> Result<Option<Extended>, ExportError> {
    let Some(folder) = context.extended_dir.filter(|_it| context.api.has_targets()) else {
        return Ok(None);
    };
    let run_image = context.analyzed.run_image.as_ref();
    if !run_image.is_some_and(|it| it.extend) {
        return Ok(None);
    }
    let found = hand_over::read_extended(&folder.join("run"), context.limits).await;
    let (image, folder) = found
        .map_err(ExportError::Extended)?
        .ok_or(ExportError::NotExtended)?;
    Ok(Some(Extended { image, folder }))
}

impl Extended {
    /// The layers above the run image: those that are there.
    pub(super) fn layers(
        &self,
        temporary: &Path,
        log: &dyn Log,
    ) -> Result<Vec<MadeLayer>, ExportError> {
        let told = self.image.config().history.iter();
        let told: Vec<&str> = told
            .filter(|it| !it.empty_layer)
            .map(|it| it.created_by.as_str())
            .collect();
        let mut layers = Vec::new();
        for (index, (descriptor, _diff_id)) in self.image.layers().enumerate() {
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
            log.line(Level::Info, &format!("Adding extension layer '{id}'"));
            let made = write(&path, &temporary.join(format!("extended-{index}")));
            let made = made.map_err(|source| ExportError::ExtensionLayer {
                path: path.clone(),
                source,
            })?;
            layers.push(MadeLayer {
                id,
                history: history.to_owned(),
                diff_id: made.diff_id.clone(),
                descriptor: made.descriptor.clone(),
                made: Some(made),
            });
        }
        Ok(layers)
    }
}

/// Writes the layer of `blob` anew to `target`.
fn write(
    blob: &Path,
    target: &Path,
) -> Result<layer::Layer, layer::LayerError<ExtendedLayerError>> {
    layer::write(target, Compression::GoGzip, |archive| {
        let mut file = BufReader::with_capacity(256 << 10, fs::File::open(blob)?);
        let is_gzip = file.fill_buf()?.starts_with(b"\x1f\x8b");
        if is_gzip {
            pass(MultiGzDecoder::new(file), archive)
        } else {
            pass(file, archive)
        }
    })
}

fn pass(
    content: impl Read,
    archive: &mut tar::Writer<layer::Sink>,
) -> Result<(), ExtendedLayerError> {
    let mut from = ::tar::Archive::new(content);
    for entry in from.entries()? {
        let entry = entry?;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(&entry.path_bytes()));
        let header = entry.header();
        let kind = header.entry_type();
        let target = || -> PathBuf {
            let target = entry.link_name_bytes().unwrap_or_default();
            std::ffi::OsStr::from_bytes(&target).into()
        };
        let device = || -> io::Result<(u32, u32)> {
            let (major, minor) = (header.device_major()?, header.device_minor()?);
            Ok((major.unwrap_or_default(), minor.unwrap_or_default()))
        };
        let kind = match kind.as_byte() {
            b'0' | 0 | b'7' => EntryKind::File { size: entry.size() },
            b'1' => EntryKind::Hardlink { target: target() },
            b'2' => EntryKind::Symlink { target: target() },
            b'3' => {
                let (major, minor) = device()?;
                EntryKind::Char { major, minor }
            }
            b'4' => {
                let (major, minor) = device()?;
                EntryKind::Block { major, minor }
            }
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            b'g' => continue,
            flag => return Err(ExtendedLayerError::UnknownType { path, flag }),
        };
        let new = Entry {
            kind,
            mode: header.mode()? & 0o7777,
            uid: header.uid()?,
            gid: header.gid()?,
            mtime: MTIME,
            path,
        };
        archive.write(&new, entry)?;
    }
    Ok(())
}

/// Why a layer of an extension could not be written anew.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExtendedLayerError {
    /// It could not be read.
    #[error("failed to read the layer")]
    Read(#[from] io::Error),
    /// It could not be written.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// An entry of a kind that layers do not have.
    #[error("`{}` is of the unknown type {flag}", path.display())]
    UnknownType {
        /// Which.
        path: PathBuf,
        /// Its type.
        flag: u8,
    },
}
