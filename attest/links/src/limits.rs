//! How much of what functionaries sign is read.

/// How much of what functionaries sign is read. The defaults fit builds of hundreds of thousands of
/// files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "whoever sets limits sets all")]
pub struct Limits {
    /// Bytes of one link or layout file. Whoever reads files must not read more either.
    pub file_bytes: u64,
    /// Steps and inspections of one layout.
    pub steps: usize,
    /// Rules of one layout.
    pub rules: usize,
    /// Keys of one layout.
    pub keys: usize,
    /// How deep layouts may nest.
    pub depth: usize,
    /// Characters that are looked at while patterns are matched, in the whole of one verification.
    pub comparisons: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 64 << 20,
            steps: 1_000,
            rules: 10_000,
            keys: 1_000,
            depth: 4,
            comparisons: 1 << 30,
        }
    }
}
