//! What `cargo auditable` writes into a program: the crates that it is made of.
//!
//! <https://github.com/rust-secure-code/cargo-auditable/blob/master/PARSING.md>

use std::io::{self, Read, Seek};

use serde::Deserialize;

use super::elf::Elf;

/// Bytes of the section, and of what it unpacks to.
const PACKED: u64 = 8 << 20;
const UNPACKED: u64 = 8 << 20;
const CRATES: usize = 50_000;

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub(crate) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
    #[serde(default)]
    pub(super) source: String,
    #[serde(default)]
    pub(super) kind: Use,
    #[serde(default)]
    pub(super) dependencies: Vec<usize>,
    #[serde(default)]
    pub(super) root: bool,
}

impl Crate {
    /// Bytes that it takes, roughly.
    pub(super) fn weight(&self) -> u64 {
        let text = self.name.len() + self.version.len() + self.source.len();
        (text + 8 * self.dependencies.len() + 150) as u64
    }
}

/// What a crate is for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Use {
    /// It is in the program.
    #[default]
    Runtime,
    /// It helped to build it.
    #[serde(alias = "dev")]
    Build,
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct Section {
    packages: Vec<Crate>,
}

/// None if there is no such section; a sentence if it is not what it should be.
pub(super) fn read<R: Read + Seek>(
    elf: &mut Elf<R>,
) -> io::Result<Option<Result<Vec<Crate>, String>>> {
    let Some(packed) = elf.section_of(".dep-v0", PACKED)? else {
        return Ok(None);
    };
    Ok(Some(parse(&packed)))
}

pub(super) fn parse(packed: &[u8]) -> Result<Vec<Crate>, String> {
    let mut unpacked = Vec::new();
    let mut decoder = flate2::read::ZlibDecoder::new(packed).take(UNPACKED + 1);
    let read = decoder.read_to_end(&mut unpacked);
    if unpacked.len() as u64 > UNPACKED {
        return Err(format!(
            "its list of crates is larger than {UNPACKED} bytes"
        ));
    }
    let malformed =
        |cause: &dyn std::fmt::Display| format!("its list of crates is malformed: {cause}");
    read.map_err(|error| malformed(&error))?;
    let section: Section = serde_json::from_slice(&unpacked).map_err(|error| malformed(&error))?;
    if section.packages.len() > CRATES {
        return Err(format!("it has more than {CRATES} crates"));
    }
    if section.packages.iter().any(|it| it.name.is_empty()) {
        return Err(malformed(&"a crate has no name"));
    }
    Ok(section.packages)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn pack(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn crates_are_read() {
        let text = br#"{"packages":[{"name":"app","version":"0.1.0","source":"local","dependencies":[1,2],"root":true},{"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"},{"name":"libc","version":"0.2.1","source":"crates.io","kind":"new"}],"format":3}"#;
        let crates = parse(&pack(text)).unwrap();
        assert_eq!(crates.len(), 3);
        assert!(crates[0].root && crates[0].dependencies == [1, 2]);
        assert_eq!(crates[1].kind, Use::Build);
        assert_eq!(crates[2].kind, Use::Unknown);
    }

    #[test]
    fn hostile_sections_cost_little() {
        let bomb = pack(&vec![b' '; 64 << 20]);
        assert!(bomb.len() < 1 << 20);
        assert!(parse(&bomb).unwrap_err().contains("larger than"));
        assert!(parse(b"no").unwrap_err().contains("malformed"));
        assert!(parse(&pack(b"[]")).unwrap_err().contains("malformed"));
        let deep = pack(&b"[".repeat(1 << 20));
        assert!(parse(&deep).unwrap_err().contains("malformed"));
    }
}
