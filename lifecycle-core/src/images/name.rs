//! What go-containerregistry takes for the name of an image. It is more than names an image anywhere:
//! platforms give such names, and a phase says what is wrong with them where upstream's does.

use go::words::quoted;

/// The registry of the image `name`, if it is a name for go-containerregistry: `http:` for `http://x/y`,
/// Docker Hub's for a path below `/`.
pub fn registry(name: &str) -> Option<String> {
    tagged(name).or_else(|| {
        let (base, digest) = name.split_once('@')?;
        let hex = digest.strip_prefix("sha256:")?;
        let is_hex = |it: u8| matches!(it, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != 64 || !hex.bytes().all(is_hex) {
            return None;
        }
        tagged(base).or_else(|| repository(base))
    })
}

/// What is wrong with `text` as a digest of an image, if anything is.
pub(crate) fn digest_problem(text: &str) -> Option<String> {
    let (algorithm, hex) = text.split_once(':').unwrap_or(("", ""));
    if algorithm.is_empty() || hex.is_empty() {
        return Some(format!("cannot parse hash: {}", quoted(text.as_bytes())));
    }
    let is_hex = |it: &u8| matches!(it, b'0'..=b'9' | b'a'..=b'f');
    if let Some(odd) = hex.bytes().find(|it| !is_hex(it)) {
        // A byte of a letter is told as if it were one.
        return Some(format!(
            "found non-hex character in hash: {}",
            char::from(odd)
        ));
    }
    let digits = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        _ => {
            let algorithm = quoted(algorithm.as_bytes());
            return Some(format!("unsupported hash: {algorithm}"));
        }
    };
    (hex.len() != digits).then(|| format!("wrong number of hex digits for {algorithm}: {hex}"))
}

/// [`registry`] of a name without a digest.
fn tagged(name: &str) -> Option<String> {
    let (base, tag) = match name.rsplit_once(':') {
        Some((base, tag)) if !tag.contains('/') => (base, Some(tag)),
        _ => (name, None),
    };
    let is_tag = |tag: &str| {
        (1..=128).contains(&tag.len())
            && (tag.bytes())
                .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-' | b'.'))
    };
    if !tag.is_none_or(is_tag) {
        return None;
    }
    repository(base)
}

/// [`registry`] of a name without tag and digest.
fn repository(name: &str) -> Option<String> {
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => ("", name),
    };
    let is_path = |it: u8| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'/');
    if !(2..=255).contains(&path.len()) || !path.bytes().all(is_path) || !is_host(registry) {
        return None;
    }
    Some(match registry {
        "" | "docker.io" => "index.docker.io".to_owned(),
        registry => registry.to_owned(),
    })
}

/// Whether Go's `net/url` reads all of `text` as a host with a port.
fn is_host(text: &str) -> bool {
    let (name, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let is_of_host = |it: char| {
        !it.is_ascii() || it.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"".contains(it)
    };
    name.chars().all(is_of_host) && port.bytes().all(|it| it.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_registries_that_go_sees() {
        let digest = "a".repeat(64);
        for (name, expected) in [
            ("shop/app", Some("index.docker.io")),
            ("docker.io/shop/app:1", Some("index.docker.io")),
            ("localhost/app", Some("localhost")),
            ("localhost:5000/app:v1", Some("localhost:5000")),
            ("http://x/y", Some("http:")),
            ("registry.example/app", Some("registry.example")),
            (
                &format!("registry.example/app@sha256:{digest}"),
                Some("registry.example"),
            ),
            (&format!("a.b/app:tag@sha256:{digest}"), Some("a.b")),
            (
                &format!("/layouts/a.b/app/latest@sha256:{digest}"),
                Some("index.docker.io"),
            ),
            ("localhost:5000/a", None),
            ("a", None),
            ("", None),
            ("UPPER/case", None),
            ("shop/app:", None),
            ("shop/app@sha256:1", None),
            ("a.b?c/app", None),
            ("a.b:port/app", None),
            ("user@a.b/app", None),
        ] {
            assert_eq!(registry(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_digest_is_told() {
        let good = format!("sha256:{}", "0".repeat(64));
        assert_eq!(digest_problem(&good), None);
        for (text, problem) in [
            ("", "cannot parse hash: \"\""),
            ("x", "cannot parse hash: \"x\""),
            ("sha256:", "cannot parse hash: \"sha256:\""),
            ("sha256:xa", "found non-hex character in hash: x"),
            ("md5:aa", "unsupported hash: \"md5\""),
            ("sha256:aa", "wrong number of hex digits for sha256: aa"),
        ] {
            assert_eq!(digest_problem(text).as_deref(), Some(problem), "{text}");
        }
    }
}
