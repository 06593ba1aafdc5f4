//! Odd but legal: images whose JSON other programs might have written, which differ from what we write
//! in all that does not matter. Others read them, so we do.
//!
//! Each case is made from a seed, so that one that fails can be run again by its number. A change is
//! legal if it leaves the meaning: `null` or nothing for an empty list, fields that nobody knows, letters
//! of media types in the other case, blanks, escapes, order. What three other programs read with the same
//! result, we have to read with the same result.

mod signed;

use std::fmt::Write as _;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use oci::{Digest, MediaType};
use serde_json::{Value, json};
use testkit::registry::{Login, Switches, TestRegistry};
use testkit::{Output, Workspace, peer, skipped};

/// How many cases there are.
const CASES: u64 = 40;

/// Numbers that look like chance, and are the same each time (`SplitMix64`).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).unwrap()
    }

    pub(crate) fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// Changes what does not matter, and writes it as it comes.
fn odd(value: &mut Value, chance: &mut Chance) -> String {
    change(value, chance);
    let mut text = String::new();
    write(value, chance, &mut text);
    text
}

fn change(value: &mut Value, chance: &mut Chance) {
    match value {
        Value::Object(fields) => {
            for inner in fields.values_mut() {
                change(inner, chance);
            }
            let empty = fields.iter().filter(|(_, it)| is_empty(it));
            let empty: Vec<String> = empty.map(|(name, _)| name.clone()).collect();
            for name in empty {
                match chance.below(3) {
                    0 => drop(fields.insert(name, Value::Null)),
                    1 => drop(fields.remove(&name)),
                    _ => {}
                }
            }
            if chance.once_in(4) {
                let unknown = [
                    json!(null),
                    json!({"x": []}),
                    json!(1.5),
                    json!("é\u{1f600}"),
                ];
                fields.insert("x-unknown".to_owned(), unknown[chance.below(4)].clone());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|it| change(it, chance)),
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Writes it with blanks, escapes and an order of fields as they come.
fn write(value: &Value, chance: &mut Chance, out: &mut String) {
    let blank = |chance: &mut Chance, out: &mut String| {
        out.push_str(["", "", "", " ", "\n", "\t", "\r\n  "][chance.below(7)]);
    };
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            for at in (1..fields.len()).rev() {
                fields.swap(at, chance.below(at + 1));
            }
            out.push('{');
            for (at, (name, inner)) in fields.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                blank(chance, out);
                text(name, chance, out);
                out.push(':');
                blank(chance, out);
                write(inner, chance, out);
            }
            blank(chance, out);
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, inner) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                blank(chance, out);
                write(inner, chance, out);
            }
            out.push(']');
        }
        Value::String(it) => text(it, chance, out),
        other => out.push_str(&other.to_string()),
    }
}

fn text(it: &str, chance: &mut Chance, out: &mut String) {
    if !chance.once_in(6) {
        out.push_str(&json!(it).to_string());
        return;
    }
    out.push('"');
    for unit in it.encode_utf16() {
        write!(out, "\\u{unit:04x}").unwrap();
    }
    out.push('"');
}

/// An image, or an index of two, in some other spelling.
pub(crate) struct Case {
    pub(crate) text: String,
    pub(crate) media_type: MediaType,
}

pub(crate) fn image(registry: &TestRegistry, chance: &mut Chance) -> Case {
    let layer = vec![u8::try_from(chance.below(256)).unwrap(); 10 + chance.below(100)];
    registry.put_blob("app", layer.clone());
    let mut config = json!({
        "architecture": "amd64", "os": "linux", "os.features": [], "history": [],
        "config": { "Env": [], "Cmd": [], "Labels": {}, "Volumes": {}, "ExposedPorts": {} },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer).to_string()] },
    });
    let config = odd(&mut config, chance);
    registry.put_blob("app", config.clone().into_bytes());
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::IMAGE_MANIFEST.as_str(),
        "config": described(&MediaType::IMAGE_CONFIG, config.as_bytes()),
        "layers": [described(&MediaType::LAYER_TAR, &layer)],
        "annotations": {},
    });
    Case {
        text: odd(&mut manifest, chance),
        media_type: MediaType::IMAGE_MANIFEST,
    }
}

fn described(media_type: &MediaType, bytes: &[u8]) -> Value {
    json!({
        "mediaType": media_type.as_str(),
        "digest": Digest::of(bytes).to_string(),
        "size": bytes.len(),
        "urls": [],
        "annotations": {},
    })
}

fn index(registry: &TestRegistry, chance: &mut Chance) -> Case {
    let members = ["amd64", "arm64"].map(|architecture| {
        let case = image(registry, chance);
        let bytes = case.text.into_bytes();
        let mut member = described(&case.media_type, &bytes);
        registry.put_manifest("app", None, case.media_type.as_str(), bytes);
        member["platform"] = json!({
            "architecture": architecture, "os": "linux", "os.features": [], "features": [],
        });
        member
    });
    let mut index = json!({
        "schemaVersion": 2, "mediaType": MediaType::IMAGE_INDEX.as_str(),
        "manifests": members, "annotations": {},
    });
    Case {
        text: odd(&mut index, chance),
        media_type: MediaType::IMAGE_INDEX,
    }
}

/// What others make of it: those that copy it, and the digest that they have then.
fn others(workspace: &Workspace, image: &str, at: u64) -> Vec<(&'static str, bool)> {
    let to = |who: &str| workspace.join(format!("{who}-{at}")).display().to_string();
    let tools: [(&'static str, Vec<String>); 3] = [
        (
            "crane",
            vec![
                "pull".into(),
                "--format=oci".into(),
                image.into(),
                to("crane"),
            ],
        ),
        (
            "oras",
            vec![
                "cp".into(),
                "--from-plain-http".into(),
                image.into(),
                "--to-oci-layout".into(),
                format!("{}:v1", to("oras")),
            ],
        ),
        (
            "skopeo",
            vec![
                "copy".into(),
                "--all".into(),
                "--preserve-digests".into(),
                "--insecure-policy".into(),
                "--src-tls-verify=false".into(),
                format!("docker://{image}"),
                format!("oci:{}:v1", to("skopeo")),
            ],
        ),
    ];
    let mut read = Vec::new();
    for (name, arguments) in tools {
        if let Some(program) = peer(name) {
            let output = Output::of(workspace.command(program).args(arguments));
            read.push((name, output.code == 0));
        }
    }
    read
}

#[test]
fn what_others_read_is_read() {
    let workspace = Workspace::new();
    let registry = TestRegistry::start(Switches::default());
    let mut judged = 0;
    for at in 0..CASES {
        let mut chance = Chance(at);
        let case = if chance.once_in(2) {
            index(&registry, &mut chance)
        } else {
            image(&registry, &mut chance)
        };
        let (tag, digest) = (format!("v{at}"), Digest::of(case.text.as_bytes()));
        // RFC 9110, 8.3.1: neither case nor parameters matter.
        let mut media_type = case.media_type.to_string();
        if chance.once_in(4) {
            media_type.push_str("; charset=utf-8");
        }
        registry.put_manifest(
            "app",
            Some(&tag),
            &media_type,
            case.text.clone().into_bytes(),
        );
        let image = format!("{}/app:{tag}", registry.host());
        let copied = copy(&workspace, &image, &format!("oci:ours:{tag}"));
        let read = others(&workspace, &image, at);
        judged += usize::from(!read.is_empty());
        if copied.code == 0 {
            let path = workspace.join("ours/blobs/sha256").join(digest.hex());
            let carried = fs_err::read_to_string(path).unwrap();
            assert_eq!(carried, case.text, "case {at} arrived as something else");
            continue;
        }
        let agree = !read.is_empty() && read.iter().all(|(_, it)| *it);
        assert!(
            !agree,
            "case {at} is read by {read:?}: {copied:?}\n{}",
            case.text
        );
    }
    if judged == 0 {
        skipped("neither crane nor oras nor skopeo is there to say what is read");
    }
}

fn copy(workspace: &Workspace, from: &str, to: &str) -> Output {
    Output::of(&mut workspace.sealpack(["copy", from, to]))
}

/// How many files of credentials there are.
const FILES: u64 = 20;

/// A `config.json` that has the credential for `host`, in one of the ways in which they are written, and
/// besides what others leave in such files.
fn credentials(host: &str, chance: &mut Chance) -> String {
    let secret = BASE64_STANDARD.encode("robot:secret");
    let entry = [
        json!({ "auth": secret }),
        json!({ "auth": secret, "email": null, "identitytoken": "" }),
        json!({ "auth": secret, "username": "", "password": "" }),
        json!({ "username": "robot", "password": "secret", "auth": secret }),
    ];
    let key = [
        host.to_owned(),
        format!("http://{host}"),
        format!("https://{host}/v2/"),
        format!("{host}/"),
    ];
    let mut auths = json!({});
    auths[&key[chance.below(4)]] = entry[chance.below(4)].clone();
    let others = [
        json!(null),
        json!({}),
        json!({ "auth": "" }),
        json!({ "email": "me@x.example" }),
    ];
    for name in ["other.example", "https://index.docker.io/v1/"] {
        if chance.once_in(2) {
            auths[name] = others[chance.below(4)].clone();
        }
    }
    let mut file = json!({
        "auths": auths, "credHelpers": {}, "credsStore": "", "HttpHeaders": {}, "plugins": {},
    });
    change(&mut file, chance);
    let mut text = String::new();
    write(&file, chance, &mut text);
    text
}

#[test]
fn credentials_that_others_find_are_found() {
    let workspace = Workspace::new();
    let registry = TestRegistry::start(Switches::default());
    let case = image(&registry, &mut Chance(1));
    let bytes = case.text.into_bytes();
    registry.put_manifest("app", Some("v1"), case.media_type.as_str(), bytes);
    registry.set(|it| {
        it.login = Login::Basic {
            username: "robot",
            password: "secret",
        };
    });
    let image = format!("{}/app:v1", registry.host());
    for at in 0..FILES {
        let text = credentials(&registry.host(), &mut Chance(at));
        let path = workspace.write(format!("docker-{at}/config.json"), &text);
        let folder = path.parent().unwrap();
        let mut inspect = workspace.sealpack(["inspect", &image]);
        let ours = Output::of(inspect.env("DOCKER_CONFIG", folder));
        let tools: [(&str, Vec<&str>); 2] = [
            ("crane", vec!["digest", &image]),
            (
                "oras",
                vec!["manifest", "fetch", "--plain-http", "--descriptor", &image],
            ),
        ];
        let read = tools.into_iter().filter_map(|(name, arguments)| {
            let mut command = workspace.command(peer(name)?);
            command.args(arguments).env("DOCKER_CONFIG", folder);
            Some((name, Output::of(&mut command).code == 0))
        });
        let read: Vec<_> = read.collect();
        let agree = !read.is_empty() && read.iter().all(|(_, it)| *it);
        assert!(
            ours.code == 0 || !agree,
            "file {at} is read by {read:?}: {ours:?}\n{text}"
        );
    }
}
