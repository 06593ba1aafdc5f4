//! Writes a block: stored, without matches, or with codes of its own.

use super::bits::{BitWriter, Bits};
use super::huffman::{Huffman, MAX_SYMBOLS, Work};
use super::matches::Matches;
use super::symbols::{DISTANCES, FIRST_LENGTH, distance_extra_bits, length_symbol, low_bits};

const CODE_LENGTHS: usize = 19;
const END_OF_BLOCK: usize = 256;
const MAX_CODE_BITS: usize = 15;
/// RFC 1951, section 3.2.7: the order in which the lengths of the codes for code lengths stand.
const ORDER: [usize; CODE_LENGTHS] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];
/// Which of the next four codes are those of so many literals.
static MASKS: [[u32; 4]; 5] = {
    const ALL: u32 = u32::MAX;
    [
        [0, 0, 0, 0],
        [ALL, 0, 0, 0],
        [ALL, ALL, 0, 0],
        [ALL, ALL, ALL, 0],
        [ALL, ALL, ALL, ALL],
    ]
};

/// More bytes than the codes of a block take: a header of at most 320 code lengths, and of the
/// content at most 15 bits for each byte.
fn most_bytes(block: &[u8]) -> usize {
    1024 + 2 * block.len()
}

/// Writes `block` as it is.
pub(super) fn store(bits: &mut BitWriter, block: &[u8], last: bool) {
    let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
    bits.bits(1, |bits| bits.add(last.into(), 3));
    bits.bytes(&length.to_le_bytes());
    bits.bytes(&(!length).to_le_bytes());
    bits.bytes(block);
}

/// Writes deflate blocks.
pub(super) struct BlockEncoder {
    literals: Huffman<MAX_SYMBOLS>,
    distances: Huffman<DISTANCES>,
    code_lengths: Huffman<CODE_LENGTHS>,
    /// The code lengths of both alphabets, shortened: symbol, extra bits, and how many of those.
    runs: Vec<(u8, u16, u8)>,
    work: Work,
}

impl BlockEncoder {
    pub(super) fn new() -> Self {
        Self {
            literals: Huffman::new(),
            distances: Huffman::new(),
            code_lengths: Huffman::new(),
            runs: Vec::with_capacity(MAX_SYMBOLS + DISTANCES),
            work: Work::new(),
        }
    }

    /// Writes `block` without matches, or stores it.
    pub(super) fn literals(&mut self, bits: &mut BitWriter, block: &[u8]) {
        self.literals.counts = [0; MAX_SYMBOLS];
        count(&mut self.literals.counts, block);
        self.distances.counts = [0; DISTANCES];
        if self.prepare(block.len()) {
            bits.bits(most_bytes(block), |bits| {
                self.header(bits);
                write_literals(bits, &self.literals.packed(), block);
                self.end(bits);
            });
        } else {
            store(bits, block, false);
        }
    }

    /// Writes `block` with the matches that were found in it, or stores it.
    pub(super) fn matches(&mut self, bits: &mut BitWriter, block: &[u8], matches: &Matches) {
        self.literals.counts = [0; MAX_SYMBOLS];
        count(&mut self.literals.counts, matches.literals());
        for (length, count) in (0..=u8::MAX).zip(matches.lengths) {
            let symbol = FIRST_LENGTH + length_symbol(length).0;
            if let Some(total) = self.literals.counts.get_mut(symbol) {
                *total += count;
            }
        }
        self.distances.counts = matches.distances;
        if !self.prepare(block.len()) {
            store(bits, block, false);
            return;
        }
        bits.bits(most_bytes(block), |bits| {
            self.header(bits);
            self.sequences(bits, matches);
            self.end(bits);
        });
    }

    /// Writes literals and matches. `None` were a place outside of the block.
    #[inline]
    fn sequences(&self, bits: &mut Bits<'_>, matches: &Matches) -> Option<()> {
        let codes = self.literals.packed();
        let lengths = self.length_codes();
        let distances = self.distance_codes();
        let may_be_long = self.literals.lengths.contains(&15);
        let literals = matches.literals_and_more();
        let mut at = 0;
        for sequence in matches.sequences() {
            let mut run = usize::from(sequence.literals);
            // Mostly there are few literals, and what is not branched on cannot be predicted wrongly.
            loop {
                let four: &[u8; 4] = literals.get(at..at + 4)?.first_chunk()?;
                let masks = MASKS.get(run.min(4))?;
                let code = |(literal, mask): (&u8, &u32)| {
                    let code = codes.get(usize::from(*literal)).copied();
                    code.unwrap_or_default() & mask
                };
                let mut four = four.iter().zip(masks).map(code);
                let (code, count) = join(four.next()?, four.next()?);
                bits.add(code, count);
                if may_be_long {
                    bits.settle();
                }
                let (code, count) = join(four.next()?, four.next()?);
                bits.add(code, count);
                bits.settle();
                if run <= 4 {
                    at += run;
                    break;
                }
                at += 4;
                run -= 4;
            }
            let (code, count) = lengths.get(usize::from(sequence.length)).copied()?;
            bits.add(code.into(), count);
            let (code, count, extra_bits) = distances.get(usize::from(sequence.symbol)).copied()?;
            bits.add(code.into(), count);
            let extra = low_bits(sequence.distance.into(), extra_bits);
            bits.add(extra.into(), extra_bits);
            bits.settle();
        }
        write_literals(bits, &codes, matches.literals().get(at..)?);
        Some(())
    }

    /// Makes the codes for what was counted. Returns whether they are worth it for a block of
    /// `length` bytes; what the extra bits of matches cost does not count.
    fn prepare(&mut self, length: usize) -> bool {
        increment(&mut self.literals.counts, END_OF_BLOCK);
        if self.distances.used() == 0 {
            // There has to be a code, even if it is never used.
            increment(&mut self.distances.counts, 0);
        }
        self.literals.build(MAX_CODE_BITS, &mut self.work);
        self.distances.build(MAX_CODE_BITS, &mut self.work);
        self.shorten();
        self.code_lengths.build(7, &mut self.work);
        let extra: usize = self
            .runs
            .iter()
            .map(|(_, _, bits)| usize::from(*bits))
            .sum();
        let size = 17
            + 3 * self.code_length_codes()
            + self.code_lengths.size()
            + extra
            + self.literals.size()
            + self.distances.size();
        (length + 5) * 8 >= size + (size >> 4)
    }

    /// RFC 1951, section 3.2.7: shortens the code lengths of both alphabets, as if they were one.
    fn shorten(&mut self) {
        self.runs.clear();
        self.code_lengths.counts = [0; CODE_LENGTHS];
        let lengths = [
            self.literals.lengths.get(..self.literals.used()),
            self.distances.lengths.get(..self.distances.used()),
        ];
        let mut lengths = lengths.into_iter().flatten().flatten().copied().peekable();
        while let Some(length) = lengths.next() {
            let mut count: u16 = 1;
            let most = if length == 0 { 138 } else { u16::MAX };
            while count < most && lengths.next_if_eq(&length).is_some() {
                count += 1;
            }
            let counts = &mut self.code_lengths.counts;
            let mut push = |symbol: u8, extra, bits| {
                increment(counts, symbol.into());
                self.runs.push((symbol, extra, bits));
            };
            if length == 0 {
                match count {
                    11.. => push(18, count - 11, 7),
                    3.. => push(17, count - 3, 3),
                    _ => (0..count).for_each(|_| push(0, 0, 0)),
                }
            } else {
                push(length, 0, 0);
                count -= 1;
                while count >= 3 {
                    let repeated = count.min(6);
                    push(16, repeated - 3, 2);
                    count -= repeated;
                }
                (0..count).for_each(|_| push(length, 0, 0));
            }
        }
    }

    fn code_length_codes(&self) -> usize {
        let used = |symbol: &usize| self.code_lengths.counts.get(*symbol) > Some(&0);
        ORDER
            .iter()
            .rposition(used)
            .map_or(4, |last| (last + 1).max(4))
    }

    fn header(&self, bits: &mut Bits<'_>) {
        let code_length_codes = self.code_length_codes();
        bits.add(4, 3);
        bits.add(self.literals.used() as u64 - 257, 5);
        bits.add(self.distances.used() as u64 - 1, 5);
        bits.add(code_length_codes as u64 - 4, 4);
        bits.settle();
        for symbol in ORDER.iter().take(code_length_codes) {
            bits.add(self.code_lengths.code(*symbol).1.into(), 3);
            bits.settle();
        }
        for (symbol, extra, count) in &self.runs {
            let (code, length) = self.code_lengths.code((*symbol).into());
            bits.add(code.into(), length);
            bits.add((*extra).into(), (*count).into());
            bits.settle();
        }
    }

    fn end(&self, bits: &mut Bits<'_>) {
        let (code, length) = self.literals.code(END_OF_BLOCK);
        bits.add(code.into(), length);
        bits.settle();
    }

    /// The code of each length less 3 with its extra bits behind it, and how many bits that is.
    fn length_codes(&self) -> [(u32, u32); 256] {
        let mut codes = [(0, 0); 256];
        for (length, place) in (0..=u8::MAX).zip(&mut codes) {
            let (symbol, extra_bits, extra) = length_symbol(length);
            let (code, count) = self.literals.code(FIRST_LENGTH + symbol);
            *place = (code | extra << count, count + extra_bits);
        }
        codes
    }

    /// The code of each symbol of a distance, how many bits that is, and how many extra bits it has.
    fn distance_codes(&self) -> [(u32, u32, u32); DISTANCES] {
        let mut codes = [(0, 0, 0); DISTANCES];
        for (symbol, place) in (0..).zip(&mut codes) {
            let (code, count) = self.distances.code(symbol.into());
            *place = (code, count, distance_extra_bits(symbol));
        }
        codes
    }
}

impl<const SYMBOLS: usize> Huffman<SYMBOLS> {
    #[inline]
    fn code(&self, symbol: usize) -> (u32, u32) {
        match (self.codes.get(symbol), self.lengths.get(symbol)) {
            (Some(code), Some(length)) => ((*code).into(), (*length).into()),
            _ => (0, 0),
        }
    }
}

impl Huffman<MAX_SYMBOLS> {
    /// Of each literal: its code and, from bit 16 on, how long that is.
    fn packed(&self) -> [u32; 256] {
        let mut packed = [0; 256];
        let codes = self.codes.iter().zip(&self.lengths);
        for ((code, length), place) in codes.zip(&mut packed) {
            *place = u32::from(*code) | u32::from(*length) << 16;
        }
        packed
    }
}

#[inline]
fn write_literals(bits: &mut Bits<'_>, codes: &[u32; 256], literals: &[u8]) {
    let add = |bits: &mut Bits<'_>, literal: u8| {
        let packed = codes.get(usize::from(literal)).copied().unwrap_or_default();
        bits.add((packed & 0xffff).into(), packed >> 16);
    };
    for literal in literals {
        add(bits, *literal);
        bits.settle();
    }
}

/// Two packed codes as one, and how many bits that has.
#[inline]
fn join(one: u32, other: u32) -> (u64, u32) {
    let count = one >> 16;
    let code = u64::from(one & 0xffff) | u64::from(other & 0xffff) << count;
    (code, count + (other >> 16))
}

/// Counts in four tables: that two bytes next to each other are the same is common, and then one
/// would have to wait for the other.
fn count(counts: &mut [u32; MAX_SYMBOLS], bytes: &[u8]) {
    let mut tables = [[0; 256]; 4];
    let (fours, rest) = bytes.as_chunks::<4>();
    for four in fours {
        for (table, byte) in tables.iter_mut().zip(four) {
            increment(table, (*byte).into());
        }
    }
    for byte in rest {
        increment(counts, (*byte).into());
    }
    for table in tables {
        for (total, count) in counts.iter_mut().zip(table) {
            *total += count;
        }
    }
}

#[inline]
fn increment(counts: &mut [u32], symbol: usize) {
    if let Some(count) = counts.get_mut(symbol) {
        *count += 1;
    }
}
