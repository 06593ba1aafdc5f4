use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::builder::testing::{TestImage, buildpack, layers};

async fn builder() -> Builder {
    let image = TestImage::default()
        .env("CNB_USER_ID=1")
        .env("CNB_GROUP_ID=1")
        .label(
            "io.buildpacks.builder.metadata",
            r#"{"images":[{"image":"run"}],"lifecycle":{"version":"1","api":{"buildpack":"0.7","platform":"0.7"}}}"#,
        )
        .label(
            "io.buildpacks.buildpack.layers",
            layers(&[("a", "1.0.0", "{0}"), ("b", "1.0.0", "{0}")]),
        )
        .label(
            "io.buildpacks.buildpack.order",
            r#"[{"group":[{"id":"a"}]},{"group":[{"id":"b"}]}]"#,
        )
        .layer(&[("x", "")]);
    let (store, image) = image.make().await;
    Builder::of_image("builder", image, store).unwrap()
}

fn package(folder: &Path, id: &str) -> Part {
    let place = folder.join(id);
    buildpack(&place, id, "1.0.0");
    let package = Package::of_folder(Kind::Buildpack, &place, id, None).unwrap();
    Part::Package(Box::new(package))
}

fn named(id: &str) -> Part {
    Part::Named {
        id: id.parse().unwrap(),
        version: None,
    }
}

fn order(builder: &Builder) -> Vec<String> {
    let ids = |group: &OrderGroup| {
        let ids: Vec<&str> = group.group.iter().map(|it| it.id.as_str()).collect();
        ids.join(" ")
    };
    builder.order.order.iter().map(ids).collect()
}

/// As pack has it: replaced, wrapped, spliced.
#[tokio::test]
async fn the_order_is_as_pack_has_it() {
    let folder = TempDir::new().unwrap();
    let own = |id: &str| package(folder.path(), id);
    for (buildpacks, before, after, expected) in [
        (vec![], vec![], vec![], vec!["a", "b"]),
        (vec![own("x"), named("a")], vec![], vec![], vec!["x a"]),
        (
            vec![own("x"), Part::Builder, own("y")],
            vec![],
            vec![],
            vec!["x a y", "x b y"],
        ),
        (
            vec![],
            vec![own("x")],
            vec![own("y")],
            vec!["x a y", "x b y"],
        ),
        (vec![own("x")], vec![own("y")], vec![], vec!["x"]),
    ] {
        let additions = Additions {
            buildpacks,
            before,
            after,
            extensions: Vec::new(),
        };
        assert_eq!(order(&builder().await.with(additions).unwrap()), expected);
    }
}

#[tokio::test]
async fn mistakes_are_named() {
    let folder = TempDir::new().unwrap();
    let add = |buildpacks| Additions {
        buildpacks,
        ..Additions::default()
    };
    let x = package(folder.path(), "x");
    fs_err::write(folder.path().join("x/bin/build"), "other").unwrap();
    let other = Package::of_folder(Kind::Buildpack, &folder.path().join("x"), "y", None).unwrap();
    let other = Part::Package(Box::new(other));
    for (additions, expected) in [
        (add(vec![Part::Builder, Part::Builder]), "once only"),
        (add(vec![named("c")]), "has no `c`"),
        (
            add(vec![x.clone(), other]),
            "`x@1.0.0` is there twice with different content: from `x` and from `y`",
        ),
        (
            Additions {
                extensions: vec![x.clone()],
                ..Additions::default()
            },
            "`x@1.0.0` is not of the kind `extension`",
        ),
        (
            Additions {
                before: vec![Part::Builder],
                ..Additions::default()
            },
            "in its groups already",
        ),
    ] {
        let error = builder().await.with(additions).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // What the builder has may be replaced, and what is the same may be said twice.
    let a = package(folder.path(), "a");
    let builder = builder().await.with(add(vec![a.clone(), a])).unwrap();
    let module = builder.buildpacks.iter().find(|it| it.id == *"a").unwrap();
    assert_eq!(module.origin.uri, "a");
}

#[test]
fn cycles_are_found_however_deep() {
    let modules = |orders: &[(&str, &[&str])]| -> Vec<Module> {
        let folder = TempDir::new().unwrap();
        let module = |(id, order): &(&str, &[&str])| {
            let Part::Package(package) = package(folder.path(), id) else {
                panic!("{id}");
            };
            let mut module = package.main;
            let members = order.iter().map(|it| GroupElement::new(*it, "1.0.0"));
            module.order = vec![OrderGroup::new(members.collect())];
            module
        };
        orders.iter().map(module).collect()
    };
    assert!(check_cycles(&modules(&[("a", &["b", "b"]), ("b", &["c"]), ("c", &[])])).is_ok());
    assert_eq!(
        check_cycles(&modules(&[("a", &["a"])])).unwrap_err(),
        "a@1.0.0"
    );
    let round = modules(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"])]);
    assert!(check_cycles(&round).is_err());
}
