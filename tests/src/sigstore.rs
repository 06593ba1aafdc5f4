//! A Sigstore of our own, without services: an authority with a chain, a log of certificates, logs of
//! signatures of both generations, and a clock. What it says can be wrong at each place.

mod der;

use attest::bundle::{InclusionProof, LogEntry, SignedTimestamp};
use attest::key::PrivateKey;
use attest::{Bundle, Material, Payload, Signature, TrustedRoot, VerificationMaterial};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::Digest;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use der::{bits, explicit, extension, name, octets, oid, sequence, set, time, utf8};

/// When its signers sign.
pub const SIGNED_AT: OffsetDateTime = datetime!(2026-06-01 12:00:00 UTC);

/// Who signs, and who says so.
pub const SUBJECT: &str = "dev@example.test";
/// The issuer of their tokens.
pub const ISSUER: &str = "https://issuer.example.test";

/// From when to when something is valid.
pub type Window = (OffsetDateTime, OffsetDateTime);

const YEARS: Window = (
    datetime!(2020-01-01 00:00:00 UTC),
    datetime!(2035-01-01 00:00:00 UTC),
);

/// What to make: a good signature, unless a field says otherwise.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "tests change one field and keep the others"
)]
pub struct Recipe {
    /// When the root is valid.
    pub root: Window,
    /// When the certificate between it and the signer's is valid.
    pub intermediate: Window,
    /// How many more certificates the root allows below it.
    pub root_path_length: u8,
    /// What the intermediate may certify; none: anything.
    pub intermediate_purpose: Option<Vec<u8>>,
    /// When the signer's is valid.
    pub leaf: Window,
    /// What the signer's is for: the identifier, DER.
    pub purpose: Vec<u8>,
    /// Who promised to publish it.
    pub published: Published,
    /// Whether the log is one of the first generation, which promises.
    pub first_generation: bool,
    /// The log ID that the entry says, if it is not the log's.
    pub log_id: Option<Vec<u8>>,
    /// Who signs the tree.
    pub tree_by: TreeBy,
    /// When the clock sees it; none: it does not.
    pub seen: Option<OffsetDateTime>,
    /// When the clock's own certificate is valid.
    pub clock: Window,
    /// What the clock's certificate is for.
    pub clock_purpose: Vec<u8>,
    /// When the trusted root trusts the clock.
    pub clock_trusted: Window,
    /// When the log promises to have taken it.
    pub logged: OffsetDateTime,
}

/// Who promised to publish a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are no other cases")]
pub enum Published {
    /// A log of the trusted root.
    Known,
    /// A log that nobody trusts.
    Unknown,
    /// The log's ID, another's signature.
    Forged,
    /// Nobody.
    No,
}

/// Who signs a log's tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are no other cases")]
pub enum TreeBy {
    /// The log.
    Itself,
    /// Another log of the same trusted root, as itself.
    Another,
    /// That one, in the log's name.
    AnotherInItsName,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            root: YEARS,
            intermediate: YEARS,
            root_path_length: 1,
            intermediate_purpose: Some(oid::CODE_SIGNING.to_vec()),
            leaf: (
                datetime!(2026-06-01 11:59:00 UTC),
                datetime!(2026-06-01 12:09:00 UTC),
            ),
            purpose: oid::CODE_SIGNING.to_vec(),
            published: Published::Known,
            first_generation: false,
            log_id: None,
            tree_by: TreeBy::Itself,
            seen: Some(SIGNED_AT),
            clock: YEARS,
            clock_purpose: oid::TIME_STAMPING.to_vec(),
            clock_trusted: YEARS,
            logged: SIGNED_AT,
        }
    }
}

/// The identifier of time stamping, DER: what signs code is not for it.
pub const TIME_STAMPING: &[u8] = oid::TIME_STAMPING;

/// What was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Made {
    /// The trusted root, JSON.
    pub root: Value,
    /// The bundle.
    pub bundle: Bundle,
}

impl Made {
    /// The trusted root.
    ///
    /// # Panics
    /// If it is none.
    pub fn trusted_root(&self) -> TrustedRoot {
        TrustedRoot::parse(self.root.to_string().as_bytes()).expect("it is one")
    }
}

impl Recipe {
    /// Signs `statement` so.
    ///
    /// # Panics
    /// If it has no JSON form.
    pub fn sign(&self, statement: &Value) -> Made {
        let payload = Payload::of(statement).expect("it has a JSON form");
        let bytes = serde_json::to_vec(statement).expect("it has a JSON form");
        let key = new_key();
        let signature = sign(&key, &payload.pae());
        let keys = Keys::new();
        let (root, intermediate, leaf) = self.certificates(&keys, &key);
        let entry = self.entry(&keys, &payload.pae(), &bytes, &signature, &leaf);
        let timestamps = self.seen.map(|at| Self::timestamp(&keys, &signature, at));
        let clock = self.clock_certificate(&keys);
        let material = VerificationMaterial {
            signer: Material::Certificate(leaf),
            log_entries: vec![entry],
            timestamps: timestamps.into_iter().collect(),
        };
        let signature = Signature {
            bytes: signature,
            material,
        };
        Made {
            root: self.trusted_root(&keys, &[intermediate, root], &clock),
            bundle: Bundle::of_statement(payload, signature),
        }
    }

    /// Root, intermediate and signer's certificate.
    fn certificates(&self, keys: &Keys, key: &PrivateKey) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let root = certificate(
            &Subject {
                name: name("root"),
                key: &keys.root,
                window: self.root,
                extensions: vec![
                    extension(
                        oid::BASIC_CONSTRAINTS,
                        true,
                        &authority(self.root_path_length),
                    ),
                    extension(oid::KEY_USAGE, true, &der::key_usage(0b0000_0110)),
                ],
            },
            &name("root"),
            &keys.root,
        );
        let mut extensions = vec![
            extension(oid::BASIC_CONSTRAINTS, true, &authority(0)),
            extension(oid::KEY_USAGE, true, &der::key_usage(0b0000_0110)),
        ];
        if let Some(purpose) = &self.intermediate_purpose {
            let purposes = sequence(&[purpose]);
            extensions.push(extension(oid::EXTENDED_KEY_USAGE, false, &purposes));
        }
        let intermediate = certificate(
            &Subject {
                name: name("intermediate"),
                key: &keys.intermediate,
                window: self.intermediate,
                extensions,
            },
            &name("root"),
            &keys.root,
        );
        let mut leaf = Subject {
            name: sequence(&[]),
            key,
            window: self.leaf,
            extensions: vec![
                extension(oid::KEY_USAGE, true, &der::key_usage(0b1000_0000)),
                extension(oid::EXTENDED_KEY_USAGE, false, &sequence(&[&self.purpose])),
                extension(
                    oid::SUBJECT_ALT_NAME,
                    true,
                    &sequence(&[&der::tagged(0x81, SUBJECT.as_bytes())]),
                ),
                extension(oid::FULCIO_ISSUER, false, &utf8(ISSUER)),
            ],
        };
        let (log, signer) = match self.published {
            Published::Known => (&keys.certificates, &keys.certificates),
            Published::Unknown => (&keys.stranger, &keys.stranger),
            Published::Forged => (&keys.certificates, &keys.stranger),
            Published::No => return (root, intermediate, Self::unpublished(keys, &leaf)),
        };
        let precertificate = tbs(&leaf, &name("intermediate"));
        let millis = u64::try_from(self.leaf.0.unix_timestamp()).expect("it is later than 1970");
        let scts = sct_list(
            millis * 1000,
            &precertificate,
            &sha256(keys.intermediate.public_key().spki()),
            &sha256(log.public_key().spki()),
            signer,
        );
        leaf.extensions
            .push(extension(oid::SCT_LIST, false, &octets(&scts)));
        let leaf = certificate(&leaf, &name("intermediate"), &keys.intermediate);
        (root, intermediate, leaf)
    }

    fn unpublished(keys: &Keys, leaf: &Subject<'_>) -> Vec<u8> {
        certificate(leaf, &name("intermediate"), &keys.intermediate)
    }

    fn entry(
        &self,
        keys: &Keys,
        pae: &[u8],
        payload: &[u8],
        signature: &[u8],
        leaf: &[u8],
    ) -> LogEntry {
        let (kind, version, body) = if self.first_generation {
            let pem = format!(
                "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                STANDARD.encode(leaf)
            );
            let body = json!({
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": {"algorithm": "sha256", "value": hex(&sha256(b"any"))},
                    "payloadHash": {"algorithm": "sha256", "value": hex(&sha256(payload))},
                    "signatures": [{
                        "signature": STANDARD.encode(signature),
                        "verifier": STANDARD.encode(pem),
                    }],
                },
            });
            ("dsse", "0.0.1", body.to_string())
        } else {
            // Canonical: in the order of the names of fields.
            let body = format!(
                r#"{{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{{"hashedRekordV002":{{"data":{{"algorithm":"SHA2_256","digest":"{}"}},"signature":{{"content":"{}","verifier":{{"keyDetails":"PKIX_ECDSA_P256_SHA_256","x509Certificate":{{"rawBytes":"{}"}}}}}}}}}}}}"#,
                STANDARD.encode(sha256(pae)),
                STANDARD.encode(signature),
                STANDARD.encode(leaf),
            );
            ("hashedrekord", "0.0.2", body)
        };
        let body = body.into_bytes();
        let log_id = self
            .log_id
            .clone()
            .unwrap_or_else(|| sha256(keys.log.public_key().spki()));
        let mut entry = LogEntry {
            log_index: 1,
            log_id,
            kind: kind.to_owned(),
            version: version.to_owned(),
            integrated_time: None,
            promise: None,
            proof: Some(self.proof(keys, &body)),
            body,
        };
        if self.first_generation {
            let at = self.logged.unix_timestamp();
            let promised = format!(
                r#"{{"body":"{}","integratedTime":{at},"logID":"{}","logIndex":1}}"#,
                STANDARD.encode(&entry.body),
                hex(&entry.log_id),
            );
            entry.integrated_time = Some(at);
            entry.promise = Some(sign(&keys.log, promised.as_bytes()));
        }
        entry
    }

    /// In a tree of two entries, the second.
    fn proof(&self, keys: &Keys, body: &[u8]) -> InclusionProof {
        let sibling = sha256(b"\0another entry");
        let leaf = sha256(&[b"\0", body].concat());
        let root_hash = sha256(&[b"\x01", sibling.as_slice(), &leaf].concat());
        let (own, other) = if self.first_generation {
            ("log.example.test - 1", "other.example.test - 1")
        } else {
            ("log.example.test", "other.example.test")
        };
        let (origin, key) = match self.tree_by {
            TreeBy::Itself => (own, &keys.log),
            TreeBy::Another => (other, &keys.other_log),
            TreeBy::AnotherInItsName => (own, &keys.other_log),
        };
        let text = format!("{origin}\n2\n{}\n", STANDARD.encode(&root_hash));
        let hint = sha256(key.public_key().spki());
        let signature = [
            hint.get(..4).unwrap_or_default(),
            &sign(key, text.as_bytes()),
        ]
        .concat();
        let name = origin.split(' ').next().unwrap_or_default();
        let checkpoint = format!("{text}\n\u{2014} {name} {}\n", STANDARD.encode(signature));
        InclusionProof {
            log_index: 1,
            root_hash,
            tree_size: 2,
            hashes: vec![sibling],
            checkpoint,
        }
    }

    fn clock_certificate(&self, keys: &Keys) -> Vec<u8> {
        certificate(
            &Subject {
                name: name("clock"),
                key: &keys.clock,
                window: self.clock,
                extensions: vec![
                    extension(oid::KEY_USAGE, true, &der::key_usage(0b1000_0000)),
                    extension(
                        oid::EXTENDED_KEY_USAGE,
                        true,
                        &sequence(&[&self.clock_purpose]),
                    ),
                ],
            },
            &name("clock root"),
            &keys.clock_root,
        )
    }

    fn timestamp(keys: &Keys, signature: &[u8], at: OffsetDateTime) -> SignedTimestamp {
        let info = sequence(&[
            &der::integer(1),
            oid::POLICY,
            &sequence(&[
                &sequence(&[oid::SHA256, &der::tagged(5, &[])]),
                &octets(&sha256(signature)),
            ]),
            &der::integer(7),
            &time(at),
        ]);
        let attributes = [
            sequence(&[oid::CONTENT_TYPE, &set(&[oid::TST_INFO])]),
            sequence(&[oid::MESSAGE_DIGEST, &set(&[&octets(&sha256(&info))])]),
        ]
        .concat();
        let signed = sign(&keys.clock, &der::tagged(0x31, &attributes));
        let algorithm = sequence(&[oid::SHA256]);
        let signer = sequence(&[
            &der::integer(1),
            &sequence(&[&name("clock root"), &der::integer(1)]),
            &algorithm,
            &der::tagged(0xa0, &attributes),
            &sequence(&[oid::ECDSA_SHA256]),
            &octets(&signed),
        ]);
        let data = sequence(&[
            &der::integer(3),
            &set(&[&algorithm]),
            &sequence(&[oid::TST_INFO, &explicit(0, &octets(&info))]),
            &set(&[&signer]),
        ]);
        let token = sequence(&[oid::SIGNED_DATA, &explicit(0, &data)]);
        SignedTimestamp(sequence(&[&sequence(&[&der::integer(0)]), &token]))
    }

    fn trusted_root(&self, keys: &Keys, chain: &[Vec<u8>], clock: &[u8]) -> Value {
        let text = |at: OffsetDateTime| intoto::Timestamp::try_from(at).expect("it is a time");
        let window = |(start, end): Window| json!({"start": text(start), "end": text(end)});
        let log = |url: &str, key: &PrivateKey| {
            let spki = key.public_key().spki();
            json!({
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(spki),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": window(YEARS),
                },
                "logId": {"keyId": STANDARD.encode(sha256(spki))},
            })
        };
        let certificates = |chain: &[&[u8]]| {
            let all: Vec<_> = chain
                .iter()
                .map(|it| json!({"rawBytes": STANDARD.encode(it)}))
                .collect();
            json!({"certificates": all})
        };
        let clock_root = certificate(
            &Subject {
                name: name("clock root"),
                key: &keys.clock_root,
                window: YEARS,
                extensions: vec![
                    extension(oid::BASIC_CONSTRAINTS, true, &authority(0)),
                    extension(oid::KEY_USAGE, true, &der::key_usage(0b0000_0110)),
                ],
            },
            &name("clock root"),
            &keys.clock_root,
        );
        let chain: Vec<_> = chain.iter().map(Vec::as_slice).collect();
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [
                log("https://log.example.test", &keys.log),
                log("https://other.example.test", &keys.other_log),
            ],
            "ctlogs": [log("https://ct.example.test", &keys.certificates)],
            "certificateAuthorities": [{
                "subject": {"organization": "test", "commonName": "root"},
                "uri": "https://ca.example.test",
                "certChain": certificates(&chain),
                "validFor": window(YEARS),
            }],
            "timestampAuthorities": [{
                "subject": {"organization": "test", "commonName": "clock root"},
                "uri": "https://clock.example.test",
                "certChain": certificates(&[clock, clock_root.as_slice()]),
                "validFor": window(self.clock_trusted),
            }],
        })
    }
}

/// Everybody's keys.
struct Keys {
    root: PrivateKey,
    intermediate: PrivateKey,
    certificates: PrivateKey,
    stranger: PrivateKey,
    log: PrivateKey,
    other_log: PrivateKey,
    clock_root: PrivateKey,
    clock: PrivateKey,
}

impl Keys {
    fn new() -> Self {
        Self {
            root: new_key(),
            intermediate: new_key(),
            certificates: new_key(),
            stranger: new_key(),
            log: new_key(),
            other_log: new_key(),
            clock_root: new_key(),
            clock: new_key(),
        }
    }
}

fn new_key() -> PrivateKey {
    PrivateKey::generate().expect("there are random numbers")
}

fn sign(key: &PrivateKey, message: &[u8]) -> Vec<u8> {
    key.sign_message(message).expect("P-256 signs")
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    let digest = Digest::of(bytes);
    let hex = digest.hex().as_bytes();
    let digit = |it: u8| match it {
        b'0'..=b'9' => it - b'0',
        _ => it - b'a' + 10,
    };
    hex.chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, it| byte * 16 + digit(*it)))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("strings can be written");
        text
    })
}

/// Whom a certificate is for, and what it says.
struct Subject<'a> {
    name: Vec<u8>,
    key: &'a PrivateKey,
    window: Window,
    extensions: Vec<Vec<u8>>,
}

fn authority(path_length: u8) -> Vec<u8> {
    sequence(&[&der::tagged(1, &[0xff]), &der::integer(path_length)])
}

fn tbs(subject: &Subject<'_>, issuer: &[u8]) -> Vec<u8> {
    let (from, to) = subject.window;
    let extensions: Vec<_> = subject.extensions.iter().map(Vec::as_slice).collect();
    sequence(&[
        &explicit(0, &der::integer(2)),
        &der::integer(1),
        &sequence(&[oid::ECDSA_SHA256]),
        issuer,
        &sequence(&[&time(from), &time(to)]),
        &subject.name,
        subject.key.public_key().spki(),
        &explicit(3, &sequence(&extensions)),
    ])
}

fn certificate(subject: &Subject<'_>, issuer: &[u8], key: &PrivateKey) -> Vec<u8> {
    let tbs = tbs(subject, issuer);
    let signature = sign(key, &tbs);
    sequence(&[&tbs, &sequence(&[oid::ECDSA_SHA256]), &bits(&signature)])
}

/// A list with one signed certificate timestamp, as TLS has it.
fn sct_list(millis: u64, tbs: &[u8], issuer: &[u8], log_id: &[u8], key: &PrivateKey) -> Vec<u8> {
    let short = |len: usize| u16::try_from(len).expect("it is short").to_be_bytes();
    let tbs_len = u32::try_from(tbs.len()).expect("it is short").to_be_bytes();
    let signed = [
        &[0, 0],
        millis.to_be_bytes().as_slice(),
        &[0, 1],
        issuer,
        &tbs_len[1..],
        tbs,
        &[0, 0],
    ]
    .concat();
    let signature = sign(key, &signed);
    let sct = [
        &[0],
        log_id,
        &millis.to_be_bytes(),
        &[0, 0],
        &[4, 3],
        &short(signature.len()),
        &signature,
    ]
    .concat();
    let one = [short(sct.len()).as_slice(), &sct].concat();
    [short(one.len()).as_slice(), &one].concat()
}
