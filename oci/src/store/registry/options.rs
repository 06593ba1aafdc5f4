use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::mirrors::Mirrors;
use super::proxy::ProxySettings;
use crate::auth::{Credentials, Secret};
use crate::{Limits, Registry};

/// How to talk to registries. The default fits public ones, without credentials.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made with `..RegistryOptions::default()`"
)]
pub struct RegistryOptions {
    /// Who we are, to whom.
    pub credentials: Credentials,
    /// Registries that may be asked by plain HTTP, or by HTTPS without a valid certificate:
    /// `host[:port]`, matched as a prefix. Loopback addresses may be asked by plain HTTP anyway.
    pub insecure: Vec<String>,
    /// Whom to trust to say which server is which.
    pub trust: TrustSettings,
    /// Proxies.
    pub proxies: ProxySettings,
    /// Which registries have mirrors.
    pub mirrors: Mirrors,
    /// Where content of mirrors waits until it is checked.
    pub temporary: PathBuf,
    /// How often to try again, and when.
    pub retries: Retries,
    /// How much to read of what registries send.
    pub limits: Limits,
    /// Uploads and small requests at the same time, and as many downloads.
    pub concurrency: usize,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long a server may be silent.
    pub silence_timeout: Duration,
    /// How long a document (manifest, listing, token) may take in all.
    pub document_timeout: Duration,
    /// What we call ourselves.
    pub user_agent: String,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            insecure: Vec::new(),
            trust: TrustSettings::default(),
            proxies: ProxySettings::default(),
            mirrors: Mirrors::default(),
            temporary: "/tmp".into(),
            retries: Retries::default(),
            limits: Limits::default(),
            concurrency: 8,
            connect_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_mins(1),
            document_timeout: Duration::from_mins(2),
            user_agent: concat!("sealpack/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl RegistryOptions {
    /// Whether `registry` was named as insecure.
    pub(super) fn is_insecure(&self, registry: &Registry) -> bool {
        self.insecure
            .iter()
            .any(|it| !it.is_empty() && registry.as_str().starts_with(it.as_str()))
    }
}

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

/// How often to try again what may yet succeed, and when: after twice as long each time, less a
/// random part, or when the server says.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Retries {
    /// How often, beyond the first time.
    pub count: u32,
    /// After how long at first.
    pub first: Duration,
    /// After how long at most, whatever the server says.
    pub longest: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            count: 4,
            first: Duration::from_millis(200),
            longest: Duration::from_secs(30),
        }
    }
}

impl Retries {
    /// How long to wait before try `attempt` (from 1), given what the server asked for. `random` is
    /// at least 0 and less than 1.
    pub(super) fn delay(&self, attempt: u32, asked: Option<Duration>, random: f64) -> Duration {
        match asked {
            Some(asked) => asked.min(self.longest),
            None => self
                .first
                .saturating_mul(1 << attempt.saturating_sub(1).min(16))
                .min(self.longest)
                .mul_f64(1.0 - random / 2.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_a_bound() {
        let retries = Retries::default();
        assert_eq!(retries.delay(1, None, 0.0), Duration::from_millis(200));
        assert_eq!(retries.delay(3, None, 0.0), Duration::from_millis(800));
        assert_eq!(retries.delay(3, None, 0.5), Duration::from_millis(600));
        assert_eq!(retries.delay(u32::MAX, None, 0.0), retries.longest);
        let hour = Duration::from_hours(1);
        assert_eq!(retries.delay(1, Some(hour), 0.9), retries.longest);
        let second = Duration::from_secs(1);
        assert_eq!(retries.delay(1, Some(second), 0.9), second);
    }

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

    #[test]
    fn insecure_registries_are_prefixes() {
        let options = RegistryOptions {
            insecure: vec!["r.example:5000".to_owned(), String::new()],
            ..RegistryOptions::default()
        };
        assert!(options.is_insecure(&"r.example:5000".parse().unwrap()));
        assert!(!options.is_insecure(&"r.example".parse().unwrap()));
    }
}
