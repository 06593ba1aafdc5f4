//! RPM's package database, in each of its three forms.

mod bdb;
mod header;
mod ndb;
mod sqlite;

use std::io::{self, Read, Seek, SeekFrom};

pub(crate) use self::header::Package;
use super::{Owned, Release, purl};
use crate::component::{Component, Kind, License, Link, LinkKind, Party, SourcePackage};

/// Bytes of the header of one package.
const LARGEST: u64 = 32 << 20;
/// Packages of one database.
const MOST: usize = 100_000;

const FOLDERS: &[&str] = &["var/lib/rpm", "usr/share/rpm", "usr/lib/sysimage/rpm"];

pub(super) fn wants(path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else {
        return false;
    };
    matches!(name, "Packages" | "Packages.db" | "rpmdb.sqlite")
        && FOLDERS.iter().any(|it| super::is_at(folder, it))
}

/// Whether `path` is what was written beside a database and is not in it yet.
pub(super) fn wants_log(path: &str) -> bool {
    path.ends_with("/rpmdb.sqlite-wal")
}

/// What is in a database.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Database {
    pub(super) packages: Vec<Package>,
    pub(super) problem: Option<String>,
}

impl Database {
    /// Takes the header of one more package. Whether more are wanted.
    fn add(&mut self, bytes: &[u8]) -> bool {
        match header::parse(bytes) {
            Ok(Some(package)) => self.packages.push(package),
            Ok(None) => {}
            Err(problem) => self.fail(problem),
        }
        if self.packages.len() >= MOST {
            self.fail(&format!("it has more than {MOST} packages"));
            return false;
        }
        true
    }

    /// The first problem is the one that counts.
    fn fail(&mut self, problem: &str) {
        self.problem.get_or_insert_with(|| problem.to_owned());
    }
}

pub(super) fn read<R: Read + Seek>(mut reader: R) -> io::Result<Database> {
    let mut head = Vec::new();
    reader.seek(SeekFrom::Start(0))?;
    reader.by_ref().take(16).read_to_end(&mut head)?;
    let mut database = Database::default();
    if head.starts_with(b"SQLite format 3\0") {
        sqlite::read(reader, &mut database)?;
    } else if head.starts_with(b"RpmP") {
        ndb::read(reader, &mut database)?;
    } else {
        bdb::read(reader, &mut database)?;
    }
    Ok(database)
}

/// Reads from a file of pages, each at most once, so that no page can lead back to itself.
struct Pages<R> {
    reader: R,
    size: usize,
    seen: Vec<bool>,
}

impl<R: Read + Seek> Pages<R> {
    fn new(mut reader: R, size: usize) -> io::Result<Self> {
        let bytes = reader.seek(SeekFrom::End(0))?;
        let count = bytes.div_ceil(size.max(1) as u64);
        Ok(Self {
            reader,
            size,
            seen: vec![false; usize::try_from(count).unwrap_or(0)],
        })
    }

    fn count(&self) -> usize {
        self.seen.len()
    }

    /// The page of that number, counted from 0; none if there is none, or it was read before.
    fn take(&mut self, number: usize) -> io::Result<Option<Vec<u8>>> {
        match self.seen.get_mut(number) {
            Some(seen) if !*seen => *seen = true,
            _ => return Ok(None),
        }
        self.read(number).map(Some)
    }

    fn read(&mut self, number: usize) -> io::Result<Vec<u8>> {
        let at = (number as u64).saturating_mul(self.size as u64);
        self.reader.seek(SeekFrom::Start(at))?;
        let mut page = Vec::with_capacity(self.size);
        self.reader
            .by_ref()
            .take(self.size as u64)
            .read_to_end(&mut page)?;
        // What is missing of the last one reads as nothing.
        page.resize(self.size, 0);
        Ok(page)
    }
}

impl Package {
    /// As syft writes it.
    pub(super) fn purl(&self, release: Option<&Release>) -> String {
        let namespace = match release.map_or("", |it| it.id.as_str()) {
            "rhel" => "redhat",
            it if it.starts_with("opensuse") => "opensuse",
            it => it,
        };
        let distro = release.map(Release::distro).unwrap_or_default();
        let epoch = self.epoch.map(|it| it.to_string()).unwrap_or_default();
        purl(
            "rpm",
            namespace,
            &self.name,
            &format!("{}-{}", self.version, self.release),
            &[
                ("arch", &self.architecture),
                ("distro", &distro),
                ("epoch", &epoch),
                ("upstream", &self.source),
            ],
        )
    }

    pub(super) fn component(&self, release: Option<&Release>) -> Component {
        let mut component = Component::new(Kind::Library, self.name.clone());
        component.purl = super::parsed(&self.purl(release));
        let version = format!("{}-{}", self.version, self.release);
        component.version = Some(match self.epoch {
            Some(epoch) => format!("{epoch}:{version}"),
            None => version,
        });
        component.supplier =
            Party::parse(&self.vendor).or_else(|| release.and_then(Release::supplier));
        component.description = (!self.summary.is_empty()).then(|| self.summary.clone());
        if !self.license.is_empty() {
            component.licenses.declared = vec![License::of(&self.license)];
        }
        component.source = self.source_package();
        if !self.url.is_empty() {
            component.urls.push(Link {
                kind: LinkKind::Website,
                url: self.url.clone(),
            });
        }
        let properties = [
            ("architecture", &self.architecture),
            ("modularity", &self.modularity),
        ];
        for (name, value) in properties
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
        {
            component.properties.insert(name.to_owned(), value.clone());
        }
        component
    }

    /// `bash-5.1.8-6.el9.src.rpm`.
    fn source_package(&self) -> Option<SourcePackage> {
        let name = self.source.strip_suffix(".src.rpm")?;
        let (rest, release) = name.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        Some(SourcePackage {
            name: name.to_owned(),
            version: Some(format!("{version}-{release}")),
        })
    }

    pub(super) fn owned(&self) -> &Owned {
        &self.owned
    }
}
