#![doc = include_str!("../README.md")]
//!
//! # The line
//!
//! [`sign()`] → [`attach`] … [`discover`] → [`Verifier::verify_all`].

mod accept;
pub mod bundle;
mod certificate;
pub mod dsse;
mod hex;
pub mod key;
pub mod manual;
mod referrer;
mod rejection;
mod sign;
mod signed_by;
mod trust;
mod verified;
mod verify;

pub use accept::{Accept, IdentityPattern, SignerPattern, TextPattern, TextPatternError};
pub use bundle::{Bundle, Content, Material, VerificationMaterial};
pub use certificate::CertificateError;
pub use referrer::{
    AttachError, Attached, Discovered, IgnoreReason, Ignored, Referrer, attach, discover,
};
pub use rejection::{Rejected, Rejection, Wanted};
pub use sign::{ImageSignature, Payload, SignError, Signature, Signer, image_signature, sign};
pub use signed_by::{Claim, Identity, SignedBy, Subject};
pub use trust::{TrustedRoot, TrustedRootError};
pub use verified::{
    Check, LogRecord, SeenAt, Unchecked, Verified, VerifiedSignature, Witness, is_signed,
};
pub use verify::{ChainError, LogError, Message, SctError, Thresholds, TimestampError, Verifier};
