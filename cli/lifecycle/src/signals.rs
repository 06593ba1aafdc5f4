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
    // Without handlers the program still does its work.
    let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGTERM]) else {
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
