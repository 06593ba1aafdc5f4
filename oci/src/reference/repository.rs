//! Names of registries and of the repositories in them.

use std::fmt;
use std::str::FromStr;

use super::ReferenceError;

/// The host of a registry, with its port if any.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Registry(String);

/// A repository of a registry.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Repository {
    registry: Registry,
    path: String,
}

impl Registry {
    /// Docker's own registry, by the name that its API has.
    pub const DOCKER_HUB: &str = "index.docker.io";

    /// Host, and port if any.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without the port.
    pub fn host(&self) -> &str {
        match self.0.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or(rest, |(host, _)| host),
            None => self.0.split_once(':').map_or(&self.0, |(host, _)| host),
        }
    }

    /// As go-containerregistry reads it: the name of a host may end with a dot, so that it is looked for
    /// nowhere else.
    pub(super) fn weak(text: &str) -> Result<Self, ReferenceError> {
        text.parse().or_else(|error: ReferenceError| {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let name = host.strip_suffix('.').filter(|it| is_named(it));
            let relative = name.map(|it| format!("{it}{port}"));
            match relative.and_then(|it| it.parse::<Self>().ok()) {
                Some(_) => Ok(Self(text.to_ascii_lowercase())),
                None => Err(error),
            }
        })
    }

    /// Whether a port is said.
    pub(crate) fn has_port(&self) -> bool {
        let behind = self.0.rsplit_once(']').map_or(&*self.0, |(_, it)| it);
        behind.contains(':')
    }

    /// Whether it is an address in a private network, by RFC 1918.
    pub(crate) fn is_private(&self) -> bool {
        let ip = self.host().parse::<std::net::Ipv4Addr>();
        ip.is_ok_and(|it| it.is_private())
    }

    /// Whether it is this very machine: then plain HTTP is safe, and is tried without being asked.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost"
            || host.ends_with(".localhost")
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }
}

impl FromStr for Registry {
    type Err = ReferenceError;

    fn from_str(given: &str) -> Result<Self, ReferenceError> {
        let lower = given.to_ascii_lowercase();
        let text = if lower == "docker.io" {
            Self::DOCKER_HUB
        } else {
            lower.as_str()
        };
        let bracketed = text.strip_prefix('[').and_then(|it| it.split_once(']'));
        let (host, port) =
            bracketed.unwrap_or_else(|| text.split_at(text.find(':').unwrap_or(text.len())));
        let host_ok = if bracketed.is_some() {
            host.parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            // With a port, `oci:5000/app` would be a folder once it is printed.
            host.len() <= 255 && host.split('.').all(is_label) && !TRANSPORTS.contains(&host)
        };
        let port_ok = port.is_empty()
            || port.strip_prefix(':').is_some_and(|it| {
                it.bytes().all(|b| b.is_ascii_digit()) && it.parse::<u16>().is_ok()
            });
        if host_ok && port_ok {
            // Only its case tells such a name from a folder of Docker's registry.
            let text = if is_host(text) { text } else { given };
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::Registry {
                text: text.to_owned(),
            })
        }
    }
}

/// What references begin with that are none to a registry.
const TRANSPORTS: [&str; 4] = ["oci", "oci-archive", "docker-archive", "docker-daemon"];

/// Whether what stands before the first slash of a name is a registry, as Docker has it. There it is
/// one, too, if it has an upper-case letter, which no repository has.
pub(super) fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

/// Whether it is no address: those end with a number.
fn is_named(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    !last.starts_with(|c: char| c.is_ascii_digit())
}

/// A part of the name of a host. Some have `_` in theirs, though no standard has it.
fn is_label(text: &str) -> bool {
    let edge = |it: Option<u8>| it.is_some_and(|b| b.is_ascii_alphanumeric());
    edge(text.bytes().next())
        && edge(text.bytes().last())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

impl Repository {
    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The path within the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Another repository of the same registry.
    pub fn sibling(&self, path: &str) -> Result<Self, ReferenceError> {
        Self::new(self.registry.clone(), path)
    }

    /// As Docker shows it: `app`, `me/app`, `registry.example/app`.
    pub fn short(&self) -> String {
        if self.registry.as_str() != Registry::DOCKER_HUB {
            return self.to_string();
        }
        let short = self.path.strip_prefix("library/").unwrap_or(&self.path);
        // A part with a dot would be read as a registry.
        match short.parse::<Self>() {
            Ok(parsed) if parsed == *self => short.to_owned(),
            _ => self.long(),
        }
    }

    /// As containerd keeps it: `docker.io/library/app`, `registry.example/app`.
    pub fn long(&self) -> String {
        if self.registry.as_str() != Registry::DOCKER_HUB {
            return self.to_string();
        }
        format!("docker.io/{}", self.path)
    }

    /// No repository, but the registry itself: to ask what has nothing to do with one.
    pub(crate) fn root(registry: Registry) -> Self {
        Self {
            registry,
            path: String::new(),
        }
    }

    /// One whose path is known to be harmless.
    pub(super) fn weak(registry: Registry, path: String) -> Self {
        Self { registry, path }
    }

    fn new(registry: Registry, path: &str) -> Result<Self, ReferenceError> {
        let component = |it: &str| {
            let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            let bytes = it.as_bytes();
            bytes.first().copied().is_some_and(edge)
                && bytes.last().copied().is_some_and(edge)
                && bytes
                    .iter()
                    .all(|b| edge(*b) || matches!(b, b'.' | b'-' | b'_'))
                && !it.contains("..")
        };
        if path.len() <= 255 && path.split('/').all(component) {
            Ok(Self {
                registry,
                path: path.to_owned(),
            })
        } else {
            Err(ReferenceError::Repository {
                text: path.to_owned(),
            })
        }
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    /// Parses `registry.example/path`. Without a registry it is Docker's, and without a folder there
    /// `library/`, as everywhere in this field.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        match text.split_once('/') {
            Some((first, path))
                if is_host(first) || first.bytes().any(|b| b.is_ascii_uppercase()) =>
            {
                let registry: Registry = first.parse()?;
                if registry.as_str() == Registry::DOCKER_HUB && !path.contains('/') {
                    return Self::new(registry, &format!("library/{path}"));
                }
                Self::new(registry, path)
            }
            Some(_) => Self::new(Registry(Registry::DOCKER_HUB.to_owned()), text),
            None => Self::new(
                Registry(Registry::DOCKER_HUB.to_owned()),
                &format!("library/{text}"),
            ),
        }
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => self.registry.fmt(f),
            path => write!(f, "{}/{path}", self.registry),
        }
    }
}
