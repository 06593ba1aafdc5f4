//! How to talk to registries.

use std::path::PathBuf;
use std::time::Duration;

use net::{ProxySettings, Retries, TrustSettings};

use super::mirrors::Mirrors;
use crate::auth::Credentials;
use crate::{Limits, Registry, Repository};

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
    /// Whether registries at private addresses (RFC 1918) may be asked by plain HTTP, too, where no
    /// registry answers by HTTPS, as go-containerregistry has it.
    pub plain_in_private: bool,
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
    /// Whether only this machine may be asked, wherever a registry sends us.
    pub loopback_only: bool,
    /// What we call ourselves.
    pub user_agent: String,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        let net = net::Options::default();
        Self {
            credentials: Credentials::default(),
            insecure: Vec::new(),
            plain_in_private: false,
            trust: net.trust,
            proxies: net.proxies,
            mirrors: Mirrors::default(),
            temporary: "/tmp".into(),
            retries: net.retries,
            limits: Limits::default(),
            concurrency: 8,
            connect_timeout: net.connect_timeout,
            silence_timeout: net.silence_timeout,
            document_timeout: net.document_timeout,
            loopback_only: net.loopback_only,
            user_agent: net.user_agent,
        }
    }
}

impl RegistryOptions {
    /// What of it is about any server.
    pub fn net(&self) -> net::Options {
        net::Options {
            trust: self.trust.clone(),
            proxies: self.proxies.clone(),
            retries: self.retries,
            connect_timeout: self.connect_timeout,
            silence_timeout: self.silence_timeout,
            document_timeout: self.document_timeout,
            loopback_only: self.loopback_only,
            user_agent: self.user_agent.clone(),
        }
    }

    /// Whether `repository` lies below what was named as insecure, which may be a part of a registry.
    pub(super) fn is_insecure_below(&self, repository: &Repository) -> bool {
        let name = repository.to_string();
        let mut insecure = self.insecure.iter().filter(|it| !it.is_empty());
        insecure.any(|it| is_below(&name, it))
    }

    /// Whether `registry` was named as insecure.
    pub(super) fn is_insecure(&self, registry: &Registry) -> bool {
        self.insecure
            .iter()
            .any(|it| !it.is_empty() && is_below(registry.as_str(), it))
    }
}

/// Whether `name` is `above`, or begins with it and goes on with a port or a path.
fn is_below(name: &str, above: &str) -> bool {
    let rest = name.strip_prefix(above.trim_end_matches('/'));
    rest.is_some_and(|it| it.is_empty() || it.starts_with(['/', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insecure_registries_are_prefixes() {
        let options = RegistryOptions {
            insecure: vec!["r.example:5000".to_owned(), String::new()],
            ..RegistryOptions::default()
        };
        assert!(options.is_insecure(&"r.example:5000".parse().unwrap()));
        assert!(!options.is_insecure(&"r.example".parse().unwrap()));
        let options = RegistryOptions {
            insecure: vec!["r.example/team".to_owned()],
            ..RegistryOptions::default()
        };
        let below = |it: &str| options.is_insecure_below(&it.parse().unwrap());
        assert!(below("r.example/team/app"));
        assert!(!below("r.example/other") && !below("other.example/team"));
        assert!(!below("r.example/team-prod/app"));
        let options = RegistryOptions {
            insecure: vec!["r.example".to_owned()],
            ..RegistryOptions::default()
        };
        assert!(options.is_insecure(&"r.example:5000".parse().unwrap()));
        assert!(!options.is_insecure(&"r.example.org".parse().unwrap()));
    }
}
