//! Which servers are asked through a proxy.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use crate::Secret;

/// Proxies by URL, as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` have them. Loopback is never
/// asked through a proxy.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct ProxySettings {
    /// For plain HTTP.
    pub http: Option<Secret>,
    /// For HTTPS.
    pub https: Option<Secret>,
    /// What is asked directly, with commas between: `example.com` with all below it,
    /// `.example.com` only what is below it, an address, a network (`10.0.0.0/8`), each with a port
    /// or without; `*` for all.
    pub except: Option<String>,
}

impl ProxySettings {
    /// What the environment says, by the rules of Go's clients: names in capitals go first, and
    /// `HTTP_PROXY` counts for nothing where `REQUEST_METHOD` is set (there, whoever sends a request
    /// can set it).
    ///
    /// <https://pkg.go.dev/golang.org/x/net/http/httpproxy#FromEnvironment>
    pub fn find(environment: &BTreeMap<String, String>) -> Self {
        let set = |name: &str| environment.get(name).filter(|it| !it.is_empty());
        let either = |upper: &str| set(upper).or_else(|| set(&upper.to_ascii_lowercase()));
        let http = if set("REQUEST_METHOD").is_some() {
            set("http_proxy")
        } else {
            either("HTTP_PROXY")
        };
        Self {
            http: http.map(|it| it.as_str().into()),
            https: either("HTTPS_PROXY").map(|it| it.as_str().into()),
            except: either("NO_PROXY").cloned(),
        }
    }

    /// The proxy to ask `url` through, if through any.
    pub(crate) fn of(&self, url: &Url) -> Option<&Secret> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            _ => self.http.as_ref(),
        }?;
        (!self.is_excepted(url)).then_some(proxy)
    }

    fn is_excepted(&self, url: &Url) -> bool {
        let (name, ip) = match url.host() {
            Some(Host::Domain(name)) => (name.trim_end_matches('.').to_ascii_lowercase(), None),
            Some(Host::Ipv4(ip)) => (ip.to_string(), Some(IpAddr::V4(ip))),
            Some(Host::Ipv6(ip)) => {
                let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
                (ip.to_string(), Some(ip))
            }
            None => return true,
        };
        if name == "localhost"
            || name.ends_with(".localhost")
            || ip.is_some_and(|it| it.is_loopback())
        {
            return true;
        }
        let except = self.except.as_deref().unwrap_or_default();
        except.split(',').map(str::trim).any(|it| {
            matches(
                &it.to_ascii_lowercase(),
                &name,
                ip,
                url.port_or_known_default(),
            )
        })
    }
}

/// Whether an entry of `NO_PROXY` means this host.
fn matches(entry: &str, name: &str, ip: Option<IpAddr>, port: Option<u16>) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(network) = entry.parse::<IpNet>() {
        return ip.is_some_and(|it| network.contains(&it));
    }
    if let Ok(address) = entry.parse::<IpAddr>() {
        return ip == Some(address);
    }
    let (host, entry_port) = match entry.rsplit_once(':') {
        Some((host, port)) => match port.parse::<u16>() {
            Ok(port) => (host, Some(port)),
            Err(_) => return false,
        },
        None => (entry, None),
    };
    if entry_port.is_some() && entry_port != port {
        return false;
    }
    if let Some(ip) = ip {
        return host.trim_start_matches('[').trim_end_matches(']').parse() == Ok(ip);
    }
    // `*.example.com` is no form of its own, but is written.
    let host = host.strip_prefix('*').unwrap_or(host);
    match host.strip_prefix('.') {
        Some(parent) => is_below(name, parent),
        None => name == host || is_below(name, host),
    }
}

fn is_below(name: &str, parent: &str) -> bool {
    // No name ends with a dot, so nothing is below nothing.
    name.strip_suffix(parent)
        .is_some_and(|it| it.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_direct(except: &str, url: &str) -> bool {
        let settings = ProxySettings {
            http: Some("http://p.example:1".into()),
            https: Some("http://p.example:2".into()),
            except: Some(except.to_owned()),
        };
        settings.of(&url.parse().unwrap()).is_none()
    }

    #[test]
    fn exceptions_are_those_of_other_clients() {
        for (except, url) in [
            ("*", "https://r.example/"),
            ("a.example, r.example", "https://r.example/"),
            ("r.example", "https://sub.R.example:5000/"),
            ("r.example:443", "https://r.example/"),
            ("r.example:5000", "http://r.example:5000/"),
            (".r.example", "https://sub.r.example/"),
            ("*.r.example", "https://sub.r.example/"),
            ("10.1.2.3", "https://10.1.2.3/"),
            ("10.1.2.3:5000", "http://10.1.2.3:5000/"),
            ("10.0.0.0/8", "https://10.1.2.3:5000/"),
            ("fd00::/8", "https://[fd00::1]/"),
            ("[fd00::1]:5000", "https://[fd00::1]:5000/"),
            ("", "http://localhost:5000/"),
            ("", "http://127.1.2.3:5000/"),
            ("", "https://[::1]/"),
            ("", "https://[::ffff:127.0.0.1]/"),
            ("", "https://localhost./"),
            ("", "https://sub.localhost/"),
            ("r.example", "https://r.example./"),
        ] {
            assert!(is_direct(except, url), "{except} {url}");
        }
        for (except, url) in [
            ("", "https://r.example/"),
            (",,", "https://r.example/"),
            (",,", "https://10.1.2.3/"),
            ("example", "https://r.example2/"),
            ("r.example", "https://notr.example/"),
            (".r.example", "https://r.example/"),
            ("*.r.example", "https://r.example/"),
            ("r.example:5000", "https://r.example/"),
            ("r.example:x", "https://r.example/"),
            ("10.1.2.3", "https://10.1.2.30/"),
            ("10.0.0.0/33", "https://10.1.2.3/"),
            (".", "https://r.example/"),
        ] {
            assert!(!is_direct(except, url), "{except} {url}");
        }
    }

    #[test]
    fn the_environment_says_which_proxy() {
        let find = |variables: &[(&str, &str)]| {
            let environment = variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let found = ProxySettings::find(&environment);
            let text = |it: Option<Secret>| it.map(|it| it.reveal().to_owned()).unwrap_or_default();
            (
                text(found.http),
                text(found.https),
                found.except.unwrap_or_default(),
            )
        };
        let three = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(
            find(&[
                ("HTTP_PROXY", "a"),
                ("http_proxy", "b"),
                ("https_proxy", "c"),
                ("no_proxy", "d")
            ]),
            three("a", "c", "d")
        );
        assert_eq!(
            find(&[("HTTP_PROXY", ""), ("http_proxy", "b")]),
            three("b", "", "")
        );
        assert_eq!(
            find(&[("HTTP_PROXY", "a"), ("REQUEST_METHOD", "GET")]),
            three("", "", "")
        );
    }

    proptest! {
        #[test]
        fn no_list_panics(except: String) {
            is_direct(&except, "https://r.example/");
            is_direct(&except, "https://10.1.2.3:5000/");
        }
    }
}
