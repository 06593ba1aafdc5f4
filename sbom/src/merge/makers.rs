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
        let mut dashes = tool.match_indices('-').map(|(at, _)| tool.split_at(at));
        let is_version = |it: &str| {
            let it = it.trim_start_matches('v');
            it.starts_with(|c: char| c.is_ascii_digit())
        };
        // The version is what follows the first dash before a digit; a version may have dashes, too.
        let split = dashes.find_map(|(name, rest)| {
            let version = rest.strip_prefix('-')?;
            (!name.is_empty() && is_version(version)).then_some((name, version))
        });
        let (name, version) = split.map_or((tool, None), |(name, it)| (name, Some(it)));
        (!name.is_empty()).then(|| Tool {
            vendor: None,
            name: name.to_owned(),
            version: version.map(str::to_owned),
        })
    })
}
