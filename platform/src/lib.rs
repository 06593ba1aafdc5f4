//! What a CNB platform gives a build: builder, sandbox, base image, source.
//!
//! Nothing here knows of signatures or policies.

pub mod builder;
pub mod tree;

pub use builder::{Builder, BuilderError};
