//! Names of images that may move.

use std::fmt;
use std::str::FromStr;

use super::ReferenceError;

/// A name of an image, which may move.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tag(String);

impl Tag {
    /// The tag that is meant where none is given.
    pub const LATEST: &str = "latest";

    /// [`LATEST`](Self::LATEST), as a tag.
    pub fn latest() -> Self {
        Self(Self::LATEST.to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one by which registries and cosign attach things to a manifest: `sha256-<hex>`,
    /// with or without an ending.
    pub fn is_digest_tag(&self) -> bool {
        let rest = self.0.strip_prefix("sha256-");
        let hex = rest.and_then(|it| it.get(..64));
        hex.is_some_and(|it| it.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

impl Tag {
    /// A name of an image in a layout, which may be more than a registry takes as a tag: `a/b:1.0+git`.
    ///
    /// <https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md>, the grammar of
    /// `org.opencontainers.image.ref.name`. It does not allow `_`, which tags have.
    pub fn in_layout(text: &str) -> Result<Self, ReferenceError> {
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let is_component = |it: &str| {
            let ends = [it.bytes().next(), it.bytes().last()];
            ends.into_iter().all(|it| it.is_some_and(is_word))
                && it
                    .bytes()
                    .all(|b| is_word(b) || matches!(b, b'-' | b'.' | b':' | b'@' | b'+'))
        };
        if let Ok(tag) = text.parse() {
            return Ok(tag);
        }
        if text.len() <= MAX_NAME && text.split('/').all(is_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::Name {
                text: text.to_owned(),
            })
        }
    }

    /// One that is known to be harmless.
    pub(super) fn weak(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether a registry can be asked for it: whatever letters of tags stand first, as upstream's
    /// lifecycle has it, but nothing that is another path once it stands in an address.
    pub fn is_plain(&self) -> bool {
        is_plain(&self.0)
    }
}

pub(super) fn is_plain(text: &str) -> bool {
    let is_letter = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-' | b'.');
    (1..=128).contains(&text.len()) && text.bytes().all(is_letter) && !matches!(text, "." | "..")
}

/// The longest name of an image in a layout that is read, in bytes.
const MAX_NAME: usize = 512;

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let bytes = text.as_bytes();
        if bytes.len() <= 128
            && bytes.first().copied().is_some_and(word)
            && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'))
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::Tag {
                text: text.to_owned(),
            })
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
