//! What is attached to an image and proves nothing, in few lines: anybody may attach anything, as often as
//! they like.

use std::collections::{BTreeMap, BTreeSet};

use gate::Unproven;

/// Whether a user can have each by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Listing {
    /// The document of the same command lists them.
    Here,
    /// It does not.
    Elsewhere,
}

/// One line for each reason; and for each signer who is believed about something else one with what they
/// signed.
pub(crate) fn notes(unproven: &[Unproven], listing: Listing) -> Vec<String> {
    let mut claims: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut others = Vec::new();
    for it in unproven {
        if let Some(claim) = &it.claim {
            let kinds = claims.entry(&claim.signer).or_default();
            kinds.insert(claim.predicate_type.name());
        } else {
            others.push(it);
        }
    }
    let claims = claims.into_iter().map(|(signer, kinds)| {
        let kinds: Vec<_> = kinds.into_iter().collect();
        format!(
            "{} signed other claims: {}",
            brief(signer),
            kinds.join(", ")
        )
    });
    let same = others.chunk_by(|one, other| one.reason == other.reason);
    let others = same.map(|it| match it {
        [one] => one.line(),
        [first, ..] => {
            let count = it.len();
            let more = match listing {
                Listing::Here => "; `-o json` lists them",
                Listing::Elsewhere => "",
            };
            format!("{count} attached bundles: {}{more}", first.reason)
        }
        [] => String::new(),
    });
    claims.chain(others).collect()
}

/// A signer with so much of a key's digest as people compare.
pub(crate) fn brief(signer: &str) -> String {
    const DIGITS: usize = 12;
    match signer.split_once("sha256:") {
        Some((before, hex)) => {
            let shown: String = hex.chars().take(DIGITS).collect();
            format!("{before}sha256:{shown}")
        }
        None => signer.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_by_a_few_digits() {
        let key = format!("key sha256:{}", "0123456789abcdef".repeat(4));
        assert_eq!(brief(&key), "key sha256:0123456789ab");
        assert_eq!(brief("key sha256:é"), "key sha256:é");
        assert_eq!(
            brief("me@a.example by https://b.example"),
            "me@a.example by https://b.example"
        );
    }
}
