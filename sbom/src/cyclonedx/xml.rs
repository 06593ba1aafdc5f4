//! Reads CycloneDX's XML form, 1.3 to 1.5, as the JSON form of the same document.
//!
//! The two forms have the same names, in the main: an element is a field, and so is an attribute. What
//! is a list, a number or otherwise in JSON is said by the tables below, by name, so that elements of
//! rare kinds come over, too.

use serde_json::{Value, json};
use xml::attribute::OwnedAttribute;
use xml::reader::{EventReader, ParserConfig, XmlEvent};

use crate::json::{Object, push};

/// How deep elements may be nested, and how many there may be.
const DEPTH: usize = 64;
const ELEMENTS: usize = 5_000_000;

const NAMESPACE: &str = "http://cyclonedx.org/schema/bom/";

/// Elements that are lists of what is in them.
const LISTS: &[&str] = &[
    "advisories",
    "affects",
    "altIds",
    "ancestors",
    "annotations",
    "assemblies",
    "authors",
    "commands",
    "commits",
    "components",
    "compositions",
    "custodians",
    "cwes",
    "datasets",
    "dependencies",
    "descendants",
    "endpoints",
    "environmentVars",
    "ethicalConsiderations",
    "externalReferences",
    "fairnessAssessments",
    "formulation",
    "frames",
    "hashes",
    "individuals",
    "inputs",
    "licenseTypes",
    "licenses",
    "lifecycles",
    "methods",
    "occurrences",
    "organizations",
    "outputs",
    "owners",
    "parameters",
    "patches",
    "performanceMetrics",
    "performanceTradeoffs",
    "properties",
    "ratings",
    "references",
    "resolves",
    "resourceReferences",
    "responses",
    "services",
    "stewards",
    "steps",
    "subjects",
    "taskDependencies",
    "taskTypes",
    "tasks",
    "technicalLimitations",
    "tools",
    "useCases",
    "users",
    "variants",
    "versions",
    "vulnerabilities",
    "workflows",
    "workspaces",
];

/// Elements that stand several times beside each other, by what they are in.
const REPEATED: &[(&str, &str)] = &[
    ("component", "data"),
    ("manufacture", "contact"),
    ("manufacture", "url"),
    ("organization", "contact"),
    ("organization", "url"),
    ("provider", "contact"),
    ("provider", "url"),
    ("supplier", "contact"),
    ("supplier", "url"),
];

/// Texts that say how they are encoded, by what they are in.
const ATTACHMENTS: &[(&str, &str)] = &[("diff", "text"), ("license", "text"), ("swid", "text")];

const NUMBERS: &[&str] = &["column", "confidence", "cwe", "line", "score", "tagVersion"];
const BOOLEANS: &[&str] = &["authenticated", "modified", "patch", "x-trust-boundary"];

/// The document as JSON has it. Looked at before it is read: no document type, so no entities of
/// its own, and limits on depth and count.
pub(crate) fn read(document: &str) -> Result<Vec<u8>, XmlError> {
    scan(document)?;
    let mut reader = Reader {
        events: EventReader::new_with_config(
            document.as_bytes(),
            ParserConfig::new().allow_multiple_root_elements(false),
        ),
        namespace: String::new(),
        depth: 0,
    };
    let attributes = loop {
        match reader.next()? {
            XmlEvent::StartElement {
                name, attributes, ..
            } => {
                reader.namespace = name.namespace.unwrap_or_default();
                let is_bom = name.local_name == "bom" && reader.namespace.starts_with(NAMESPACE);
                break is_bom.then_some(attributes).ok_or(XmlError::Version)?;
            }
            XmlEvent::EndDocument => return Err(XmlError::Version),
            _ => {}
        }
    };
    let version = reader.namespace.strip_prefix(NAMESPACE);
    let version = version.filter(|it| ["1.3", "1.4", "1.5"].contains(it));
    let version = version.ok_or(XmlError::Version)?.to_owned();
    let mut bom = Object::new();
    bom.insert("bomFormat".to_owned(), json!("CycloneDX"));
    bom.insert("specVersion".to_owned(), json!(version));
    if let Value::Object(fields) = reader.element(Place::of("bom"), attributes)? {
        bom.extend(fields);
    }
    // Only here it is a number.
    let version = bom.get("version").and_then(Value::as_str).unwrap_or("1");
    let version = number("version", version)?;
    bom.insert("version".to_owned(), version);
    // What follows the root has to be well formed, too.
    while !matches!(reader.next()?, XmlEvent::EndDocument) {}
    serde_json::to_vec(&bom).map_err(|error| XmlError::Parse(error.to_string()))
}

/// An element, and what it is in.
#[derive(Clone, Copy)]
struct Place<'a> {
    name: &'a str,
    parent: &'a str,
    grandparent: &'a str,
}

impl<'a> Place<'a> {
    fn of(name: &'a str) -> Self {
        Self {
            name,
            parent: "",
            grandparent: "",
        }
    }

    fn child(self, name: &'a str) -> Self {
        Self {
            name,
            parent: self.name,
            grandparent: self.parent,
        }
    }

    fn is_in(self, table: &[(&str, &str)]) -> bool {
        table.contains(&(self.parent, self.name))
    }

    fn is_list(self) -> bool {
        match self.name {
            "copyright" => self.parent == "evidence",
            "data" => self.parent == "service",
            name => LISTS.contains(&name),
        }
    }

    /// Whether it is text that says how it is encoded.
    fn is_attachment(self) -> bool {
        self.name == "attachment" || self.is_in(ATTACHMENTS)
    }

    /// Whether it only says which other element is meant.
    fn is_reference(self) -> bool {
        match self.name {
            "dependency" => (self.parent, self.grandparent) != ("dependencies", "bom"),
            "tool" => self.grandparent == "identity",
            name => ["assembly", "subject"].contains(&name),
        }
    }

    /// The field that the text of an element is that has attributes.
    fn text_field(self) -> &'a str {
        match self.name {
            "classification" => "classification",
            "hash" => "content",
            _ if self.is_attachment() => "content",
            _ => "value",
        }
    }

    /// The field that the element is, in the object that it is in.
    fn field(self) -> &'a str {
        match self.name {
            "dependency" => "dependsOn",
            "responses" => "response",
            name => name,
        }
    }

    /// The element as an entry of the list that it is in.
    fn entry(self, value: Value) -> Value {
        match (self.parent, self.name, value) {
            // In JSON what says more of an expression stands beside it.
            ("licenses", "expression", Value::Object(mut fields)) => {
                let text = fields.remove(self.text_field()).unwrap_or_default();
                fields.insert(self.name.to_owned(), text);
                Value::Object(fields)
            }
            ("licenses", _, value) | ("copyright", "text", value) => {
                json!({ (self.name): value })
            }
            (_, _, value) => value,
        }
    }
}

struct Reader<'a> {
    events: EventReader<&'a [u8]>,
    namespace: String,
    /// How many elements are open.
    depth: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<XmlEvent, XmlError> {
        let event = self.events.next();
        event.map_err(|error| XmlError::Parse(error.to_string()))
    }

    /// The element that was opened last, up to its end.
    fn element(
        &mut self,
        place: Place<'_>,
        attributes: Vec<OwnedAttribute>,
    ) -> Result<Value, XmlError> {
        // Whatever was counted before: this is what calls itself.
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(XmlError::TooMuch);
        }
        let mut fields = Object::new();
        for attribute in attributes {
            let name = match attribute.name.local_name.as_str() {
                _ if attribute.name.namespace.is_some() => continue,
                "content-type" => "contentType",
                name => name,
            };
            fields.insert(name.to_owned(), leaf(name, attribute.value)?);
        }
        let mut entries = Vec::new();
        let mut text = String::new();
        loop {
            match self.next()? {
                XmlEvent::StartElement {
                    name, attributes, ..
                } => {
                    let child = place.child(&name.local_name);
                    let value = self.element(child, attributes)?;
                    let field = child.field();
                    // Others may put elements of theirs anywhere.
                    if name.namespace.as_ref() != Some(&self.namespace) {
                    } else if child.name == "dependency" && place.name == "dependency"
                        || child.is_in(REPEATED)
                    {
                        push(&mut fields, field, value);
                    } else if place.is_list() && !(place.name == "tools" && child.is_list()) {
                        entries.push(child.entry(value));
                    } else if fields.insert(field.to_owned(), value).is_some() {
                        // What is first would be hidden by what is second.
                        return Err(XmlError::Parse(format!("<{field}> is there twice")));
                    }
                }
                XmlEvent::Characters(more) | XmlEvent::CData(more) => text.push_str(&more),
                XmlEvent::EndElement { .. } => {
                    self.depth -= 1;
                    break;
                }
                XmlEvent::EndDocument => {
                    return Err(XmlError::Parse(format!("<{}> has no end", place.name)));
                }
                _ => {}
            }
        }
        let text = text.trim();
        if place.is_reference()
            && let Some(reference) = fields.remove("ref")
        {
            return Ok(reference);
        }
        if place.is_list() && (fields.is_empty() || place.name != "tools") {
            return Ok(Value::Array(entries));
        }
        if fields.is_empty() && !place.is_attachment() {
            return leaf(place.name, text.to_owned());
        }
        if !text.is_empty() {
            fields.insert(place.text_field().to_owned(), json!(text));
        }
        Ok(Value::Object(fields))
    }
}

/// A value that nothing is in.
fn leaf(name: &str, text: String) -> Result<Value, XmlError> {
    if NUMBERS.contains(&name) {
        return number(name, &text);
    }
    if BOOLEANS.contains(&name) {
        return match text.as_str() {
            "true" | "1" => Ok(Value::Bool(true)),
            "false" | "0" => Ok(Value::Bool(false)),
            _ => Err(XmlError::Parse(format!(
                "<{name}> is neither true nor false"
            ))),
        };
    }
    Ok(Value::String(text))
}

fn number(name: &str, text: &str) -> Result<Value, XmlError> {
    let number = text.parse().map(Value::Number);
    number.map_err(|_error| XmlError::Parse(format!("{name} is no number: {text}")))
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
        let end = if let Some(comment) = after.strip_prefix("!--") {
            // `<!-->` is not the end of it.
            skipped(comment, "-->").map(|it| it + "!--".len())
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
    use cyclonedx_bom::models::bom::{Bom, SpecVersion};

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
        let json: Value = serde_json::from_slice(&read(EXAMPLE).unwrap()).unwrap();
        assert_eq!(json["specVersion"], "1.5");
        assert_eq!(json["components"][0]["purl"], "pkg:generic/zlib@1.3.1");
        assert_eq!(
            json["components"][0]["licenses"][0]["license"]["id"],
            "Zlib"
        );
    }

    /// What another reader of both forms makes of an XML document.
    fn as_another_reads(document: &str, version: SpecVersion) -> Value {
        let bom = Bom::parse_from_xml_with_version(document.as_bytes(), version).unwrap();
        let mut json = Vec::new();
        bom.output_as_json(&mut json, version).unwrap();
        as_the_schema_has_it(serde_json::from_slice(&json).unwrap())
    }

    /// Some fields have other names there than in the schema of 1.5, and some are null.
    fn as_the_schema_has_it(value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
                let renamed = fields.map(|(name, value)| {
                    let name = match name.as_str() {
                        "bomRef" => "bom-ref".to_owned(),
                        "responses" => "response".to_owned(),
                        _ => name,
                    };
                    (name, as_the_schema_has_it(value))
                });
                renamed.collect()
            }
            Value::Array(entries) => entries.into_iter().map(as_the_schema_has_it).collect(),
            value => value,
        }
    }

    #[test]
    fn it_is_what_another_reads() {
        for (number, version) in [
            ("1.3", SpecVersion::V1_3),
            ("1.4", SpecVersion::V1_4),
            ("1.5", SpecVersion::V1_5),
        ] {
            let document = include_str!("xml/whole.xml").replace("/1.3\"", &format!("/{number}\""));
            let ours: Value = serde_json::from_slice(&read(&document).unwrap()).unwrap();
            let theirs = as_another_reads(&document, version);
            assert_eq!(ours, theirs, "{number}:\n{ours:#}\n{theirs:#}");
        }
        let document = include_str!("xml/newer.xml");
        let ours: Value = serde_json::from_slice(&read(document).unwrap()).unwrap();
        let theirs = as_another_reads(document, SpecVersion::V1_5);
        assert_eq!(ours, theirs, "{ours:#}\n{theirs:#}");
    }

    #[test]
    fn an_expression_may_have_a_name() {
        let document = r#"<bom xmlns="http://cyclonedx.org/schema/bom/1.5" version="1"><components>
            <component type="library"><name>a</name><licenses>
            <expression bom-ref="l">MIT OR Apache-2.0</expression></licenses></component>
            </components></bom>"#;
        let json: Value = serde_json::from_slice(&read(document).unwrap()).unwrap();
        let expected = json!([{"bom-ref": "l", "expression": "MIT OR Apache-2.0"}]);
        assert_eq!(json["components"][0]["licenses"], expected);
    }

    #[test]
    fn what_others_put_between_is_passed_by() {
        let document = EXAMPLE.replace(
            "<version>",
            r#"<a:name xmlns:a="urn:a"><a:b/>other</a:name><version a:b="1" xmlns:a="urn:a">"#,
        );
        assert_eq!(read(&document).unwrap(), read(EXAMPLE).unwrap());
        let prefixed = EXAMPLE.replace("xmlns=", "xmlns:c=");
        let prefixed = prefixed.replace("</", "\0").replace("<?", "\u{1}");
        let prefixed = prefixed.replace('<', "<c:").replace('\0', "</c:");
        let prefixed = prefixed.replace('\u{1}', "<?");
        assert_eq!(read(&prefixed).unwrap(), read(EXAMPLE).unwrap());
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for (from, to) in [
            ("</bom>", ""),
            ("</bom>", "</bom><bom/>"),
            ("</name>", "</names>"),
            ("zlib<", "&zlib;<"),
            (r#"version="1""#, r#"version="one""#),
            ("<version>", r"<modified>perhaps</modified><version>"),
        ] {
            let document = EXAMPLE.replace(from, to);
            assert_ne!(document, EXAMPLE);
            let read = read(&document);
            assert!(matches!(read, Err(XmlError::Parse(_))), "{to}: {read:?}");
        }
        let other = EXAMPLE.replace("bom/1.5", "bom/1.6");
        assert!(matches!(read(&other), Err(XmlError::Version)));
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
        let hidden = "<a><!--></a>-->".repeat(DEPTH + 1);
        let hidden = format!("<bom xmlns=\"http://cyclonedx.org/schema/bom/1.5\">{hidden}");
        assert!(matches!(read(&hidden), Err(XmlError::TooMuch)));
        let deep = "<a><!--</a></a>-->".repeat(DEPTH + 1);
        assert!(matches!(read(&deep), Err(XmlError::TooMuch)));
        assert!(matches!(read("<a"), Err(XmlError::Parse(_))));
        assert!(matches!(read("<bom/>"), Err(XmlError::Version)));
    }
}
