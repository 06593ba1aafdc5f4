//! What a program in Go does with signals, and so those that it starts see of them.

use std::fs;

/// A program in Go gives these to its children as it got them; all others have their default again.
const KEPT: [i32; 8] = [1, 2, 18, 20, 21, 22, 32, 34];

/// Signals that a program in Go survives, and others do not, unless they do something about it:
/// `SIGUSR1`, `SIGUSR2`, `SIGALRM`, `SIGXCPU`, `SIGXFSZ`, `SIGVTALRM`, `SIGPROF`, `SIGIO`, `SIGPWR`, and
/// all but the first of those for real time.
pub fn survived() -> impl Iterator<Item = i32> {
    [10, 12, 14, 24, 25, 26, 27, 29, 30]
        .into_iter()
        .chain(35..=64)
}

/// Signals that are ignored, which programs that are started would inherit, and from a program in Go do
/// not. Without `/proc` there are none.
pub fn ignored() -> Vec<i32> {
    let mask = ignored_mask();
    (1..=64)
        .filter(|it| !KEPT.contains(it) && is_in(mask, *it))
        .collect()
}

/// Whether this program was started with a signal ignored that stays so in one in Go, `SIGHUP` or
/// `SIGINT`: a shell does that with what it runs in the background.
pub fn is_kept_ignored(signal: i32) -> bool {
    KEPT.contains(&signal) && is_in(ignored_mask(), signal)
}

fn is_in(mask: u64, signal: i32) -> bool {
    mask >> (signal - 1) & 1 == 1
}

fn ignored_mask() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|it| it.strip_prefix("SigIgn:"));
    mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_known() {
        // Rust ignores SIGPIPE.
        assert!(ignored().contains(&13));
        assert!(!is_kept_ignored(13));
    }
}
