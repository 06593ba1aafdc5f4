//! Descriptors: what is read of one is written as what reads the same.

use oci::Descriptor;

use crate::{Target, seeds};

pub(crate) const TARGET: Target = Target {
    name: "descriptor",
    run,
    seeds: seeds::descriptors,
    words: seeds::WORDS,
    short: 10_000,
};

fn run(data: &[u8]) {
    let Ok(descriptor) = serde_json::from_slice::<Descriptor>(data) else {
        return;
    };
    let written = serde_json::to_string(&descriptor).expect("has keys that are texts");
    let again: Descriptor = serde_json::from_str(&written).expect("was just written");
    assert_eq!(again, descriptor);
    assert_eq!(serde_json::to_string(&again).ok(), Some(written));
    let bare = descriptor.bare();
    assert_eq!(
        (&bare.media_type, &bare.digest, bare.size),
        (&descriptor.media_type, &descriptor.digest, descriptor.size)
    );
    assert_eq!(bare, bare.bare());
}
