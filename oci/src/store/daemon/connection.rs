//! A stream of bytes to the daemon, wherever it is, and HTTP on it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::DaemonAddress;
use super::problem::DaemonProblem;
use super::ssh::Ssh;

/// What is sent with a request.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// One connection; serves one request after the other.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Body>,
    /// Keeps the way open.
    pub(super) ssh: Option<Ssh>,
}

impl Connection {
    pub(super) async fn open(address: &DaemonAddress) -> Result<Self, DaemonProblem> {
        match address {
            DaemonAddress::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                Self::over(stream.map_err(DaemonProblem::connect)?, None).await
            }
            DaemonAddress::Tcp { host, port, tls } => {
                let stream = connect(host, *port).await.map_err(DaemonProblem::connect)?;
                stream.set_nodelay(true).map_err(DaemonProblem::connect)?;
                let Some(tls) = tls else {
                    return Self::over(stream, None).await;
                };
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other);
                let name = name.map_err(DaemonProblem::tls)?;
                let connector = TlsConnector::from(tls.0.clone());
                let stream = connector.connect(name, stream).await;
                Self::over(stream.map_err(DaemonProblem::tls)?, None).await
            }
            DaemonAddress::Ssh(target) => {
                let (stream, ssh) = target.start().map_err(DaemonProblem::NoSsh)?;
                Self::over(stream, Some(ssh)).await
            }
        }
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        ssh: Option<Ssh>,
    ) -> Result<Self, DaemonProblem> {
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(DaemonProblem::broken)?;
        // How a connection ends is seen by whoever waits for an answer.
        tokio::spawn(async { drop(driver.await) });
        Ok(Self { sender, ssh })
    }
}

/// Connects to the first address that answers. There is no getaddrinfo in a static program.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<IpAddr> = match host.parse() {
        Ok(address) => vec![address],
        // This machine, whatever a name server says (RFC 6761).
        Err(_) if host == "localhost" => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        Err(_) => net::addresses(host).await.map_err(io::Error::other)?,
    };
    let mut failed = io::Error::other("the name has no address");
    for address in addresses {
        match TcpStream::connect((address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
