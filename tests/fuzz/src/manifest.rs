//! Image manifests: never more than the limits, never two things at once, stable.

use oci::{Limits, Manifest, MediaType};

use crate::{Target, seeds};

pub(crate) const TARGET: Target = Target {
    name: "manifest",
    run,
    seeds: seeds::manifests,
    words: seeds::WORDS,
    short: 10_000,
};

const LIMITS: usize = 4;

fn run(data: &[u8]) {
    of_types(
        data,
        &[MediaType::IMAGE_MANIFEST, MediaType::DOCKER_MANIFEST],
        &[MediaType::IMAGE_INDEX, MediaType::DOCKER_MANIFEST_LIST],
    );
}

/// Reads `data` as each of `types`; what is one of those must be none of `others`.
pub(crate) fn of_types(data: &[u8], types: &[MediaType], others: &[MediaType]) {
    let limits = Limits {
        manifest_bytes: 8 << 10,
        manifests: LIMITS,
        layers: LIMITS,
        ..Limits::default()
    };
    for media_type in types {
        let Ok(manifest) = Manifest::parse(media_type, data, &limits) else {
            continue;
        };
        assert!(data.len() <= 8 << 10);
        let written = match &manifest {
            Manifest::Image(image) => {
                assert!(media_type.is_image_manifest() && image.layers.len() <= LIMITS);
                assert_eq!(manifest.successors().len(), image.layers.len() + 1);
                serde_json::to_vec(image)
            }
            Manifest::Index(index) => {
                assert!(media_type.is_index() && index.manifests.len() <= LIMITS);
                assert_eq!(manifest.successors().len(), index.manifests.len());
                serde_json::to_vec(index)
            }
        }
        .expect("has keys that are texts");
        let unlimited = Limits::default();
        let again = Manifest::parse(media_type, &written, &unlimited).expect("was just written");
        assert_eq!(again, manifest);
        for other in others {
            let as_other = Manifest::parse(other, data, &unlimited);
            assert!(
                as_other.is_err(),
                "reads as {media_type:?} and as {other:?}"
            );
        }
    }
}
