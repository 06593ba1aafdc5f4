//! References: what they parse to prints as what parses to the same, and can become part of an
//! address without changing what the address means.

use oci::{Digest, Location, Reference, Registry, Repository, Tag};
use url::{Host, Url};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "reference",
    run,
    seeds,
    words: &[
        "oci:",
        "oci-archive:",
        "docker-archive:",
        "docker-daemon:",
        "docker.io",
        "index.docker.io",
        "library/",
        "localhost",
        "127.0.0.1",
        "[::1]",
        ":5000",
        ":latest",
        "@sha256:",
        "@sha512:",
        "..",
        "%2f",
    ],
    short: 20_000,
};

fn seeds() -> Vec<Vec<u8>> {
    let digest = Digest::of(b"");
    [
        "ubuntu",
        "ubuntu:24.04",
        "docker.io/library/ubuntu",
        "registry.example/team/app:v1",
        "registry.example:5000/a/b-c/d_e.f:v1",
        "[::1]:5000/app:v1",
        "oci:some/where:v1",
        "oci-archive:/x.tar:v1",
        "docker-archive:x.tar:registry.example/app:v1",
        "docker-daemon:app:v1",
        digest.as_str(),
    ]
    .map(|it| it.as_bytes().to_vec())
    .into_iter()
    .chain([format!("localhost:5000/app:v1@{digest}").into_bytes()])
    .collect()
}

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse().as_ref(), Ok(&reference));
        match &reference.location {
            Location::Registry(repository) | Location::DockerDaemon(repository) => {
                of_repository(repository);
            }
            Location::Layout(path) | Location::LayoutArchive(path) => {
                assert!(!path.as_os_str().is_empty());
            }
            Location::DockerArchive { path, name } => {
                assert!(!path.as_os_str().is_empty());
                name.iter().for_each(of_repository);
            }
        }
        if let Some(tag) = &reference.tag {
            of_tag(tag);
        }
        if let Some(digest) = &reference.digest {
            of_digest(digest);
        }
    }
    if let Ok(repository) = text.parse::<Repository>() {
        of_repository(&repository);
    }
    if let Ok(registry) = text.parse::<Registry>() {
        assert_eq!(registry.as_str().parse().as_ref(), Ok(&registry));
    }
    if let Ok(tag) = text.parse::<Tag>() {
        assert_eq!(tag.as_str(), text);
        of_tag(&tag);
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.as_str(), text);
        of_digest(&digest);
    }
}

pub(crate) fn of_repository(repository: &Repository) {
    assert_eq!(repository.to_string().parse().as_ref(), Ok(repository));
    let path = format!("/v2/{}/tags/list", repository.path());
    assert!(path.len() < 300);
    let registry = repository.registry();
    let host = registry.host();
    let Ok(url) = Url::parse(&format!("https://{registry}{path}")) else {
        // What ends in a number has to be an IPv4 address, and what begins with `xn--` to be
        // decodable; not every name is.
        assert!(
            host.ends_with(|it: char| it.is_ascii_hexdigit() || it == 'x') || host.contains("xn--")
        );
        return;
    };
    if let Some(Host::Domain(domain)) = url.host() {
        // A name that only its case tells from a folder keeps it, and no other does.
        assert_eq!(domain, host.to_ascii_lowercase());
        assert!(domain == host || !registry.as_str().contains(['.', ':']));
    }
    let port = registry
        .as_str()
        .rsplit_once(':')
        .map_or("443", |(_, it)| it);
    assert!(url.port_or_known_default() == port.parse().ok() || registry.as_str().ends_with(']'));
    assert_eq!(url.path(), path);
    assert_eq!((url.username(), url.password()), ("", None));
    assert_eq!((url.query(), url.fragment()), (None, None));
}

fn of_tag(tag: &Tag) {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    assert!(tag.as_str().bytes().all(is_word) && (1..=128).contains(&tag.as_str().len()));
    assert!(tag.as_str() != "." && tag.as_str() != "..");
}

fn of_digest(digest: &Digest) {
    let is_hex = |b: u8| b"0123456789abcdef".contains(&b);
    assert!(digest.hex().bytes().all(is_hex));
    let name = digest.algorithm().name();
    assert_eq!(digest.as_str(), format!("{name}:{}", digest.hex()));
    let length = if name == "sha256" { 64 } else { 128 };
    assert_eq!(digest.hex().len(), length);
}
