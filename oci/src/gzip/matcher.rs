/// Bytes of input in a block.
pub(super) const BLOCK: usize = 65_535;
/// How far back a match may reach, and so how much history is kept.
pub(super) const HISTORY: usize = REACH as usize;
/// History, block, and room to read a few bytes too much at once.
pub(super) const WINDOW: usize = HISTORY + BLOCK + 9;

const REACH: u32 = 32_768;
const TABLE_BITS: u32 = 14;
const MIN_MATCH: u32 = 4;
const MAX_MATCH: u32 = 258;
/// Where a block ends for the search: so many bytes at its end start no match.
const MARGIN: u32 = 15;
/// The position of the first byte: so far from position 0 that an unused entry matches nothing.
const FIRST: u32 = 2 * REACH;

/// Finds repetitions within a block, and between it and the block before.
pub(super) struct Matcher {
    /// By hash: four bytes that were seen (upper half), and where (lower half).
    table: Box<[u64; 1 << TABLE_BITS]>,
    /// The position of the block's first byte, counted from some start of long ago.
    position: u32,
    /// From which position on the start is moved up.
    wrap: u32,
    found: Matches,
}

/// What was found in a block.
#[derive(Default)]
pub(super) struct Matches {
    pub(super) sequences: Vec<Sequence>,
    /// How many literals come before, between and after the matches.
    literals: usize,
}

impl Matches {
    /// How many codes the block needs.
    pub(super) fn tokens(&self) -> usize {
        self.literals + self.sequences.len()
    }
}

/// Some literals, then a match.
#[derive(Clone, Copy)]
pub(super) struct Sequence {
    /// How many literals.
    pub(super) literals: u16,
    /// The length of the match, 4 to 258.
    pub(super) length: u16,
    /// One less than how far back the match lies.
    pub(super) distance: u16,
}

impl Matcher {
    #[expect(clippy::large_stack_arrays, reason = "goes to the heap at once")]
    pub(super) fn new() -> Self {
        Self {
            table: Box::new([0; 1 << TABLE_BITS]),
            position: FIRST,
            wrap: 1 << 30,
            found: Matches::default(),
        }
    }

    /// Looks through the block of `length` bytes in `window`. Blocks come one after the other, each
    /// but the last of [`BLOCK`] bytes, with the end of the one before as history.
    pub(super) fn find(&mut self, window: &[u8; WINDOW], length: usize) -> &Matches {
        if self.position >= self.wrap {
            self.move_start();
        }
        self.found.sequences.clear();
        self.found.literals = length;
        #[expect(clippy::cast_possible_truncation, reason = "a window is small")]
        let (start, end) = (HISTORY as u32, (HISTORY + length) as u32);
        if end > start + MARGIN {
            self.search(window, start, end);
        }
        self.position += end - start;
        &self.found
    }

    #[inline]
    fn search(&mut self, window: &[u8; WINDOW], start: u32, end: u32) {
        // What to add to an index into the window to have a position.
        let offset = self.position - start;
        let limit = end - MARGIN;
        let (mut at, mut emitted) = (start, start);
        let mut value = load32(window, at);
        loop {
            let (mut next, mut skip) = (at, 32);
            let mut distance;
            loop {
                at = next;
                let step = skip >> 5;
                next = at + step;
                skip += step;
                if next > limit {
                    return;
                }
                let following = load32(window, next);
                let candidate = self.replace(value, at + offset);
                distance = (at + offset).wrapping_sub(position(candidate));
                if four_bytes(candidate) == value && distance <= REACH {
                    break;
                }
                value = following;
            }
            loop {
                let longest = (end - at).min(MAX_MATCH);
                let length = match_length(window, at, at - distance, longest);
                self.push(at - emitted, length, distance);
                at += length;
                emitted = at;
                if at >= limit {
                    return;
                }
                let bytes = load64(window, at - 1);
                self.replace(low(bytes), at - 1 + offset);
                let candidate = self.replace(low(bytes >> 8), at + offset);
                distance = (at + offset).wrapping_sub(position(candidate));
                if four_bytes(candidate) != low(bytes >> 8) || distance > REACH {
                    value = low(bytes >> 16);
                    at += 1;
                    break;
                }
            }
        }
    }

    /// Notes `value` at `position`, and returns what was there by its hash.
    #[inline]
    fn replace(&mut self, value: u32, position: u32) -> u64 {
        let hash = value.wrapping_mul(0x1e35_a7bd) >> (u32::BITS - TABLE_BITS);
        let entry = u64::from(value) << 32 | u64::from(position);
        match self.table.get_mut(hash as usize) {
            Some(place) => std::mem::replace(place, entry),
            None => 0,
        }
    }

    #[inline]
    fn push(&mut self, literals: u32, length: u32, distance: u32) {
        self.found.literals -= length as usize;
        #[expect(clippy::cast_possible_truncation, reason = "a block is small")]
        self.found.sequences.push(Sequence {
            literals: literals as u16,
            length: length as u16,
            distance: (distance - 1) as u16,
        });
    }

    /// Sets from which position on the start is moved up.
    #[cfg(test)]
    pub(super) fn move_start_at(&mut self, position: u32) {
        self.wrap = position;
    }

    /// Keeps positions from overflowing. What is forgotten is too far back to match.
    fn move_start(&mut self) {
        let moved = self.position - FIRST;
        for entry in self.table.iter_mut() {
            let kept = position(*entry).saturating_sub(moved);
            *entry = u64::from(four_bytes(*entry)) << 32 | u64::from(kept);
        }
        self.position = FIRST;
    }
}

fn match_length(window: &[u8; WINDOW], at: u32, earlier: u32, longest: u32) -> u32 {
    let mut length = MIN_MATCH;
    while length < longest {
        let difference = load64(window, at + length) ^ load64(window, earlier + length);
        if difference != 0 {
            return (length + difference.trailing_zeros() / 8).min(longest);
        }
        length += 8;
    }
    longest
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
#[inline]
fn low(value: u64) -> u32 {
    value as u32
}

#[inline]
fn position(entry: u64) -> u32 {
    low(entry)
}

#[inline]
fn four_bytes(entry: u64) -> u32 {
    low(entry >> 32)
}

/// Within the window always; 0 beyond.
#[inline]
fn load32(window: &[u8; WINDOW], at: u32) -> u32 {
    let at = at as usize;
    match window.get(at..at + 4).and_then(<[u8]>::first_chunk) {
        Some(bytes) => u32::from_le_bytes(*bytes),
        None => 0,
    }
}

/// Within the window always; 0 beyond.
#[inline]
fn load64(window: &[u8; WINDOW], at: u32) -> u64 {
    let at = at as usize;
    match window.get(at..at + 8).and_then(<[u8]>::first_chunk) {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => 0,
    }
}
