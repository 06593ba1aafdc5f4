//! The addresses of a host, by its name: as `/etc/hosts` has them, or the name servers of this machine.
//!
//! A static program has no `getaddrinfo`. Where `/etc/resolv.conf` is missing, or names nobody, the name
//! server is sought on this machine, as C libraries and Go do: no stranger is asked about names that
//! were never meant for one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::system_conf::read_system_conf;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The name servers of this machine, which are asked when the first name is sought.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<OnceLock<Servers>>);

#[derive(Debug)]
struct Servers {
    resolver: TokioResolver,
    addresses: Vec<IpAddr>,
}

/// The addresses of `host`: at least one.
pub async fn addresses(host: &str) -> Result<Vec<IpAddr>, NameError> {
    Names::default().of(host).await
}

impl Names {
    async fn of(&self, host: &str) -> Result<Vec<IpAddr>, NameError> {
        let failed = |servers: &[IpAddr], source| NameError {
            host: host.to_owned(),
            servers: servers.to_vec(),
            source,
        };
        let Servers {
            resolver,
            addresses,
        } = match self.0.get() {
            Some(servers) => servers,
            None => {
                let made = servers().map_err(|source| failed(&[], source))?;
                self.0.get_or_init(|| made)
            }
        };
        let found = resolver.lookup_ip(host).await;
        let found = found.map_err(|source| failed(addresses, source))?;
        Ok(found.iter().collect())
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let found = names.of(name.as_str()).await?;
            // Port 0 leaves the port as it is.
            let found = found.into_iter().map(|it| SocketAddr::new(it, 0));
            let found: Addrs = Box::new(found);
            Ok(found)
        })
    }
}

fn servers() -> Result<Servers, NetError> {
    let (config, options) = read_system_conf().unwrap_or_else(|_| of_this_machine());
    asked(config, options)
}

fn asked(config: ResolverConfig, mut options: ResolverOpts) -> Result<Servers, NetError> {
    // Both are tried at once (RFC 8305).
    options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    let addresses = config.name_servers().iter().map(|it| it.ip).collect();
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    Ok(Servers {
        resolver: builder.build()?,
        addresses,
    })
}

/// They are asked by TCP, since nobody says that no server is there to who asks by UDP.
fn of_this_machine() -> (ResolverConfig, ResolverOpts) {
    let servers: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let servers = servers.map(NameServerConfig::tcp).to_vec();
    let config = ResolverConfig::from_name_servers(servers);
    (config, ResolverOpts::default())
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
#[error("{}", told(self))]
pub struct NameError {
    host: String,
    servers: Vec<IpAddr>,
    source: NetError,
}

/// What name servers say of a name that has no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum NoName {
    /// There is no such host.
    Unknown,
    /// A name server failed.
    Failed,
    /// Nobody answered in time.
    Late,
    /// No name server could be reached.
    Unreached,
}

impl NameError {
    /// The name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The name servers that there are, in the order in which they are asked.
    pub fn servers(&self) -> &[IpAddr] {
        &self.servers
    }

    /// What is wrong.
    pub fn kind(&self) -> NoName {
        match &self.source {
            NetError::Dns(DnsError::NoRecordsFound(it)) => match it.response_code {
                ResponseCode::NXDomain | ResponseCode::NoError => NoName::Unknown,
                _ => NoName::Failed,
            },
            NetError::Dns(_) => NoName::Failed,
            NetError::Timeout => NoName::Late,
            _ => NoName::Unreached,
        }
    }
}

fn told(error: &NameError) -> String {
    let NameError { host, servers, .. } = error;
    let servers: Vec<_> = servers.iter().map(IpAddr::to_string).collect();
    let servers = match servers.len() {
        0 => "the name server".to_owned(),
        1 => format!("the name server {}", servers.join("")),
        _ => format!("the name servers {}", servers.join(" and ")),
    };
    match error.kind() {
        NoName::Unknown => "host name not found (DNS)".to_owned(),
        NoName::Failed => format!("{servers} failed to say where `{host}` is"),
        NoName::Late => format!("{servers} did not say in time where `{host}` is"),
        NoName::Unreached => format!("{servers} could not be asked where `{host}` is"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::thread;

    use super::*;

    /// Asks a name server on this machine, which answers each question by `code`.
    async fn ask(code: u8) -> NameError {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut address = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
        address.connections[0].port = server.local_addr().unwrap().port();
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, asker)) = server.recv_from(&mut question) {
                let mut answer = question[..length].to_vec();
                answer[2] |= 0x80;
                answer[3] = 0x80 | code;
                // The question alone: what the asker added is not said again.
                answer[11] = 0;
                let end = answer[12..].iter().position(|it| *it == 0).unwrap();
                answer.truncate(12 + end + 5);
                let _sent = server.send_to(&answer, asker);
            }
        });
        let config = ResolverConfig::from_name_servers(vec![address]);
        let mut options = ResolverOpts::default();
        options.attempts = 0;
        let names = Names::default();
        names.0.set(asked(config, options).unwrap()).unwrap();
        names.of("r.test").await.unwrap_err()
    }

    #[tokio::test]
    async fn what_a_name_server_says_is_told() {
        let cases = [
            (3, NoName::Unknown, "host name not found (DNS)"),
            (
                2,
                NoName::Failed,
                "the name server 127.0.0.1 failed to say where `r.test` is",
            ),
        ];
        for (code, kind, words) in cases {
            let error = ask(code).await;
            assert_eq!(
                (error.kind(), &*error.to_string()),
                (kind, words),
                "{error:?}"
            );
            assert_eq!(error.host(), "r.test");
            assert_eq!(error.servers(), [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        }
    }

    #[tokio::test]
    async fn a_machine_that_names_no_server_is_asked_itself() {
        let (config, options) = of_this_machine();
        let servers = asked(config, options).unwrap();
        assert_eq!(servers.addresses.len(), 2);
        assert!(servers.addresses.iter().all(IpAddr::is_loopback));
    }
}
