//! What is in a file system, by package databases and manifests.
//!
//! ```text
//! layers ─ oci::view ─▶ [Finders] picks and reads each file ─▶ View<Found> ─ [find] ─▶ Inventory
//! ```
//!
//! A finder is a module: a function that says which paths it wants, one from bytes to what they say,
//! and one from that to components. None of them does I/O, and none knows of layers. What cannot be
//! read or is too large is a [gap](crate::component::Gap), never an error: an image is not refused
//! for what is in it.

mod apk;
mod copyright;
mod dpkg;
mod elf;
mod gather;
mod go;
mod java;
mod lines;
mod node;
mod os;
mod owned;
mod php;
mod python;
mod rpm;
mod ruby;
mod rust;
mod zip;

use std::fmt::Write as _;
use std::io::{self, BufReader};

use oci::view::{FileContent, FileInfo, Missed, Pick};

use self::os::Release;
use self::owned::Owned;
use crate::component::Component;
use crate::percent::encode;
use crate::purl::Purl;

pub use self::gather::find;

/// The names of all finders.
pub const NAMES: &[&str] = &[
    "apk", "dpkg", "go", "java", "node", "os", "php", "python", "rpm", "ruby", "rust",
];

/// Bytes of the files that are small where they are real.
const SMALL: u64 = 1 << 20;

/// All finders, as what picks files.
#[derive(Clone, Debug)]
pub struct Finders {
    /// Those of the table that are on. It is gone through for each file of an image.
    rows: Vec<(Look, Wants)>,
    go: bool,
    rust: bool,
    /// Bytes that may still be kept.
    left: u64,
}

/// Bytes that are kept of one image, roughly. Real images make a hundredth of that.
const KEPT: u64 = 512 << 20;

impl Default for Finders {
    fn default() -> Self {
        Self::only(|_| true)
    }
}

impl Finders {
    /// Those of [`NAMES`] that `is_on` says.
    pub fn only(is_on: impl Fn(&str) -> bool) -> Self {
        let rows = TABLE.iter().filter(|(name, ..)| is_on(name));
        Self {
            rows: rows.map(|(_, look, wants)| (*look, *wants)).collect(),
            go: is_on("go"),
            rust: is_on("rust"),
            left: KEPT,
        }
    }
}

/// What was found in a file.
#[derive(Debug, PartialEq)]
pub struct Found(What);

#[derive(Debug, PartialEq)]
enum What {
    Os(Release),
    Dpkg {
        packages: Vec<dpkg::Package>,
        problem: Option<String>,
    },
    Files(Owned),
    Copyright(Vec<crate::component::License>),
    Apk {
        packages: Vec<apk::Package>,
        owned: Owned,
        problem: Option<String>,
    },
    Rpm(rpm::Database),
    Program(Program),
    Node(node::Package),
    NodeLock(node::Locked),
    Python(python::Project),
    PythonOrigin(String),
    Ruby(ruby::Gem),
    Php(Vec<php::Package>),
    Java(java::Jar),
    /// It could not be read, and why.
    Broken(String),
}

impl What {
    /// How many bytes it takes, roughly, if the file has `size`: so that many small files that unpack
    /// to much cannot take all memory.
    fn weight(&self, size: u64) -> u64 {
        match self {
            Self::Os(_) | Self::PythonOrigin(_) | Self::Broken(_) => 1000,
            Self::Copyright(_) | Self::Rpm(_) => size,
            Self::Files(owned) => owned.weight(),
            Self::Dpkg { .. }
            | Self::Apk { .. }
            | Self::Node(_)
            | Self::NodeLock(_)
            | Self::Python(_)
            | Self::Ruby(_)
            | Self::Php(_) => 2 * size,
            Self::Program(program) => program.weight(),
            Self::Java(jar) => jar.weight(),
        }
    }
}

impl Program {
    fn weight(&self) -> u64 {
        let go = self.go.as_ref().map_or(0, go::BuildInfo::weight);
        let rust = self.rust.iter().flatten().map(rust::Crate::weight);
        100 + go + rust.sum::<u64>()
    }
}

/// A program or a library, in machine code.
#[derive(Debug, Default, PartialEq)]
struct Program {
    /// Whether it is to be started, not loaded.
    is_executable: bool,
    go: Option<go::BuildInfo>,
    rust: Option<Vec<rust::Crate>>,
    problem: Option<String>,
}

/// Which finder looks into which files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Look {
    Os,
    Dpkg,
    DpkgList,
    Copyright,
    Apk,
    Rpm,
    RpmLog,
    Program,
    Node,
    NodeLock,
    Python,
    PythonOrigin,
    Ruby,
    Php,
    Java,
}

type Wants = fn(&str) -> bool;

/// The first that wants a file has it.
const TABLE: &[(&str, Look, Wants)] = &[
    ("node", Look::Node, node::wants),
    ("node", Look::NodeLock, node::wants_lock),
    ("python", Look::Python, python::wants),
    ("python", Look::PythonOrigin, python::wants_origin),
    ("ruby", Look::Ruby, ruby::wants),
    ("php", Look::Php, php::wants),
    ("java", Look::Java, java::wants),
    ("dpkg", Look::Copyright, |it| {
        copyright::package(it).is_some()
    }),
    ("dpkg", Look::DpkgList, dpkg::wants_list),
    ("dpkg", Look::Dpkg, dpkg::wants),
    ("apk", Look::Apk, apk::wants),
    ("rpm", Look::Rpm, rpm::wants),
    ("rpm", Look::RpmLog, rpm::wants_log),
    ("os", Look::Os, os::wants),
];

impl Finders {
    fn look(&self, file: &FileInfo<'_>) -> Option<Look> {
        let wanted = self.rows.iter().find(|(_, wants)| wants(file.path));
        if let Some((look, _)) = wanted {
            return Some(*look);
        }
        let is_program = (self.go || self.rust) && file.head.starts_with(elf::MAGIC);
        is_program.then_some(Look::Program)
    }

    fn read(
        &self,
        look: Look,
        file: &FileInfo<'_>,
        content: &mut FileContent<'_>,
    ) -> io::Result<Option<What>> {
        let malformed = |cause: String| What::Broken(format!("malformed: {cause}"));
        let mut all = |limit| {
            let too_large = format!("larger than {limit} bytes");
            content.all(limit).map(|it| it.ok_or(too_large))
        };
        Ok(match look {
            Look::Os => match all(SMALL)? {
                Ok(text) => os::parse(&String::from_utf8_lossy(&text)).map(What::Os),
                Err(broken) => Some(What::Broken(broken)),
            },
            Look::Copyright => match all(copyright::LARGEST)? {
                Ok(text) => {
                    let licenses = copyright::parse(&String::from_utf8_lossy(&text));
                    (!licenses.is_empty()).then_some(What::Copyright(licenses))
                }
                // What is not known of a licence is no gap in the list of what there is.
                Err(_) => None,
            },
            Look::Node => match all(node::LARGEST)? {
                Ok(text) => match node::parse(&text) {
                    Ok(package) => package.map(What::Node),
                    Err(cause) => Some(malformed(cause)),
                },
                Err(broken) => Some(What::Broken(broken)),
            },
            Look::NodeLock => match all(node::LARGEST_LOCK)? {
                Ok(text) => Some(match node::parse_lock(file.path, &text) {
                    Ok(locked) => What::NodeLock(locked),
                    Err(cause) => malformed(cause),
                }),
                Err(broken) => Some(What::Broken(broken)),
            },
            Look::PythonOrigin => match all(SMALL)? {
                Ok(text) => python::parse_origin(&text).map(What::PythonOrigin),
                Err(broken) => Some(What::Broken(broken)),
            },
            Look::Ruby => match all(ruby::LARGEST)? {
                Ok(text) => ruby::parse(&String::from_utf8_lossy(&text)).map(What::Ruby),
                Err(broken) => Some(What::Broken(broken)),
            },
            Look::Php => match all(php::LARGEST)? {
                Ok(text) => Some(match php::parse(&text) {
                    Ok(packages) => What::Php(packages),
                    Err(cause) => malformed(cause),
                }),
                Err(broken) => Some(What::Broken(broken)),
            },
            Look::Dpkg => {
                let (packages, problem) = dpkg::parse(BufReader::new(content))?;
                Some(What::Dpkg { packages, problem })
            }
            Look::DpkgList => {
                let is_sums = file.path.ends_with(".md5sums");
                Some(What::Files(dpkg::parse_list(
                    BufReader::new(content),
                    is_sums,
                )?))
            }
            Look::Apk => {
                let (packages, owned, problem) = apk::parse(BufReader::new(content))?;
                Some(What::Apk {
                    packages,
                    owned,
                    problem,
                })
            }
            Look::Python => python::parse(BufReader::new(content))?.map(What::Python),
            Look::Rpm => Some(What::Rpm(rpm::read(content)?)),
            // An empty one says that all is in the database.
            Look::RpmLog => (file.size > 0).then(|| {
                What::Broken("a log of changes that are not in the database yet".to_owned())
            }),
            Look::Java => Some(What::Java(java::read(file.path, content)?)),
            Look::Program => self.program(file, content)?.map(What::Program),
        })
    }

    fn program(
        &self,
        file: &FileInfo<'_>,
        content: &mut FileContent<'_>,
    ) -> io::Result<Option<Program>> {
        let Some(mut elf) = elf::Elf::open(content)? else {
            return Ok(None);
        };
        let mut program = Program {
            is_executable: file.mode & 0o111 != 0 && elf.has_interpreter_or_is_static(),
            ..Program::default()
        };
        if self.go {
            program.go = go::read(&mut elf)?;
        }
        if self.rust {
            match rust::read(&mut elf)? {
                Some(Ok(crates)) => program.rust = Some(crates),
                Some(Err(problem)) => program.problem = Some(problem),
                None => {}
            }
        }
        Ok(Some(program))
    }
}

impl Pick for Finders {
    type Kept = Found;

    fn wants(&mut self, file: &FileInfo<'_>) -> bool {
        self.look(file).is_some()
    }

    fn keep(&mut self, file: &FileInfo<'_>, content: &mut FileContent<'_>) -> Option<Found> {
        let look = self.look(file)?;
        match self.read(look, file, content) {
            Ok(what) => {
                let what = what?;
                let weight = what.weight(file.size);
                if weight > self.left {
                    let reason = format!("more than the {KEPT} bytes that are kept of an image");
                    return Some(Found(What::Broken(reason)));
                }
                self.left -= weight;
                Some(Found(what))
            }
            Err(error) => Some(Found(What::Broken(format!("not readable: {error}")))),
        }
    }

    fn miss(&mut self, _: &FileInfo<'_>, missed: Missed) -> Option<Found> {
        Some(Found(What::Broken(missed.to_string())))
    }
}

/// Whether `path` is `tail`, or ends with it as whole names.
fn is_at(path: &str, tail: &str) -> bool {
    path.strip_suffix(tail)
        .is_some_and(|it| it.is_empty() || it.ends_with('/'))
}

/// A package URL with its parts in the order and encoding of syft, of which scanners are used to.
fn purl(
    kind: &str,
    namespace: &str,
    name: &str,
    version: &str,
    qualifiers: &[(&str, &str)],
) -> String {
    let mut purl = format!("pkg:{kind}");
    for part in namespace
        .split('/')
        .filter(|it| !it.is_empty())
        .chain([name])
    {
        purl.push('/');
        purl.push_str(&encode(part));
    }
    if !version.is_empty() {
        purl.push('@');
        purl.push_str(&encode(version));
    }
    let mut before = '?';
    for (key, value) in qualifiers.iter().filter(|(_, value)| !value.is_empty()) {
        // Writing to a string does not fail.
        write!(purl, "{before}{key}={}", encode(value)).unwrap_or_default();
        before = '&';
    }
    purl
}

fn parsed(purl: &str) -> Option<Purl> {
    Purl::parse(purl)
}

/// Bytes of a name or a version in a package URL. The longest name that npm takes has 214.
const LONGEST: usize = 400;

/// Takes the package URL of a component whose name or version is longer than any that a registry takes:
/// policies compare package URLs, and refuse what is too long for that. Whether it did.
fn shorten(component: &mut Component) -> bool {
    let texts = [
        Some(&component.name),
        component.group.as_ref(),
        component.version.as_ref(),
    ];
    let is_long = texts.into_iter().flatten().any(|it| it.len() > LONGEST);
    is_long && component.purl.take().is_some()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string does not fail.
        write!(hex, "{byte:02x}").unwrap_or_default();
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_very_long_name_has_no_package_url() {
        for (name, version, is_long) in [
            ("a!".repeat(200), "1".to_owned(), false),
            ("a!".repeat(201), "1".to_owned(), true),
            ("a".to_owned(), "1".repeat(401), true),
        ] {
            let mut component = Component::new(crate::component::Kind::Library, &name);
            component.purl = parsed(&purl("npm", "", &name, &version, &[]));
            component.version = Some(version);
            assert_eq!(shorten(&mut component), is_long);
            assert_eq!(component.purl.is_none(), is_long);
            // What is left is short enough for the rules, which compare 4096 characters.
            let length = component.purl.map_or(0, |it| it.as_str().len());
            assert!(length < 4096, "{length}");
        }
    }

    #[test]
    fn a_very_long_name_is_a_gap() {
        let text = format!(r#"{{"name":"{}","version":"1"}}"#, "a".repeat(401));
        let entry = oci::tar::Entry {
            path: "node_modules/a/package.json".into(),
            kind: oci::tar::EntryKind::File {
                size: text.len() as u64,
            },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
        };
        let mut tar = oci::tar::Writer::new(Vec::new());
        tar.write(&entry, text.as_bytes()).unwrap();
        let tar = tar.finish().unwrap();
        let mut view = oci::view::View::new(oci::view::ViewLimits::default());
        view.add_layer(&tar[..], &mut Finders::default()).unwrap();
        let inventory = find(&view);
        assert_eq!(inventory.components.len(), 1);
        assert!(inventory.components.iter().all(|it| it.purl.is_none()));
        let gaps: Vec<_> = inventory.gaps.iter().map(|it| &it.reason).collect();
        assert_eq!(gaps, ["a name or version of more than 400 bytes"]);
    }

    /// Each small where it is stored, each large where it is kept.
    #[test]
    fn many_that_unpack_to_much_do_not_take_all_memory() {
        let mut finders = Finders {
            left: 2500,
            ..Finders::default()
        };
        let text = format!(r#"{{"name":"{}","version":"1"}}"#, "a".repeat(500));
        let mut keep = |path: &str| {
            let file = FileInfo {
                path,
                size: text.len() as u64,
                mode: 0o644,
                head: b"{",
            };
            assert!(finders.wants(&file));
            finders.keep(&file, &mut FileContent::of(text.as_bytes()))
        };
        for path in ["a/package.json", "b/package.json"] {
            assert!(matches!(keep(path), Some(Found(What::Node(_)))));
        }
        let refused = keep("c/package.json");
        assert!(
            matches!(refused, Some(Found(What::Broken(_)))),
            "{refused:?}"
        );
    }

    #[test]
    fn finders_can_be_left_out() {
        let mut finders = Finders::only(|it| it == "apk");
        let mut wants = |path| {
            let head = elf::MAGIC;
            let (size, mode) = (0, 0);
            finders.wants(&FileInfo {
                path,
                size,
                mode,
                head,
            })
        };
        assert!(wants("lib/apk/db/installed"));
        assert!(!wants("var/lib/dpkg/status") && !wants("bin/sh"));
    }

    #[test]
    fn each_row_has_a_name_that_is_listed() {
        for (name, ..) in TABLE {
            assert!(NAMES.contains(name), "{name}");
        }
    }
}
