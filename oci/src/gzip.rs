//! Gzip, byte for byte as Go's `compress/gzip` writes it at level 1.
//!
//! Deflate leaves every compressor free to choose matches, block bounds and code lengths. The tools
//! around buildpacks are written in Go and compress layers with Go's fastest level, so two of them
//! agree on a layer's digest only because they choose alike. What is chosen here:
//!
//! | part | rule |
//! |---|---|
//! | header | no name, no time, XFL 4 (fastest), OS 255 (unknown) |
//! | blocks | 65,535 bytes of input each; how it was written does not matter |
//! | matches | one candidate for each place, found by a hash of four bytes; after 32 places without a match only every other one is looked at, and so on |
//! | a block that loses less than 1/16 of its tokens to matches | is coded without matches |
//! | codes | optimal up to 15 bits, and for each block its own |
//! | a block that loses less than about 1/16 of its size | is stored |
//! | the last bytes | up to 16 are stored, up to 127 are coded without matches |
//! | end | an empty stored block |

mod bits;
mod block;
mod huffman;
mod matcher;

use std::fmt;
use std::io::{self, Write};

use flate2::Crc;

use self::bits::BitWriter;
use self::block::{BlockEncoder, store};
use self::matcher::{BLOCK, HISTORY, Matcher, WINDOW};

/// Compresses what is written to it. Without [`finish`](Self::finish) the output has no end.
pub struct GoGzipWriter<W> {
    inner: W,
    bits: BitWriter,
    crc: Crc,
    /// What matches may reach back to, then the block that is being filled.
    window: Box<[u8; WINDOW]>,
    /// How much of the block is filled.
    filled: usize,
    matcher: Matcher,
    encoder: BlockEncoder,
}

impl<W: Write> GoGzipWriter<W> {
    /// Starts a gzip stream.
    #[expect(clippy::large_stack_arrays, reason = "goes to the heap at once")]
    pub fn new(inner: W) -> Self {
        let mut bits = BitWriter::new();
        bits.bytes(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 0xff]);
        Self {
            inner,
            bits,
            crc: Crc::new(),
            window: Box::new([0; WINDOW]),
            filled: 0,
            matcher: Matcher::new(),
            encoder: BlockEncoder::new(),
        }
    }

    /// Writes what is left, and the end. Gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.encode();
        store(&mut self.bits, &[], true);
        self.bits.bytes(&self.crc.sum().to_le_bytes());
        self.bits.bytes(&self.crc.amount().to_le_bytes());
        self.bits.drain(&mut self.inner)?;
        Ok(self.inner)
    }

    fn encode(&mut self) {
        let filled = self.filled;
        self.filled = 0;
        let block = self
            .window
            .get(HISTORY..HISTORY + filled)
            .unwrap_or_default();
        match filled {
            0 => {}
            1..=16 => store(&mut self.bits, block, false),
            17..=127 => self.encoder.literals(&mut self.bits, block),
            _ => {
                let matches = self.matcher.find(&self.window, filled);
                if matches.tokens() > filled - (filled >> 4) {
                    self.encoder.literals(&mut self.bits, block);
                } else {
                    self.encoder.matches(&mut self.bits, block, matches);
                }
                self.window.copy_within(filled..HISTORY + filled, 0);
            }
        }
    }
}

impl<W: Write> Write for GoGzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.filled == BLOCK {
            self.encode();
            self.bits.drain(&mut self.inner)?;
        }
        let taken = bytes.get(..BLOCK - self.filled).unwrap_or(bytes);
        let start = HISTORY + self.filled;
        if let Some(room) = self.window.get_mut(start..start + taken.len()) {
            room.copy_from_slice(taken);
        }
        self.filled += taken.len();
        self.crc.update(taken);
        Ok(taken.len())
    }

    /// Does nothing: how the input is cut into blocks must not depend on who flushes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W> fmt::Debug for GoGzipWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoGzipWriter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
