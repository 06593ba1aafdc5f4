//! Unpacking: whatever the archive says, and whatever lay in the directory before, nothing beside
//! the directory is made, changed or removed, and no limit is passed.

mod program;
mod sandbox;

use std::cell::RefCell;
use std::io::Write as _;

use go::gzip::GoGzipWriter;
use oci::{
    DiffId, Digest, ExtractOptions, ExtractRules, Links, OverlayXattrs, Owners, Whiteouts, extract,
};

use self::sandbox::{Found, Sandbox};
use crate::{Target, tar};

pub(crate) const TARGET: Target = Target {
    name: "extract",
    run,
    seeds,
    words: tar::WORDS,
    short: 1_500,
};

const ENTRIES: u64 = 24;
const BYTES: u64 = 64 << 10;
const PATH: usize = 400;

/// Bits of the first byte.
const LIFECYCLE: u8 = 1;
const OWNERSHIP: u8 = 2;
/// What follows are the bytes of an archive, not a [program].
const RAW: u8 = 4;
/// All of them: packing takes longer than all else.
const GZIP: u8 = 8 | 32;
/// Whiteouts are kept as overlayfs has them; under the lifecycle's rules, links are not followed.
const OVERLAY: u8 = 64;
/// In the directory are files, and links to what is beside it.
const USED: u8 = 16;

fn seeds() -> Vec<Vec<u8>> {
    let raw = tar::seeds().into_iter().map(|mut it| {
        if let Some(first) = it.first_mut() {
            *first = RAW;
        }
        it
    });
    let programs = [
        0,
        LIFECYCLE,
        OWNERSHIP,
        USED,
        USED | LIFECYCLE,
        OVERLAY,
        OVERLAY | LIFECYCLE,
        OVERLAY | OWNERSHIP,
        GZIP | USED | OWNERSHIP,
    ]
    .into_iter()
    .flat_map(|flags| {
        program::seeds()
            .into_iter()
            .map(move |it| [&[flags], it.as_slice()].concat())
    });
    raw.chain(programs).collect()
}

thread_local! {
    static SANDBOX: RefCell<Sandbox> = RefCell::new(Sandbox::new());
}

fn run(data: &[u8]) {
    let Some((flags, rest)) = data.split_first() else {
        return;
    };
    SANDBOX.with_borrow_mut(|sandbox| run_in(sandbox, *flags, rest));
}

fn run_in(sandbox: &mut Sandbox, flags: u8, rest: &[u8]) {
    let has = |bits: u8| flags & bits == bits;
    let plain = if has(RAW) {
        let mut archive = rest.to_vec();
        tar::set_checksums(&mut archive);
        archive
    } else {
        program::archive(rest, sandbox.root())
    };
    let archive = if has(GZIP) {
        gzip(&plain)
    } else {
        plain.clone()
    };
    let mut options = ExtractOptions {
        owners: if has(OWNERSHIP) {
            Owners::Keep
        } else {
            Owners::Record
        },
        entries: ENTRIES,
        bytes: BYTES,
        path: PATH,
        ..ExtractOptions::default()
    };
    if has(OVERLAY) {
        options.whiteouts = Whiteouts::Overlay(OverlayXattrs::User);
    }
    if has(LIFECYCLE) {
        options.rules = ExtractRules::Lifecycle;
        if has(OVERLAY) {
            options.links = Links::Refused;
        }
    }
    sandbox.begin(has(USED));
    let summary = extract(archive.as_slice(), &sandbox.directory(), &options);
    if let Ok(summary) = &summary {
        assert!(summary.entries <= ENTRIES && summary.bytes <= BYTES);
        // Raw bytes may be compressed themselves.
        if !has(RAW) {
            assert_eq!(summary.diff_id, DiffId(Digest::of(&plain)));
            assert_eq!(summary.bytes, plain.len() as u64);
        }
    }
    let found = sandbox.end();
    of_found(&found, &options);
}

/// What lies in the directory, after success or failure.
fn of_found(found: &[Found], options: &ExtractOptions) {
    let mut bytes = 0;
    for it in found {
        assert!(!it.is_device, "{it:?} was made");
        let may_be_set_id =
            options.owners == Owners::Keep || options.rules == ExtractRules::Lifecycle;
        assert!(may_be_set_id || !it.is_set_id, "{it:?} is set-user-id");
        bytes += it.size / it.links;
        if options.rules == ExtractRules::Lifecycle {
            assert!(
                !it.is_pipe && it.links == 1,
                "{it:?} was made by the lifecycle's rules"
            );
        }
    }
    assert!(bytes <= BYTES);
    // Each entry makes itself, and the folders that it is in.
    let folders = PATH / 2 + 1;
    assert!(found.len() as u64 <= (ENTRIES + 1) * folders as u64);
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut writer = GoGzipWriter::new(Vec::new());
    writer.write_all(plain).expect("memory takes all");
    writer.finish().expect("memory takes all")
}
