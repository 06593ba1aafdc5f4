//! The addresses of a host, by its name: as C libraries and Go find them, since a static program has no
//! `getaddrinfo`.
//!
//! 1. What `/etc/hosts` says of the name as it is typed counts, and nobody is asked.
//! 2. The name servers of `/etc/resolv.conf` are asked in its order, for the name and for those that `search`
//!    makes of it: the second server only where the first fails, or says nothing in time.
//! 3. Where that file is missing, or names no server, it is sought on this machine. No stranger is asked
//!    about names that were never meant for one.
//!
//! Lines that cannot be read are passed over. The files are read again when they have changed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{
    LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name as DnsName, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::Instant;

/// Where a name server listens.
const PORT: u16 = 53;
/// The most name servers that are asked, as in C libraries and Go.
const MAX_SERVERS: usize = 3;
/// The most that is read of a file.
const MAX_FILE: u64 = 16 << 20;
/// How long a name is sought. A connection may take a second longer.
const IN_TIME: Duration = Duration::from_secs(9);

/// How long what was read is taken to be what stands in the files.
const FRESH: Duration = Duration::from_secs(5);

/// The names that this machine knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<Mutex<Option<Read>>>);

/// What was last read: a machine may get other name servers while this runs.
#[derive(Debug)]
struct Read {
    at: Instant,
    hosts: Vec<u8>,
    servers: Vec<u8>,
    known: Arc<Known>,
}

#[derive(Debug)]
struct Known {
    hosts: Hosts,
    servers: Vec<Server>,
    /// How often all of them are asked.
    attempts: u32,
    /// What may be added to a name, each with a dot at its end.
    search: Vec<String>,
    /// How many dots a name has that is sought as it is first.
    ndots: usize,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    resolver: TokioResolver,
}

/// The addresses of `host`: at least one.
pub async fn addresses(host: &str) -> Result<Vec<IpAddr>, NameError> {
    Names::default().of(host).await
}

impl Names {
    async fn of(&self, host: &str) -> Result<Vec<IpAddr>, NameError> {
        let known = self.known();
        let known = known.map_err(|source| NameError::new(host, None, source))?;
        known.addresses(host).await
    }

    fn known(&self) -> Result<Arc<Known>, NetError> {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = &*last
            && now.duration_since(read.at) < FRESH
        {
            return Ok(read.known.clone());
        }
        let hosts = content(Path::new("/etc/hosts"));
        let servers = content(Path::new("/etc/resolv.conf"));
        let known = match last.take() {
            Some(read) if read.hosts == hosts && read.servers == servers => read.known,
            _ => Arc::new(Known::read(&hosts, &servers, PORT)?),
        };
        *last = Some(Read {
            at: now,
            hosts,
            servers,
            known: known.clone(),
        });
        Ok(known)
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

impl Known {
    /// What the two files say; the servers listen on `port`.
    fn read(hosts: &[u8], servers: &[u8], port: u16) -> Result<Self, NetError> {
        let (config, _passed_over) = resolv_conf::Config::parse_with_errors(servers);
        let mut addresses: Vec<IpAddr> = config
            .nameservers
            .iter()
            .map(IpAddr::from)
            .take(MAX_SERVERS)
            .collect();
        if addresses.is_empty() {
            addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        let search = config.get_last_search_or_domain();
        let search = search.filter_map(|it| DnsName::from_str_relaxed(it).ok());
        let search = search.map(|it| format!("{}.", it.to_string().trim_matches('.')));
        let search = search.filter(|it| it != ".").collect();
        let mut options = ResolverOpts::default();
        // All of them are to be asked in time.
        let count = u32::try_from(addresses.len()).unwrap_or(1);
        let longest = IN_TIME / (count + 1);
        options.timeout = Duration::from_secs(config.timeout.max(1).into()).min(longest);
        options.attempts = 0;
        options.edns0 = config.edns0;
        // All addresses are tried at once (RFC 8305).
        options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        options.use_hosts_file = ResolveHosts::Never;
        let servers = addresses.into_iter().map(|address| {
            let mut server = if config.use_vc {
                NameServerConfig::tcp(address)
            } else {
                NameServerConfig::udp_and_tcp(address)
            };
            for it in &mut server.connections {
                it.port = port;
            }
            let config = ResolverConfig::from_name_servers(vec![server]);
            let provider = TokioRuntimeProvider::default();
            let mut resolver = TokioResolver::builder_with_config(config, provider);
            *resolver.options_mut() = options.clone();
            Ok::<_, NetError>(Server {
                address: SocketAddr::new(address, port),
                resolver: resolver.build()?,
            })
        });
        let servers = servers.collect::<Result<_, _>>()?;
        let mut known = Hosts::default();
        known.read_hosts_conf(String::from_utf8_lossy(hosts).as_bytes())?;
        Ok(Self {
            hosts: known,
            servers,
            attempts: config.attempts.clamp(1, 5),
            search,
            ndots: config.ndots as usize,
        })
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, NameError> {
        let found = self.in_hosts(host);
        if !found.is_empty() {
            return Ok(found);
        }
        let mut asked = None;
        let ask = self.ask(host, &mut asked);
        match tokio::time::timeout(IN_TIME, ask).await {
            Ok(answer) => answer,
            Err(_) => Err(NameError::new(host, asked, NetError::Timeout)),
        }
    }

    /// What the file of hosts says, the addresses of version 4 first.
    fn in_hosts(&self, host: &str) -> Vec<IpAddr> {
        let Ok(name) = DnsName::from_utf8(host) else {
            return Vec::new();
        };
        let kinds = [RecordType::A, RecordType::AAAA];
        let found = kinds.iter().filter_map(|kind| {
            let query = Query::query(name.clone(), *kind);
            self.hosts.lookup_static_host(&query)
        });
        let records = found.flat_map(|it| it.answers().to_vec());
        records.filter_map(|it| it.data.ip_addr()).collect()
    }

    /// The names to seek in place of `host`, in their order. Each ends with a dot: it is a whole name.
    fn names(&self, host: &str) -> Vec<String> {
        if host.ends_with('.') {
            return vec![host.to_owned()];
        }
        let longer = self.search.iter().map(|it| format!("{host}.{it}"));
        let mut names: Vec<_> = longer.collect();
        let is_first = host.matches('.').count() >= self.ndots;
        let place = if is_first { 0 } else { names.len() };
        names.insert(place, format!("{host}."));
        names
    }

    /// Seeks each name at the servers until one has an address; `asked` is the one that was asked last.
    async fn ask(
        &self,
        host: &str,
        asked: &mut Option<SocketAddr>,
    ) -> Result<Vec<IpAddr>, NameError> {
        let mut servers: VecDeque<_> = self.servers.iter().collect();
        let mut unknown = None;
        let mut failed = None;
        for name in self.names(host) {
            match self.ask_for(&name, host, &mut servers, asked).await {
                Ok(found) => return Ok(found),
                Err(error) if error.kind() == NoName::Unknown => unknown = unknown.or(Some(error)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        // Of a name that a server failed to look for it is not known that it is unknown.
        let none = || NameError::new(host, None, NetError::NoConnections);
        Err(failed.or(unknown).unwrap_or_else(none))
    }

    /// Seeks `name`. A server that fails is asked last from then on.
    async fn ask_for(
        &self,
        name: &str,
        host: &str,
        servers: &mut VecDeque<&Server>,
        asked: &mut Option<SocketAddr>,
    ) -> Result<Vec<IpAddr>, NameError> {
        let mut failed = NameError::new(host, None, NetError::NoConnections);
        for _ in 0..self.attempts {
            for _ in 0..servers.len() {
                let Some(server) = servers.front() else {
                    break;
                };
                *asked = Some(server.address);
                let answer = match is_there(server.address) {
                    Ok(()) => server.resolver.lookup_ip(name).await,
                    Err(error) => Err(error.into()),
                };
                failed = match answer {
                    Ok(found) => return Ok(found.iter().collect()),
                    Err(source) => NameError::new(host, *asked, source),
                };
                if failed.kind() == NoName::Unknown {
                    return Err(failed);
                }
                servers.rotate_left(1);
            }
        }
        Err(failed)
    }
}

/// An error if `server` is on this machine, and nobody listens there. Of other machines that is not known at
/// once, so they are asked.
fn is_there(server: SocketAddr) -> io::Result<()> {
    if !server.ip().is_loopback() {
        return Ok(());
    }
    let own = SocketAddr::new(server.ip(), 0);
    let socket = UdpSocket::bind(own)?;
    socket.connect(server)?;
    // The kernel reports the refusal of the first datagram when the second is sent. A name server ignores
    // an empty one.
    socket.send(&[])?;
    socket.send(&[])?;
    Ok(())
}

/// The content of a file; of one that may not be read, or is none, nothing.
fn content(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if path.is_file()
        && let Ok(file) = File::open(path)
        && file.take(MAX_FILE).read_to_end(&mut bytes).is_err()
    {
        bytes.clear();
    }
    bytes
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
#[error("{}", told(self))]
pub struct NameError {
    host: String,
    server: Option<SocketAddr>,
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
    fn new(host: &str, server: Option<SocketAddr>, source: NetError) -> Self {
        Self {
            host: host.to_owned(),
            // Nobody is asked for what is no name.
            server: server.filter(|_| !matches!(source, NetError::Proto(_))),
            source,
        }
    }

    /// The name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The name server that said so, or was asked last.
    pub fn server(&self) -> Option<SocketAddr> {
        self.server
    }

    /// What is wrong.
    pub fn kind(&self) -> NoName {
        match &self.source {
            NetError::Dns(DnsError::NoRecordsFound(it)) => match it.response_code {
                ResponseCode::NXDomain | ResponseCode::NoError => NoName::Unknown,
                _ => NoName::Failed,
            },
            NetError::Dns(_) => NoName::Failed,
            NetError::Proto(_) => NoName::Unknown,
            NetError::Timeout => NoName::Late,
            _ => NoName::Unreached,
        }
    }

    /// What the system said of the way to the name server.
    pub fn io(&self) -> Option<&io::Error> {
        match &self.source {
            NetError::Io(error) => Some(error)
                .filter(|it| it.raw_os_error().is_some())
                .map(|it| &**it),
            _ => None,
        }
    }
}

fn told(error: &NameError) -> String {
    let NameError { host, server, .. } = error;
    let server = match server {
        Some(server) => format!("the name server {}", server.ip()),
        None => "the name server".to_owned(),
    };
    match error.kind() {
        NoName::Unknown => "host name not found (DNS)".to_owned(),
        NoName::Failed => format!("{server} failed to say where `{host}` is"),
        NoName::Late => format!("{server} did not say in time where `{host}` is"),
        NoName::Unreached => format!("{server} could not be asked where `{host}` is"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    /// A name server on this machine, by its address. It answers by a code, or with an address, or never.
    struct Peer {
        address: Ipv4Addr,
        questions: Arc<AtomicUsize>,
    }

    /// `port` is the one of all servers of a test.
    fn serve(
        address: [u8; 4],
        port: &mut u16,
        answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Peer {
        let address = Ipv4Addr::from(address);
        let socket = UdpSocket::bind((address, *port)).unwrap();
        *port = socket.local_addr().unwrap().port();
        let questions = Arc::new(AtomicUsize::new(0));
        let counted = questions.clone();
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, asker)) = socket.recv_from(&mut question) {
                if length < 12 {
                    continue;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                if let Some(answer) = answer(&question[..length]) {
                    let _sent = socket.send_to(&answer, asker);
                }
            }
        });
        Peer { address, questions }
    }

    /// The question alone, which is answered by `code`: what the asker added is not said again.
    fn code(question: &[u8], code: u8) -> Vec<u8> {
        let mut answer = question.to_vec();
        answer[2] |= 0x80;
        answer[3] = 0x80 | code;
        answer[11] = 0;
        let end = answer[12..].iter().position(|it| *it == 0).unwrap();
        answer.truncate(12 + end + 5);
        answer
    }

    /// The address 10.0.0.7 for a question of version 4, none for others.
    fn seven(question: &[u8]) -> Vec<u8> {
        let mut answer = code(question, 0);
        if answer[answer.len() - 3] == 1 {
            answer[7] = 1;
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 7]);
        }
        answer
    }

    fn known(hosts: &str, servers: &[&Peer], port: u16) -> Known {
        let lines = servers
            .iter()
            .map(|it| format!("nameserver {}\n", it.address));
        let text =
            lines.collect::<String>() + "search bad..name\noptions timeout:1 attempts:1 odd:x\n";
        Known::read(hosts.as_bytes(), text.as_bytes(), port).unwrap()
    }

    #[tokio::test]
    async fn what_a_name_server_says_is_told() {
        for (answer, kind, words) in [
            (Some(3), NoName::Unknown, "host name not found (DNS)"),
            (
                Some(2),
                NoName::Failed,
                "the name server 127.0.0.1 failed to say where `r.test` is",
            ),
            (
                None,
                NoName::Late,
                "the name server 127.0.0.1 did not say in time where `r.test` is",
            ),
        ] {
            let mut port = 0;
            let peer = serve([127, 0, 0, 1], &mut port, move |it| {
                answer.map(|as_| code(it, as_))
            });
            let error = known("", &[&peer], port)
                .addresses("r.test")
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind(), &*error.to_string()),
                (kind, words),
                "{error:?}"
            );
            assert_eq!(error.host(), "r.test");
            assert_eq!(error.server().unwrap().ip(), peer.address);
        }
        // Nobody listens at port 1 of this machine.
        let nobody = Known::read(b"", b"nameserver 127.0.0.1", 1).unwrap();
        let error = nobody.addresses("r.test").await.unwrap_err();
        assert_eq!(error.kind(), NoName::Unreached);
        assert_eq!(
            error.io().map(io::Error::kind),
            Some(io::ErrorKind::ConnectionRefused)
        );
        let long = format!("{}.test", "x".repeat(64));
        let error = nobody.addresses(&long).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.server()),
            (NoName::Unreached, Some("127.0.0.1:1".parse().unwrap()))
        );
    }

    #[tokio::test]
    async fn servers_are_asked_in_their_order() {
        let mut port = 0;
        let good = serve([127, 0, 0, 1], &mut port, |it| Some(seven(it)));
        let fails = serve([127, 0, 0, 2], &mut port, |it| Some(code(it, 2)));
        let silent = serve([127, 0, 0, 3], &mut port, |_| None);
        let unknowing = serve([127, 0, 0, 4], &mut port, |it| Some(code(it, 3)));
        let found = vec![IpAddr::from([10, 0, 0, 7])];
        for first in [&good, &fails, &silent] {
            let known = known("", &[first, &good, &unknowing], port);
            assert_eq!(known.addresses("r.test").await.unwrap(), found);
        }
        assert_eq!(unknowing.questions.load(Ordering::SeqCst), 0);
        // Who does not know a name is believed.
        let asked = good.questions.load(Ordering::SeqCst);
        let known = known("", &[&unknowing, &good], port);
        let error = known.addresses("r.test").await.unwrap_err();
        assert_eq!(error.kind(), NoName::Unknown);
        assert_eq!(good.questions.load(Ordering::SeqCst), asked);
    }

    /// The question's name is `r.test` with this behind it.
    fn is_for(question: &[u8], behind: &[u8]) -> bool {
        let name = [b"\x01r\x04test", behind, b"\0"].concat();
        question[12..].starts_with(&name)
    }

    #[tokio::test]
    async fn a_name_is_sought_at_all_servers_before_a_longer_one() {
        let with_search = |servers: &[&Peer], port, options: &str| {
            let lines = servers
                .iter()
                .map(|it| format!("nameserver {}\n", it.address));
            let text = lines.collect::<String>() + "search corp\noptions attempts:1 " + options;
            Known::read(b"", text.as_bytes(), port).unwrap()
        };
        let mut port = 0;
        let silent = serve([127, 0, 0, 3], &mut port, |_| None);
        // It knows the name alone, and that there is none with the domain behind it.
        let knows = serve([127, 0, 0, 1], &mut port, |it| {
            Some(if is_for(it, b"") {
                seven(it)
            } else {
                code(it, 3)
            })
        });
        let found = vec![IpAddr::from([10, 0, 0, 7])];
        let known = with_search(&[&silent, &knows], port, "timeout:30\n");
        assert_eq!(known.addresses("r.test").await.unwrap(), found);
        // One that could not look for the name itself does not know that it is unknown.
        let fails = serve([127, 0, 0, 2], &mut port, |it| {
            Some(code(it, if is_for(it, b"") { 2 } else { 3 }))
        });
        let known = with_search(&[&fails, &knows], port, "\n");
        assert_eq!(known.addresses("r.test").await.unwrap(), found);
        let known = with_search(&[&fails], port, "\n");
        let error = known.addresses("r.test").await.unwrap_err();
        assert_eq!(error.kind(), NoName::Failed);
        let known = with_search(&[&fails], port, "ndots:2\n");
        assert_eq!(known.names("r.test"), ["r.test.corp.", "r.test."]);
        assert_eq!(known.names("r.test."), ["r.test."]);
        let known = with_search(&[&fails], port, "\n");
        assert_eq!(known.names("r.test"), ["r.test.", "r.test.corp."]);
    }

    #[tokio::test]
    async fn files_are_read_again_when_they_may_have_changed() {
        let names = Names::default();
        let first = names.known().unwrap();
        assert!(Arc::ptr_eq(&first, &names.known().unwrap()));
        let mut last = names.0.lock().unwrap();
        let read = last.as_mut().unwrap();
        read.at -= FRESH;
        drop(last);
        // Nothing has changed.
        assert!(Arc::ptr_eq(&first, &names.known().unwrap()));
        let mut last = names.0.lock().unwrap();
        let read = last.as_mut().unwrap();
        read.at -= FRESH;
        read.servers.push(b'#');
        drop(last);
        assert!(!Arc::ptr_eq(&first, &names.known().unwrap()));
    }

    #[tokio::test]
    async fn what_hosts_says_is_asked_of_nobody() {
        let mut port = 0;
        let server = serve([127, 0, 0, 1], &mut port, |it| Some(seven(it)));
        let hosts = "# \u{fffd}\n10.1.2.3 Registry.corp registry\n::7 registry\nodd line\n";
        let known = known(hosts, &[&server], port);
        for (name, expected) in [
            ("registry.corp", &["10.1.2.3"][..]),
            ("REGISTRY", &["10.1.2.3", "::7"]),
        ] {
            let expected: Vec<IpAddr> = expected.iter().map(|it| it.parse().unwrap()).collect();
            assert_eq!(known.addresses(name).await.unwrap(), expected, "{name}");
        }
        assert_eq!(server.questions.load(Ordering::SeqCst), 0);
        known.addresses("other.corp").await.unwrap();
        assert_ne!(server.questions.load(Ordering::SeqCst), 0);
        let odd = Known::read(b"10.1.2.3 r.corp # \xff\n", b"", 1).unwrap();
        assert_eq!(odd.addresses("r.corp").await.unwrap().len(), 1);
    }

    #[test]
    fn a_machine_that_names_no_server_is_asked_itself() {
        for text in ["", "# nothing\n", "nameserver x\n", "search corp\n"] {
            let known = Known::read(b"", text.as_bytes(), PORT).unwrap();
            let servers = known.servers.iter().map(|it| it.address.ip());
            let servers: Vec<_> = servers.collect();
            assert_eq!(
                servers,
                [
                    IpAddr::from(Ipv4Addr::LOCALHOST),
                    Ipv6Addr::LOCALHOST.into()
                ]
            );
        }
    }
}
