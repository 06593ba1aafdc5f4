use std::sync::Arc;

use oci::Descriptor;

use super::*;
use crate::builder::testing::TestImage;
use crate::builder::{Package, Target};
use lifecycle_core::buildpack::Kind;

async fn package(image: TestImage) -> Package {
    let (store, image) = image.make().await;
    let platform = "linux/amd64".parse::<Target>().unwrap().platform();
    let image: &Descriptor = image.descriptor();
    let package = Package::of_image(Kind::Buildpack, store, image, "docker://p", &platform);
    package.await.unwrap()
}

fn image(label: &str) -> TestImage {
    TestImage::default()
        .label(
            "io.buildpacks.buildpackage.metadata",
            r#"{"id":"x/a","version":"1.0.0"}"#,
        )
        .label("io.buildpacks.buildpack.layers", label)
        .layer(&[
            ("cnb/buildpacks/x_a/1.0.0/bin/build", "a"),
            ("cnb/buildpacks/b/1.0.0/bin/build", "b"),
        ])
}

#[tokio::test]
async fn modules_of_one_layer_are_taken_out_of_it() {
    let label = r#"{"x/a":{"1.0.0":{"api":"0.7","layerDiffID":"{0}"}},"b":{"1.0.0":{"api":"0.7","layerDiffID":"{0}"}}}"#;
    let package = package(image(label)).await;
    let folder = TempDir::new().unwrap();
    let modules: Vec<&Module> = package.modules().collect();
    lay_out(&modules, folder.path()).await.unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("buildpacks/x_a/1.0.0/bin/build"), "a");
    assert_eq!(read("buildpacks/b/1.0.0/bin/build"), "b");
    // Nothing else is left behind.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_module_that_is_not_in_its_layer_is_missed() {
    let label = r#"{"x/a":{"1.0.0":{"api":"0.7","layerDiffID":"{0}"}},"c":{"1.0.0":{"api":"0.7","layerDiffID":"{0}"}}}"#;
    let package = package(image(label)).await;
    let folder = TempDir::new().unwrap();
    let modules: Vec<&Module> = package.modules().collect();
    let error = lay_out(&modules, folder.path()).await.unwrap_err();
    assert!(matches!(error, LayOutError::NotThere { .. }), "{error}");
}

#[tokio::test]
async fn a_layer_is_what_its_label_says_or_nothing() {
    let label = r#"{"x/a":{"1.0.0":{"api":"0.7","layerDiffID":"{0}"}}}"#;
    let mut package = package(image(label).layer(&[("other", "")])).await;
    let Content::Layer(layer) = &mut package.main.content else {
        panic!("{:?}", package.main.content);
    };
    layer.diff_id = DiffId(Digest::of(b"another"));
    let folder = TempDir::new().unwrap();
    let error = lay_out(&[&package.main], folder.path()).await.unwrap_err();
    assert!(matches!(error, LayOutError::Different { .. }), "{error}");
    let store: Arc<dyn oci::Store> = Arc::new(oci::MemoryStore::new());
    if let Content::Layer(layer) = &mut package.main.content {
        layer.store = store;
    }
    let error = lay_out(&[&package.main], folder.path()).await.unwrap_err();
    assert!(matches!(error, LayOutError::Unpack { .. }), "{error}");
}
