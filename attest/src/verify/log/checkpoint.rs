//! A tree, as its log signed it: a signed note.
//!
//! <https://github.com/C2SP/C2SP/blob/main/tlog-checkpoint.md>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Generation, LogError};
use crate::key::{Hash, KeyAlgorithm, PublicKey};
use crate::trust::Log;

/// No checkpoint is larger: some lines, and a signature of each witness.
const MAX_BYTES: usize = 64 << 10;

/// As many as are looked at.
const MAX_SIGNATURES: usize = 128;

/// What names the key in a signature line.
const HINT_LEN: usize = 4;

/// A tree that a log stands for.
pub(super) struct Tree {
    pub(super) size: u64,
    pub(super) root: Vec<u8>,
}

/// The tree, if `log` signed it. Signatures by others (witnesses) neither help nor harm.
pub(super) fn signed(
    note: &str,
    log: &Log,
    key: &PublicKey,
    generation: Generation,
) -> Result<Tree, LogError> {
    let malformed = |problem| LogError::Checkpoint { problem };
    if note.len() > MAX_BYTES {
        return Err(malformed("it is too large"));
    }
    let Some((text, signatures)) = split(note) else {
        return Err(malformed("it has no signatures"));
    };
    let mut lines = text.lines();
    let origin = lines
        .next()
        .filter(|it| !it.is_empty())
        .ok_or_else(|| malformed("it has no origin"))?;
    let size = lines
        .next()
        .and_then(decimal)
        .ok_or_else(|| malformed("it has no size"))?;
    let root = lines
        .next()
        .and_then(|it| STANDARD.decode(it).ok())
        .filter(|it| it.len() == Hash::Sha256.len())
        .ok_or_else(|| malformed("it has no root"))?;
    let not_signed = || LogError::CheckpointSignature {
        log: log.base_url.clone(),
    };
    // A log of the second generation is called like its host, everywhere.
    if generation == Generation::V2 && log.host() != Some(origin) {
        return Err(not_signed());
    }
    let hint = hint(key, origin);
    let mut is_signed = false;
    for line in signatures.lines().take(MAX_SIGNATURES) {
        let Some((name, signature)) = signature(line) else {
            return Err(malformed("it has a line that is no signature"));
        };
        // Of the first generation, the tree's number stands behind the name.
        let is_named = match generation {
            Generation::V1 => origin
                .strip_prefix(name)
                .is_some_and(|it| it.is_empty() || it.starts_with(" - ")),
            Generation::V2 => name == origin,
        };
        let Some((presented, signature)) = signature.split_at_checked(HINT_LEN) else {
            return Err(malformed("it has a signature without a key"));
        };
        if is_named && presented == hint {
            if !key.has_signed_with(Hash::Sha256, text.as_bytes(), signature) {
                return Err(not_signed());
            }
            is_signed = true;
        }
    }
    if is_signed {
        Ok(Tree { size, root })
    } else {
        Err(not_signed())
    }
}

/// The text with its last line break, and the lines of signatures.
fn split(note: &str) -> Option<(&str, &str)> {
    let at = note.rfind("\n\n")?;
    let (text, rest) = note.split_at_checked(at + 1)?;
    Some((text, rest.strip_prefix('\n')?))
}

/// The name and the decoded rest of a line of signature.
fn signature(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    Some((name, STANDARD.decode(signature).ok()?))
}

/// One text for each number.
fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// What names `key` in signatures of the log that is called `name`.
fn hint(key: &PublicKey, name: &str) -> Vec<u8> {
    let hash = match key.algorithm() {
        // The one kind for which it is as the specification says.
        KeyAlgorithm::Ed25519 => {
            let mut named = name.as_bytes().to_vec();
            named.extend_from_slice(b"\n\x01");
            named.extend_from_slice(key.raw());
            Hash::Sha256.of(&named)
        }
        KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::Rsa => {
            Hash::Sha256.of(key.spki())
        }
    };
    hash.into_iter().take(HINT_LEN).collect()
}
