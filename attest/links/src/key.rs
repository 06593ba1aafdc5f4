//! Keys as in-toto names and describes them.

use std::fmt;

use attest::key::{KeyAlgorithm, PublicKey};
use oci::Digest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::canonical;

/// Names a key: in hexadecimal, as a layout or a signature has it.
///
/// A name is not proof of the key: whoever writes a layout may call a key as they like.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct KeyId(String);

impl KeyId {
    /// The name that the reference implementation (securesystemslib) computes.
    pub(crate) fn of(key_type: &str, scheme: &str, public: &str) -> Self {
        let description = json!({
            "keytype": key_type,
            "keyval": {"public": public},
            "scheme": scheme,
        });
        let bytes = canonical::to_vec(&description).unwrap_or_default();
        Self(Digest::of(&bytes).hex().to_owned())
    }

    /// None if `text` is not hexadecimal.
    pub fn parse(text: &str) -> Option<Self> {
        let hexadecimal = !text.is_empty() && text.bytes().all(|it| it.is_ascii_hexdigit());
        hexadecimal.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands in the name of a link's file: the first eight characters.
    pub fn prefix(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public key under the name by which links and layouts mean it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    id: KeyId,
    scheme: Scheme,
    public: PublicKey,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scheme {
    EcdsaP256,
    EcdsaP384,
    Ed25519,
    RsaPkcs1,
    RsaPss,
}

/// The DER before the 32 bytes of an Ed25519 key.
const ED25519_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

impl Key {
    /// `public`, as the reference implementation reads it from its PEM file. An RSA key is then one
    /// for PSS.
    pub fn of(public: PublicKey) -> Result<Self, UnsupportedKey> {
        let algorithm = public.algorithm();
        let scheme = [
            Scheme::EcdsaP256,
            Scheme::EcdsaP384,
            Scheme::Ed25519,
            Scheme::RsaPss,
        ]
        .into_iter()
        .find(|it| it.fits(algorithm))
        .ok_or_else(|| UnsupportedKey {
            kind: format!("{algorithm:?}"),
        })?;
        let id = KeyId::of(scheme.key_type(), scheme.name(), &value(scheme, &public));
        Ok(Self { id, scheme, public })
    }

    /// Reads a key of a layout. `id` is what the layout calls it.
    pub(crate) fn parse(id: KeyId, description: &Value) -> Result<Self, UnsupportedKey> {
        /// As securesystemslib writes a key; those of `GnuPG` have other fields.
        #[derive(Deserialize)]
        struct Description {
            keytype: String,
            scheme: String,
            keyval: KeyValue,
        }
        #[derive(Deserialize)]
        struct KeyValue {
            public: String,
        }
        let unsupported = |kind: String| UnsupportedKey { kind };
        let Ok(it) = Description::deserialize(description) else {
            return Err(unsupported(
                "no key as securesystemslib writes it".to_owned(),
            ));
        };
        let scheme = match (it.keytype.as_str(), it.scheme.as_str()) {
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => Scheme::EcdsaP256,
            ("ecdsa" | "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384") => Scheme::EcdsaP384,
            ("ed25519", "ed25519") => Scheme::Ed25519,
            ("rsa", "rsa-pkcs1v15-sha256") => Scheme::RsaPkcs1,
            ("rsa", "rsassa-pss-sha256") => Scheme::RsaPss,
            (key_type, scheme) => return Err(unsupported(format!("{key_type} ({scheme})"))),
        };
        let public = if scheme == Scheme::Ed25519 {
            let raw = hexadecimal(&it.keyval.public).unwrap_or_default();
            PublicKey::from_spki(&[ED25519_PREFIX.as_slice(), raw.as_slice()].concat())
        } else {
            PublicKey::from_pem(it.keyval.public.as_bytes())
        };
        match public {
            Ok(public) if scheme.fits(public.algorithm()) => Ok(Self { id, scheme, public }),
            Ok(public) => Err(unsupported(format!(
                "{:?} for {}",
                public.algorithm(),
                it.scheme
            ))),
            Err(error) => Err(unsupported(format!("{}: {error}", it.keytype))),
        }
    }

    /// What it is called.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The key itself.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The key as a layout lists it.
    pub fn description(&self) -> Value {
        json!({
            "keyid": self.id.as_str(),
            "keytype": self.scheme.key_type(),
            "keyval": {"public": value(self.scheme, &self.public)},
            "scheme": self.scheme.name(),
        })
    }

    /// Whether `signature` was made over `message` by this key, in its scheme.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.scheme {
            Scheme::RsaPss => self.public.has_signed_pss(message, signature),
            Scheme::EcdsaP256 | Scheme::EcdsaP384 | Scheme::Ed25519 | Scheme::RsaPkcs1 => {
                self.public.has_signed(message, signature)
            }
        }
    }
}

impl Scheme {
    fn key_type(self) -> &'static str {
        match self {
            Self::EcdsaP256 | Self::EcdsaP384 => "ecdsa",
            Self::Ed25519 => "ed25519",
            Self::RsaPkcs1 | Self::RsaPss => "rsa",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::Ed25519 => "ed25519",
            Self::RsaPkcs1 => "rsa-pkcs1v15-sha256",
            Self::RsaPss => "rsassa-pss-sha256",
        }
    }

    fn fits(self, algorithm: KeyAlgorithm) -> bool {
        match self {
            Self::EcdsaP256 => algorithm == KeyAlgorithm::EcdsaP256,
            Self::EcdsaP384 => algorithm == KeyAlgorithm::EcdsaP384,
            Self::Ed25519 => algorithm == KeyAlgorithm::Ed25519,
            Self::RsaPkcs1 | Self::RsaPss => algorithm == KeyAlgorithm::Rsa,
        }
    }
}

/// A key of a kind that we cannot check signatures of: `GnuPG`'s among them.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unsupported kind of key: {kind}")]
#[expect(clippy::exhaustive_structs, reason = "it says one thing")]
pub struct UnsupportedKey {
    /// Which.
    pub kind: String,
}

/// The text that stands for the key: PEM, but the bytes of an Ed25519 key.
fn value(scheme: Scheme, public: &PublicKey) -> String {
    match scheme {
        Scheme::Ed25519 => {
            let spki = public.spki();
            to_hexadecimal(spki.get(ED25519_PREFIX.len()..).unwrap_or_default())
        }
        Scheme::EcdsaP256 | Scheme::EcdsaP384 | Scheme::RsaPkcs1 | Scheme::RsaPss => {
            public.to_pem()
        }
    }
}

/// Bytes of their hexadecimal form, in either case.
pub(crate) fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|it| it.to_digit(16).and_then(|it| u8::try_from(it).ok()))
        .collect();
    digits?
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        })
        .collect()
}

/// The hexadecimal form of bytes.
pub(crate) fn to_hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_reference_implementation() {
        // securesystemslib 1.6: `SSlibKey.from_crypto(load_pem_public_key(pem)).keyid`.
        for (pem, id) in [
            (
                include_bytes!("../../../tests/fixtures/keys/p256.pub.pem").as_slice(),
                "03d1227804b81e54eaaf0ffe209a0512d7139ded9912a4901bc513c3eb7935a9",
            ),
            (
                include_bytes!("../../../tests/fixtures/keys/ed25519.pub.pem"),
                "791c00337e79c1afb7933dbd0be997e52ccd9330260248329bddfafd9c90e6ba",
            ),
            (
                include_bytes!("../../../tests/fixtures/keys/p384.pub.pem"),
                "5505d6a91b22db962de6560825ba3e2f96954ce4d8f762374f57a641d40c9946",
            ),
            (
                include_bytes!("../../../tests/fixtures/keys/rsa.pub.pem"),
                "d7cdeb61119360239b84f59e78db05800f00911a052e9c3b15ca53a39ae5bd8e",
            ),
        ] {
            let key = Key::of(PublicKey::from_pem(pem).unwrap()).unwrap();
            assert_eq!(key.id().as_str(), id);
            let again = Key::parse(key.id().clone(), &key.description()).unwrap();
            assert_eq!(again, key);
        }
    }

    #[test]
    fn keys_of_other_kinds_are_named_and_not_used() {
        let p256 = PublicKey::from_pem(include_bytes!("../../../tests/fixtures/keys/p256.pub.pem"))
            .unwrap();
        let id = KeyId::parse("ab").unwrap();
        for description in [
            json!({"type": "rsa", "method": "pgp+rsa-pkcsv1.5", "keyval": {}}),
            json!({"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp521", "keyval": {"public": ""}}),
            json!({"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": p256.to_pem()}}),
            json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "00"}}),
            json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "zz"}}),
            json!([]),
        ] {
            assert!(
                Key::parse(id.clone(), &description).is_err(),
                "{description}"
            );
        }
        assert_eq!(KeyId::parse("xyz"), None);
        assert_eq!(KeyId::parse(""), None);
    }
}
