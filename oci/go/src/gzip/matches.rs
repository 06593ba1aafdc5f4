//! What was found in a block: literals and matches.

use super::sizes::{BLOCK, WINDOW};
use super::symbols::{DISTANCES, distance_symbol};

/// A match has at least four bytes.
const MAX_SEQUENCES: usize = BLOCK / 4;
/// So many literals are copied at once, even if there are fewer: this is faster.
const SHORT_RUN: usize = 16;

/// What was found in a block.
pub(super) struct Matches {
    sequences: Box<[Sequence; MAX_SEQUENCES]>,
    sequence_count: usize,
    literals: Box<[u8; BLOCK + SHORT_RUN]>,
    literal_count: usize,
    /// How often each length occurs, less 3.
    pub(super) lengths: [u32; 256],
    /// How often each symbol of a distance occurs.
    pub(super) distances: [u32; DISTANCES],
}

/// Some literals, then a match.
#[derive(Clone, Copy, Default)]
pub(super) struct Sequence {
    /// How many literals.
    pub(super) literals: u16,
    /// How far back the match lies, less 1.
    pub(super) distance: u16,
    /// The length of the match, less 3.
    pub(super) length: u8,
    /// The symbol of the distance.
    pub(super) symbol: u8,
}

impl Matches {
    #[expect(clippy::large_stack_arrays, reason = "goes to the heap at once")]
    pub(super) fn new() -> Self {
        Self {
            sequences: Box::new([Sequence::default(); MAX_SEQUENCES]),
            sequence_count: 0,
            literals: Box::new([0; BLOCK + SHORT_RUN]),
            literal_count: 0,
            lengths: [0; 256],
            distances: [0; DISTANCES],
        }
    }

    pub(super) fn clear(&mut self) {
        self.sequence_count = 0;
        self.literal_count = 0;
        self.lengths = [0; 256];
        self.distances = [0; DISTANCES];
    }

    pub(super) fn sequences(&self) -> &[Sequence] {
        let sequences = self.sequences.get(..self.sequence_count);
        sequences.unwrap_or_default()
    }

    /// The literals before, between and after the matches.
    pub(super) fn literals(&self) -> &[u8] {
        self.literals.get(..self.literal_count).unwrap_or_default()
    }

    /// The literals, and after them room to read a few too many at once.
    pub(super) fn literals_and_more(&self) -> &[u8; BLOCK + SHORT_RUN] {
        &self.literals
    }

    /// How many codes the block needs.
    pub(super) fn tokens(&self) -> usize {
        self.literal_count + self.sequence_count
    }

    /// Adds the literals from `start` to `end`, and a match after them. `None` if there is no room,
    /// which cannot be.
    #[inline]
    pub(super) fn push(
        &mut self,
        window: &[u8; WINDOW],
        (start, end): (u32, u32),
        length: u32,
        distance: u32,
    ) -> Option<()> {
        self.push_literals(window, (start, end))?;
        #[expect(clippy::cast_possible_truncation, reason = "a block is small")]
        let sequence = Sequence {
            literals: (end - start) as u16,
            distance: (distance - 1) as u16,
            length: (length - 3) as u8,
            symbol: distance_symbol((distance - 1) as u16),
        };
        *self.sequences.get_mut(self.sequence_count)? = sequence;
        self.sequence_count += 1;
        *self.lengths.get_mut(usize::from(sequence.length))? += 1;
        *self.distances.get_mut(usize::from(sequence.symbol))? += 1;
        Some(())
    }

    /// Adds the literals from `start` to `end`.
    #[inline]
    pub(super) fn push_literals(
        &mut self,
        window: &[u8; WINDOW],
        (start, end): (u32, u32),
    ) -> Option<()> {
        let (start, end) = (start as usize, end as usize);
        let room = self.literals.get_mut(self.literal_count..)?;
        if end - start <= SHORT_RUN {
            let source = window.get(start..start + SHORT_RUN)?;
            room.get_mut(..SHORT_RUN)?.copy_from_slice(source);
        } else {
            let source = window.get(start..end)?;
            room.get_mut(..source.len())?.copy_from_slice(source);
        }
        self.literal_count += end - start;
        Some(())
    }
}
