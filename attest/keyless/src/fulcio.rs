//! Certificates for identity tokens: Fulcio.
//!
//! <https://github.com/sigstore/fulcio/blob/v1.8.8/fulcio.proto>

use attest::key::PrivateKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use net::{Question, Services};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::error::KeylessError;
use crate::token::IdentityToken;

/// More than any chain of certificates.
const MAX_BYTES: u64 = 256 << 10;

/// Asks for a certificate for `key`: DER, the leaf alone. The key's holder is proven by a signature over
/// whom the token names.
pub(crate) async fn certificate(
    services: &Services,
    authority: &Url,
    token: &IdentityToken,
    key: &PrivateKey,
) -> Result<Vec<u8>, KeylessError> {
    const ACTION: &str = "give a certificate";
    let proof = key.sign_message(token.subject().as_bytes());
    let proof = proof.map_err(|source| KeylessError::Key {
        action: "prove that the key is ours",
        source,
    })?;
    let body = json!({
        "publicKeyRequest": {
            "publicKey": {"algorithm": "ECDSA", "content": key.public_key().to_pem()},
            "proofOfPossession": STANDARD.encode(proof),
        }
    });
    let url = below(authority, "api/v2/signingCert");
    let question = Question::post(url.clone(), "application/json", body.to_string())
        .bearer(token.text().clone())
        .limit(MAX_BYTES);
    let answer = services.ask(&question).await;
    let answer = answer.map_err(|source| KeylessError::Service {
        action: "get a certificate",
        source,
    })?;
    if !answer.status.is_success() {
        return Err(KeylessError::refused(
            &url,
            ACTION,
            &answer,
            &[token.text()],
        ));
    }
    parse(&answer.body).ok_or_else(|| KeylessError::malformed(&url, "no certificate"))
}

/// The first certificate of an answer.
fn parse(body: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Issued {
        signed_certificate_embedded_sct: Option<Signed>,
        signed_certificate_detached_sct: Option<Signed>,
    }

    #[derive(Deserialize)]
    struct Signed {
        chain: Chain,
    }

    #[derive(Deserialize)]
    struct Chain {
        certificates: Vec<String>,
    }

    let issued: Issued = serde_json::from_slice(body).ok()?;
    let signed = issued.signed_certificate_embedded_sct;
    // One whose SCT is apart cannot be proven by a bundle, which has no room for it.
    if signed.is_none() && issued.signed_certificate_detached_sct.is_some() {
        return None;
    }
    der(signed?.chain.certificates.first()?)
}

/// What a PEM certificate holds.
fn der(pem: &str) -> Option<Vec<u8>> {
    let body = pem
        .trim()
        .strip_prefix("-----BEGIN CERTIFICATE-----")?
        .split_once("-----END CERTIFICATE-----")?
        .0;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).ok().filter(|it| !it.is_empty())
}

/// The certificate, as PEM: how logs want it.
pub(crate) fn pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for (at, character) in body.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}

/// An address below that of a service, whether or not that ends with a slash.
pub(crate) fn below(service: &Url, path: &str) -> Url {
    let mut url = service.clone();
    let base = service.path().trim_end_matches('/');
    url.set_path(&format!("{base}/{path}"));
    url.set_query(None);
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_read_and_written_again() {
        let der: Vec<u8> = (0..100).collect();
        let answer = |pem: &str| {
            json!({"signedCertificateEmbeddedSct": {"chain": {"certificates": [pem, "x"]}}})
                .to_string()
        };
        let text = answer(&pem(&der));
        assert_eq!(parse(text.as_bytes()), Some(der));
        for bad in [
            "",
            "x",
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----",
        ] {
            assert_eq!(parse(answer(bad).as_bytes()), None, "{bad}");
        }
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"signedCertificateEmbeddedSct":{"chain":{"certificates":[]}}}"#,
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn an_address_may_end_with_a_slash_and_have_a_path() {
        for (service, expected) in [
            ("https://ca.example", "https://ca.example/api/x"),
            ("https://ca.example/", "https://ca.example/api/x"),
            ("https://ca.example/a/?q#f", "https://ca.example/a/api/x"),
        ] {
            let url = below(&Url::parse(service).unwrap(), "api/x");
            assert_eq!(url.as_str(), expected);
        }
    }
}
