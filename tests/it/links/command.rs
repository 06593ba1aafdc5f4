//! `sealpack build --links` and `sealpack verify --layout`.

use std::path::Path;
use std::process::Command;

use attest::key::{KeyFile, PrivateKey};
use links::{Key, Signed};
use serde_json::{Value, json};
use testkit::{Output, Project, peer, repository};

use crate::build::json;

const IMAGE: &str = "oci:out:v1";
const PHASES: [&str; 5] = ["analyze", "detect", "restore", "build", "export"];

/// The private key of a fixture.
fn key(path: &str) -> PrivateKey {
    let text = fs_err::read(repository().join("tests/fixtures/keys").join(path)).unwrap();
    match KeyFile::parse(&text).unwrap() {
        KeyFile::Plain(key) => *key,
        KeyFile::Encrypted(_) => panic!("{path} is encrypted"),
    }
}

/// A layout that ties each phase to the one before, by the key that builds sign with.
fn layout() -> Value {
    let release = Key::of(key("p256-pkcs8.pem").public_key().clone()).unwrap();
    let id = release.id().as_str();
    let rules = |of: &[&str]| -> Value {
        let words = |it: &&str| it.split(' ').map(str::to_owned).collect::<Vec<_>>();
        of.iter().map(words).collect::<Vec<_>>().into()
    };
    let step = |name: &str, materials: &[&str], products: &[&str]| {
        json!({
            "_type": "step", "name": name, "threshold": 1, "pubkeys": [id],
            "expected_command": [], "expected_materials": rules(materials),
            "expected_products": rules(products),
        })
    };
    json!({
        "_type": "layout", "expires": "2099-01-01T00:00:00Z", "readme": "", "inspect": [],
        "keys": {id: release.description()},
        "steps": [
            step("analyze", &["ALLOW *"], &["ALLOW layers/analyzed.toml", "DISALLOW *"]),
            step(
                "detect",
                &[
                    "MATCH cnb/* WITH MATERIALS FROM analyze",
                    "MATCH layers/* WITH PRODUCTS FROM analyze",
                    "REQUIRE workspace/hello.txt", "ALLOW workspace/*", "DISALLOW *",
                ],
                &["ALLOW layers/*", "DISALLOW *"],
            ),
            step(
                "restore",
                &["MATCH layers/* WITH PRODUCTS FROM detect", "DISALLOW *"],
                &["ALLOW layers/*", "DISALLOW *"],
            ),
            step(
                "build",
                &[
                    "MATCH cnb/* WITH MATERIALS FROM detect",
                    "MATCH workspace/* WITH MATERIALS FROM detect",
                    "MATCH layers/* WITH PRODUCTS FROM restore", "DISALLOW *",
                ],
                &["REQUIRE layers/test_typical/kept/content", "ALLOW *"],
            ),
            step(
                "export",
                &[
                    "MATCH workspace/* WITH PRODUCTS FROM build",
                    "MATCH layers/* WITH PRODUCTS FROM build",
                    "MATCH run-image WITH MATERIALS FROM analyze", "ALLOW launcher", "DISALLOW *",
                ],
                &["REQUIRE image", "ALLOW image", "DISALLOW *"],
            ),
        ],
    })
}

/// A typical image with its links, and a layout by another key that accepts it.
struct Chain {
    project: Project,
    reference: Option<std::path::PathBuf>,
}

impl Chain {
    fn built() -> Self {
        let project = Project::typical();
        let built = project
            .build_with(IMAGE, &["--links", "links", "--output", "json"])
            .expect(0);
        let release = Key::of(key("p256-pkcs8.pem").public_key().clone()).unwrap();
        let names: Vec<_> = PHASES
            .iter()
            .map(|it| format!("{it}.{}.link", release.id().prefix()))
            .collect();
        assert_eq!(json(&built)["links"], json!(names));
        let chain = Self {
            project,
            reference: peer("in-toto-verify"),
        };
        chain.publish(&layout());
        let owner = repository().join("tests/fixtures/keys/ed25519.pub.pem");
        chain
            .project
            .write("owner.pub", fs_err::read(owner).unwrap());
        chain
    }

    fn publish(&self, layout: &Value) {
        let bytes = Signed::sign(layout, &[&key("ed25519-pkcs8.pem")]).unwrap();
        self.project.write("root.layout", bytes);
    }

    fn verify(&self, image: &str, arguments: &[&str]) -> Output {
        let layout = [
            "verify",
            image,
            "--layout",
            "root.layout",
            "--layout-key",
            "owner.pub",
        ];
        let links = ["--links", "links"];
        self.project.run(&[&layout[..], &links, arguments].concat())
    }

    /// Our verdict, which is also the reference implementation's.
    fn accepts(&self) -> bool {
        let ours = self.verify(IMAGE, &[]);
        if let Some(program) = &self.reference {
            let theirs = Output::of(
                Command::new(program)
                    .args([
                        "--layout",
                        "root.layout",
                        "--verification-keys",
                        "owner.pub",
                    ])
                    .args(["--link-dir", "links"])
                    .current_dir(self.project.join("")),
            );
            assert_eq!(theirs.code, ours.code, "{}\n{}", theirs.stderr, ours.stderr);
        }
        match ours.code {
            0 => true,
            1 => false,
            _ => panic!("{}", ours.stderr),
        }
    }

    fn link(&self, phase: &str) -> std::path::PathBuf {
        let release = Key::of(key("p256-pkcs8.pem").public_key().clone()).unwrap();
        let name = format!("{phase}.{}.link", release.id().prefix());
        self.project.join(Path::new("links").join(name))
    }

    /// Writes the link of a phase again, changed, by the key of a fixture.
    fn sign_again(&self, phase: &str, by: &str, change: impl Fn(&mut Value)) {
        let path = self.link(phase);
        let mut file: Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
        change(&mut file["signed"]);
        let bytes = Signed::sign(&file["signed"], &[&key(by)]).unwrap();
        fs_err::write(path, bytes).unwrap();
    }
}

#[test]
fn a_build_is_what_its_layout_says() {
    let chain = Chain::built();
    assert!(chain.accepts());
    let printed = chain
        .project
        .transcript(&chain.verify(IMAGE, &["--key", "test.pub"]));
    for line in [
        "  signature    by key sha256:",
        "  build        by key 03d1227804b8",
    ] {
        assert!(printed.contains(line), "{printed}");
    }
    let report = json(&chain.verify(IMAGE, &["--output", "json"]));
    assert_eq!(report["layout"]["product"], "image");
    assert_eq!(report["layout"]["steps"][3]["name"], "build");
    assert_eq!(report["claims"], json!([]));

    // What a link says of the build.
    let link: Value = serde_json::from_slice(&fs_err::read(chain.link("build")).unwrap()).unwrap();
    let link = &link["signed"];
    assert_eq!(link["command"], json!(["build", "test/typical@1.0.0"]));
    assert_eq!(link["environment"]["network"], "none");
    for (side, name) in [
        ("materials", "workspace/hello.txt"),
        ("materials", "cnb/buildpacks/test_typical/1.0.0/bin/build"),
        ("products", "layers/test_typical/kept/content"),
    ] {
        assert!(link[side][name]["sha256"].is_string(), "{name}: {link:#}");
    }

    // Another build of the same: the same links, but for what the image before and the cache add.
    let again = chain
        .project
        .build_with("oci:other:v1", &["--links", "again", "--no-cache"]);
    again.expect(0);
    let again = chain
        .project
        .join("again")
        .join(chain.link("build").file_name().unwrap());
    assert_eq!(
        fs_err::read(again).unwrap(),
        fs_err::read(chain.link("build")).unwrap()
    );
}

#[test]
fn tampering_is_refused_as_the_reference_refuses_it() {
    // A changed material, and a changed product.
    for (phase, from) in [
        ("build", "\"workspace/hello.txt\""),
        ("export", "\"image\""),
    ] {
        let chain = Chain::built();
        let text = fs_err::read_to_string(chain.link(phase)).unwrap();
        assert!(text.contains(from));
        fs_err::write(chain.link(phase), text.replace(from, "\"workspace/other\"")).unwrap();
        assert!(!chain.accepts(), "{phase}");
    }
    let chain = Chain::built();
    // A link by another key.
    let good = fs_err::read(chain.link("build")).unwrap();
    chain.sign_again("build", "ed25519-pkcs8.pem", |_| {});
    assert!(!chain.accepts());
    // What the functionary itself says, but does not fit what came before.
    chain.sign_again("build", "p256-pkcs8.pem", |it| {
        it["materials"]["workspace/evil"] = it["materials"]["workspace/hello.txt"].clone();
    });
    assert!(!chain.accepts());
    // A missing step.
    fs_err::remove_file(chain.link("build")).unwrap();
    assert!(!chain.accepts());
    fs_err::write(chain.link("build"), good).unwrap();
    assert!(chain.accepts());
    // An expired layout.
    let mut expired = layout();
    expired["expires"] = json!("2020-01-01T00:00:00Z");
    chain.publish(&expired);
    assert!(!chain.accepts());
    insta::assert_snapshot!(chain.project.transcript(&chain.verify(IMAGE, &[])), @"
    exit: 1
    --- stdout
    --- stderr
    error: `oci:out@sha256:[digest]` is not what the layout's supply chain made
      note: the layout expired at 2020-01-01T00:00:00Z
    ");
}

#[test]
fn a_layout_speaks_for_its_own_image_alone() {
    let chain = Chain::built();
    chain.project.write("app/hello.txt", "changed\n");
    chain.project.build("oci:other:v1").expect(0);
    let other = chain.verify("oci:other:v1", &[]);
    assert_eq!(other.code, 1, "{}", other.stderr);
    assert!(
        other
            .stderr
            .contains("is not among the products of the last step")
    );
    // Both are asked for, and one is missing.
    let unsigned = chain.verify(IMAGE, &["--key", "owner.pub"]);
    assert_eq!(unsigned.code, 1);
    let stderr = &unsigned.stderr;
    assert!(
        stderr.contains("no valid `signature` by the given key"),
        "{stderr}"
    );
}

#[test]
fn inspections_are_not_run() {
    let chain = Chain::built();
    let mut inspected = layout();
    inspected["inspect"] = json!([{
        "_type": "inspection", "name": "look", "run": ["touch", "was-run"],
        "expected_materials": [], "expected_products": [["DISALLOW", "*"]],
    }]);
    chain.publish(&inspected);
    let output = chain.verify(IMAGE, &[]);
    assert_eq!(output.code, 2);
    insta::assert_snapshot!(chain.project.transcript(&output), @"
    exit: 2
    --- stdout
    --- stderr
    error: the layout wants commands to be run, which is not done: `look`
    hint: `--skip-inspections` judges without them
    ");
    let skipped = chain.verify(IMAGE, &["--skip-inspections"]).expect(0);
    assert!(
        skipped.stdout.contains("left out: inspection `look`"),
        "{}",
        skipped.stdout
    );
    assert!(!chain.project.join("was-run").exists());
}

#[test]
fn what_is_asked_for_must_fit_together() {
    let project = Project::typical();
    let code = |arguments: &[&str]| project.run(arguments).code;
    let owner = ["--layout-key", "test.pub"];
    assert_eq!(code(&["verify", IMAGE]), 2);
    assert_eq!(code(&["verify", IMAGE, "--layout", "root.layout"]), 2);
    assert_eq!(
        code(&[&["verify", IMAGE, "--key", "test.pub"], &owner[..]].concat()),
        2
    );
    let layout = ["verify", IMAGE, "--layout", "root.layout"];
    let claim = ["--claim", "provenance"];
    assert_eq!(code(&[&layout[..], &owner, &claim].concat()), 2);
    let unsigned = ["--unsigned", "--links", "links", "--output", IMAGE];
    assert_eq!(Output::of(&mut project.build_command(unsigned)).code, 2);
}

/// docs/links.md says how to make a layout with the reference implementation.
#[test]
fn the_documented_layout_accepts_a_build() {
    let chain = Chain::built();
    let (Some(verify), Some(sign)) = (&chain.reference, peer("in-toto-sign")) else {
        return;
    };
    // The interpreter that has in-toto is the one that its own program names.
    let program = fs_err::read_to_string(verify).unwrap();
    let python = program.lines().next().unwrap().trim_start_matches("#!");
    let docs = fs_err::read_to_string(repository().join("docs/links.md")).unwrap();
    let script = docs.split("```python\n").nth(1).unwrap();
    chain
        .project
        .write("make.py", script.split("```").next().unwrap());
    let keys = repository().join("tests/fixtures/keys");
    for (from, to) in [
        ("p256.pub.pem", "release.pub"),
        ("ed25519-pkcs8.pem", "owner.pem"),
    ] {
        chain
            .project
            .write(to, fs_err::read(keys.join(from)).unwrap());
    }
    for (program, arguments) in [
        (Path::new(python), ["make.py"].as_slice()),
        (&sign, &["--file", "root.layout", "--key", "owner.pem"]),
    ] {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(chain.project.join(""));
        Output::of(&mut command).expect(0);
    }
    assert!(chain.accepts());
}
