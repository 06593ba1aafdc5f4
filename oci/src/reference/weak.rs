//! Names of images as the lifecycle of the Go project reads them: letters are looked at, and where they
//! stand is not. `a..b`, `-ab`, `ab/`, `a//b` and the tag `-x` are names to it, and the registry decides.
//!
//! One thing is stricter here: `.` and `..` as a part of a path or as a tag are gone once they stand in an
//! address, so that another one would be asked than the name says.
//!
//! go-containerregistry 0.21.9, `pkg/name`.

use super::repository::is_host;
use super::tag::is_plain;
use super::{Location, Reference, ReferenceError, Registry, Repository, Tag};

impl Reference {
    /// Parses the name of an image in a registry by these rules. What [`parse`](str::parse) takes is the same.
    pub fn parse_weakly(text: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(ReferenceError::Digest)?)),
            None => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(weak_tag(tag)?)),
            _ => (rest, None),
        };
        Ok(Self {
            location: Location::Registry(weak_repository(path)?),
            tag,
            digest,
        })
    }
}

/// What an address would lose.
fn is_lost(part: &str) -> bool {
    matches!(part, "." | "..")
}

fn weak_tag(text: &str) -> Result<Tag, ReferenceError> {
    if is_plain(text) {
        Ok(Tag::weak(text))
    } else {
        Err(ReferenceError::Tag {
            text: text.to_owned(),
        })
    }
}

fn weak_repository(text: &str) -> Result<Repository, ReferenceError> {
    let (registry, path) = match text.split_once('/') {
        Some((first, path)) if is_host(first) => (first.parse::<Registry>()?, path),
        _ => (Registry::DOCKER_HUB.parse::<Registry>()?, text),
    };
    let is_letter = |it: u8| {
        it.is_ascii_lowercase() || it.is_ascii_digit() || matches!(it, b'_' | b'-' | b'.' | b'/')
    };
    // Its length is looked at before Docker's folder is put before it.
    let is_good = (2..=255).contains(&path.len())
        && path.bytes().all(is_letter)
        && !path.split('/').any(is_lost);
    if !is_good {
        return Err(ReferenceError::Repository {
            text: path.to_owned(),
        });
    }
    let is_short = registry.as_str() == Registry::DOCKER_HUB && !path.contains('/');
    Ok(if is_short {
        Repository::weak(registry, format!("library/{path}"))
    } else {
        Repository::weak(registry, path.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_upstream_takes_for_a_name_is_one() {
        for name in [
            "a..b", "-ab", "ab-", "_ab", "ab/", "a//b", ".ab", "ab.", "app:-x", "app:.x",
        ] {
            let text = format!("r.example:5000/{name}");
            assert!(text.parse::<Reference>().is_err(), "{text}");
            let parsed = Reference::parse_weakly(&text).unwrap();
            assert_eq!(parsed.to_string(), text);
        }
        let short = Reference::parse_weakly("-ab:-x").unwrap();
        assert_eq!(short.to_string(), "index.docker.io/library/-ab:-x");
    }

    #[test]
    fn nothing_in_a_name_leads_elsewhere() {
        for name in [
            "../ab",
            "./ab",
            "ab/..",
            "ab/../cd",
            "ab/./cd",
            "app:..",
            "app:.",
            "a",
            "Ab",
            "ab?x",
            "ab#x",
            "ab%2e",
            "a\\b",
            "ab:",
            "ab:x:y",
            "ab@sha256:0",
            "",
        ] {
            let text = format!("r.example/{name}");
            assert!(Reference::parse_weakly(&text).is_err(), "{text}");
        }
        for text in [
            "",
            "oci:5000/ab",
            "http://r.example/ab",
            "../ab",
            "/ab/cd/../ef",
        ] {
            assert!(Reference::parse_weakly(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_a_name_to_everybody_is_the_same_name() {
        for text in [
            "ubuntu",
            "ubuntu:24.04",
            "me/app",
            "docker.io/app",
            "R.example/a/b:v1",
            "[::1]:5000/app",
        ] {
            assert_eq!(Reference::parse_weakly(text), text.parse(), "{text}");
        }
    }
}
