//! What is in an image, in words of no format: what finders and readers make, and writers take.

use std::collections::BTreeMap;

use oci::{DiffId, Digest};
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;

use crate::purl::Purl;

/// All that is known of what is in one thing: an image, a folder, a document.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Inventory {
    /// What it is about, if that is known.
    pub subject: Option<Component>,
    /// What is in it, in any order. [`Node::Component`] counts in this list.
    pub components: Vec<Component>,
    /// How its components stand to one another: each relation once, in one direction.
    pub relations: Vec<Relation>,
    /// Whether `components` is all that there is.
    pub completeness: Completeness,
    /// What was not looked into, or not understood, and why: one sentence each.
    pub gaps: Vec<Gap>,
    /// The programs that made it.
    pub tools: Vec<Tool>,
    /// Who made it.
    pub authors: Vec<Party>,
    /// When it was made, or when what it is about was. Not kept in files.
    #[serde(skip)]
    pub created: Option<OffsetDateTime>,
}

impl Inventory {
    /// Adds a component and returns by which name relations call it.
    pub fn add(&mut self, component: Component) -> Node {
        self.components.push(component);
        Node::Component(self.components.len() - 1)
    }

    /// Adds a relation, unless it is there or leads to itself.
    pub fn relate(&mut self, from: Node, kind: RelationKind, to: Node) {
        if from != to {
            self.relations.push(Relation { from, kind, to });
        }
    }

    /// Takes all that `other` holds in. What is the same in both is there twice until it is merged.
    pub fn extend(&mut self, other: Self) {
        let offset = self.components.len();
        let moved = |node| match node {
            Node::Subject => Node::Subject,
            Node::Component(index) => Node::Component(index + offset),
        };
        self.components.extend(other.components);
        self.relations
            .extend(other.relations.into_iter().map(|it| Relation {
                from: moved(it.from),
                kind: it.kind,
                to: moved(it.to),
            }));
        self.completeness = self.completeness.max(other.completeness);
        self.gaps.extend(other.gaps);
        self.tools.extend(other.tools);
        self.authors.extend(other.authors);
        self.subject = self.subject.take().or(other.subject);
        self.created = self.created.or(other.created);
    }
}

/// Whether a list is all that there is. Sorted from the best to the worst.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub enum Completeness {
    /// Nothing is missing.
    Complete,
    /// Nobody said.
    #[default]
    Unknown,
    /// Something is known to be missing.
    Incomplete,
}

/// Something that was not looked into, or not understood.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Gap {
    /// Where: a path in the image.
    pub path: String,
    /// Why, as one sentence without a period: `executable that no package owns`.
    pub reason: String,
}

/// One package, application, file or other part.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Component {
    /// What sort of thing it is.
    pub kind: Kind,
    /// Its package URL.
    pub purl: Option<Purl>,
    /// What stands before the name, where the ecosystem has that: Maven's group, npm's scope.
    pub group: Option<String>,
    /// What it is called.
    pub name: String,
    /// Its version, as its ecosystem writes it.
    pub version: Option<String>,
    /// Its names in the CPE dictionary, as found; no guesses.
    pub cpes: Vec<String>,
    /// Who gave it to whom uses it: a distribution, a vendor.
    pub supplier: Option<Party>,
    /// Who made it in the first place.
    pub originator: Option<Party>,
    /// What it is for.
    pub description: Option<String>,
    /// What licences it has.
    pub licenses: Licenses,
    /// Its copyright notice.
    pub copyright: Option<String>,
    /// Digests of it as a file or an archive.
    pub hashes: Vec<Hash>,
    /// The source package that it was built from, where that is another.
    pub source: Option<SourcePackage>,
    /// Where more is to be had.
    pub urls: Vec<Link>,
    /// Where it was found and who said so.
    pub evidence: Vec<Evidence>,
    /// Whether all that it depends on is known.
    pub dependencies: Completeness,
    /// What else was found out and no field holds: `architecture`, `essential`. Sorted by name.
    pub properties: BTreeMap<String, String>,
}

impl Component {
    /// A component of which its name is known, and no more.
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            ..Self::default()
        }
    }
}

/// What sort of thing a component is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub enum Kind {
    /// A program.
    Application,
    /// Many files in one, that are not a package.
    Archive,
    /// An image.
    Container,
    /// A data set.
    Data,
    /// Hardware.
    Device,
    /// What makes hardware work.
    DeviceDriver,
    /// One file.
    File,
    /// Software in hardware.
    Firmware,
    /// What applications are made with.
    Framework,
    /// What installs other things.
    Installer,
    /// A package. What sort of thing something is if nobody says.
    #[default]
    Library,
    /// A model of machine learning.
    Model,
    /// A distribution.
    OperatingSystem,
    /// What applications run on.
    Platform,
    /// Source code.
    Source,
    /// Something else.
    Other,
}

/// A person or an organisation.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Party {
    /// Whether it is a person, where that is known; else an organisation is meant.
    pub is_person: bool,
    /// Its name.
    pub name: String,
    /// Its address for mail.
    pub email: Option<String>,
    /// Its web page.
    pub url: Option<String>,
}

impl Party {
    /// An organisation of that name.
    pub fn organization(name: impl Into<String>) -> Self {
        Self {
            is_person: false,
            name: name.into(),
            email: None,
            url: None,
        }
    }

    /// Reads `Debian GCC Maintainers <debian-gcc@lists.debian.org>`, as package databases have it;
    /// none if there is nothing in it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (name, email) = match text.split_once('<') {
            Some((name, rest)) => (name.trim(), rest.trim_end_matches('>').trim()),
            None => (text, ""),
        };
        let name = name.trim_matches('"');
        let shown = if name.is_empty() { email } else { name };
        (!shown.is_empty()).then(|| Self {
            is_person: false,
            name: shown.to_owned(),
            email: (!email.is_empty()).then(|| email.to_owned()),
            url: None,
        })
    }
}

/// The licences of a component.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Licenses {
    /// What its makers say, e.g. in a package database. All of them hold.
    pub declared: Vec<License>,
    /// What whoever looked into it found. All of them hold.
    pub concluded: Vec<License>,
}

/// One licence.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub enum License {
    /// An SPDX licence expression; of one identifier, mostly.
    Expression(String),
    /// Anything else.
    Named {
        /// What it is called where it was found.
        name: String,
        /// Its text, if that was found.
        text: Option<String>,
    },
}

impl License {
    /// An expression, if SPDX would call `text` one, else a name.
    pub fn of(text: &str) -> Self {
        match crate::license::expression(text) {
            Some(expression) => Self::Expression(expression),
            None => Self::Named {
                name: text.to_owned(),
                text: None,
            },
        }
    }
}

/// A digest of content.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Hash {
    /// The hash function.
    pub algorithm: HashAlgorithm,
    /// The value, in small hex digits.
    pub value: String,
}

impl Hash {
    /// A digest in hex, in small letters; none if it is not one.
    pub fn hex(algorithm: HashAlgorithm, value: &str) -> Option<Self> {
        let is_hex = !value.is_empty()
            && value.len().is_multiple_of(2)
            && value.bytes().all(|it| it.is_ascii_hexdigit());
        is_hex.then(|| Self {
            algorithm,
            value: value.to_ascii_lowercase(),
        })
    }

    /// A digest of OCI's.
    pub fn of(digest: &Digest) -> Self {
        Self {
            algorithm: match digest.algorithm() {
                oci::Algorithm::Sha512 => HashAlgorithm::Sha512,
                _ => HashAlgorithm::Sha256,
            },
            value: digest.hex().to_owned(),
        }
    }
}

/// A hash function that SBOMs know.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum HashAlgorithm {
    Adler32,
    Blake2b256,
    Blake2b384,
    Blake2b512,
    Blake3,
    Md2,
    Md4,
    Md5,
    Md6,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha3_256,
    Sha3_384,
    Sha3_512,
    Sha512,
    Streebog256,
    Streebog512,
}

/// The source package that a component was built from.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct SourcePackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
}

/// Where more about a component is to be had.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Link {
    /// What is there.
    pub kind: LinkKind,
    /// Where.
    pub url: String,
}

/// What is behind a [`Link`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub enum LinkKind {
    /// The component itself, to download.
    Distribution,
    /// Where defects are reported.
    Issues,
    /// Its source code.
    Sources,
    /// Its home page.
    Website,
}

/// Where a component was found, and who says that it is there.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Evidence {
    /// The layer.
    pub layer: Option<DiffId>,
    /// The path in the image, without a leading slash: `var/lib/dpkg/status`.
    pub path: Option<String>,
    /// Who says so.
    pub by: By,
    /// The buildpack that made the layer: its id with `/` written as `_`.
    pub buildpack: Option<String>,
}

impl Evidence {
    /// What `finder` found at `path`; whoever knows layer and buildpack adds them.
    pub fn found(finder: &'static str, path: impl Into<String>) -> Self {
        Self {
            layer: None,
            path: Some(path.into()),
            by: By::Finder(finder),
            buildpack: None,
        }
    }
}

/// Who says that something is there.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub enum By {
    /// A finder of ours, by its name: `dpkg`.
    Finder(#[serde(deserialize_with = "finder")] FinderName),
    /// A document, by where it is from: `launch/acme_node/modules/sbom.cdx.json`.
    Document(String),
}

/// The name of a finder of ours: `dpkg`.
pub type FinderName = &'static str;

/// One of our own finders, of which there are few.
fn finder<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    let name = String::deserialize(deserializer)?;
    let mut names = crate::find::NAMES.iter().copied();
    names
        .find(|it| *it == name)
        .ok_or_else(|| serde::de::Error::custom("the name of no finder"))
}

/// How two things stand to one another.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Relation {
    /// The one.
    pub from: Node,
    /// What it does.
    pub kind: RelationKind,
    /// To whom.
    pub to: Node,
}

/// An end of a [`Relation`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub enum Node {
    /// What the inventory is about.
    Subject,
    /// A component, by its index.
    Component(usize),
}

/// What one thing is to another, `from` first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub enum RelationKind {
    /// `from` was made from `to`: an image from its base.
    BuiltFrom,
    /// `to` is a part of `from`.
    Contains,
    /// `from` does not work without `to`.
    DependsOn,
    /// `to` was needed while `from` was built.
    NeedsToBuild,
}

/// A program that made an inventory.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Tool {
    /// Whose it is.
    pub vendor: Option<String>,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_are_read_as_databases_have_them() {
        let party = Party::parse("Debian GCC <gcc@debian.org>").unwrap();
        assert_eq!(
            (party.name.as_str(), party.email.as_deref()),
            ("Debian GCC", Some("gcc@debian.org"))
        );
        assert_eq!(Party::parse("<a@b.c>").unwrap().name, "a@b.c");
        assert_eq!(Party::parse("Red Hat, Inc.").unwrap().email, None);
        assert_eq!(Party::parse(" <> "), None);
    }

    #[test]
    fn relations_follow_their_components() {
        let mut one = Inventory::default();
        one.add(Component::new(Kind::Library, "a"));
        let mut two = Inventory::default();
        let b = two.add(Component::new(Kind::Library, "b"));
        two.relate(Node::Subject, RelationKind::Contains, b);
        two.relate(b, RelationKind::DependsOn, b);
        one.extend(two);
        assert_eq!(
            one.relations,
            [Relation {
                from: Node::Subject,
                kind: RelationKind::Contains,
                to: Node::Component(1)
            }]
        );
    }

    #[test]
    fn hashes_are_hex() {
        assert_eq!(Hash::hex(HashAlgorithm::Md5, "AB").unwrap().value, "ab");
        assert_eq!(Hash::hex(HashAlgorithm::Md5, "abc"), None);
        assert_eq!(Hash::hex(HashAlgorithm::Md5, "zz"), None);
        assert_eq!(Hash::hex(HashAlgorithm::Md5, ""), None);
    }
}
