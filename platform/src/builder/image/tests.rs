use super::*;
use crate::builder::labels::{DISTRO_NAME, DISTRO_VERSION};
use crate::builder::testing::{TestImage, layers};

const METADATA: &str = r#"{"description":"d","buildpacks":[{"id":"a","version":"1"}],"extensions":null,
    "stack":{"runImage":{"image":"old","mirrors":null}},
    "lifecycle":{"version":"0.21.0","api":{"buildpack":"0.7","platform":"0.7"},
        "apis":{"buildpack":{"deprecated":[],"supported":["0.7","0.12"]},"platform":{"deprecated":["0.7"],"supported":["0.12","0.99"]}}},
    "createdBy":{"name":"Pack CLI","version":"0.38.2"},"images":[{"image":"run","mirrors":["mirror/run"]}]}"#;

fn good() -> TestImage {
    let two = layers(&[("a", "1.0.0", "{0}"), ("x/b", "2", "{0}")]);
    TestImage::default()
        .env("CNB_USER_ID=1001")
        .env("CNB_GROUP_ID=1002")
        .label(BUILDER, METADATA)
        .label(layers_label(Kind::Buildpack), two)
        .label(
            ORDER,
            r#"[{"group":[{"id":"x/b"},{"id":"a","version":"1.0.0","optional":true}]}]"#,
        )
        .label(SYSTEM, r#"{"pre":{"buildpacks":[{"id":"a"}]}}"#)
        .label(DISTRO_NAME, "ubuntu")
        .label(DISTRO_VERSION, "24.04")
        .layer(&[("cnb/x", "")])
}

async fn read(image: TestImage) -> Result<Builder, BuilderImageError> {
    let (store, image) = image.make().await;
    Builder::of_image("registry.example/builder", image, store)
}

#[tokio::test]
async fn the_labels_of_a_builder_are_read() {
    let builder = read(good()).await.unwrap();
    let names: Vec<_> = builder
        .buildpacks
        .iter()
        .map(|it| it.name().to_string())
        .collect();
    assert_eq!(names, ["a@1.0.0", "x/b@2"]);
    let group: Vec<_> = builder.order.order[0]
        .group
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(group, ["x/b@2", "a@1.0.0"]);
    assert!(builder.order.order[0].group[1].optional);
    assert_eq!(builder.system.system.pre.buildpacks[0].version, "1.0.0");
    assert_eq!(builder.run.images[0].image, "run");
    assert_eq!(builder.run.images[0].mirrors, ["mirror/run"]);
    assert_eq!(builder.targets[0].to_string(), "linux/amd64:ubuntu@24.04");
    let image = builder.image().unwrap();
    assert_eq!((image.uid, image.gid), (1001, 1002));
    assert_eq!(image.created_by.name, "Pack CLI");
    // The newest that both know: 0.99 is not ours.
    let api = image.platform_api(&builder.lifecycle.apis).unwrap();
    assert_eq!(api.to_string(), "0.12");
    // What a module in a builder was had by is its layer.
    let layer = &image.image.config().rootfs.diff_ids[0].0;
    assert_eq!(&builder.buildpacks[0].origin.digest, layer);
    assert_eq!(&builder.digest, &image.image.descriptor().digest);
}

/// As kpack makes them, and pack did: one run image in `stack`, no targets, no lists of APIs.
#[tokio::test]
async fn old_builders_are_read() {
    let builder = good()
        .label(
            BUILDER,
            r#"{"stack":{"runImage":{"image":"old"}},"lifecycle":{"version":"0.6.1","api":{"buildpack":"0.2","platform":"0.7"}}}"#,
        )
        .label(STACK, "io.buildpacks.stacks.bionic")
        .label(MIXINS, r#"["build:git"]"#);
    let builder = read(builder).await.unwrap();
    assert_eq!(builder.run.images[0].image, "old");
    assert_eq!(builder.lifecycle.apis.platform.supported, ["0.7"]);
    let image = builder.image().unwrap();
    assert_eq!(
        image.stack_id.as_deref(),
        Some("io.buildpacks.stacks.bionic")
    );
    assert_eq!(image.mixins, ["build:git"]);

    let apis = r#"{"buildpack":{"supported":["0.9"]},"platform":{"supported":["0.11"]}}"#;
    let kpack = good()
        .label(
            BUILDER,
            r#"{"stack":{"runImage":{"image":"old"}},"lifecycle":{"version":"0.6.1"}}"#,
        )
        .label(LIFECYCLE_APIS, apis);
    let builder = read(kpack).await.unwrap();
    assert_eq!(builder.lifecycle.apis.platform.supported, ["0.11"]);
}

#[tokio::test]
async fn what_cannot_be_built_with_is_said() {
    let lifecycle = |text: &str| format!(r#"{{"images":[{{"image":"run"}}],"lifecycle":{text}}}"#);
    for (bad, expected) in [
        (
            good().label(BUILDER, ""),
            "no label `io.buildpacks.builder.metadata`",
        ),
        (
            good().label(BUILDER, "{"),
            "label `io.buildpacks.builder.metadata` cannot",
        ),
        (
            good().label(
                BUILDER,
                r#"{"lifecycle":{"version":"1","api":{"buildpack":"0.7","platform":"0.7"}}}"#,
            ),
            "names no run image",
        ),
        (
            good().label(BUILDER, lifecycle("{}")),
            "the version of its lifecycle",
        ),
        (
            good().label(BUILDER, lifecycle(r#"{"version":"1"}"#)),
            "the Buildpack APIs",
        ),
        (
            good().label(
                BUILDER,
                lifecycle(r#"{"version":"1","apis":{"buildpack":{"supported":["0.7"]}}}"#),
            ),
            "the Platform APIs",
        ),
        (
            good().label(
                BUILDER,
                lifecycle(r#"{"version":"1","api":{"buildpack":"0.7","platform":"0.1"}}"#),
            ),
            "speaks Platform API 0.1, and none of 0.7 to",
        ),
        (
            good().label(MIXINS, "[1]"),
            "label `io.buildpacks.stack.mixins` cannot",
        ),
    ] {
        let error = read(bad).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let image = |env: [&str; 2]| {
        env.iter().filter(|it| !it.is_empty()).fold(
            TestImage::default().label(BUILDER, METADATA),
            |image, env| image.env(env),
        )
    };
    for (env, expected) in [
        (["", "CNB_GROUP_ID=1"], "no variable `CNB_USER_ID`"),
        (
            ["CNB_USER_ID=1", "CNB_GROUP_ID="],
            "no variable `CNB_GROUP_ID`",
        ),
        (
            ["CNB_USER_ID=cnb", "CNB_GROUP_ID=1"],
            "`CNB_USER_ID` of the builder is `cnb`",
        ),
        (
            ["CNB_USER_ID=-1", "CNB_GROUP_ID=1"],
            "`CNB_USER_ID` of the builder is `-1`",
        ),
    ] {
        let error = read(image(env)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn labels_that_lie_are_refused() {
    let buildpacks = layers_label(Kind::Buildpack);
    let nowhere = format!("sha256:{}", "0".repeat(64));
    for (bad, expected) in [
        (
            good().label(buildpacks, layers(&[("a", "1.0.0", &nowhere)])),
            "which the image does not have",
        ),
        (good().label(buildpacks, layers(&[("a", "1.0.0", "x")])), "which the image does not have"),
        (good().label(buildpacks, layers(&[("a_b", "1.0.0", "{0}")])), "what cannot be a buildpack"),
        (good().label(buildpacks, layers(&[("a", "..", "{0}")])), "what cannot be a buildpack"),
        (good().label(buildpacks, r#"{"a":{"1":{"layerDiffID":"{0}"}}}"#), "does not say `api`"),
        (good().label(ORDER, r#"[{"group":[{"id":"c"}]}]"#), "names `c`"),
        (good().label(ORDER, r#"[{"group":[{"id":"a","version":"2"}]}]"#), "names `a@2`"),
        (good().label(SYSTEM, r#"{"post":{"buildpacks":[{"id":"c"}]}}"#), "names `c`"),
        (
            good()
                .label(buildpacks, r#"{"a":{"1":{"api":"0.7","layerDiffID":"{0}"},"2":{"api":"0.7","layerDiffID":"{0}"}}}"#)
                .label(SYSTEM, "")
                .label(ORDER, r#"[{"group":[{"id":"a"}]}]"#),
            "does not say `version` of `a`",
        ),
    ] {
        let BuilderImageError::Label(error) = read(bad).await.unwrap_err() else {
            panic!("{expected}");
        };
        assert!(error.problem.to_string().contains(expected), "{}", error.problem);
    }
}
