//! A daemon that is reached by TLS.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::settings::{DaemonAddressError, read};

/// How a daemon and its clients know each other by TLS.
#[derive(Clone)]
pub struct DaemonTls(pub(super) Arc<ClientConfig>);

impl DaemonTls {
    /// Of the files that Docker has for this: `ca.pem`, who vouches for the daemon; `cert.pem` and
    /// `key.pem`, who we are. The latter two may be missing, together.
    ///
    /// <https://docs.docker.com/engine/security/protect-access/>
    pub fn read(folder: &Path) -> Result<Self, DaemonAddressError> {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| DaemonAddressError::Certificates {
                folder: folder.to_owned(),
                source,
            };
        let path = folder.join("ca.pem");
        let Some(pem) = read(&path)? else {
            return Err(DaemonAddressError::Read {
                path,
                source: std::io::Error::new(std::io::ErrorKind::NotFound, "no such file"),
            });
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|it| failed(it.into()))?;
            roots.add(certificate).map_err(|it| failed(it.into()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|it| failed(it.into()))?
            .with_root_certificates(roots);
        let chain = read(&folder.join("cert.pem"))?;
        let key = read(&folder.join("key.pem"))?.map(Zeroizing::new);
        let config = match (chain, key) {
            (Some(chain), Some(key)) => {
                let chain = CertificateDer::pem_slice_iter(&chain)
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|it| failed(it.into()))?;
                let key = PrivateKeyDer::from_pem_slice(&key).map_err(|it| failed(it.into()))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|it| failed(it.into()))?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => return Err(failed("one of `cert.pem` and `key.pem` is missing".into())),
        };
        Ok(Self(Arc::new(config)))
    }
}

impl fmt::Debug for DaemonTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DaemonTls")
    }
}
