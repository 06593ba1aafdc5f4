//! Where a Docker daemon listens: variables, contexts and addresses.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;

use super::settings::{DaemonAddressError, read};
use super::ssh::SshTarget;
use super::tls::DaemonTls;
use crate::Digest;

/// Where a Docker daemon listens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DaemonAddress {
    /// At a socket of this machine: `unix:///var/run/docker.sock`.
    Unix(PathBuf),
    /// At a port: `tcp://host:2375`.
    Tcp {
        /// Its name or address; that of IPv6 without brackets.
        host: String,
        /// Its port.
        port: u16,
        /// How to know it, and be known by it; without, anyone on the way can read and change all.
        tls: Option<DaemonTls>,
    },
    /// At the socket of another machine: `ssh://user@host`.
    Ssh(SshTarget),
}

/// Where it is if nothing says so.
const DEFAULT: &str = "/var/run/docker.sock";

impl DaemonAddress {
    /// Finds it as Docker's own program does: `DOCKER_HOST`, else the context that
    /// `DOCKER_CONTEXT` or `config.json` names, else `/var/run/docker.sock`.
    ///
    /// `variables` is the environment; `home` is where `.docker` lies, unless `DOCKER_CONFIG`
    /// names another folder.
    ///
    /// <https://docs.docker.com/reference/cli/docker/#environment-variables>
    pub fn find(
        variables: &BTreeMap<String, String>,
        home: Option<&Path>,
    ) -> Result<Self, DaemonAddressError> {
        let variable = |name: &str| variables.get(name).filter(|it| !it.is_empty());
        let config = variable("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| Some(home?.join(".docker")));
        if let Some(host) = variable("DOCKER_HOST") {
            let folder = variable("DOCKER_CERT_PATH").map(PathBuf::from).or(config);
            let tls = variable("DOCKER_TLS_VERIFY")
                .map(|_| DaemonTls::read(&folder.unwrap_or_default()))
                .transpose()?;
            return Self::parse(host, tls);
        }
        let Some(config) = config else {
            return Ok(Self::Unix(DEFAULT.into()));
        };
        let named = match variable("DOCKER_CONTEXT") {
            Some(name) => Some(name.clone()),
            None => current_context(&config.join("config.json"))?,
        };
        match named {
            Some(name) if !name.is_empty() && name != "default" => Self::of_context(&config, &name),
            _ => Ok(Self::Unix(DEFAULT.into())),
        }
    }

    /// Parses `unix://PATH`, `tcp://HOST[:PORT]` or `ssh://[USER@]HOST[:PORT][/SOCKET]`.
    pub fn parse(text: &str, tls: Option<DaemonTls>) -> Result<Self, DaemonAddressError> {
        let malformed = || DaemonAddressError::Malformed {
            text: without_password(text),
        };
        if let Some(path) = text.strip_prefix("unix://") {
            let is_absolute = path.starts_with('/');
            return is_absolute
                .then(|| Self::Unix(path.into()))
                .ok_or_else(malformed);
        }
        let url = Url::parse(text).ok().ok_or_else(malformed)?;
        match url.scheme() {
            "tcp" => {
                let host = url.host_str().ok_or_else(malformed)?;
                let host = host.trim_matches(['[', ']']);
                if !url.username().is_empty() || url.password().is_some() {
                    return Err(malformed());
                }
                Ok(Self::Tcp {
                    host: host.to_owned(),
                    port: url
                        .port()
                        .unwrap_or(if tls.is_some() { 2376 } else { 2375 }),
                    tls,
                })
            }
            "ssh" => SshTarget::of(&url).map(Self::Ssh).ok_or_else(malformed),
            scheme => Err(DaemonAddressError::Scheme {
                scheme: scheme.to_owned(),
            }),
        }
    }

    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => {
                host == "localhost" || host.parse().is_ok_and(|it: IpAddr| it.is_loopback())
            }
            Self::Ssh(_) => false,
        }
    }

    /// What `docker context create` wrote.
    fn of_context(config: &Path, name: &str) -> Result<Self, DaemonAddressError> {
        // The name could be anything; the folder's is made of its hash.
        let id = Digest::of(name.as_bytes());
        let contexts = config.join("contexts");
        let path = contexts.join("meta").join(id.hex()).join("meta.json");
        let Some(text) = read(&path)? else {
            return Err(DaemonAddressError::NoContext {
                name: name.to_owned(),
            });
        };
        let context: Context = serde_json::from_slice(&text)
            .map_err(|source| DaemonAddressError::Settings { path, source })?;
        let Some(host) = context.endpoints.docker.host else {
            return Ok(Self::Unix(DEFAULT.into()));
        };
        let folder = contexts.join("tls").join(id.hex()).join("docker");
        let tls = folder
            .is_dir()
            .then(|| DaemonTls::read(&folder))
            .transpose()?;
        Self::parse(&host, tls)
    }
}

impl fmt::Display for DaemonAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port, .. } if host.contains(':') => {
                write!(f, "tcp://[{host}]:{port}")
            }
            Self::Tcp { host, port, .. } => write!(f, "tcp://{host}:{port}"),
            Self::Ssh(target) => target.fmt(f),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: Option<String>,
}

fn current_context(path: &Path) -> Result<Option<String>, DaemonAddressError> {
    let Some(text) = read(path)? else {
        return Ok(None);
    };
    let settings: Settings =
        serde_json::from_slice(&text).map_err(|source| DaemonAddressError::Settings {
            path: path.to_owned(),
            source,
        })?;
    Ok(settings.current_context)
}

/// `text` as it may be shown.
fn without_password(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if url.password().is_some() => {
            url.set_password(Some("***")).unwrap_or_default();
            url.to_string()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::MAX_BYTES;
    use super::*;
    use crate::store::endless_file;

    fn shown(text: &str) -> Result<String, String> {
        DaemonAddress::parse(text, None)
            .map(|it| it.to_string())
            .map_err(|it| it.to_string())
    }

    #[test]
    fn addresses_are_parsed() {
        for (text, meant) in [
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("tcp://127.0.0.1:99", "tcp://127.0.0.1:99"),
            ("tcp://docker.example", "tcp://docker.example:2375"),
            ("tcp://[::1]:2375/", "tcp://[::1]:2375"),
            ("ssh://me@host.example", "ssh://me@host.example"),
            ("ssh://host:22/run/d.sock", "ssh://host:22/run/d.sock"),
        ] {
            assert_eq!(shown(text), Ok(meant.to_owned()));
        }
        for bad in [
            "",
            "unix://relative",
            "tcp://",
            "tcp://user@host",
            "tcp://:secret@host",
            "tcp:///path",
            "ssh://-oProxyCommand=x/",
            "ssh://-v/",
            "ssh://-v@host",
            "ssh:///run/docker.sock",
            "ssh://@/run/docker.sock",
            "ssh://:22/run/docker.sock",
            "tcp://:2375",
            "ssh://host/$(x)",
            "ssh://host/a%20b",
            "ssh://host/?x",
            "ssh://me:secret@host",
            "npipe://me:secret@host",
            "npipe:////./pipe/docker_engine",
        ] {
            let error = shown(bad).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn it_is_found_as_docker_finds_it() {
        let home = tempfile::tempdir().unwrap();
        let found = |variables: &[(&str, &str)]| {
            let variables = variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            DaemonAddress::find(&variables, Some(home.path())).map(|it| it.to_string())
        };
        let default = format!("unix://{DEFAULT}");
        assert_eq!(found(&[]).unwrap(), default);
        let meta = home.path().join(".docker/contexts/meta");
        let meta = meta.join(Digest::of(b"far").hex());
        fs_err::create_dir_all(&meta).unwrap();
        let text = r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"ssh://far.example","SkipTLSVerify":false}}}"#;
        fs_err::write(meta.join("meta.json"), text).unwrap();
        let config = home.path().join(".docker/config.json");
        fs_err::write(&config, r#"{"currentContext":""}"#).unwrap();
        assert_eq!(found(&[]).unwrap(), default);
        fs_err::write(config, r#"{"auths":{},"currentContext":"far"}"#).unwrap();
        assert_eq!(found(&[]).unwrap(), "ssh://far.example");
        let near = ("DOCKER_CONTEXT", "default");
        assert_eq!(found(&[near]).unwrap(), default);
        let host = ("DOCKER_HOST", "unix:///x");
        assert_eq!(found(&[near, host]).unwrap(), "unix:///x");
        let missing = found(&[("DOCKER_CONTEXT", "../far")]);
        assert!(matches!(missing, Err(DaemonAddressError::NoContext { .. })));
        let tls = found(&[("DOCKER_HOST", "tcp://x"), ("DOCKER_TLS_VERIFY", "1")]);
        assert!(
            matches!(tls, Err(DaemonAddressError::Read { .. })),
            "{tls:?}"
        );
        // What is set to nothing is not set; a context may have certificates.
        assert_eq!(found(&[("DOCKER_HOST", "")]).unwrap(), "ssh://far.example");
        let tls = home.path().join(".docker/contexts/tls");
        fs_err::create_dir_all(tls.join(Digest::of(b"far").hex()).join("docker")).unwrap();
        let tls = found(&[]);
        assert!(
            matches!(tls, Err(DaemonAddressError::Read { .. })),
            "{tls:?}"
        );
    }

    /// The name of a context becomes part of a path.
    #[test]
    fn a_context_is_found_by_its_hash_alone() {
        let home = tempfile::tempdir().unwrap();
        let meta = home.path().join(".docker/contexts/meta");
        fs_err::create_dir_all(meta.join("far")).unwrap();
        let text = r#"{"Endpoints":{"docker":{"Host":"unix:///far"}}}"#;
        fs_err::write(meta.join("far/meta.json"), text).unwrap();
        let variables = BTreeMap::from([("DOCKER_CONTEXT".to_owned(), "far".to_owned())]);
        let found = DaemonAddress::find(&variables, Some(home.path()));
        assert!(matches!(found, Err(DaemonAddressError::NoContext { .. })));
    }

    #[test]
    fn settings_are_short() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("config.json");
        let variables = BTreeMap::from([(
            "DOCKER_CONFIG".to_owned(),
            home.path().to_str().unwrap().to_owned(),
        )]);
        for (length, is_read) in [(1 << 20, true), ((1 << 20) + 1, false)] {
            fs_err::write(&config, format!("{{}}{}", " ".repeat(length - 2))).unwrap();
            let found = DaemonAddress::find(&variables, None);
            assert_eq!(found.is_ok(), is_read, "{found:?}");
        }
    }

    #[test]
    fn endless_settings_are_not_read_to_their_end() {
        let (path, _folder, writer) = endless_file("{}", MAX_BYTES);
        let refused = read(&path);
        assert!(matches!(refused, Err(DaemonAddressError::Read { .. })));
        assert!(writer.join().unwrap(), "all of it was read");
    }

    #[test]
    fn what_is_not_on_this_machine_is_not_local() {
        for (text, is_local) in [
            ("unix:///x", true),
            ("tcp://localhost", true),
            ("tcp://127.0.0.7", true),
            ("tcp://[::1]", true),
            ("tcp://10.0.0.1", false),
            ("tcp://localhost.example", false),
            ("ssh://localhost", false),
        ] {
            let address = DaemonAddress::parse(text, None).unwrap();
            assert_eq!(address.is_local(), is_local, "{text}");
        }
    }
}
