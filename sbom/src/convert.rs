//! Converts between formats, as far as both know a thing: packages with name, version, purl,
//! licences, hashes and supplier, and what depends on what. All else stays in its own format.

mod cyclonedx;
mod spdx;
mod syft;

pub(crate) use cyclonedx::{cyclonedx_to_spdx, relationship};
pub(crate) use spdx::{purl, spdx_to_cyclonedx};
pub(crate) use syft::syft_to_cyclonedx;

/// Types of CycloneDX components and the purposes of SPDX packages that say the same.
const PURPOSES: [(&str, &str); 8] = [
    ("application", "APPLICATION"),
    ("container", "CONTAINER"),
    ("device", "DEVICE"),
    ("file", "FILE"),
    ("firmware", "FIRMWARE"),
    ("framework", "FRAMEWORK"),
    ("library", "LIBRARY"),
    ("operating-system", "OPERATING-SYSTEM"),
];

/// Hash functions, as CycloneDX and as SPDX call them. Those not here have one name.
const HASHES: [(&str, &str); 4] = [
    ("SHA-1", "SHA1"),
    ("SHA-256", "SHA256"),
    ("SHA-384", "SHA384"),
    ("SHA-512", "SHA512"),
];

/// Hash functions that both know under one name.
const COMMON_HASHES: [&str; 8] = [
    "BLAKE2b-256",
    "BLAKE2b-384",
    "BLAKE2b-512",
    "BLAKE3",
    "MD5",
    "SHA3-256",
    "SHA3-384",
    "SHA3-512",
];

/// Whether `location` is one that SPDX allows as a download location.
fn is_download_location(location: &str) -> bool {
    let has_scheme = [
        "https://",
        "http://",
        "ftp://",
        "git+https://",
        "git+ssh://",
    ]
    .iter()
    .any(|it| location.starts_with(it));
    has_scheme && location.bytes().all(|b| b.is_ascii_graphic())
}
