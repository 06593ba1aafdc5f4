//! Debian's package database: `status`, `status.d`, `*.list`.
//!
//! <https://www.debian.org/doc/debian-policy/ch-controlfields.html>

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use super::lines::each_line;
use super::{Owned, Release, purl};
use crate::component::{Component, Kind, Link, LinkKind, Party, SourcePackage};

/// Packages of one database.
const MOST: usize = 100_000;
/// Bytes that are kept of one package.
const LARGEST: usize = 1 << 20;

/// One stanza of a database: fields by their names in small letters.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) architecture: String,
    pub(super) source: Option<SourcePackage>,
    maintainer: String,
    homepage: String,
    description: String,
    essential: bool,
    /// `Depends` and `Pre-Depends`: a list of alternatives.
    pub(super) depends: Vec<Vec<String>>,
    pub(super) provides: Vec<String>,
}

/// Whether `path` is a database: `var/lib/dpkg/status`, or a file of `status.d` as distroless images
/// have it.
pub(super) fn wants(path: &str) -> bool {
    if super::is_at(path, "lib/dpkg/status") {
        return true;
    }
    let Some((folder, name)) = path.rsplit_once('/') else {
        return false;
    };
    super::is_at(folder, "lib/dpkg/status.d") && !name.ends_with(".md5sums")
}

/// Whether `path` lists what files a package has.
pub(super) fn wants_list(path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else {
        return false;
    };
    super::is_at(folder, "lib/dpkg/info") && name.strip_suffix(".list").is_some()
        || super::is_at(folder, "lib/dpkg/status.d") && name.ends_with(".md5sums")
}

/// The packages that are installed, and what is wrong with the database.
pub(super) fn parse(reader: impl BufRead) -> io::Result<(Vec<Package>, Option<String>)> {
    let mut packages = Vec::new();
    let mut problem = None;
    let mut stanza = Stanza::default();
    let mut end = |stanza: &mut Stanza| {
        let ended = std::mem::take(stanza);
        if packages.len() >= MOST {
            problem = Some(format!("it has more than {MOST} packages"));
            return false;
        }
        packages.extend(ended.package());
        true
    };
    let cut = each_line(reader, |line| {
        if line.is_empty() {
            return end(&mut stanza);
        }
        stanza.add(line);
        true
    })?;
    end(&mut stanza);
    let too_large = packages.iter().any(|it| it.description.len() > LARGEST);
    let problem = cut.or(problem);
    Ok((
        packages,
        problem.or_else(|| too_large.then(|| "it has a package that is too large".to_owned())),
    ))
}

#[derive(Default)]
struct Stanza {
    fields: BTreeMap<&'static str, String>,
    last: Option<&'static str>,
    size: usize,
}

const FIELDS: &[&str] = &[
    "Package",
    "Status",
    "Version",
    "Architecture",
    "Source",
    "Maintainer",
    "Homepage",
    "Description",
    "Essential",
    "Depends",
    "Pre-Depends",
    "Provides",
];

impl Stanza {
    fn add(&mut self, line: &str) {
        if line.starts_with([' ', '\t']) {
            // All that has more than one line and is wanted is a list.
            if let Some(last) = self.last.filter(|it| *it != "Description")
                && self.size < LARGEST
                && let Some(value) = self.fields.get_mut(last)
            {
                self.size += line.len();
                value.push(' ');
                value.push_str(line.trim());
            }
            return;
        }
        self.last = None;
        let Some((name, value)) = line.split_once(':') else {
            return;
        };
        let mut known = FIELDS.iter().filter(|it| it.eq_ignore_ascii_case(name));
        let Some(known) = known.next() else {
            return;
        };
        self.size += line.len();
        if self.size < LARGEST {
            self.last = Some(known);
            self.fields.insert(known, value.trim().to_owned());
        }
    }

    fn package(mut self) -> Option<Package> {
        let mut take = |name: &str| self.fields.remove(name).unwrap_or_default();
        let name = take("Package");
        let status = take("Status");
        // `deinstall ok config-files` is what was removed.
        let state = status.rsplit(' ').next().unwrap_or_default();
        if name.is_empty() || matches!(state, "not-installed" | "config-files") {
            return None;
        }
        let source = take("Source");
        let source = (!source.is_empty()).then(|| {
            let (name, version) = source.split_once(" (").unwrap_or((&source, ""));
            let version = version.trim_end_matches(')');
            SourcePackage {
                name: name.trim().to_owned(),
                version: (!version.is_empty()).then(|| version.to_owned()),
            }
        });
        let mut depends = alternatives(&take("Pre-Depends"));
        depends.extend(alternatives(&take("Depends")));
        Some(Package {
            name,
            version: take("Version"),
            architecture: take("Architecture"),
            source,
            maintainer: take("Maintainer"),
            homepage: take("Homepage"),
            description: take("Description"),
            essential: take("Essential") == "yes",
            depends,
            provides: alternatives(&take("Provides"))
                .into_iter()
                .flatten()
                .collect(),
        })
    }
}

/// `a (>= 1) | b:any, c` as names.
fn alternatives(list: &str) -> Vec<Vec<String>> {
    let groups = list.split(',').map(|group| {
        let names = group.split('|').map(|it| {
            let end = it
                .trim()
                .find(|c: char| c.is_whitespace() || "(:[<".contains(c));
            let it = it.trim();
            it.get(..end.unwrap_or(it.len())).unwrap_or(it).to_owned()
        });
        names.filter(|it| !it.is_empty()).collect()
    });
    groups.filter(|it: &Vec<String>| !it.is_empty()).collect()
}

/// The files of a package: `*.list`, or `*.md5sums` of distroless images.
pub(super) fn parse_list(reader: impl BufRead, is_sums: bool) -> io::Result<Owned> {
    let mut owned = Owned::default();
    each_line(reader, |line| {
        let path = if is_sums {
            line.split_once("  ").map_or("", |(_, path)| path)
        } else {
            line
        };
        owned.add(path)
    })?;
    Ok(owned)
}

impl Package {
    /// As syft writes it.
    pub(super) fn purl(&self, release: Option<&Release>) -> String {
        let upstream = self.source.as_ref().map(|it| match &it.version {
            Some(version) => format!("{}@{version}", it.name),
            None => it.name.clone(),
        });
        let distro = release.map(Release::distro).unwrap_or_default();
        purl(
            "deb",
            release.map_or("", |it| &it.id),
            &self.name,
            &self.version,
            &[
                ("arch", &self.architecture),
                ("distro", &distro),
                ("upstream", upstream.as_deref().unwrap_or_default()),
            ],
        )
    }

    pub(super) fn component(&self, release: Option<&Release>) -> Component {
        let mut component = Component::new(Kind::Library, self.name.clone());
        component.purl = super::parsed(&self.purl(release));
        component.version = (!self.version.is_empty()).then(|| self.version.clone());
        // Who maintains it works for the distribution, which is who supplies it.
        component.supplier =
            Party::parse(&self.maintainer).or_else(|| release.and_then(Release::supplier));
        component.description = (!self.description.is_empty()).then(|| self.description.clone());
        component.source.clone_from(&self.source);
        if !self.homepage.is_empty() {
            component.urls.push(Link {
                kind: LinkKind::Website,
                url: self.homepage.clone(),
            });
        }
        let mut property = |name: &str, value: &str| {
            component
                .properties
                .insert(name.to_owned(), value.to_owned());
        };
        if !self.architecture.is_empty() {
            property("architecture", &self.architecture);
        }
        if self.essential {
            property("essential", "yes");
        }
        component
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: libc6\nStatus: install ok installed\nEssential: yes\nArchitecture: amd64\nSource: glibc (2.36-9)\nVersion: 2.36-9+deb12u10\nDepends: libgcc-s1 (>= 3.0) | libgcc1:any,\n libcrypt1\nDescription: GNU C Library\n More of it.\nMaintainer: GNU Libc <libc@debian.org>\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\nno field\n continued\nPackage: half\nStatus: install ok half-configured\nVersion: 1:2";

    #[test]
    fn what_is_installed_is_found() {
        let (packages, problem) = parse(STATUS.as_bytes()).unwrap();
        assert_eq!(problem, None);
        let [libc, half] = &packages[..] else {
            panic!("{packages:?}");
        };
        assert_eq!((half.name.as_str(), half.version.as_str()), ("half", "1:2"));
        let depends: [&[&str]; 2] = [&["libgcc-s1", "libgcc1"], &["libcrypt1"]];
        assert_eq!(libc.depends, depends);
        assert_eq!(libc.description, "GNU C Library");
        let release = super::super::os::parse("ID=debian\nVERSION_ID=12\n");
        assert_eq!(
            libc.purl(release.as_ref()),
            "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12&upstream=glibc%402.36-9"
        );
        assert_eq!(half.purl(None), "pkg:deb/half@1%3A2");
        let component = libc.component(None);
        assert_eq!(component.supplier.unwrap().name, "GNU Libc");
        assert_eq!(component.properties["essential"], "yes");
    }

    #[test]
    fn paths_are_told_apart() {
        for path in [
            "var/lib/dpkg/status",
            "x/lib/dpkg/status",
            "var/lib/dpkg/status.d/libc6",
        ] {
            assert!(wants(path), "{path}");
        }
        for path in [
            "var/lib/dpkg/status-old",
            "xlib/dpkg/status",
            "var/lib/dpkg/status.d/a.md5sums",
            "status",
        ] {
            assert!(!wants(path), "{path}");
        }
        assert!(wants_list("var/lib/dpkg/info/a.list"));
        assert!(wants_list("var/lib/dpkg/status.d/a.md5sums"));
        assert!(!wants_list("var/lib/dpkg/info/a.md5sums"));
    }

    #[test]
    fn hostile_databases_cost_little() {
        let endless = format!("Package: a\nVersion: 1\n\nPackage: {}", "x".repeat(3 << 20));
        let (packages, problem) = parse(endless.as_bytes()).unwrap();
        assert_eq!(packages.len(), 1);
        assert!(problem.unwrap().contains("line 4 is longer"));
        let many = "Depends: a\n b,\n".repeat(200_000);
        let large = format!("Package: a\nVersion: 1\n{many}");
        let (packages, _) = parse(large.as_bytes()).unwrap();
        assert_eq!(packages.len(), 1);
        let (packages, problem) = parse("Package: a\n\n".repeat(MOST + 1).as_bytes()).unwrap();
        assert_eq!(packages.len(), MOST);
        assert!(problem.is_some());
    }
}
