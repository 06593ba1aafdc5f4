//! Private keys behind a password, in cosign's form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::Aead as _;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305};
use scrypt::Params;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{KeyError, PrivateKey, pem, random};

pub(super) const LABEL: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";
pub(super) const OLD_LABEL: &str = "ENCRYPTED COSIGN PRIVATE KEY";

/// A private key that needs a password.
///
/// The form is cosign's: JSON that names scrypt and `NaCl`'s secretbox with their parameters, around
/// PKCS#8.
#[derive(Debug)]
pub struct EncryptedKey {
    log_n: u8,
    salt: [u8; 32],
    nonce: [u8; 24],
    ciphertext: Vec<u8>,
}

impl EncryptedKey {
    pub(super) fn parse(json: &[u8]) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed {
            what: "encrypted private key",
        };
        let Ok(parsed) = serde_json::from_slice::<Document>(json) else {
            return Err(malformed());
        };
        let Kdf { name, params, salt } = parsed.kdf;
        // Whoever hands us a file must not choose how much memory and time it takes.
        let log_n = match (params.n, params.r, params.p) {
            (32_768, 8, 1) => 15,
            (65_536, 8, 1) => 16,
            (131_072, 8, 1) => 17,
            (n, r, p) => {
                return Err(KeyError::Parameters {
                    parameters: format!("N={n} r={r} p={p}"),
                });
            }
        };
        if name != "scrypt" || parsed.cipher.name != "nacl/secretbox" {
            return Err(KeyError::Parameters {
                parameters: format!("{name} with {}", parsed.cipher.name),
            });
        }
        Ok(Self {
            log_n,
            salt: decode(&salt).ok_or_else(malformed)?,
            nonce: decode(&parsed.cipher.nonce).ok_or_else(malformed)?,
            ciphertext: STANDARD
                .decode(parsed.ciphertext)
                .ok()
                .ok_or_else(malformed)?,
        })
    }

    /// Opens it. Takes a moment, on purpose.
    pub fn decrypt(&self, password: &[u8]) -> Result<PrivateKey, KeyError> {
        let cipher = derive(self.log_n, password, &self.salt)?;
        match cipher.decrypt(&self.nonce.into(), self.ciphertext.as_slice()) {
            Ok(pkcs8) => PrivateKey::from_pkcs8(&Zeroizing::new(pkcs8)),
            Err(_) => Err(KeyError::WrongPassword),
        }
    }
}

pub(super) fn encrypt(pkcs8: &[u8], password: &[u8]) -> Result<String, KeyError> {
    const N: u32 = 65_536;
    let salt = random::<32>()?;
    let nonce = random::<24>()?;
    let cipher = derive(16, password, &salt)?;
    let Ok(ciphertext) = cipher.encrypt(&(*nonce).into(), pkcs8) else {
        return Err(KeyError::Malformed {
            what: "private key",
        });
    };
    let document = Document {
        kdf: Kdf {
            name: "scrypt".to_owned(),
            params: ScryptParams { n: N, r: 8, p: 1 },
            salt: STANDARD.encode(*salt),
        },
        cipher: Cipher {
            name: "nacl/secretbox".to_owned(),
            nonce: STANDARD.encode(*nonce),
        },
        ciphertext: STANDARD.encode(ciphertext),
    };
    let json = serde_json::to_vec(&document).expect("strings and numbers have a JSON form");
    Ok(pem::encode(LABEL, &json))
}

fn derive(log_n: u8, password: &[u8], salt: &[u8; 32]) -> Result<XSalsa20Poly1305, KeyError> {
    let mut key = Zeroizing::new([0; 32]);
    let derived = Params::new(log_n, 8, 1, key.len())
        .is_ok_and(|params| scrypt::scrypt(password, salt, &params, key.as_mut()).is_ok());
    if derived {
        Ok(XSalsa20Poly1305::new((&*key).into()))
    } else {
        Err(KeyError::Parameters {
            parameters: format!("N=2^{log_n} r=8 p=1"),
        })
    }
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[derive(Deserialize, Serialize)]
struct Document {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize, Serialize)]
struct Kdf {
    name: String,
    params: ScryptParams,
    salt: String,
}

#[derive(Deserialize, Serialize)]
struct ScryptParams {
    #[serde(rename = "N")]
    n: u32,
    r: u32,
    p: u32,
}

#[derive(Deserialize, Serialize)]
struct Cipher {
    name: String,
    nonce: String,
}
