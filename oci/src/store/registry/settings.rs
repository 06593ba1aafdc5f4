//! What is set up for registries in one call.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use net::{ClientCertificate, ProxySettings, TrustSettings};

use super::{Mirrors, MirrorsError, RegistryOptions};
use crate::auth::{ConfigFile, Credentials, CredentialsError};

/// More than any file of certificates.
const MAX_CERTIFICATES: u64 = 16 << 20;

/// What is said about registries in one call, beside what is set up for all such clients.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made with `..RegistrySettings::default()`"
)]
pub struct RegistrySettings {
    /// As [`RegistryOptions::insecure`].
    pub insecure: Vec<String>,
    /// Files of more root certificates, PEM.
    pub roots: Vec<PathBuf>,
    /// Our certificate and its key, PEM.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Where mirrors are named.
    pub mirrors: MirrorSettings,
    /// The one file with credentials, and not those that Docker and Podman keep.
    pub authfile: Option<PathBuf>,
    /// The credentials, if they are known: then none are looked for.
    pub credentials: Option<Credentials>,
}

/// Where mirrors are named.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum MirrorSettings {
    /// Where [`Mirrors::find`] looks.
    #[default]
    Found,
    /// In this file, and `CNB_REGISTRY_MIRRORS`.
    File(PathBuf),
    /// In `CNB_REGISTRY_MIRRORS` alone.
    Variable,
    /// Nowhere: no mirror is asked.
    Nowhere,
}

impl RegistryOptions {
    /// All that is said and set up: credentials, certificates, proxies, mirrors. Reads the files that
    /// this takes, and connects to nothing.
    pub fn find(
        home: Option<&Path>,
        variables: &BTreeMap<String, String>,
        said: &RegistrySettings,
    ) -> Result<Self, RegistryOptionsError> {
        let mut trust = TrustSettings::find(home, variables);
        for path in &said.roots {
            trust.extra_roots.push(read(path)?);
        }
        if let Some((certificate, key)) = &said.client_certificate {
            trust.client_certificate = Some(ClientCertificate {
                chain: read(certificate)?,
                key: String::from_utf8_lossy(&read(key)?).as_ref().into(),
            });
        }
        let temporary = variables.get("TMPDIR").map(PathBuf::from);
        let found = Self {
            credentials: match &said.credentials {
                Some(known) => known.clone(),
                None => credentials(home, variables, said.authfile.as_deref())
                    .map_err(RegistryOptionsError::Credentials)?,
            },
            insecure: said.insecure.clone(),
            trust,
            proxies: ProxySettings::find(variables),
            mirrors: mirrors(home, variables, &said.mirrors)
                .map_err(RegistryOptionsError::Mirrors)?,
            ..Self::default()
        };
        Ok(match temporary.filter(|it| it.is_absolute()) {
            Some(temporary) => Self { temporary, ..found },
            None => found,
        })
    }
}

fn credentials(
    home: Option<&Path>,
    variables: &BTreeMap<String, String>,
    authfile: Option<&Path>,
) -> Result<Credentials, CredentialsError> {
    let Some(path) = authfile else {
        return Credentials::find(home, variables);
    };
    let mut found = Credentials::default();
    if let Some(text) = variables.get("CNB_REGISTRY_AUTH") {
        found = found.with_cnb_registry_auth(text)?;
    }
    match ConfigFile::read(path)? {
        Some(file) => Ok(found.with_file(file)),
        // Who names a file does not want to be a stranger.
        None => Err(CredentialsError::Io {
            path: path.to_owned(),
            action: "read",
            source: missing(),
        }),
    }
}

/// That a file is not there.
pub(super) fn missing() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no such file")
}

fn mirrors(
    home: Option<&Path>,
    variables: &BTreeMap<String, String>,
    said: &MirrorSettings,
) -> Result<Mirrors, MirrorsError> {
    match said {
        MirrorSettings::Found => Mirrors::find(None, home, variables),
        MirrorSettings::File(path) => Mirrors::find(Some(path), home, variables),
        MirrorSettings::Variable => match variables.get("CNB_REGISTRY_MIRRORS") {
            Some(text) => Mirrors::default().with_cnb_registry_mirrors(text),
            None => Ok(Mirrors::default()),
        },
        MirrorSettings::Nowhere => Ok(Mirrors::default()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RegistryOptionsError> {
    let failed = |source| RegistryOptionsError::Read {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    crate::read_at_most(file, MAX_CERTIFICATES)
        .map_err(failed)?
        .ok_or_else(|| RegistryOptionsError::TooLarge {
            path: path.to_owned(),
        })
}

/// Why it is not known how to reach registries.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "each has to be answered")]
pub enum RegistryOptionsError {
    /// The credentials.
    #[error("failed to read the registries' credentials")]
    Credentials(#[source] CredentialsError),
    /// The mirrors.
    #[error(transparent)]
    Mirrors(MirrorsError),
    /// A file of certificates could not be read.
    #[error("failed to read certificates from `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than any file of certificates.
    #[error("malformed file of certificates `{}`: too large", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
}
