//! Who made the documents that go in, where what is written is of another format. What is of the same format
//! says it in its own words.

use std::collections::BTreeSet;

use super::{Merging, Part};
use crate::component::{Party, Tool};
use crate::format::Format;
use crate::json::{Object, texts};

/// The tools that what was found and documents of other formats than `written` name.
pub(crate) fn tools(merging: &Merging, written: Format) -> BTreeSet<&Tool> {
    let others = others(merging, written);
    others.flat_map(|it| &it.reading.inventory.tools).collect()
}

/// People and organisations that documents of other formats name.
pub(crate) fn authors(merging: &Merging, written: Format) -> BTreeSet<&Party> {
    let others = others(merging, written).filter(|it| it.format.is_some());
    others
        .flat_map(|it| &it.reading.inventory.authors)
        .collect()
}

fn others(merging: &Merging, written: Format) -> impl Iterator<Item = &Part> {
    let parts = merging.parts.iter();
    parts.filter(move |it| it.format != Some(written))
}

/// The tools among SPDX's `creators`: `Tool: syft-1.32.0`.
pub(crate) fn spdx_tools(creation: &Object) -> impl Iterator<Item = Tool> {
    texts(creation, "creators").filter_map(|it| {
        let tool = it.strip_prefix("Tool:")?.trim();
        let split = dashes(tool).find(|(name, rest)| {
            !name.is_empty() && is_number(rest) && rest.split('-').all(is_of_version)
        });
        let (name, version) = split.map_or((tool, None), |(name, it)| (name, Some(it)));
        (!name.is_empty()).then(|| Tool {
            vendor: None,
            name: name.to_owned(),
            version: version.map(str::to_owned),
        })
    })
}

/// What is before and behind each dash of `text`.
fn dashes(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices('-').filter_map(|(at, _)| {
        let (before, rest) = text.split_at_checked(at)?;
        Some((before, rest.strip_prefix('-')?))
    })
}

fn is_number(text: &str) -> bool {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    text.starts_with(|it: char| it.is_ascii_digit())
}

/// Whether `text` can be a part of a version, between dashes. Else what is before it may be a part of the
/// name, too: the 2 of `log4j-2-scanner`.
fn is_of_version(text: &str) -> bool {
    const WORDS: [&str; 13] = [
        "a", "alpha", "b", "beta", "dev", "dirty", "final", "ga", "nightly", "pre", "preview",
        "rc", "snapshot",
    ];
    let word = text.split(['.', '+']).next().unwrap_or_default();
    let word = word.trim_end_matches(|it: char| it.is_ascii_digit());
    is_number(text) || WORDS.iter().any(|it| word.eq_ignore_ascii_case(it))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tool_has_a_version_where_that_is_clear() {
        for (text, name, version) in [
            ("syft-1.32.0", "syft", Some("1.32.0")),
            ("git-lfs-v3.4-beta", "git-lfs", Some("v3.4-beta")),
            ("a-1.0-rc.1", "a", Some("1.0-rc.1")),
            ("a-1.0-rc-1", "a", Some("1.0-rc-1")),
            ("a-2026-01-02", "a", Some("2026-01-02")),
            ("log4j-2-scanner-1.0", "log4j-2-scanner", Some("1.0")),
            ("log4j-2-scanner", "log4j-2-scanner", None),
            ("some-tool", "some-tool", None),
            ("a-", "a-", None),
            ("-1.0", "-1.0", None),
        ] {
            let creation = json!({ "creators": [format!("Tool: {text}")] });
            let tools: Vec<_> = spdx_tools(creation.as_object().unwrap()).collect();
            let found: Vec<_> = tools
                .iter()
                .map(|it| (it.name.as_str(), it.version.as_deref()))
                .collect();
            assert_eq!(found, [(name, version)], "{text}");
        }
    }
}
