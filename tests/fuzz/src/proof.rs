//! What proves who signed, and when: bundles, certificates with their promises of publication,
//! timestamps, checkpoints, and the trusted roots that they are checked against. Whatever the bytes
//! are, nothing is accepted but what cosign signed.

use std::sync::LazyLock;

use attest::{
    Bundle, Content, IdentityPattern, Material, Message, Rejection, SignerPattern, TextPattern,
    TrustedRoot, VerifiedSignature, Verifier,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::Target;

pub(crate) const BUNDLE: Target = Target {
    name: "bundle",
    run: bundle,
    seeds: bundle_seeds,
    words: &[
        "\"mediaType\":",
        "\"verificationMaterial\":{",
        "\"publicKey\":{\"hint\":\"\"}",
        "\"x509CertificateChain\":{\"certificates\":[",
        "\"tlogEntries\":[{",
        "\"inclusionPromise\":",
        "\"inclusionProof\":{",
        "\"rfc3161Timestamps\":[",
        "\"dsseEnvelope\":{",
        "\"9223372036854775807\"",
        "\"-1\"",
        "null",
        "application/vnd.dev.sigstore.bundle+json;version=0.1",
    ],
    short: 600,
};

pub(crate) const CERTIFICATE: Target = Target {
    name: "certificate",
    run: certificate,
    seeds: certificate_seeds,
    words: &["0", "\u{4}", "\u{7f}", "\u{0}", "\u{3}\u{2}\u{1}"],
    short: 600,
};

pub(crate) const TIMESTAMP: Target = Target {
    name: "timestamp",
    run: timestamp,
    seeds: timestamp_seeds,
    words: &["0", "\u{4}", "\u{7f}", "\u{0}", "20260101000000Z", ".5Z"],
    short: 600,
};

pub(crate) const CHECKPOINT: Target = Target {
    name: "checkpoint",
    run: checkpoint,
    seeds: checkpoint_seeds,
    words: &[
        "\n",
        "\n\n",
        "\u{2014} ",
        " ",
        "AAAA",
        "0",
        "18446744073709551615",
    ],
    short: 600,
};

pub(crate) const TRUSTED_ROOT: Target = Target {
    name: "trusted_root",
    run: trusted_root,
    seeds: trusted_root_seeds,
    words: &[
        "\"tlogs\":[",
        "\"ctlogs\":[",
        "\"certificateAuthorities\":[",
        "\"timestampAuthorities\":[",
        "\"validFor\":{\"start\":\"",
        "\"operator\":\"",
        "\"checkpointKeyId\":",
        "\"rawBytes\":\"",
        "null",
        "application/vnd.dev.sigstore.trustedroot.v0.2+json",
    ],
    short: 600,
};

const ROOT: &[u8] = include_bytes!("../../fixtures/keyless/trusted_root.json");
const BLOB: &[u8] = include_bytes!("../../fixtures/blobs/artifact.txt");
/// By Rekor v1, and by v2 with a timestamp.
const BUNDLES: [&[u8]; 2] = [
    include_bytes!("../../fixtures/blobs/keyless-signing_config.sigstore.json"),
    include_bytes!("../../fixtures/blobs/keyless-signing_config_rekor2.sigstore.json"),
];

static VERIFIER: LazyLock<Verifier> =
    LazyLock::new(|| Verifier::trusting(TrustedRoot::parse(ROOT).expect("it is one")));

static SIGNER: LazyLock<SignerPattern> = LazyLock::new(|| {
    let exact = |text| TextPattern::exact(text).expect("it is not empty");
    SignerPattern::Identity(IdentityPattern::new(
        exact("dev@example.test"),
        exact("http://127.0.0.1:5620/oidc"),
    ))
});

fn verify(verifier: &Verifier, bundle: &[u8]) -> Result<VerifiedSignature, Rejection> {
    let message = Message::Bytes(BLOB.into());
    verifier.verify_blob(bundle, &message, std::slice::from_ref(&*SIGNER))
}

fn parsed(number: usize) -> Bundle {
    let bytes = BUNDLES.get(number).copied().unwrap_or_default();
    Bundle::parse(bytes).expect("cosign made it")
}

/// A good bundle with this in place of something.
fn with(number: usize, pointer: &str, value: Value) -> Vec<u8> {
    let mut bundle: Value = serde_json::from_slice(parsed(number).json()).expect("it is JSON");
    *bundle.pointer_mut(pointer).expect("it is there") = value;
    bundle.to_string().into_bytes()
}

fn bundle_seeds() -> Vec<Vec<u8>> {
    BUNDLES.map(<[u8]>::to_vec).to_vec()
}

fn bundle(data: &[u8]) {
    let Ok(_proof) = verify(&VERIFIER, data) else {
        return;
    };
    let accepted = Bundle::parse(data.to_vec()).expect("it was verified");
    let is_known = [0, 1]
        .map(parsed)
        .iter()
        .any(|it| it.content().signature() == accepted.content().signature());
    assert!(is_known, "what nobody signed is accepted");
    if let Content::Envelope(_) = accepted.content() {
        unreachable_envelope();
    }
}

#[expect(clippy::panic, reason = "this is how a broken promise is said")]
fn unreachable_envelope() {
    panic!("a statement is taken for a signature over a blob");
}

fn certificate_seeds() -> Vec<Vec<u8>> {
    let leaf = |number| match parsed(number).material() {
        Material::Certificate(der) => Some(der.clone()),
        _ => None,
    };
    [0, 1].into_iter().filter_map(leaf).collect()
}

fn certificate(data: &[u8]) {
    for number in [0, 1] {
        let raw = STANDARD.encode(data);
        let bundle = with(
            number,
            "/verificationMaterial/certificate/rawBytes",
            raw.into(),
        );
        if verify(&VERIFIER, &bundle).is_ok() {
            assert!(
                certificate_seeds().contains(&data.to_vec()),
                "another certificate is accepted"
            );
        }
    }
}

fn timestamp_seeds() -> Vec<Vec<u8>> {
    let bundle = parsed(1);
    bundle.timestamps().iter().map(|it| it.0.clone()).collect()
}

fn timestamp(data: &[u8]) {
    let raw = STANDARD.encode(data);
    let pointer =
        "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp";
    if let Ok(proof) = verify(&VERIFIER, &with(1, pointer, raw.into())) {
        let good = verify(&VERIFIER, parsed(1).json()).expect("cosign made it");
        assert_eq!(proof.times(), good.times(), "another time is accepted");
    }
}

fn checkpoint_seeds() -> Vec<Vec<u8>> {
    [0, 1]
        .into_iter()
        .flat_map(|number| parsed(number).log_entries().to_vec())
        .filter_map(|it| Some(it.proof?.checkpoint.into_bytes()))
        .collect()
}

fn checkpoint(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for (number, good) in checkpoint_seeds().into_iter().enumerate() {
        let pointer = "/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope";
        if verify(&VERIFIER, &with(number, pointer, text.as_ref().into())).is_ok() {
            let good = String::from_utf8_lossy(&good);
            let (signed, _) = good.split_once("\n\n").expect("it is a note");
            assert!(text.starts_with(signed), "another tree is accepted");
        }
    }
}

fn trusted_root_seeds() -> Vec<Vec<u8>> {
    vec![ROOT.to_vec()]
}

fn trusted_root(data: &[u8]) {
    if let Ok(root) = TrustedRoot::parse(data) {
        let verifier = Verifier::trusting(root);
        for good in BUNDLES {
            if let Err(error) = verify(&verifier, good) {
                assert!(!error.to_string().is_empty());
            }
        }
    }
}
