//! Waiting for who waits for a lock.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

/// Waits until somebody waits for the lock on `file`, that the caller holds. False if `is_over`
/// comes first: then nobody did.
///
/// # Panics
/// If neither comes within a minute.
pub fn is_waited_for(file: &File, is_over: impl Fn() -> bool) -> bool {
    let inode = file.metadata().expect("an open file has metadata").ino();
    let waits = |line: &str| {
        let mut words = line.split_whitespace();
        words.any(|it| it == "->")
            && line.contains(" FLOCK ")
            && words.any(|it| it.rsplit(':').next() == Some(&inode.to_string()))
    };
    for _ in 0..60_000 {
        let locks = fs_err::read_to_string("/proc/locks").expect("Linux lists its locks");
        if locks.lines().any(waits) {
            return true;
        }
        if is_over() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("nobody came for the lock, and nothing ended");
}
