//! What a CNB platform gives a build: the builder, the sandbox, the base image, the source.
//!
//! Nothing here knows of signatures or policies.

pub mod base;
pub mod source;
