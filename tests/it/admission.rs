//! The admission webhook: `sealpack serve` as a process, asked as an API server asks, and by a real one.

mod faults;
mod http;
mod real;
mod reloads;
mod verdicts;

use std::collections::BTreeMap;

use attest::key::PrivateKey;
use oci::{Descriptor, MediaType};
use serde_json::{Value, json};
use testkit::registry::{Switches, TestRegistry};
use testkit::{Certificates, Webhook, Workspace};

/// A registry with images, and a folder with policies for them.
struct Shop {
    workspace: Workspace,
    certificates: Certificates,
    registry: TestRegistry,
    key: PrivateKey,
}

/// An image in it.
struct Pushed {
    repository: &'static str,
    descriptor: Descriptor,
}

impl Shop {
    /// Nothing if there is no `openssl`, which is said loudly.
    fn open(switches: Switches) -> Option<Self> {
        let workspace = Workspace::new();
        let folder = workspace.join("tls");
        fs_err::create_dir(&folder).unwrap();
        let certificates = Certificates::make(&folder)?;
        let shop = Self {
            workspace,
            certificates,
            registry: TestRegistry::start(switches),
            key: PrivateKey::generate().unwrap(),
        };
        shop.workspace
            .write("policies/release.pub", shop.key.public_key().to_pem());
        shop.policy(
            "shop",
            &format!("images = [\"{}/shop/**\"]", shop.registry.host()),
        );
        Some(shop)
    }

    /// Writes a policy that wants a signature by the key of the shop.
    fn policy(&self, name: &str, scope: &str) {
        let text = format!(
            "{scope}\n[[accept]]\nclaims = [\"signature\"]\nsigner = {{ key = \"release.pub\" }}\n\n[[require]]\nclaim = \"signature\"\n"
        );
        self.workspace.write(format!("policies/{name}.toml"), text);
    }

    /// Pushes an image that nothing is attached to. Others of the same name are others.
    fn push(&self, repository: &'static str, tag: &str) -> Pushed {
        let config = b"{}";
        self.registry.put_blob(repository, &config[..]);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::IMAGE_MANIFEST,
            "config": Descriptor::of(MediaType::IMAGE_CONFIG, config),
            "layers": [],
            "annotations": {"name": format!("{repository}:{tag}")},
        })
        .to_string();
        let descriptor = Descriptor::of(MediaType::IMAGE_MANIFEST, manifest.as_bytes());
        let media_type = MediaType::IMAGE_MANIFEST;
        self.registry
            .put_manifest(repository, Some(tag), media_type.as_str(), manifest);
        Pushed {
            repository,
            descriptor,
        }
    }

    /// Signs it with the key of the shop.
    fn sign(&self, image: &Pushed) {
        self.attach(image, &bundle(image, &self.key));
    }

    fn attach(&self, image: &Pushed, bundle: &[u8]) {
        let layer = Descriptor::of(MediaType::SIGSTORE_BUNDLE, bundle);
        self.registry.put_blob(image.repository, b"{}".to_vec());
        self.registry.put_blob(image.repository, bundle.to_vec());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::IMAGE_MANIFEST,
            "artifactType": MediaType::SIGSTORE_BUNDLE,
            "config": Descriptor::of(MediaType::EMPTY, b"{}"),
            "layers": [layer],
            "subject": image.descriptor,
        });
        let media_type = MediaType::IMAGE_MANIFEST;
        self.registry.put_manifest(
            image.repository,
            None,
            media_type.as_str(),
            manifest.to_string(),
        );
    }

    /// So many others sign it, and each would have to be looked at.
    fn strangers(&self, image: &Pushed, count: usize) {
        let by_stranger = bundle(image, &PrivateKey::generate().unwrap());
        for number in 0..count {
            // Each is another document, by the same signature.
            let spaces = format!("{:01$}", "", number + 1);
            let mut bytes = by_stranger.clone();
            bytes.extend(spaces.as_bytes());
            self.attach(image, &bytes);
        }
    }

    /// How a pod names it by tag, or by digest if there is none.
    fn name(&self, image: &Pushed, tag: Option<&str>) -> String {
        let host = self.registry.host();
        match tag {
            Some(tag) => format!("{host}/{}:{tag}", image.repository),
            None => format!("{host}/{}@{}", image.repository, image.descriptor.digest),
        }
    }

    fn webhook(&self, arguments: &[&str]) -> Webhook {
        let mut all = vec!["--policy", "policies"];
        if !arguments.contains(&"--lame-duck") {
            all.extend(["--lame-duck", "0"]);
        }
        all.extend(arguments);
        Webhook::start(&self.workspace, &self.certificates, &all)
    }

    /// What the text says without what differs between two runs.
    fn plain(&self, text: &str) -> String {
        let text = text.replace(&self.registry.host(), "registry.test");
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("sha256:") {
            plain.push_str(before);
            plain.push_str("sha256:…");
            rest = after.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        }
        plain.push_str(rest);
        plain
    }
}

fn bundle(image: &Pushed, key: &PrivateKey) -> Vec<u8> {
    let subjects = std::slice::from_ref(&image.descriptor);
    let statement = attest::image_signature(subjects, &BTreeMap::new()).unwrap();
    attest::sign(&statement, key).unwrap().json().to_vec()
}

/// A pod of one container.
fn pod(image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": [{"name": "web", "image": image}]},
    })
}

/// What makes such pods.
fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
        },
    })
}

/// Whether it is admitted, and what is said.
fn outcome(response: &Value) -> (bool, &str) {
    let allowed = response["allowed"].as_bool().unwrap();
    (
        allowed,
        response["status"]["message"].as_str().unwrap_or(""),
    )
}
