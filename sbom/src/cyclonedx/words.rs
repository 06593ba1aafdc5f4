//! What CycloneDX calls the things of the model.

use crate::component::{HashAlgorithm, Kind, LinkKind};

/// Types of components.
pub(super) const KINDS: [(&str, Kind); 13] = [
    ("application", Kind::Application),
    ("container", Kind::Container),
    ("data", Kind::Data),
    ("device", Kind::Device),
    ("device-driver", Kind::DeviceDriver),
    ("file", Kind::File),
    ("firmware", Kind::Firmware),
    ("framework", Kind::Framework),
    ("library", Kind::Library),
    ("machine-learning-model", Kind::Model),
    ("operating-system", Kind::OperatingSystem),
    ("platform", Kind::Platform),
    ("cryptographic-asset", Kind::Other),
];

/// The type of a component; those that CycloneDX has no word for become the nearest.
pub(super) fn of_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Archive | Kind::Source => "file",
        Kind::Installer => "application",
        Kind::Other => "library",
        kind => KINDS
            .iter()
            .find(|(_, it)| *it == kind)
            .map_or("library", |(word, _)| word),
    }
}

/// Hash functions; what is not here CycloneDX does not know.
pub(super) const HASHES: [(&str, HashAlgorithm); 12] = [
    ("BLAKE2b-256", HashAlgorithm::Blake2b256),
    ("BLAKE2b-384", HashAlgorithm::Blake2b384),
    ("BLAKE2b-512", HashAlgorithm::Blake2b512),
    ("BLAKE3", HashAlgorithm::Blake3),
    ("MD5", HashAlgorithm::Md5),
    ("SHA-1", HashAlgorithm::Sha1),
    ("SHA-256", HashAlgorithm::Sha256),
    ("SHA-384", HashAlgorithm::Sha384),
    ("SHA-512", HashAlgorithm::Sha512),
    ("SHA3-256", HashAlgorithm::Sha3_256),
    ("SHA3-384", HashAlgorithm::Sha3_384),
    ("SHA3-512", HashAlgorithm::Sha3_512),
];

/// How many hex digits a digest has; CycloneDX allows no others.
pub(super) fn hex_digits(algorithm: HashAlgorithm) -> usize {
    match algorithm {
        HashAlgorithm::Md5 => 32,
        HashAlgorithm::Sha1 => 40,
        HashAlgorithm::Sha384 | HashAlgorithm::Sha3_384 | HashAlgorithm::Blake2b384 => 96,
        HashAlgorithm::Sha512 | HashAlgorithm::Sha3_512 | HashAlgorithm::Blake2b512 => 128,
        _ => 64,
    }
}

/// Types of external references.
pub(super) const LINKS: [(&str, LinkKind); 4] = [
    ("distribution", LinkKind::Distribution),
    ("issue-tracker", LinkKind::Issues),
    ("vcs", LinkKind::Sources),
    ("website", LinkKind::Website),
];
