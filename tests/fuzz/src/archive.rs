//! Images in tar files: what comes out of one is what its digest says, whatever the file says.

use std::cell::RefCell;
use std::path::Path;

use oci::store::{ArchiveForm, ArchiveStore, read};
use oci::tar::{Entry, EntryKind, Writer};
use oci::{Digest, Hasher, Limits, Selector, Store, walk};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "archive",
    run,
    seeds,
    words: WORDS,
    short: 400,
};

const WORDS: &[&str] = &[
    "\"Config\":",
    "\"RepoTags\":[",
    "\"Layers\":[",
    "\"app:v1\"",
    "\"org.opencontainers.image.ref.name\":\"v1\"",
    "\"io.containerd.image.name\":\"docker.io/library/app:v1\"",
    "manifest.json\n",
    "index.json\n",
    "oci-layout\n",
    "blobs/sha256/",
    "../",
    "null",
];

/// Bits of the first byte.
const DOCKER: u8 = 1;
const NAMED: u8 = 2;

/// Between two files; no JSON has it.
const END: u8 = 0xff;
/// A manifest that is read has no more.
const BYTES: u64 = 64 << 10;

fn seeds() -> Vec<Vec<u8>> {
    let layer = "layer";
    let image = "application/vnd.oci.image";
    let diff_id = Digest::of(layer.as_bytes());
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
    );
    let described = |media_type: &str, content: &str| {
        let digest = Digest::of(content.as_bytes());
        let size = content.len();
        format!(r#""mediaType":"{media_type}","digest":"{digest}","size":{size}"#)
    };
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{{}}},"layers":[{{{}}}]}}"#,
        described(&format!("{image}.config.v1+json"), &config),
        described(&format!("{image}.layer.v1.tar"), layer),
    );
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{{},"annotations":{{"org.opencontainers.image.ref.name":"v1"}}}}]}}"#,
        described(&format!("{image}.manifest.v1+json"), &manifest),
    );
    let blob = |content: &str| {
        let digest = Digest::of(content.as_bytes());
        (format!("blobs/sha256/{}", digest.hex()), content.to_owned())
    };
    let file = |name: &str, content: &str| (name.to_owned(), content.to_owned());
    let blobs = [blob(layer), blob(&config), blob(&manifest)];
    let listed = |config: &str, layer: &str| {
        let text =
            format!(r#"[{{"Config":"{config}","RepoTags":["app:v1"],"Layers":["{layer}"]}}]"#);
        file("manifest.json", &text)
    };
    let [(layer_name, _), (config_name, _), _] = &blobs;
    let layout = [
        file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
        file("index.json", &index),
    ];
    let old = [
        listed("c.json", "l/layer.tar"),
        file("c.json", &config),
        file("l/layer.tar", layer),
    ];
    let new = [
        layout.as_slice(),
        &blobs,
        &[listed(config_name, layer_name)],
    ]
    .concat();
    let written = |flags: u8, files: &[(String, String)]| {
        let files = files
            .iter()
            .map(|(name, content)| format!("{name}\n{content}"));
        let files: Vec<Vec<u8>> = files.map(String::into_bytes).collect();
        [vec![flags], files.join(&END)].concat()
    };
    vec![
        written(0, &[layout.as_slice(), &blobs].concat()),
        written(DOCKER | NAMED, &old),
        written(DOCKER | NAMED, &new),
        written(DOCKER, &new),
    ]
}

struct Place {
    folder: TempDir,
    runtime: Runtime,
}

thread_local! {
    static PLACE: RefCell<Place> = RefCell::new(Place {
        folder: tempfile::tempdir().expect("a folder can be made"),
        runtime: Builder::new_current_thread().build().expect("threads can be made"),
    });
}

/// After the first byte, files: a line with the name, then the content.
fn run(data: &[u8]) {
    let Some((flags, files)) = data.split_first() else {
        return;
    };
    let files = files.split(|it| *it == END).filter_map(|it| {
        let end = it.iter().position(|it| *it == b'\n')?;
        let (name, content) = it.split_at_checked(end)?;
        Some((std::str::from_utf8(name).ok()?, content.get(1..)?))
    });
    let files: Vec<(&str, &[u8])> = files.collect();
    PLACE.with_borrow(|place| {
        let path = place.folder.path().join("archive.tar");
        fs_err::write(&path, archive(&files)).expect("the folder is ours");
        let form = if flags & DOCKER == 0 {
            ArchiveForm::Oci
        } else {
            ArchiveForm::Docker
        };
        let name = (flags & NAMED != 0).then(|| "app".parse().expect("is a name"));
        if let Ok(store) = ArchiveStore::open(path, form, name) {
            place.runtime.block_on(read_all(&store, &files));
        }
    });
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (name, content) in files {
        let entry = Entry {
            path: Path::new(name).to_owned(),
            kind: EntryKind::File {
                size: content.len() as u64,
            },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
        };
        // Some names have no place in an archive.
        drop(writer.write(&entry, *content));
    }
    writer.finish().expect("memory takes all")
}

/// What can be reached by name, or as the digest of a file.
async fn read_all(store: &ArchiveStore, files: &[(&str, &[u8])]) {
    let tags = store.tags().await.unwrap_or_default();
    let tags = tags.into_iter().map(Selector::Tag);
    let digests = files
        .iter()
        .map(|(_, content)| Selector::Digest(Digest::of(content)));
    let limits = Limits {
        manifest_bytes: BYTES,
        manifests: 16,
        referrers: 16,
        depth: 3,
        layers: 16,
        ..Limits::default()
    };
    for selector in tags.chain(digests).take(16) {
        let Ok(root) = store.resolve(&selector).await else {
            continue;
        };
        if let Selector::Digest(digest) = &selector {
            assert_eq!(root.digest, *digest);
        }
        let Ok(nodes) = walk(store, &root, &limits).await else {
            continue;
        };
        assert!(nodes.len() <= 17);
        for node in nodes {
            for target in node.blobs.iter().chain([&node.descriptor]) {
                if let Ok(content) = read(store, target, BYTES).await {
                    assert_eq!(content.len() as u64, target.size);
                    let mut hasher = Hasher::new(target.digest.algorithm());
                    hasher.update(&content);
                    assert_eq!(hasher.finish(), target.digest);
                }
            }
        }
    }
}
