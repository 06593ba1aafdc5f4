//! Reads CycloneDX's XML form, 1.3 to 1.5, as the JSON form of the same document.

use cyclonedx_bom::models::bom::{Bom, SpecVersion};

/// How deep elements may be nested, and how many there may be.
const DEPTH: usize = 64;
const ELEMENTS: usize = 5_000_000;

/// The document as JSON has it. Looked at before it is read: no document type, so no entities of
/// its own, and limits on depth and count.
pub(crate) fn read(document: &str) -> Result<Vec<u8>, XmlError> {
    scan(document)?;
    let version = namespace(document).ok_or(XmlError::Version)?;
    let version = match version {
        "1.3" => SpecVersion::V1_3,
        "1.4" => SpecVersion::V1_4,
        "1.5" => SpecVersion::V1_5,
        _ => return Err(XmlError::Version),
    };
    let bom = Bom::parse_from_xml_with_version(document.as_bytes(), version)
        .map_err(|error| XmlError::Parse(error.to_string()))?;
    let mut json = Vec::new();
    bom.output_as_json(&mut json, version)
        .map_err(|error| XmlError::Parse(error.to_string()))?;
    Ok(json)
}

/// The version that the namespace of the root names.
fn namespace(document: &str) -> Option<&str> {
    let (_, after) = document.split_once("http://cyclonedx.org/schema/bom/")?;
    after.split(['"', '\'']).next()
}

/// Looks whether the document is one that can be read at a bounded price.
fn scan(document: &str) -> Result<(), XmlError> {
    let mut rest = document;
    let mut depth = 0_usize;
    let mut elements = 0_usize;
    while let Some((_, after)) = rest.split_once('<') {
        let skipped = |after: &'_ str, end: &str| -> Option<usize> {
            after.find(end).map(|it| it + end.len())
        };
        let end = if after.starts_with("!--") {
            skipped(after, "-->")
        } else if after.starts_with("![CDATA[") {
            skipped(after, "]]>")
        } else if after.starts_with('?') {
            skipped(after, "?>")
        } else if after.starts_with('!') {
            return Err(XmlError::DocumentType);
        } else {
            let end = tag_end(after);
            let tag = end.and_then(|it| after.get(..it)).unwrap_or_default();
            if tag.starts_with('/') {
                depth = depth.saturating_sub(1);
            } else if !tag.ends_with("/>") {
                depth += 1;
            }
            elements += 1;
            if depth > DEPTH || elements > ELEMENTS {
                return Err(XmlError::TooMuch);
            }
            end
        };
        rest = end
            .and_then(|it| after.get(it..))
            .ok_or_else(|| XmlError::Parse("a tag has no end".to_owned()))?;
    }
    Ok(())
}

/// Where a tag ends, quoted values passed by.
fn tag_end(after: &str) -> Option<usize> {
    let mut quote = None;
    for (index, byte) in after.bytes().enumerate() {
        match (byte, quote) {
            (b'>', None) => return Some(index + 1),
            (b'"' | b'\'', None) => quote = Some(byte),
            (byte, Some(open)) if byte == open => quote = None,
            _ => {}
        }
    }
    None
}

/// Why a document is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    /// It declares a document type, which could define entities.
    #[error("a document type is not allowed")]
    DocumentType,
    /// It is not CycloneDX.
    #[error("{0}")]
    Parse(String),
    /// It is deeper or longer than we read.
    #[error("nested deeper than {DEPTH} elements, or more than {ELEMENTS} of them")]
    TooMuch,
    /// It is of another version.
    #[error("the namespace names no version from 1.3 to 1.5 of CycloneDX")]
    Version,
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<bom serialNumber="urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79" version="1" xmlns="http://cyclonedx.org/schema/bom/1.5">
  <components>
    <component type="library" bom-ref="z">
      <name>zlib</name>
      <version>1.3.1</version>
      <licenses><license><id>Zlib</id></license></licenses>
      <purl>pkg:generic/zlib@1.3.1</purl>
    </component>
  </components>
  <dependencies><dependency ref="z"/></dependencies>
</bom>"#;

    #[test]
    fn it_is_the_same_document() {
        let json: serde_json::Value = serde_json::from_slice(&read(EXAMPLE).unwrap()).unwrap();
        assert_eq!(json["specVersion"], "1.5");
        assert_eq!(json["components"][0]["purl"], "pkg:generic/zlib@1.3.1");
        assert_eq!(
            json["components"][0]["licenses"][0]["license"]["id"],
            "Zlib"
        );
    }

    #[test]
    fn what_would_cost_much_is_refused_before_it_is_read() {
        let laughs = format!(
            "<!DOCTYPE bom [<!ENTITY a \"{}\">]>{EXAMPLE}",
            "ha".repeat(9)
        );
        assert!(matches!(read(&laughs), Err(XmlError::DocumentType)));
        let hidden = format!("<!-- <!DOCTYPE --><!doctype x>{EXAMPLE}");
        assert!(matches!(read(&hidden), Err(XmlError::DocumentType)));
        let deep = "<a><!--</a></a>-->".repeat(DEPTH + 1);
        assert!(matches!(read(&deep), Err(XmlError::TooMuch)));
        assert!(matches!(read("<a"), Err(XmlError::Parse(_))));
        assert!(matches!(read("<bom/>"), Err(XmlError::Version)));
    }
}
