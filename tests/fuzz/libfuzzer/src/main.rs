//! Runs the target that the environment names in `FUZZ_TARGET`; with `FUZZ_SEEDS`, writes good input
//! into that folder first, and words to that path with `.words`. `../run` sets both.
#![no_main]

use std::env;
use std::fs;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sealpack_fuzz::{TARGETS, Target};

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = env::var("FUZZ_TARGET").expect("`FUZZ_TARGET` names a target");
        let target = TARGETS.iter().find(|it| it.name == name);
        let target = target.expect("`FUZZ_TARGET` names a target that there is");
        if let Ok(folder) = env::var("FUZZ_SEEDS") {
            write_seeds(target, &folder);
        }
        TARGET.get_or_init(|| target);
    },
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(data);
        }
    }
);

fn write_seeds(target: &Target, folder: &str) {
    for (number, seed) in (target.seeds)().into_iter().enumerate() {
        fs::write(format!("{folder}/seed-{number}"), seed).expect("the folder can be written to");
    }
    let lines = target.words.iter().map(|word| {
        let escaped: String = word.bytes().map(|it| format!("\\x{it:02x}")).collect();
        format!("\"{escaped}\"\n")
    });
    let lines: String = lines.collect();
    fs::write(format!("{folder}.words"), lines).expect("the folder can be written to");
}
