use std::path::PathBuf;
use std::time::Duration;

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
    /// A folder of PEM files of roots, in place of the system's: `SSL_CERT_DIR`.
    pub roots_folder: Option<PathBuf>,
    /// More roots, PEM, each of one or more certificates.
    pub extra_roots: Vec<Vec<u8>>,
    /// Who we are, to servers that ask.
    pub client_certificate: Option<ClientCertificate>,
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

/// Proxies by URL, as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` have them. Loopback is never
/// asked through a proxy.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct ProxySettings {
    /// For plain HTTP.
    pub http: Option<Secret>,
    /// For HTTPS.
    pub https: Option<Secret>,
    /// Hosts, domains and networks that are asked directly, with commas between.
    pub except: Option<String>,
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
    fn insecure_registries_are_prefixes() {
        let options = RegistryOptions {
            insecure: vec!["r.example:5000".to_owned(), String::new()],
            ..RegistryOptions::default()
        };
        assert!(options.is_insecure(&"r.example:5000".parse().unwrap()));
        assert!(!options.is_insecure(&"r.example".parse().unwrap()));
    }
}
