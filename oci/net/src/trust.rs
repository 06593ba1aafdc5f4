//! Whom to trust to say which server is which, and who we are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Secret;

/// Certificates to trust, and our own.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made with `..TrustSettings::default()`"
)]
pub struct TrustSettings {
    /// A PEM file of roots, in place of the system's: `SSL_CERT_FILE`.
    pub roots_file: Option<PathBuf>,
    /// Folders of PEM files of roots, in place of the system's: `SSL_CERT_DIR`.
    pub roots_folders: Vec<PathBuf>,
    /// More roots, PEM, each of one or more certificates.
    pub extra_roots: Vec<Vec<u8>>,
    /// Who we are, to registries that ask. Servers that a registry sends us to are not told.
    pub client_certificate: Option<ClientCertificate>,
    /// Folders with a folder for each registry that needs one, `HOST[:PORT]`, as `certs.d` of Docker
    /// and Podman: more roots in `*.crt`, our certificate for it in `NAME.cert` and `NAME.key`. The
    /// first that has a folder for a registry holds.
    pub registry_folders: Vec<PathBuf>,
}

impl TrustSettings {
    /// What the user and the system have set up, as for other clients: `SSL_CERT_FILE`,
    /// `SSL_CERT_DIR` (with colons between folders), and the folders `certs.d` of Podman and Docker.
    /// Reads nothing yet.
    pub fn find(home: Option<&Path>, environment: &BTreeMap<String, String>) -> Self {
        let set = |name: &str| environment.get(name).filter(|it| !it.is_empty());
        let own = home.map(|it| it.join(".config/containers/certs.d"));
        let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        Self {
            roots_file: set("SSL_CERT_FILE").map(PathBuf::from),
            roots_folders: set("SSL_CERT_DIR")
                .map(|it| std::env::split_paths(it).collect())
                .unwrap_or_default(),
            registry_folders: own.into_iter().chain(system).collect(),
            ..Self::default()
        }
    }
}

/// A certificate of our own.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct ClientCertificate {
    /// PEM: the certificate, and those between it and the root.
    pub chain: Vec<u8>,
    /// PEM: the private key.
    pub key: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_empty_names_no_roots() {
        let find = |value: &str| {
            let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
            let environment = variables.map(|it| (it.to_owned(), value.to_owned()));
            TrustSettings::find(None, &environment.into())
        };
        let none = find("");
        assert_eq!((none.roots_file, none.roots_folders.len()), (None, 0));
        let some = find("/a:/b");
        assert_eq!(some.roots_file, Some("/a:/b".into()));
        assert_eq!(some.roots_folders.len(), 2);
    }
}
