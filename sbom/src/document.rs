//! One SBOM as it was found.

use serde_json::{Map, Value};

use crate::Format;
use crate::cyclonedx::xml::XmlError;
use crate::spdx::tag_value::TagValueError;

/// One SBOM as it was found: read, checked as far as merging needs, and otherwise left alone.
///
/// Fields that this crate does not know are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    format: Format,
    origin: String,
    place: Option<String>,
    root: Map<String, Value>,
}

/// How much of a document is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of one document.
    pub document_bytes: u64,
    /// Documents of one image.
    pub documents: usize,
    /// Components, packages, files or relations in one list of a document, and in all of them.
    pub components: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes: 64 << 20,
            documents: 5_000,
            components: 500_000,
        }
    }
}

impl Document {
    /// Reads CycloneDX 1.2 to 1.7, SPDX 2.2 or 2.3, or Syft JSON. `origin` says where it is from,
    /// e.g. a path; it becomes a property of the components.
    pub fn parse(
        format: Format,
        bytes: &[u8],
        origin: impl Into<String>,
        limits: &Limits,
    ) -> Result<Self, DocumentError> {
        let size = bytes.len() as u64;
        if size > limits.document_bytes {
            return Err(DocumentError::TooLarge {
                limit: limits.document_bytes,
            });
        }
        let root: Map<String, Value> =
            intoto::json::from_slice(bytes).map_err(DocumentError::Json)?;
        match format {
            Format::CycloneDx => check_cyclonedx(&root)?,
            Format::Spdx => check_spdx(&root)?,
            Format::Syft => {
                check_list(&root, "artifacts", &["name"])?;
                if !root.contains_key("artifacts") {
                    return Err(malformed("artifacts", "is missing"));
                }
            }
        }
        let document = Self {
            format,
            origin: origin.into(),
            place: None,
            root,
        };
        if document.len() > limits.components {
            return Err(DocumentError::TooManyComponents {
                limit: limits.components,
            });
        }
        Ok(document)
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Where it is from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The same document, which is about `place`: a layer of a buildpack. What has no package URL
    /// can be the same as what another document lists only if both are about the same place.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// What it is about, if that is known.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// The document itself.
    pub fn root(&self) -> &Map<String, Value> {
        &self.root
    }

    /// The same document, with other content.
    pub(crate) fn with_root(mut self, root: Map<String, Value>) -> Self {
        self.root = root;
        self
    }

    /// How much there is to merge: components, packages, files and relations, nested ones too.
    pub(crate) fn len(&self) -> usize {
        let lists: &[&str] = match self.format {
            Format::CycloneDx => &["components", "dependencies"],
            Format::Spdx => &["packages", "files", "snippets", "relationships"],
            Format::Syft => &["artifacts", "artifactRelationships"],
        };
        lists.iter().map(|it| count(self.root.get(*it))).sum()
    }
}

/// Counts a list and the lists of components in it.
fn count(list: Option<&Value>) -> usize {
    list.and_then(Value::as_array).map_or(0, |list| {
        list.iter()
            .map(|it| 1 + count(it.get("components")))
            .sum::<usize>()
    })
}

const CYCLONEDX_VERSIONS: [&str; 6] = ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7"];
const SPDX_VERSIONS: [&str; 2] = ["SPDX-2.2", "SPDX-2.3"];

fn check_cyclonedx(root: &Map<String, Value>) -> Result<(), DocumentError> {
    if root.get("bomFormat").and_then(Value::as_str) != Some("CycloneDX") {
        return Err(malformed("bomFormat", "is not `CycloneDX`"));
    }
    check_version(root, "specVersion", &CYCLONEDX_VERSIONS)?;
    check_components(root)?;
    check_list(root, "dependencies", &["ref"])?;
    let is_there = |it: &&Value| !it.is_null();
    if let Some(metadata) = root.get("metadata").filter(is_there) {
        let metadata = metadata
            .as_object()
            .ok_or_else(|| malformed("metadata", "is not an object"))?;
        if let Some(component) = metadata.get("component").filter(is_there) {
            let component = component
                .as_object()
                .ok_or_else(|| malformed("metadata.component", "is not an object"))?;
            check_strings(component, "metadata.component", &["name", "type"])?;
            check_components(component)?;
        }
    }
    Ok(())
}

fn check_components(holder: &Map<String, Value>) -> Result<(), DocumentError> {
    for component in check_list(holder, "components", &["name", "type"])? {
        if let Some(component) = component.as_object() {
            check_components(component)?;
        }
    }
    Ok(())
}

fn check_spdx(root: &Map<String, Value>) -> Result<(), DocumentError> {
    check_version(root, "spdxVersion", &SPDX_VERSIONS)?;
    check_list(root, "packages", &["SPDXID", "name"])?;
    check_list(root, "files", &["SPDXID", "fileName"])?;
    check_list(root, "snippets", &["SPDXID"])?;
    check_list(root, "hasExtractedLicensingInfos", &["licenseId"])?;
    check_list(root, "externalDocumentRefs", &["externalDocumentId"])?;
    check_list(
        root,
        "relationships",
        &["spdxElementId", "relatedSpdxElement", "relationshipType"],
    )?;
    Ok(())
}

fn check_version(
    root: &Map<String, Value>,
    field: &'static str,
    known: &[&str],
) -> Result<(), DocumentError> {
    let version = root.get(field).and_then(Value::as_str).unwrap_or_default();
    if known.contains(&version) {
        Ok(())
    } else {
        Err(DocumentError::UnsupportedVersion {
            field,
            version: version.chars().take(40).collect(),
        })
    }
}

/// The entries of the list `field`, each of which is an object that has `strings`; none if there
/// is no such list.
fn check_list<'a>(
    holder: &'a Map<String, Value>,
    field: &str,
    strings: &[&str],
) -> Result<&'a [Value], DocumentError> {
    let Some(list) = holder.get(field).filter(|it| !it.is_null()) else {
        return Ok(&[]);
    };
    let list = list
        .as_array()
        .ok_or_else(|| malformed(field, "is not a list"))?;
    for (index, entry) in list.iter().enumerate() {
        let at = format!("{field}[{index}]");
        let entry = entry
            .as_object()
            .ok_or_else(|| malformed(&at, "is not an object"))?;
        check_strings(entry, &at, strings)?;
    }
    Ok(list)
}

fn check_strings(
    entry: &Map<String, Value>,
    at: &str,
    strings: &[&str],
) -> Result<(), DocumentError> {
    for name in strings {
        if !entry.get(*name).is_some_and(Value::is_string) {
            return Err(malformed(
                &format!("{at}.{name}"),
                "is missing or not a string",
            ));
        }
    }
    Ok(())
}

fn malformed(field: &str, problem: &'static str) -> DocumentError {
    DocumentError::Malformed {
        field: field.to_owned(),
        problem,
    }
}

fn unsupported(field: &str, version: &str) -> String {
    let supported = match field {
        "specVersion" => "1.2 to 1.7",
        _ => "SPDX-2.2 and SPDX-2.3",
    };
    match version {
        "" => format!("`{field}` is missing or not a string; supported are {supported}"),
        version => format!("`{field}` is `{version}`; supported are {supported}"),
    }
}

/// Why bytes are not an SBOM that can be merged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// It is not a JSON object, or repeats a key.
    #[error("not a JSON object")]
    Json(#[source] serde_json::Error),
    /// A field that merging needs is not as the format has it.
    #[error("`{field}` {problem}")]
    Malformed {
        /// Which.
        field: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It is SPDX of the next major version, which has another form.
    #[error("SPDX 3 is not supported yet; SPDX 2.2 and 2.3 are")]
    Spdx3,
    /// It is no tag-value document.
    #[error("malformed tag-value document")]
    TagValue(#[source] TagValueError),
    /// It is longer than is read.
    #[error("longer than {limit} bytes")]
    TooLarge {
        /// How much is read.
        limit: u64,
    },
    /// It lists more than is read.
    #[error("lists more than {limit} components and relations")]
    TooManyComponents {
        /// How many are read.
        limit: usize,
    },
    /// It is of no format that is known.
    #[error("not an SBOM in CycloneDX (JSON, XML), SPDX 2 (JSON, tag-value) or Syft JSON")]
    UnknownFormat,
    /// The version of the format is not one that is known.
    #[error("{}", unsupported(field, version))]
    UnsupportedVersion {
        /// Where the version stands.
        field: &'static str,
        /// What stands there, or nothing.
        version: String,
    },
    /// It is not text.
    #[error("not UTF-8")]
    Utf8(#[source] std::str::Utf8Error),
    /// It is no XML document of CycloneDX.
    #[error("malformed XML document")]
    Xml(#[source] XmlError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(format: Format, text: &str) -> Result<Document, String> {
        let limits = Limits {
            document_bytes: 400,
            documents: 1,
            components: 2,
        };
        Document::parse(format, text.as_bytes(), "test", &limits).map_err(|error| error.to_string())
    }

    #[test]
    fn what_merging_needs_is_checked() {
        for (format, text, expected) in [
            (Format::CycloneDx, "[]", "not a JSON object"),
            (Format::CycloneDx, "{}", "`bomFormat` is not `CycloneDX`"),
            (
                Format::CycloneDx,
                r#"{"bomFormat":"CycloneDX","specVersion":"2.0"}"#,
                "`specVersion` is `2.0`; supported are 1.2 to 1.7",
            ),
            (
                Format::CycloneDx,
                r#"{"bomFormat":"CycloneDX"}"#,
                "`specVersion` is missing or not a string; supported are 1.2 to 1.7",
            ),
            (
                Format::CycloneDx,
                r#"{"bomFormat":"CycloneDX","specVersion":"1.5","components":{}}"#,
                "`components` is not a list",
            ),
            (
                Format::CycloneDx,
                r#"{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{"name":"a","type":"library","components":[7]}]}"#,
                "`components[0]` is not an object",
            ),
            (
                Format::CycloneDx,
                r#"{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{"type":"library"}]}"#,
                "`components[0].name` is missing or not a string",
            ),
            (
                Format::CycloneDx,
                r#"{"bomFormat":"CycloneDX","specVersion":"1.5","metadata":{"component":{}}}"#,
                "`metadata.component.name` is missing or not a string",
            ),
            (
                Format::CycloneDx,
                r#"{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{"name":"a","type":"file","components":[{"name":"b","type":"file"},{"name":"c","type":"file"}]}]}"#,
                "lists more than 2 components and relations",
            ),
            (
                Format::Spdx,
                r#"{"spdxVersion":"SPDX-3.0"}"#,
                "`spdxVersion` is `SPDX-3.0`; supported are SPDX-2.2 and SPDX-2.3",
            ),
            (
                Format::Spdx,
                r#"{"spdxVersion":"SPDX-2.3","packages":[{"name":"a"}]}"#,
                "`packages[0].SPDXID` is missing or not a string",
            ),
            (Format::Syft, "{}", "`artifacts` is missing"),
        ] {
            assert_eq!(parse(format, text), Err(expected.to_owned()), "{text}");
        }
        assert_eq!(
            parse(Format::Syft, &" ".repeat(401)),
            Err("longer than 400 bytes".to_owned())
        );
        let deep = "[".repeat(200);
        assert_eq!(
            parse(Format::Syft, &format!(r#"{{"artifacts":{deep}"#)),
            Err("not a JSON object".to_owned())
        );
    }
}
