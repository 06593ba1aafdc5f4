//! Sizes that descriptors say: nothing at all, too much, or what no content has. What is not as long as it is
//! said to be arrives nowhere; what is empty does.

use bytes::Bytes;
use oci::store::read;
use oci::{
    Descriptor, Digest, LayoutStore, Limits, Manifest, MediaType, MemoryStore, Store as _,
    StoreError, Upload,
};
use serde_json::{Value, json};
use testkit::registry::{Switches, TestRegistry};
use testkit::{Output, Reply, Workspace};

use super::{content, count, quick, registry, scripted};

/// A manifest of a layer of `bytes` whose size is said to be `size`, if it is said.
fn image(bytes: &Bytes, size: Option<&Value>) -> Vec<u8> {
    let mut layer = json!({ "mediaType": MediaType::LAYER_GZIP, "digest": Digest::of(bytes) });
    if let Some(size) = size {
        layer["size"] = size.clone();
    }
    let config = Descriptor::of(MediaType::EMPTY, b"{}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::IMAGE_MANIFEST, "config": config, "layers": [layer],
    });
    manifest.to_string().into_bytes()
}

/// What may be said of 10 bytes, and of none; and whether it is right.
fn sizes() -> Vec<(Bytes, Option<Value>, bool)> {
    let (some, none) = (content(10), Bytes::new());
    let number = |text: &str| Some(serde_json::from_str(text).unwrap());
    let mut sizes = vec![
        (some.clone(), number("10"), true),
        (none.clone(), number("0"), true),
        (none.clone(), None, true),
        (none.clone(), Some(Value::Null), true),
        (none, number("1"), false),
        (some.clone(), None, false),
        (some.clone(), Some(Value::Null), false),
        (some.clone(), Some(json!("10")), false),
    ];
    for wrong in [
        "0",
        "9",
        "11",
        "-1",
        "-10",
        "10.0",
        "1e1",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551626",
    ] {
        let size = serde_json::from_str::<Value>(wrong).unwrap();
        sizes.push((some.clone(), Some(size), false));
    }
    sizes
}

#[test]
fn what_is_not_as_long_as_it_is_said_to_be_is_not_copied() {
    let workspace = Workspace::new();
    let (source, target) = (
        TestRegistry::start(Switches::default()),
        TestRegistry::start(Switches::default()),
    );
    source.put_blob("app", Bytes::from_static(b"{}"));
    for (at, (bytes, size, is_right)) in sizes().into_iter().enumerate() {
        source.put_blob("app", bytes.clone());
        let (tag, text) = (format!("v{at}"), image(&bytes, size.as_ref()));
        source.put_manifest("app", Some(&tag), MediaType::IMAGE_MANIFEST.as_str(), text);
        let from = format!("{}/app:{tag}", source.host());
        let registry = format!("{}/other-{at}/app:{tag}", target.host());
        let layout = format!("oci:layout-{at}:v1");
        for to in [&registry, &layout] {
            let copied = Output::of(&mut workspace.sealpack(["copy", &from, to]));
            assert_eq!(copied.code == 0, is_right, "{size:?} to {to}: {copied:?}");
            let found = Output::of(&mut workspace.sealpack(["tree", to]));
            assert_eq!(found.code == 0, is_right, "{size:?} in {to}: {found:?}");
        }
        if is_right {
            // There and back.
            let back = format!("{}/back/app:{tag}", target.host());
            Output::of(&mut workspace.sealpack(["copy", &layout, &back])).expect(0);
        }
    }
}

#[tokio::test]
async fn what_is_there_by_another_length_is_not_what_is_described() {
    let (server, registry) = registry(Switches::default());
    let bytes = content(10);
    server.put_blob("team/app", bytes.clone());
    let whole = Descriptor::of(MediaType::LAYER_GZIP, &bytes);
    assert!(registry.contains(&whole).await.unwrap());
    let said = Descriptor { size: 9, ..whole };
    assert!(!registry.contains(&said).await.unwrap());
    let pushed = registry.push_blob(&said, Upload::Bytes(bytes)).await;
    assert!(
        matches!(pushed, Err(StoreError::SizeMismatch { .. })),
        "{pushed:?}"
    );
}

#[tokio::test]
async fn an_empty_blob_is_content_like_others_in_all_stores() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, registry) = registry(Switches::default());
    let layout = LayoutStore::create(folder.path().join("layout")).unwrap();
    let memory = MemoryStore::new();
    let empty = Descriptor::of(MediaType::LAYER_GZIP, b"");
    let stores: [&dyn oci::Store; 3] = [&registry, &layout, &memory];
    for store in stores {
        assert!(!store.contains(&empty).await.unwrap(), "{store:?}");
        store
            .push_blob(&empty, Upload::Bytes(Bytes::new()))
            .await
            .unwrap();
        assert!(store.contains(&empty).await.unwrap(), "{store:?}");
        assert_eq!(read(store, &empty, u64::MAX).await.unwrap(), Bytes::new());
    }
}

#[tokio::test]
async fn no_store_gives_or_takes_what_is_said_to_be_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (server, registry) = registry(Switches::default());
    let layout = LayoutStore::create(folder.path().join("layout")).unwrap();
    let memory = MemoryStore::new();
    let bytes = content(10);
    let whole = Descriptor::of(MediaType::LAYER_GZIP, &bytes);
    server.put_blob("team/app", bytes.clone());
    let stores: [&dyn oci::Store; 3] = [&registry, &layout, &memory];
    for size in [0, 9, 11, u64::MAX] {
        let said = Descriptor {
            size,
            ..whole.clone()
        };
        for store in stores {
            store
                .push_blob(&whole, Upload::Bytes(bytes.clone()))
                .await
                .unwrap();
            let given = read(store, &said, u64::MAX).await;
            let is_refused = matches!(
                given,
                Err(StoreError::SizeMismatch { .. }
                    | StoreError::NotFound { .. }
                    | StoreError::TooLarge { .. })
            );
            assert!(is_refused, "{size}: {given:?}");
        }
    }
    let text = image(&bytes, Some(&json!(-1)));
    let parsed = Manifest::parse(&MediaType::IMAGE_MANIFEST, &text, &Limits::default());
    assert!(parsed.is_err());
}

/// A registry that has 10 bytes, says of them that they are 11, and loses sight of uploads at their end.
#[tokio::test]
async fn an_upload_that_ended_is_not_denied_by_a_length() {
    let bytes = content(10);
    let target = Descriptor::of(MediaType::LAYER_GZIP, &bytes);
    let (server, store) = scripted(quick(), |asked| match asked.line.split(' ').next() {
        Some("HEAD") => Reply::new(200).header("Content-Length: 11"),
        Some("POST") => {
            let session = "Location: /v2/team/app/blobs/uploads/1";
            Reply::new(202).header(session).body("")
        }
        _ => Reply::new(404).body(""),
    });
    let pushed = store.push_blob(&target, Upload::Bytes(bytes)).await;
    pushed.unwrap();
    assert_eq!(count(&server.lines(), "PUT"), 1);

    // What cannot be sent is said to be of two lengths.
    let gone = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let gone = async { Err(StoreError::io("source", "go on", gone)) };
    let upload = Upload::Stream(oci::Content::new(futures_util::stream::once(gone)));
    let error = store.push_blob(&target, upload).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::SizeMismatch { expected: 10, presented: 11, came: Some(it), .. }
            if it.announced),
        "{error:?}"
    );
}

#[test]
fn what_is_not_as_long_as_it_is_said_to_be_is_not_mounted() {
    let workspace = Workspace::new();
    let server = TestRegistry::start(Switches::default());
    let bytes = content(10);
    server.put_blob("app", bytes.clone());
    server.put_blob("app", Bytes::from_static(b"{}"));
    for (tag, size, code) in [("right", 10, 0), ("short", 9, 2), ("long", 11, 2)] {
        let text = image(&bytes, Some(&json!(size)));
        server.put_manifest("app", Some(tag), MediaType::IMAGE_MANIFEST.as_str(), text);
        let from = format!("{}/app:{tag}", server.host());
        let to = format!("{}/copy/{tag}:v1", server.host());
        let copied = Output::of(&mut workspace.sealpack(["copy", &from, &to]));
        assert_eq!(copied.code, code, "{copied:?}");
    }
}
