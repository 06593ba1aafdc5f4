//! A port at which such a daemon is reached by TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::TestDaemon;
use crate::Certificates;

/// A port at which a [`TestDaemon`] is reached by TLS, with the certificate of `server`; it asks for
/// that of `client`. Ends when it is dropped.
#[derive(Debug)]
pub struct TlsPort {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TlsPort {
    /// Opens it at an address of loopback; the certificate is for 127.0.0.1.
    ///
    /// # Panics
    /// If the certificates are none.
    pub fn open(daemon: &TestDaemon, certificates: &Certificates, address: Ipv4Addr) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config(certificates)));
        let listener = std::net::TcpListener::bind((address, 0));
        let listener = listener.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel();
        let socket = daemon.socket();
        let thread = std::thread::spawn(move || run(listener, &acceptor, &socket, stopped));
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for TlsPort {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has failed the test by its broken connection already.
            drop(thread.join());
        }
    }
}

fn config(certificates: &Certificates) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(certificates.ca()).expect("the authority's");
    roots.add(ca).expect("it is one");
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let verifier = verifier.build().expect("there is an authority");
    let chain = CertificateDer::from_pem_file(certificates.certificate("server"));
    let key = PrivateKeyDer::from_pem_file(certificates.key("server"));
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the usual versions are there")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![chain.expect("the server's")], key.expect("its key"))
        .expect("they belong together")
}

fn run(
    listener: std::net::TcpListener,
    acceptor: &TlsAcceptor,
    socket: &Path,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        listener
            .set_nonblocking(true)
            .expect("a socket can be asked not to block");
        let listener = TcpListener::from_std(listener).expect("it is a socket");
        let accept = async {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let (acceptor, socket) = (acceptor.clone(), socket.to_owned());
                tokio::spawn(async move {
                    // The client sees what is wrong, and nobody else has to.
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    if let Ok(mut daemon) = UnixStream::connect(socket).await {
                        let copied = tokio::io::copy_bidirectional(&mut stream, &mut daemon).await;
                        drop(copied);
                    }
                });
            }
        };
        tokio::select! {
            () = accept => {}
            // An error means that the sender is gone, which is how we are told.
            _ = stopped => {}
        }
    });
}
