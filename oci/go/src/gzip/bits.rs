//! Packs bits into bytes.

use std::io::{self, Write};

/// Packs bits into bytes, the first one lowest.
pub(super) struct BitWriter {
    /// What is done, and behind it room.
    buffer: Vec<u8>,
    state: State,
}

/// Apart from the buffer, so that a loop can have it in registers.
#[derive(Clone, Copy)]
struct State {
    /// How much of the buffer is done. Being less than a `usize` spares a check for overflow.
    done: u32,
    /// The last bits that are not done.
    pending: u64,
    /// How many those are.
    count: u32,
}

impl BitWriter {
    pub(super) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            state: State {
                done: 0,
                pending: 0,
                count: 0,
            },
        }
    }

    /// Lets `add` add bits, of which there are at most eight times `most`.
    #[inline]
    pub(super) fn bits(&mut self, most: usize, add: impl FnOnce(&mut Bits<'_>)) {
        let needed = self.state.done as usize + most + 2 * size_of::<u64>();
        if self.buffer.len() < needed {
            self.buffer.resize(needed, 0);
        }
        let mut bits = Bits {
            buffer: &mut self.buffer,
            state: self.state,
        };
        add(&mut bits);
        bits.settle();
        self.state = bits.state;
    }

    /// Adds whole bytes, after as many bits of zero as the last byte lacks.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.bits(bytes.len() + 1, |bits| {
            bits.state.count = bits.state.count.next_multiple_of(8);
            bits.settle();
            let room = bits.buffer.get_mut(bits.state.done as usize..);
            if let Some(room) = room.and_then(|room| room.get_mut(..bytes.len())) {
                room.copy_from_slice(bytes);
                #[expect(clippy::cast_possible_truncation, reason = "a block is small")]
                let count = bytes.len() as u32;
                bits.state.done += count;
            }
        });
    }

    /// Writes all whole bytes to `output`.
    pub(super) fn drain(&mut self, output: &mut impl Write) -> io::Result<()> {
        let done = self.buffer.get(..self.state.done as usize);
        output.write_all(done.unwrap_or_default())?;
        self.state.done = 0;
        Ok(())
    }
}

/// Adds bits to a [`BitWriter`].
pub(super) struct Bits<'a> {
    buffer: &'a mut [u8],
    state: State,
}

impl Bits<'_> {
    /// Adds the lowest `count` bits of `bits`; the others are 0. At most 56 between two calls of
    /// [`settle`](Self::settle).
    #[inline]
    pub(super) fn add(&mut self, bits: u64, count: u32) {
        self.state.pending |= bits << self.state.count;
        self.state.count += count;
    }

    /// Moves all whole bytes out of the pending bits.
    #[inline]
    pub(super) fn settle(&mut self) {
        let State {
            done,
            pending,
            count,
        } = &mut self.state;
        let start = *done as usize;
        if let Some(room) = self.buffer.get_mut(start..start + size_of::<u64>()) {
            room.copy_from_slice(&pending.to_le_bytes());
        }
        *done += *count / 8;
        *pending >>= *count & !7;
        *count &= 7;
    }
}
