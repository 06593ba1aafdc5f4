//! How servers are reached: whom to trust, through which proxies, how long to wait, when to try
//! again. The only crate that names the HTTP client.
//!
//! It must not know what is asked for.

pub mod address;
mod answer;
mod connections;
mod file;
mod names;
mod options;
mod proxy;
mod retries;
mod secret;
mod service;
mod tls;
mod trust;

pub use answer::{TlsProblem, TransportError, is_transient, read_body, retry_after};
pub use connections::{Connections, ConnectionsError, Peer};
pub use file::file_body;
pub use names::{NameError, NoName, addresses};
pub use options::Options;
pub use proxy::ProxySettings;
pub use retries::Retries;
pub use secret::Secret;
pub use service::{Again, Answer, Question, ServiceError, Services};
pub use tls::TlsError;
pub use trust::{ClientCertificate, TrustSettings};

/// The words of HTTP.
pub use reqwest::{Body, Client, Method, Response, StatusCode, Version, header};
