//! Files as bodies of requests.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use reqwest::Body;

/// Bytes that are read from a file at once.
const CHUNK: u64 = 256 << 10;

/// `len` bytes of a file, from `from` on, as they are read.
pub async fn file_body(path: &Path, from: u64, len: u64) -> std::io::Result<Body> {
    let path = path.to_owned();
    let file = blocking(move || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        Ok(file.take(len))
    });
    let chunks = futures_util::stream::try_unfold(file.await?, |mut file| {
        blocking(move || {
            // Read to where it is sent from, once: tokio's files have a buffer of their own besides.
            let mut chunk =
                Vec::with_capacity(usize::try_from(CHUNK.min(file.limit())).unwrap_or(0));
            let count = file.by_ref().take(CHUNK).read_to_end(&mut chunk)?;
            Ok((count > 0).then_some((chunk, file)))
        })
    });
    Ok(Body::wrap_stream(chunks))
}

/// Runs `work` where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)))
}
