//! Statements that are really signed and really verified.

use std::collections::BTreeMap;

use attest::key::PrivateKey;
use attest::{
    Accept, SignError, Signature, Signer, SignerIdentity, TrustedKeys, Verified, Verifier,
};
use intoto::{PredicateType, Statement};
use oci::{Descriptor, MediaType};
use serde_json::Value;

/// Keys by name, made as they are asked for.
#[derive(Default)]
pub(crate) struct Keys(BTreeMap<String, Key>);

struct Key(PrivateKey);

impl Signer for Key {
    fn sign(&self, pae: &[u8]) -> Result<Signature, SignError> {
        let bytes = self.0.sign_message(pae).expect("a new key signs");
        Ok(Signature::by_key(bytes, self.0.public_key().hint()))
    }

    fn name(&self) -> String {
        "test".to_owned()
    }
}

impl Keys {
    fn key(&mut self, name: &str) -> &Key {
        self.0
            .entry(name.to_owned())
            .or_insert_with(|| Key(PrivateKey::generate().expect("keys can be made")))
    }

    pub(crate) fn identity(&mut self, name: &str) -> SignerIdentity {
        SignerIdentity::Key(self.key(name).0.public_key().clone())
    }

    pub(crate) fn fingerprint(&mut self, name: &str) -> String {
        self.key(name).0.public_key().fingerprint().to_string()
    }

    pub(crate) fn pem(&mut self, name: &str) -> String {
        self.key(name).0.public_key().to_pem()
    }

    /// Signs a claim about `image` as `signer` and verifies it.
    pub(crate) fn claim(
        &mut self,
        image: &Descriptor,
        signer: &str,
        predicate_type: &PredicateType,
        predicate: Value,
    ) -> Verified {
        let statement = Statement::of_type(predicate_type.clone(), vec![image.into()], predicate)
            .expect("the subject has a digest");
        let bundle = attest::sign(&statement, self.key(signer)).expect("a new key signs");
        let accepted = [Accept {
            predicate_type: predicate_type.clone(),
            signer: self.identity(signer),
        }];
        Verifier::new(TrustedKeys::named_in(&accepted))
            .verify(bundle.json(), image, &accepted)
            .expect("what was signed verifies")
    }
}

pub(crate) fn image(name: &str) -> Descriptor {
    Descriptor::of(MediaType::IMAGE_MANIFEST, name.as_bytes())
}
