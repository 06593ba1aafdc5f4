//! The Cloud Native Buildpacks lifecycle: app source in, image out.
//!
//! A phase is a function from the phase before it; one that takes an `oci::Store` may touch the
//! network, one that does not cannot. Nothing here knows of keys, signatures or policies, and
//! nothing prints: what a phase has to say goes to a [`Log`].

pub mod api;
#[cfg(feature = "phases")]
pub mod buildpack;
#[cfg(feature = "phases")]
pub mod detect;
pub mod env;
#[cfg(feature = "phases")]
pub mod exec;
pub mod files;
pub mod go_words;
#[cfg(feature = "phases")]
pub mod inspect;
pub mod launch;
mod log;
#[cfg(feature = "phases")]
pub mod provenance;

pub use log::{Level, Log};
