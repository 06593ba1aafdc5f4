//! What the targets of in-toto's files share: a supply chain that the reference implementation wrote.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use attest::key::PublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use links::{FileError, Files, Inspections, Limits, Question, Refusal, verify};
use oci::{Descriptor, MediaType};
use serde_json::Value;
use time::OffsetDateTime;

use crate::seeds;

pub(crate) const WORDS: &[&str] = &[
    "\"signatures\":[",
    "\"signed\":{",
    "\"payload\":\"",
    "\"payloadType\":\"application/vnd.in-toto+json\"",
    "\"keyid\":\"",
    "\"sig\":\"",
    "\"_type\":\"link\"",
    "\"_type\":\"layout\"",
    "\"steps\":[",
    "\"inspect\":[",
    "\"keys\":{",
    "\"pubkeys\":[",
    "\"threshold\":2",
    "\"expected_materials\":[",
    "\"materials\":{",
    "\"products\":{",
    "\"sha256\":\"",
    "[\"MATCH\",\"*\",\"WITH\",\"PRODUCTS\",\"FROM\",\"build\"]",
    "[\"DISALLOW\",\"*\"]",
    "[\"ALLOW\",\"[!a-z]*\"]",
    "\\ud800",
    "1.5",
    "-1",
    "null",
];

/// The files beside `make.py`, by name.
pub(crate) fn fixtures() -> &'static BTreeMap<String, Vec<u8>> {
    static FIXTURES: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    FIXTURES.get_or_init(|| {
        seeds::list(&seeds::folder().join("../fixtures/in-toto"))
            .into_iter()
            .filter_map(|path| {
                let name = path.file_name()?.to_str()?.to_owned();
                Some((name, fs_err::read(path).ok()?))
            })
            .filter(|(name, _)| is(name, "link") || is(name, "layout"))
            .collect()
    })
}

/// Whether it is a file of that kind, by its name.
pub(crate) fn is(name: &str, kind: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, it)| it == kind)
}

/// Files of that kind.
pub(crate) fn of_kind(kind: &str) -> Vec<Vec<u8>> {
    let files = fixtures().iter();
    files
        .filter(|(name, _)| is(name, kind))
        .map(|(_, bytes)| bytes.clone())
        .collect()
}

/// Whether the chain is accepted with these files in it, by the owner's key, RSA.
pub(crate) fn is_accepted(layout: &[u8], files: &dyn Files) -> bool {
    static OWNER: OnceLock<PublicKey> = OnceLock::new();
    let owner = OWNER.get_or_init(|| {
        let pem = fs_err::read(seeds::folder().join("../fixtures/keys/rsa.pub.pem"));
        PublicKey::from_pem(&pem.expect("the fixtures have keys")).expect("is a key")
    });
    let verdict = verify(&Question {
        layout,
        layout_keys: std::slice::from_ref(owner),
        files,
        image: &Descriptor::of(MediaType::IMAGE_MANIFEST, b"manifest"),
        now: OffsetDateTime::UNIX_EPOCH,
        inspections: Inspections::Skip,
        limits: Limits::default(),
    });
    match verdict {
        Ok(_) => true,
        Err(Refusal::Rejected { findings, .. }) => {
            assert!(!findings.is_empty(), "a no has a reason");
            false
        }
        Err(Refusal::Undecided(_)) => false,
    }
}

/// The fixtures, but for one file.
#[derive(Debug)]
pub(crate) struct With<'a> {
    pub(crate) name: &'a str,
    pub(crate) bytes: &'a [u8],
}

impl Files for With<'_> {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        if name == self.name {
            Ok(Some(self.bytes.to_owned()))
        } else {
            Ok(fixtures().get(name).cloned())
        }
    }
}

/// What a file says, whatever its wrapper and its signatures are.
pub(crate) fn said(bytes: &[u8]) -> Option<Value> {
    let mut file: Value = serde_json::from_slice(bytes).ok()?;
    if let Some(payload) = file.get("payload") {
        let payload = STANDARD.decode(payload.as_str()?).ok()?;
        return serde_json::from_slice(&payload).ok();
    }
    Some(file.get_mut("signed")?.take())
}
