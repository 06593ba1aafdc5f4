//! Ending when asked to.

use std::process;
use std::thread;

use lifecycle_core::exec::Cancel;
use signal_hook::consts::{FORBIDDEN, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, exit};

/// On SIGHUP, SIGINT, SIGQUIT and SIGTERM ends the programs that run under `cancel` and all that they
/// started, then this program, by the same signal. Others that a program in Go survives do nothing.
///
/// Nothing is left half-written by that: files get their names when they are whole. The first process
/// of a container cannot be ended by a signal of its own: it ends with 128 and the signal's number, as
/// shells have it.
///
/// Who started this program with SIGHUP or SIGINT ignored wants them to stay so, for buildpacks, too.
/// Any other signal has its default again in what is started, as from a program in Go.
pub(crate) fn cancel_on_signal(cancel: &Cancel) {
    let ending = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];
    let wanted = ending
        .into_iter()
        .filter(|it| !go::signals::is_kept_ignored(*it));
    // Without handlers the program still does its work.
    let Ok(mut signals) = Signals::new(wanted) else {
        return;
    };
    for signal in go::signals::ignored()
        .into_iter()
        .chain(go::signals::survived())
    {
        if !FORBIDDEN.contains(&signal) {
            signals.add_signal(signal).ok();
        }
    }
    let cancel = cancel.clone();
    thread::spawn(move || {
        if let Some(signal) = signals.forever().find(|it| ending.contains(it)) {
            cancel.cancel();
            if process::id() != 1 {
                emulate_default_handler(signal).ok();
            }
            exit(128 + signal);
        }
    });
}
