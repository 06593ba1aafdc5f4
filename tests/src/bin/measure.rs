//! `measure PROGRAM ARGUMENT…`: runs a program, and prints what [`testkit::Measured`] reads: the
//! microseconds that it took, those that it kept a processor busy, and the most memory that it held
//! at once, in KiB. Its exit code is that of the program.
//!
//! A program of its own, because the kernel tells only the sums and the maximum of *all* children.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "measuring is what it is for"
)]

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().expect("a program is named");
    let start = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .expect("the program can be run");
    let took = start.elapsed();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel keeps count");
    let busy = usage.user_time() + usage.system_time();
    println!(
        "{} {} {}",
        took.as_micros(),
        busy.num_microseconds(),
        usage.max_rss()
    );
    let code = status.code().and_then(|it| u8::try_from(it).ok());
    ExitCode::from(code.unwrap_or(u8::MAX))
}
