//! Rekor, version 2 (on tiles): entries of the kind `hashedrekord` 0.0.2. A statement is logged by the
//! digest of what is signed of it.
//!
//! <https://github.com/sigstore/rekor-tiles/blob/v2.3.0/CLIENTS.md>

use attest::bundle::LogEntry;
use attest::key::KeyAlgorithm;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use net::{Again, Question, Services, StatusCode};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{ACTION, Entry, MAX_BYTES, Verifier};
use crate::error::{KeylessError, place};
use crate::fulcio::below;

/// The kind of key that is logged.
const P256: &str = "PKIX_ECDSA_P256_SHA_256";

/// Logs `entry`. It is asked again only where it said, or must have, that it did not do it.
pub(super) async fn log(
    services: &Services,
    url: &Url,
    entry: Entry<'_>,
) -> Result<LogEntry, KeylessError> {
    let body = request(entry).ok_or(KeylessError::Malformed {
        place: place(url),
        problem: "it takes no signatures by keys of this kind",
    })?;
    let entries = below(url, "api/v2/log/entries");
    let question = Question::post(entries, "application/json", body)
        .limit(MAX_BYTES)
        .again(Again::IfNotDone);
    let answer = services.ask(&question).await;
    let answer = answer.map_err(|source| KeylessError::Service {
        action: "log the signature",
        source,
    })?;
    if answer.status == StatusCode::CONFLICT {
        return Err(KeylessError::LoggedBefore { place: place(url) });
    }
    if !answer.status.is_success() {
        return Err(KeylessError::refused(url, ACTION, &answer, &[]));
    }
    LogEntry::parse(&answer.body)
        .ok()
        .ok_or_else(|| KeylessError::malformed(url, "no log entry"))
}

fn request(entry: Entry<'_>) -> Option<String> {
    let verifier = match entry.verifier {
        // Those that we ask for are for such keys.
        Verifier::Certificate(der) => json!({
            "x509Certificate": {"rawBytes": STANDARD.encode(der)},
            "keyDetails": P256,
        }),
        Verifier::Key(key) if key.algorithm() == KeyAlgorithm::EcdsaP256 => json!({
            "publicKey": {"rawBytes": STANDARD.encode(key.spki())},
            "keyDetails": P256,
        }),
        Verifier::Key(_) => return None,
    };
    let request = json!({
        "hashedRekordRequestV002": {
            "digest": STANDARD.encode(Sha256::digest(entry.payload.pae())),
            "signature": {"content": STANDARD.encode(entry.signature), "verifier": verifier},
        }
    });
    Some(request.to_string())
}
