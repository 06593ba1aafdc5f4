//! What SPDX 2 calls the things of the model.

use crate::component::{HashAlgorithm, Kind};

/// Purposes of packages, as the JSON schema has them, which is what counts where the text of the
/// specification writes a dash.
pub(super) const PURPOSES: [(&str, Kind); 12] = [
    ("APPLICATION", Kind::Application),
    ("ARCHIVE", Kind::Archive),
    ("CONTAINER", Kind::Container),
    ("DEVICE", Kind::Device),
    ("FILE", Kind::File),
    ("FIRMWARE", Kind::Firmware),
    ("FRAMEWORK", Kind::Framework),
    ("INSTALL", Kind::Installer),
    ("LIBRARY", Kind::Library),
    ("OPERATING_SYSTEM", Kind::OperatingSystem),
    ("OTHER", Kind::Other),
    ("SOURCE", Kind::Source),
];

/// The purpose of a package; what SPDX has no word for is something else.
pub(super) fn of_kind(kind: Kind) -> &'static str {
    PURPOSES
        .iter()
        .find(|(_, it)| *it == kind)
        .map_or("OTHER", |(word, _)| word)
}

/// Hash functions.
pub(super) const HASHES: [(&str, HashAlgorithm); 17] = [
    ("ADLER32", HashAlgorithm::Adler32),
    ("BLAKE2b-256", HashAlgorithm::Blake2b256),
    ("BLAKE2b-384", HashAlgorithm::Blake2b384),
    ("BLAKE2b-512", HashAlgorithm::Blake2b512),
    ("BLAKE3", HashAlgorithm::Blake3),
    ("MD2", HashAlgorithm::Md2),
    ("MD4", HashAlgorithm::Md4),
    ("MD5", HashAlgorithm::Md5),
    ("MD6", HashAlgorithm::Md6),
    ("SHA1", HashAlgorithm::Sha1),
    ("SHA224", HashAlgorithm::Sha224),
    ("SHA256", HashAlgorithm::Sha256),
    ("SHA3-256", HashAlgorithm::Sha3_256),
    ("SHA3-384", HashAlgorithm::Sha3_384),
    ("SHA3-512", HashAlgorithm::Sha3_512),
    ("SHA384", HashAlgorithm::Sha384),
    ("SHA512", HashAlgorithm::Sha512),
];

/// How many hex digits a digest has, where SPDX's verifiers look.
pub(super) fn hex_digits(algorithm: HashAlgorithm) -> Option<usize> {
    Some(match algorithm {
        HashAlgorithm::Adler32 => 8,
        HashAlgorithm::Md2 | HashAlgorithm::Md4 | HashAlgorithm::Md5 => 32,
        HashAlgorithm::Sha1 => 40,
        HashAlgorithm::Sha224 => 56,
        HashAlgorithm::Sha256
        | HashAlgorithm::Sha3_256
        | HashAlgorithm::Blake2b256
        | HashAlgorithm::Blake3 => 64,
        HashAlgorithm::Sha384 | HashAlgorithm::Sha3_384 | HashAlgorithm::Blake2b384 => 96,
        HashAlgorithm::Sha512 | HashAlgorithm::Sha3_512 | HashAlgorithm::Blake2b512 => 128,
        _ => return None,
    })
}

/// Whether `location` is one that SPDX allows as a download location: an address, or one of a version
/// control system, such as `git+https://example.test/app.git@v1`.
pub(super) fn is_download_location(location: &str) -> bool {
    let scheme = location.split_once("://").map_or("", |(scheme, _)| scheme);
    let (system, transport) = scheme.split_once('+').unwrap_or((scheme, ""));
    let has_scheme = match system {
        "http" | "https" | "ftp" => transport.is_empty(),
        "bzr" | "git" | "hg" | "svn" => matches!(
            transport,
            "" | "ftp" | "git" | "http" | "https" | "lp" | "sftp" | "ssh" | "static-http" | "svn"
        ),
        _ => false,
    };
    has_scheme && location.bytes().all(|b| b.is_ascii_graphic())
}
