#![doc = include_str!("../README.md")]
//!
//! # The line
//!
//! [`sign()`] → [`attach`] … [`discover`] → [`Verifier::verify_all`].

pub mod bundle;
pub mod dsse;
pub mod key;
pub mod manual;
mod referrer;
mod sign;
mod verify;

pub use bundle::{Bundle, Content, Material};
pub use referrer::{
    AttachError, Attached, Discovered, IgnoreReason, Ignored, Referrer, attach, discover,
};
pub use sign::{ImageSignature, SignError, Signature, Signer, image_signature, sign};
pub use verify::{
    Accept, Check, Rejected, Rejection, SignerIdentity, TrustedKeys, Unchecked, Verified, Verifier,
    is_signed,
};
