//! Which certificates, logs and clocks are trusted.

use attest::{TrustedRoot, TrustedRootError, Verifier};
use oci::Digest;

/// What is trusted besides the keys that policies name. A gate has one: what it remembers hangs on it.
#[derive(Clone, Debug)]
pub struct Trust {
    verifier: Verifier,
    digest: Digest,
}

impl Trust {
    /// Nothing is: only signatures by the keys that a policy accepts count.
    pub fn keys() -> Self {
        Self {
            verifier: Verifier::of_keys(),
            digest: Digest::of(b""),
        }
    }

    /// The certificate authorities, logs and clocks of this `trusted_root.json`, too.
    pub fn root(json: &[u8]) -> Result<Self, TrustedRootError> {
        Ok(Self {
            verifier: Verifier::trusting(TrustedRoot::parse(json)?),
            digest: Digest::of(json),
        })
    }

    /// Those of Sigstore's public instance, as they were when this program was built.
    pub fn public() -> Result<Self, TrustedRootError> {
        Ok(Self {
            verifier: Verifier::trusting(TrustedRoot::public_good()?),
            digest: Digest::of(b"sigstore public good"),
        })
    }

    /// What verifies by it.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Tells it from others.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// Trusts no more than the keys that are named.
impl Default for Trust {
    fn default() -> Self {
        Self::keys()
    }
}
