//! All integration tests, as one binary.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says loudly what it skips; clippy exempts only the `#[test]` functions themselves"
)]

mod access;
mod admission;
mod alone;
mod archive;
mod attacks;
mod bad_input;
mod borrowing;
mod build;
mod builder_image;
mod buildpacks;
mod cases;
mod completion;
mod containers;
mod copy;
mod cosign;
mod daemon;
mod delete;
mod dist;
mod dockerfile;
mod door;
mod examples;
mod extend;
mod extract;
mod faults;
mod flags;
mod gate;
mod generated;
mod golden;
mod habits;
mod health;
mod identities;
mod interrupts;
mod keyless;
mod lasting;
mod launcher;
mod layout;
mod links;
mod login;
mod making;
mod manifest;
mod messages;
mod messages_of_buildpacks;
mod mirror;
mod mirrors;
mod odd;
mod old_proof;
mod picture;
mod platforms;
mod pod;
mod policy;
mod progress;
mod project;
mod prompt;
mod publish;
mod readme;
mod rebase;
mod recipes;
mod registry;
mod renewed;
mod report;
mod sbom;
mod secrets;
mod services;
mod tamper;
mod temporary;
mod tidy;
mod tracing;
mod traps;
mod typed;
mod verify;
mod widths;
