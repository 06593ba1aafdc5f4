//! Whether a registry is asked by HTTPS or plain HTTP, where it may be either.
//!
//! go-containerregistry 0.21.9, `pkg/v1/remote/transport/ping.go`: it asks for the API by HTTPS, and where
//! that does not come soon by plain HTTP as well; 200 or 401 is a registry, and nothing else is.

use std::time::Duration;

use net::{Method, Peer, Response, StatusCode, TransportError, Version, address};
use tokio::time::Instant;
use url::Url;

use super::problem::{RegistryRequest, RegistrySilence};
use super::transport::Endpoint;
use crate::StoreError;

/// How long HTTPS is waited for before plain HTTP is tried.
const HASTE: Duration = Duration::from_secs(3);

/// What came of asking for the API by HTTPS.
#[derive(Clone, Debug)]
pub(super) enum Secure {
    /// A registry answers.
    Registry,
    /// Somebody answers, but not as a registry does.
    Other,
    /// Nobody has answered yet.
    Late,
    /// Nobody answers.
    Nobody(RegistrySilence),
}

/// When that was found out.
#[derive(Debug)]
pub(super) struct Found {
    at: Instant,
    secure: Secure,
}

impl Endpoint {
    pub(super) fn base(&self, scheme: &str) -> Result<Url, StoreError> {
        let text = format!(
            "{scheme}://{}/v2/{}/",
            self.host.registry,
            self.repository.path()
        );
        Url::parse(&text).map_err(|error| self.unavailable("connect", error))
    }

    /// Where to begin: by plain HTTP where it is not known that it is to be HTTPS; which is found out first
    /// where the two are two ports.
    pub(super) async fn first_base(&self) -> Result<(Url, Option<Secure>), StoreError> {
        let mut secure = None;
        if self.host.is_tls_first() {
            // What TLS needs may be missing here, and not be needed.
            secure = self.secure(false).await.ok();
        }
        let base = self.base(self.host.scheme().unwrap_or("http"))?;
        Ok((base, secure))
    }

    /// Whether an answer by plain HTTP, or that there is none, is a reason to ask the same by HTTPS.
    /// `secure` is what was found out about that before. Settles which it is, if that is clear now.
    pub(super) async fn is_for_https(
        &self,
        result: &Result<Response, TransportError>,
        secure: Option<&Secure>,
        action: &str,
    ) -> Result<bool, StoreError> {
        if self.host.scheme() == Some("https") {
            // Another request has learnt it meanwhile.
            return Ok(!is_success(result));
        }
        let found = match secure {
            // What comes next may be a credential: that is worth some patience.
            Some(Secure::Late) if !is_success(result) => self.secure(true).await?,
            Some(Secure::Late) => return Ok(false),
            // The other port may be the registry yet.
            Some(Secure::Nobody(silence)) if result.is_err() && !silence.is_about_certificate() => {
                self.secure(true).await?
            }
            Some(known) => known.clone(),
            None if is_other_scheme(result) => self.secure(true).await?,
            None => {
                self.settle_plain(result);
                return Ok(false);
            }
        };
        match found {
            Secure::Registry => return Ok(true),
            // By plain HTTP there is nobody at all.
            Secure::Other if result.is_err() || is_old(result) => {
                self.host.settle_https();
                return Ok(true);
            }
            // It did expect TLS, so why that failed says more than its answer, or than that there is none.
            Secure::Nobody(silence)
                if is_old(result)
                    || (silence.is_about_certificate()
                        && (result.is_err() || is_bad_request(result))) =>
            {
                return Err(self.unavailable(action, silence));
            }
            Secure::Other | Secure::Late | Secure::Nobody(_) => {}
        }
        self.settle_plain(result);
        Ok(false)
    }

    /// An answer by plain HTTP settles that, unless it leads elsewhere, which may be to HTTPS, or is one of a
    /// server that fails: both ports may have the registry soon.
    fn settle_plain(&self, result: &Result<Response, TransportError>) {
        if let Ok(response) = result
            && !response.status().is_redirection()
            && !net::is_transient(response.status())
        {
            self.host.settle_plain();
        }
    }

    /// A redirect from `from` leads to `to`: by HTTPS at the same place, the registry wants that.
    pub(super) fn learn_redirect(&self, from: &Url, to: &Url) {
        let is_same = address::authority(from) == address::authority(to)
            && address::authority(from).eq_ignore_ascii_case(self.host.registry.as_str());
        let is_raised = from.scheme() == "http" && to.scheme() == "https";
        // Content may lie at another server of the same name.
        let is_registry = self.host.scheme().is_none() || from.path() == to.path();
        if is_same && is_raised && is_registry {
            self.host.settle_https();
        }
    }

    /// Asks for the API by HTTPS: who comes meanwhile waits, and has the same answer. Without patience not
    /// for long; and that it was late is not found out again.
    async fn secure(&self, is_patient: bool) -> Result<Secure, StoreError> {
        let came = Instant::now();
        let mut known = self.host.secure.lock().await;
        if self.host.scheme() == Some("https") {
            return Ok(Secure::Registry);
        }
        if let Some(found) = &*known {
            let is_late = matches!(found.secure, Secure::Late);
            if (is_late && !is_patient) || (!is_late && found.at >= came) {
                return Ok(found.secure.clone());
            }
        }
        let ask = self.ask_by_https();
        let secure = if is_patient {
            ask.await?
        } else {
            let asked = tokio::time::timeout(HASTE, ask).await;
            asked.unwrap_or(Ok(Secure::Late))?
        };
        if matches!(secure, Secure::Registry) {
            self.host.settle_https();
        }
        *known = Some(Found {
            at: Instant::now(),
            secure: secure.clone(),
        });
        Ok(secure)
    }

    async fn ask_by_https(&self) -> Result<Secure, StoreError> {
        let root = self.base("https")?.join("/v2/");
        let root = root.map_err(|error| self.unavailable("connect", error))?;
        let client = self.shared.client(Peer {
            url: &root,
            insecure: self.host.insecure,
            named: true,
        })?;
        let mut is_first = self.shared.options.retries.count > 0;
        loop {
            let exchange = async { Ok(client.get(root.clone()).send().await?.status()) };
            let error = match self.shared.within_document_timeout(exchange).await {
                Ok(status) if status.is_success() || status == StatusCode::UNAUTHORIZED => {
                    return Ok(Secure::Registry);
                }
                // Nobody can say yet who answers there.
                Ok(status) if net::is_transient(status) && !is_first => return Ok(Secure::Late),
                Ok(status) if net::is_transient(status) => {
                    is_first = false;
                    self.shared.pause(1, None).await;
                    continue;
                }
                Ok(_) => return Ok(Secure::Other),
                Err(error) => error,
            };
            let is_transient = error.is_transient();
            let asked = RegistryRequest::new(&Method::GET, &root);
            let silence = RegistrySilence::new(asked, error);
            // Who refuses is there, and has nothing at that port.
            let refused = std::io::ErrorKind::ConnectionRefused;
            let is_refused = silence.io().is_some_and(|it| it.kind() == refused);
            if !is_first || !is_transient || is_refused {
                return Ok(Secure::Nobody(silence));
            }
            is_first = false;
            self.shared.pause(1, None).await;
        }
    }
}

fn is_success(result: &Result<Response, TransportError>) -> bool {
    result.as_ref().is_ok_and(|it| it.status().is_success())
}

fn is_bad_request(result: &Result<Response, TransportError>) -> bool {
    let response = result.as_ref();
    response.is_ok_and(|it| it.status() == StatusCode::BAD_REQUEST)
}

/// Whether this is what Go's servers say by plain HTTP where they expect TLS.
fn is_old(result: &Result<Response, TransportError>) -> bool {
    let response = result.as_ref();
    is_bad_request(result) && response.is_ok_and(|it| it.version() == Version::HTTP_10)
}

/// Whether this looks like a server that expected TLS: an error in place of an answer, or what Go says.
fn is_other_scheme(result: &Result<Response, TransportError>) -> bool {
    match result {
        Ok(_) => is_old(result),
        Err(TransportError::Http { connected, .. }) => *connected,
        Err(_) => false,
    }
}
