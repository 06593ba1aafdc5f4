//! Names of images, as Docker writes them.

use std::fmt::Write as _;

use crate::{Registry, Repository};

/// As `docker images` shows it: `app`, `me/app`, `registry.example/app`.
pub(super) fn short(repository: &Repository) -> String {
    if repository.registry().as_str() != Registry::DOCKER_HUB {
        return repository.to_string();
    }
    let path = repository.path();
    path.strip_prefix("library/").unwrap_or(path).to_owned()
}

/// As containerd keeps it: `docker.io/library/app`.
pub(super) fn long(repository: &Repository) -> String {
    if repository.registry().as_str() != Registry::DOCKER_HUB {
        return repository.to_string();
    }
    format!("docker.io/{}", repository.path())
}

/// A name as part of a path.
pub(super) fn in_path(name: &str) -> String {
    encode(name, b"/:@._-")
}

/// Text as a value of a query.
pub(super) fn in_query(text: &str) -> String {
    encode(text, b"/:._-")
}

fn encode(text: &str, plain: &[u8]) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            encoded.push(byte.into());
        } else {
            write!(encoded, "%{byte:02X}").unwrap_or_default();
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_docker_has_them() {
        for (text, shown, kept) in [
            ("app", "app", "docker.io/library/app"),
            ("docker.io/me/app", "me/app", "docker.io/me/app"),
            (
                "localhost:5000/app",
                "localhost:5000/app",
                "localhost:5000/app",
            ),
        ] {
            let repository = text.parse().unwrap();
            assert_eq!(
                (short(&repository), long(&repository)),
                (shown.to_owned(), kept.to_owned())
            );
        }
        assert_eq!(in_path("[::1]:5000/app:v1"), "%5B::1%5D:5000/app:v1");
        assert_eq!(
            in_query(r#"{"a b":["c&d"]}"#),
            "%7B%22a%20b%22%3A%5B%22c%26d%22%5D%7D".replace("%3A", ":")
        );
    }
}
