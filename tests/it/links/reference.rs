//! The reference implementation, in-toto for Python, and we accept and refuse the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use attest::key::PrivateKey;
use links::{Artifacts, Hashes, Inspections, Key, Limits, Link, Question, Refusal, Signed, verify};
use oci::{Descriptor, Digest, MediaType};
use serde_json::{Value, json};
use testkit::{Output, Workspace, peer};
use time::OffsetDateTime;

/// A supply chain as it is handed over: a layout by its owner, files by functionaries.
struct Chain {
    owner: PrivateKey,
    builder: PrivateKey,
    stranger: PrivateKey,
    layout: Value,
    files: BTreeMap<String, Vec<u8>>,
    /// Who signs the layout.
    signed_by_stranger: bool,
}

const MANIFEST: &[u8] = b"manifest";

fn key(of: &PrivateKey) -> Key {
    Key::of(of.public_key().clone()).unwrap()
}

fn artifacts(of: &[(&str, &str)]) -> Artifacts {
    of.iter()
        .map(|(name, content)| {
            let hashes = Hashes::of(&Digest::of(content.as_bytes()));
            ((*name).to_owned(), hashes)
        })
        .collect()
}

fn link(name: &str, materials: &[(&str, &str)], products: &[(&str, &str)]) -> Link {
    Link {
        name: name.to_owned(),
        command: vec![name.to_owned()],
        materials: artifacts(materials),
        products: artifacts(products),
        ..Link::default()
    }
}

fn build() -> Link {
    let source = ("workspace/ä \"b\\n\" \n.c", "source");
    link("build", &[source], &[source, ("layers/app", "program")])
}

fn export() -> Link {
    link(
        "export",
        &[("layers/app", "program")],
        &[("image", "manifest")],
    )
}

impl Chain {
    fn new() -> Self {
        let [owner, builder, stranger] = [(); 3].map(|()| PrivateKey::generate().unwrap());
        let id = key(&builder).id().to_string();
        let step = |name: &str, materials: Value, products: Value| {
            json!({
                "_type": "step", "name": name, "threshold": 1, "pubkeys": [id],
                "expected_command": [name],
                "expected_materials": materials, "expected_products": products,
            })
        };
        let layout = json!({
            "_type": "layout", "expires": "2099-01-01T00:00:00Z", "readme": "", "inspect": [],
            "keys": {&id: key(&builder).description()},
            "steps": [
                step(
                    "build",
                    json!([["ALLOW", "workspace/*"], ["DISALLOW", "*"]]),
                    json!([["CREATE", "layers/*"], ["ALLOW", "workspace/*"], ["DISALLOW", "*"]]),
                ),
                step(
                    "export",
                    json!([
                        ["MATCH", "*", "IN", "layers", "WITH", "PRODUCTS", "IN", "layers", "FROM", "build"],
                        ["DISALLOW", "*"],
                    ]),
                    json!([["REQUIRE", "image"], ["CREATE", "image"], ["DISALLOW", "*"]]),
                ),
            ],
        });
        let mut chain = Self {
            owner,
            builder,
            stranger,
            layout,
            files: BTreeMap::new(),
            signed_by_stranger: false,
        };
        chain.hand_in(&build());
        chain.hand_in(&export());
        chain
    }

    fn hand_in(&mut self, link: &Link) {
        let file = link.sign(&self.builder).unwrap();
        self.files.insert(file.name, file.bytes);
    }

    fn file(&self, step: &str) -> String {
        format!("{step}.{}.link", key(&self.builder).id().prefix())
    }

    /// Puts other words into a file that was signed before.
    fn tamper(&mut self, step: &str, from: &str, to: &str) {
        let name = self.file(step);
        let text = String::from_utf8(self.files[&name].clone()).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        self.files.insert(name, text.replace(from, to).into_bytes());
    }

    fn signed_layout(&self) -> Vec<u8> {
        let by = if self.signed_by_stranger {
            &self.stranger
        } else {
            &self.owner
        };
        Signed::sign(&self.layout, &[by]).unwrap()
    }

    /// Our verdict; a "don't know" fails the test.
    fn ours(&self) -> bool {
        let verdict = verify(&Question {
            layout: &self.signed_layout(),
            layout_keys: &[self.owner.public_key().clone()],
            files: &self.files,
            image: &Descriptor::of(MediaType::IMAGE_MANIFEST, MANIFEST),
            now: OffsetDateTime::from(std::time::UNIX_EPOCH) + time::Duration::days(20_454),
            inspections: Inspections::Undecided,
            limits: Limits::default(),
        });
        match verdict {
            Ok(_) => true,
            Err(Refusal::Rejected { .. }) => false,
            Err(undecided) => panic!("{undecided:?}"),
        }
    }

    /// The reference implementation's.
    fn theirs(&self, program: &Path) -> (bool, String) {
        let workspace = Workspace::new();
        for (name, bytes) in &self.files {
            workspace.write(Path::new("links").join(name), bytes);
        }
        workspace.write("root.layout", self.signed_layout());
        workspace.write("owner.pub", self.owner.public_key().to_pem());
        let output = Output::of(
            Command::new(program)
                .args([
                    "--layout",
                    "root.layout",
                    "--verification-keys",
                    "owner.pub",
                ])
                .args(["--link-dir", "links"])
                .current_dir(workspace.path()),
        );
        (output.code == 0, output.stderr)
    }
}

/// What is done to a good chain.
type Change = fn(&mut Chain);

const ACCEPTED: [(&str, Change); 4] = [
    ("nothing", |_| {}),
    ("a file of a stranger beside", |it| {
        let file = build().sign(&it.stranger).unwrap();
        it.files.insert(file.name, file.bytes);
    }),
    ("another command", |it| {
        let mut link = build();
        link.command = vec!["something else".to_owned()];
        it.hand_in(&link);
    }),
    ("a step handed on in a layout of its own", |it| {
        let mut inner = it.layout.clone();
        inner["steps"] = json!([inner["steps"][0]]);
        let bytes = Signed::sign(&inner, &[&it.builder]).unwrap();
        let file = it.file("build");
        let folder = file.trim_end_matches(".link").to_owned();
        let link = it.files.insert(file.clone(), bytes).unwrap();
        it.files.insert(format!("{folder}/{file}"), link);
    }),
];

const REFUSED: [(&str, Change); 15] = [
    ("a changed material", |it| {
        let to = Digest::of(b"other");
        it.tamper("build", Digest::of(b"source").hex(), to.hex());
    }),
    ("a changed product", |it| {
        it.tamper("export", "\"image\"", "\"picture\"");
    }),
    ("a link by another key", |it| {
        let file = build().sign(&it.stranger).unwrap();
        it.files.insert(it.file("build"), file.bytes);
    }),
    (
        "a link by another key, under the functionary's name",
        |it| {
            let file = build().sign(&it.stranger).unwrap();
            let text = String::from_utf8(file.bytes).unwrap();
            let (theirs, id) = (key(&it.stranger), key(&it.builder));
            let text = text.replace(theirs.id().as_str(), id.id().as_str());
            it.files.insert(it.file("build"), text.into_bytes());
        },
    ),
    ("a missing step", |it| {
        drop(it.files.remove(&it.file("export")));
    }),
    ("an expired layout", |it| {
        it.layout["expires"] = json!("2025-12-31T23:59:59Z");
    }),
    ("a layout by another key", |it| it.signed_by_stranger = true),
    ("a material that no step made", |it| {
        it.hand_in(&link(
            "export",
            &[("layers/app", "other")],
            &[("image", "manifest")],
        ));
    }),
    ("one material more", |it| {
        let materials = [("layers/app", "program"), ("layers/evil", "evil")];
        it.hand_in(&link("export", &materials, &[("image", "manifest")]));
    }),
    ("no image", |it| {
        it.hand_in(&link("export", &[("layers/app", "program")], &[]));
    }),
    ("one product more", |it| {
        it.hand_in(&link(
            "export",
            &[("layers/app", "program")],
            &[("image", "manifest"), ("b", "")],
        ));
    }),
    ("an image that was there before", |it| {
        let image = ("image", "manifest");
        it.hand_in(&link(
            "export",
            &[("layers/app", "program"), image],
            &[image],
        ));
    }),
    ("a functionary without a key", |it| {
        it.layout["keys"] = json!({});
    }),
    ("too few functionaries", |it| {
        let stranger = key(&it.stranger);
        it.layout["keys"][stranger.id().as_str()] = stranger.description();
        it.layout["steps"][0]["pubkeys"]
            .as_array_mut()
            .unwrap()
            .push(json!(stranger.id().as_str()));
        it.layout["steps"][0]["threshold"] = json!(2);
    }),
    ("functionaries who do not agree", |it| {
        let stranger = key(&it.stranger);
        it.layout["keys"][stranger.id().as_str()] = stranger.description();
        it.layout["steps"][0]["pubkeys"]
            .as_array_mut()
            .unwrap()
            .push(json!(stranger.id().as_str()));
        it.layout["steps"][0]["threshold"] = json!(2);
        let mut other = build();
        other.products = artifacts(&[("layers/app", "other")]);
        let file = other.sign(&it.stranger).unwrap();
        it.files.insert(file.name, file.bytes);
    }),
];

#[test]
fn the_reference_accepts_and_refuses_the_same() {
    let reference = peer("in-toto-verify");
    let cases = ACCEPTED.iter().map(|it| (it, true));
    for ((name, change), accepted) in cases.chain(REFUSED.iter().map(|it| (it, false))) {
        let mut chain = Chain::new();
        change(&mut chain);
        assert_eq!(chain.ours(), accepted, "ours: {name}");
        if let Some(program) = &reference {
            let (theirs, stderr) = chain.theirs(program);
            assert_eq!(theirs, accepted, "theirs: {name}: {stderr}");
        }
    }
}
