//! Layers of packages, brought to this machine as plain tar files, and verified.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use futures_util::StreamExt as _;
use oci::layer::Layer;
use oci::{Descriptor, DiffId, ExtractError, Hasher, MediaType, StoreError};

use crate::builder::LayerContent;

/// The most bytes of a layer, uncompressed.
const MAX_BYTES: u64 = 64 << 30;

/// Brings `layer` into the folder `scratch`.
pub(super) async fn spool(layer: &LayerContent, scratch: &Path) -> Result<Layer, SpoolError> {
    let name = layer.diff_id.0.hex();
    let plain = scratch.join(format!("{name}.tar"));
    if !plain.exists() {
        let blob = scratch.join(format!("{name}.blob"));
        let mut content = layer.store.fetch(&layer.descriptor).await?;
        let mut file = fs::File::create(&blob)?;
        while let Some(chunk) = content.next().await {
            file.write_all(&chunk?)?;
        }
        drop(file);
        let (expected, to) = (layer.diff_id.clone(), plain.clone());
        let task = tokio::task::spawn_blocking(move || unpack(&blob, &to, &expected));
        match task.await {
            Ok(outcome) => outcome?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    let size = fs::metadata(&plain)?.len();
    Ok(Layer {
        descriptor: Descriptor::new(MediaType::LAYER_TAR, layer.diff_id.0.clone(), size),
        diff_id: layer.diff_id.clone(),
        uncompressed_size: size,
        file: plain,
    })
}

/// Decompresses `blob`; the result gets its name when it is what it should be.
fn unpack(blob: &Path, to: &Path, expected: &DiffId) -> Result<(), SpoolError> {
    let mut reader = oci::tar::decompressed(fs::File::open(blob)?)?.take(MAX_BYTES + 1);
    let part: PathBuf = to.with_extension("part");
    let mut file = fs::File::create(&part)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 << 10];
    let mut read = 0;
    loop {
        let count = reader.read(&mut buffer)?;
        let chunk = buffer.get(..count).unwrap_or_default();
        if chunk.is_empty() {
            break;
        }
        read += count as u64;
        if read > MAX_BYTES {
            return Err(SpoolError::TooLarge { limit: MAX_BYTES });
        }
        hasher.update(chunk);
        file.write_all(chunk)?;
    }
    let presented = DiffId(hasher.finish());
    if presented != *expected {
        return Err(SpoolError::Different {
            expected: expected.clone(),
            presented,
        });
    }
    fs::rename(&part, to)?;
    fs::remove_file(blob)?;
    Ok(())
}

/// Why a layer could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// It is not what its label says.
    #[error(
        "a layer of a package is another than its label says: expected {expected}, got {presented}"
    )]
    Different {
        /// What the label says.
        expected: DiffId,
        /// What came.
        presented: DiffId,
    },
    /// It is no layer.
    #[error("a layer of a package cannot be read")]
    Extract(#[from] ExtractError),
    /// A file could not be written or read; the error says which.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is larger than we read.
    #[error("a layer of a package is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
}
