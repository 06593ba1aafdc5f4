//! Package URLs: kept as given, compared in their normal form.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::percent::{decode, encode_in_purl};

/// A package URL: `pkg:deb/debian/libc6@2.41-12?arch=amd64`.
///
/// What is written is what was read, for tools write the same URL in different ways and others
/// look for it by its text. Two are the same package if [`Purl::identity`] is the same.
///
/// <https://github.com/package-url/purl-spec>
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Purl {
    given: String,
    kind: String,
    namespace: Vec<String>,
    name: String,
    version: Option<String>,
    qualifiers: Vec<(String, String)>,
    subpath: Vec<String>,
}

impl Purl {
    /// Makes one of its parts, none of which is encoded yet. Empty ones are left out.
    pub fn new(
        kind: &str,
        namespace: Option<&str>,
        name: &str,
        version: Option<&str>,
        qualifiers: &[(&str, &str)],
    ) -> Self {
        let mut given = format!("pkg:{}", kind.to_ascii_lowercase());
        let parts = namespace.into_iter().flat_map(|it| it.split('/'));
        for part in parts.filter(|it| !it.is_empty()).chain([name]) {
            given.push('/');
            given.push_str(&encode_in_purl(part));
        }
        if let Some(version) = version.filter(|it| !it.is_empty()) {
            given.push('@');
            given.push_str(&encode_in_purl(version));
        }
        let mut qualifiers: Vec<_> = qualifiers.iter().filter(|it| !it.1.is_empty()).collect();
        qualifiers.sort_unstable();
        for (index, (key, value)) in qualifiers.into_iter().enumerate() {
            let before = if index == 0 { '?' } else { '&' };
            // Writing to a string does not fail.
            write!(given, "{before}{key}={}", encode_in_purl(value)).unwrap_or_default();
        }
        Self::parse(&given).unwrap_or_else(|| Self {
            given,
            kind: kind.to_ascii_lowercase(),
            namespace: Vec::new(),
            name: name.to_owned(),
            version: version.map(str::to_owned),
            qualifiers: Vec::new(),
            subpath: Vec::new(),
        })
    }

    /// Reads one; none if `text` is none, by a lenient reading: tools write many that the
    /// specification does not allow.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.trim().get(4..)?;
        let scheme = text.trim().get(..4)?;
        if !scheme.eq_ignore_ascii_case("pkg:") {
            return None;
        }
        let rest = rest.trim_start_matches('/');
        let (rest, subpath) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
        let (kind, path) = rest.split_once('/')?;
        let kind = kind.to_ascii_lowercase();
        // The last `@` that is not before a slash: `pkg:npm/@types/node@20`.
        let (path, version) = match path.rsplit_once('@') {
            Some((path, version)) if !version.contains('/') && !path.is_empty() => {
                (path, Some(decode(version)))
            }
            _ => (path, None),
        };
        let mut parts: Vec<String> = path
            .split('/')
            .filter(|it| !it.is_empty())
            .map(decode)
            .collect();
        let name = parts.pop()?;
        let is_kind = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '+' | '-');
        if kind.is_empty() || !kind.chars().all(is_kind) {
            return None;
        }
        let mut qualifiers: Vec<(String, String)> = qualifiers
            .split('&')
            .filter_map(|it| it.split_once('='))
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_ascii_lowercase(), decode(value)))
            .collect();
        qualifiers.sort();
        let subpath = subpath
            .split('/')
            .filter(|it| !matches!(*it, "" | "." | ".."))
            .map(decode)
            .collect();
        Some(Self {
            given: text.trim().to_owned(),
            kind,
            namespace: parts,
            name,
            version: version.filter(|it| !it.is_empty()),
            qualifiers,
            subpath,
        })
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// Its type, in small letters: `deb`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What stands between type and name, decoded; empty if nothing does.
    pub fn namespace(&self) -> String {
        self.namespace.join("/")
    }

    /// Its name, decoded.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version, decoded.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// A qualifier's value, decoded.
    pub fn qualifier(&self, key: &str) -> Option<&str> {
        let mut found = self.qualifiers.iter().filter(|(it, _)| it == key);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The normal form of its type, in which the same package has one text.
    ///
    /// Small letters where the type says that capitals mean nothing; not in `golang`, of which the
    /// specification says so, too, but where modules that differ in nothing else exist.
    pub fn identity(&self) -> String {
        let small_namespace = matches!(
            self.kind.as_str(),
            "alpm" | "apk" | "bitbucket" | "composer" | "deb" | "github" | "gitlab" | "hex" | "rpm"
        );
        let small_name = matches!(
            self.kind.as_str(),
            "alpm"
                | "apk"
                | "bitbucket"
                | "composer"
                | "deb"
                | "github"
                | "gitlab"
                | "hex"
                | "oci"
                | "pypi"
        );
        let mut identity = format!("pkg:{}", self.kind);
        for part in &self.namespace {
            identity.push('/');
            if small_namespace {
                identity.push_str(&encode_in_purl(&part.to_lowercase()));
            } else {
                identity.push_str(&encode_in_purl(part));
            }
        }
        let name = match self.kind.as_str() {
            // PEP 503.
            "pypi" => python_name(&self.name),
            _ if small_name => self.name.to_lowercase(),
            _ => self.name.clone(),
        };
        identity.push('/');
        identity.push_str(&encode_in_purl(&name));
        if let Some(version) = &self.version {
            identity.push('@');
            identity.push_str(&encode_in_purl(version));
        }
        for (index, (key, value)) in self.qualifiers.iter().enumerate() {
            let before = if index == 0 { '?' } else { '&' };
            // Writing to a string does not fail.
            write!(identity, "{before}{key}={}", encode_in_purl(value)).unwrap_or_default();
        }
        if !self.subpath.is_empty() {
            identity.push('#');
            let parts: Vec<String> = self.subpath.iter().map(|it| encode_in_purl(it)).collect();
            identity.push_str(&parts.join("/"));
        }
        identity
    }
}

impl From<Purl> for String {
    fn from(purl: Purl) -> Self {
        purl.given
    }
}

impl TryFrom<String> for Purl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("no package URL")
    }
}

impl fmt::Display for Purl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

/// A Python project's name as PEP 503 compares it.
fn python_name(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for part in name.split(['-', '_', '.']).filter(|it| !it.is_empty()) {
        if !normal.is_empty() {
            normal.push('-');
        }
        normal.push_str(&part.to_lowercase());
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found() {
        let purl = Purl::parse("pkg:npm/%40types/node@20.1.0?b=2&a=1#sub/./path").unwrap();
        assert_eq!(purl.kind(), "npm");
        assert_eq!(purl.namespace(), "@types");
        assert_eq!(purl.name(), "node");
        assert_eq!(purl.version(), Some("20.1.0"));
        assert_eq!(purl.qualifier("a"), Some("1"));
        assert_eq!(
            purl.identity(),
            "pkg:npm/%40types/node@20.1.0?a=1&b=2#sub/path"
        );
        let bare = Purl::parse("pkg:npm/@types/node@20.1.0").unwrap();
        assert_eq!(bare.identity(), "pkg:npm/%40types/node@20.1.0");
        assert_eq!(Purl::parse("pkg:npm/@types/node").unwrap().version(), None);
    }

    #[test]
    fn one_package_has_one_identity() {
        for (one, two) in [
            ("pkg:deb/debian/a@1%3A2.38", "pkg:DEB/Debian/a@1:2.38"),
            ("pkg:pypi/Zope.Interface@5", "pkg:pypi/zope_interface@5"),
            ("pkg:github/Acme/App", "pkg:github/acme/app"),
            ("pkg:deb/d/a@1?b=c&a=", "pkg:deb/d/a@1?b=c"),
            ("pkg:deb/d/g%2B%2B@1", "pkg:deb/d/g++@1"),
        ] {
            let identity = |it| Purl::parse(it).unwrap().identity();
            assert_eq!(identity(one), identity(two));
        }
        for (one, two) in [
            (
                "pkg:golang/github.com/BurntSushi/toml@1",
                "pkg:golang/github.com/burntsushi/toml@1",
            ),
            ("pkg:npm/A@1", "pkg:npm/a@1"),
            ("pkg:npm/a@1", "pkg:npm/a@2"),
            ("pkg:npm/a%2Fb@1", "pkg:npm/a/b@1"),
        ] {
            let identity = |it| Purl::parse(it).unwrap().identity();
            assert_ne!(identity(one), identity(two));
        }
    }

    #[test]
    fn what_is_none_is_none() {
        for text in [
            "",
            "pkg:",
            "pkg:npm",
            "pkg:npm/",
            "npm/a",
            "pkg:n m/a",
            "pk\u{e4}:a/b",
        ] {
            assert_eq!(Purl::parse(text), None, "{text}");
        }
    }

    #[test]
    fn made_ones_are_encoded_once() {
        let qualifiers = [("distro", "debian-13"), ("arch", "amd64"), ("epoch", "")];
        let purl = Purl::new("deb", Some("debian"), "g++", Some("1:2@3"), &qualifiers);
        assert_eq!(
            purl.as_str(),
            "pkg:deb/debian/g%2B%2B@1:2%403?arch=amd64&distro=debian-13"
        );
        assert_eq!((purl.name(), purl.version()), ("g++", Some("1:2@3")));
        let odd = Purl::new("npm", Some("@a"), "b?c#d", None, &[]);
        assert_eq!(odd.as_str(), "pkg:npm/%40a/b%3Fc%23d");
        assert_eq!(odd.name(), "b?c#d");
    }
}
