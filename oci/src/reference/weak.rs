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
        Some((first, path)) if is_host(first) => (Registry::weak(first)?, path),
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

    /// What go-containerregistry 0.21.9 and distribution/reference 0.6.0 made of names, which is what crane,
    /// the lifecycle, Docker and skopeo make of them: `-` for none.
    #[test]
    fn names_are_read_as_the_tools_of_the_field_read_them() {
        let recorded = include_str!("../../../tests/fixtures/references.tsv");
        let shown = |reference: &Reference, full: bool| {
            let Location::Registry(repository) = &reference.location else {
                return "no image".to_owned();
            };
            let tag = reference.tag.as_ref().map(|it| format!(":{it}"));
            let digest = reference.digest.as_ref().map(|it| format!("@{it}"));
            let rest = match (tag, digest) {
                (tag, Some(digest)) if full => tag.unwrap_or_default() + &digest,
                (_, Some(digest)) => digest,
                (Some(tag), None) => tag,
                (None, None) if full => String::new(),
                (None, None) => ":latest".to_owned(),
            };
            format!("{repository}{rest}")
        };
        // What no host and no port can be is refused before anybody is asked for it; and a name of ours that
        // Docker does not take is for the registry to judge.
        let is_refused = |text: &str| {
            let first = text.split('/').next().unwrap_or_default();
            let (host, port) = first.split_at(first.rfind(':').unwrap_or(first.len()));
            let is_transport = host == "oci" || host == "docker-daemon";
            let number = port.strip_prefix(':');
            let is_port = number.is_none_or(|it| it.parse::<u16>().is_ok());
            is_transport
                || !is_port
                || host.contains("..")
                || host.starts_with([':', '-'])
                || host.contains("-.")
                || !host.is_ascii()
        };
        let is_looser = |text: &str| text.starts_with("r_x.") || text.contains("a.-b");
        let docker_hub = |name: String| name.replace("index.docker.io/", "docker.io/");
        let mut differ = Vec::new();
        for line in recorded.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [text, go, scheme, docker] = fields[..] else {
                panic!("{line}")
            };
            let lower = |name: &str| match name.split_once('/') {
                Some((host, rest)) => format!("{}/{rest}", host.to_ascii_lowercase()),
                None => name.to_owned(),
            };
            let read = Reference::parse_weakly(text);
            let ours = read.as_ref().map_or("-".to_owned(), |it| shown(it, false));
            let is_known = ours == "-" && is_refused(text);
            if !is_known && docker_hub(lower(&ours)) != docker_hub(lower(go)) {
                differ.push(format!("go {text}: {go}, ours {ours}"));
            }
            // Which registries may be asked by plain HTTP. Docker's clients do so for all of this machine.
            if let Ok(Reference {
                location: Location::Registry(it),
                ..
            }) = &read
            {
                let registry = it.registry();
                let may = registry.is_private() || registry.is_loopback();
                let is_ours = registry.is_loopback()
                    && (!registry.has_port()
                        || registry.host() == "127.0.0.2"
                        || text != lower(text));
                if may != (scheme == "http") && !is_ours {
                    differ.push(format!("scheme {text}: {scheme}"));
                }
            }
            let ours = text.parse().map_or("-".to_owned(), |it| shown(&it, true));
            let is_known = is_refused(text) || (docker == "-" && is_looser(text));
            if !is_known && docker_hub(lower(&ours)) != docker_hub(lower(docker)) {
                differ.push(format!("docker {text}: {docker}, ours {ours}"));
            }
        }
        assert!(differ.is_empty(), "{}", differ.join("\n"));
    }
}
