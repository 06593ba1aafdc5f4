//! What a process took.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use crate::{Output, Workspace};

/// What a whole process took.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Measured {
    /// From start to end.
    pub took: Duration,
    /// How long it kept a processor busy; more than it took, if several.
    pub busy: Duration,
    /// The most memory that it held at once, in bytes.
    pub peak: u64,
}

impl Measured {
    /// Runs `program` to its end, in `workspace`. `measure` is our program of that name: where cargo
    /// puts it, only tests and benchmarks are told (`env!("CARGO_BIN_EXE_measure")`).
    ///
    /// # Panics
    /// If it cannot be started, or fails.
    pub fn of<A: AsRef<OsStr>>(
        workspace: &Workspace,
        measure: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut command = workspace.command(measure);
        command.arg(program).args(arguments);
        let output = Output::of(&mut command).expect(0);
        let numbers: Vec<u64> = output
            .stdout
            .split_whitespace()
            .filter_map(|it| it.parse().ok())
            .collect();
        let [took, busy, peak] = numbers[..] else {
            panic!("`measure` printed `{}`", output.stdout);
        };
        Self {
            took: Duration::from_micros(took),
            busy: Duration::from_micros(busy),
            peak: peak << 10,
        }
    }
}
