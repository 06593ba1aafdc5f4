//! Why a registry gave no answer, as Go's HTTP client says it: nobody listens, nobody knows the name,
//! TLS did not come about, or the connection broke.

use std::net::IpAddr;

use oci::store::{NameError, NoName, RegistryRequest, RegistrySilence, TlsProblem};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::is_of_registry;

/// `url.Error`, or what reading the body gives.
pub(super) fn of_silence(silence: &RegistrySilence) -> String {
    let RegistryRequest { method, url, .. } = &silence.request;
    let why = || match (silence.io(), silence.name_error(), silence.tls_problem()) {
        (Some(error), ..) => go::words::io_cause(error),
        (_, Some(error), _) => no_address(error),
        (.., Some(problem)) => no_tls(&problem, url),
        _ => go::words::chain(silence),
    };
    if silence.began {
        return if silence.is_cut_off() {
            "unexpected EOF".to_owned()
        } else {
            why()
        };
    }
    if !silence.is_connected() && is_of_registry(url) {
        return not_connected(url, &why(), silence.io().is_some());
    }
    let why = if silence.is_cut_off() {
        "EOF".to_owned()
    } else if !silence.is_connected() {
        dialled(url, &why(), silence.io().is_some())
    } else {
        why()
    };
    format!("{} \"{url}\": {why}", operation(method))
}

/// Upstream asks for `/v2/` first, by HTTPS, and where plain HTTP will do by that, too.
fn not_connected(url: &str, why: &str, by_system: bool) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let host = rest.split('/').next().unwrap_or(rest);
    let schemes: &[&str] = match scheme {
        "http" => &["https", "http"],
        _ => &["https"],
    };
    let one = |scheme: &&str| {
        let url = format!("{scheme}://{host}/v2/");
        let why = dialled(&url, why, by_system);
        format!("Get \"{url}\": {why}")
    };
    schemes.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Why nobody could be reached at `url`.
fn dialled(url: &str, why: &str, by_system: bool) -> String {
    if !by_system {
        return why.to_owned();
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let host = rest.split('/').next().unwrap_or(rest);
    let port = if scheme == "http" { 80 } else { 443 };
    let address = match host.strip_prefix("localhost") {
        Some(port) if port.is_empty() || port.starts_with(':') => format!("127.0.0.1{port}"),
        _ => host.to_owned(),
    };
    let address = match address.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => address,
        _ => format!("{address}:{port}"),
    };
    format!("dial tcp {address}: connect: {why}")
}

/// The method as Go's client writes it: `Get`.
fn operation(method: &str) -> String {
    let mut letters = method.chars();
    match letters.next() {
        Some(first) => format!("{first}{}", letters.as_str().to_ascii_lowercase()),
        None => String::new(),
    }
}

/// What Go's resolver says. From where it asked is not known here.
fn no_address(error: &NameError) -> String {
    let on = error.server().map(|it| format!(" on {it}"));
    let on = on.unwrap_or_default();
    let why = match (error.kind(), error.io()) {
        (NoName::Unknown, _) => "no such host".to_owned(),
        (NoName::Failed, _) => "server misbehaving".to_owned(),
        (NoName::Late, _) => "i/o timeout".to_owned(),
        (NoName::Unreached, Some(cause)) => go::words::io_cause(cause),
        (NoName::Unreached, None) => "no answer from DNS server".to_owned(),
    };
    format!("dial tcp: lookup {}{on}: {why}", error.host())
}

/// What `crypto/tls` and `crypto/x509` say.
fn no_tls(problem: &TlsProblem, url: &str) -> String {
    const FAILED: &str = "tls: failed to verify certificate: x509: ";
    const EXPIRED: &str = "certificate has expired or is not yet valid: current time";
    let text = match problem {
        TlsProblem::NotSpoken => {
            return "http: server gave HTTP response to HTTPS client".to_owned();
        }
        TlsProblem::Alert(number) => return format!("remote error: tls: {}", alert(*number)),
        TlsProblem::UnknownAuthority => "certificate signed by unknown authority".to_owned(),
        TlsProblem::OtherHosts { named } => {
            let (_, rest) = url.split_once("://").unwrap_or(("", url));
            let authority = rest.split('/').next().unwrap_or(rest);
            not_for(authority, named)
        }
        TlsProblem::Expired { now, until } => {
            format!("{EXPIRED} {} is after {}", time(*now), time(*until))
        }
        TlsProblem::TooEarly { now, from } => {
            format!("{EXPIRED} {} is before {}", time(*now), time(*from))
        }
        TlsProblem::Certificate(text) => text.clone(),
        TlsProblem::Other(text) => return format!("tls: {text}"),
        other => return format!("tls: {other:?}"),
    };
    format!("{FAILED}{text}")
}

/// `x509.HostnameError`.
fn not_for(authority: &str, named: &[String]) -> String {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    };
    let is_address = |it: &str| it.parse::<IpAddr>().is_ok();
    let by_address = is_address(host);
    let fitting = named.iter().filter(|it| is_address(it) == by_address);
    let fitting: Vec<_> = fitting.map(String::as_str).collect();
    match (fitting.is_empty(), by_address) {
        (true, true) => {
            format!("cannot validate certificate for {host} because it doesn't contain any IP SANs")
        }
        (true, false) => {
            format!("certificate is not valid for any names, but wanted to match {host}")
        }
        _ => format!(
            "certificate is valid for {}, not {host}",
            fitting.join(", ")
        ),
    }
}

/// Seconds since 1970 as Go writes them.
fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok();
    let time = time.and_then(|it| OffsetDateTime::from_unix_timestamp(it).ok());
    let text = time.and_then(|it| it.format(&Rfc3339).ok());
    text.unwrap_or_else(|| seconds.to_string())
}

/// The alerts of RFC 8446, section 6, in `crypto/tls`'s words.
fn alert(number: u8) -> String {
    let text = match number {
        0 => "close notify",
        10 => "unexpected message",
        20 => "bad record MAC",
        21 => "decryption failed",
        22 => "record overflow",
        30 => "decompression failure",
        40 => "handshake failure",
        42 => "bad certificate",
        43 => "unsupported certificate",
        44 => "revoked certificate",
        45 => "expired certificate",
        46 => "unknown certificate",
        47 => "illegal parameter",
        48 => "unknown certificate authority",
        49 => "access denied",
        50 => "error decoding message",
        51 => "error decrypting message",
        60 => "export restriction",
        70 => "protocol version not supported",
        71 => "insufficient security level",
        80 => "internal error",
        86 => "inappropriate fallback",
        90 => "user canceled",
        100 => "no renegotiation",
        109 => "missing extension",
        110 => "unsupported extension",
        111 => "certificate unobtainable",
        112 => "unrecognized name",
        113 => "bad certificate status response",
        114 => "bad certificate hash value",
        115 => "unknown PSK identity",
        116 => "certificate required",
        120 => "no application protocol",
        121 => "encrypted client hello required",
        _ => return format!("alert({number})"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_asks_for_the_api_first() {
        let refused = "connection refused";
        assert_eq!(
            not_connected(
                "http://localhost:5079/v2/app/manifests/latest",
                refused,
                true
            ),
            "Get \"https://localhost:5079/v2/\": dial tcp 127.0.0.1:5079: connect: connection refused; \
             Get \"http://localhost:5079/v2/\": dial tcp 127.0.0.1:5079: connect: connection refused"
        );
        assert_eq!(
            not_connected("https://10.0.0.1/v2/app/manifests/latest", refused, true),
            "Get \"https://10.0.0.1/v2/\": dial tcp 10.0.0.1:443: connect: connection refused"
        );
        assert_eq!(operation("HEAD"), "Head");
    }

    #[test]
    fn a_token_server_is_dialled_as_it_is_named() {
        assert_eq!(
            dialled("http://localhost:9/token", "connection refused", true),
            "dial tcp 127.0.0.1:9: connect: connection refused"
        );
    }

    /// As Go 1.25 says it.
    #[test]
    fn tls_that_does_not_come_about_is_told_as_go_tells_it() {
        let named = || TlsProblem::OtherHosts {
            named: vec!["a.test".into(), "*.b.test".into(), "10.0.0.1".into()],
        };
        let verify = "tls: failed to verify certificate: x509: ";
        for (problem, url, words) in [
            (
                TlsProblem::UnknownAuthority,
                "https://r.test/v2/",
                "certificate signed by unknown authority",
            ),
            (
                named(),
                "https://r.test:5000/v2/",
                "certificate is valid for a.test, *.b.test, not r.test",
            ),
            (
                named(),
                "https://10.0.0.2:5000/v2/",
                "certificate is valid for 10.0.0.1, not 10.0.0.2",
            ),
            (
                TlsProblem::OtherHosts {
                    named: vec!["a.test".into()],
                },
                "https://[::1]:5000/v2/",
                "cannot validate certificate for ::1 because it doesn't contain any IP SANs",
            ),
            (
                TlsProblem::OtherHosts { named: Vec::new() },
                "https://r.test/v2/",
                "certificate is not valid for any names, but wanted to match r.test",
            ),
            (
                TlsProblem::Expired {
                    now: 1_700_000_000,
                    until: 1_600_000_000,
                },
                "https://r.test/v2/",
                "certificate has expired or is not yet valid: current time 2023-11-14T22:13:20Z is after 2020-09-13T12:26:40Z",
            ),
        ] {
            assert_eq!(no_tls(&problem, url), format!("{verify}{words}"));
        }
        assert_eq!(
            no_tls(&TlsProblem::Alert(40), "https://r.test/"),
            "remote error: tls: handshake failure"
        );
    }
}
