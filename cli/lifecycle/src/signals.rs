//! Ending when asked to.

use std::thread;

use lifecycle_core::exec::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::exit;

/// On SIGINT, SIGTERM and SIGHUP ends the programs that run under `cancel` and all that they
/// started, then this program, with 128 and the signal's number as shells have it.
///
/// Nothing is left half-written by that: files get their names when they are whole. As the first
/// process of a container this program would not end otherwise, for what has no handler is ignored
/// there.
pub(crate) fn cancel_on_signal(cancel: &Cancel) {
    let ignored = ignored();
    let signals = [SIGHUP, SIGINT, SIGTERM];
    let wanted = signals
        .into_iter()
        .filter(|it| ignored >> (it - 1) & 1 == 0);
    // Without handlers the program still does its work.
    let Ok(mut signals) = Signals::new(wanted) else {
        return;
    };
    let cancel = cancel.clone();
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            cancel.cancel();
            exit(128 + signal);
        }
    });
}

/// The signals that are ignored, as bits. Who started this program with one ignored wants it to stay so
/// for buildpacks, too: a shell does that with what it runs in the background.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|it| it.strip_prefix("SigIgn:"));
    mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok())
        .unwrap_or_default()
}
