//! Alpine's package database: `lib/apk/db/installed`.
//!
//! <https://wiki.alpinelinux.org/wiki/Apk_spec>

use std::io::{self, BufRead};

use super::lines::each_line;
use super::{Owned, Release, purl};
use crate::component::{Component, Kind, License, Link, LinkKind, Party, SourcePackage};

/// Packages of one database.
const MOST: usize = 100_000;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) architecture: String,
    origin: String,
    maintainer: String,
    license: String,
    url: String,
    description: String,
    commit: String,
    pub(super) depends: Vec<String>,
    pub(super) provides: Vec<String>,
}

pub(super) fn wants(path: &str) -> bool {
    super::is_at(path, "lib/apk/db/installed")
}

pub(super) fn parse(reader: impl BufRead) -> io::Result<(Vec<Package>, Owned, Option<String>)> {
    let mut packages: Vec<Package> = Vec::new();
    let mut owned = Owned::default();
    let mut problem = None;
    let mut package = Package::default();
    let mut folder = String::new();
    let cut = each_line(reader, |line| {
        let Some((field, value)) = line.split_once(':') else {
            if line.is_empty() && !package.name.is_empty() {
                packages.push(std::mem::take(&mut package));
            }
            if packages.len() >= MOST {
                problem = Some(format!("it has more than {MOST} packages"));
                return false;
            }
            return true;
        };
        let words = || value.split_whitespace().map(str::to_owned);
        match field {
            "P" => value.clone_into(&mut package.name),
            "V" => value.clone_into(&mut package.version),
            "A" => value.clone_into(&mut package.architecture),
            "o" => value.clone_into(&mut package.origin),
            "m" => value.clone_into(&mut package.maintainer),
            "L" => value.clone_into(&mut package.license),
            "U" => value.clone_into(&mut package.url),
            "T" => value.clone_into(&mut package.description),
            "c" => value.clone_into(&mut package.commit),
            "D" => package.depends = words().collect(),
            "p" => package.provides = words().collect(),
            "F" => value.clone_into(&mut folder),
            "R" => return owned.add(&format!("{folder}/{value}")),
            _ => {}
        }
        true
    })?;
    if !package.name.is_empty() && packages.len() < MOST {
        packages.push(package);
    }
    Ok((packages, owned, cut.or(problem)))
}

/// `so:libc.musl-x86_64.so.1=1`, `a>=1` without what is said of versions; none of a conflict.
pub(super) fn bare(word: &str) -> Option<&str> {
    let end = word.find(['=', '<', '>', '~']).unwrap_or(word.len());
    let bare = word.get(..end)?;
    (!bare.starts_with('!') && !bare.is_empty()).then_some(bare)
}

impl Package {
    /// As syft writes it.
    pub(super) fn purl(&self, release: Option<&Release>) -> String {
        let distro = release.map(Release::distro).unwrap_or_default();
        let namespace = release.map(|it| it.id.to_lowercase()).unwrap_or_default();
        let upstream = if self.origin == self.name {
            ""
        } else {
            &self.origin
        };
        purl(
            "apk",
            &namespace,
            &self.name,
            &self.version,
            &[
                ("arch", &self.architecture),
                ("distro", &distro),
                ("upstream", upstream),
            ],
        )
    }

    pub(super) fn component(&self, release: Option<&Release>) -> Component {
        let mut component = Component::new(Kind::Library, self.name.clone());
        component.purl = super::parsed(&self.purl(release));
        component.version = (!self.version.is_empty()).then(|| self.version.clone());
        component.supplier = release
            .and_then(Release::supplier)
            .or_else(|| Party::parse(&self.maintainer));
        component.originator = Party::parse(&self.maintainer);
        component.description = (!self.description.is_empty()).then(|| self.description.clone());
        if !self.origin.is_empty() && self.origin != self.name {
            component.source = Some(SourcePackage {
                name: self.origin.clone(),
                version: None,
            });
        }
        if !self.license.is_empty() {
            component.licenses.declared = match License::of(&self.license) {
                it @ License::Expression(_) => vec![it],
                // Old ones are a list with spaces.
                License::Named { .. } => self.license.split_whitespace().map(License::of).collect(),
            };
        }
        if !self.url.is_empty() {
            component.urls.push(Link {
                kind: LinkKind::Website,
                url: self.url.clone(),
            });
        }
        let properties = [
            ("architecture", &self.architecture),
            ("commit", &self.commit),
        ];
        for (name, value) in properties
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
        {
            component.properties.insert(name.to_owned(), value.clone());
        }
        component
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALLED: &str = "C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nT:the musl c library\nU:https://musl.libc.org/\nL:MIT\no:musl\nm:A B <a@b.c>\nc:0123\nD:a>=1 so:x.so.1 !conflict\np:so:libc.musl-x86_64.so.1=1\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\n\nP:ssl_client\nV:1\nA:x86_64\no:busybox\nL:GPL-2.0 custom";

    #[test]
    fn what_is_installed_is_found() {
        let (packages, owned, problem) = parse(INSTALLED.as_bytes()).unwrap();
        assert_eq!(problem, None);
        let [musl, client] = &packages[..] else {
            panic!("{packages:?}");
        };
        assert!(owned.has("lib/ld-musl-x86_64.so.1"));
        let release = super::super::os::parse("ID=alpine\nVERSION_ID=3.18.4\n");
        assert_eq!(
            musl.purl(release.as_ref()),
            "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=alpine-3.18.4"
        );
        assert_eq!(
            client.purl(release.as_ref()),
            "pkg:apk/alpine/ssl_client@1?arch=x86_64&distro=alpine-3.18.4&upstream=busybox"
        );
        let bare: Vec<_> = musl.depends.iter().filter_map(|it| bare(it)).collect();
        assert_eq!(bare, ["a", "so:x.so.1"]);
        assert_eq!(client.component(None).licenses.declared.len(), 2);
        assert_eq!(musl.component(None).supplier.unwrap().name, "A B");
    }
}
