//! Files as bodies of requests.

use std::path::Path;

use bytes::BytesMut;
use reqwest::Body;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

/// Bytes that are read from a file at once.
const CHUNK: usize = 256 << 10;

/// `len` bytes of a file, from `from` on, as they are read.
pub async fn file_body(path: &Path, from: u64, len: u64) -> std::io::Result<Body> {
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(std::io::SeekFrom::Start(from)).await?;
    file.set_max_buf_size(CHUNK);
    let chunks = futures_util::stream::try_unfold(file.take(len), |mut file| async move {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let count = file.read_buf(&mut chunk).await?;
        Ok::<_, std::io::Error>((count > 0).then(|| (chunk.freeze(), file)))
    });
    Ok(Body::wrap_stream(chunks))
}
