use std::collections::BTreeMap;

use attest::dsse::{PAYLOAD_TYPE, pae};
use attest::key::PrivateKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::{Descriptor, Digest, MediaType};
use serde_json::{Value, json};
use time::macros::datetime;

use super::*;
use crate::{Artifacts, Hashes};

/// A supply chain of two steps, by two functionaries, and all that is needed to judge it.
struct Chained {
    owner: PrivateKey,
    builder: PrivateKey,
    publisher: PrivateKey,
    image: Descriptor,
    layout: Value,
    files: BTreeMap<String, Vec<u8>>,
    now: OffsetDateTime,
    inspections: Inspections,
    limits: Limits,
}

fn key_of(key: &PrivateKey) -> Key {
    Key::of(key.public_key().clone()).unwrap()
}

fn artifacts(of: &[(&str, &[u8])]) -> Artifacts {
    of.iter()
        .map(|(name, content)| ((*name).to_owned(), Hashes::of(&Digest::of(content))))
        .collect()
}

fn build() -> Link {
    Link {
        name: "build".to_owned(),
        command: vec!["build".to_owned()],
        materials: artifacts(&[("app/main.rs", b"source")]),
        products: artifacts(&[("layers/app", b"program")]),
        ..Link::default()
    }
}

fn export() -> Link {
    Link {
        name: "export".to_owned(),
        materials: artifacts(&[("layers/app", b"program")]),
        products: artifacts(&[("image", b"manifest")]),
        ..Link::default()
    }
}

impl Chained {
    fn new() -> Self {
        let [owner, builder, publisher] = [(); 3].map(|()| PrivateKey::generate().unwrap());
        let keys: serde_json::Map<_, _> = [&builder, &publisher]
            .into_iter()
            .map(key_of)
            .map(|it| (it.id().to_string(), it.description()))
            .collect();
        let layout = json!({
            "_type": "layout",
            "expires": "2030-01-01T00:00:00Z",
            "readme": "",
            "keys": keys,
            "inspect": [],
            "steps": [
                {
                    "_type": "step", "name": "build", "threshold": 1,
                    "pubkeys": [key_of(&builder).id().as_str()],
                    "expected_command": ["build"],
                    "expected_materials": [["ALLOW", "app/*"], ["DISALLOW", "*"]],
                    "expected_products": [["CREATE", "layers/*"], ["DISALLOW", "*"]],
                },
                {
                    "_type": "step", "name": "export", "threshold": 1,
                    "pubkeys": [key_of(&publisher).id().as_str()],
                    "expected_command": [],
                    "expected_materials": [
                        ["MATCH", "layers/*", "WITH", "PRODUCTS", "FROM", "build"],
                        ["DISALLOW", "*"],
                    ],
                    "expected_products": [["REQUIRE", "image"]],
                },
            ],
        });
        let mut chained = Self {
            owner,
            builder,
            publisher,
            image: Descriptor::of(MediaType::IMAGE_MANIFEST, b"manifest"),
            layout,
            files: BTreeMap::new(),
            now: datetime!(2026-01-01 0:00 UTC),
            inspections: Inspections::Undecided,
            limits: Limits::default(),
        };
        chained.hand_in(&build().sign(&chained.builder).unwrap());
        chained.hand_in(&export().sign(&chained.publisher).unwrap());
        chained
    }

    fn hand_in(&mut self, file: &crate::LinkFile) {
        self.files.insert(file.name.clone(), file.bytes.clone());
    }

    fn file(step: &str, key: &PrivateKey) -> String {
        format!("{step}.{}.link", key_of(key).id().prefix())
    }

    fn judge(&self) -> Result<Verified, Refusal> {
        let layout = Signed::sign(&self.layout, &[&self.owner]).unwrap();
        self.judge_by(&layout, &[self.owner.public_key().clone()])
    }

    fn judge_by(&self, layout: &[u8], keys: &[PublicKey]) -> Result<Verified, Refusal> {
        verify(&Question {
            layout,
            layout_keys: keys,
            files: &self.files,
            image: &self.image,
            now: self.now,
            inspections: self.inspections,
            limits: self.limits,
        })
    }

    /// Findings and what was ignored, or why it cannot be said, in words.
    fn refusal(&self) -> String {
        refusal(self.judge())
    }
}

fn refusal(result: Result<Verified, Refusal>) -> String {
    match result.unwrap_err() {
        Refusal::Rejected { findings, ignored } => {
            let findings = findings.iter().map(ToString::to_string);
            let ignored = ignored.iter().map(|it| format!("ignored: {}", it.why));
            findings.chain(ignored).collect::<Vec<_>>().join("\n")
        }
        Refusal::Undecided(undecided) => format!("undecided: {undecided}"),
    }
}

#[test]
fn a_chain_that_holds_proves_the_image() {
    let chained = Chained::new();
    let verified = chained.judge().unwrap();
    assert_eq!(verified.image(), &chained.image.digest);
    assert_eq!(verified.product(), "image");
    assert_eq!(
        verified.steps()[0].functionaries,
        [key_of(&chained.builder).id().clone()]
    );
    assert!(verified.steps().iter().all(|it| it.expected_command));
    assert!(verified.ignored().is_empty());
}

#[test]
fn the_layout_must_be_signed_by_every_key() {
    let chained = Chained::new();
    let owner = chained.owner.public_key().clone();
    let stranger = PrivateKey::generate().unwrap();
    let both = [owner.clone(), stranger.public_key().clone()];
    let not = format!("the layout is not signed by key {}", key_of(&stranger).id());

    let layout = Signed::sign(&chained.layout, &[&chained.owner]).unwrap();
    assert_eq!(refusal(chained.judge_by(&layout, &both)), not);
    assert_eq!(refusal(chained.judge_by(&layout, &both[1..])), not);
    assert_eq!(
        refusal(chained.judge_by(&layout, &[])),
        "undecided: no key of the layout was named"
    );
    let twice = Signed::sign(&chained.layout, &[&chained.owner, &stranger]).unwrap();
    chained.judge_by(&twice, &both).unwrap();

    let changed = String::from_utf8(layout).unwrap().replace("2030", "2031");
    let changed = chained.judge_by(changed.as_bytes(), &both[..1]);
    assert!(refusal(changed).starts_with("the layout is not signed by key"));
    assert_eq!(
        refusal(chained.judge_by(b"{}", &both[..1])),
        "undecided: malformed layout file"
    );
    let link = Signed::sign(&json!({"_type": "link"}), &[&chained.owner]).unwrap();
    assert_eq!(
        refusal(chained.judge_by(&link, &[owner])),
        "undecided: the layout cannot be used"
    );
}

#[test]
fn an_envelope_is_as_good() {
    let mut chained = Chained::new();
    let envelope = |content: &Value, key: &PrivateKey| {
        let payload = serde_json::to_vec_pretty(content).unwrap();
        let sig = key.sign_message(&pae(PAYLOAD_TYPE, &payload)).unwrap();
        let text = json!({
            "payload": STANDARD.encode(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": key_of(key).id().as_str(), "sig": STANDARD.encode(sig)}],
        });
        text.to_string().into_bytes()
    };
    let mut link = serde_json::to_value(export()).unwrap();
    link["_type"] = "link".into();
    let file = Chained::file("export", &chained.publisher);
    chained
        .files
        .insert(file.clone(), envelope(&link, &chained.publisher));
    let layout = envelope(&chained.layout, &chained.owner);
    let owner = [chained.owner.public_key().clone()];
    chained.judge_by(&layout, &owner).unwrap();
    chained
        .files
        .insert(file, envelope(&link, &chained.builder));
    assert!(refusal(chained.judge_by(&layout, &owner)).contains("0 of 1 links"));
}

#[test]
fn an_expired_layout_says_nothing() {
    let mut chained = Chained::new();
    chained.now = datetime!(2029-12-31 23:59:59 UTC);
    chained.judge().unwrap();
    chained.now = datetime!(2030-01-01 0:00 UTC);
    assert_eq!(
        chained.refusal(),
        "the layout expired at 2030-01-01T00:00:00Z"
    );
}

#[test]
fn tampering_is_seen() {
    let mut chained = Chained::new();
    let name = Chained::file("build", &chained.builder);
    let good = chained.files[&name].clone();

    // A changed material or product of a link.
    for (from, to) in [("app/main.rs", "app/evil.rs"), ("layers/app", "layers/apq")] {
        let changed = String::from_utf8(good.clone()).unwrap().replace(from, to);
        chained.files.insert(name.clone(), changed.into_bytes());
        let key = key_of(&chained.builder);
        assert_eq!(
            chained.refusal(),
            format!(
                "step `build` has 0 of 1 links by its functionaries\nignored: not signed by key {}",
                key.id()
            )
        );
    }
    // A link that is signed again, by somebody else, under the functionary's name.
    let forged = build().sign(&chained.publisher).unwrap();
    chained.files.insert(name.clone(), forged.bytes);
    assert!(chained.refusal().contains("not signed by key"));
    // No link, or one that is none.
    chained.files.remove(&name);
    assert_eq!(
        chained.refusal(),
        "step `build` has 0 of 1 links by its functionaries"
    );
    chained.files.insert(name.clone(), b"{".to_vec());
    assert!(chained.refusal().contains("ignored: malformed metadata"));
    // A link of another step, by a functionary who may do both.
    let other = Link {
        name: "other".to_owned(),
        ..build()
    };
    let other = other.sign(&chained.builder).unwrap();
    chained.files.insert(name, other.bytes);
    assert!(
        chained
            .refusal()
            .contains("ignored: a link of step `other`")
    );
}

#[test]
fn what_a_step_took_is_what_another_made() {
    let mut chained = Chained::new();
    let mut link = export();
    link.materials = artifacts(&[("layers/app", b"another program")]);
    chained.hand_in(&link.sign(&chained.publisher).unwrap());
    assert_eq!(
        chained.refusal(),
        "step `export`: `DISALLOW *` for its materials: `layers/app`"
    );
    link = export();
    link.products = artifacts(&[("picture", b"manifest")]);
    chained.hand_in(&link.sign(&chained.publisher).unwrap());
    assert_eq!(
        chained.refusal(),
        "step `export`: `REQUIRE image` for its products: missing"
    );
}

#[test]
fn another_image_is_not_the_product() {
    let mut chained = Chained::new();
    chained.image = Descriptor::of(MediaType::IMAGE_MANIFEST, b"another");
    assert_eq!(
        chained.refusal(),
        format!(
            "{} is not among the products of the last step",
            chained.image.digest
        )
    );
    // What an earlier step made is not what comes out.
    chained.image = Descriptor::of(MediaType::IMAGE_MANIFEST, b"program");
    assert!(chained.refusal().contains("not among the products"));
    chained.layout["steps"] = json!([]);
    assert!(chained.refusal().contains("not among the products"));
}

#[test]
fn a_threshold_wants_different_functionaries_who_agree() {
    let mut chained = Chained::new();
    let (one, two) = (key_of(&chained.builder), key_of(&chained.publisher));
    chained.layout["steps"][0]["threshold"] = json!(2);
    chained.layout["steps"][0]["pubkeys"] = json!([one.id().as_str(), two.id().as_str()]);
    assert!(chained.refusal().contains("1 of 2 links"));
    chained.hand_in(&build().sign(&chained.publisher).unwrap());
    chained.judge().unwrap();

    let mut other = build();
    other.products = artifacts(&[("layers/app", b"other")]);
    chained.hand_in(&other.sign(&chained.publisher).unwrap());
    assert_eq!(
        chained.refusal(),
        format!(
            "the links of step `build` by {} and {} name different artifacts",
            one.id(),
            two.id()
        )
    );

    // The same key under two names is one functionary.
    let mut again = one.description();
    again["keyid"] = json!("ab");
    chained.layout["keys"]["ab"] = again;
    chained.layout["steps"][0]["pubkeys"] = json!([one.id().as_str(), "ab", "ab"]);
    let bytes = String::from_utf8(build().sign(&chained.builder).unwrap().bytes).unwrap();
    let bytes = bytes.replace(one.id().as_str(), "ab").into_bytes();
    chained.files.insert("build.ab.link".to_owned(), bytes);
    assert!(chained.refusal().contains("1 of 2 links"));
}

#[test]
fn what_cannot_be_checked_is_no_no() {
    let mut chained = Chained::new();
    chained.layout["keys"]["ab"] = json!({"keyid": "ab", "type": "rsa"});
    chained.layout["steps"][0]["pubkeys"] = json!(["ab"]);
    assert!(chained.refusal().contains("0 of 1 links"));
    chained.files.insert("build.ab.link".to_owned(), Vec::new());
    assert_eq!(chained.refusal(), "undecided: unsupported key ab");
    let id = key_of(&chained.builder).id().to_string();
    chained.layout["steps"][0]["pubkeys"] = json!(["ab", id]);
    chained.judge().unwrap();

    let layout = Signed::sign(&chained.layout, &[&chained.owner]).unwrap();
    let result = verify(&Question {
        layout: &layout,
        layout_keys: &[chained.owner.public_key().clone()],
        files: &Broken,
        image: &chained.image,
        now: chained.now,
        inspections: chained.inspections,
        limits: chained.limits,
    });
    assert_eq!(refusal(result), "undecided: failed to read `build.ab.link`");
}

/// A place that cannot be read.
#[derive(Debug)]
struct Broken;
impl Files for Broken {
    fn read(&self, _: &str) -> Result<Option<Vec<u8>>, FileError> {
        Err("the disk is broken".into())
    }
}

#[test]
fn inspections_are_never_run() {
    let mut chained = Chained::new();
    chained.layout["inspect"] = json!([{
        "_type": "inspection", "name": "look", "run": ["touch", "/tmp/run"],
        "expected_materials": [], "expected_products": [["DISALLOW", "*"]],
    }]);
    assert_eq!(
        chained.refusal(),
        "undecided: the layout wants commands to be run, which is not done: `look`"
    );
    chained.inspections = Inspections::Skip;
    assert_eq!(chained.judge().unwrap().skipped(), ["look"]);
    // A "no" of the steps is a "no".
    chained.inspections = Inspections::Undecided;
    chained.files.clear();
    assert!(chained.refusal().contains("0 of 1 links"));
}

#[test]
fn a_functionary_may_hand_in_a_layout() {
    let mut chained = Chained::new();
    let worker = PrivateKey::generate().unwrap();
    let id = key_of(&worker).id().to_string();
    let mut inner = json!({
        "_type": "layout", "expires": "2029-01-01T00:00:00Z", "readme": "", "inspect": [],
        "keys": {&id: key_of(&worker).description()},
        "steps": [{"_type": "step", "name": "compile", "threshold": 1, "pubkeys": [id],
            "expected_command": [], "expected_materials": [], "expected_products": []}],
    });
    let file = Chained::file("build", &chained.builder);
    let compiled = Link {
        name: "compile".to_owned(),
        ..build()
    };
    let folder = file.trim_end_matches(".link").to_owned();
    let compiled = compiled.sign(&worker).unwrap();
    chained
        .files
        .insert(format!("{folder}/{}", compiled.name), compiled.bytes);
    let hand_in = |chained: &mut Chained, inner: &Value| {
        let bytes = Signed::sign(inner, &[&chained.builder]).unwrap();
        chained.files.insert(file.clone(), bytes);
    };
    hand_in(&mut chained, &inner);
    chained.judge().unwrap();

    chained.now = datetime!(2029-06-01 0:00 UTC);
    assert!(
        chained
            .refusal()
            .contains("a layout that does not hold: the layout expired")
    );
    chained.now = datetime!(2026-01-01 0:00 UTC);
    inner["inspect"] = json!([{"_type": "inspection", "name": "look", "run": []}]);
    hand_in(&mut chained, &inner);
    assert!(chained.refusal().contains("wants commands to be run"));
    inner["inspect"] = json!([]);
    inner["steps"][0]["expected_products"] = json!([["DISALLOW", "*"]]);
    hand_in(&mut chained, &inner);
    assert!(
        chained
            .refusal()
            .contains("`DISALLOW *` for its products: `layers/app`")
    );
    chained.limits.depth = 0;
    assert_eq!(chained.refusal(), "undecided: layouts nest deeper than 0");
}

#[test]
fn work_is_bounded() {
    let mut chained = Chained::new();
    chained.limits.comparisons = 10;
    assert_eq!(
        chained.refusal(),
        "undecided: the layout's rules are too many for so many artifacts"
    );
    chained.limits = Limits {
        file_bytes: 100,
        ..Limits::default()
    };
    assert_eq!(chained.refusal(), "undecided: malformed layout file");
}
