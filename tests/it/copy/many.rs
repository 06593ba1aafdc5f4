//! Thousands of referrers.

use testkit::copy_many;

/// Memory does not grow beyond what fits everywhere, and neither time nor requests grow faster than
/// their number. `cargo bench --bench copy -- many` shows more of them.
#[test]
fn cost_grows_as_the_number_of_referrers_does() {
    let copy = |count| copy_many(env!("CARGO_BIN_EXE_measure"), count);
    for (few, many) in copy(1_000).iter().zip(&copy(2_000)) {
        let at = format!("{few:?}\n{many:?}");
        // Debug builds have 20 MiB of code.
        assert!(many.measured.peak < 64 << 20, "{at}");
        assert!(many.requests <= 2 * few.requests, "{at}");
        // Twice as long; four times would be its square. Other tests run at the same time, so what
        // counts is for how long a processor was kept busy.
        let ratio = many.measured.busy.as_secs_f64() / few.measured.busy.as_secs_f64();
        assert!(ratio < 3.0, "{at}");
    }
}
