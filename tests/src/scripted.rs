//! A server whose answers a test writes.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::Certificates;

/// The most bytes of a request that are read.
const MAX_BYTES: usize = 16 << 20;

/// A server on loopback each of whose answers is written by the test: for what no server should send.
/// It takes one request a connection. Ends when it is dropped.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    log: Arc<Mutex<Vec<Asked>>>,
    open: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A request, as it came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Asked {
    /// `METHOD PATH?QUERY`; `TLS` for somebody who speaks that to a server which does not.
    pub line: String,
    /// By their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// As many bytes as were announced, or as came.
    pub body: Vec<u8>,
    /// Whether the client showed a certificate.
    pub certificate: bool,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Reply {
    head: String,
    body: Vec<u8>,
    then: Then,
}

/// What follows the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    End,
    /// Nothing, until the client goes away.
    Silence,
    /// A byte now and then, until the client goes away.
    Trickle,
}

impl Reply {
    /// An answer with this status, and no body.
    pub fn new(status: u16) -> Self {
        Self {
            head: format!("HTTP/1.1 {status} Scripted\r\nConnection: close\r\n"),
            body: Vec::new(),
            then: Then::End,
        }
    }

    /// The end of the connection, in place of an answer.
    pub fn none() -> Self {
        Self {
            head: String::new(),
            body: Vec::new(),
            then: Then::End,
        }
    }

    /// With this header: `Name: value`.
    #[must_use]
    pub fn header(mut self, header: impl AsRef<str>) -> Self {
        self.head.push_str(header.as_ref());
        self.head.push_str("\r\n");
        self
    }

    /// With this body, and the header that says how long it is.
    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        self.header(format!("Content-Length: {}", body.len()))
            .unsized_body(body)
    }

    /// With this body, which ends with the connection.
    #[must_use]
    pub fn unsized_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// After which nothing comes, nor the end.
    #[must_use]
    pub fn then_silence(mut self) -> Self {
        self.then = Then::Silence;
        self
    }

    /// After which a byte comes now and then, without end.
    #[must_use]
    pub fn then_trickle(mut self) -> Self {
        self.then = Then::Trickle;
        self
    }
}

impl Scripted {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// If there is no loopback.
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(None, answer)
    }

    /// The same over TLS. It asks for a certificate of the client, and does without.
    ///
    /// # Panics
    /// If there is no loopback.
    pub fn start_tls(
        certificates: &Certificates,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::with(Some(Arc::new(tls(certificates))), answer)
    }

    fn with(
        config: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let (log, stop) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::default());
        let (logged, stopped) = (log.clone(), Arc::<AtomicBool>::clone(&stop));
        let open = Arc::<AtomicUsize>::default();
        let counted = open.clone();
        let answer = Arc::new(answer);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (config, answer, log) = (config.clone(), answer.clone(), logged.clone());
                let open = counted.clone();
                open.fetch_add(1, Ordering::SeqCst);
                // It ends when its client goes away, or soon after.
                drop(std::thread::spawn(move || {
                    // A client that goes away has no answer to get.
                    serve(&stream, config, &*answer, &log).unwrap_or_default();
                    open.fetch_sub(1, Ordering::SeqCst);
                }));
            }
        });
        Self {
            address,
            log,
            open,
            stop,
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What it was asked so far, by clients that wait for nothing any more.
    pub fn asked(&self) -> Vec<Asked> {
        self.settle().unwrap_or_default();
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.clone()
    }

    /// The same, without headers and bodies.
    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|it| it.line).collect()
    }
}

impl Scripted {
    /// Waits until all is logged of whom there is: a client may be done before the server is.
    #[expect(
        clippy::disallowed_methods,
        reason = "a server that does not settle must not hold up the test"
    )]
    fn settle(&self) -> std::io::Result<()> {
        // Whoever came before us was let in when we are.
        let mut last = TcpStream::connect(self.address)?;
        last.set_read_timeout(Some(Duration::from_secs(5)))?;
        last.shutdown(Shutdown::Write)?;
        while last.read(&mut [0])? > 0 {}
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.open.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Scripted {
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
    let read = |path| CertificateDer::from_pem_file(path).expect("it was made");
    let key = PrivateKeyDer::from_pem_file(certificates.key("server")).expect("it was made");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(read(certificates.ca()))
        .expect("it is an authority");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .expect("there is a root");
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![read(certificates.certificate("server"))], key)
        .expect("they belong together")
}

fn serve(
    mut stream: &TcpStream,
    config: Option<Arc<ServerConfig>>,
    answer: &(impl Fn(&Asked) -> Reply + ?Sized),
    log: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    // No test takes as long.
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    let keep = |asked: Asked| {
        log.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(asked);
    };
    let mut first = [0];
    if stream.peek(&mut first)? == 0 {
        return Ok(());
    }
    let Some(config) = config else {
        if first == [0x16] {
            keep(Asked {
                line: "TLS".to_owned(),
                ..Asked::default()
            });
            return Ok(());
        }
        let asked = read(&mut stream)?;
        keep(asked.clone());
        return send(&mut stream, &answer(&asked));
    };
    let connection = ServerConnection::new(config).expect("the settings are good");
    let mut stream = StreamOwned::new(connection, stream);
    let mut asked = match read(&mut stream) {
        Ok(asked) => asked,
        Err(error) => {
            keep(Asked {
                line: "TLS".to_owned(),
                ..Asked::default()
            });
            return Err(error);
        }
    };
    asked.certificate = stream.conn.peer_certificates().is_some();
    keep(asked.clone());
    send(&mut stream, &answer(&asked))?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn read(stream: &mut impl Read) -> std::io::Result<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            break at;
        }
        more(stream, &mut bytes)?;
    };
    let body = bytes.split_off(end + 4);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let line = first.rsplit_once(' ').map_or(first, |(line, _)| line);
    let mut asked = Asked {
        line: line.to_owned(),
        headers: lines
            .filter_map(|it| it.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body,
        certificate: false,
    };
    let announced = asked.headers.get("content-length");
    let announced: usize = announced.and_then(|it| it.parse().ok()).unwrap_or(0);
    while asked.body.len() < announced {
        if more(stream, &mut asked.body).is_err() {
            break;
        }
    }
    Ok(asked)
}

fn more(stream: &mut impl Read, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    let mut chunk = vec![0; 64 << 10];
    let count = stream.read(&mut chunk)?;
    if count == 0 || bytes.len() > MAX_BYTES {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    bytes.extend(chunk.into_iter().take(count));
    Ok(())
}

fn send(stream: &mut (impl Read + Write), reply: &Reply) -> std::io::Result<()> {
    if reply.head.is_empty() {
        return Ok(());
    }
    stream.write_all(reply.head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    stream.write_all(&reply.body)?;
    stream.flush()?;
    match reply.then {
        Then::End => {}
        Then::Silence => {
            // Until it goes away.
            while stream.read(&mut [0; 1024])? > 0 {}
        }
        Then::Trickle => loop {
            stream.write_all(b" ")?;
            stream.flush()?;
            std::thread::sleep(Duration::from_millis(5));
        },
    }
    Ok(())
}
