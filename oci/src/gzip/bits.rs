use std::io::{self, Write};

/// Packs bits into bytes, the first one lowest.
pub(super) struct BitWriter {
    /// What is done, and behind it room.
    buffer: Vec<u8>,
    /// How much of the buffer is done.
    done: usize,
    /// The last bits that are not done.
    pending: u64,
    /// How many those are.
    count: u32,
}

impl BitWriter {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; 96 << 10],
            done: 0,
            pending: 0,
            count: 0,
        }
    }

    /// Adds the lowest `count` bits of `bits`; the others are 0. At most 56 between two calls of
    /// [`settle`](Self::settle).
    #[inline]
    pub(super) fn add(&mut self, bits: u64, count: u32) {
        self.pending |= bits << self.count;
        self.count += count;
    }

    /// Moves all whole bytes out of the pending bits.
    #[inline]
    pub(super) fn settle(&mut self) {
        if let Some(room) = self
            .buffer
            .get_mut(self.done..)
            .and_then(<[u8]>::first_chunk_mut)
        {
            *room = self.pending.to_le_bytes();
            self.done += (self.count / 8) as usize;
            self.pending >>= self.count & !7;
            self.count &= 7;
        } else {
            self.grow();
            self.settle();
        }
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
        self.settle();
    }

    /// Adds whole bytes, after [`align`](Self::align).
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.align();
        let end = self.done + bytes.len();
        while self.buffer.len() < end {
            self.grow();
        }
        if let Some(room) = self.buffer.get_mut(self.done..end) {
            room.copy_from_slice(bytes);
        }
        self.done = end;
    }

    /// Writes all whole bytes to `output`.
    pub(super) fn drain(&mut self, output: &mut impl Write) -> io::Result<()> {
        self.settle();
        output.write_all(self.buffer.get(..self.done).unwrap_or_default())?;
        self.done = 0;
        Ok(())
    }

    #[cold]
    fn grow(&mut self) {
        self.buffer.resize(self.buffer.len() * 2, 0);
    }
}
