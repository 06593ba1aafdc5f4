//! Statements that are really signed and really verified.

use std::collections::BTreeMap;

use attest::key::PrivateKey;
use attest::{Accept, SignerPattern, Verified, Verifier};
use intoto::{PredicateType, Statement};
use oci::{Descriptor, MediaType};
use serde_json::Value;

/// Keys by name, made as they are asked for.
#[derive(Default)]
pub(crate) struct Keys(BTreeMap<String, PrivateKey>);

impl Keys {
    fn key(&mut self, name: &str) -> &PrivateKey {
        self.0
            .entry(name.to_owned())
            .or_insert_with(|| PrivateKey::generate().expect("keys can be made"))
    }

    pub(crate) fn identity(&mut self, name: &str) -> SignerPattern {
        SignerPattern::Key(self.key(name).public_key().clone())
    }

    pub(crate) fn fingerprint(&mut self, name: &str) -> String {
        self.key(name).public_key().fingerprint().to_string()
    }

    pub(crate) fn pem(&mut self, name: &str) -> String {
        self.key(name).public_key().to_pem()
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
        Verifier::of_keys()
            .verify(bundle.json(), image, &accepted)
            .expect("what was signed verifies")
    }
}

pub(crate) fn image(name: &str) -> Descriptor {
    Descriptor::of(MediaType::IMAGE_MANIFEST, name.as_bytes())
}
