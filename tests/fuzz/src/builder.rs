//! Labels of builder images and of packages, and `package.toml`: what is read of them leads nowhere else,
//! and is whole.

use std::path::{Component, Path};
use std::sync::Arc;

use lifecycle_core::buildpack::Kind;
use lifecycle_core::files::order::OrderGroup;
use oci::{Descriptor, Image, ImageConfig, ImageManifest, MediaType, MemoryStore, Store};
use platform::builder::{Builder, Module, Package};
use platform::make::PackageToml;
use serde_json::{Map, Value, json};

use crate::Target;

pub(crate) const LABELS: Target = Target {
    name: "builder",
    run: labels,
    seeds: label_seeds,
    words: &[
        "\"io.buildpacks.builder.metadata\":{",
        "\"io.buildpacks.buildpack.layers\":{",
        "\"io.buildpacks.buildpack.order\":[",
        "\"io.buildpacks.buildpackage.metadata\":{",
        "\"io.buildpacks.extension.layers\":{",
        "\"io.buildpacks.buildpack.order-extensions\":[",
        "\"io.buildpacks.buildpack.system\":{",
        "\"CNB_USER_ID=1\"",
        "\"layerDiffID\":\"",
        "\"order\":[{\"group\":[",
        "\"id\":\"",
        "\"version\":\"",
        "../",
        "null",
    ],
    short: 4_000,
};

pub(crate) const PACKAGE_TOML: Target = Target {
    name: "package_toml",
    run: package_toml,
    seeds: toml_seeds,
    words: &[
        "[buildpack]\n",
        "[extension]\n",
        "[[dependencies]]\n",
        "[[targets]]\n",
        "[platform]\n",
        "uri = \"",
        "image = \"",
        "os = \"",
        "\"\n",
    ],
    short: 20_000,
};

fn layer() -> Descriptor {
    Descriptor::of(MediaType::LAYER_TAR, b"layer")
}

fn label_seeds() -> Vec<Vec<u8>> {
    let digest = layer().digest;
    let modules = |id: &str| json!({ id: { "1.0.0": { "api": "0.10", "layerDiffID": digest } } });
    let composite = json!({
        "a/all": { "1": { "api": "0.10", "layerDiffID": digest,
            "order": [{ "group": [{ "id": "a/one", "version": "1", "optional": true }] }] } },
        "a/one": { "1": { "api": "0.10", "layerDiffID": digest,
            "stacks": [{ "id": "*", "mixins": ["x"] }] } },
    });
    let apis = json!({ "deprecated": [], "supported": ["0.10", "0.12"] });
    let metadata = json!({
        "description": "d", "stack": { "runImage": { "image": "r", "mirrors": ["m"] } },
        "images": [{ "image": "r", "mirrors": null }], "createdBy": { "name": "n", "version": "1" },
        "lifecycle": { "version": "1", "api": { "buildpack": "0.10", "platform": "0.12" },
            "apis": { "buildpack": apis, "platform": apis } },
    });
    let member = |id: &str| json!([{ "group": [{ "id": id, "version": "1.0.0" }] }]);
    let builder = json!({ "env": ["CNB_USER_ID=1", "CNB_GROUP_ID=1"], "labels": {
        "io.buildpacks.builder.metadata": metadata,
        "io.buildpacks.buildpack.layers": modules("a/b"),
        "io.buildpacks.buildpack.order": member("a/b"),
        "io.buildpacks.extension.layers": modules("a/e"),
        "io.buildpacks.buildpack.order-extensions": member("a/e"),
        "io.buildpacks.buildpack.system": { "pre": { "buildpacks": [{ "id": "a/b" }] } },
        "io.buildpacks.stack.id": "s", "io.buildpacks.stack.mixins": ["x"],
    } });
    let package = json!({ "env": [], "labels": {
        "io.buildpacks.buildpackage.metadata": { "id": "a/all", "version": "1" },
        "io.buildpacks.buildpack.layers": composite,
    } });
    [builder, package].map(|it| it.to_string().into()).into()
}

/// The labels are JSON here, and text in the image: so a change of one byte is one in them.
fn image(data: &[u8]) -> Option<Image> {
    let value: Value = serde_json::from_slice(data).ok()?;
    let labels = value.get("labels")?.as_object()?.iter();
    let labels: Map<String, Value> = labels
        .map(|(name, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), text.into())
        })
        .collect();
    let config: ImageConfig = serde_json::from_value(json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Env": value.get("env"), "Labels": labels },
        "rootfs": { "type": "layers", "diff_ids": [layer().digest] },
    }))
    .ok()?;
    let like: ImageManifest = serde_json::from_value(json!({
        "schemaVersion": 2, "config": layer(), "layers": [],
    }))
    .ok()?;
    Image::new(&like, config, vec![layer()]).ok()
}

fn labels(data: &[u8]) {
    let Some(image) = image(data) else {
        return;
    };
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    for kind in [Kind::Buildpack, Kind::Extension] {
        if let Ok(package) = Package::in_image(kind, &store, &image, "x") {
            let modules: Vec<&Module> = package.modules().collect();
            are_placed(&modules);
            for module in &modules {
                are_there(&module.order, &modules);
            }
        }
    }
    let Ok(builder) = Builder::of_image("x", image, store) else {
        return;
    };
    let buildpacks: Vec<&Module> = builder.buildpacks.iter().collect();
    let extensions: Vec<&Module> = builder.extensions.iter().collect();
    are_placed(&buildpacks);
    are_placed(&extensions);
    are_there(&builder.order.order, &buildpacks);
    are_there(&builder.order.order_extensions, &extensions);
    assert!(!builder.run.images.is_empty());
}

fn are_placed(modules: &[&Module]) {
    for module in modules {
        let place = module.place();
        let parts: Vec<_> = place.components().collect();
        assert_eq!(parts.len(), 4, "{}", place.display());
        assert!(
            parts.iter().all(|it| matches!(it, Component::Normal(_))),
            "{}",
            place.display()
        );
        assert!(place.starts_with("cnb"), "{}", place.display());
    }
}

fn are_there(order: &[OrderGroup], modules: &[&Module]) {
    for member in order.iter().flat_map(|it| &it.group) {
        assert!(modules.iter().any(|it| it.is(member)), "{member}");
    }
}

fn toml_seeds() -> Vec<Vec<u8>> {
    let buildpack = "[buildpack]\nuri = \".\"\n[[dependencies]]\nuri = \"../a.cnb\"\n[[dependencies]]\nimage = \"h.example/a:1\"\n[[targets]]\nos = \"linux\"\narch = \"arm64\"\n[platform]\nos = \"linux\"\n";
    let extension = "[extension]\nuri = \"docker://h.example/e\"\n";
    [buildpack, extension]
        .map(|it| it.as_bytes().to_vec())
        .into()
}

fn package_toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for kind in [Kind::Buildpack, Kind::Extension] {
        let path = Path::new("folder/package.toml");
        if let Ok(parsed) = PackageToml::parse(kind, path, text) {
            assert!(!parsed.uri.is_empty());
            assert_eq!(parsed.folder, Path::new("folder"));
        }
    }
}
