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
        let document = include_str!("whole.xml").replace("/1.3\"", &format!("/{number}\""));
        let ours: Value = serde_json::from_slice(&read(&document).unwrap()).unwrap();
        let theirs = as_another_reads(&document, version);
        assert_eq!(ours, theirs, "{number}:\n{ours:#}\n{theirs:#}");
    }
    let document = include_str!("newer.xml");
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
    let other = EXAMPLE.replace("bom/1.5", "bom/1.8");
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

/// The only component of a document of this version, with `inner` in it.
fn component(version: &str, inner: &str) -> Value {
    let document = format!(
        r#"<bom xmlns="http://cyclonedx.org/schema/bom/{version}" version="1"><components><component type="library"><name>a</name>{inner}</component></components></bom>"#
    );
    let json: Value = serde_json::from_slice(&read(&document).unwrap()).unwrap();
    assert_eq!(json["specVersion"], version);
    json["components"][0].clone()
}

#[test]
fn newer_versions_have_the_shapes_of_their_schemas() {
    let identity =
        "<evidence><identity><field>purl</field><confidence>1</confidence></identity></evidence>";
    let alone = json!({"field": "purl", "confidence": 1});
    assert_eq!(component("1.5", identity)["evidence"]["identity"], alone);
    for version in ["1.6", "1.7"] {
        assert_eq!(
            component(version, identity)["evidence"]["identity"],
            json!([alone])
        );
    }
    for (inner, expected) in [
        (
            "<tags><tag>x</tag><tag>y</tag></tags><omniborId>o</omniborId><omniborId>p</omniborId>",
            json!({"tags": ["x", "y"], "omniborId": ["o", "p"]}),
        ),
        (
            "<manufacturer><name>m</name><url>https://m.example</url></manufacturer>",
            json!({"manufacturer": {"name": "m", "url": ["https://m.example"]}}),
        ),
        (
            "<cryptoProperties><protocolProperties><cipherSuites><cipherSuite><algorithms><algorithm>r</algorithm></algorithms></cipherSuite></cipherSuites><cryptoRef>c</cryptoRef></protocolProperties></cryptoProperties>",
            json!({"cryptoProperties": {"protocolProperties": {
                "cipherSuites": [{"algorithms": ["r"]}], "cryptoRefArray": ["c"]
            }}}),
        ),
        (
            r#"<licenses><expression-detailed expression="MIT AND LicenseRef-b"><details license-identifier="LicenseRef-b"><text content-type="text/plain">b</text></details></expression-detailed></licenses>"#,
            json!({"licenses": [{
                "expression": "MIT AND LicenseRef-b",
                "expressionDetails": [{
                    "licenseIdentifier": "LicenseRef-b",
                    "text": {"contentType": "text/plain", "content": "b"}
                }]
            }]}),
        ),
        (
            "<patentAssertions><patentAssertion><asserter><ref>o</ref></asserter><patentRefs><bom-ref>p</bom-ref></patentRefs></patentAssertion></patentAssertions>",
            json!({"patentAssertions": [{"asserter": "o", "patentRefs": ["p"]}]}),
        ),
        (
            "<releaseNotes><type>major</type><aliases><alias>x</alias></aliases><notes><note><locale>en</locale><text encoding=\"base64\">eA==</text></note></notes></releaseNotes>",
            json!({"releaseNotes": {
                "type": "major",
                "aliases": ["x"],
                "notes": [{"locale": "en", "text": {"encoding": "base64", "content": "eA=="}}]
            }}),
        ),
    ] {
        let found = component("1.7", inner);
        for (field, expected) in expected.as_object().unwrap() {
            assert_eq!(&found[field], expected, "{inner}");
        }
    }
}

#[test]
fn services_say_where_data_flows() {
    let document = r#"<bom xmlns="http://cyclonedx.org/schema/bom/1.6"><services><service><name>s</name><x-trust-boundary>1</x-trust-boundary><data><dataflow name="d"><classification flow="outbound">PII</classification><source><url>https://a.example</url></source><destination><url>https://b.example</url><url>https://c.example</url></destination></dataflow></data></service></services></bom>"#;
    let json: Value = serde_json::from_slice(&read(document).unwrap()).unwrap();
    let service = &json["services"][0];
    assert_eq!(service["x-trust-boundary"], true);
    assert_eq!(
        service["data"],
        json!([{
            "name": "d",
            "flow": "outbound",
            "classification": "PII",
            "source": ["https://a.example"],
            "destination": ["https://b.example", "https://c.example"],
        }])
    );
}

#[test]
fn numbers_of_xml_are_numbers_of_json() {
    for (text, expected) in [
        (".5", "0.5"),
        ("5.", "5"),
        ("+5", "5"),
        ("-.25", "-0.25"),
        ("007", "7"),
        ("0", "0"),
        ("00.10", "0.10"),
        ("12", "12"),
    ] {
        let found = number("score", text).unwrap();
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(found, expected, "{text}");
    }
    for text in [
        "", ".", "+", "-", "+-5", "1e400x", "x", "1.2.3", "NaN", "- 5",
    ] {
        assert!(number("score", text).is_err(), "{text}");
    }
}

#[test]
fn an_object_may_be_empty() {
    let document = r#"<bom xmlns="http://cyclonedx.org/schema/bom/1.6"><metadata>
  <authors><author/></authors><supplier/>
  <component type="library"><supplier><contact/></supplier><author/><name>a</name>
    <swid tagId="t" name="n" patch="True"/><modified>False</modified></component>
</metadata></bom>"#;
    let json: Value = serde_json::from_slice(&read(document).unwrap()).unwrap();
    assert_eq!(
        json["metadata"],
        json!({
            "authors": [{}],
            "supplier": {},
            "component": {
                "type": "library",
                "supplier": {"contact": [{}]},
                "author": "",
                "name": "a",
                "swid": {"tagId": "t", "name": "n", "patch": true},
                "modified": false,
            },
        })
    );
}
