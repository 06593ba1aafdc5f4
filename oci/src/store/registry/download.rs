//! Downloads that go on where they broke off.

use bytes::Bytes;
use futures_util::stream;
use net::header::{CONTENT_RANGE, HeaderValue, RANGE};
use net::{Method, Response, StatusCode, TransportError};
use tokio::sync::OwnedSemaphorePermit;

use super::problem::{RegistryContent, RegistryRequest, RegistrySilence};
use super::token::Access;
use super::transport::Endpoint;
use crate::{Content, Descriptor, StoreError};

/// What got so far before it broke counts as new when it comes to trying again.
pub(super) const PROGRESS: u64 = 1 << 20;

impl Endpoint {
    /// Opens a blob. A connection that breaks is taken up again where it broke.
    pub(super) async fn fetch_blob(&self, target: &Descriptor) -> Result<Content, StoreError> {
        let permit = self.shared.downloads.clone().acquire_owned().await.ok();
        let mut download = Download {
            endpoint: self.clone(),
            action: format!("read blob {}", target.digest),
            target: target.clone(),
            response: None,
            received: 0,
            skip: 0,
            attempt: 0,
            attempted_at: 0,
            ranges: true,
            asked: None,
            _permit: permit,
        };
        download.open().await?;
        let asked = download.asked.clone();
        let chunks = stream::try_unfold(download, |mut download| async {
            let chunk = download.next().await?;
            Ok(chunk.map(|chunk| (chunk, download)))
        });
        let content = Content::new(chunks).check(target);
        let Some(asked) = asked else {
            return Ok(content);
        };
        let size = target.size;
        Ok(content.map_errors(move |error| {
            let size = match &error {
                StoreError::SizeMismatch { presented, .. } => *presented,
                _ => size,
            };
            RegistryContent::new(asked.clone(), size, false).came_so(error)
        }))
    }
}

struct Download {
    endpoint: Endpoint,
    target: Descriptor,
    action: String,
    response: Option<Response>,
    /// Bytes that were given out.
    received: u64,
    /// Bytes of the present answer that were given out before.
    skip: u64,
    attempt: u32,
    /// How far we were when we last had to try again.
    attempted_at: u64,
    /// Whether the registry can begin in the middle.
    ranges: bool,
    /// What was asked last.
    asked: Option<RegistryRequest>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            let Some(response) = &mut self.response else {
                self.open().await?;
                continue;
            };
            match response.chunk().await {
                Ok(Some(mut chunk)) => {
                    let skipped = self.skip.min(chunk.len() as u64);
                    self.skip -= skipped;
                    // At most the length of the chunk, so it fits.
                    drop(chunk.split_to(usize::try_from(skipped).unwrap_or(chunk.len())));
                    self.received += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.response = None;
                    self.pause(TransportError::of(error)).await?;
                }
            }
        }
    }

    /// Opens the blob at the byte that is wanted next.
    async fn open(&mut self) -> Result<(), StoreError> {
        let mut request = self.endpoint.request(
            Method::GET,
            format!("blobs/{}", self.target.digest),
            Access::Pull,
            &self.action,
        );
        request.download = true;
        let resume = self.received > 0 && self.ranges;
        if resume && let Ok(range) = HeaderValue::try_from(format!("bytes={}-", self.received)) {
            request.headers.insert(RANGE, range);
        }
        let response = self.endpoint.send(&mut request).await?;
        let asked = RegistryRequest::new(&request.method, response.url());
        self.asked = Some(asked.clone());
        match response.status() {
            StatusCode::PARTIAL_CONTENT if resume && self.begins_right(&response) => {
                self.skip = 0;
            }
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if resume => {
                self.ranges = false;
                return Ok(());
            }
            StatusCode::OK => {
                self.skip = self.received;
                if let Some(size) = response.content_length()
                    && size != self.target.size
                {
                    return Err(StoreError::SizeMismatch {
                        digest: self.target.digest.clone(),
                        expected: self.target.size,
                        presented: size,
                        came: Some(Box::new(RegistryContent::new(asked, size, true))),
                    });
                }
            }
            _ => {
                let what = self.target.digest.as_str();
                return Err(self.endpoint.refusal(&request, response, what).await);
            }
        }
        self.response = Some(response);
        Ok(())
    }

    fn begins_right(&self, response: &Response) -> bool {
        let range = response
            .headers()
            .get(CONTENT_RANGE)
            .and_then(|it| it.to_str().ok())
            .and_then(|it| it.strip_prefix("bytes "))
            .and_then(|it| it.split_once('-'));
        range.is_some_and(|(start, _)| start.trim().parse() == Ok(self.received))
    }

    async fn pause(&mut self, error: TransportError) -> Result<(), StoreError> {
        if self.received >= self.attempted_at.saturating_add(PROGRESS) {
            self.attempt = 0;
        }
        self.attempted_at = self.received;
        self.attempt += 1;
        if self.attempt > self.endpoint.shared.options.retries.count {
            return Err(match self.asked.clone() {
                Some(asked) => {
                    let silence = RegistrySilence::within(asked, error);
                    self.endpoint.unavailable(&self.action, silence)
                }
                None => self.endpoint.unavailable(&self.action, error),
            });
        }
        self.endpoint.shared.pause(self.attempt, None).await;
        Ok(())
    }
}
