//! What the tests share: our binaries, real peers, a folder of their own.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says loudly what it skips"
)]

mod binaries;
pub mod daemon;
mod dockerd;
mod measured;
mod peers;
mod project;
pub mod registry;
mod workspace;

pub use binaries::{binary, repository};
pub use dockerd::Dockerd;
pub use measured::Measured;
pub use peers::{Server, docker_registry, free_port, olareg, peer, skipped};
pub use project::{FakeBuildpack, Project};
pub use workspace::{Output, Workspace};
