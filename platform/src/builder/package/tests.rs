use std::collections::BTreeMap;

use tempfile::TempDir;

use super::*;
use crate::builder::testing::{TestImage, buildpack, layers, tar};

fn amd64() -> Platform {
    "linux/amd64".parse::<Target>().unwrap().platform()
}

fn composite() -> TestImage {
    let modules = layers(&[("a", "1.0.0", "{0}"), ("b", "2.0.0", "{0}")]);
    let order = r#""name":"N","order":[{"group":[{"id":"b","version":"2.0.0"}]}]"#;
    TestImage::default()
        .label(
            PACKAGE,
            r#"{"id":"a","version":"1.0.0","stacks":[{"id":"*"}]}"#,
        )
        .label(
            layers_label(Kind::Buildpack),
            modules.replacen(r#""name":"N""#, order, 1),
        )
        .layer(&[("cnb/buildpacks/b/2.0.0/buildpack.toml", "")])
}

async fn read(image: TestImage) -> Result<Package, PackageError> {
    let (store, image) = image.make().await;
    Package::of_image(
        Kind::Buildpack,
        store,
        image.descriptor(),
        "docker://p",
        &amd64(),
    )
    .await
}

#[tokio::test]
async fn an_image_is_read_with_what_it_needs() {
    let package = read(composite()).await.unwrap();
    assert_eq!(package.main.name().to_string(), "a@1.0.0");
    assert!(package.main.is_composite());
    assert_eq!(package.others[0].name().to_string(), "b@2.0.0");
    assert!(matches!(package.others[0].content, Content::Layer(_)));
    assert_eq!(package.main.origin.uri, "docker://p");
}

#[tokio::test]
async fn labels_that_lie_are_refused() {
    let label = layers_label(Kind::Buildpack);
    let order = |id: &str, order: &str| {
        format!(
            r#"{{"{id}":{{"1.0.0":{{"api":"0.7","layerDiffID":"{{0}}","order":[{{"group":[{{"id":"{order}","version":"1.0.0"}}]}}]}}}}}}"#
        )
    };
    for (bad, expected) in [
        (
            composite().label(PACKAGE, ""),
            "no label `io.buildpacks.buildpackage.metadata`",
        ),
        (
            composite().label(label, ""),
            "no label `io.buildpacks.buildpack.layers`",
        ),
        (
            composite().label(PACKAGE, r#"{"id":"c","version":"1.0.0"}"#),
            "names `c@1.0.0`, which is not in",
        ),
        (
            composite().label(label, layers(&[("a", "1.0.0", "sha256:0")])),
            "which the image does not have",
        ),
        (
            composite().label(label, order("a", "c")),
            "`a@1.0.0` stands for `c@1.0.0`",
        ),
        (
            composite().label(label, order("a", "a")),
            "`a@1.0.0` stands for itself",
        ),
        (composite().label(label, "[]"), "malformed"),
    ] {
        let error = read(bad).await.unwrap_err();
        let text = match &error {
            PackageError::Label(label) => label.problem.to_string(),
            other => other.to_string(),
        };
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn a_folder_in_a_file_is_read() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.tar");
    let text = "api = \"0.10\"\n[buildpack]\nid = \"a\"\nversion = \"1.0.0\"\nodd = 1\n";
    let write = |files: &[(&str, &str)]| {
        let files: BTreeMap<String, String> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        fs::write(&path, tar(&files.into_iter().collect::<Vec<_>>())).unwrap();
    };
    let platform = amd64();
    let read = || Package::of_file(Kind::Buildpack, &path, "./a.tar", &platform);
    write(&[("./bin/build", ""), ("./buildpack.toml", text)]);
    let package = read().await.unwrap();
    assert_eq!(package.main.name().to_string(), "a@1.0.0");
    assert_eq!(package.main.origin.digest, hash(&path).unwrap());
    assert_eq!(
        package.notes,
        ["`a@1.0.0` has the key `buildpack.odd`, which nobody reads"]
    );

    write(&[("below/buildpack.toml", text)]);
    assert!(matches!(
        read().await.unwrap_err(),
        PackageError::NoDescriptor { .. }
    ));
    write(&[("buildpack.toml", &"#".repeat(2 << 20))]);
    assert!(matches!(
        read().await.unwrap_err(),
        PackageError::TooLarge { .. }
    ));
    fs::write(&path, [b'x'; 1024]).unwrap();
    assert!(matches!(
        read().await.unwrap_err(),
        PackageError::Archive { .. }
    ));
    fs::remove_file(&path).unwrap();
    assert!(matches!(
        read().await.unwrap_err(),
        PackageError::Read { .. }
    ));
    fs::create_dir(&path).unwrap();
    assert!(matches!(
        read().await.unwrap_err(),
        PackageError::NoFile { .. }
    ));
}

#[test]
fn of_a_folder_the_part_for_a_platform_counts() {
    let folder = TempDir::new().unwrap();
    buildpack(folder.path(), "a", "1.0.0");
    fs::create_dir_all(folder.path().join("linux/arm64/bin")).unwrap();
    let arm64: Target = "linux/arm64/v8".parse().unwrap();
    let package = Package::of_folder(Kind::Buildpack, folder.path(), ".", Some(&arm64)).unwrap();
    let Content::PlatformFolder {
        folder: place,
        descriptor,
    } = &package.main.content
    else {
        panic!("{:?}", package.main.content);
    };
    assert!(place.ends_with("linux/arm64"));
    assert!(descriptor.starts_with(folder.path()));
    let amd64: Target = "linux/amd64".parse().unwrap();
    // Only `linux` is there, which is for all of its architectures.
    assert!(place_for(folder.path(), &amd64).ends_with("linux"));
    // A link is not followed.
    std::os::unix::fs::symlink("/", folder.path().join("windows")).unwrap();
    let windows: Target = "windows".parse().unwrap();
    assert_eq!(place_for(folder.path(), &windows), folder.path());
    let error = Package::of_folder(Kind::Extension, folder.path(), ".", None).unwrap_err();
    assert!(matches!(error, PackageError::Read { .. }));
}
