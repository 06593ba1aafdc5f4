//! Rekor, version 1: entries of the kind `dsse`.
//!
//! <https://github.com/sigstore/rekor/blob/v1.5.2/openapi.yaml>

use std::collections::BTreeMap;

use attest::bundle::{InclusionProof, LogEntry};
use attest::dsse::PAYLOAD_TYPE;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use net::header::LOCATION;
use net::{Answer, Question, Services, StatusCode};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{ACTION, Entry, MAX_BYTES, Verifier};
use crate::error::{KeylessError, place};
use crate::fulcio::{below, pem};

const ENTRIES: &str = "api/v1/log/entries";

/// Logs `entry`. It may be asked again: what is in the log already, it says where.
pub(super) async fn log(
    services: &Services,
    url: &Url,
    entry: Entry<'_>,
) -> Result<LogEntry, KeylessError> {
    let entries = below(url, ENTRIES);
    let question = Question::post(entries.clone(), "application/json", request(entry));
    let mut answer = ask(services, &question).await?;
    if answer.status == StatusCode::CONFLICT {
        let there = existing(&entries, &answer);
        let there = there.ok_or_else(|| KeylessError::LoggedBefore { place: place(url) })?;
        answer = ask(services, &Question::get(there)).await?;
    }
    if !answer.status.is_success() {
        return Err(KeylessError::refused(url, ACTION, &answer, &[]));
    }
    parse(&answer.body).ok_or_else(|| KeylessError::malformed(url, "no log entry"))
}

async fn ask(services: &Services, question: &Question) -> Result<Answer, KeylessError> {
    let answer = services.ask(&question.clone().limit(MAX_BYTES)).await;
    answer.map_err(|source| KeylessError::Service {
        action: "log the signature",
        source,
    })
}

fn request(entry: Entry<'_>) -> String {
    let verifier = match entry.verifier {
        Verifier::Certificate(der) => pem(der),
        Verifier::Key(key) => key.to_pem(),
    };
    let envelope = json!({
        "payload": STANDARD.encode(entry.payload.as_bytes()),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": STANDARD.encode(entry.signature)}],
    });
    json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "proposedContent": {
                "envelope": envelope.to_string(),
                "verifiers": [STANDARD.encode(verifier)],
            }
        },
    })
    .to_string()
}

/// Where the log has the entry already. Nowhere but in this log.
fn existing(entries: &Url, answer: &Answer) -> Option<Url> {
    let location = answer.headers.get(LOCATION)?.to_str().ok()?;
    let found = entries.join(location).ok()?;
    let name = found.path().strip_prefix(entries.path())?;
    let name = name.strip_prefix('/')?;
    let is_name = !name.is_empty() && name.bytes().all(|it| it.is_ascii_hexdigit());
    // Behind a proxy it may not know its own address.
    is_name.then(|| below(entries, name))
}

/// The one entry of an answer.
fn parse(body: &[u8]) -> Option<LogEntry> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Raw {
        body: String,
        integrated_time: i64,
        #[serde(rename = "logID")]
        log_id: String,
        log_index: u64,
        verification: Verification,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Verification {
        inclusion_proof: Option<Proof>,
        signed_entry_timestamp: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Proof {
        checkpoint: String,
        hashes: Vec<String>,
        log_index: u64,
        root_hash: String,
        tree_size: u64,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        api_version: String,
        kind: String,
    }

    let entries: BTreeMap<String, Raw> = serde_json::from_slice(body).ok()?;
    let mut entries = entries.into_values();
    let (Some(raw), None) = (entries.next(), entries.next()) else {
        return None;
    };
    let body = STANDARD.decode(raw.body).ok()?;
    let Body { api_version, kind } = serde_json::from_slice(&body).ok()?;
    let promise = raw.verification.signed_entry_timestamp;
    let proof = match raw.verification.inclusion_proof {
        Some(proof) => Some(InclusionProof {
            log_index: proof.log_index,
            root_hash: hex(&proof.root_hash)?,
            tree_size: proof.tree_size,
            hashes: proof
                .hashes
                .iter()
                .map(|it| hex(it))
                .collect::<Option<_>>()?,
            checkpoint: proof.checkpoint,
        }),
        None => None,
    };
    Some(LogEntry {
        log_index: raw.log_index,
        log_id: hex(&raw.log_id)?,
        kind,
        version: api_version,
        integrated_time: Some(raw.integrated_time),
        promise: promise
            .map(|it| STANDARD.decode(it).ok())
            .unwrap_or_default(),
        proof,
        body,
    })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |it: u8| {
        char::from(it)
            .to_digit(16)
            .and_then(|it| u8::try_from(it).ok())
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use net::header::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn answer() -> serde_json::Value {
        json!({"24296fb24b8ad77a": {
            "body": STANDARD.encode(r#"{"apiVersion":"0.0.1","kind":"dsse","spec":{}}"#),
            "integratedTime": 7,
            "logID": "c0d2",
            "logIndex": 5,
            "verification": {
                "inclusionProof": {
                    "checkpoint": "log\n3\n",
                    "hashes": ["0aff"],
                    "logIndex": 2,
                    "rootHash": "01",
                    "treeSize": 3,
                },
                "signedEntryTimestamp": "c2V0",
            },
        }})
    }

    #[test]
    fn an_entry_is_read_with_its_promise_and_its_proof() {
        let entry = parse(answer().to_string().as_bytes()).unwrap();
        assert_eq!(
            (entry.kind.as_str(), entry.version.as_str()),
            ("dsse", "0.0.1")
        );
        assert_eq!((entry.log_index, entry.integrated_time), (5, Some(7)));
        assert_eq!(entry.log_id, [0xc0, 0xd2]);
        assert_eq!(entry.promise.as_deref(), Some(&b"set"[..]));
        let proof = entry.proof.unwrap();
        assert_eq!(proof.hashes, [[0x0a, 0xff]]);
        assert_eq!((proof.log_index, proof.tree_size), (2, 3));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let mut two = answer();
        two["other"] = two["24296fb24b8ad77a"].clone();
        let mut odd = answer();
        odd["24296fb24b8ad77a"]["logID"] = "abc".into();
        let mut text = answer();
        text["24296fb24b8ad77a"]["body"] = "!".into();
        for bad in [two, odd, text, json!({}), json!([]), json!(null)] {
            assert!(parse(bad.to_string().as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn where_an_entry_is_already_is_in_this_log() {
        let entries = Url::parse("https://log.example/api/v1/log/entries").unwrap();
        let there = |location: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, HeaderValue::from_static(location));
            let answer = Answer::new(StatusCode::CONFLICT, headers, "");
            existing(&entries, &answer).map(String::from)
        };
        let expected = Some("https://log.example/api/v1/log/entries/24ab".to_owned());
        assert_eq!(there("/api/v1/log/entries/24ab"), expected);
        assert_eq!(
            there("http://inside:3000/api/v1/log/entries/24ab"),
            expected
        );
        for elsewhere in [
            "/api/v1/log/entries/",
            "/api/v1/log/entries/../../../admin",
            "/admin",
            "/api/v1/log/entries/24ab/x",
        ] {
            assert_eq!(there(elsewhere), None, "{elsewhere}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes: Vec<u8>, text in r"\PC{0,20}") {
            parse(&bytes);
            hex(&text);
        }
    }
}
