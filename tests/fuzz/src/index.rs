//! Indexes: as [manifests](crate::manifest).

use oci::MediaType;

use crate::manifest::of_types;
use crate::{Target, seeds};

pub(crate) const TARGET: Target = Target {
    name: "index",
    run,
    seeds: seeds::indexes,
    words: seeds::WORDS,
    short: 10_000,
};

fn run(data: &[u8]) {
    of_types(
        data,
        &[MediaType::IMAGE_INDEX, MediaType::DOCKER_MANIFEST_LIST],
        &[MediaType::IMAGE_MANIFEST, MediaType::DOCKER_MANIFEST],
    );
}
