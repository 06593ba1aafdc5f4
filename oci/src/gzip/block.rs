use super::bits::{BitWriter, Bits};
use super::huffman::{Huffman, MAX_SYMBOLS, Work};
use super::matcher::{Matches, Sequence};

const DISTANCES: usize = 30;
const CODE_LENGTHS: usize = 19;
const END_OF_BLOCK: usize = 256;
const MAX_CODE_BITS: usize = 15;
/// RFC 1951, section 3.2.7: the order in which the lengths of the codes for code lengths stand.
const ORDER: [usize; CODE_LENGTHS] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];
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
        self.distances.counts = [0; DISTANCES];
        let mut lengths = [0; 259];
        let mut rest = block;
        for sequence in &matches.sequences {
            let (literals, after) = sequence.split(rest);
            count(&mut self.literals.counts, literals);
            rest = after;
            increment(&mut lengths, sequence.length.into());
            increment(
                &mut self.distances.counts,
                distance_code(sequence.distance).0,
            );
        }
        count(&mut self.literals.counts, rest);
        for (length, count) in (0..).zip(lengths) {
            if let Some(total) = self.literals.counts.get_mut(length_code(length).0) {
                *total += count;
            }
        }
        if !self.prepare(block.len()) {
            store(bits, block, false);
            return;
        }
        bits.bits(most_bytes(block), |bits| {
            self.header(bits);
            let literal_codes = self.literals.packed();
            let lengths = self.with_extra_bits();
            let mut rest = block;
            for sequence in &matches.sequences {
                let (literals, after) = sequence.split(rest);
                write_literals(bits, &literal_codes, literals);
                rest = after;
                let (code, count) = lengths
                    .get(usize::from(sequence.length.wrapping_sub(3)) & 0xff)
                    .copied()
                    .unwrap_or_default();
                bits.add(code, count);
                let (code, extra_bits, extra) = distance_code(sequence.distance);
                let (code, count) = self.distances.code(code);
                bits.add(code, count);
                bits.add(extra.into(), extra_bits);
                bits.settle();
            }
            write_literals(bits, &literal_codes, rest);
            self.end(bits);
        });
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
            bits.add(code, length);
            bits.add((*extra).into(), (*count).into());
            bits.settle();
        }
    }

    fn end(&self, bits: &mut Bits<'_>) {
        let (code, length) = self.literals.code(END_OF_BLOCK);
        bits.add(code, length);
        bits.settle();
    }
    /// The code of each length, less 3, with its extra bits behind it; and how many bits that is.
    fn with_extra_bits(&self) -> [(u64, u32); 256] {
        let mut codes = [(0, 0); 256];
        for (length, place) in (3..).zip(&mut codes) {
            let (symbol, extra_bits, extra) = length_code(length);
            let (code, count) = self.literals.code(symbol);
            *place = (code | u64::from(extra) << count, count + extra_bits);
        }
        codes
    }
}

impl<const SYMBOLS: usize> Huffman<SYMBOLS> {
    #[inline]
    fn code(&self, symbol: usize) -> (u64, u32) {
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

impl Sequence {
    /// The literals, and what comes after literals and match.
    #[inline]
    fn split(self, rest: &[u8]) -> (&[u8], &[u8]) {
        let (literals, rest) = rest
            .split_at_checked(self.literals.into())
            .unwrap_or_default();
        (literals, rest.get(self.length.into()..).unwrap_or_default())
    }
}

fn count(counts: &mut [u32; MAX_SYMBOLS], bytes: &[u8]) {
    for byte in bytes {
        increment(counts, (*byte).into());
    }
}

#[inline]
fn increment(counts: &mut [u32], symbol: usize) {
    if let Some(count) = counts.get_mut(symbol) {
        *count += 1;
    }
}

/// RFC 1951, section 3.2.5: the symbol of a match's length, how many extra bits it has, and these.
#[inline]
fn length_code(length: u16) -> (usize, u32, u16) {
    let length = length.saturating_sub(3);
    let (code, extra_bits, extra) = match length {
        0..8 => (length.into(), 0, 0),
        255.. => (28, 0, 0),
        _ => {
            let extra_bits = length.ilog2() - 2;
            let upper = u32::from(length >> extra_bits);
            let extra = length & ((1 << extra_bits) - 1);
            (4 * extra_bits + upper, extra_bits, extra)
        }
    };
    (END_OF_BLOCK + 1 + code as usize, extra_bits, extra)
}

/// The same of a distance, less 1.
#[inline]
fn distance_code(distance: u16) -> (usize, u32, u16) {
    let extra_bits = (distance | 2).ilog2() - 1;
    let upper = u32::from(distance >> extra_bits);
    let extra = distance & ((1 << extra_bits) - 1);
    ((2 * extra_bits + upper) as usize, extra_bits, extra)
}
