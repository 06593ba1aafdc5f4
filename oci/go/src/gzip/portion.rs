//! A few blocks of the input, with the end of what was before them.

use std::ops::Range;

use super::matches::Matches;
use super::sizes::{BLOCK, BLOCKS, HISTORY, PORTION, WINDOW};

/// A part of the input, after the end of the part before; and what was found in it.
pub(super) struct Portion {
    window: Box<[u8; WINDOW]>,
    /// How much of the blocks is filled.
    filled: usize,
    /// By block.
    found: Vec<Matches>,
}

impl Portion {
    #[expect(clippy::large_stack_arrays, reason = "goes to the heap at once")]
    pub(super) fn new() -> Self {
        Self {
            window: Box::new([0; WINDOW]),
            filled: 0,
            found: Vec::with_capacity(BLOCKS),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.filled == PORTION
    }

    /// Takes as many bytes as there is room for, and returns how many those are.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.get(..PORTION - self.filled).unwrap_or(bytes);
        let start = HISTORY + self.filled;
        if let Some(room) = self.window.get_mut(start..start + taken.len()) {
            room.copy_from_slice(taken);
        }
        self.filled += taken.len();
        taken.len()
    }

    /// Begins the portion after this one, which is full.
    pub(super) fn begin_next(&mut self) {
        self.window.copy_within(PORTION..PORTION + HISTORY, 0);
        self.filled = 0;
    }

    /// Begins the portion after `before`, which is full.
    pub(super) fn begin_after(&mut self, before: &Self) {
        let end = before.window.get(PORTION..PORTION + HISTORY);
        if let (Some(history), Some(end)) = (self.window.get_mut(..HISTORY), end) {
            history.copy_from_slice(end);
        }
        self.filled = 0;
    }

    /// The window, and of each block where it is there and what is found in it.
    pub(super) fn search(
        &mut self,
    ) -> (
        &[u8; WINDOW],
        impl Iterator<Item = (Range<usize>, &mut Matches)>,
    ) {
        let count = self.filled.div_ceil(BLOCK);
        if self.found.len() < count {
            self.found.resize_with(count, Matches::new);
        }
        (&self.window, blocks(self.filled).zip(&mut self.found))
    }

    /// Each block, and what was found in it.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (&[u8], &Matches)> {
        let bytes = |block| self.window.get(block).unwrap_or_default();
        blocks(self.filled).map(bytes).zip(&self.found)
    }
}

/// Where the blocks are in the window.
fn blocks(filled: usize) -> impl Iterator<Item = Range<usize>> {
    let end = HISTORY + filled;
    (HISTORY..end)
        .step_by(BLOCK)
        .map(move |start| start..end.min(start + BLOCK))
}
