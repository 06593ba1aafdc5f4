use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;

use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy};
use url::Url;

use super::options::RegistryOptions;
use super::tls::{self, TlsError};

/// Never asked through a proxy.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";
/// The addresses of `localhost`; port 0 leaves the port as it is.
const LOCALHOST: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
];

/// The HTTP clients, each made when it is first needed: nothing about TLS is loaded for plain HTTP.
#[derive(Debug, Default)]
pub(super) struct Connections {
    plain: OnceLock<Client>,
    verified: OnceLock<Client>,
    unverified: OnceLock<Client>,
}

impl Connections {
    /// The client for `url`. `insecure`: whether any certificate will do.
    pub(super) fn client(
        &self,
        url: &Url,
        insecure: bool,
        options: &RegistryOptions,
    ) -> Result<&Client, ConnectionsError> {
        let (cell, config): (_, fn(&_) -> _) = match (url.scheme(), insecure) {
            ("https", false) => (&self.verified, tls::verified),
            ("https", true) => (&self.unverified, tls::unverified),
            _ => (&self.plain, |_| tls::none()),
        };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let client = build(
            options,
            config(&options.trust).map_err(ConnectionsError::Tls)?,
        )?;
        // Should two race, the first stays.
        Ok(cell.get_or_init(|| client))
    }
}

fn build(options: &RegistryOptions, tls: rustls::ClientConfig) -> Result<Client, ConnectionsError> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls)
        // Redirects and retries are ours: they decide where credentials go.
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .user_agent(&options.user_agent)
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.silence_timeout)
        .http2_adaptive_window(true)
        // This machine, whatever a name server says (RFC 6761); so none is needed.
        .resolve_to_addrs("localhost", &LOCALHOST);
    let except = match &options.proxies.except {
        Some(except) => format!("{LOOPBACK},{except}"),
        None => LOOPBACK.to_owned(),
    };
    if let Some(url) = &options.proxies.http {
        let proxy = Proxy::http(url.reveal()).map_err(ConnectionsError::proxy)?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&except)));
    }
    if let Some(url) = &options.proxies.https {
        let proxy = Proxy::https(url.reveal()).map_err(ConnectionsError::proxy)?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&except)));
    }
    builder
        .build()
        .map_err(|error| ConnectionsError::Client(error.without_url()))
}

/// Why no connection can be made at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionsError {
    /// The HTTP client could not be made.
    #[error("failed to set up HTTP")]
    Client(#[source] reqwest::Error),
    /// A proxy is given by something that is no URL.
    #[error("malformed proxy address")]
    Proxy(#[source] reqwest::Error),
    /// TLS could not be set up.
    #[error("failed to prepare a secure connection")]
    Tls(#[source] TlsError),
}

impl ConnectionsError {
    /// The URL may hold a password.
    fn proxy(error: reqwest::Error) -> Self {
        Self::Proxy(error.without_url())
    }
}
