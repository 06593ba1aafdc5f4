//! Requests about one repository: credentials, redirects, retries.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use net::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    WWW_AUTHENTICATE,
};
use net::{
    Method, Peer, Response, StatusCode, TransportError, address, file_body, is_transient,
    read_body, retry_after,
};
use url::Url;

use super::challenge::Challenge;
use super::client::Shared;
use super::host::{self, Host};
use super::problem::{RegistryRefusal, RegistryRequest, RegistrySilence, secrets_of};
use super::token::{Access, Scopes};
use crate::auth::Secret;
use crate::{Repository, StoreError};

/// Redirects that one request follows.
const MAX_HOPS: u32 = 5;
/// Bytes that are read of a refusal.
const MAX_REFUSAL_BYTES: u64 = 64 << 10;

/// One repository of one registry, with all that it takes to ask it.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) shared: Arc<Shared>,
    pub(super) host: Arc<Host>,
    pub(super) repository: Repository,
}

/// What to ask.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) scopes: Scopes,
    /// What we are doing, for errors: `read manifest …`.
    pub(super) action: String,
    /// Whether to try again where that may help.
    pub(super) retry: bool,
    /// Whether the answer is long, and counted among downloads by whoever asks.
    pub(super) download: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Target {
    /// Below `/v2/REPOSITORY/`.
    Path(String),
    /// As an answer had it.
    Url(Url),
}

#[derive(Debug)]
pub(super) enum Body {
    None,
    Bytes(Bytes),
    /// A file from some byte on, and how many bytes that are.
    File {
        path: PathBuf,
        from: u64,
        len: u64,
    },
    /// Can be sent once, and how many bytes it is.
    Once(Option<net::Body>, u64),
}

impl Request {
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

/// A small answer, read whole.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) url: Url,
    pub(super) bytes: Bytes,
    /// What it answers.
    pub(super) request: RegistryRequest,
}

impl Endpoint {
    pub(super) fn place(&self) -> String {
        self.repository.to_string()
    }

    pub(super) fn request(
        &self,
        method: Method,
        path: impl Into<String>,
        access: Access,
        action: impl Into<String>,
    ) -> Request {
        Request {
            method,
            target: Target::Path(path.into()),
            headers: HeaderMap::new(),
            body: Body::None,
            scopes: Scopes::default().with(self.repository.path(), access),
            action: action.into(),
            retry: true,
            download: false,
        }
    }

    /// Asks, and reads the answer, of at most `limit` bytes; from the beginning if it breaks off.
    pub(super) async fn document(
        &self,
        mut request: Request,
        limit: u64,
    ) -> Result<Document, StoreError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let response = self.send(&mut request).await?;
            let (status, headers, url) = (
                response.status(),
                response.headers().clone(),
                response.url().clone(),
            );
            let asked = RegistryRequest::new(&request.method, &url);
            let body = self
                .shared
                .within_document_timeout(read_body(response, limit))
                .await;
            match body {
                Ok(bytes) => {
                    return Ok(Document {
                        status,
                        headers,
                        url,
                        bytes,
                        request: asked,
                    });
                }
                Err(error)
                    if error.is_transient() && attempt <= self.shared.options.retries.count =>
                {
                    self.shared.pause(attempt, None).await;
                }
                Err(error) => {
                    let silence = RegistrySilence::within(asked, error);
                    return Err(self.unavailable(&request.action, silence));
                }
            }
        }
    }

    /// Asks. The answer is whatever came that is not to be tried again: look at its status.
    ///
    /// 1. Credentials go to the registry itself only, and only after it asked for them; what it does
    ///    not take is renewed once.
    /// 2. Redirects are followed, without credentials where they lead elsewhere.
    /// 3. What may yet succeed is tried again: overload, faults of the server, broken connections. While
    ///    a registry wants to be left alone, nobody asks it.
    ///
    /// Who may be asked by plain HTTP is, at first; by HTTPS where that is another port.
    pub(super) async fn send(&self, request: &mut Request) -> Result<Response, StoreError> {
        let (mut base, mut secure) = self.first_base().await?;
        let mut url = match &request.target {
            Target::Path(path) => base
                .join(path)
                .map_err(|error| self.unavailable(&request.action, error))?,
            Target::Url(url) => url.clone(),
        };
        let longest = self.shared.options.retries.longest;
        self.host.until_welcome(longest).await;
        let (mut attempt, mut hops, mut renewed, mut replaced) = (0, 0, false, false);
        loop {
            let own = address::authority(&url) == address::authority(&base);
            // Another request may have learnt meanwhile that it is to be HTTPS.
            if own && url.scheme() == "http" && self.host.scheme() == Some("https") {
                base = self.base("https")?;
                url = address::with_https(&url)
                    .ok_or_else(|| self.malformed("its address cannot be asked by HTTPS"))?;
            }
            let authorization = if own {
                self.host
                    .authorization(&self.shared, &self.repository, &request.scopes, &url)
                    .await?
            } else {
                None
            };
            let result = {
                let _permit = if request.download {
                    None
                } else {
                    self.shared.requests.acquire().await.ok()
                };
                self.send_once(request, &url, own, authorization.as_ref())
                    .await?
            };
            if own && url.scheme() == "http" && self.host.scheme() != Some("http") {
                let known = secure.take();
                let action = &request.action;
                let is_other = self.is_for_https(&result, known.as_ref(), action).await?;
                if is_other && request.body.is_left() {
                    continue;
                }
            }
            let again = request.retry && request.body.is_left();
            let response = match result {
                Ok(response) => response,
                Err(error)
                    if again
                        && error.is_transient()
                        && attempt < self.shared.options.retries.count =>
                {
                    attempt += 1;
                    self.shared.pause(attempt, None).await;
                    continue;
                }
                Err(error) => {
                    let asked = RegistryRequest::new(&request.method, &url);
                    let silence = RegistrySilence::new(asked, error);
                    return Err(self.unavailable(&request.action, silence));
                }
            };
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && own && !renewed && request.body.is_left() {
                renewed = true;
                replaced = authorization.is_some();
                let scopes = &mut request.scopes;
                if self.renew(&response, authorization.as_ref(), scopes).await {
                    continue;
                }
                return Ok(response);
            }
            if !replaced
                && request.body.is_left()
                && self.is_replaced(status, authorization.as_ref()).await
            {
                replaced = true;
                continue;
            }
            if status.is_redirection() && response.headers().contains_key(LOCATION) {
                hops += 1;
                let next = self.redirect(request, &response, hops)?;
                self.learn_redirect(&url, &next);
                url = next;
                continue;
            }
            if is_transient(status) {
                let asked = retry_after(&response);
                if let Some(asked) = asked.filter(|_| own) {
                    self.host.leave_alone(asked);
                }
                if again && attempt < self.shared.options.retries.count {
                    attempt += 1;
                    drop(response);
                    self.shared.pause(attempt, asked).await;
                    continue;
                }
            }
            return Ok(response);
        }
    }

    /// Sends once. The outer error is ours, e.g. a file that cannot be read.
    async fn send_once(
        &self,
        request: &mut Request,
        url: &Url,
        own: bool,
        authorization: Option<&Secret>,
    ) -> Result<Result<Response, TransportError>, StoreError> {
        let peer = Peer {
            url,
            insecure: self.host.insecure || self.shared.is_insecure(&address::authority(url)),
            named: own,
        };
        let mut builder = self
            .shared
            .client(peer)?
            .request(request.method.clone(), url.clone())
            .headers(request.headers.clone());
        if let Some(authorization) = authorization
            && let Some(value) = host::header(authorization)
        {
            builder = builder.header(AUTHORIZATION, value);
            self.host.note_sent(authorization);
        }
        let len = request.body.len();
        if let Some(body) = request.body.open().await? {
            builder = builder.header(CONTENT_LENGTH, len).body(body);
        } else if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) {
            builder = builder.header(CONTENT_LENGTH, 0);
        }
        Ok(builder.send().await.map_err(TransportError::of))
    }

    /// Learns what the registry wants; whether there is any sense in asking again.
    async fn renew(&self, response: &Response, sent: Option<&Secret>, scopes: &mut Scopes) -> bool {
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let headers: Vec<String> = headers
            .iter()
            .map(|it| header_text(it.as_bytes()))
            .collect();
        let Some(challenge) = Challenge::parse(headers.iter().map(|it| &**it)) else {
            return false;
        };
        if let Challenge::Bearer {
            scope: Some(scope), ..
        } = &challenge
        {
            scopes.ask(scope);
        }
        if let Some(sent) = sent {
            self.host.forget(&self.shared, sent).await;
        }
        self.host.learn_challenge(challenge);
        true
    }

    /// Whether there is another name and password in the place of those that were `sent` and refused. Some
    /// say that they have expired as if it were not allowed.
    async fn is_replaced(&self, status: StatusCode, sent: Option<&Secret>) -> bool {
        let is_refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        match sent.filter(|_| is_refused) {
            Some(sent) => {
                let (shared, repository) = (&self.shared, &self.repository);
                self.host.is_replaced(shared, repository, sent).await
            }
            None => false,
        }
    }

    fn redirect(
        &self,
        request: &mut Request,
        response: &Response,
        hops: u32,
    ) -> Result<Url, StoreError> {
        if hops > MAX_HOPS {
            return Err(self.malformed(format!("it redirects more than {MAX_HOPS} times")));
        }
        let keeps_method = matches!(
            response.status(),
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
        );
        let can_follow = matches!(request.method, Method::GET | Method::HEAD)
            || (keeps_method && request.body.is_left());
        if !can_follow {
            return Err(self.malformed(format!(
                "it redirects a request that cannot be repeated elsewhere: {}",
                request.action
            )));
        }
        self.location(response.url(), response.headers())
    }

    /// Asks for the API itself.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let request = self.request(Method::GET, "/v2/", Access::Pull, "connect");
        self.succeed(request).await
    }

    /// The same, with a right to nothing but that.
    pub(super) async fn log_in(&self) -> Result<(), StoreError> {
        let mut request = self.request(Method::GET, "/v2/", Access::Pull, "log in");
        request.scopes = Scopes::default();
        let response = self.send(&mut request).await?;
        let status = response.status();
        let kind = response.headers().get(CONTENT_TYPE);
        let is_page = kind.is_some_and(|it| {
            let own = it.as_bytes().get(..b"text/html".len());
            own.is_some_and(|it| it.eq_ignore_ascii_case(b"text/html"))
        });
        // A registry that refuses may do so with a page, too.
        if is_page && (status.is_success() || status == StatusCode::NOT_FOUND) {
            return Err(StoreError::NoRegistry {
                place: self.host.registry.to_string(),
                wanted: "the API of a registry".to_owned(),
            });
        }
        if status.is_success() {
            Ok(())
        } else {
            Err(self.refusal(&request, response, "/v2/").await)
        }
    }

    async fn succeed(&self, mut request: Request) -> Result<(), StoreError> {
        let response = self.send(&mut request).await?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(self.refusal(&request, response, "/v2/").await)
        }
    }

    /// Where an answer points us.
    pub(super) fn location(&self, from: &Url, headers: &HeaderMap) -> Result<Url, StoreError> {
        let location = headers
            .get(LOCATION)
            .and_then(|it| it.to_str().ok())
            .ok_or_else(|| self.malformed("an answer lacks its `Location`"))?;
        address::follow(from, location, |it| self.shared.is_insecure(it))
            .map_err(|problem| self.malformed(problem))
    }

    /// The error that an answer is which is not what was hoped for. `what` was asked for.
    pub(super) async fn refusal(
        &self,
        request: &Request,
        response: Response,
        what: &str,
    ) -> StoreError {
        let status = response.status();
        let url = response.url().clone();
        let asked = RegistryRequest::new(&request.method, &url);
        let body = read_body(response, MAX_REFUSAL_BYTES);
        let bytes = self.shared.within_document_timeout(body).await;
        let document = (status, &*bytes.unwrap_or_default(), asked);
        self.refused(document, &url, &request.action, what)
    }

    /// The same of an answer that was read.
    pub(super) fn refusal_of(&self, document: &Document, action: &str, what: &str) -> StoreError {
        let asked = document.request.clone();
        let answer = (document.status, &*document.bytes, asked);
        self.refused(answer, &document.url, action, what)
    }

    /// What the registry says in an answer that is not what was hoped for.
    pub(super) fn words_of(&self, document: &Document) -> RegistryRefusal {
        let secrets = self.secrets(&document.url);
        RegistryRefusal::parse(document.status, &document.bytes, &secrets)
            .of(document.request.clone())
    }

    /// What an answer from `url` may echo and nobody is to read.
    fn secrets(&self, url: &Url) -> Vec<Secret> {
        let mut secrets = self.host.sent();
        secrets.extend(secrets_of(url));
        secrets
    }

    fn refused(
        &self,
        (status, body, asked): (StatusCode, &[u8], RegistryRequest),
        url: &Url,
        action: &str,
        what: &str,
    ) -> StoreError {
        let refusal = RegistryRefusal::parse(status, body, &self.secrets(url)).of(asked);
        if status == StatusCode::NOT_FOUND {
            return StoreError::NotFound {
                what: what.to_owned(),
                place: self.place(),
                answer: Some(Box::new(refusal)),
            };
        }
        if status.is_client_error() && !is_transient(status) {
            StoreError::Refused {
                place: self.place(),
                action: action.to_owned(),
                source: refusal.into(),
            }
        } else {
            self.unavailable(action, refusal)
        }
    }

    pub(super) fn unavailable(
        &self,
        action: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError::Unavailable {
            place: self.place(),
            action: action.to_owned(),
            source: source.into(),
        }
    }

    pub(super) fn malformed(&self, problem: impl Into<String>) -> StoreError {
        StoreError::Malformed {
            place: self.place(),
            problem: problem.into(),
        }
    }
}

impl Body {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { len, .. } | Self::Once(_, len) => *len,
        }
    }

    /// Whether it can be sent (again).
    fn is_left(&self) -> bool {
        !matches!(self, Self::Once(None, _))
    }

    async fn open(&mut self) -> Result<Option<net::Body>, StoreError> {
        match self {
            Self::None => Ok(None),
            Self::Bytes(bytes) => Ok(Some(bytes.clone().into())),
            Self::File { path, from, len } => file_body(path, *from, *len)
                .await
                .map(Some)
                .map_err(|error| StoreError::io(path.display(), "read", error)),
            Self::Once(body, _) => Ok(body.take()),
        }
    }
}

/// A header as text: UTF-8, as servers write it today, or Latin-1, as HTTP had it.
fn header_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}
