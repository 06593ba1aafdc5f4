//! npm: `package.json` of what is installed, and what `node_modules/.package-lock.json` adds.
//!
//! <https://docs.npmjs.com/cli/configuring-npm/package-json>

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::purl;
use crate::component::{Component, Hash, HashAlgorithm, Kind, License, Link, LinkKind, Party};

/// Bytes of a `package.json`, and of a lock file.
pub(super) const LARGEST: u64 = 4 << 20;
pub(super) const LARGEST_LOCK: u64 = 64 << 20;

/// Names that one may depend on.
const MOST: usize = 10_000;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Package {
    name: String,
    version: String,
    licenses: Vec<License>,
    description: Option<String>,
    author: Option<Party>,
    urls: Vec<Link>,
    pub(super) depends: Vec<String>,
}

/// What a lock file says of the package in each folder: where it is from, and its hash.
pub(crate) type Locked = BTreeMap<String, (Option<String>, Option<Hash>)>;

pub(super) fn wants(path: &str) -> bool {
    path.ends_with("/package.json") || path == "package.json"
}

pub(super) fn wants_lock(path: &str) -> bool {
    super::is_at(path, "node_modules/.package-lock.json")
}

/// None if it has no name or no version: then it says how a folder is used, not what it is.
pub(super) fn parse(content: &[u8]) -> Result<Option<Package>, String> {
    let root: Value = serde_json::from_slice(content).map_err(|it| it.to_string())?;
    let text = |name: &str| root.get(name).and_then(Value::as_str).unwrap_or_default();
    let (name, version) = (text("name"), text("version"));
    if name.is_empty() || version.is_empty() {
        return Ok(None);
    }
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut urls = Vec::new();
    let mut link = |kind, url: Option<&str>| {
        if let Some(url) = url.filter(|it| !it.is_empty()) {
            urls.push(Link {
                kind,
                url: url.to_owned(),
            });
        }
    };
    link(
        LinkKind::Website,
        root.get("homepage").and_then(Value::as_str),
    );
    let url_of = |it: &'static str| root.get(it)?.get("url").and_then(Value::as_str);
    link(LinkKind::Sources, url_of("repository"));
    link(LinkKind::Issues, url_of("bugs"));
    let mut depends: Vec<String> = ["dependencies", "optionalDependencies", "peerDependencies"]
        .iter()
        .filter_map(|it| root.get(*it)?.as_object())
        .flat_map(|it| it.keys().cloned())
        .take(MOST)
        .collect();
    depends.sort();
    depends.dedup();
    Ok(Some(Package {
        name: name.to_owned(),
        version: version.to_owned(),
        licenses: licenses(&root),
        description: some(text("description")),
        author: root.get("author").and_then(author),
        urls,
        depends,
    }))
}

fn licenses(root: &Value) -> Vec<License> {
    let one = |it: &Value| {
        let name = match it {
            Value::String(name) => name.as_str(),
            other => other.get("type").or_else(|| other.get("name"))?.as_str()?,
        };
        let name = name.trim();
        (!name.is_empty()).then(|| License::of(name))
    };
    match (root.get("license"), root.get("licenses")) {
        (Some(Value::Array(all)), _) | (None, Some(Value::Array(all))) => {
            all.iter().filter_map(one).collect()
        }
        (Some(license), _) | (None, Some(license)) => one(license).into_iter().collect(),
        (None, None) => Vec::new(),
    }
}

/// `A B <a@b.c> (https://…)`, or the same as an object.
fn author(value: &Value) -> Option<Party> {
    if let Value::String(text) = value {
        let (text, url) = text.split_once('(').unwrap_or((text, ""));
        let mut party = Party::parse(text)?;
        let url = url.trim_end().trim_end_matches(')');
        party.url = (!url.is_empty()).then(|| url.to_owned());
        party.is_person = true;
        return Some(party);
    }
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Party {
        is_person: true,
        name: text("name")?,
        email: text("email"),
        url: text("url"),
    })
}

/// By folder, without a slash at its end: `app/node_modules/a`.
pub(super) fn parse_lock(path: &str, content: &[u8]) -> Result<Locked, String> {
    let root: Value = serde_json::from_slice(content).map_err(|it| it.to_string())?;
    // `node_modules/.package-lock.json` has paths from the folder above.
    let above = path.rsplitn(3, '/').nth(2).unwrap_or_default();
    let packages = root.get("packages").and_then(Value::as_object);
    let locked = packages.into_iter().flatten().map(|(at, package)| {
        let folder = if above.is_empty() {
            at.clone()
        } else {
            format!("{above}/{at}")
        };
        let text = |name: &str| package.get(name).and_then(Value::as_str);
        let hash = text("integrity").and_then(hash);
        (folder, (text("resolved").map(str::to_owned), hash))
    });
    Ok(locked.collect())
}

/// `sha512-` and base64.
fn hash(integrity: &str) -> Option<Hash> {
    // The strongest is the last by name.
    let best = integrity.split_whitespace().max()?;
    let (algorithm, value) = best.split_once('-')?;
    let algorithm = match algorithm {
        "sha1" => HashAlgorithm::Sha1,
        "sha256" => HashAlgorithm::Sha256,
        "sha384" => HashAlgorithm::Sha384,
        "sha512" => HashAlgorithm::Sha512,
        _ => return None,
    };
    let bytes = BASE64_STANDARD.decode(value).ok()?;
    Hash::hex(algorithm, &super::hex(&bytes))
}

impl Package {
    /// As syft writes it.
    pub(super) fn purl(&self) -> String {
        let (scope, name) = self.name.split_once('/').unwrap_or(("", &self.name));
        purl("npm", scope, name, &self.version, &[])
    }

    pub(super) fn component(&self) -> Component {
        let (scope, name) = match self.name.split_once('/') {
            Some((scope, name)) if !name.is_empty() => (Some(scope.to_owned()), name),
            _ => (None, self.name.as_str()),
        };
        let mut component = Component::new(Kind::Library, name);
        component.group = scope;
        component.purl = super::parsed(&self.purl());
        component.version = Some(self.version.clone());
        component.description.clone_from(&self.description);
        component.originator.clone_from(&self.author);
        component.licenses.declared.clone_from(&self.licenses);
        component.urls.clone_from(&self.urls);
        component
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read() {
        let text = br#"{"name":"@a/b","version":"1.0.0-rc.1","license":"MIT","author":"A B <a@b.c> (http://b)","dependencies":{"c":"^1"},"peerDependencies":{"d":"*"},"repository":{"type":"git","url":"git+https://x"}}"#;
        let package = parse(text).unwrap().unwrap();
        assert_eq!(package.purl(), "pkg:npm/%40a/b@1.0.0-rc.1");
        assert_eq!(package.depends, ["c", "d"]);
        assert_eq!(package.licenses, [License::Expression("MIT".to_owned())]);
        assert_eq!(package.author.unwrap().url.as_deref(), Some("http://b"));
        for (license, count) in [
            (r#""licenses":[{"type":"MIT"},{"type":"ISC"}]"#, 2),
            (r#""license":{"type":"MIT"}"#, 1),
            (r#""license":["MIT"]"#, 1),
            (r#""license":7"#, 0),
        ] {
            let text = format!(r#"{{"name":"a","version":"1",{license}}}"#);
            assert_eq!(
                parse(text.as_bytes()).unwrap().unwrap().licenses.len(),
                count,
                "{license}"
            );
        }
        for none in [
            r#"{"type":"module"}"#,
            r#"{"name":"a"}"#,
            "[]",
            "7",
            r#"{"name":1,"version":2}"#,
        ] {
            assert_eq!(parse(none.as_bytes()), Ok(None), "{none}");
        }
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn locks_have_hashes() {
        let text = br#"{"packages":{"node_modules/a":{"version":"1","resolved":"https://r/a.tgz","integrity":"sha512-AAEC"},"node_modules/b":{}}}"#;
        let locked = parse_lock("app/node_modules/.package-lock.json", text).unwrap();
        let (resolved, hash) = &locked["app/node_modules/a"];
        assert_eq!(resolved.as_deref(), Some("https://r/a.tgz"));
        assert_eq!(hash.as_ref().unwrap().value, "000102");
        let root = parse_lock("node_modules/.package-lock.json", text).unwrap();
        assert!(root.contains_key("node_modules/b"));
    }
}
