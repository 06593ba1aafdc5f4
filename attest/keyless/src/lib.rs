#![doc = include_str!("../README.md")]

mod error;
mod fulcio;
mod plan;
mod rekor;
mod signer;
pub mod signing_config;
mod timestamp;
pub mod token;

pub use error::{KeylessError, Said};
pub use plan::{Log, LogVersion, Plan};
pub use signer::{Certified, Keyless};
pub use signing_config::SigningConfig;
pub use token::IdentityToken;
