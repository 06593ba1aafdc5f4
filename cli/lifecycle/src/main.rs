//! The CNB lifecycle as a program by itself, for platforms and builders.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    lifecycle::main(&arguments)
}
