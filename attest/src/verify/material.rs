//! Who signed, by the bundle's own word.

use crate::bundle::{Bundle, Material};
use crate::rejection::Rejection;

/// Which key it may be.
pub(super) fn key_hint(bundle: &Bundle) -> Result<&str, Rejection> {
    match bundle.material() {
        Material::PublicKey { hint } => Ok(hint),
        Material::Certificate(_) | Material::CertificateChain(_) => Err(Rejection::Keyless),
    }
}
