use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::sizes::{BLOCK, PORTION};
use super::*;

#[test]
fn equals_what_go_wrote() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/go-gzip1");
    let mut count = 0;
    for file in fs_err::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "gz") {
            continue;
        }
        let expected = fs_err::read(&file).unwrap();
        let mut content = Vec::new();
        flate2::read::GzDecoder::new(expected.as_slice())
            .read_to_end(&mut content)
            .unwrap();
        assert!(
            one_thread(&content, usize::MAX) == expected,
            "{}",
            file.display()
        );
        assert!(one_thread(&content, 1000) == expected, "{}", file.display());
        count += 1;
    }
    assert_eq!(count, 72);
}

/// Reads contents, each after its length, and writes what becomes of them in the same way.
const GO: &str = r#"
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
)

func main() {
	for {
		var length uint64
		if binary.Read(os.Stdin, binary.LittleEndian, &length) != nil {
			return
		}
		var output bytes.Buffer
		writer, _ := gzip.NewWriterLevel(&output, gzip.BestSpeed)
		io.CopyN(writer, os.Stdin, int64(length))
		writer.Close()
		binary.Write(os.Stdout, binary.LittleEndian, uint64(output.Len()))
		os.Stdout.Write(output.Bytes())
	}
}
"#;

#[test]
fn equals_what_go_writes() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("main.go");
    fs_err::write(&source, GO).unwrap();
    let spawned = Command::new("go")
        .arg("run")
        .arg(&source)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut go) = spawned else {
        eprintln!("SKIPPED: there is no `go` here to compare with");
        return;
    };
    let mut random = Random(7);
    let contents: Vec<Vec<u8>> = (0..10_000).map(|_| random.content()).collect();
    let (mut input, mut output) = (go.stdin.take().unwrap(), go.stdout.take().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| {
            for content in &contents {
                input
                    .write_all(&(content.len() as u64).to_le_bytes())
                    .unwrap();
                input.write_all(content).unwrap();
            }
            drop(input);
        });
        for (index, content) in contents.iter().enumerate() {
            let mut length = [0; 8];
            output.read_exact(&mut length).unwrap();
            let mut expected = vec![0; usize::try_from(u64::from_le_bytes(length)).unwrap()];
            output.read_exact(&mut expected).unwrap();
            assert!(
                one_thread(content, usize::MAX) == expected,
                "content {index}"
            );
        }
    });
    assert!(go.wait().unwrap().success());
}

#[test]
fn two_threads_make_the_same_bytes() {
    let mut random = Random(3);
    let text: Vec<u8> = (0..200).flat_map(|_| random.content()).collect();
    assert!(text.len() > 3 * PORTION);
    for length in [0, 1, BLOCK, PORTION - 1, PORTION, PORTION + 1, text.len()] {
        let content = &text[..length];
        let expected = one_thread(content, usize::MAX);
        for at_once in [10_000, PORTION, usize::MAX] {
            let chunks = content.chunks(at_once).map(<[u8]>::to_vec);
            let mut output = Vec::new();
            compress_on_two_threads(chunks, &mut output).unwrap();
            assert!(output == expected, "{length} bytes, {at_once} at once");
        }
    }
}

#[test]
fn when_writing_fails_nothing_more_is_read() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let endless = std::iter::repeat_with(|| vec![0; PORTION]);
    let error = compress_on_two_threads(endless, &mut Full).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
#[should_panic(expected = "the source fails")]
fn a_panic_passes_through() {
    let chunks = std::iter::once_with(|| -> Vec<u8> { panic!("the source fails") });
    compress_on_two_threads(chunks, &mut io::sink()).unwrap();
}

/// Seven literals and the end of the block occur once, the others 8, 16, … times: rare ones have
/// codes of 15 bits, and four of them stand side by side.
#[test]
fn the_longest_codes_fit() {
    let common = (3..15).filter(|bits| *bits != 12);
    let common = common.flat_map(|bits| std::iter::repeat_n(bits + 100, 1 << bits));
    let literals: Vec<u8> = (0..7).chain(common).collect();
    // Where in a byte the rare ones begin is left to chance.
    for shift in 0..16 {
        let mut content = vec![114; 5 + shift];
        let mut ends = Vec::new();
        for run in literals.chunks(7) {
            content.extend(run);
            ends.push(content.len());
            content.extend_from_within(content.len() - 5..content.len() - 1);
        }
        let mut portion = Portion::new();
        assert_eq!(portion.fill(&content), content.len());
        let (window, mut blocks) = portion.search();
        let (block, found) = blocks.next().unwrap();
        let mut start = block.start;
        for end in ends.iter().map(|end| block.start + end) {
            let literals = (u32::try_from(start).unwrap(), u32::try_from(end).unwrap());
            found.push(window, literals, 4, 5).unwrap();
            start = end + 4;
        }
        drop(blocks);
        let (mut encoder, mut output, mut decoded) = (Encoder::new(), Vec::new(), Vec::new());
        encoder.encode(&portion);
        encoder.finish(&mut output).unwrap();
        let mut decoder = flate2::read::GzDecoder::new(output.as_slice());
        decoder.read_to_end(&mut decoded).unwrap();
        assert!(decoded == content, "{shift}");
    }
}

fn one_thread(content: &[u8], at_once: usize) -> Vec<u8> {
    let mut writer = GoGzipWriter::new(Vec::new());
    for chunk in content.chunks(at_once) {
        writer.write_all(chunk).unwrap();
    }
    writer.finish().unwrap()
}

/// The same numbers each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end
    }

    /// Mostly short, of noise, runs, few letters, and repetitions from far and near.
    fn content(&mut self) -> Vec<u8> {
        let most = match self.below(100) {
            0 => 4 * PORTION,
            1..10 => 70_000,
            _ => 2_000,
        };
        let length = self.below(most);
        let letters = 1 + self.below(256);
        let repeats = self.below(8);
        let mut content: Vec<u8> = Vec::new();
        while content.len() < length {
            let count = 1 + self.below(300);
            if self.below(8) < repeats && !content.is_empty() {
                let back = 1 + self.below(content.len().min(40_000));
                for _ in 0..count {
                    content.push(content[content.len() - back]);
                }
            } else {
                let count = 1 + count / (1 + self.below(40));
                content.extend((0..count).map(|_| u8::try_from(self.below(letters)).unwrap()));
            }
        }
        content.truncate(length);
        content
    }
}
