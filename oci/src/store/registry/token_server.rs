//! How a token server is asked for a token: by `GET` and a password, or by `POST` and a token that stands
//! for one.
//!
//! <https://distribution.github.io/distribution/spec/auth/token/>

use net::header::{AUTHORIZATION, LOCATION};
use net::{Method, Peer, Response, StatusCode, address};
use url::Url;

use super::client::Shared;
use super::host::{Host, basic, header, secrets_in};
use super::problem::{RegistryRefusal, RegistryRequest, RegistrySilence};
use super::token::{Scopes, TokenAnswer};
use crate::auth::{Credential, Secret};
use crate::{Repository, StoreError};

/// The largest answer that is read.
const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// Redirects that one question follows.
const MAX_HOPS: u32 = 5;

/// What a token server is asked for.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) repository: &'a Repository,
    pub(super) scopes: &'a Scopes,
    pub(super) service: Option<&'a str>,
    /// Whom: the address that the registry named.
    pub(super) realm: Url,
}

impl Question<'_> {
    /// Asks, as who has `credential`.
    pub(super) async fn ask(
        &self,
        shared: &Shared,
        host: &Host,
        credential: Option<&Credential>,
    ) -> Result<TokenAnswer, StoreError> {
        let authorization = match credential {
            Some(
                Credential::Basic { username, password }
                | Credential::IdentityTokenOrBasic {
                    username, password, ..
                },
            ) => Some(basic(username, password)),
            Some(Credential::IdentityToken(token)) => Some(basic("<token>", token)),
            Some(Credential::RegistryToken(_)) | None => None,
        };
        let mut answer = None;
        if let Some(
            Credential::IdentityToken(token) | Credential::IdentityTokenOrBasic { token, .. },
        ) = credential
        {
            // A server that does not know of OAuth 2 is asked as all others.
            answer = Some(self.post(shared, host, token).await?).filter(|(status, _)| {
                !matches!(
                    *status,
                    StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
                )
            });
        }
        let (method, url, (status, body)) = if let Some(answer) = answer {
            (Method::POST, self.realm.clone(), answer)
        } else {
            let (method, url) = (Method::GET, self.address());
            let sent = authorization.as_ref();
            let answer = self.exchange(shared, host, &method, &url, sent, None);
            let answer = answer.await?;
            (method, url, answer)
        };
        if status.is_success()
            && let Some(answer) = TokenAnswer::parse(&body)
        {
            return Ok(answer);
        }
        let secrets = authorization.as_ref().map(secrets_in).unwrap_or_default();
        let asked = RegistryRequest::new(&method, &url);
        let refusal = RegistryRefusal::parse(status, &body, &secrets).of(asked);
        if status.is_success() {
            return Err(StoreError::NoToken {
                place: self.place(),
                answer: Box::new(refusal),
            });
        }
        if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
            Err(StoreError::Refused {
                place: self.place(),
                action: format!("give access to `{}`", self.repository),
                source: refusal.into(),
            })
        } else {
            Err(self.unavailable(refusal.into()))
        }
    }

    /// What is asked for by `GET`.
    fn address(&self) -> Url {
        let mut url = self.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            // Nameless, too, as go-containerregistry writes it.
            query.append_pair("service", self.service.unwrap_or_default());
            for scope in self.scopes.texts() {
                query.append_pair("scope", &scope);
            }
        }
        url
    }

    async fn post(
        &self,
        shared: &Shared,
        host: &Host,
        token: &Secret,
    ) -> Result<(StatusCode, Vec<u8>), StoreError> {
        let scope = self.scopes.texts().collect::<Vec<_>>().join(" ");
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", self.service.unwrap_or_default())
            .append_pair("client_id", "sealpack")
            .append_pair("scope", &scope)
            .append_pair("refresh_token", token.reveal())
            .finish();
        self.exchange(shared, host, &Method::POST, &self.realm, None, Some(form))
            .await
    }

    /// One exchange with the token server. Redirects are followed as far as they stay with it:
    /// credentials are for the server that was named.
    async fn exchange(
        &self,
        shared: &Shared,
        host: &Host,
        method: &Method,
        url: &Url,
        authorization: Option<&Secret>,
        form: Option<String>,
    ) -> Result<(StatusCode, Vec<u8>), StoreError> {
        let authority = address::authority(url);
        let peer = Peer {
            url,
            insecure: host.insecure || shared.is_insecure(&authority),
            named: authority == host.registry.as_str(),
        };
        let (mut attempt, mut hops, mut url) = (0, 0, url.clone());
        loop {
            attempt += 1;
            let mut request = shared.client(peer)?.request(method.clone(), url.clone());
            if let Some(value) = authorization.and_then(header) {
                request = request.header(AUTHORIZATION, value);
            }
            if let Some(form) = &form {
                request = request
                    .header(
                        net::header::CONTENT_TYPE,
                        "application/x-www-form-urlencoded",
                    )
                    .body(form.clone());
            }
            let mut began = false;
            let exchange = async {
                let response = request.send().await?;
                began = true;
                let (status, asked) = (response.status(), net::retry_after(&response));
                let elsewhere = redirect(&response, method);
                let body = net::read_body(response, MAX_TOKEN_BYTES).await?;
                Ok((status, asked, elsewhere, body))
            };
            let result = shared.within_document_timeout(exchange).await;
            let last = attempt > shared.options.retries.count;
            let asked = match result {
                Ok((_, _, Some(elsewhere), _)) if hops < MAX_HOPS => {
                    hops += 1;
                    attempt -= 1;
                    url = elsewhere;
                    continue;
                }
                Ok((status, asked, ..)) if !last && net::is_transient(status) => asked,
                Ok((status, .., body)) => return Ok((status, body.to_vec())),
                Err(error) if !last && error.is_transient() => None,
                Err(error) => {
                    let asked = RegistryRequest::new(method, &url);
                    let silence = if began {
                        RegistrySilence::within(asked, error)
                    } else {
                        RegistrySilence::new(asked, error)
                    };
                    return Err(self.unavailable(silence.into()));
                }
            };
            shared.pause(attempt, asked).await;
        }
    }

    fn place(&self) -> String {
        self.realm.origin().ascii_serialization()
    }

    fn unavailable(&self, source: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
        StoreError::Unavailable {
            place: self.place(),
            action: format!("get a token for `{}`", self.repository),
            source,
        }
    }
}

/// Where a token server sends us, if that is the same server, and the request is the same there.
fn redirect(response: &Response, method: &Method) -> Option<Url> {
    let status = response.status();
    let is_kept = matches!(
        status,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    ) || *method == Method::GET;
    if !status.is_redirection() || !is_kept {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let from = response.url();
    let to = address::without_user(address::join(from, location).ok()?);
    (to.origin() == from.origin()).then_some(to)
}
