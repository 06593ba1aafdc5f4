//! How much of a repository is read.

/// How much of a repository is read. The defaults fit Linux.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever reads sets what may be read"
)]
pub struct Limits {
    /// Commits of one history.
    pub commits: usize,
    /// Different authors, by name and mail address.
    pub identities: usize,
    /// Tags.
    pub tags: usize,
    /// Bytes of a commit or a tag, its message included.
    pub object_bytes: u64,
    /// Bytes of a `.mailmap`.
    pub mailmap_bytes: u64,
    /// Bytes of a folder's listing.
    pub tree_bytes: u64,
    /// Bytes of a forge's export.
    pub forge_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            commits: 3_000_000,
            identities: 500_000,
            tags: 200_000,
            object_bytes: 4 << 20,
            mailmap_bytes: 4 << 20,
            tree_bytes: 16 << 20,
            forge_bytes: 512 << 20,
        }
    }
}
