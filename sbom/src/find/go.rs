//! What Go writes into the programs that it builds: of which modules they are.
//!
//! Since Go 1.13; before 1.18 as pointers to strings, since then as strings.
//! <https://pkg.go.dev/debug/buildinfo>

use std::io::{self, Read, Seek};

use regex::Regex;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::elf::Elf;
use crate::percent::encode;

const MAGIC: &[u8] = b"\xff Go buildinf:";
const ALIGN: usize = 16;
const HEADER: usize = 32;

/// Bytes of what is written for one program; the largest have some thousand modules.
const LARGEST: u64 = 16 << 20;
/// How far into its data a program without sections is searched.
const SEARCHED: u64 = 4 << 20;
const MODULES: usize = 20_000;

const DEVEL: &str = "(devel)";

/// What a program is made of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct BuildInfo {
    /// `go1.22.3`.
    pub(super) version: String,
    /// The package that was built.
    path: String,
    main: Option<Module>,
    pub(super) modules: Vec<Module>,
    settings: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Module {
    pub(super) path: String,
    pub(super) version: String,
    /// `h1:` and base64.
    pub(super) sum: String,
}

/// None if Go did not build it.
pub(super) fn read<R: Read + Seek>(elf: &mut Elf<R>) -> io::Result<Option<BuildInfo>> {
    let data = match elf.section_of(".go.buildinfo", LARGEST)? {
        Some(section) => Some(section),
        None if elf.has_sections() => None,
        None => elf.data(SEARCHED)?,
    };
    let Some(data) = data else {
        return Ok(None);
    };
    let mut places = data.chunks(ALIGN).enumerate();
    let Some((at, _)) = places.find(|(_, chunk)| chunk.starts_with(MAGIC)) else {
        return Ok(None);
    };
    let info = data.get(at * ALIGN..).unwrap_or_default();
    let (Some(flags), Some(pointer)) = (info.get(15), info.get(14)) else {
        return Ok(None);
    };
    let texts = if flags & 2 != 0 {
        inline(info.get(HEADER..).unwrap_or_default())
    } else {
        let (is_big, width) = (flags & 1 != 0, usize::from(*pointer));
        pointed(elf, info, width, is_big)?
    };
    Ok(texts.map(|(version, modules)| parse(&version, &modules)))
}

/// Two strings, each after its length.
fn inline(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (version, rest) = counted(bytes)?;
    let (modules, _) = counted(rest).unwrap_or((&[], &[]));
    (!version.is_empty()).then(|| (version.to_vec(), framed(modules).to_vec()))
}

fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut size = 0_u64;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        size |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let rest = bytes.get(index + 1..)?;
            return rest.split_at_checked(usize::try_from(size).ok()?);
        }
    }
    None
}

/// Pointers to two headers of strings, each an address and a length.
fn pointed<R: Read + Seek>(
    elf: &mut Elf<R>,
    info: &[u8],
    width: usize,
    is_big: bool,
) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    if width != if elf.is_64() { 8 } else { 4 } || is_big != elf.is_big() {
        return Ok(None);
    }
    let number = |bytes: &[u8]| {
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if is_big {
            bytes.iter().fold(0, add)
        } else {
            bytes.iter().rev().fold(0, add)
        }
    };
    let mut texts = Vec::new();
    for at in [16, 16 + width] {
        let pointer = number(info.get(at..at + width).unwrap_or_default());
        let header = elf.memory(pointer, 2 * width as u64)?.unwrap_or_default();
        let (address, size) = header.split_at_checked(width).unwrap_or_default();
        let size = number(size);
        let text = if size > LARGEST {
            None
        } else {
            elf.memory(number(address), size)?
        };
        texts.push(text.unwrap_or_default());
    }
    let modules = texts.pop().unwrap_or_default();
    let version = texts.pop().unwrap_or_default();
    Ok((!version.is_empty()).then(|| (version, framed(&modules).to_vec())))
}

/// Without the 16 bytes before and after that mark it.
fn framed(modules: &[u8]) -> &[u8] {
    match modules.len().checked_sub(17) {
        Some(end) if end >= 16 && modules.get(end) == Some(&b'\n') => {
            modules.get(16..=end).unwrap_or_default()
        }
        _ => &[],
    }
}

fn parse(version: &[u8], modules: &[u8]) -> BuildInfo {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let mut info = BuildInfo {
        version: text(version),
        ..BuildInfo::default()
    };
    let mut last_is_main = false;
    for line in text(modules).lines() {
        let mut fields = line.split('\t');
        let what = fields.next().unwrap_or_default();
        let mut module = || Module {
            path: fields.next().unwrap_or_default().to_owned(),
            version: fields.next().unwrap_or_default().to_owned(),
            sum: fields.next().unwrap_or_default().to_owned(),
        };
        match what {
            "path" => info.path = module().path,
            "mod" => {
                info.main = Some(module());
                last_is_main = true;
            }
            "dep" if info.modules.len() < MODULES => {
                info.modules.push(module());
                last_is_main = false;
            }
            // What the one before was replaced with.
            "=>" if last_is_main => info.main = Some(module()),
            "=>" => {
                if let Some(last) = info.modules.last_mut() {
                    *last = module();
                }
            }
            "build" => {
                let setting = line.get(6..).and_then(|it| it.split_once('='));
                info.settings
                    .extend(setting.map(|(name, value)| {
                        (name.to_owned(), value.trim_matches('"').to_owned())
                    }));
            }
            _ => {}
        }
    }
    info
}

impl BuildInfo {
    /// Bytes that it takes, roughly.
    pub(super) fn weight(&self) -> u64 {
        let modules = self.modules.iter();
        let modules = modules.map(|it| it.path.len() + it.version.len() + it.sum.len() + 100);
        let settings = self
            .settings
            .iter()
            .map(|(name, value)| name.len() + value.len() + 50);
        modules.chain(settings).sum::<usize>() as u64
    }

    /// The module that was built, and those that went into it.
    pub(super) fn parts(&self) -> (Option<Module>, Vec<Module>) {
        let mut modules = self.modules.clone();
        let is_missing = match &self.main {
            None => !self.path.is_empty(),
            Some(main) => main.path == "command-line-arguments" && main.version.is_empty(),
        };
        let mut main = self.main.clone();
        if is_missing {
            let devel: Vec<usize> = (0..modules.len())
                .filter(|it| modules.get(*it).is_some_and(|it| it.version == DEVEL))
                .collect();
            main = Some(match devel[..] {
                [only] => modules.remove(only),
                _ => Module {
                    path: self.path.clone(),
                    version: DEVEL.to_owned(),
                    sum: String::new(),
                },
            });
        }
        if let Some(main) = main.as_mut().filter(|it| it.version == DEVEL) {
            main.version = self.built_version(&main.path);
        }
        for module in &mut modules {
            if module.version == DEVEL {
                module.version.clear();
            }
        }
        modules.retain(|it| !it.path.is_empty());
        (main.filter(|it| !it.path.is_empty()), modules)
    }

    /// Without what is said of experiments.
    pub(super) fn compiler(&self) -> &str {
        let version = self.version.split(' ').next().unwrap_or_default();
        version.strip_prefix("go").unwrap_or(version)
    }

    fn setting(&self, name: &str) -> Option<&str> {
        let mut found = self.settings.iter().filter(|(it, _)| it == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The version of what has none, as linker flags or the version control say it.
    fn built_version(&self, main: &str) -> String {
        let flags = self.setting("-ldflags").unwrap_or_default();
        if let Some(version) = version_of_flags(flags, main) {
            return version;
        }
        let (Some(revision), Some(at)) = (self.setting("vcs.revision"), self.setting("vcs.time"))
        else {
            return String::new();
        };
        let at = OffsetDateTime::parse(at, &Rfc3339).ok();
        let at = at.map_or_else(
            || "00010101000000".to_owned(),
            |at| {
                let at = at.to_offset(time::UtcOffset::UTC);
                let (date, month) = (at.date(), u8::from(at.month()));
                let (year, day) = (date.year(), date.day());
                let (hour, minute, second) = at.to_hms();
                format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
            },
        );
        let revision: String = revision.chars().take(12).collect();
        format!("v0.0.0-{at}-{revision}")
    }
}

/// `-X main.version=1.2.3`, by the names that such variables have.
fn version_of_flags(flags: &str, main: &str) -> Option<String> {
    if flags.is_empty() || flags.len() > 64 << 10 {
        return None;
    }
    let main = regex::escape(main);
    let names = [
        r"\.[a-zA-Z0-9]*(?:[rR]elease)?(?:[gG]it)?(?:[bB]uild)?[vV]er(?:sion)?",
        r"\.[a-zA-Z0-9]*[tT]ag",
    ];
    names.iter().find_map(|name| {
        let pattern =
            format!(r"(?:main|{main}/[^\s]*){name}=(?:\S+/)*(v?\d+.\d+.\d+[-0-9A-Za-z_]*)");
        let found = Regex::new(&pattern).ok()?.captures(flags)?;
        let version = found.get(1)?.as_str();
        Some(format!("v{}", version.trim_start_matches('v')))
    })
}

/// As syft writes it.
pub(super) fn purl(path: &str, version: &str) -> String {
    let mut names = path.splitn(4, '/');
    let mut purl = "pkg:golang".to_owned();
    for name in names.by_ref().take(3) {
        purl.push('/');
        purl.push_str(&encode(name));
    }
    if !version.is_empty() {
        purl.push('@');
        purl.push_str(&encode(version));
    }
    if let Some(rest) = names.next() {
        purl.push('#');
        let parts: Vec<String> = rest.split('/').map(encode).collect();
        purl.push_str(&parts.join("/"));
    }
    purl
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES: &str = "path\texample.org/app/cmd/x\nmod\texample.org/app\t(devel)\t\ndep\tgithub.com/a/b\tv1.0.0\th1:abc=\ndep\tgithub.com/BurntSushi/toml/v2/x\tv1.0.0+incompatible\n=>\t./local\tv0.0.0\t\nbuild\t-ldflags=\"-s -X main.version=v1.2.3\"\nbuild\tvcs.revision=0123456789abcdef\nbuild\tvcs.time=2024-01-02T03:04:05Z\n";

    fn framed_with(modules: &str) -> Vec<u8> {
        [&[1; 16], modules.as_bytes(), &[2; 16]].concat()
    }

    fn counted_with(bytes: &[u8]) -> Vec<u8> {
        let mut counted = Vec::new();
        let mut size = bytes.len();
        while size >= 0x80 {
            counted.push(u8::try_from(size & 0x7f).unwrap() | 0x80);
            size >>= 7;
        }
        counted.push(u8::try_from(size).unwrap());
        [&counted, bytes].concat()
    }

    #[test]
    fn modules_are_read() {
        let bytes = [
            counted_with(b"go1.22.3 X:boring"),
            counted_with(&framed_with(MODULES)),
        ];
        let (version, modules) = inline(&bytes.concat()).unwrap();
        let info = parse(&version, &modules);
        assert_eq!(info.compiler(), "1.22.3");
        let (main, modules) = info.parts();
        let main = main.unwrap();
        assert_eq!(
            (main.path.as_str(), main.version.as_str()),
            ("example.org/app", "v1.2.3")
        );
        let paths: Vec<_> = modules
            .iter()
            .map(|it| (it.path.as_str(), it.version.as_str()))
            .collect();
        assert_eq!(paths, [("github.com/a/b", "v1.0.0"), ("./local", "v0.0.0")]);
        for bad in [
            &b""[..],
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x05a",
            b"\x00",
        ] {
            assert_eq!(inline(bad), None);
        }
    }

    #[test]
    fn versions_are_found_where_they_were_put() {
        let info = |modules: &str| parse(b"go1.20", modules.as_bytes());
        let of = |modules: &str| info(modules).parts().0.unwrap().version;
        let main = "mod\ta.b/c\t(devel)\t\n";
        for (flags, version) in [
            ("-X a.b/c/internal.gitVersion=1.2.3-rc1", "v1.2.3-rc1"),
            ("-X main.Tag=v2.0.0", "v2.0.0"),
            ("-X other.version=1.2.3", ""),
            ("-s -w", ""),
        ] {
            assert_eq!(
                of(&format!("{main}build\t-ldflags={flags}\n")),
                version,
                "{flags}"
            );
        }
        let vcs = "build\tvcs.revision=0123456789abcdef\nbuild\tvcs.time=2024-01-02T03:04:05Z\n";
        assert_eq!(
            of(&format!("{main}{vcs}")),
            "v0.0.0-20240102030405-0123456789ab"
        );
        let without = info("path\tcommand-line-arguments\ndep\ta.b/c\t(devel)\t\ndep\td\tv1\n");
        let (main, modules) = without.parts();
        assert_eq!((main.unwrap().path.as_str(), modules.len()), ("a.b/c", 1));
    }

    #[test]
    fn purls_are_as_syft_writes_them() {
        for (path, version, expected) in [
            ("stdlib", "1.22", "pkg:golang/stdlib@1.22"),
            (
                "gopkg.in/yaml.v3",
                "v3.0.1",
                "pkg:golang/gopkg.in/yaml.v3@v3.0.1",
            ),
            (
                "github.com/A/b/v2",
                "v2.0.0+incompatible",
                "pkg:golang/github.com/A/b@v2.0.0%2Bincompatible#v2",
            ),
            ("a/b/c/d/e", "", "pkg:golang/a/b/c#d/e"),
        ] {
            assert_eq!(purl(path, version), expected);
        }
    }
}
