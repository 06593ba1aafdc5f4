//! One blob.

use bytes::Bytes;
use futures_util::stream;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot};

use super::{CopyError, Copying, Outcome};
use crate::{Content, Descriptor, StoreError, Upload};

/// Chunks that wait between reading and writing.
const WAITING: usize = 4;

/// Brings `target` into the destination. The source is asked for it only when the destination
/// starts to read: so what is there costs no request at the source, and may be missing there.
pub(super) async fn copy(copy: &Copying<'_>, target: &Descriptor) -> Result<Outcome, CopyError> {
    copy.progress.begin(target);
    let outcome = if mount(copy, target).await? {
        Outcome::Mounted
    } else {
        transfer(copy, target).await?
    };
    copy.progress.end(target, outcome);
    Ok(outcome)
}

async fn mount(copy: &Copying<'_>, target: &Descriptor) -> Result<bool, CopyError> {
    match (copy.src.repository_of(target), copy.dst.repository()) {
        (Some(from), Some(to)) if from.registry() == to.registry() && from != *to => {
            let mounted = copy.dst.mount(target, &from).await;
            mounted.map_err(|error| CopyError::destination(&target.digest, error))
        }
        _ => Ok(false),
    }
}

async fn transfer(copy: &Copying<'_>, target: &Descriptor) -> Result<Outcome, CopyError> {
    let (started, start) = oneshot::channel();
    let (sender, receiver) = mpsc::channel(WAITING);
    let upload = Upload::Stream(incoming(target, started, receiver));
    let push = copy.dst.push_blob(target, upload);
    let feed = feed(copy, target, start, sender);
    tokio::pin!(push, feed);
    let mut fed = None;
    let pushed = loop {
        tokio::select! {
            biased;
            pushed = &mut push => break pushed,
            done = &mut feed, if fed.is_none() => fed = Some(done),
        }
    };
    // A destination that did not want the content has dropped it by now, and that ends the other side.
    let fed = fed.or_else(|| feed.now_or_never());
    match (fed, pushed) {
        // It is at the destination by another length, and nowhere else.
        (Some(Err(missing)), Err(other @ StoreError::SizeMismatch { came: Some(_), .. }))
            if missing.is_not_found() =>
        {
            Err(CopyError::destination(&target.digest, other))
        }
        // Then the destination only says that its upload broke off.
        (Some(Err(error)), _) => Err(CopyError::source(&target.digest, error)),
        (_, Err(error)) => Err(CopyError::destination(&target.digest, error)),
        (Some(Ok(false)), Ok(())) => Ok(Outcome::Skipped),
        (Some(Ok(true)) | None, Ok(())) => Ok(Outcome::Copied),
    }
}

/// The chunks of `target` that come from `receiver`, checked. Says by `started` that someone reads.
fn incoming(
    target: &Descriptor,
    started: oneshot::Sender<()>,
    receiver: mpsc::Receiver<Result<Bytes, StoreError>>,
) -> Content {
    let state = (Some(started), receiver);
    let chunks = stream::unfold(state, |(started, mut receiver)| async move {
        if let Some(started) = started {
            started.send(()).ok();
        }
        let chunk = receiver.recv().await?;
        Some((chunk, (None, receiver)))
    });
    Content::checked(target, chunks)
}

/// Reads from the source once someone reads from the other end. Whether anyone ever did.
async fn feed(
    copy: &Copying<'_>,
    target: &Descriptor,
    start: oneshot::Receiver<()>,
    sender: mpsc::Sender<Result<Bytes, StoreError>>,
) -> Result<bool, StoreError> {
    if start.await.is_err() {
        return Ok(false);
    }
    let outcome = forward(copy, target, &sender).await;
    if outcome.is_err() {
        // The upload must not end here as if it were whole.
        let broken = StoreError::io("source", "go on", std::io::Error::other("it broke off"));
        sender.send(Err(broken)).await.ok();
    }
    outcome.map(|()| true)
}

async fn forward(
    copy: &Copying<'_>,
    target: &Descriptor,
    sender: &mpsc::Sender<Result<Bytes, StoreError>>,
) -> Result<(), StoreError> {
    let mut content = copy.src.fetch(target).await?.check(target);
    while let Some(chunk) = content.next().await {
        let chunk = chunk?;
        let size = chunk.len() as u64;
        if sender.send(Ok(chunk)).await.is_err() {
            break;
        }
        copy.progress.advance(target, size);
    }
    Ok(())
}
