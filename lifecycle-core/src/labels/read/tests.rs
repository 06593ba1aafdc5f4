use serde_json::Value;

use super::*;
use crate::labels::wire::{CacheJson, LayersJson};

/// As Go 1.26 and the lifecycle 0.21.17 read them.
#[test]
fn labels_are_read_as_upstream_reads_them() {
    let recorded = include_str!("../../../../tests/fixtures/go-json.jsonl");
    let mut count = 0;
    for line in recorded.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = match (line["in"].as_str(), line["hex"].as_str()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, hex) => {
                let hex = hex.unwrap();
                let pair = |at| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap();
                (0..hex.len()).step_by(2).map(pair).collect()
            }
        };
        let out = line.get("out").cloned();
        let (ours, theirs) = match line["of"].as_str() {
            Some("layers") => (
                go::json::unmarshal::<LayersJson>(&text, &LAYERS).map(written),
                out.map(|it| written(serde_json::from_value::<LayersJson>(it).unwrap())),
            ),
            Some("cache") => (
                go::json::decode::<CacheJson>(&text, &CACHE).map(written),
                out.map(|it| written(serde_json::from_value::<CacheJson>(it).unwrap())),
            ),
            _ => continue,
        };
        match theirs {
            Some(theirs) => assert_eq!(ours, Ok(theirs), "{line}"),
            None => assert_eq!(ours.unwrap_err().to_string(), line["err"], "{line}"),
        }
        count += 1;
    }
    assert!(count > 80);
}

fn written(label: impl serde::Serialize) -> String {
    serde_json::to_string(&label).unwrap().replace(".0", "")
}
