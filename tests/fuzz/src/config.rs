//! Image configs: what is read of one is written, in Go's way, as what reads the same.

use oci::ImageConfig;

use crate::{Target, seeds};

pub(crate) const TARGET: Target = Target {
    name: "config",
    run,
    seeds: seeds::configs,
    words: seeds::WORDS,
    short: 10_000,
};

fn run(data: &[u8]) {
    let Ok(config) = serde_json::from_slice::<ImageConfig>(data) else {
        return;
    };
    let Ok(written) = go::json::to_string(&config) else {
        return;
    };
    let again: ImageConfig = serde_json::from_str(&written).expect("was just written");
    assert_eq!(go::json::to_string(&again).ok(), Some(written));
    drop(config.platform());
}
