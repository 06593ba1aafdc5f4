//! Reads CycloneDX's XML form, 1.3 to 1.7, as the JSON form of the same document.
//!
//! The two forms have the same names, in the main: an element is a field, and so is an attribute. What
//! is a list, a number or otherwise in JSON is said by tables, by name, so that elements of rare kinds
//! come over, too.

use serde_json::{Value, json};
use xml::attribute::OwnedAttribute;
use xml::reader::{EventReader, ParserConfig, XmlEvent};

use self::place::{Place, number};
use crate::json::{Object, push};

mod place;

/// How deep elements may be nested, and how many there may be.
const DEPTH: usize = 64;
const ELEMENTS: usize = 1_000_000;

const NAMESPACE: &str = "http://cyclonedx.org/schema/bom/";

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
    let version = version.filter(|it| ["1.3", "1.4", "1.5", "1.6", "1.7"].contains(it));
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
                "license-identifier" => "licenseIdentifier",
                name => name,
            };
            fields.insert(name.to_owned(), place.child(name).leaf(attribute.value)?);
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
                        || child.is_repeated(&self.namespace)
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
        let is_empty = fields.is_empty() && text.is_empty();
        if fields.is_empty() && !place.is_attachment() && !(is_empty && place.is_object()) {
            return place.leaf(text.to_owned());
        }
        if !text.is_empty() {
            fields.insert(place.text_field().to_owned(), json!(text));
        }
        // Who it is stands in JSON without a word of what they are.
        if ["asserter", "patentAssignee"].contains(&place.name) && fields.len() == 1 {
            let inner = fields.into_iter().map(|(_, it)| it).next();
            return Ok(inner.unwrap_or_default());
        }
        // Of a flow of data, what its classification says of it is said of the flow.
        if place.name == "dataflow"
            && let Some(Value::Object(inner)) = fields.get("classification")
        {
            fields.extend(inner.clone());
        }
        Ok(Value::Object(fields))
    }
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
    #[error("the namespace names no version from 1.3 to 1.7 of CycloneDX")]
    Version,
}

#[cfg(test)]
mod tests;
