//! What a CNB platform gives a build (builder, sandbox, base image, source, what the app says of
//! itself), and the build itself.
//!
//! Nothing here knows of signatures or policies.

pub mod base;
pub mod builder;
pub mod make;
pub mod project;
pub mod rootfs;
pub mod run;
pub mod sandbox;
pub mod source;

pub use builder::{Builder, BuilderError};
pub use project::Project;
pub use sandbox::Sandbox;
