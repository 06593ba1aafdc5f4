//! A server that gives tokens for a registry.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::Certificates;

/// A token server on loopback, over TLS: whoever says that he is `me` with the password `hunter2` gets a
/// signed token (JWT) for all that he asks for, and everybody else nothing. Ends when it is dropped.
///
/// <https://distribution.github.io/distribution/spec/auth/jwt/>
#[derive(Debug)]
pub struct TokenServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TokenServer {
    /// Who the tokens say that made them.
    pub const ISSUER: &str = "test-issuer";

    /// Starts on a free port.
    ///
    /// # Panics
    /// If there is no loopback.
    pub fn start(certificates: &Certificates) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, certificates) = (stop.clone(), certificates.clone());
        let config = Arc::new(tls(&certificates));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let connection =
                    ServerConnection::new(config.clone()).expect("the settings are good");
                let mut stream = StreamOwned::new(connection, stream);
                // A client that goes away has no answer to get.
                answer(&mut stream, &certificates).unwrap_or_default();
                stream.conn.send_close_notify();
                stream.flush().unwrap_or_default();
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }

    /// Its address, as a registry names it.
    pub fn realm(&self) -> String {
        // Some do not follow a registry to an address of this machine, but to its name.
        format!("https://localhost:{}/token", self.address.port())
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It waits for somebody to come.
        drop(TcpStream::connect(self.address));
        self.thread
            .take()
            .map_or(Ok(()), JoinHandle::join)
            .unwrap_or_default();
    }
}

fn tls(certificates: &Certificates) -> ServerConfig {
    let certificate = CertificateDer::from_pem_file(certificates.certificate("server"));
    let key = PrivateKeyDer::from_pem_file(certificates.key("server"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.expect("it was made")],
            key.expect("it was made"),
        )
        .expect("they belong together")
}

fn answer(stream: &mut (impl Read + Write), certificates: &Certificates) -> std::io::Result<()> {
    let mut lines = BufReader::new(&mut *stream).lines();
    let target = lines.next().transpose()?.unwrap_or_default();
    let mut known = false;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").unwrap_or_default();
        known |= name.eq_ignore_ascii_case("authorization")
            && value == format!("Basic {}", STANDARD.encode("me:hunter2"));
    }
    let (status, body) = if !target.starts_with("GET /token") {
        ("404 Not Found", json!({}))
    } else if known {
        let token = sign(&claims(&target), certificates);
        ("200 OK", json!({ "token": token, "expires_in": 300 }))
    } else {
        let errors = json!([{ "code": "UNAUTHORIZED", "message": "who are you?" }]);
        ("401 Unauthorized", json!({ "errors": errors }))
    };
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// What the one who asks for `target` may do: all of it.
fn claims(target: &str) -> Value {
    let url = target.split(' ').nth(1).unwrap_or_default();
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = crate::registry::pairs_of(query);
    let access: Vec<_> = query
        .filter(|(name, _)| name == "scope")
        .flat_map(|(_, scopes)| {
            let scopes = scopes.split(' ').map(str::to_owned);
            scopes.collect::<Vec<_>>()
        })
        .filter_map(|scope| {
            let (resource, actions) = scope.rsplit_once(':')?;
            let (kind, name) = resource.split_once(':')?;
            let actions: Vec<_> = actions.split(',').collect();
            Some(json!({ "type": kind, "name": name, "actions": actions }))
        })
        .collect();
    #[expect(
        clippy::disallowed_methods,
        reason = "the registry compares with the clock"
    )]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |it| it.as_secs());
    json!({
        "iss": TokenServer::ISSUER,
        "sub": "me",
        "aud": "test",
        "exp": now + 300,
        "nbf": now - 10,
        "iat": now,
        "jti": now.to_string(),
        "access": access,
    })
}

/// A token of these claims, with the certificate that proves it.
fn sign(claims: &Value, certificates: &Certificates) -> String {
    let pem = fs_err::read_to_string(certificates.certificate("tokens")).expect("it was made");
    let certificate: String = pem.lines().filter(|it| !it.starts_with('-')).collect();
    let header = json!({ "typ": "JWT", "alg": "RS256", "x5c": [certificate] });
    let part = |it: &Value| URL_SAFE_NO_PAD.encode(it.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let mut child = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(certificates.key("tokens"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl made the key");
    let input = child.stdin.take();
    input
        .map_or(Ok(()), |mut it| it.write_all(signed.as_bytes()))
        .expect("openssl reads");
    let signature = child.wait_with_output().expect("openssl ends").stdout;
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
