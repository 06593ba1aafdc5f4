//! An image with many referrers, and what it takes to copy it.

use bytes::Bytes;
use oci::{Descriptor, MediaType};
use serde_json::json;

use crate::registry::{Switches, TestRegistry};
use crate::{Measured, Workspace, binary};

/// What `sealpack copy --referrers` took for an image with many referrers, one way.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Leg {
    /// From where to where.
    pub name: &'static str,
    /// What the process took.
    pub measured: Measured,
    /// How many requests it made, of both registries together.
    pub requests: usize,
}

/// Copies an image with so many referrers from a registry to a layout, to another layout, to a
/// registry, and to one that does not list referrers itself. `measure` is as for [`Measured::of`].
///
/// # Panics
/// If anything fails, or not all arrive.
pub fn copy_many(measure: &str, referrers: usize) -> [Leg; 4] {
    let workspace = Workspace::in_memory();
    let source = TestRegistry::start(Switches {
        // As large registries list them.
        page_size: Some(1000),
        ..Switches::default()
    });
    put_image(&source, referrers);
    let with_api = TestRegistry::start(Switches::default());
    let without_api = TestRegistry::start(Switches {
        no_referrers_api: true,
        ..Switches::default()
    });
    let program = binary("sealpack");
    let run = |name, from: &str, to: &str| {
        let arguments = ["copy", "--referrers", from, to];
        let measured = Measured::of(&workspace, measure, &program, arguments);
        let registries = [&source, &with_api, &without_api];
        Leg {
            name,
            measured,
            requests: registries.map(|it| it.take_requests().len()).iter().sum(),
        }
    };
    let image = |registry: &TestRegistry| format!("{}/many:v1", registry.host());
    let legs = [
        run("registry -> layout", &image(&source), "oci:one:v1"),
        run("layout -> layout", "oci:one:v1", "oci:two:v1"),
        run("layout -> registry", "oci:two:v1", &image(&with_api)),
        run(
            "layout -> registry without API",
            "oci:two:v1",
            &image(&without_api),
        ),
    ];
    assert_eq!(with_api.manifests("many"), 1 + referrers);
    // Each list that was written is a manifest, too.
    assert!(without_api.manifests("many") > 1 + referrers);
    legs
}

/// Puts an image `many:v1` there that has `referrers`, each of the size of a signature.
fn put_image(registry: &TestRegistry, referrers: usize) {
    let put_blob = |content: String| {
        let target = Descriptor::of(MediaType::SIGSTORE_BUNDLE, content.as_bytes());
        registry.put_blob("many", content);
        target
    };
    let put_manifest = |tag, layer: Descriptor, subject: Option<&Descriptor>| {
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::IMAGE_MANIFEST,
            "config": Descriptor::of(MediaType::EMPTY, b"{}"),
            "layers": [layer],
        });
        if let (Some(subject), Some(fields)) = (subject, manifest.as_object_mut()) {
            // No more than fits ten thousand times into a manifest of 4 MiB, as a fallback tag needs.
            let annotations = json!({ "dev.sigstore.bundle.content": "dsse-envelope" });
            fields.insert("annotations".to_owned(), annotations);
            fields.insert("artifactType".to_owned(), json!(MediaType::SIGSTORE_BUNDLE));
            fields.insert("subject".to_owned(), json!(subject));
        }
        let content = Bytes::from(manifest.to_string());
        let target = Descriptor::of(MediaType::IMAGE_MANIFEST, &content);
        registry.put_manifest("many", tag, target.media_type.as_str(), content);
        target
    };
    put_blob("{}".to_owned());
    let image = put_manifest(Some("v1"), put_blob("layer".to_owned()), None);
    for number in 0..referrers {
        let bundle = put_blob(format!("{number:01000}"));
        put_manifest(None, bundle, Some(&image));
    }
}
