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
//!
//! Two parts do the work: the `Matcher` finds matches in a `Portion` of the input, the
//! `Encoder` makes codes for what was found and writes them. They share nothing else, so each may
//! have a thread of its own ([`compress`]); the bytes are the same.

mod bits;
mod block;
mod huffman;
mod matcher;
mod matches;
mod portion;
mod sizes;
mod symbols;

use std::fmt;
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use flate2::Crc;

use self::bits::BitWriter;
use self::block::{BlockEncoder, store};
use self::matcher::Matcher;
use self::portion::Portion;

/// Compresses all `chunks` to `output`, on two threads where there are two cores. A few megabytes are
/// in memory at a time. Between chunks there is nothing: how the input is cut does not matter.
pub fn compress(
    chunks: impl IntoIterator<Item: AsRef<[u8]>>,
    output: &mut (impl Write + Send),
) -> io::Result<()> {
    if thread::available_parallelism().is_ok_and(|it| it.get() > 1) {
        return compress_on_two_threads(chunks, output);
    }
    let mut writer = GoGzipWriter::new(output);
    for chunk in chunks {
        writer.write_all(chunk.as_ref())?;
    }
    writer.finish().map(drop)
}

fn compress_on_two_threads(
    chunks: impl IntoIterator<Item: AsRef<[u8]>>,
    output: &mut (impl Write + Send),
) -> io::Result<()> {
    let (sender, receiver) = sync_channel(1);
    let (used_sender, used) = channel();
    thread::scope(|scope| {
        let encode = move || {
            let mut encoder = Encoder::new();
            for portion in receiver {
                encoder.encode(&portion);
                encoder.drain(output)?;
                // When the input has ended, nobody wants it back.
                used_sender.send(portion).unwrap_or_default();
            }
            encoder.finish(output)
        };
        let encoding = thread::Builder::new().spawn_scoped(scope, encode)?;
        find(chunks, &sender, &used);
        drop(sender);
        encoding.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Sends what is found in all chunks, until nobody wants it: then writing has failed.
fn find(
    chunks: impl IntoIterator<Item: AsRef<[u8]>>,
    found: &SyncSender<Portion>,
    used: &Receiver<Portion>,
) {
    let mut matcher = Matcher::new();
    let mut portion = Portion::new();
    for chunk in chunks {
        let mut rest = chunk.as_ref();
        while !rest.is_empty() {
            if portion.is_full() {
                matcher.find(&mut portion);
                matcher.begin_next();
                let mut next = used.try_recv().unwrap_or_else(|_none| Portion::new());
                next.begin_after(&portion);
                if found.send(portion).is_err() {
                    return;
                }
                portion = next;
            }
            let taken = portion.fill(rest);
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
    matcher.find(&mut portion);
    // If it cannot be sent, the encoder knows why.
    found.send(portion).unwrap_or_default();
}

/// Compresses what is written to it, on the thread that writes. Without [`finish`](Self::finish) the
/// output has no end.
pub struct GoGzipWriter<W> {
    inner: W,
    portion: Portion,
    matcher: Matcher,
    encoder: Encoder,
}

impl<W: Write> GoGzipWriter<W> {
    /// Starts a gzip stream.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            portion: Portion::new(),
            matcher: Matcher::new(),
            encoder: Encoder::new(),
        }
    }

    /// Writes what is left, and the end. Gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.encode()?;
        self.encoder.finish(&mut self.inner)?;
        Ok(self.inner)
    }

    fn encode(&mut self) -> io::Result<()> {
        self.matcher.find(&mut self.portion);
        self.encoder.encode(&self.portion);
        self.encoder.drain(&mut self.inner)
    }
}

impl<W: Write> Write for GoGzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.portion.is_full() {
            self.encode()?;
            self.matcher.begin_next();
            self.portion.begin_next();
        }
        Ok(self.portion.fill(bytes))
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

/// Makes a gzip stream of what was found.
struct Encoder {
    bits: BitWriter,
    blocks: BlockEncoder,
    crc: Crc,
}

impl Encoder {
    fn new() -> Self {
        let mut bits = BitWriter::new();
        bits.bytes(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 0xff]);
        Self {
            bits,
            blocks: BlockEncoder::new(),
            crc: Crc::new(),
        }
    }

    fn encode(&mut self, portion: &Portion) {
        for (block, matches) in portion.blocks() {
            self.crc.update(block);
            match block.len() {
                0..=16 => store(&mut self.bits, block, false),
                17..=127 => self.blocks.literals(&mut self.bits, block),
                length if matches.tokens() > length - (length >> 4) => {
                    self.blocks.literals(&mut self.bits, block);
                }
                _ => self.blocks.matches(&mut self.bits, block, matches),
            }
        }
    }

    fn drain(&mut self, output: &mut impl Write) -> io::Result<()> {
        self.bits.drain(output)
    }

    fn finish(mut self, output: &mut impl Write) -> io::Result<()> {
        store(&mut self.bits, &[], true);
        self.bits.bytes(&self.crc.sum().to_le_bytes());
        self.bits.bytes(&self.crc.amount().to_le_bytes());
        self.drain(output)
    }
}

#[cfg(test)]
mod tests;
