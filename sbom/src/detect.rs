//! Tells by its content what format an SBOM has, and reads it.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::document::{Document, DocumentError, Limits};
use crate::format::Format;
use crate::{cyclonedx, spdx};

/// Reads an SBOM of any format that is known: CycloneDX as JSON or XML, SPDX 2 as JSON or as tags
/// and values, Syft's own JSON. `origin` says where it is from.
pub fn read(
    bytes: &[u8],
    origin: impl Into<String>,
    limits: &Limits,
) -> Result<Document, DocumentError> {
    let limit = limits.document_bytes;
    if bytes.len() as u64 > limit {
        return Err(DocumentError::TooLarge { limit });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match bytes.iter().find(|it| !it.is_ascii_whitespace()) {
        Some(b'{') => {
            let marks: Marks = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
            let format = marks.format().ok_or(if marks.graph.is_some() {
                DocumentError::Spdx3
            } else {
                DocumentError::UnknownFormat
            })?;
            Document::parse(format, bytes, origin, limits)
        }
        Some(b'<') => {
            let text = std::str::from_utf8(bytes).map_err(DocumentError::Utf8)?;
            let json = cyclonedx::xml::read(text).map_err(DocumentError::Xml)?;
            Document::parse(Format::CycloneDx, &json, origin, limits)
        }
        Some(_) => {
            let text = std::str::from_utf8(bytes).map_err(|_error| DocumentError::UnknownFormat)?;
            if !text
                .lines()
                .take(1000)
                .any(|it| it.trim_start().starts_with("SPDXVersion:"))
            {
                return Err(DocumentError::UnknownFormat);
            }
            let root = spdx::tag_value::read(text).map_err(DocumentError::TagValue)?;
            let json = serde_json::to_vec(&root).map_err(DocumentError::Json)?;
            Document::parse(Format::Spdx, &json, origin, limits)
        }
        None => Err(DocumentError::UnknownFormat),
    }
}

/// What tells the formats apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marks {
    bom_format: Option<IgnoredAny>,
    spdx_version: Option<IgnoredAny>,
    artifacts: Option<IgnoredAny>,
    /// What SPDX 3 has instead.
    #[serde(rename = "@graph")]
    graph: Option<IgnoredAny>,
}

impl Marks {
    fn format(&self) -> Option<Format> {
        let marks = [
            (self.bom_format.is_some(), Format::CycloneDx),
            (self.spdx_version.is_some(), Format::Spdx),
            (self.artifacts.is_some(), Format::Syft),
        ];
        marks.iter().find(|(is, _)| *is).map(|(_, format)| *format)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_content() {
        for (content, expected) in [
            (
                r#" {"bomFormat":"CycloneDX","specVersion":"1.5"}"#,
                Format::CycloneDx,
            ),
            (r#"{"spdxVersion":"SPDX-2.3"}"#, Format::Spdx),
            (r#"{"artifacts":[]}"#, Format::Syft),
            ("\u{feff}SPDXVersion: SPDX-2.3\n", Format::Spdx),
            (
                r#"<bom xmlns="http://cyclonedx.org/schema/bom/1.4" version="1"/>"#,
                Format::CycloneDx,
            ),
        ] {
            let read = read(content.as_bytes(), "test", &Limits::default());
            assert_eq!(read.unwrap().format(), expected, "{content}");
        }
        let spdx_3 =
            br#"{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[]}"#;
        let read_3 = read(spdx_3, "test", &Limits::default());
        assert!(matches!(read_3, Err(DocumentError::Spdx3)));
        for content in ["", "{}", "words", "\u{0}"] {
            let read = read(content.as_bytes(), "test", &Limits::default());
            assert!(
                matches!(read, Err(DocumentError::UnknownFormat)),
                "{content}"
            );
        }
    }
}
