//! What a CNB platform gives a build (builder, sandbox, base image, source), and the build itself.
//!
//! Nothing here knows of signatures or policies.

pub mod base;
pub mod builder;
pub mod rootfs;
pub mod run;
pub mod sandbox;
pub mod source;

pub use builder::{Builder, BuilderError};
pub use sandbox::Sandbox;
