//! Who is told how a copy goes on.

use crate::Descriptor;

/// Is told how a copy goes on. Called from the task that copies, so it must be quick. `()` listens
/// to nothing.
pub trait Progress: Send + Sync {
    /// Blobs of so many bytes come next, beside those that were expected before. Each then begins
    /// and ends.
    fn expect(&self, bytes: u64) {
        let _ = bytes;
    }
    /// A blob comes next.
    fn begin(&self, target: &Descriptor) {
        let _ = target;
    }
    /// So many more bytes of it were moved.
    fn advance(&self, target: &Descriptor, bytes: u64) {
        let (_, _) = (target, bytes);
    }
    /// It is there.
    fn end(&self, target: &Descriptor, outcome: Outcome) {
        let (_, _) = (target, outcome);
    }
}

impl Progress for () {}

/// How a blob came to be in the destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// Its bytes were moved.
    Copied,
    /// The registry took it over from another repository.
    Mounted,
    /// It was there.
    Skipped,
}
