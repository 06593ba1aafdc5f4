//! All integration tests, as one binary.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy exempts only the `#[test]` functions themselves"
)]

mod attacks;
mod copy;
mod cosign;
mod extract;
mod golden;
mod layout;
mod policy;
mod registry;
mod sbom;
mod tidy;
mod verify;
