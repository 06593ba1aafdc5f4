//! The Cloud Native Buildpacks lifecycle: app source in, image out.
//!
//! A phase is a function from the phase before it; one that takes an `oci::Store` may touch the
//! network, one that does not cannot. Nothing here knows of keys, signatures or policies, and
//! nothing prints: what a phase has to say goes to a [`Log`].

#[cfg(feature = "phases")]
pub mod analyze;
pub mod api;
#[cfg(feature = "phases")]
pub mod building;
#[cfg(feature = "phases")]
pub mod buildpack;
#[cfg(feature = "phases")]
pub mod cache;
#[cfg(feature = "phases")]
pub mod detect;
#[cfg(feature = "phases")]
pub mod dockerfile;
pub mod env;
#[cfg(feature = "phases")]
pub mod exec;
#[cfg(feature = "phases")]
pub mod export;
#[cfg(feature = "phases")]
pub mod extend;
#[cfg(feature = "phases")]
mod extract;
pub mod files;
#[cfg(feature = "phases")]
pub mod generate;
pub mod go_words;
#[cfg(feature = "phases")]
pub mod images;
#[cfg(feature = "phases")]
pub mod inspect;
#[cfg(feature = "phases")]
pub mod labels;
pub mod launch;
#[cfg(feature = "phases")]
mod layers_dir;
mod log;
#[cfg(feature = "phases")]
pub mod provenance;
#[cfg(feature = "phases")]
pub mod rebase;
#[cfg(feature = "phases")]
pub mod report;
#[cfg(feature = "phases")]
pub mod restore;
#[cfg(feature = "phases")]
mod save;

#[cfg(feature = "phases")]
pub use extract::ExtractError;
#[cfg(feature = "phases")]
pub use layers_dir::LayersDirError;
pub use log::{Level, Log};
#[cfg(feature = "phases")]
pub use save::SaveError;

/// The error with all its causes, as upstream's lifecycle prints errors.
#[cfg(feature = "phases")]
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
