use std::os::unix::fs::symlink;

use fs_err as fs;
use tempfile::TempDir;

use super::*;
use crate::builder::testing::{TestImage, layers};

const ORDER_FILE: &str = "[[order]]\n[[order.group]]\nid = \"a\"\nversion = \"1.0.0\"\n";

fn files() -> Vec<(&'static str, &'static str)> {
    vec![
        ("cnb/order.toml", ORDER_FILE),
        ("cnb/run.toml", "[[images]]\nimage = \"run\"\n"),
        ("cnb/stack.toml", "[run-image]\nimage = \"run\"\n"),
        ("cnb/system.toml", "[system.pre]\n"),
        ("cnb/build-config/env/NAME.append", "x"),
        ("cnb/build-config/env/NAME.delim", ":"),
        ("cnb/build-config/env/below/NOT", ""),
        ("cnb/buildpacks/a/1.0.0/buildpack.toml", ""),
    ]
}

fn image() -> TestImage {
    TestImage::default()
        .env("CNB_USER_ID=1")
        .env("CNB_GROUP_ID=1")
        .label(
            "io.buildpacks.builder.metadata",
            r#"{"images":[{"image":"other"}],"lifecycle":{"version":"1","api":{"buildpack":"0.7","platform":"0.7"}}}"#,
        )
        .label(layers_label(Kind::Buildpack), layers(&[("a", "1.0.0", "{0}")]))
        .label(ORDER, r#"[{"group":[{"id":"a"}]}]"#)
        .layer(&files())
}

async fn read(image: TestImage) -> (Builder, BuilderFiles) {
    let (store, image) = image.make().await;
    let files = BuilderFiles::of_layers(&*store, &image).await.unwrap();
    (Builder::of_image("b", image, store).unwrap(), files)
}

#[tokio::test]
async fn from_layers_and_from_a_root_the_same_is_read() {
    let (builder, of_layers) = read(image()).await;
    let root = TempDir::new().unwrap();
    for (path, text) in files() {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    // A folder where a variable could be is none.
    fs::remove_dir_all(root.path().join("cnb/build-config/env/below")).unwrap();
    let of_root = BuilderFiles::of_root(root.path()).unwrap();
    for found in [of_layers, of_root] {
        assert_eq!(found.modules.len(), 1);
        assert_eq!(found.stack.as_ref().unwrap().run_image.image, "run");
        let builder = builder.clone().with_files(&found).unwrap();
        assert_eq!(builder.run.images[0].image, "run");
        let env = &builder.build_env[0];
        assert_eq!((&*env.name, &*env.value), ("NAME", "x"));
        assert_eq!(env.suffix, EnvSuffix::Append);
        assert_eq!(env.delim.as_deref(), Some(":"));
        assert_eq!(builder.build_env.len(), 1);
    }
}

#[test]
fn links_lead_nowhere_but_into_the_root() {
    let root = TempDir::new().unwrap();
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("order.toml"), ORDER_FILE).unwrap();
    symlink(outside.path(), root.path().join("cnb")).unwrap();
    assert!(BuilderFiles::of_root(root.path()).unwrap().order.is_none());
    fs::remove_file(root.path().join("cnb")).unwrap();
    fs::create_dir_all(root.path().join("real/cnb")).unwrap();
    fs::write(root.path().join("real/cnb/order.toml"), ORDER_FILE).unwrap();
    // From the root's own point of view this is right.
    symlink("/real/cnb", root.path().join("cnb")).unwrap();
    assert!(BuilderFiles::of_root(root.path()).unwrap().order.is_some());
    // And no device or pipe is waited for.
    let order = root.path().join("real/cnb/order.toml");
    fs::remove_file(&order).unwrap();
    rustix::fs::mknodat(CWD, &order, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    let error = BuilderFiles::of_root(root.path()).unwrap_err();
    assert!(matches!(error, BuilderFilesError::Read { .. }), "{error}");
}

#[tokio::test]
async fn labels_and_files_must_not_differ() {
    let other = |path: &str, text: &'static str| {
        let files: Vec<_> = files()
            .into_iter()
            .map(|it| if it.0 == path { (it.0, text) } else { it })
            .collect();
        files
    };
    for (files, expected) in [
        (other("cnb/order.toml", ""), "0 groups, not 1"),
        (
            other("cnb/order.toml", "[[order]]\n"),
            "group 1 has 0 members, not 1",
        ),
        (
            other(
                "cnb/order.toml",
                "[[order]]\n[[order.group]]\nid = \"evil\"\nversion = \"1\"\n",
            ),
            "it names `evil@1`",
        ),
        (
            other(
                "cnb/order.toml",
                "[[order]]\n[[order.group]]\nid = \"a\"\nversion = \"1.0.0\"\noptional = true\n",
            ),
            "group 1 has `a@1.0.0` in place of",
        ),
        (
            other(
                "cnb/system.toml",
                "[system.pre]\n[[system.pre.buildpacks]]\nid = \"a\"\nversion = \"1.0.0\"\n",
            ),
            "group 1 has 1 members, not 0",
        ),
        (
            files()
                .into_iter()
                .filter(|it| !it.0.contains("buildpacks"))
                .collect(),
            "`a@1.0.0` is not there",
        ),
    ] {
        let (builder, files) = read(image_of(&files)).await;
        let error = builder.with_files(&files).unwrap_err();
        let text = error.problem.to_string();
        assert!(text.contains(expected), "{text}");
    }
}

/// The image with these files in its only layer.
fn image_of(files: &[(&str, &str)]) -> TestImage {
    let mut image = image();
    image.clear_layers();
    image.layer(files)
}

#[tokio::test]
async fn files_have_limits_and_a_form() {
    let long = "#".repeat(2 << 20);
    for (text, expected) in [("x = ", "malformed"), (long.as_str(), "larger than")] {
        let image = image_of(&[("cnb/order.toml", text)]);
        let (store, image) = image.make().await;
        let error = BuilderFiles::of_layers(&*store, &image).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        let root = TempDir::new().unwrap();
        fs::create_dir(root.path().join("cnb")).unwrap();
        fs::write(root.path().join("cnb/order.toml"), text).unwrap();
        let error = BuilderFiles::of_root(root.path()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
