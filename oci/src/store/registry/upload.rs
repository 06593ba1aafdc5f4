//! Uploads that go on where they broke off.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};
use net::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use net::{Method, Response, StatusCode, is_transient};
use url::Url;

use super::download::PROGRESS;
use super::manifests::Found;
use super::problem::Told;
use super::token::{Access, Scopes};
use super::transport::{Body, Endpoint, Request, Target};
use crate::{Content, Descriptor, Digest, Repository, StoreError, Upload, spans};

/// What is no larger is held in memory and sent with the last request.
const SMALL: u64 = 1 << 20;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl Endpoint {
    /// Uploads a blob that the registry lacks. What breaks off is taken up where it broke, or begun
    /// anew, as long as the content can be had again.
    ///
    /// <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs>
    pub(super) async fn push_blob(
        &self,
        target: &Descriptor,
        upload: Upload,
    ) -> Result<(), StoreError> {
        let span = tracing::info_span!("upload", bytes = target.size);
        spans::within(span, self.upload(target, upload)).await
    }

    async fn upload(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        let mut source = Source::of(target, upload).await?;
        let action = format!("write blob {}", target.digest);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let session = match self.open_session("", self.push_scopes(), &action).await? {
                Opened::Session(session) => session,
                Opened::Done => return Ok(()),
            };
            let outcome = match &mut source {
                Source::Small(content) => {
                    let body = Body::Bytes(content.clone());
                    self.close_session(session, target, body, &action).await?
                }
                Source::File(path) => self.send_file(session, target, path, &action).await?,
                Source::Stream(stream) => {
                    self.send_stream(session, target, stream, &action).await?
                }
            };
            match outcome {
                Outcome::Done => return Ok(()),
                // The last answer may have been lost, and the session ended by success. The registry has
                // checked it then, whatever length somebody says of it.
                Outcome::Gone(_)
                    if !matches!(self.look(target, Access::Push).await?, Found::Nothing) =>
                {
                    return Ok(());
                }
                Outcome::Gone(_)
                    if source.is_left() && attempt <= self.shared.options.retries.count =>
                {
                    self.shared.pause(attempt, None).await;
                }
                Outcome::Gone(why) => return Err(why),
            }
        }
    }

    /// Asks the registry to take a blob over from another of its repositories.
    pub(super) async fn mount(
        &self,
        target: &Descriptor,
        from: &Repository,
    ) -> Result<bool, StoreError> {
        let action = format!("mount blob {}", target.digest);
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("mount", target.digest.as_str())
            .append_pair("from", from.path())
            .finish();
        let scopes = self.push_scopes().with(from.path(), Access::Pull);
        match self
            .open_session(&format!("?{query}"), scopes, &action)
            .await?
        {
            // It has the digest, and nobody has compared the length yet.
            Opened::Done => {
                let found = self.look(target, Access::Push).await;
                Ok(!matches!(found, Ok(Found::Other(_))))
            }
            Opened::Session(session) => {
                self.cancel(session).await;
                Ok(false)
            }
        }
    }

    /// Opens an upload and gives it up again.
    pub(super) async fn try_upload(&self) -> Result<(), StoreError> {
        let opened = self.open_session("", self.push_scopes(), "write").await?;
        if let Opened::Session(session) = opened {
            self.cancel(session).await;
        }
        Ok(())
    }

    fn push_scopes(&self) -> Scopes {
        Scopes::default().with(self.repository.path(), Access::Push)
    }

    async fn open_session(
        &self,
        query: &str,
        scopes: Scopes,
        action: &str,
    ) -> Result<Opened, StoreError> {
        let path = format!("blobs/uploads/{query}");
        let mut request = self.request(Method::POST, path, Access::Push, action);
        request.scopes = scopes;
        let response = self.send(&mut request).await?;
        match response.status() {
            StatusCode::CREATED => Ok(Opened::Done),
            StatusCode::ACCEPTED => Ok(Opened::Session(
                self.location(response.url(), response.headers())?,
            )),
            _ => Err(self.upload_refusal(&request, response, action).await),
        }
    }

    /// Best effort: the registry forgets it some day anyway.
    async fn cancel(&self, session: Url) {
        let mut request = self.session_request(Method::DELETE, session, "cancel an upload");
        request.retry = false;
        drop(self.send(&mut request).await);
    }

    async fn send_file(
        &self,
        mut session: Url,
        target: &Descriptor,
        path: &Path,
        action: &str,
    ) -> Result<Outcome, StoreError> {
        let (mut sent, mut attempt, mut furthest) = (0, 0, 0);
        while sent < target.size {
            let body = Body::File {
                path: path.to_owned(),
                from: sent,
                len: target.size - sent,
            };
            let mut request = self
                .session_request(Method::PATCH, session.clone(), action)
                .header(CONTENT_TYPE, OCTETS)
                .body(body);
            // Trying again is ours: from where it broke, not from where it began.
            request.retry = false;
            if sent > 0
                && let Ok(range) = HeaderValue::try_from(format!("{sent}-{}", target.size - 1))
            {
                request.headers.insert(CONTENT_RANGE, range);
            }
            let failure = match self.send(&mut request).await {
                Ok(response) if response.status().is_success() => {
                    session = self.session_after(&session, &response)?;
                    let taken = received(response.headers()).unwrap_or(target.size);
                    if taken >= target.size {
                        sent = taken;
                        break;
                    }
                    self.unavailable(action, "the registry took only a part of what it was sent")
                }
                Ok(response) => match response.status() {
                    StatusCode::NOT_FOUND => return Ok(self.lost(&request, response).await),
                    StatusCode::RANGE_NOT_SATISFIABLE => {
                        self.unavailable(action, "the registry lost a part of the upload")
                    }
                    status if is_transient(status) => {
                        self.upload_refusal(&request, response, action).await
                    }
                    _ => return Err(self.upload_refusal(&request, response, action).await),
                },
                Err(error @ StoreError::Unavailable { .. }) => error,
                Err(error) => return Err(error),
            };
            if sent >= furthest + PROGRESS {
                (attempt, furthest) = (0, sent);
            }
            attempt += 1;
            if attempt > self.shared.options.retries.count {
                return Err(failure);
            }
            self.shared.pause(attempt, None).await;
            let mut status = self.session_request(Method::GET, session.clone(), action);
            let response = self.send(&mut status).await?;
            if !response.status().is_success() {
                return Ok(self.lost(&status, response).await);
            }
            session = self.session_after(&session, &response)?;
            sent = received(response.headers()).unwrap_or(0);
            if sent == 1 {
                // Many say `0-0` of one byte and of none, and where to go on is not to be guessed.
                self.cancel(session).await;
                return Ok(Outcome::Gone(failure));
            }
        }
        if sent > target.size {
            self.cancel(session).await;
            let lost = "the registry lost the upload";
            return Ok(Outcome::Gone(self.unavailable(action, lost)));
        }
        self.close_session(session, target, Body::None, action)
            .await
    }

    async fn send_stream(
        &self,
        session: Url,
        target: &Descriptor,
        stream: &mut Option<Content>,
        action: &str,
    ) -> Result<Outcome, StoreError> {
        // Why the source broke off, which the connection cannot tell.
        let fault = Arc::new(Mutex::new(None));
        let body = stream.take().map(|stream| {
            let stream = sized(stream, target.clone());
            let fault = fault.clone();
            net::Body::wrap_stream(stream.map_err(move |error| {
                let words = error.to_string();
                *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                std::io::Error::other(words)
            }))
        });
        let mut request = self
            .session_request(Method::PATCH, session.clone(), action)
            .header(CONTENT_TYPE, OCTETS)
            .body(Body::Once(body, target.size));
        let result = self.send(&mut request).await;
        let fault = fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(error) = fault {
            drop(result);
            self.cancel(session).await;
            return Err(error);
        }
        let response = result?;
        if !response.status().is_success() {
            return Err(self.upload_refusal(&request, response, action).await);
        }
        let session = self.session_after(&session, &response)?;
        self.close_session(session, target, Body::None, action)
            .await
    }

    /// Ends an upload with its last bytes, if any, and its digest.
    async fn close_session(
        &self,
        mut session: Url,
        target: &Descriptor,
        body: Body,
        action: &str,
    ) -> Result<Outcome, StoreError> {
        session
            .query_pairs_mut()
            .append_pair("digest", target.digest.as_str());
        let mut request = self
            .session_request(Method::PUT, session, action)
            .header(CONTENT_TYPE, OCTETS)
            .body(body);
        let response = self.send(&mut request).await?;
        match response.status() {
            status if status.is_success() => Ok(Outcome::Done),
            StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE => {
                Ok(self.lost(&request, response).await)
            }
            _ => Err(self.upload_refusal(&request, response, action).await),
        }
    }

    fn session_request(&self, method: Method, session: Url, action: &str) -> Request {
        let mut request = self.request(method, "", Access::Push, action);
        request.target = Target::Url(session);
        request
    }

    /// An answer may move the session.
    fn session_after(&self, session: &Url, response: &Response) -> Result<Url, StoreError> {
        if response.headers().contains_key(net::header::LOCATION) {
            self.location(response.url(), response.headers())
        } else {
            Ok(session.clone())
        }
    }

    /// The registry does not know the upload any more.
    async fn lost(&self, request: &Request, response: Response) -> Outcome {
        let answer = match self.refusal(request, response, "").await {
            StoreError::NotFound { answer, .. } => answer,
            error => error.answer().cloned().map(Box::new),
        };
        let told = Told::new("the registry lost the upload", answer);
        Outcome::Gone(self.unavailable(&request.action, told))
    }

    /// Not found is here: no such repository, and may not be made.
    async fn upload_refusal(
        &self,
        request: &Request,
        response: Response,
        action: &str,
    ) -> StoreError {
        let path = self.repository.path();
        match self.refusal(request, response, path).await {
            StoreError::NotFound { place, answer, .. } => StoreError::Refused {
                place,
                action: action.to_owned(),
                source: Told::new("there is no such repository, and it cannot be made", answer)
                    .into(),
            },
            error => error,
        }
    }
}

enum Opened {
    Session(Url),
    /// The registry has it already.
    Done,
}

enum Outcome {
    Done,
    /// The registry does not know the upload, or not as we do: for this reason.
    Gone(StoreError),
}

/// Where the bytes come from, once it is clear that they are needed.
enum Source {
    Small(Bytes),
    File(PathBuf),
    Stream(Option<Content>),
}

impl Source {
    async fn of(target: &Descriptor, upload: Upload) -> Result<Self, StoreError> {
        match upload {
            Upload::Layer(layer) => Self::of_file(target, layer.file).await,
            Upload::File(path) => Self::of_file(target, path).await,
            Upload::Bytes(content) => {
                expect_size(target, content.len() as u64)?;
                Ok(Self::Small(content))
            }
            Upload::Stream(stream) if target.size > SMALL => Ok(Self::Stream(Some(stream))),
            Upload::Stream(stream) => {
                let mut stream = Box::pin(sized(stream, target.clone()));
                let mut content = BytesMut::new();
                while let Some(chunk) = stream.try_next().await? {
                    content.extend_from_slice(&chunk);
                }
                Ok(Self::Small(content.freeze()))
            }
        }
    }

    /// The registry hashes it.
    async fn of_file(target: &Descriptor, path: PathBuf) -> Result<Self, StoreError> {
        let failed = |error| StoreError::io(path.display(), "read", error);
        let size = tokio::fs::metadata(&path).await.map_err(failed)?.len();
        expect_size(target, size)?;
        if size > SMALL {
            return Ok(Self::File(path));
        }
        let content = tokio::fs::read(&path).await.map_err(failed)?;
        expect_size(target, content.len() as u64)?;
        Ok(Self::Small(content.into()))
    }

    fn is_left(&self) -> bool {
        !matches!(self, Self::Stream(None))
    }
}

fn expect_size(target: &Descriptor, presented: u64) -> Result<(), StoreError> {
    if presented == target.size {
        Ok(())
    } else {
        Err(wrong_size(&target.digest, target.size, presented))
    }
}

fn wrong_size(digest: &Digest, expected: u64, presented: u64) -> StoreError {
    StoreError::SizeMismatch {
        digest: digest.clone(),
        expected,
        presented,
        came: None,
    }
}

/// The same stream, which fails if it is not as long as `target` says.
fn sized(
    stream: Content,
    target: Descriptor,
) -> impl futures_util::Stream<Item = Result<Bytes, StoreError>> + Send {
    futures_util::stream::try_unfold(
        (stream, 0, target),
        |(mut stream, mut count, target)| async move {
            match stream.next().await.transpose()? {
                Some(chunk) => {
                    count += chunk.len() as u64;
                    if count > target.size {
                        return Err(wrong_size(&target.digest, target.size, count));
                    }
                    Ok(Some((chunk, (stream, count, target))))
                }
                None => expect_size(&target, count).map(|()| None),
            }
        },
    )
}

/// How many bytes a registry says that it has, in `Range: 0-N`.
fn received(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let (start, end) = range.split_once('-')?;
    let end: u64 = end.trim().parse().ok()?;
    (start.trim() == "0").then(|| end.checked_add(1)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_count_bytes() {
        for (range, expected) in [
            ("0-9", Some(10)),
            ("bytes=0-9", Some(10)),
            ("1-9", None),
            ("0-", None),
            ("", None),
            ("0-18446744073709551615", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, range.parse().unwrap());
            assert_eq!(received(&headers), expected, "{range}");
        }
    }
}
