//! How much of what a stranger sends is read.

/// How much of what a stranger sends is read. Passed down; the defaults fit all that real tools make.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of a manifest, an index or a page of a listing: 4 MiB, as registries have it.
    pub manifest_bytes: u64,
    /// Bytes of a config or of an attached bundle: 128 MiB, as cosign has it.
    pub metadata_bytes: u64,
    /// Manifests that a walk visits.
    pub manifests: usize,
    /// Referrers of one subject.
    pub referrers: usize,
    /// Pages of one listing.
    pub pages: usize,
    /// How deep indexes and referrers may nest.
    pub depth: usize,
    /// Layers of one image.
    pub layers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            metadata_bytes: 128 << 20,
            manifests: 100_000,
            referrers: 20_000,
            pages: 20_000,
            depth: 8,
            layers: 5_000,
        }
    }
}
