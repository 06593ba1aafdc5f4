//! Where servers may send us, and where not.

use std::net::IpAddr;

use url::{Host, Url};

/// Where an answer from `from` points us: a redirect, the address of an upload, a token server.
///
/// A name and password in it are nobody's that we know, and are left out: they would be sent as if they were.
/// Anybody may be named over HTTPS. Plain HTTP must be the same server, or be named in `insecure`.
/// And a server elsewhere does not get to name one on this machine or its link: that is how services
/// are reached that believe whoever can reach them.
pub fn follow(
    from: &Url,
    location: &str,
    is_insecure: impl Fn(&str) -> bool,
) -> Result<Url, String> {
    let to = join(from, location)
        .map_err(|error| format!("it names an address that is none: {error}"))?;
    let to = without_user(to);
    let same_host = to.host() == from.host();
    let name = to.origin().ascii_serialization();
    let known = same_host || is_insecure(&authority(&to));
    if is_local(&to) && !is_local(from) && !known {
        return Err(format!("it names `{name}`, which is this machine's own"));
    }
    match to.scheme() {
        "https" => Ok(to),
        "http" if known || is_local(&to) => Ok(to),
        "http" => Err(format!("it names `{name}`, which is not secure")),
        _ => Err(format!("it names `{name}`, which is not HTTP")),
    }
}

/// The address that `location` is, seen from `from`.
///
/// Registries behind a proxy often do not know that they are asked over HTTPS: one that names itself by
/// HTTP then means itself by HTTPS.
pub fn join(from: &Url, location: &str) -> Result<Url, url::ParseError> {
    let mut to = from.join(location)?;
    if to.host() == from.host() && from.scheme() == "https" && to.scheme() == "http" {
        let port = to.port().or(from.port());
        to = with_https(&to).ok_or(url::ParseError::EmptyHost)?;
        let set = to.set_port(port);
        set.map_err(|()| url::ParseError::InvalidPort)?;
    }
    Ok(to)
}

/// The same address without a name and password in it.
pub fn without_user(mut url: Url) -> Url {
    // These fail only for an address without a host, which has neither.
    url.set_username("").ok();
    url.set_password(None).ok();
    url
}

/// The same address by HTTPS.
pub fn with_https(url: &Url) -> Option<Url> {
    let mut url = url.clone();
    url.set_scheme("https").ok()?;
    Some(url)
}

/// Host, and port if it is not the usual one.
pub fn authority(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => String::new(),
    }
}

/// Whether it is this very machine, by a name or address that cannot be another's.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Whether it is this machine, or its very link, where clouds keep the secrets of machines.
fn is_local(url: &Url) -> bool {
    let ip = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(Host::Ipv6(ip)) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            return name == "localhost" || name.ends_with(".localhost");
        }
        None => return false,
    };
    ip.is_loopback()
        || ip.is_unspecified()
        || match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(from: &str, location: &str) -> Result<String, String> {
        follow(&Url::parse(from).unwrap(), location, |it| {
            ["plain.example:5000", "localhost:5000"].contains(&it)
        })
        .map(Into::into)
    }

    #[test]
    fn only_fit_places_are_followed() {
        for (from, location, expected) in [
            ("https://r.example/v2/", "/x?y=1", "https://r.example/x?y=1"),
            (
                "https://r.example/v2/",
                "https://cdn.example/x",
                "https://cdn.example/x",
            ),
            (
                "https://r.example/v2/",
                "http://r.example/x",
                "https://r.example/x",
            ),
            (
                "https://r.example/v2/",
                "https://me:hunter2@cdn.example/x",
                "https://cdn.example/x",
            ),
            (
                "https://r.example/v2/",
                "//me@r.example/x",
                "https://r.example/x",
            ),
            (
                "https://r.example:8443/v2/",
                "http://r.example/x",
                "https://r.example:8443/x",
            ),
            (
                "https://r.example/v2/",
                "http://plain.example:5000/x",
                "http://plain.example:5000/x",
            ),
            (
                "https://r.example/v2/",
                "http://localhost:5000/x",
                "http://localhost:5000/x",
            ),
            (
                "http://127.0.0.1:1/v2/",
                "http://127.0.0.1:2/x",
                "http://127.0.0.1:2/x",
            ),
            (
                "http://localhost:1/v2/",
                "http://127.0.0.1:2/x",
                "http://127.0.0.1:2/x",
            ),
        ] {
            assert_eq!(to(from, location), Ok(expected.to_owned()));
        }
        for (from, location) in [
            ("https://r.example/v2/", "http://cdn.example/x"),
            ("https://r.example/v2/", "http://127.0.0.1/x"),
            ("https://r.example/v2/", "https://127.0.0.1/x"),
            ("https://r.example/v2/", "https://169.254.169.254/latest"),
            (
                "https://r.example/v2/",
                "https://[::ffff:169.254.169.254]/x",
            ),
            ("https://r.example/v2/", "https://[fe80::1]/x"),
            ("https://r.example/v2/", "https://0x7f.1/x"),
            ("https://r.example/v2/", "https://localhost./x"),
            ("https://r.example/v2/", "https://sub.localhost/x"),
            ("https://r.example/v2/", "https://0.0.0.0/x"),
            ("https://r.example/v2/", "https://[::]/x"),
            ("https://r.example/v2/", "https://[::1]/x"),
            ("https://r.example/v2/", "file:///etc/passwd"),
            ("https://r.example/v2/", "https://"),
            ("http://plain.example:5000/v2/", "http://other.example/x"),
        ] {
            assert!(to(from, location).is_err(), "{location}");
        }
    }
}
