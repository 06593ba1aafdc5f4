//! Signs statements, attaches them to images, finds and verifies them again.
//!
//! [`sign()`] → [`attach`] … [`discover`] → [`Verifier::verify_all`]. Signing and verifying do no
//! I/O and read no clock, so each error of verification is a [`Rejection`]. Nothing here knows
//! what an SBOM or a build is, or which claims a policy asks for.

pub mod bundle;
pub mod dsse;
pub mod key;
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
