//! Reads SPDX's tag-value form, as the JSON form of the same document.
//!
//! A reader of our own: `spdx-rs` panics on tags, hash functions and licence expressions that it
//! does not know, and leaves out all that follows a line that it does not understand.

use serde_json::{Value, json};

use crate::json::{Object, object, push, set, text};

/// Lines of a document, and bytes of a value.
const LINES: usize = 5_000_000;

/// The document as JSON has it.
///
/// <https://spdx.github.io/spdx-spec/v2.3/>
pub(crate) fn read(document: &str) -> Result<Object, TagValueError> {
    let mut reader = Reader::default();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let malformed = |problem| TagValueError {
            line: number + 1,
            problem,
        };
        if number > LINES {
            return Err(malformed("is beyond the limit on lines"));
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (tag, value) = line.split_once(':').ok_or(malformed("has no tag"))?;
        let mut value = value.trim().to_owned();
        if let Some(start) = value.strip_prefix("<text>") {
            let mut whole = String::new();
            let mut line = start;
            loop {
                if let Some((last, _)) = line.split_once("</text>") {
                    whole.push_str(last);
                    break;
                }
                whole.push_str(line);
                whole.push('\n');
                (_, line) = lines
                    .next()
                    .ok_or(malformed("starts a text (`<text>`) that has no end"))?;
            }
            value = whole;
        }
        reader.take(tag.trim(), &value).map_err(malformed)?;
    }
    Ok(reader.finish())
}

/// A line that is no part of a tag-value document.
#[derive(Debug, thiserror::Error)]
#[error("line {line} {problem}")]
pub struct TagValueError {
    /// Which, from 1.
    line: usize,
    problem: &'static str,
}

#[derive(Debug, Default)]
struct Reader {
    root: Object,
    creation: Object,
    packages: Vec<Object>,
    files: Vec<Object>,
    snippets: Vec<Object>,
    licenses: Vec<Object>,
    relationships: Vec<Object>,
    annotations: Vec<(String, Object)>,
    at: At,
}

/// What the last tag was about.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum At {
    #[default]
    Document,
    Package,
    File,
    Snippet,
    License,
}

/// What becomes of a value.
#[derive(Clone, Copy)]
enum As {
    Text,
    List,
    Bool,
    Checksum,
}

/// Tags of elements, where they may stand, and what they are in JSON.
const FIELDS: &[(&str, At, &str, As)] = &[
    ("PackageVersion", At::Package, "versionInfo", As::Text),
    ("PackageFileName", At::Package, "packageFileName", As::Text),
    ("PackageSupplier", At::Package, "supplier", As::Text),
    ("PackageOriginator", At::Package, "originator", As::Text),
    (
        "PackageDownloadLocation",
        At::Package,
        "downloadLocation",
        As::Text,
    ),
    ("FilesAnalyzed", At::Package, "filesAnalyzed", As::Bool),
    ("PackageChecksum", At::Package, "checksums", As::Checksum),
    ("PackageHomePage", At::Package, "homepage", As::Text),
    ("PackageSourceInfo", At::Package, "sourceInfo", As::Text),
    (
        "PackageLicenseConcluded",
        At::Package,
        "licenseConcluded",
        As::Text,
    ),
    (
        "PackageLicenseInfoFromFiles",
        At::Package,
        "licenseInfoFromFiles",
        As::List,
    ),
    (
        "PackageLicenseDeclared",
        At::Package,
        "licenseDeclared",
        As::Text,
    ),
    (
        "PackageLicenseComments",
        At::Package,
        "licenseComments",
        As::Text,
    ),
    (
        "PackageCopyrightText",
        At::Package,
        "copyrightText",
        As::Text,
    ),
    ("PackageSummary", At::Package, "summary", As::Text),
    ("PackageDescription", At::Package, "description", As::Text),
    ("PackageComment", At::Package, "comment", As::Text),
    (
        "PackageAttributionText",
        At::Package,
        "attributionTexts",
        As::List,
    ),
    (
        "PrimaryPackagePurpose",
        At::Package,
        "primaryPackagePurpose",
        As::Text,
    ),
    ("BuiltDate", At::Package, "builtDate", As::Text),
    ("ReleaseDate", At::Package, "releaseDate", As::Text),
    ("ValidUntilDate", At::Package, "validUntilDate", As::Text),
    ("FileType", At::File, "fileTypes", As::List),
    ("FileChecksum", At::File, "checksums", As::Checksum),
    ("LicenseConcluded", At::File, "licenseConcluded", As::Text),
    (
        "LicenseInfoInFile",
        At::File,
        "licenseInfoInFiles",
        As::List,
    ),
    ("LicenseComments", At::File, "licenseComments", As::Text),
    ("FileCopyrightText", At::File, "copyrightText", As::Text),
    ("FileComment", At::File, "comment", As::Text),
    ("FileNotice", At::File, "noticeText", As::Text),
    ("FileContributor", At::File, "fileContributors", As::List),
    (
        "FileAttributionText",
        At::File,
        "attributionTexts",
        As::List,
    ),
    (
        "SnippetFromFileSPDXID",
        At::Snippet,
        "snippetFromFile",
        As::Text,
    ),
    (
        "SnippetLicenseConcluded",
        At::Snippet,
        "licenseConcluded",
        As::Text,
    ),
    (
        "LicenseInfoInSnippet",
        At::Snippet,
        "licenseInfoInSnippets",
        As::List,
    ),
    (
        "SnippetLicenseComments",
        At::Snippet,
        "licenseComments",
        As::Text,
    ),
    (
        "SnippetCopyrightText",
        At::Snippet,
        "copyrightText",
        As::Text,
    ),
    ("SnippetComment", At::Snippet, "comment", As::Text),
    ("SnippetName", At::Snippet, "name", As::Text),
    (
        "SnippetAttributionText",
        At::Snippet,
        "attributionTexts",
        As::List,
    ),
    ("ExtractedText", At::License, "extractedText", As::Text),
    ("LicenseName", At::License, "name", As::Text),
    ("LicenseCrossReference", At::License, "seeAlsos", As::List),
    ("LicenseComment", At::License, "comment", As::Text),
];

/// Tags that SPDX 2 only keeps for older documents, and JSON has no field for.
const DEPRECATED: [&str; 7] = [
    "ArtifactOfProjectHomePage",
    "ArtifactOfProjectName",
    "ArtifactOfProjectURI",
    "FileDependency",
    "ReviewComment",
    "ReviewDate",
    "Reviewer",
];

impl Reader {
    fn take(&mut self, tag: &str, value: &str) -> Result<(), &'static str> {
        if let Some((_, at, field, kind)) = FIELDS.iter().find(|(it, ..)| *it == tag) {
            if *at != self.at {
                return Err("belongs to another kind of element than the one before it");
            }
            let element = self.element().ok_or("is about nothing")?;
            match kind {
                As::Text => {
                    element.insert((*field).to_owned(), value.into());
                }
                As::List => push(element, field, value.into()),
                As::Bool => set(element, field, value.eq_ignore_ascii_case("true")),
                As::Checksum => push(element, field, checksum(value)?),
            }
            return Ok(());
        }
        match tag {
            "SPDXVersion" => set(&mut self.root, "spdxVersion", value),
            "DataLicense" => set(&mut self.root, "dataLicense", value),
            "DocumentName" => set(&mut self.root, "name", value),
            "DocumentNamespace" => set(&mut self.root, "documentNamespace", value),
            "DocumentComment" => set(&mut self.root, "comment", value),
            "Creator" => push(&mut self.creation, "creators", value.into()),
            "Created" => set(&mut self.creation, "created", value),
            "CreatorComment" => set(&mut self.creation, "comment", value),
            "LicenseListVersion" => set(&mut self.creation, "licenseListVersion", value),
            "SPDXID" => {
                let element = self.element().ok_or("is about nothing")?;
                set(element, "SPDXID", value);
            }
            "PackageName" => self.start(At::Package, "name", value),
            "FileName" => self.start(At::File, "fileName", value),
            "SnippetSPDXID" => self.start(At::Snippet, "SPDXID", value),
            "LicenseID" => self.start(At::License, "licenseId", value),
            _ => return self.take_list(tag, value),
        }
        Ok(())
    }

    fn take_list(&mut self, tag: &str, value: &str) -> Result<(), &'static str> {
        match tag {
            "ExternalDocumentRef" => {
                let [id, document, rest] = words(value).ok_or("is no external document")?;
                let reference = json!({
                    "externalDocumentId": id,
                    "spdxDocument": document,
                    "checksum": checksum(rest)?,
                });
                push(&mut self.root, "externalDocumentRefs", reference);
            }
            "ExternalRef" => {
                let [category, kind, locator] = words(value).ok_or("is no external reference")?;
                let package = self.packages.last_mut().ok_or("is about nothing")?;
                let reference = json!({
                    "referenceCategory": category,
                    "referenceType": kind,
                    "referenceLocator": locator,
                });
                push(package, "externalRefs", reference);
            }
            "ExternalRefComment" => {
                let package = self.packages.last_mut().ok_or("is about nothing")?;
                let references = package
                    .get_mut("externalRefs")
                    .and_then(Value::as_array_mut);
                let last = references.and_then(|it| it.last_mut()?.as_object_mut());
                set(last.ok_or("is about nothing")?, "comment", value);
            }
            "PackageVerificationCode" => {
                let (code, excluded) = value.split_once('(').unwrap_or((value, ""));
                let excluded = excluded
                    .trim_start_matches("excludes:")
                    .trim_end_matches(')');
                let excluded: Vec<&str> = excluded
                    .split(',')
                    .map(str::trim)
                    .filter(|it| !it.is_empty())
                    .collect();
                let mut of_package = object(json!({ "packageVerificationCodeValue": code.trim() }));
                set(
                    &mut of_package,
                    "packageVerificationCodeExcludedFiles",
                    excluded,
                );
                let package = self.packages.last_mut().ok_or("is about nothing")?;
                set(package, "packageVerificationCode", of_package);
            }
            "SnippetByteRange" | "SnippetLineRange" => {
                let (start, end) = value.split_once(':').ok_or("is no range")?;
                let place = if tag == "SnippetByteRange" {
                    "offset"
                } else {
                    "lineNumber"
                };
                let snippet = self.snippets.last_mut().ok_or("is about nothing")?;
                let file = text(snippet, "snippetFromFile")
                    .unwrap_or_default()
                    .to_owned();
                let pointer = |at: &str| -> Result<Value, &'static str> {
                    let at: u32 = at.trim().parse().map_err(|_error| "is no range")?;
                    let mut pointer = object(json!({ "reference": file }));
                    set(&mut pointer, place, at);
                    Ok(pointer.into())
                };
                let range = json!({ "startPointer": pointer(start)?, "endPointer": pointer(end)? });
                push(snippet, "ranges", range);
            }
            "Relationship" => {
                let [from, kind, to] = words(value).ok_or("is no relationship")?;
                self.relationships.push(object(json!({
                    "spdxElementId": from,
                    "relationshipType": kind.to_uppercase(),
                    "relatedSpdxElement": to,
                })));
            }
            "RelationshipComment" => {
                let last = self.relationships.last_mut().ok_or("is about nothing")?;
                set(last, "comment", value);
            }
            "Annotator" => {
                let annotation = object(json!({ "annotator": value }));
                self.annotations.push((String::new(), annotation));
            }
            "AnnotationDate" | "AnnotationType" | "AnnotationComment" | "SPDXREF" => {
                let last = self.annotations.last_mut().ok_or("is about nothing")?;
                match tag {
                    "AnnotationDate" => set(&mut last.1, "annotationDate", value),
                    "AnnotationType" => set(&mut last.1, "annotationType", value),
                    "AnnotationComment" => set(&mut last.1, "comment", value),
                    _ => value.clone_into(&mut last.0),
                }
            }
            _ if DEPRECATED.contains(&tag) => {}
            _ => return Err("has a tag that is not known"),
        }
        Ok(())
    }

    fn start(&mut self, at: At, field: &str, value: &str) {
        let element = object(json!({ field: value }));
        self.at = at;
        match at {
            At::Document => {}
            At::Package => self.packages.push(element),
            At::File => self.files.push(element),
            At::Snippet => self.snippets.push(element),
            At::License => self.licenses.push(element),
        }
    }

    fn element(&mut self) -> Option<&mut Object> {
        match self.at {
            At::Document => Some(&mut self.root),
            At::Package => self.packages.last_mut(),
            At::File => self.files.last_mut(),
            At::Snippet => self.snippets.last_mut(),
            At::License => self.licenses.last_mut(),
        }
    }

    fn finish(mut self) -> Object {
        let mut by_id: std::collections::BTreeMap<String, Vec<Value>> =
            std::collections::BTreeMap::new();
        for (about, annotation) in self.annotations {
            by_id.entry(about).or_default().push(annotation.into());
        }
        let elements = [&mut self.packages, &mut self.files, &mut self.snippets];
        for element in elements.into_iter().flatten() {
            let of_it = text(element, "SPDXID").and_then(|it| by_id.remove(it));
            set(element, "annotations", of_it.unwrap_or_default());
        }
        let rest: Vec<Value> = by_id.into_values().flatten().collect();
        set(&mut self.root, "annotations", rest);
        set(&mut self.root, "creationInfo", self.creation);
        for (field, list) in [
            ("packages", self.packages),
            ("files", self.files),
            ("snippets", self.snippets),
            ("hasExtractedLicensingInfos", self.licenses),
            ("relationships", self.relationships),
        ] {
            let list: Vec<Value> = list.into_iter().map(Value::from).collect();
            set(&mut self.root, field, list);
        }
        self.root
    }
}

/// `SHA1: 85ed…`.
fn checksum(text: &str) -> Result<Value, &'static str> {
    let (algorithm, value) = text.split_once(':').ok_or("is no checksum")?;
    Ok(json!({ "algorithm": algorithm.trim(), "checksumValue": value.trim() }))
}

/// Three words, the last of which may have spaces in it.
fn words(text: &str) -> Option<[&str; 3]> {
    let (first, rest) = text.trim().split_once(char::is_whitespace)?;
    let (second, third) = rest.trim_start().split_once(char::is_whitespace)?;
    Some([first, second, third.trim()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "\
SPDXVersion: SPDX-2.3
DataLicense: CC0-1.0
SPDXID: SPDXRef-DOCUMENT
DocumentName: example
DocumentNamespace: https://example.test/example
Creator: Tool: hand
Created: 2020-01-01T00:00:00Z
# A comment.
PackageName: zlib
SPDXID: SPDXRef-zlib
PackageVersion: 1.3.1
PackageDownloadLocation: NOASSERTION
FilesAnalyzed: false
PackageChecksum: SHA1: 85ed0817af83a24ad8da68c2b5094de69833983c
PackageLicenseDeclared: LicenseRef-own
PackageDescription: <text>one
two</text>
ExternalRef: PACKAGE-MANAGER purl pkg:generic/zlib@1.3.1
LicenseID: LicenseRef-own
ExtractedText: <text>Do what you like.</text>
Relationship: SPDXRef-DOCUMENT DESCRIBES SPDXRef-zlib
Annotator: Person: Somebody
AnnotationDate: 2020-01-01T00:00:00Z
AnnotationType: REVIEW
SPDXREF: SPDXRef-zlib
AnnotationComment: looked at
";

    #[test]
    fn it_is_the_same_document() {
        let read = read(EXAMPLE).unwrap();
        let package = &read["packages"][0];
        assert_eq!(package["name"], "zlib");
        assert_eq!(package["description"], "one\ntwo");
        assert_eq!(package["checksums"][0]["algorithm"], "SHA1");
        assert_eq!(package["annotations"][0]["comment"], "looked at");
        assert_eq!(
            read["hasExtractedLicensingInfos"][0]["extractedText"],
            "Do what you like."
        );
        assert_eq!(
            package["externalRefs"][0]["referenceLocator"],
            "pkg:generic/zlib@1.3.1"
        );
        // What another reader makes of it, which has no external references in this document.
        let other = spdx_rs::parsers::spdx_from_tag_value(EXAMPLE).unwrap();
        let other = serde_json::to_value(other).unwrap();
        for field in ["name", "versionInfo", "checksums", "licenseDeclared"] {
            assert_eq!(other["packages"][0][field], package[field], "{field}");
        }
        assert_eq!(other["relationships"], read["relationships"]);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, expected) in [
            ("words", "line 1 has no tag"),
            ("Odd: x", "line 1 has a tag that is not known"),
            (
                "PackageVersion: 1",
                "line 1 belongs to another kind of element than the one before it",
            ),
            (
                "PackageName: <text>a",
                "line 1 starts a text (`<text>`) that has no end",
            ),
            ("Relationship: a b", "line 1 is no relationship"),
            ("ExternalRef: a b c", "line 1 is about nothing"),
        ] {
            assert_eq!(read(line).unwrap_err().to_string(), expected);
        }
    }
}
