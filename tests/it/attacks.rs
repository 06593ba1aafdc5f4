//! What strangers try, a test for each row of the table of attacks in `attest::manual`.
//!
//! "A stranger" may push anything to the repository, may run the registry, but has no trusted key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use attest::{AttachError, Discovered, IgnoreReason, Rejection, Verifier};
use bytes::Bytes;
use intoto::{PredicateType, Statement};
use oci::{
    Content, Descriptor, Digest, Limits, MediaType, MemoryStore, Selector, Store, StoreError, Tag,
    Upload,
};
use serde_json::{Value, json};

use crate::verify::{
    IMAGE, accept_all, attached, descriptor, memory, private_key, public_key, sealed, signed,
};

const IN_TOTO: &str = "application/vnd.in-toto+json";
const ARM: &str = "sha256:0470b6d22442f4b227fdebbd218ae89b557d0010375619d511c0a9f6c9e8d73b";

/// Whether the image is signed, as a verifier that knows cosign's key sees it.
async fn is_signed(store: &dyn Store) -> bool {
    let accepted = accept_all(&public_key("cosign.pub"));
    let found = attached(store, IMAGE).await;
    let image = descriptor(IMAGE);
    let (verified, _) = Verifier::of_keys().verify_all(&found, &image, &accepted);
    attest::is_signed(&verified, &image.digest)
}

async fn sign(store: &dyn Store) -> Descriptor {
    let bundle = signed(PredicateType::COSIGN_SIGN, &private_key("cosign.key"));
    attest::attach(store, &descriptor(IMAGE), &bundle, None)
        .await
        .unwrap()
        .manifest
}

async fn discover(store: &dyn Store, limits: &Limits) -> Result<Discovered, AttachError> {
    attest::discover(store, &descriptor(IMAGE), limits).await
}

/// Pushes any manifest.
async fn push(store: &dyn Store, manifest: &Value) -> Descriptor {
    let bytes = serde_json::to_vec(manifest).unwrap();
    let target = Descriptor::of(MediaType::IMAGE_MANIFEST, &bytes);
    store.push_manifest(&target, bytes.into()).await.unwrap();
    target
}

/// The manifest of a referrer with one layer.
fn referrer(subject: &str, layer: &Descriptor) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::IMAGE_MANIFEST,
        "artifactType": MediaType::SIGSTORE_BUNDLE,
        "config": Descriptor::of(MediaType::EMPTY, b"{}"),
        "layers": [layer],
        "subject": descriptor(subject),
    })
}

async fn push_blob(store: &dyn Store, media_type: MediaType, content: &[u8]) -> Descriptor {
    let target = Descriptor::of(media_type, content);
    let upload = Upload::Bytes(Bytes::copy_from_slice(content));
    store.push_blob(&target, upload).await.unwrap();
    target
}

/// What a verifier that knows cosign's key says of a bundle about the image.
fn judge(bundle: &[u8]) -> Result<attest::Verified, Rejection> {
    let accepted = accept_all(&public_key("cosign.pub"));
    Verifier::of_keys().verify(bundle, &descriptor(IMAGE), &accepted)
}

/// Judges a payload that the trusted key itself signed.
fn judge_payload(payload: &str) -> Result<attest::Verified, Rejection> {
    let key = private_key("cosign.key");
    judge(&sealed(IN_TOTO, payload.as_bytes(), &key))
}

fn hex() -> &'static str {
    IMAGE.strip_prefix("sha256:").unwrap()
}

/// The text of a good statement, with these subjects.
fn statement(subject: &Value) -> String {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
    .to_string()
}

/// A store that answers as it likes: lists what it is told to, hides, lies, fails.
struct Liar {
    truth: MemoryStore,
    listed: Option<Vec<Descriptor>>,
    /// What it lists before that: once each.
    listed_first: Mutex<Vec<Vec<Descriptor>>>,
    swapped: BTreeMap<Digest, Bytes>,
    is_down: bool,
}

impl Liar {
    fn over(truth: MemoryStore) -> Self {
        Self {
            truth,
            listed: None,
            listed_first: Mutex::default(),
            swapped: BTreeMap::new(),
            is_down: false,
        }
    }

    fn up(&self) -> Result<(), StoreError> {
        if self.is_down {
            return Err(StoreError::Unavailable {
                place: "liar".to_owned(),
                action: "answer".to_owned(),
                source: "down".into(),
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Liar")
    }
}

#[async_trait]
impl Store for Liar {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        self.truth.resolve(selector).await
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        self.truth.contains(target).await
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        if let Some(bytes) = self.swapped.get(&target.digest) {
            // As every store does: what comes is checked.
            return Err(StoreError::DigestMismatch {
                expected: target.digest.clone(),
                presented: Digest::of(bytes),
                came: None,
            });
        }
        self.truth.fetch(target).await
    }

    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        self.truth.push_blob(target, upload).await
    }

    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        self.truth.push_manifest(target, content).await
    }

    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        self.truth.tag(target, tag).await
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        self.truth.tags().await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        self.up()?;
        if let Some(listed) = self.listed_first.lock().unwrap().pop() {
            return Ok(listed);
        }
        match &self.listed {
            Some(listed) => Ok(listed.clone()),
            None => self.truth.referrers(subject).await,
        }
    }

    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        self.truth.delete(target).await
    }
}

#[tokio::test]
async fn row_02_content_that_is_not_what_its_digest_says_is_ignored() {
    let mut store = Liar::over(memory().await);
    let manifest = sign(&store).await;
    store
        .swapped
        .insert(manifest.digest.clone(), Bytes::from_static(b"{}"));
    let found = discover(&store, &Limits::default()).await.unwrap();
    assert!(found.attached.is_empty());
    assert!(matches!(
        found.ignored[0].reason,
        IgnoreReason::Absent(StoreError::DigestMismatch { .. })
    ));
}

#[tokio::test]
async fn row_03_a_signature_of_one_platform_is_none_of_another_or_of_the_index() {
    let bundle = signed(PredicateType::COSIGN_SIGN, &private_key("cosign.key"));
    let accepted = accept_all(&public_key("cosign.pub"));
    for other in [
        ARM,
        "sha256:c6f3e4f68abb748aab3e6f1869017556e325ca97b11d4a6c4b7e00412b555d03",
    ] {
        assert!(matches!(
            Verifier::of_keys().verify(bundle.json(), &descriptor(other), &accepted),
            Err(Rejection::OtherSubject { .. })
        ));
    }
}

#[tokio::test]
async fn row_05_a_referrer_that_is_both_image_and_index_is_ignored() {
    let store = memory().await;
    let layer = push_blob(&store, MediaType::SIGSTORE_BUNDLE, b"{}").await;
    let mut both = referrer(IMAGE, &layer);
    both["manifests"] = json!([]);
    // A careful store does not even take it.
    let bytes = serde_json::to_vec(&both).unwrap();
    let target = Descriptor::of(MediaType::IMAGE_MANIFEST, &bytes);
    if store.push_manifest(&target, bytes.into()).await.is_ok() {
        let found = discover(&store, &Limits::default()).await.unwrap();
        assert!(matches!(
            found.ignored[0].reason,
            IgnoreReason::Manifest(oci::ManifestError::Ambiguous)
        ));
    }
    assert!(!is_signed(&store).await);
    sign(&store).await;
    assert!(is_signed(&store).await);
}

#[tokio::test]
async fn row_06_junk_beside_an_image_neither_helps_nor_harms() {
    let store = memory().await;
    // Junk in bundles, junk in place of bundles, more or fewer layers than one.
    for n in 0..100 {
        let layer = push_blob(
            &store,
            MediaType::SIGSTORE_BUNDLE,
            format!("junk {n}").as_bytes(),
        )
        .await;
        push(&store, &referrer(IMAGE, &layer)).await;
    }
    let bundle = push_blob(&store, MediaType::SIGSTORE_BUNDLE, b"{}").await;
    let other = push_blob(&store, "text/plain".into(), b"text").await;
    push(&store, &referrer(IMAGE, &other)).await;
    let mut two = referrer(IMAGE, &bundle);
    two["layers"] = json!([bundle, bundle]);
    push(&store, &two).await;
    let mut none = referrer(IMAGE, &bundle);
    none["layers"] = json!([]);
    push(&store, &none).await;
    let mut loud = referrer(IMAGE, &bundle);
    loud["annotations"] = json!({"huge": "x".repeat(1 << 20)});
    push(&store, &loud).await;

    assert!(!is_signed(&store).await);
    sign(&store).await;
    assert!(is_signed(&store).await);
    let found = discover(&store, &Limits::default()).await.unwrap();
    assert_eq!((found.attached.len(), found.ignored.len()), (102, 3));
    assert_eq!(found.unread, 0);
}

#[tokio::test]
async fn row_06_more_referrers_than_the_limit_are_said_to_be_unread() {
    let store = memory().await;
    for n in 0..10 {
        let layer = push_blob(
            &store,
            MediaType::SIGSTORE_BUNDLE,
            format!("{n}").as_bytes(),
        )
        .await;
        push(&store, &referrer(IMAGE, &layer)).await;
    }
    let limits = Limits {
        referrers: 4,
        ..Limits::default()
    };
    let found = discover(&store, &limits).await.unwrap();
    assert_eq!((found.attached.len(), found.unread), (4, 6));
}

#[tokio::test]
async fn row_06_what_is_not_likely_goes_last_but_is_not_left_out() {
    let mut store = Liar::over(memory().await);
    let mut signature = sign(&store).await;
    let mut listed = Vec::new();
    for n in 0..10 {
        let layer = push_blob(&store, "text/plain".into(), format!("{n}").as_bytes()).await;
        let mut junk = push(&store, &referrer(IMAGE, &layer)).await;
        junk.artifact_type = Some("text/plain".into());
        listed.push(junk);
    }
    let limits = Limits {
        referrers: 1,
        ..Limits::default()
    };
    // The types that registries with and without the referrers API list, and none at all.
    for hint in [
        Some(MediaType::SIGSTORE_BUNDLE),
        Some(MediaType::EMPTY),
        None,
    ] {
        signature.artifact_type = hint;
        let mut all = listed.clone();
        all.push(signature.clone());
        store.listed = Some(all);
        let found = discover(&store, &limits).await.unwrap();
        assert_eq!((found.attached.len(), found.unread), (1, 10));
    }
    // A listing that calls it something else can delay it, but not hide it.
    signature.artifact_type = Some("text/plain".into());
    listed.push(signature);
    store.listed = Some(listed);
    assert!(is_signed(&store).await);
}

#[tokio::test]
async fn row_07_a_store_that_cannot_be_asked_is_no_answer() {
    let mut store = Liar::over(memory().await);
    sign(&store).await;
    store.is_down = true;
    assert!(matches!(
        discover(&store, &Limits::default()).await,
        Err(AttachError::Store {
            source: StoreError::Unavailable { .. },
            ..
        })
    ));
    // One that hides what is there can only turn yes into no.
    store.is_down = false;
    store.listed = Some(Vec::new());
    assert!(!is_signed(&store).await);
}

/// A build that replaces proof deletes the old when the new is there: between listing and fetching.
#[tokio::test]
async fn row_07_proof_that_was_replaced_meanwhile_is_found() {
    let store = Liar::over(memory().await);
    sign(&store).await;
    let gone = Descriptor::of(MediaType::IMAGE_MANIFEST, b"gone");
    let layer = Descriptor::of(MediaType::SIGSTORE_BUNDLE, b"gone");
    let half_gone = push(&store, &referrer(IMAGE, &layer)).await;
    for old in [gone.clone(), half_gone.clone()] {
        *store.listed_first.lock().unwrap() = vec![vec![old]];
        assert!(is_signed(&store).await);
    }
    // Only once: a registry may go on like that for ever.
    *store.listed_first.lock().unwrap() = vec![vec![], vec![half_gone], vec![gone]];
    assert!(!is_signed(&store).await);
    assert_eq!(store.listed_first.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn row_08_a_referrer_of_another_image_is_none_of_this_one_whatever_is_listed() {
    let mut store = Liar::over(memory().await);
    let layer = push_blob(&store, MediaType::SIGSTORE_BUNDLE, b"{}").await;
    let other = push(&store, &referrer(ARM, &layer)).await;
    let mut without = referrer(ARM, &layer);
    without.as_object_mut().unwrap().remove("subject");
    let without = push(&store, &without).await;
    store.listed = Some(vec![other, without]);
    let found = discover(&store, &Limits::default()).await.unwrap();
    assert!(found.attached.is_empty());
    assert_eq!(found.ignored.len(), 2);
    for it in found.ignored {
        assert!(matches!(it.reason, IgnoreReason::OtherSubject { .. }));
    }
}

#[tokio::test]
async fn row_08_wrong_sizes_and_types_in_a_listing_harm_only_themselves() {
    let mut store = Liar::over(memory().await);
    let signature = sign(&store).await;
    let mut sizes = signature.clone();
    sizes.size += 1;
    // A size that is wrong hides nothing: what is read by its digest tells its own.
    store.listed = Some(vec![sizes]);
    assert!(is_signed(&store).await);
    let mut types = signature.clone();
    types.media_type = MediaType::IMAGE_INDEX;
    types.annotations = BTreeMap::from([("x".to_owned(), "y".to_owned())]);
    store.listed = Some(vec![types, signature]);
    assert!(is_signed(&store).await);
}

#[tokio::test]
async fn row_09_entries_of_a_poisoned_fallback_index_are_ignored() {
    let mut store = Liar::over(memory().await);
    let signature = sign(&store).await;
    let gone = Descriptor::of(MediaType::IMAGE_MANIFEST, b"gone");
    // The image itself, as `cosign copy` leaves it, and something that is not there.
    store.listed = Some(vec![descriptor(IMAGE), gone, signature.clone(), signature]);
    let found = discover(&store, &Limits::default()).await.unwrap();
    assert_eq!((found.attached.len(), found.ignored.len()), (1, 2));
    assert!(is_signed(&store).await);
}

#[tokio::test]
async fn row_11_annotations_decide_nothing() {
    let store = memory().await;
    let sbom = signed(PredicateType::CYCLONEDX, &private_key("cosign.key"));
    let layer = push_blob(&store, MediaType::SIGSTORE_BUNDLE, sbom.json()).await;
    let mut forged = referrer(IMAGE, &layer);
    forged["annotations"] = json!({
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
        "org.opencontainers.image.created": "9999-01-01T00:00:00Z",
    });
    push(&store, &forged).await;
    assert!(!is_signed(&store).await);
}

#[tokio::test]
async fn row_12_an_sbom_is_no_signature_and_no_provenance() {
    let store = memory().await;
    let key = private_key("cosign.key");
    let sbom = signed(PredicateType::CYCLONEDX, &key);
    attest::attach(&store, &descriptor(IMAGE), &sbom, None)
        .await
        .unwrap();
    assert!(!is_signed(&store).await);
    let accepted = [crate::verify::accept(
        PredicateType::SLSA_PROVENANCE_V1,
        key.public_key(),
    )];
    assert!(matches!(
        Verifier::of_keys().verify(sbom.json(), &descriptor(IMAGE), &accepted),
        Err(Rejection::NotAccepted { .. })
    ));
    // Nor is it read as one.
    let verified = judge(sbom.json()).unwrap();
    assert!(
        verified
            .statement()
            .predicate_as::<intoto::Provenance>()
            .is_err()
    );
    // A type that only looks alike is another type.
    for other in [
        "https://sigstore.dev/cosign/sign/v1/",
        "https://sigstore.dev/Cosign/sign/v1",
        "https://sigstore.dev/cosign/sign/v10",
    ] {
        let bundle = signed(other.parse().unwrap(), &key);
        assert!(matches!(
            judge(bundle.json()),
            Err(Rejection::NotAccepted { .. })
        ));
    }
    let none = statement(&json!([{"digest": {"sha256": hex()}}])).replace("predicateType", "x");
    assert!(matches!(judge_payload(&none), Err(Rejection::Statement(_))));
}

#[test]
fn row_13_an_envelope_has_one_signature_one_type_and_one_reading() {
    let good: Value = serde_json::from_slice(
        signed(PredicateType::COSIGN_SIGN, &private_key("cosign.key")).json(),
    )
    .unwrap();
    judge(good.to_string().as_bytes()).unwrap();
    let sig = good["dsseEnvelope"]["signatures"][0].clone();
    let payload = good["dsseEnvelope"]["payload"].as_str().unwrap();

    // None, two, two that are both good.
    for signatures in [json!([]), json!([sig, {"sig": "AA=="}]), json!([sig, sig])] {
        let mut bad = good.clone();
        bad["dsseEnvelope"]["signatures"] = signatures;
        assert!(judge(bad.to_string().as_bytes()).is_err(), "{bad}");
    }
    // A key id is nobody's name.
    let mut named = good.clone();
    named["dsseEnvelope"]["signatures"][0]["keyid"] = json!("somebody");
    judge(named.to_string().as_bytes()).unwrap();
    let stranger = signed(PredicateType::COSIGN_SIGN, &private_key("p256-pkcs8.pem"));
    let mut spoofed: Value = serde_json::from_slice(stranger.json()).unwrap();
    let hint = public_key("cosign.pub").hint();
    spoofed["dsseEnvelope"]["signatures"][0]["keyid"] = json!(hint);
    spoofed["verificationMaterial"]["publicKey"]["hint"] = json!(hint);
    assert!(matches!(
        judge(spoofed.to_string().as_bytes()),
        Err(Rejection::SignatureInvalid { .. })
    ));
    // The same payload in another encoding.
    for other in [
        format!("{payload}="),
        format!(" {payload}"),
        format!("{payload}{payload}"),
    ] {
        let mut bad = good.clone();
        bad["dsseEnvelope"]["payload"] = json!(other);
        assert!(judge(bad.to_string().as_bytes()).is_err());
    }
    // Line breaks are no other reading: Go's decoder, and so cosign, passes over them.
    let mut broken = good.clone();
    broken["dsseEnvelope"]["payload"] = json!(format!("{payload}\n"));
    judge(broken.to_string().as_bytes()).unwrap();
    // Keys twice or in other case, something behind the document.
    let text = good.to_string();
    for bad in [
        text.replacen("\"payloadType\"", "\"payloadtype\"", 1),
        text.replacen(
            "\"payloadType\"",
            "\"payloadType\":\"x\",\"payloadType\"",
            1,
        ),
        text.replacen(
            "\"dsseEnvelope\"",
            "\"dsseEnvelope\":{},\"dsseEnvelope\"",
            1,
        ),
        format!("{text}{{}}"),
        format!("{text}\0"),
    ] {
        assert!(matches!(judge(bad.as_bytes()), Err(Rejection::Bundle(_))));
    }
    // A type that eats the beginning of the payload.
    let key = private_key("cosign.key");
    let payload = statement(&json!([{"digest": {"sha256": hex()}}]));
    let (first, rest) = payload.split_at(1);
    let shifted = format!("{IN_TOTO} {} {first}", payload.len());
    assert!(judge(&sealed(&shifted, rest.as_bytes(), &key)).is_err());
}

#[test]
fn row_14_a_statement_names_its_subjects_by_whole_digests() {
    judge_payload(&statement(&json!([{"digest": {"sha256": hex()}}]))).unwrap();
    // A name is no identity, so another one is no harm.
    judge_payload(&statement(
        &json!([{"name": "another/repository", "digest": {"sha256": hex()}}]),
    ))
    .unwrap();
    for subject in [
        json!([]),
        json!(null),
        json!({}),
        json!([null]),
        json!([{}]),
        json!([{"name": IMAGE}]),
        json!([{"uri": IMAGE, "digest": {}}]),
        json!([{"digest": {"sha256": hex().to_uppercase()}}]),
        json!([{"digest": {"sha256": hex().split_at(63).0}}]),
        json!([{"digest": {"sha256": ""}}]),
        json!([{"digest": {"sha256": IMAGE}}]),
        json!([{"digest": {"SHA256": hex()}}]),
        json!([{"digest": {"sha512": hex()}}]),
        json!([{"digest": {"gitCommit": hex()}}]),
        json!(vec![json!({"digest": {"sha256": hex()}}); 1025]),
    ] {
        assert!(judge_payload(&statement(&subject)).is_err(), "{subject}");
    }
    let million = format!("[{}{{}}]", "{},".repeat(1_000_000));
    let text = statement(&json!("HERE")).replace("\"HERE\"", &million);
    assert!(matches!(judge_payload(&text), Err(Rejection::Statement(_))));
}

#[test]
fn row_22_the_key_says_how_it_signs() {
    // The same bytes, checked as what another kind of key would have made of them.
    let blob = b"message";
    let keys = [
        "cosign.pub",
        "p384.pub.pem",
        "ed25519.pub.pem",
        "rsa.pub.pem",
    ]
    .map(public_key);
    for (name, own) in [
        ("cosign.key", &keys[0]),
        ("p384-pkcs8.pem", &keys[1]),
        ("ed25519-pkcs8.pem", &keys[2]),
        ("rsa-pkcs1.pem", &keys[3]),
    ] {
        let signature = private_key(name).sign_message(blob).unwrap();
        for key in &keys {
            assert_eq!(key.has_signed(blob, &signature), key == own);
        }
        // Anything longer or shorter is another signature, or none.
        let own = keys.iter().find(|it| *it == own).unwrap();
        assert!(!own.has_signed(blob, &[signature.as_slice(), &[0]].concat()));
        assert!(!own.has_signed(blob, &signature[..signature.len() - 1]));
        assert!(!own.has_signed(blob, &[]));
    }
}

#[tokio::test]
async fn row_24_oversize_is_refused_before_it_is_read() {
    let store = memory().await;
    sign(&store).await;
    let mut huge = referrer(
        IMAGE,
        &push_blob(&store, MediaType::SIGSTORE_BUNDLE, b"{}").await,
    );
    huge["annotations"] = json!({"x": "x".repeat(5 << 20)});
    let bytes = serde_json::to_vec(&huge).unwrap();
    let target = Descriptor::of(MediaType::IMAGE_MANIFEST, &bytes);
    // A careful store does not even take it.
    if store.push_manifest(&target, bytes.into()).await.is_ok() {
        let found = discover(&store, &Limits::default()).await.unwrap();
        assert!(matches!(
            found.ignored[0].reason,
            IgnoreReason::Absent(StoreError::TooLarge { .. })
        ));
    }
    // Says that it is larger than any number of bytes; nothing is fetched.
    let mut endless = Descriptor::of(MediaType::SIGSTORE_BUNDLE, b"{}");
    endless.size = i64::MAX as u64;
    push(&store, &referrer(IMAGE, &endless)).await;
    let found = discover(&store, &Limits::default()).await.unwrap();
    assert!(
        found
            .ignored
            .iter()
            .any(|it| matches!(it.reason, IgnoreReason::TooLarge { .. }))
    );
    assert!(is_signed(&store).await);

    // Deep documents end before the stack does.
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(judge(deep.as_bytes()), Err(Rejection::Bundle(_))));
    assert!(Statement::parse(deep.as_bytes()).is_err());
    let many = vec![json!({}); 33];
    let mut entries: Value = serde_json::from_slice(
        signed(PredicateType::COSIGN_SIGN, &private_key("cosign.key")).json(),
    )
    .unwrap();
    entries["verificationMaterial"]["tlogEntries"] = json!(many);
    assert!(matches!(
        judge(entries.to_string().as_bytes()),
        Err(Rejection::Bundle(_))
    ));
}

#[tokio::test]
async fn row_25_large_junk_does_not_use_up_what_may_be_read() {
    let store = memory().await;
    let signature = sign(&store).await;
    for n in 0..4_u8 {
        let junk = vec![n; 900];
        let layer = push_blob(&store, MediaType::SIGSTORE_BUNDLE, &junk).await;
        push(&store, &referrer(IMAGE, &layer)).await;
    }
    let limits = Limits {
        metadata_bytes: 1_500,
        ..Limits::default()
    };
    let found = discover(&store, &limits).await.unwrap();
    assert!(
        found
            .attached
            .iter()
            .any(|it| it.manifest.digest == signature.digest)
    );
    assert!(!found.ignored.is_empty());
}

#[test]
fn row_38_half_of_a_longer_digest_names_nothing() {
    let long: Digest = format!("sha512:{}{}", hex(), hex()).parse().unwrap();
    let artifact = Descriptor::new(MediaType::IMAGE_MANIFEST, long, 401);
    let accepted = accept_all(&public_key("cosign.pub"));
    let key = private_key("cosign.key");
    let short = statement(&json!([{"digest": {"sha256": hex()}}]));
    let other = statement(&json!([{"digest": {"sha512": format!("{}{}", hex(), "0".repeat(64))}}]));
    let whole = statement(&json!([{"digest": {"sha512": format!("{}{}", hex(), hex())}}]));
    let judge = |payload: &str| {
        let bundle = sealed(IN_TOTO, payload.as_bytes(), &key);
        Verifier::of_keys().verify(&bundle, &artifact, &accepted)
    };
    for payload in [short, other] {
        assert!(matches!(
            judge(&payload),
            Err(Rejection::OtherSubject { .. })
        ));
    }
    judge(&whole).unwrap();
}
