use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::options::TrustSettings;

/// Where systems keep their roots, one file each.
const BUNDLES: [&str; 7] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
];

/// For connections that use no TLS: trusts nobody, loads nothing.
pub(super) fn none() -> Result<ClientConfig, TlsError> {
    Ok(builder()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// Trusts what `settings` say, or the system does.
pub(super) fn verified(settings: &TrustSettings) -> Result<ClientConfig, TlsError> {
    let builder = builder()?.with_root_certificates(roots(settings)?);
    with_own_certificate(builder, settings)
}

/// Trusts anybody: for registries that were named as insecure.
pub(super) fn unverified(settings: &TrustSettings) -> Result<ClientConfig, TlsError> {
    let builder = builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider())));
    with_own_certificate(builder, settings)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)
}

fn with_own_certificate(
    builder: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
    settings: &TrustSettings,
) -> Result<ClientConfig, TlsError> {
    let mut config = match &settings.client_certificate {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let malformed = |what| move |_| TlsError::Malformed { what };
            let chain = CertificateDer::pem_slice_iter(&own.chain)
                .collect::<Result<Vec<_>, _>>()
                .map_err(malformed("client certificate"))?;
            let key = PrivateKeyDer::from_pem_slice(own.key.reveal().as_bytes())
                .map_err(malformed("client key"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(TlsError::Setup)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(settings: &TrustSettings) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // Systems carry roots that we cannot read; those are skipped.
    let mut add =
        |pem: &[u8]| roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    if settings.roots_file.is_some() || settings.roots_folder.is_some() {
        if let Some(path) = &settings.roots_file {
            add(&read(path)?);
        }
        if let Some(folder) = &settings.roots_folder {
            let failed = |source| TlsError::Read {
                path: folder.display().to_string(),
                source,
            };
            for entry in std::fs::read_dir(folder).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                if path.is_file() {
                    add(&read(&path)?);
                }
            }
        }
    } else {
        let found = BUNDLES
            .iter()
            .filter_map(|path| std::fs::read(path).ok())
            .any(|pem| add(&pem).0 > 0);
        if !found {
            roots.add_parsable_certificates(
                webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned(),
            );
        }
    }
    for pem in &settings.extra_roots {
        let malformed = || TlsError::Malformed {
            what: "extra root certificate",
        };
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.ok().ok_or_else(malformed)?;
            roots.add(certificate).map_err(TlsError::Setup)?;
        }
        if roots.len() == before {
            return Err(malformed());
        }
    }
    Ok(roots)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        path: path.display().to_string(),
        source,
    })
}

/// Why no secure connection can be made at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum TlsError {
    /// What was given is no PEM, or holds nothing.
    #[error("malformed {what}")]
    Malformed {
        /// Which of the settings.
        what: &'static str,
    },
    /// A file could not be read.
    #[error("failed to read root certificates from `{path}`")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The settings do not fit each other.
    #[error("failed to set up TLS")]
    Setup(#[source] rustls::Error),
}

/// Accepts any certificate, of anybody.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
