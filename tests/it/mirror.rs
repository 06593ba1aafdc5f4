//! `sealpack mirror`: what is proven arrives whole, what is not is named, and nothing in between.

mod airgap;
mod example;
mod hostile;
mod killed;
mod messages;
mod real;

use std::collections::BTreeMap;

use attest::key::PrivateKey;
use bytes::Bytes;
use oci::{Descriptor, Digest, MediaType, Selector, Store, Upload};
use serde_json::{Value, json};
use testkit::registry::{Switches, TestRegistry};
use testkit::{Output, Workspace};

use crate::copy::{contents, repository};

/// A workspace with a policy that believes one key.
struct Site {
    workspace: Workspace,
    key: PrivateKey,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            workspace: Workspace::new(),
            key: PrivateKey::generate().unwrap(),
        };
        site.policy("policy", "");
        site
    }

    /// Writes a policy to a folder; `images` is a line of it.
    fn policy(&self, name: &str, images: &str) {
        let text = format!(
            "{images}\n[[accept]]\nclaims = [\"signature\"]\nsigner = {{ key = \"release.pub\" }}\n\n[[require]]\nclaim = \"signature\"\n"
        );
        self.workspace.write(format!("{name}/policy.toml"), text);
        let key = self.key.public_key().to_pem();
        self.workspace.write(format!("{name}/release.pub"), key);
    }

    fn mirror(&self, words: &[&str]) -> Output {
        let policy = if words.contains(&"--policy") {
            &[][..]
        } else {
            &["--policy", "policy"]
        };
        let words = ["mirror"].iter().chain(words).chain(policy);
        Output::of(&mut self.workspace.sealpack(words))
    }

    /// The same, and what it prints for programs.
    fn report(&self, words: &[&str], code: i32) -> Value {
        let words = [words, &["--output", "json"]].concat();
        let output = self.mirror(&words).expect(code);
        serde_json::from_str(&output.stdout).unwrap()
    }
}

/// Puts an image of these layers there.
async fn push(store: &dyn Store, layers: &[&str], subject: Option<&Descriptor>) -> Descriptor {
    let mut listed = Vec::new();
    for layer in layers.iter().copied().chain(["{}"]) {
        let blob = Descriptor::of(MediaType::LAYER_TAR, layer.as_bytes());
        let upload = Upload::Bytes(layer.to_owned().into());
        store.push_blob(&blob, upload).await.unwrap();
        listed.push(blob);
    }
    listed.pop();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::IMAGE_MANIFEST,
        "config": Descriptor::of(MediaType::EMPTY, b"{}"),
        "layers": listed,
        "subject": subject,
    });
    push_json(store, MediaType::IMAGE_MANIFEST, &manifest).await
}

async fn push_json(store: &dyn Store, media_type: MediaType, json: &Value) -> Descriptor {
    let mut json = json.clone();
    if json["subject"].is_null() {
        json.as_object_mut().unwrap().remove("subject");
    }
    let content = Bytes::from(json.to_string());
    let target = Descriptor::of(media_type, &content);
    store.push_manifest(&target, content).await.unwrap();
    target
}

async fn sign(store: &dyn Store, image: &Descriptor, key: &PrivateKey) {
    let statement = attest::image_signature(std::slice::from_ref(image), &BTreeMap::new()).unwrap();
    let bundle = attest::sign(&statement, key).unwrap();
    attest::attach(store, image, &bundle, None).await.unwrap();
}

async fn tag(store: &dyn Store, image: &Descriptor, name: &str) {
    store.tag(image, &name.parse().unwrap()).await.unwrap();
}

/// An image by name and tag, and all that belongs to it.
type Fleet = BTreeMap<(String, String), (Descriptor, BTreeMap<Digest, Bytes>)>;

/// Fills a registry with signed images of ten repositories, three each: they share a layer, some are
/// indexes with proof of a child and proof of that proof, and some have cosign's old tags.
async fn fleet(host: &str, key: &PrivateKey) -> Fleet {
    let mut fleet = Fleet::new();
    for number in 0..10 {
        let name = format!("team/app{number}");
        let store = repository(host, &name);
        for version in ["v1.0", "v1.1", "v2.0"] {
            let layers = ["base of all", &format!("{name} {version}")];
            let image = push(&store, &layers, None).await;
            let root = if number % 5 == 0 {
                let other = push(&store, &["base of all", "other"], None).await;
                let index = json!({
                    "schemaVersion": 2,
                    "mediaType": MediaType::IMAGE_INDEX,
                    "manifests": [image, other],
                });
                sign(&store, &image, key).await;
                push_json(&store, MediaType::IMAGE_INDEX, &index).await
            } else {
                image
            };
            let sbom = push(&store, &[&format!("sbom {version}")], Some(&root)).await;
            push(&store, &["proof of proof"], Some(&sbom)).await;
            sign(&store, &root, key).await;
            tag(&store, &root, version).await;
            if number % 5 == 1 {
                let old = push(&store, &[&format!("old {version}")], None).await;
                tag(&store, &old, &format!("sha256-{}.sig", root.digest.hex())).await;
            }
            let all = contents(&store, &root).await;
            fleet.insert((name.clone(), version.to_owned()), (root, all));
        }
    }
    fleet
}

/// What `name` of a registry is by this tag.
async fn tagged(store: &dyn Store, name: &str) -> Option<Descriptor> {
    match store.resolve(&Selector::Tag(name.parse().unwrap())).await {
        Ok(found) => Some(found),
        Err(error) => {
            assert!(error.is_not_found(), "{error}");
            None
        }
    }
}

/// Whether all of it is there by its tags, digest for digest, but for what is `refused`.
async fn is_mirrored<S: Store>(
    fleet: &Fleet,
    refused: Option<(&str, &str)>,
    store: impl Fn(&str) -> S,
) {
    for ((name, version), (root, expected)) in fleet {
        let store = store(name);
        let found = tagged(&store, version).await;
        if refused == Some((name, version)) {
            assert_eq!(found, None, "{name}:{version}");
            continue;
        }
        assert_eq!(found.as_ref().map(|it| &it.digest), Some(&root.digest));
        assert_eq!(contents(&store, root).await, *expected, "{name}:{version}");
    }
}

fn status(report: &Value, source: &str) -> String {
    let images = report["images"].as_array().unwrap();
    let found = images.iter().find(|it| it["source"] == source).unwrap();
    found["status"].as_str().unwrap().to_owned()
}

/// Of many images that have a layer in common, it is sent once; other repositories of the same
/// registry take it over.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_twice() {
    let site = Site::new();
    let (from, to) = (
        TestRegistry::start(Switches::default()),
        TestRegistry::start(Switches::default()),
    );
    let fleet = fleet(&from.host(), &site.key).await;
    let lines = (0..10).map(|it| format!("{}/team/app{it}:v*\n", from.host()));
    let list = "# All of them.\n\n".to_owned() + &lines.collect::<String>();
    site.workspace.write("images.txt", list);
    let destination = format!("{}/copies/", to.host());
    let words = ["--from", "images.txt", &destination, "--jobs", "8"];
    let report = site.report(&words, 0);
    assert_eq!(report["counts"]["mirrored"], 30);
    let host = to.host();
    is_mirrored(&fleet, None, |name| {
        repository(&host, &format!("copies/{name}"))
    })
    .await;
    let base = Digest::of(b"base of all").to_string().replace(':', "%3A");
    let sent: Vec<_> = to
        .take_requests()
        .into_iter()
        .filter(|it| it.starts_with("PUT") && it.contains(&base))
        .collect();
    assert_eq!(sent.len(), 1, "{sent:?}");

    // Again: nothing to do, and nothing done.
    from.take_requests();
    let report = site.report(&words, 0);
    assert_eq!(report["counts"]["there"], 30);
    let images = report["images"].as_array().unwrap();
    assert!(images.iter().all(|it| it["newBytes"] == 0));
    let written: Vec<_> = to
        .take_requests()
        .into_iter()
        .filter(|it| !it.starts_with("GET") && !it.starts_with("HEAD"))
        .collect();
    assert_eq!(written, [""; 0]);
    // The tags of a repository are asked for by the plan, and once by all of its copies.
    let listed = from.take_requests().into_iter();
    let listed = listed.filter(|it| it.contains("/team/app1/tags/list"));
    assert_eq!(listed.count(), 2);
}
