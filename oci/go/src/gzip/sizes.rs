//! How much of the input is looked at together.

/// Bytes of input in a block.
pub(super) const BLOCK: usize = 65_535;
/// How many blocks are in a portion.
pub(super) const BLOCKS: usize = 4;
/// Bytes of input in a portion.
pub(super) const PORTION: usize = BLOCKS * BLOCK;
/// Where the first block is: behind what matches may reach back to, and a little further, so that
/// the window's first byte is out of reach.
pub(super) const HISTORY: usize = 32_768 + 8;
/// History, blocks, and room to read a few bytes too much at once.
pub(super) const WINDOW: usize = HISTORY + PORTION + 32;
