//! How we know whom we speak to, and they us.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::{ClientCertificate, TrustSettings};

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
pub(crate) fn none() -> Result<ClientConfig, TlsError> {
    Ok(builder()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// Trusts what `settings` say, or the system does, and what `folder` has for this server.
pub(crate) fn verified(
    settings: &TrustSettings,
    folder: &HostFolder,
) -> Result<ClientConfig, TlsError> {
    let (roots, named) = roots(settings, folder)?;
    let builder = builder()?;
    if named.is_empty() {
        return with_own_certificate(builder.with_root_certificates(roots), folder);
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let inner =
        inner.map_err(|error| TlsError::Setup(rustls::Error::General(error.to_string())))?;
    let verifier = Arc::new(OrNamed { inner, named });
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    with_own_certificate(builder, folder)
}

/// Accepts what leads to a root, and a certificate that was itself named: with `openssl req -x509` people
/// make servers one that is its own authority, which no chain may end with otherwise.
#[derive(Debug)]
struct OrNamed {
    inner: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OrNamed {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self
            .inner
            .verify_server_cert(certificate, between, server, ocsp, now);
        let Err(error) = &verified else {
            return verified;
        };
        // When it is said, times have been checked; names have not.
        let is_authority = format!("{error:?}").contains("CaUsedAsEndEntity");
        if !is_authority || !self.named.iter().any(|it| it == certificate) {
            return verified;
        }
        let parsed = rustls::server::ParsedCertificate::try_from(certificate)?;
        rustls::client::verify_server_name(&parsed, server)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Trusts anybody: for servers that were named as insecure.
pub(crate) fn unverified(folder: &HostFolder) -> Result<ClientConfig, TlsError> {
    let builder = builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider())));
    with_own_certificate(builder, folder)
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
    folder: &HostFolder,
) -> Result<ClientConfig, TlsError> {
    let mut config = match &folder.own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let malformed = |what: &str| TlsError::Malformed {
                what: what.to_owned(),
            };
            let chain = CertificateDer::pem_slice_iter(&own.chain)
                .collect::<Result<Vec<_>, _>>()
                .ok()
                .filter(|it| !it.is_empty())
                .ok_or_else(|| malformed("client certificate: no PEM certificate"))?;
            // The error is dropped because it may quote a secret.
            let key = PrivateKeyDer::from_pem_slice(own.key.reveal().as_bytes())
                .ok()
                .ok_or_else(|| malformed("client key: no unencrypted PEM private key"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(TlsError::Setup)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// All whom we trust, and those of them that somebody named.
fn roots(
    settings: &TrustSettings,
    folder: &HostFolder,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
    let mut roots = RootCertStore::empty();
    let mut named = Vec::new();
    // Systems carry roots that we cannot read; those are skipped.
    let mut add = |pem: &[u8]| {
        let all: Vec<_> = CertificateDer::pem_slice_iter(pem).flatten().collect();
        let count = roots.add_parsable_certificates(all.iter().cloned());
        (count, all)
    };
    if settings.roots_file.is_some() || !settings.roots_folders.is_empty() {
        if let Some(path) = &settings.roots_file {
            named.extend(add(&read(path)?).1);
        }
        for folder in &settings.roots_folders {
            // Lists of folders name some that are not everywhere.
            for path in files_in(folder)?.unwrap_or_default() {
                named.extend(add(&read(&path)?).1);
            }
        }
    } else {
        let found = BUNDLES
            .iter()
            .filter_map(|path| std::fs::read(path).ok())
            .any(|pem| add(&pem).0.0 > 0);
        if !found {
            roots.add_parsable_certificates(
                webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned(),
            );
        }
    }
    for pem in settings.extra_roots.iter().chain(&folder.roots) {
        let malformed = || TlsError::Malformed {
            what: "extra root certificate".to_owned(),
        };
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.ok().ok_or_else(malformed)?;
            named.push(certificate.clone());
            roots.add(certificate).map_err(TlsError::Setup)?;
        }
        if roots.len() == before {
            return Err(malformed());
        }
    }
    if roots.is_empty() {
        named.clear();
    }
    Ok((roots, named))
}

/// What is set up for one server.
#[derive(Debug, Default)]
pub(crate) struct HostFolder {
    /// More roots, PEM.
    roots: Vec<Vec<u8>>,
    /// Who we are.
    own: Option<ClientCertificate>,
}

impl HostFolder {
    /// Reads a folder of `certs.d`. Of several certificates of our own, the first by name is shown.
    ///
    /// <https://github.com/containers/image/blob/main/docs/containers-certs.d.5.md>
    pub(crate) fn read(folder: &Path) -> Result<Self, TlsError> {
        let mut found = Self::default();
        let paths = match files_in(folder) {
            // Nobody named it: where it is not for us, we trust nobody more.
            Err(TlsError::Read { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                return Ok(found);
            }
            paths => paths?.unwrap_or_default(),
        };
        for path in paths {
            let ending = path.extension().and_then(|it| it.to_str());
            let (own, partner) = match ending {
                Some("crt") => {
                    found.roots.push(read(&path)?);
                    continue;
                }
                Some("cert") => (true, path.with_extension("key")),
                Some("key") => (false, path.with_extension("cert")),
                _ => continue,
            };
            if !partner.is_file() {
                return Err(TlsError::Partner {
                    path: path.display().to_string(),
                    partner: partner.display().to_string(),
                });
            }
            if own && found.own.is_none() {
                let key = zeroize::Zeroizing::new(read(&partner)?);
                let key = std::str::from_utf8(&key).unwrap_or_default();
                found.own = Some(ClientCertificate {
                    chain: read(&path)?,
                    key: key.into(),
                });
            }
        }
        Ok(found)
    }

    /// With `own` in place of our certificate that is set up, if there is one.
    pub(crate) fn with_own(mut self, own: Option<&ClientCertificate>) -> Self {
        self.own = own.cloned().or(self.own);
        self
    }
}

/// The files of a folder, sorted; `None` if there is no such folder.
fn files_in(folder: &Path) -> Result<Option<Vec<PathBuf>>, TlsError> {
    let failed = |source| TlsError::Read {
        path: folder.display().to_string(),
        source,
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.retain(|it| it.is_file());
    paths.sort();
    Ok(Some(paths))
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
pub enum TlsError {
    /// What was given is no PEM, or holds nothing.
    #[error("malformed {what}")]
    Malformed {
        /// Which of the settings.
        what: String,
    },
    /// Half of a pair.
    #[error("`{path}` is of no use without `{partner}`")]
    Partner {
        /// What is there.
        path: String,
        /// What is not.
        partner: String,
    },
    /// A file could not be read.
    #[error("failed to read certificates from `{path}`")]
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

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn certificate(chain: &str, key: &str) -> ClientCertificate {
        ClientCertificate {
            chain: chain.into(),
            key: key.into(),
        }
    }

    fn problem<T>(result: Result<T, TlsError>) -> String {
        result.err().map(|it| it.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_was_given_has_to_be_something() {
        let folder = |own| HostFolder::default().with_own(Some(&own));
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        for chain in ["", "hunter2", broken] {
            for made in [
                verified(
                    &TrustSettings::default(),
                    &folder(certificate(chain, "hunter2")),
                ),
                unverified(&folder(certificate(chain, "hunter2"))),
            ] {
                let text = problem(made);
                assert!(text.contains("no PEM certificate"), "{text}");
            }
        }
        let good = webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].as_ref();
        let good = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            STANDARD.encode(good)
        );
        let with = |root: &str| {
            let settings = TrustSettings {
                extra_roots: vec![root.into()],
                ..TrustSettings::default()
            };
            problem(verified(&settings, &HostFolder::default()))
        };
        assert_eq!(with(&good), "");
        for root in ["", "x", broken, &format!("{good}{broken}")] {
            let text = with(root);
            assert!(text.contains("extra root certificate"), "{text}");
        }
        let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_ne!(with(&format!("{good}{none}")), "");
    }

    #[test]
    fn roots_that_are_named_have_to_be_there() {
        let settings = TrustSettings {
            roots_file: Some("/surely/not/there".into()),
            ..TrustSettings::default()
        };
        let text = problem(verified(&settings, &HostFolder::default()));
        assert!(text.contains("/surely/not/there"), "{text}");
        // A folder need not be there, but what is there has to be readable.
        let folder = tempfile::tempdir().unwrap();
        let of = |path: &Path| {
            let settings = TrustSettings {
                roots_folders: vec![path.to_owned()],
                ..TrustSettings::default()
            };
            problem(verified(&settings, &HostFolder::default()))
        };
        assert_eq!(of(&folder.path().join("none")), "");
        let file = folder.path().join("file");
        fs_err::write(&file, "").unwrap();
        assert!(of(&file).contains("failed to read"));
        // Of this file nobody can read the beginning.
        std::os::unix::fs::symlink("/proc/self/mem", folder.path().join("x.pem")).unwrap();
        assert!(of(folder.path()).contains("failed to read"));
    }

    #[test]
    fn of_several_certificates_of_our_own_the_first_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b", "a", "c"] {
            for ending in ["cert", "key"] {
                let path = folder.path().join(format!("{name}.{ending}"));
                fs_err::write(path, name).unwrap();
            }
        }
        // What is no file is none of them.
        fs_err::create_dir(folder.path().join("0.cert")).unwrap();
        let own = HostFolder::read(folder.path()).unwrap().own.unwrap();
        assert_eq!(own.chain, b"a");
        assert_eq!(own.key.reveal(), "a");
    }

    #[test]
    fn half_of_a_pair_is_of_no_use() {
        for (name, partner) in [("mine.cert", "mine.key"), ("mine.key", "mine.cert")] {
            let folder = tempfile::tempdir().unwrap();
            fs_err::write(folder.path().join(name), "x").unwrap();
            let text = problem(HostFolder::read(folder.path()));
            assert!(text.contains(partner), "{text}");
        }
    }

    #[test]
    fn what_was_named_goes_before_what_is_set_up() {
        let set_up = HostFolder {
            roots: Vec::new(),
            own: Some(certificate("set up", "")),
        };
        let named = certificate("named", "");
        let chosen = set_up.with_own(Some(&named)).own.unwrap();
        assert_eq!(chosen.chain, b"named");
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert!(files_in(&path).unwrap().is_none());
        fs_err::write(&path, "").unwrap();
        assert!(matches!(files_in(&path), Err(TlsError::Read { .. })));
    }
}
