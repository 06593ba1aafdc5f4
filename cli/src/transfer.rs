//! How far a transfer is: by bytes, on a terminal.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use oci::{Descriptor, Digest, Outcome, Progress};

use crate::ui::{Ui, size};

/// Shows how far a transfer is; to who wants to hear it, also what became of each blob.
pub(crate) struct Transfer<'a> {
    ui: &'a Ui,
    phase: &'static str,
    /// Blobs that are under way, and how much of each has moved.
    moved: Mutex<BTreeMap<Digest, u64>>,
}

impl<'a> Transfer<'a> {
    pub(crate) fn new(ui: &'a Ui, phase: &'static str) -> Self {
        Self {
            ui,
            phase,
            moved: Mutex::default(),
        }
    }

    /// Counts `bytes` more of `target`, but never more than it has, and says how many these are.
    fn count(&self, target: &Descriptor, bytes: u64) -> u64 {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let before = moved.entry(target.digest.clone()).or_default();
        let bytes = bytes.min(target.size.saturating_sub(*before));
        *before += bytes;
        bytes
    }
}

impl Progress for Transfer<'_> {
    fn expect(&self, bytes: u64) {
        self.ui.expect(self.phase, bytes);
    }

    fn advance(&self, target: &Descriptor, bytes: u64) {
        self.ui.moved(self.count(target, bytes));
    }

    fn end(&self, target: &Descriptor, outcome: Outcome) {
        // What was there needed no moving.
        self.ui.moved(self.count(target, target.size));
        self.ui.aside(format_args!(
            "{} {} {}",
            match outcome {
                Outcome::Copied => "copied ",
                Outcome::Mounted => "mounted",
                _ => "exists ",
            },
            target.digest,
            size(target.size)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_blob_counts_for_more_than_it_has() {
        let ui = Ui::silent();
        let transfer = Transfer::new(&ui, "copy");
        let [one, two] =
            [b"0123456789", b"9876543210"].map(|it| Descriptor::of(oci::MediaType::LAYER_TAR, it));
        assert_eq!(transfer.count(&one, 4), 4);
        assert_eq!(transfer.count(&two, 9), 9);
        // It broke off, and began anew.
        assert_eq!(transfer.count(&one, 10), 6);
        assert_eq!(transfer.count(&one, 1), 0);
        assert_eq!(transfer.count(&two, two.size), 1);
    }
}
