mod cyclonedx;
mod fields;
mod names;
mod spdx;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::convert;
use crate::cyclonedx::CycloneDx;
use crate::document::Document;
use crate::format::Format;
use crate::json::{Object, short_hash};
use crate::spdx_document::Spdx;
use crate::subject::Subject;

/// What is in an image, in both formats.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// As CycloneDX.
    pub cyclonedx: CycloneDx,
    /// As SPDX.
    pub spdx: Spdx,
}

/// Merges all documents of an image into one CycloneDX and one SPDX document about `subject`.
///
/// - The same documents in any order give the same bytes: names and the serial number come from
///   the content, and `created` is all that is known of time. Use the image's.
/// - A package is what has a purl, else what has a type, group, name and version. One that several
///   documents list is written once, with all that they say. Where they contradict one another one
///   value stands and the others are properties (CycloneDX) or annotations (SPDX).
/// - What is known from one format only is converted to the other; where both know a package, the
///   converted one fills in what the native one leaves out.
/// - CycloneDX is written as 1.5, or as the newest version among `documents`; SPDX as 2.3.
pub fn merge<'a>(
    subject: &Subject,
    created: OffsetDateTime,
    documents: impl IntoIterator<Item = &'a Document>,
) -> Merged {
    // A document that is there twice says nothing new; it only has two origins.
    let mut distinct: BTreeMap<(Format, String), (&Document, BTreeSet<&str>)> = BTreeMap::new();
    for document in documents {
        let text = serde_json::to_string(document.root()).unwrap_or_default();
        let hash = oci::Digest::of(text.as_bytes()).to_string();
        distinct
            .entry((document.format(), hash))
            .or_insert_with(|| (document, BTreeSet::new()))
            .1
            .insert(document.origin());
    }
    let created = timestamp(created);
    let mut cyclonedx_parts = Vec::new();
    let mut spdx_parts = Vec::new();
    for ((format, hash), (document, origins)) in distinct {
        let part = |root, is_native| Part {
            hash: short_hash(&hash),
            origins: origins.iter().map(|it| (*it).to_owned()).collect(),
            is_native,
            root,
        };
        let root = document.root();
        match format {
            Format::CycloneDx => {
                cyclonedx_parts.push(part(root.clone(), true));
                spdx_parts.push(part(convert::cyclonedx_to_spdx(root), false));
            }
            Format::Spdx => {
                cyclonedx_parts.push(part(convert::spdx_to_cyclonedx(root), false));
                spdx_parts.push(part(root.clone(), true));
            }
            Format::Syft => {
                let converted = convert::syft_to_cyclonedx(root);
                spdx_parts.push(part(convert::cyclonedx_to_spdx(&converted), false));
                cyclonedx_parts.push(part(converted, false));
            }
        }
    }
    Merged {
        cyclonedx: CycloneDx::from_root(cyclonedx::merge(subject, &created, cyclonedx_parts)),
        spdx: Spdx::from_root(spdx::merge(subject, &created, spdx_parts)),
    }
}

/// A document that goes into a merged one, in the format of that.
#[derive(Clone, Debug)]
struct Part {
    /// Tells it from the other parts.
    hash: String,
    /// Where it is from.
    origins: Vec<String>,
    /// Whether it was written in this format, not converted.
    is_native: bool,
    root: Object,
}

/// The fields of one thing, as one part has them.
#[derive(Clone, Debug)]
struct Member {
    part: usize,
    fields: Object,
}

/// What tells packages apart: the purl if there is one, with its qualifiers in order.
fn identity(purl: Option<&str>, otherwise: impl FnOnce() -> Value) -> String {
    let Some(purl) = purl else {
        return otherwise().to_string();
    };
    let (rest, subpath) = purl.split_once('#').unwrap_or((purl, ""));
    let (package, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
    let mut qualifiers: Vec<&str> = qualifiers.split('&').collect();
    qualifiers.sort_unstable();
    json!([package, qualifiers, subpath]).to_string()
}

/// Merges what is said of one thing; what was converted only fills in.
fn merge_members(members: Vec<Member>, parts: &[Part]) -> (Object, Vec<fields::Other>) {
    let (native, converted): (Vec<_>, Vec<_>) = members
        .into_iter()
        .partition(|it| parts.get(it.part).is_some_and(|part| part.is_native));
    let fields =
        |members: Vec<Member>| -> Vec<Object> { members.into_iter().map(|it| it.fields).collect() };
    let mut others = Vec::new();
    let mut merged = fields::merge(&fields(native), "", &mut others);
    let mut unimportant = Vec::new();
    let conflicts = if merged.is_empty() {
        &mut others
    } else {
        &mut unimportant
    };
    for (name, value) in fields::merge(&fields(converted), "", conflicts) {
        let stands = merged.entry(name).or_insert(Value::Null);
        if stands.is_null() || *stands == crate::license::NOASSERTION {
            *stands = value;
        }
    }
    (merged, others)
}

/// `2026-01-31T12:00:00Z`, as both formats have it.
fn timestamp(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// A UUID from the content of a document: what RFC 9562 calls version 8.
fn uuid(root: &Object) -> String {
    let text = serde_json::to_string(root).unwrap_or_default();
    let digest = oci::Digest::of(text.as_bytes());
    let mut uuid = String::new();
    for (index, digit) in digest.hex().chars().take(32).enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            uuid.push('-');
        }
        uuid.push(match index {
            12 | 16 => '8',
            _ => digit,
        });
    }
    uuid
}

/// The name of this program in the documents that it writes.
const TOOL: &str = "sealpack";
const TOOL_VERSION: &str = env!("CARGO_PKG_VERSION");
