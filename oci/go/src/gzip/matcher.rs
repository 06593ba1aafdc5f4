//! Finds matches, where Go's `compress/flate` finds them.

use std::mem;
use std::ops::Range;

use super::matches::Matches;
use super::portion::Portion;
use super::sizes::{PORTION, WINDOW};

/// How far back a match may reach.
const REACH: u32 = 32_768;
const MAX_MATCH: u32 = 258;
/// Where a block ends for the search: so many bytes at its end start no match.
const MARGIN: u32 = 15;
const HASH_BITS: u32 = 14;
/// How much of an entry is the tag.
const TAG_BITS: u32 = 13;

/// Finds repetitions within a block, and between it and the block before.
pub(super) struct Matcher {
    /// By 14 bits of the hash of four bytes: where those were seen last. The upper 19 bits of an
    /// entry are the place in the window, the lower 13 a tag: more bits of the hash, to tell most of
    /// those apart that share an entry. 0 is out of reach of everything.
    table: Box<[u32; 1 << HASH_BITS]>,
}

impl Matcher {
    #[expect(clippy::large_stack_arrays, reason = "goes to the heap at once")]
    pub(super) fn new() -> Self {
        Self {
            table: Box::new([0; 1 << HASH_BITS]),
        }
    }

    /// Looks through `portion`.
    pub(super) fn find(&mut self, portion: &mut Portion) {
        let (window, blocks) = portion.search();
        for (block, found) in blocks {
            self.find_in(window, &block, found);
        }
    }

    /// Begins the next portion: what was seen lies further back in its window, or before it.
    pub(super) fn begin_next(&mut self) {
        #[expect(clippy::cast_possible_truncation, reason = "a window is small")]
        const DISTANCE: u32 = (PORTION as u32) << TAG_BITS;
        for entry in self.table.iter_mut() {
            *entry = entry.saturating_sub(DISTANCE);
        }
    }

    fn find_in(&mut self, window: &[u8; WINDOW], block: &Range<usize>, found: &mut Matches) {
        #[expect(clippy::cast_possible_truncation, reason = "a window is small")]
        let (start, end) = (block.start as u32, block.end as u32);
        found.clear();
        let mut emitted = start;
        if end > start + MARGIN {
            self.search(window, (start, end), found, &mut emitted);
        }
        found.push_literals(window, (emitted, end));
    }

    /// Returns at the end of the block. What is before `emitted` is among what was found.
    #[inline]
    fn search(
        &mut self,
        window: &[u8; WINDOW],
        (start, end): (u32, u32),
        found: &mut Matches,
        emitted: &mut u32,
    ) -> Option<()> {
        let limit = end - MARGIN;
        let mut at = start;
        let mut value = load32(window, at)?;
        loop {
            let (mut next, mut skip) = (at, 32);
            let (mut distance, mut difference);
            loop {
                at = next;
                let step = skip >> 5;
                next = at + step;
                skip += step;
                if next > limit {
                    return None;
                }
                let following = load32(window, next)?;
                distance = self.replace(value, at);
                if distance <= REACH {
                    difference = compare(window, at, at - distance)?;
                    if low(difference) == 0 {
                        break;
                    }
                }
                value = following;
            }
            loop {
                let length = if difference == 0 {
                    let longest = (end - at).min(MAX_MATCH);
                    match_length(window, at, at - distance, longest)?
                } else {
                    difference.trailing_zeros() / 8
                };
                found.push(window, (*emitted, at), length, distance)?;
                at += length;
                *emitted = at;
                if at >= limit {
                    return None;
                }
                let bytes = load64(window, at - 1)?;
                self.replace(low(bytes), at - 1);
                distance = self.replace(low(bytes >> 8), at);
                if distance <= REACH {
                    difference = compare(window, at, at - distance)?;
                    if low(difference) == 0 {
                        continue;
                    }
                }
                value = low(bytes >> 16);
                at += 1;
                break;
            }
        }
    }

    /// Notes that `value` is at `at`. Returns how far back it was seen last, as far as the tag tells;
    /// if it was not, more than [`REACH`].
    #[inline]
    fn replace(&mut self, value: u32, at: u32) -> u32 {
        let hash = value.wrapping_mul(0x1e35_a7bd);
        let tag = hash << HASH_BITS >> (u32::BITS - TAG_BITS);
        let entry = at << TAG_BITS | tag;
        let index = hash >> (u32::BITS - HASH_BITS);
        let Some(place) = self.table.get_mut(index as usize) else {
            return u32::MAX;
        };
        // If the tags differ, so do the lowest bits, and then the highest are not 0.
        let difference = entry.wrapping_sub(mem::replace(place, entry));
        difference.rotate_right(TAG_BITS)
    }
}

/// The length of a match of at least 8 bytes.
#[inline]
fn match_length(window: &[u8; WINDOW], at: u32, earlier: u32, longest: u32) -> Option<u32> {
    let mut length = 8;
    while length < longest {
        let difference = compare(window, at + length, earlier + length)?;
        if difference != 0 {
            return Some((length + difference.trailing_zeros() / 8).min(longest));
        }
        length += 8;
    }
    Some(longest)
}

/// Eight bytes, each of which is 0 if it is the same in both places.
#[inline]
fn compare(window: &[u8; WINDOW], one: u32, other: u32) -> Option<u64> {
    Some(load64(window, one)? ^ load64(window, other)?)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
#[inline]
fn low(value: u64) -> u32 {
    value as u32
}

#[inline]
fn load32(window: &[u8; WINDOW], at: u32) -> Option<u32> {
    let at = at as usize;
    let bytes = window.get(at..at + 4)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

#[inline]
fn load64(window: &[u8; WINDOW], at: u32) -> Option<u64> {
    let at = at as usize;
    let bytes = window.get(at..at + 8)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::super::sizes::HISTORY;
    use super::*;

    #[test]
    fn what_is_seen_moves_back_with_the_window_and_is_forgotten() {
        let [first, end, portion] =
            [HISTORY, HISTORY + PORTION, PORTION].map(|it| u32::try_from(it).unwrap());
        for seen in (first..end).step_by(10_000) {
            for at in (first..end).step_by(10_000) {
                let mut matcher = Matcher::new();
                matcher.replace(7, seen);
                matcher.begin_next();
                let distance = matcher.replace(7, at);
                if at + portion - seen <= REACH {
                    assert_eq!(distance, at + portion - seen);
                } else {
                    assert!(distance > REACH);
                }
                let mut matcher = Matcher::new();
                matcher.replace(7, seen);
                matcher.begin_next();
                matcher.begin_next();
                assert!(matcher.replace(7, at) > REACH);
            }
        }
    }
}
