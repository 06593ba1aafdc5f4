//! The certificate, which is renewed under us.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// More than any file of certificates.
const MAX_BYTES: u64 = 1 << 20;

/// A certificate and its key, as they lie in files. New connections see what was read last.
#[derive(Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Held {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&held))
    }
}

impl Certificate {
    /// Reads both, PEM.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let held = read(certificate, key, &provider)?;
        Ok(Self {
            chain: certificate.to_owned(),
            key: key.to_owned(),
            provider,
            held: Arc::new(Held(RwLock::new(held))),
        })
    }

    /// Reads them again. If they are no pair, the old one stays.
    pub(crate) fn reload(&self) -> Result<(), CertificateError> {
        let new = read(&self.chain, &self.key, &self.provider)?;
        *self.held.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// The files.
    pub(crate) fn watched(&self) -> [PathBuf; 2] {
        [self.chain.clone(), self.key.clone()]
    }

    /// How to speak TLS with it: HTTP/2 or HTTP/1.1 inside.
    pub(crate) fn config(&self) -> Result<Arc<rustls::ServerConfig>, CertificateError> {
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&self.provider));
        let mut config = builder
            .with_safe_default_protocol_versions()
            .map_err(|source| self.malformed(source))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.held) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn malformed(&self, source: rustls::Error) -> CertificateError {
        CertificateError::Pair {
            certificate: self.chain.clone(),
            key: self.key.clone(),
            source,
        }
    }
}

fn read(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, CertificateError> {
    let malformed = |path: &Path| {
        let path = path.to_owned();
        |source| CertificateError::Pem { path, source }
    };
    let text = bytes(certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(malformed(certificate))?;
    if chain.is_empty() {
        return Err(malformed(certificate)(pem::Error::NoItemsFound));
    }
    let private = PrivateKeyDer::from_pem_slice(&bytes(key)?).map_err(malformed(key))?;
    CertifiedKey::from_der(chain, private, provider)
        .map(Arc::new)
        .map_err(|source| CertificateError::Pair {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        })
}

fn bytes(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |source| CertificateError::Read {
        path: path.to_owned(),
        source,
    };
    let read = std::fs::File::open(path).and_then(|file| oci::read_at_most(file, MAX_BYTES));
    let bytes = read.map_err(failed)?;
    bytes.ok_or_else(|| failed(std::io::ErrorKind::FileTooLarge.into()))
}

/// Why there is no certificate. The private key is never shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not PEM, or holds something else.
    #[error("`{}` is malformed", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// They are no pair.
    #[error("the certificate `{}` and the key `{}` cannot be used together", certificate.display(), key.display())]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}
