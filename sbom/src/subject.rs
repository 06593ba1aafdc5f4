//! The image that a merged SBOM is about.

use oci::Digest;

use crate::component::{Component, Hash, Kind};
use crate::percent::encode;
use crate::purl::Purl;

/// The image that a merged SBOM is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subject {
    /// What it is called: a repository (`registry.example/team/app`) or just a name (`app`).
    pub name: String,
    /// The digest of its manifest.
    pub digest: Digest,
}

impl Subject {
    /// The image as a component.
    pub fn component(&self) -> Component {
        Component {
            kind: Kind::Container,
            purl: Purl::parse(&self.purl()),
            name: self.name.clone(),
            version: Some(self.digest.to_string()),
            hashes: vec![Hash::of(&self.digest)],
            ..Component::default()
        }
    }

    /// The package URL: `pkg:oci/app@sha256%3A…?repository_url=registry.example%2Fteam%2Fapp`.
    ///
    /// <https://github.com/package-url/purl-spec/blob/main/types-doc/oci-definition.md>
    pub fn purl(&self) -> String {
        let last = self.name.rsplit('/').next().unwrap_or_default();
        let mut purl = format!(
            "pkg:oci/{}@{}",
            encode(&last.to_lowercase()),
            encode(self.digest.as_str())
        );
        if self.name.contains('/') {
            purl.push_str("?repository_url=");
            purl.push_str(&encode(&self.name));
        }
        purl
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purl_names_digest_and_repository() {
        let subject = |name: &str| Subject {
            name: name.to_owned(),
            digest: Digest::of(b""),
        };
        let digest = "sha256%3Ae3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(subject("App").purl(), format!("pkg:oci/app@{digest}"));
        assert_eq!(
            subject("localhost:5000/team/app").purl(),
            format!("pkg:oci/app@{digest}?repository_url=localhost%3A5000%2Fteam%2Fapp")
        );
    }
}
