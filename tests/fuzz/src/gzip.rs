//! Our gzip: unpacks to what was packed, and does not depend on how it was written.

use std::io::{Read as _, Write as _};

use go::gzip::GoGzipWriter;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "gzip",
    run,
    seeds,
    words: &["abcd", "\0\0\0\0", "abcdabcdabcd"],
    short: 1_000,
};

fn seeds() -> Vec<Vec<u8>> {
    let text = b"Deflate leaves every compressor free to choose. ".repeat(40);
    let numbers: Vec<u8> = (0..4096_u32)
        .flat_map(|it| (it.wrapping_mul(it) >> 3).to_be_bytes())
        .collect();
    vec![
        [b"\x00\x00".as_slice(), &text].concat(),
        [b"\x07\x01".as_slice(), &numbers].concat(),
        [b"\xff\x20".as_slice(), &text].concat(),
        b"\x01\x00abcabcabcabc".to_vec(),
    ]
}

/// The first byte says how it is written, the second how often it is repeated.
fn run(data: &[u8]) {
    let Some(([pieces, repeats], data)) = data.split_first_chunk() else {
        return;
    };
    let repeats = if repeats % 16 == 1 {
        1 + usize::from(repeats >> 4)
    } else {
        1
    };
    let content = data.repeat(repeats);
    let mut whole = GoGzipWriter::new(Vec::new());
    whole.write_all(&content).expect("memory takes all");
    let whole = whole.finish().expect("memory takes all");
    let mut unpacked = Vec::new();
    let read = flate2::read::GzDecoder::new(whole.as_slice()).read_to_end(&mut unpacked);
    assert_eq!(read.ok(), Some(content.len()));
    assert!(unpacked == content);
    if *pieces > 0 {
        let mut writer = GoGzipWriter::new(Vec::new());
        for piece in content.chunks(1 + usize::from(*pieces) * 17) {
            writer.write_all(piece).expect("memory takes all");
        }
        assert!(writer.finish().expect("memory takes all") == whole);
    }
}
