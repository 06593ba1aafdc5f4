//! The Cloud Native Buildpacks lifecycle: app source in, image out.
//!
//! A phase is a function from the phase before it; one that takes an `oci::Store` may touch the
//! network, one that does not cannot. Nothing here knows of keys, signatures or policies, and
//! nothing prints: what a phase has to say goes to a [`Log`].

pub mod analyze;
pub mod building;
pub mod buildpack;
pub mod cache;
mod copying;
pub mod detect;
pub mod dockerfile;
pub mod exec;
pub mod export;
pub mod extend;
mod extract;
pub mod files;
pub mod generate;
pub mod images;
pub mod inspect;
pub mod labels;
mod layers_dir;
mod log;
pub mod provenance;
pub mod rebase;
pub mod report;
pub mod restore;
mod save;
pub mod words;

pub use extract::{ExtractError, PutError, Unread};
pub use launch::{api, env};
pub use layers_dir::LayersDirError;
pub use log::{Level, Log};
pub use save::SaveError;
