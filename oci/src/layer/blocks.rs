//! Compression on all cores: the input is cut into blocks of one size, each of which is compressed
//! by itself. So the output depends on the input alone, however many threads there are.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::panic::resume_unwind;
use std::thread::{self, JoinHandle};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// How blocks are compressed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Codec {
    /// Each to deflate blocks that end at a byte; together they are one gzip member.
    Gzip { level: u32 },
    /// Each to a zstd frame.
    Zstd { level: i32 },
}

impl Codec {
    const fn block_size(self) -> usize {
        match self {
            Self::Gzip { .. } => 1 << 20,
            Self::Zstd { .. } => 4 << 20,
        }
    }

    fn compress(self, block: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip { level } => deflate(block, level, FlushCompress::Sync),
            Self::Zstd { level } => zstd::bulk::compress(block, level),
        }
    }
}

/// Compresses all chunks, in order, to `output`.
pub(super) fn compress_blocks(
    codec: Codec,
    chunks: impl IntoIterator<Item: AsRef<[u8]>>,
    output: &mut impl Write,
) -> io::Result<()> {
    let mut blocks = Blocks {
        codec,
        output,
        running: VecDeque::new(),
        limit: thread::available_parallelism().map_or(1, usize::from),
    };
    let mut crc = Crc::new();
    if let Codec::Gzip { level } = codec {
        let speed = match level {
            0 | 1 => 4,
            9.. => 2,
            _ => 0,
        };
        blocks
            .output
            .write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, speed, 0xff])?;
    }
    let mut block = Vec::with_capacity(codec.block_size());
    let mut empty = true;
    for chunk in chunks {
        let mut rest = chunk.as_ref();
        while !rest.is_empty() {
            let room = codec.block_size() - block.len();
            let (taken, left) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            block.extend_from_slice(taken);
            rest = left;
            if block.len() == codec.block_size() {
                crc.update(&block);
                let full = mem::replace(&mut block, Vec::with_capacity(codec.block_size()));
                blocks.start(full)?;
                empty = false;
            }
        }
    }
    if !block.is_empty() || empty {
        crc.update(&block);
        blocks.start(block)?;
    }
    blocks.finish()?;
    if let Codec::Gzip { level } = codec {
        output.write_all(&deflate(&[], level, FlushCompress::Finish)?)?;
        output.write_all(&crc.sum().to_le_bytes())?;
        output.write_all(&crc.amount().to_le_bytes())?;
    }
    Ok(())
}

/// The blocks that are being compressed, in order.
struct Blocks<'a, W> {
    codec: Codec,
    output: &'a mut W,
    running: VecDeque<JoinHandle<io::Result<Vec<u8>>>>,
    limit: usize,
}

impl<W: Write> Blocks<'_, W> {
    fn start(&mut self, block: Vec<u8>) -> io::Result<()> {
        if self.running.len() >= self.limit {
            self.write_first()?;
        }
        let codec = self.codec;
        let running = thread::Builder::new().spawn(move || codec.compress(&block))?;
        self.running.push_back(running);
        Ok(())
    }

    fn write_first(&mut self) -> io::Result<()> {
        let Some(first) = self.running.pop_front() else {
            return Ok(());
        };
        let compressed = first.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        self.output.write_all(&compressed)
    }

    fn finish(mut self) -> io::Result<()> {
        while !self.running.is_empty() {
            self.write_first()?;
        }
        Ok(())
    }
}

fn deflate(block: &[u8], level: u32, flush: FlushCompress) -> io::Result<Vec<u8>> {
    let mut state = Compress::new(Compression::new(level.min(9)), false);
    let mut output = Vec::with_capacity(block.len() / 2 + 64);
    loop {
        let taken = usize::try_from(state.total_in()).map_err(io::Error::other)?;
        let rest = block.get(taken..).unwrap_or_default();
        let status = state
            .compress_vec(rest, &mut output, flush)
            .map_err(io::Error::other)?;
        // Room that is left means that all was flushed.
        if status == Status::StreamEnd || output.len() < output.capacity() {
            return Ok(output);
        }
        output.reserve(output.len().max(64));
    }
}
