//! Images as users type them. A name without a slash is one of Docker Hub, so that a registry that somebody
//! typed alone would be asked for there; who typed `localhost:5000` did not mean that.

use std::path::Path;

use oci::{Location, Reference, ReferenceError};

/// Why what was typed does not name an image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoImage {
    #[error(transparent)]
    Malformed(#[from] ReferenceError),
    #[error("`{0}` names a registry, not an image; write `{0}/REPOSITORY`")]
    Registry(String),
}

/// Parses an image that a user typed.
pub(crate) fn image(text: &str) -> Result<Reference, NoImage> {
    let parsed: Result<Reference, _> = text.parse();
    let is_elsewhere = |it: &Reference| !matches!(it.location, Location::Registry(_));
    match registry(text) {
        Some(host) if !parsed.as_ref().is_ok_and(is_elsewhere) => {
            Err(NoImage::Registry(host.to_owned()))
        }
        _ => Ok(parsed?),
    }
}

/// Refuses a registry alone where a buildpack is named by its image: `docker://HOST`, or without that.
pub(crate) fn module_image(text: &str) -> Result<(), NoImage> {
    let name = text.strip_prefix("docker://").unwrap_or(text);
    match registry(name.trim_start_matches('/')) {
        Some(host) => Err(NoImage::Registry(host.to_owned())),
        None => Ok(()),
    }
}

/// The registry that `text` names without a repository in it.
fn registry(text: &str) -> Option<&str> {
    let name = text.split_once('@').map_or(text, |(name, _)| name);
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.contains('/') || Path::new(name).exists() {
        // A file is more likely meant than a registry, and what is said of it names it.
        return None;
    }
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (name, None),
    };
    if port.is_some_and(|it| it.is_empty() || !it.bytes().all(|it| it.is_ascii_digit())) {
        return None;
    }
    (is_host(host) && !is_file(host)).then_some(name)
}

/// Whether Docker, too, would take it for a host in front of a repository.
fn is_host(text: &str) -> bool {
    let is_address = text.starts_with('[') && text.ends_with(']');
    let mut labels = text.split('.');
    let is_name =
        labels.clone().count() > 1 && labels.all(|it| !it.is_empty() && !it.contains(':'));
    text == "localhost" || is_address || is_name
}

/// Whether it ends like the name of a file: what is said where it is not found is about files.
fn is_file(text: &str) -> bool {
    const ENDINGS: [&str; 5] = ["tar", "tgz", "gz", "json", "toml"];
    let ending = text.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|it| ENDINGS.contains(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_alone_is_no_image() {
        for text in [
            "localhost:5000",
            "localhost",
            "localhost:5000/",
            "registry.example",
            "registry.example:443",
            "127.0.0.1:5000",
            "[::1]:5000",
            "registry.example@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ] {
            let said = image(text).expect_err(text).to_string();
            assert!(said.contains("names a registry, not an image"), "{said}");
            assert!(said.contains("/REPOSITORY"), "{said}");
        }
        for text in [
            "alpine",
            "registry:2",
            "node:22.1",
            "localhost:5000/app",
            "registry.example/app:v1",
            "docker.io/alpine",
            "oci:registry.example:5000",
            "docker-daemon:registry.example:5000",
            "docker-archive:app.tar:app.example",
            "app.tar",
        ] {
            image(text).expect(text);
        }
    }

    #[test]
    fn what_is_wrong_with_a_name_is_said() {
        assert!(image("").is_err());
        assert!(
            image("docker://a.example/b")
                .unwrap_err()
                .to_string()
                .contains("a.example/b")
        );
    }
}
