//! How servers are reached.

use std::time::Duration;

use crate::{ProxySettings, Retries, TrustSettings};

/// How to reach servers. The default fits public ones.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made with `..Options::default()`"
)]
pub struct Options {
    /// Whom to trust to say which server is which.
    pub trust: TrustSettings,
    /// Proxies.
    pub proxies: ProxySettings,
    /// How often to try again, and when.
    pub retries: Retries,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long a server may be silent.
    pub silence_timeout: Duration,
    /// How long an answer that is read whole may take in all.
    pub document_timeout: Duration,
    /// Whether only servers on this machine may be asked, whoever names another one: a redirect, a
    /// token realm, a page of a listing.
    pub loopback_only: bool,
    /// What we call ourselves.
    pub user_agent: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trust: TrustSettings::default(),
            proxies: ProxySettings::default(),
            retries: Retries::default(),
            connect_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_mins(1),
            document_timeout: Duration::from_mins(2),
            loopback_only: false,
            user_agent: concat!("sealpack/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}
