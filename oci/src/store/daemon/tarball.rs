//! A tar archive that is made while it is sent.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::connection::Body;

/// Chunks that wait between us and the daemon.
const WAITING: usize = 4;
const BLOCK: u64 = 512;
const ZEROS: [u8; 1024] = [0; 1024];

/// The daemon reads no more: it has answered, or is gone. Its answer says why.
#[derive(Debug)]
pub(super) struct Gone;

/// The end of an archive where it is written. If it is dropped before it is
/// [finished](Tarball::finish), the request breaks off, and the daemon knows that it has not all.
#[derive(Debug)]
pub(super) struct Tarball {
    sender: mpsc::Sender<Part>,
}

#[derive(Debug)]
enum Part {
    Chunk(Bytes),
    End,
}

impl Tarball {
    /// Both ends.
    pub(super) fn new() -> (Self, Body) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let frames = stream::unfold(Some(receiver), |receiver| async {
            let mut receiver: mpsc::Receiver<Part> = receiver?;
            match receiver.recv().await {
                Some(Part::Chunk(chunk)) => Some((Ok(Frame::data(chunk)), Some(receiver))),
                Some(Part::End) => None,
                None => Some((Err(io::Error::other("the archive broke off")), None)),
            }
        });
        (Self { sender }, StreamBody::new(frames).boxed_unsync())
    }

    /// Adds a small file.
    pub(super) async fn file(&self, path: &str, content: Bytes) -> Result<(), Gone> {
        let size = content.len() as u64;
        self.begin(path, size).await?;
        self.chunk(content).await?;
        self.end(size).await
    }

    /// Begins a file of `size` bytes: these have to follow, as chunks.
    pub(super) async fn begin(&self, path: &str, size: u64) -> Result<(), Gone> {
        let mut header = tar::Header::new_gnu();
        // Our paths are short, and are no hostile ones.
        header.set_path(path).ok().ok_or(Gone)?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        self.chunk(Bytes::copy_from_slice(header.as_bytes())).await
    }

    /// Adds bytes.
    pub(super) async fn chunk(&self, bytes: Bytes) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.send(Part::Chunk(bytes)).await
    }

    /// Ends a file of `size` bytes.
    pub(super) async fn end(&self, size: u64) -> Result<(), Gone> {
        let padding = (BLOCK - size % BLOCK) % BLOCK;
        let padding = usize::try_from(padding).unwrap_or_default();
        let padding = ZEROS.get(..padding).unwrap_or_default();
        self.chunk(Bytes::from_static(padding)).await
    }

    /// Ends the archive.
    pub(super) async fn finish(self) -> Result<(), Gone> {
        self.chunk(Bytes::from_static(&ZEROS)).await?;
        self.send(Part::End).await
    }

    async fn send(&self, part: Part) -> Result<(), Gone> {
        self.sender.send(part).await.ok().ok_or(Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_archive_that_is_not_finished_breaks_off() {
        for is_finished in [true, false] {
            let (tarball, body) = Tarball::new();
            let write = async {
                tarball
                    .file("a", Bytes::from_static(b"text"))
                    .await
                    .unwrap();
                if is_finished {
                    tarball.finish().await.unwrap();
                }
            };
            let ((), body) = tokio::join!(write, body.collect());
            assert_eq!(body.is_ok(), is_finished);
            let Ok(body) = body else { continue };
            let bytes = body.to_bytes();
            let mut archive = tar::Archive::new(&*bytes);
            let entry = archive.entries().unwrap().next().unwrap().unwrap();
            assert_eq!(
                (entry.path().unwrap().to_str(), entry.size()),
                (Some("a"), 4)
            );
            assert_eq!(bytes.len(), 512 + 512 + 1024);
        }
    }
}
