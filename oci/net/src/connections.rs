//! The HTTP clients.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::redirect::Policy;
use reqwest::{Client, Proxy};
use url::Url;

use crate::address;
use crate::names::Names;
use crate::tls::{self, HostFolder, TlsError};
use crate::{Options, Secret, TrustSettings};

/// The addresses of `localhost`; port 0 leaves the port as it is.
const LOCALHOST: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
];

/// The HTTP clients, each made when it is first needed: nothing about TLS is loaded for plain HTTP.
#[derive(Debug, Default)]
pub struct Connections {
    clients: Mutex<BTreeMap<Kind, Client>>,
    /// By `host[:port]`: the folder that is set up for it, if one is.
    folders: Mutex<BTreeMap<String, Option<PathBuf>>>,
    names: Names,
}

/// Whom we are about to speak to.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Peer<'a> {
    /// Where.
    pub url: &'a Url,
    /// Whether any certificate will do.
    pub insecure: bool,
    /// Whether it is the server that was named, and not one that it sent us to.
    pub named: bool,
}

/// What tells clients apart.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Kind {
    tls: Tls,
    proxied: bool,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Tls {
    None,
    Some {
        checked: bool,
        named: bool,
        folder: Option<PathBuf>,
    },
}

impl Connections {
    /// The client to speak to `peer` with.
    pub fn client(&self, peer: Peer<'_>, options: &Options) -> Result<Client, ConnectionsError> {
        if options.loopback_only && !address::is_loopback(peer.url) {
            return Err(ConnectionsError::Elsewhere {
                name: peer.url.origin().ascii_serialization(),
            });
        }
        let proxy = options.proxies.of(peer.url);
        let kind = Kind {
            proxied: proxy.is_some(),
            tls: match peer.url.scheme() {
                "https" => Tls::Some {
                    checked: !peer.insecure,
                    named: peer.named && options.trust.client_certificate.is_some(),
                    folder: self.folder(peer.url, &options.trust),
                },
                _ => Tls::None,
            },
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&kind) {
            return Ok(client.clone());
        }
        let tls = kind.tls.config(&options.trust, proxy);
        let tls = tls.map_err(ConnectionsError::Tls)?;
        let client = build(options, tls, proxy, &self.names)?;
        clients.insert(kind, client.clone());
        Ok(client)
    }

    fn folder(&self, url: &Url, trust: &TrustSettings) -> Option<PathBuf> {
        let name = address::authority(url);
        if name.starts_with('.') {
            // No name of a host, and not to become one of a folder.
            return None;
        }
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let known = folders.entry(name).or_insert_with_key(|name| {
            let mut found = trust.registry_folders.iter().map(|it| it.join(name));
            found.find(|it| it.is_dir())
        });
        known.clone()
    }
}

impl Tls {
    fn config(
        &self,
        trust: &TrustSettings,
        proxy: Option<&Secret>,
    ) -> Result<rustls::ClientConfig, TlsError> {
        let Self::Some {
            checked,
            named,
            folder,
        } = self
        else {
            return match proxy.filter(|it| it.reveal().starts_with("https://")) {
                // The proxy itself speaks TLS.
                Some(_) => tls::verified(trust, &HostFolder::default()),
                None => tls::none(),
            };
        };
        let folder = match folder {
            Some(folder) => HostFolder::read(folder)?,
            None => HostFolder::default(),
        };
        let own = trust.client_certificate.as_ref().filter(|_| *named);
        let folder = folder.with_own(own);
        if *checked {
            tls::verified(trust, &folder)
        } else {
            tls::unverified(&folder)
        }
    }
}

fn build(
    options: &Options,
    tls: rustls::ClientConfig,
    proxy: Option<&Secret>,
    names: &Names,
) -> Result<Client, ConnectionsError> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls)
        // Redirects and retries are ours: they decide where credentials go.
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        // What is hashed, measured and resumed are the bytes as they are stored. Any crate of a
        // program can switch these on for all of it.
        .no_gzip()
        .no_deflate()
        .no_brotli()
        .no_zstd()
        .user_agent(&options.user_agent)
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.silence_timeout)
        .http2_adaptive_window(true)
        .dns_resolver(Arc::new(names.clone()))
        // This machine, whatever a name server says (RFC 6761); so none is needed.
        .resolve_to_addrs("localhost", &LOCALHOST);
    if let Some(proxy) = proxy {
        builder = builder.proxy(proxy_of(proxy)?);
    }
    builder
        .build()
        .map_err(|error| ConnectionsError::Client(error.without_url()))
}

/// A proxy by its URL. Without a scheme it is one that speaks plain HTTP.
fn proxy_of(address: &Secret) -> Result<Proxy, ConnectionsError> {
    let text = match address.reveal().split_once("://") {
        Some(("http" | "https", _)) => address.clone(),
        Some(_) => return Err(ConnectionsError::ProxyScheme),
        None => format!("http://{}", address.reveal()).into(),
    };
    // The URL may hold a password.
    Proxy::all(text.reveal()).map_err(|error| ConnectionsError::Proxy(error.without_url()))
}

/// Why no connection can be made at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionsError {
    /// Only this machine may be asked, and that is another one.
    #[error("`{name}` is not on this machine, and only this machine may be asked")]
    Elsewhere {
        /// Which server.
        name: String,
    },
    /// The HTTP client could not be made.
    #[error("failed to set up HTTP")]
    Client(#[source] reqwest::Error),
    /// A proxy is given by something that is no URL.
    #[error("malformed proxy address")]
    Proxy(#[source] reqwest::Error),
    /// A proxy of a kind that we cannot speak to.
    #[error("the proxy's address is neither `http://…` nor `https://…`")]
    ProxyScheme,
    /// TLS could not be set up.
    #[error("failed to prepare a secure connection")]
    Tls(#[source] TlsError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_for_the_registry_that_it_is_named_for() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("certs.d");
        for name in ["r.example", "r.example:5000", ".hidden"] {
            fs_err::create_dir_all(inner.join(name)).unwrap();
        }
        let trust = TrustSettings {
            registry_folders: vec![inner.clone()],
            ..TrustSettings::default()
        };
        let connections = Connections::default();
        for (url, expected) in [
            ("https://r.example/v2/", Some("r.example")),
            ("https://r.example:5000/v2/", Some("r.example:5000")),
            ("https://r.example:5001/v2/", None),
            ("https://x.r.example/v2/", None),
            ("https://.hidden/v2/", None),
            ("https://../v2/", None),
            ("https://./v2/", None),
        ] {
            // What is no URL is asked by nobody.
            let Ok(url) = Url::parse(url) else { continue };
            let found = connections.folder(&url, &trust);
            assert_eq!(found, expected.map(|it| inner.join(it)), "{url}");
        }
    }
}
