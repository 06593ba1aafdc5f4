use super::*;
use crate::builder::testing::buildpack;

/// A builder of one buildpack.
fn builder(folder: &Path) -> Builder {
    buildpack(&folder.join("own"), "example/own", "1.2.3");
    let path = folder.join("builder.toml");
    std::fs::write(&path, "[[buildpacks]]\nuri = \"own\"\n").unwrap();
    Builder::load(&path).unwrap()
}

#[test]
fn a_name_means_what_pack_takes_it_for() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("here")).unwrap();
    let builder = builder(folder.path());
    let own = builder.buildpacks.first().unwrap();
    let (id, version) = (own.id.to_string(), own.version.to_string());
    let parse = |text: &str| Locator::parse(text, Kind::Buildpack, folder.path(), Some(&builder));
    for text in ["from=builder", "urn:cnb:builder"] {
        assert_eq!(parse(text).unwrap(), Locator::Builder, "{text}");
    }
    for (text, expected) in [
        (format!("urn:cnb:builder:{id}"), None),
        (format!("from=builder:{id}@{version}"), Some(&version)),
        (id.clone(), None),
        (format!("{id}@{version}"), Some(&version)),
    ] {
        let expected = Locator::Named {
            id: own.id.clone(),
            version: expected.map(|_| own.version.clone()),
        };
        assert_eq!(parse(&text).unwrap(), expected, "{text}");
    }
    let here = folder.path().join("here");
    let url = format!("file://{}/a%20b", folder.path().display());
    for (text, path) in [
        ("here", here.clone()),
        ("./here", folder.path().join("./here")),
        (url.as_str(), folder.path().join("a b")),
    ] {
        assert_eq!(parse(text).unwrap(), Locator::Path(path), "{text}");
    }
    for (text, name) in [
        ("docker://r.example/a/b:1", "r.example/a/b:1"),
        ("docker://localhost:5000/a", "localhost:5000/a"),
        ("r.example/a/b:1", "r.example/a/b:1"),
        ("oci:gone:1", "oci:gone:1"),
    ] {
        let expected = Locator::Image(name.parse().unwrap());
        assert_eq!(parse(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn what_could_be_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let parse = |text: &str| Locator::parse(text, Kind::Buildpack, folder.path(), None);
    for text in ["some/name", "some/name@1.2.3", "urn:cnb:registry:some/name"] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains("registry of buildpacks"), "{error}");
    }
    for text in ["https://a.example/b.tgz", "urn:other:a", "ftp://a"] {
        let error = parse(text).unwrap_err();
        assert!(matches!(error, LocatorError::Url { .. }), "{error}");
    }
    for text in [
        "urn:cnb:builder:..",
        "from=builder:a@../b",
        "urn:cnb:builder:",
    ] {
        let error = parse(text).unwrap_err();
        assert!(matches!(error, LocatorError::Id { .. }), "{error}");
    }
    let error = parse("file://other.example/a").unwrap_err();
    assert!(matches!(error, LocatorError::FileUrl { .. }), "{error}");
    for text in [
        "",
        "../gone",
        "gone.tgz",
        "gone:1",
        "gone@sha256:aa",
        "./a/b",
        "a/b/c",
        "Not An Image",
    ] {
        let error = parse(text).unwrap_err();
        assert!(matches!(error, LocatorError::NotThere { .. }), "{error}");
    }
    let error = parse("oci:").unwrap_err();
    assert!(matches!(error, LocatorError::Unknown { .. }), "{error}");
}
