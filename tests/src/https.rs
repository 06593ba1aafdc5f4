//! Connections to an HTTPS server of a test.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// One connection to an HTTPS server on this machine, whose certificate has to be by a private authority.
#[derive(Debug)]
pub struct Https {
    host: String,
    sender: Sender,
    /// PEM would be the same; DER is what tells two apart.
    certificate: Vec<u8>,
}

#[derive(Debug)]
enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// What came back.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Response {
    /// The status.
    pub status: u16,
    /// All of the body.
    pub body: Bytes,
}

impl Response {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Https {
    /// Connects by HTTP/2 or HTTP/1.1. An error says what went wrong, for people.
    pub async fn connect(
        address: SocketAddr,
        authority: &Path,
        version_2: bool,
    ) -> Result<Self, String> {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        let mut roots = rustls::RootCertStore::empty();
        let pem = fs_err::read(authority).map_err(|it| said(&it))?;
        for root in CertificateDer::pem_slice_iter(&pem) {
            let root = root.map_err(|it| said(&it))?;
            roots.add(root).map_err(|it| said(&it))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|it| said(&it))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let protocol: &[u8] = if version_2 { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(address).await.map_err(|it| said(&it))?;
        stream.set_nodelay(true).map_err(|it| said(&it))?;
        let name = ServerName::IpAddress(address.ip().into());
        let tls = TlsConnector::from(Arc::new(config));
        let stream = tls.connect(name, stream).await.map_err(|it| said(&it))?;
        let certificate = stream.get_ref().1.peer_certificates();
        let certificate = certificate
            .and_then(<[_]>::first)
            .map_or(Vec::new(), |it| it.to_vec());
        let io = TokioIo::new(stream);
        // The connection ends with what was sent on it.
        let sender = if version_2 {
            let shaken = http2::handshake(TokioExecutor::new(), io).await;
            let (sender, connection) = shaken.map_err(|it| said(&it))?;
            tokio::spawn(async move { drop(connection.await) });
            Sender::Two(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.map_err(|it| said(&it))?;
            tokio::spawn(async move { drop(connection.await) });
            Sender::One(sender)
        };
        Ok(Self {
            host: address.to_string(),
            sender,
            certificate,
        })
    }

    /// The certificate that the server showed.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Sends a request, and waits for the whole answer.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response, String> {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        let uri = match self.sender {
            Sender::One(_) => path.to_owned(),
            Sender::Two(_) => format!("https://{}{path}", self.host),
        };
        let mut request = Request::builder().method(method).uri(uri);
        if let Sender::One(_) = self.sender {
            request = request.header("host", &self.host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(body.into()))
            .map_err(|it| said(&it))?;
        let response = match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await.map_err(|it| said(&it))?;
                sender.send_request(request).await
            }
            Sender::Two(sender) => {
                let mut sender = sender.clone();
                sender.ready().await.map_err(|it| said(&it))?;
                sender.send_request(request).await
            }
        };
        let response = response.map_err(|it| said(&it))?;
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|it| said(&it))?;
        Ok(Response {
            status,
            body: body.to_bytes(),
        })
    }
}
