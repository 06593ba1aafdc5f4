//! Names of images, as a kubelet reads them: Docker's short forms, and nothing but registries.

use oci::{Digest, Reference, ReferenceError, Repository, Tag};

/// Longer than any registry allows.
const MAX_BYTES: usize = 1024;

/// Reads the `image` of a container: a reference to a registry, with a tag (`latest` where there is
/// neither tag nor digest).
///
/// [`Reference`] itself would read `oci:1` as a folder on this machine. To a kubelet it is Docker's
/// `library/oci` with the tag `1`.
///
/// <https://kubernetes.io/docs/concepts/containers/images/#image-names>
pub fn image_name(text: &str) -> Result<Reference, NameError> {
    // `auto` is what Istio has replaced later; an empty name is allowed in a pod template.
    if text.is_empty() || text == "auto" {
        return Err(NameError::Placeholder {
            text: text.to_owned(),
        });
    }
    if text.len() > MAX_BYTES {
        return Err(NameError::TooLong { limit: MAX_BYTES });
    }
    let bare = text.strip_prefix("sha256:").unwrap_or(text);
    if bare.len() == 64 && bare.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(NameError::ImageId);
    }
    let malformed = |source| NameError::Malformed {
        text: shown(text),
        source,
    };
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => {
            let digest: Digest = digest
                .parse()
                .map_err(|it| malformed(ReferenceError::Digest(it)))?;
            (rest, Some(digest))
        }
        None => (text, None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => {
            (path, Some(tag.parse::<Tag>().map_err(malformed)?))
        }
        _ => (rest, None),
    };
    let repository: Repository = path.parse().map_err(malformed)?;
    let tag = match (tag, &digest) {
        (None, None) => Some(Tag::latest()),
        (tag, _) => tag,
    };
    let mut canonical = repository.to_string();
    if let Some(tag) = tag {
        canonical.push(':');
        canonical.push_str(tag.as_str());
    }
    if let Some(digest) = digest {
        canonical.push('@');
        canonical.push_str(digest.as_str());
    }
    // With the host written out, no prefix of another place can be in front.
    canonical.parse().map_err(malformed)
}

/// The same name, with `digest` behind it: what a patch writes. A tag stays, one that was left out is
/// written out.
pub(crate) fn pinned(text: &str, name: &Reference, digest: &Digest) -> String {
    let has_tag = text
        .rsplit_once(':')
        .is_some_and(|(_, tag)| !tag.contains('/'));
    match &name.tag {
        Some(tag) if !has_tag => format!("{text}:{tag}@{digest}"),
        _ => format!("{text}@{digest}"),
    }
}

/// Text of a stranger on one line of bounded length.
pub(crate) fn shown(text: &str) -> String {
    const MAX_CHARS: usize = 256;
    let mut shown: String = text
        .chars()
        .map(|c| if c.is_control() { '�' } else { c })
        .take(MAX_CHARS)
        .collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// Why a text names no image that a registry could be asked about.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It stands for what another webhook will write.
    #[error("{}", if text.is_empty() { "the image name is empty" } else { "`auto` is not an image name: it stands for what another webhook writes there" })]
    Placeholder {
        /// What stands there.
        text: String,
    },
    /// A node would take what it happens to have.
    #[error("an image ID names what a node has, not what a registry has")]
    ImageId,
    /// It is longer than is read.
    #[error("the image name is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// It is malformed.
    #[error("the image name `{text}` is malformed")]
    Malformed {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
}

#[cfg(test)]
mod tests {
    use oci::Location;

    use super::*;

    #[test]
    fn names_are_read_as_a_kubelet_reads_them() {
        for (text, name) in [
            ("nginx", "index.docker.io/library/nginx:latest"),
            ("nginx:1.27", "index.docker.io/library/nginx:1.27"),
            ("me/app", "index.docker.io/me/app:latest"),
            ("docker.io/nginx", "index.docker.io/library/nginx:latest"),
            ("r.example/app", "r.example/app:latest"),
            ("R.example/app:1", "r.example/app:1"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
            // Not a folder, not an archive, not a daemon.
            ("oci:1", "index.docker.io/library/oci:1"),
            (
                "docker-daemon:app",
                "index.docker.io/library/docker-daemon:app",
            ),
            ("oci-archive:x", "index.docker.io/library/oci-archive:x"),
            ("r.example", "index.docker.io/library/r.example:latest"),
        ] {
            let read = image_name(text).unwrap();
            assert_eq!(read.to_string(), name, "{text}");
            assert!(matches!(read.location, Location::Registry(_)), "{text}");
        }
        let digest = Digest::of(b"");
        let read = image_name(&format!("nginx:1@{digest}")).unwrap();
        assert_eq!(
            read.to_string(),
            format!("index.docker.io/library/nginx:1@{digest}")
        );
        let read = image_name(&format!("nginx@{digest}")).unwrap();
        assert_eq!((read.tag, read.digest), (None, Some(digest)));
    }

    #[test]
    fn what_names_no_image_says_why() {
        let hex = "a".repeat(64);
        for text in [
            "",
            "auto",
            &hex,
            &format!("sha256:{hex}"),
            "App",
            "a b",
            "oci:/etc",
            "oci:5000/app",
            "docker-daemon:x/y:z",
            "a@sha256:12",
            "a:b:c",
            "a@",
            "a:",
            "../a",
            " a",
            "a\n",
            "http://r.example/a",
            &"a".repeat(2000),
        ] {
            assert!(image_name(text).is_err(), "{text}");
        }
        assert_eq!(image_name(&hex), Err(NameError::ImageId));
        let error = image_name("A\u{1b}[31m").unwrap_err();
        assert_eq!(error.to_string(), "the image name `A�[31m` is malformed");
    }

    #[test]
    fn a_pinned_name_keeps_its_tag_and_reads_as_both() {
        let digest = Digest::of(b"");
        for (text, want) in [
            ("nginx", "nginx:latest"),
            ("nginx:1", "nginx:1"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("localhost:5000/a:b", "localhost:5000/a:b"),
        ] {
            let name = image_name(text).unwrap();
            let pinned = pinned(text, &name, &digest);
            assert_eq!(pinned, format!("{want}@{digest}"));
            let again = image_name(&pinned).unwrap();
            assert_eq!(again.location, name.location);
            assert_eq!((again.tag, again.digest), (name.tag, Some(digest.clone())));
        }
    }
}
