use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::{ImageConfig, ImageManifest, Index};

/// What Go 1.26 and go-containerregistry 0.21.9 made of a text.
#[derive(Deserialize)]
struct Recorded {
    of: String,
    #[serde(default, rename = "in")]
    text: String,
    /// The text, if it is no Unicode.
    hex: Option<String>,
    out: Option<Value>,
    err: Option<String>,
}

impl Recorded {
    fn text(&self) -> Vec<u8> {
        let Some(hex) = &self.hex else {
            return self.text.clone().into_bytes();
        };
        let pair = |at| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap();
        (0..hex.len()).step_by(2).map(pair).collect()
    }

    /// Compares, where neither has what the other cannot have: Go has digests that are none, sizes below
    /// zero, and knows no SHA-512.
    fn compare<T: serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(
        &self,
        of: &Type,
        same: impl Fn(T) -> T,
    ) {
        let read = go::json::decode::<T>(&self.text(), of).map_err(|it| it.to_string());
        let text = &self.text;
        match (&self.err, &self.out, read) {
            (Some(err), _, read) if err.contains("sha512") => drop(read),
            (Some(err), _, Err(ours)) => assert_eq!(&ours, err, "{text}"),
            (None, Some(out), Ok(ours)) => {
                let theirs = serde_json::from_value(out.clone()).unwrap();
                assert_eq!(same(ours), same(theirs), "{text}");
            }
            (None, Some(out), Err(ours)) => {
                let is_digest = out.to_string().contains(r#""digest":":""#);
                let is_known = ours.contains("missing field") && is_digest
                    || ours.contains("expected u64") && out.to_string().contains(":-");
                assert!(is_known, "{text}: {ours}");
            }
            (err, _, ours) => panic!("{text}: {err:?}, but ours {ours:?}"),
        }
    }
}

#[test]
fn documents_are_read_as_go_containerregistry_reads_them() {
    let recorded = include_str!("../../../tests/fixtures/go-json.jsonl");
    let mut count = 0;
    for line in recorded.lines() {
        let recorded: Recorded = serde_json::from_str(line).unwrap();
        match &*recorded.of {
            "manifest" => recorded.compare::<ImageManifest>(&MANIFEST, |it| it),
            "index" => recorded.compare::<Index>(&INDEX, |it| it),
            "config" => recorded.compare(&CONFIG, said),
            _ => continue,
        }
        count += 1;
    }
    assert!(count > 100);
}

/// Without what Go writes where nothing is said.
fn said(mut config: ImageConfig) -> ImageConfig {
    let is_said = |it: &String| it != "0001-01-01T00:00:00Z";
    config.created = config.created.filter(is_said);
    for entry in &mut config.history {
        entry.created = entry.created.take().filter(is_said);
    }
    if config.rootfs.kind == "layers" {
        config.rootfs.kind.clear();
    }
    let check = config.config.healthcheck.take();
    config.config.healthcheck = check.filter(|it| *it != crate::HealthCheck::default());
    config
}

#[test]
fn what_is_no_digest_is_told_as_go_containerregistry_tells_it() {
    for (text, words) in [
        ("", "cannot parse hash: \"\""),
        ("x\u{e9}", "cannot parse hash: \"x\u{e9}\""),
        ("md5:aa", "unsupported hash: \"md5\""),
        ("sha256:aA", "found non-hex character in hash: A"),
        ("sha256:aa", "wrong number of hex digits for sha256: aa"),
    ] {
        assert_eq!(hash(text), Err(words.to_owned()));
    }
    assert_eq!(hash(crate::Digest::of(b"").as_str()), Ok(()));
}
