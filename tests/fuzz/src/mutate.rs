//! Bytes near known ones, from a seed: the same seed makes the same bytes.

/// `SplitMix64`: small, and good enough to choose places.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins anew.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = usize::try_from((mixed ^ (mixed >> 31)) >> 16).unwrap_or(0);
        number.checked_rem(end).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or(0)
    }
}

/// One of `inputs`, changed in a few places: bytes, runs of bytes, `words`, parts of others.
pub fn mutate(random: &mut Random, inputs: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let some = |random: &mut Random| inputs.get(random.below(inputs.len()));
    let mut bytes = some(random).cloned().unwrap_or_default();
    for _ in 0..=random.below(5) {
        let start = random.below(bytes.len() + 1);
        let end = start + random.below((bytes.len() - start).min(32) + 1);
        match random.below(7) {
            0 => drop(bytes.drain(start..end)),
            1 => {
                let run = bytes.get(start..end).unwrap_or_default().to_vec();
                let at = random.below(bytes.len() + 1);
                bytes.splice(at..at, run);
            }
            2 => bytes.insert(start, random.byte()),
            3 | 4 => {
                let (flip, set) = (random.below(2) == 0, random.byte());
                if let Some(byte) = bytes.get_mut(start) {
                    *byte = if flip { *byte ^ (1 << (set % 8)) } else { set };
                }
            }
            5 => {
                let word = words.get(random.below(words.len())).copied();
                let over = if random.below(2) == 0 { start } else { end };
                bytes.splice(start..over, word.unwrap_or_default().bytes());
            }
            _ => {
                let other = some(random).map(Vec::as_slice).unwrap_or_default();
                let from = random.below(other.len() + 1);
                let to = from + random.below(other.len() - from + 1);
                bytes.splice(
                    start..end,
                    other.get(from..to).unwrap_or_default().iter().copied(),
                );
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Longer input tells nothing new.
const LONGEST: usize = 16 << 10;
