//! A short run of each target, the same each time: what once broke something, what is good, and
//! some thousand changes of that.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sealpack_fuzz::mutate::{Random, mutate};
use sealpack_fuzz::{TARGETS, folder};

#[test]
fn no_target_finds_anything_in_a_short_run() {
    std::thread::scope(|scope| {
        for target in TARGETS {
            scope.spawn(move || {
                let mut inputs = (target.seeds)();
                assert!(!inputs.is_empty(), "{} has no seeds", target.name);
                if let Ok(found) = fs_err::read_dir(folder().join("found").join(target.name)) {
                    inputs.extend(found.map(|it| fs_err::read(it.unwrap().path()).unwrap()));
                }
                for input in &inputs {
                    run(target.name, target.run, input);
                }
                let mut random = Random::new(1);
                for _ in 0..target.short {
                    let input = mutate(&mut random, &inputs, target.words);
                    run(target.name, target.run, &input);
                }
            });
        }
    });
}

/// A broken promise leaves the input where `run --input` finds it.
#[expect(clippy::panic, reason = "a test fails by panicking")]
fn run(name: &str, run: fn(&[u8]), input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| run(input))).is_err() {
        let path = format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"));
        fs_err::write(&path, input).expect("the folder is ours");
        panic!("{name} found something: {path}");
    }
}
