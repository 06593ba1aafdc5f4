//! The header of a package: tags and values.
//!
//! <https://rpm-software-management.github.io/rpm/manual/format_header.html>

use super::super::Owned;

/// Tags of one header.
const TAGS: usize = 100_000;
/// Values of one tag.
const VALUES: usize = 1_000_000;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(super) version: String,
    pub(super) release: String,
    pub(super) epoch: Option<u32>,
    pub(super) architecture: String,
    pub(super) source: String,
    pub(super) vendor: String,
    pub(super) license: String,
    pub(super) summary: String,
    pub(super) url: String,
    pub(super) modularity: String,
    pub(crate) provides: Vec<String>,
    pub(crate) requires: Vec<String>,
    pub(super) owned: Owned,
}

/// A tag, and where its values are.
struct Index<'a> {
    entries: &'a [u8],
    data: &'a [u8],
}

impl<'a> Index<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let (sizes, rest) = bytes.split_at_checked(8)?;
        let (tags, data) = sizes.split_at_checked(4)?;
        let tags = usize::try_from(number(tags))
            .ok()
            .filter(|it| *it <= TAGS)?;
        let (entries, rest) = rest.split_at_checked(tags * 16)?;
        let data = rest.get(..usize::try_from(number(data)).ok()?)?;
        Some(Self { entries, data })
    }

    /// The type, the count and the values of `tag`.
    fn find(&self, tag: u64) -> Option<(u64, usize, &'a [u8])> {
        let mut entries = self.entries.chunks_exact(16);
        let entry = entries.find(|it| it.get(..4).is_some_and(|it| number(it) == tag))?;
        let field = |at: usize| entry.get(at..at + 4).map(number);
        let offset = usize::try_from(field(8)?).ok()?;
        let count = usize::try_from(field(12)?).ok()?;
        Some((field(4)?, count, self.data.get(offset..)?))
    }

    fn texts(&self, tag: u64) -> Vec<String> {
        const STRING: u64 = 6;
        const STRINGS: u64 = 8;
        const TRANSLATED: u64 = 9;
        let Some((kind, count, values)) = self.find(tag) else {
            return Vec::new();
        };
        let count = match kind {
            STRING => 1,
            // As many as there are, whatever the count says.
            STRINGS | TRANSLATED => count.min(VALUES),
            _ => return Vec::new(),
        };
        let ends = values.iter().filter(|it| **it == 0).take(count).count();
        let texts = values.split(|it| *it == 0).take(ends);
        texts
            .map(|it| String::from_utf8_lossy(it).into_owned())
            .collect()
    }

    fn text(&self, tag: u64) -> String {
        self.texts(tag).into_iter().next().unwrap_or_default()
    }

    fn numbers(&self, tag: u64) -> Vec<u64> {
        const INT32: u64 = 4;
        match self.find(tag) {
            Some((INT32, count, values)) => values
                .chunks_exact(4)
                .take(count.min(VALUES))
                .map(number)
                .collect(),
            _ => Vec::new(),
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, it| sum << 8 | u64::from(*it))
}

/// None if it is no package: a key of who signs packages is kept as one.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Package>, &'static str> {
    let index = Index::new(bytes).ok_or("the header of a package is malformed")?;
    let name = index.text(1000);
    if name == "gpg-pubkey" {
        return Ok(None);
    }
    let or_none = |text: String| {
        if text == "(none)" {
            String::new()
        } else {
            text
        }
    };
    let package = Package {
        version: index.text(1001),
        release: index.text(1002),
        epoch: index
            .numbers(1003)
            .first()
            .and_then(|it| (*it).try_into().ok()),
        summary: index.text(1004),
        vendor: or_none(index.text(1011)),
        license: or_none(index.text(1014)),
        url: or_none(index.text(1020)),
        architecture: or_none(index.text(1022)),
        source: or_none(index.text(1044)),
        modularity: or_none(index.text(5096)),
        provides: index.texts(1047),
        requires: requires(&index),
        owned: owned(&index),
        name,
    };
    if package.name.is_empty() || package.version.is_empty() {
        return Err("a package has no name or no version");
    }
    Ok(Some(package))
}

/// Without what is asked of RPM itself.
fn requires(index: &Index<'_>) -> Vec<String> {
    let mut names = index.texts(1049);
    names.retain(|it| !it.starts_with("rpmlib("));
    names.sort();
    names.dedup();
    names
}

fn owned(index: &Index<'_>) -> Owned {
    let mut owned = Owned::default();
    let folders = index.texts(1118);
    let of = index.numbers(1116);
    for (name, folder) in index.texts(1117).iter().zip(of) {
        let folder = usize::try_from(folder).ok().and_then(|it| folders.get(it));
        if let Some(folder) = folder
            && !owned.add(&format!("{folder}{name}"))
        {
            break;
        }
    }
    owned
}
