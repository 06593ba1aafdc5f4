//! What is found in files of each kind: no more than one file can say, and never an end of the
//! search.

use std::path::Path;

use oci::tar::{Entry, EntryKind, Writer};
use oci::view::{View, ViewLimits};
use sbom::find::{Finders, find};

use crate::Target;
use crate::seeds::list;

macro_rules! targets {
    ($($name:ident: $folder:literal, $path:literal, $short:literal, $words:expr;)*) => {
        $(
            pub(crate) const $name: Target = Target {
                name: concat!("find-", $folder),
                run: |data| run($path, data),
                seeds: || seeds($folder),
                words: $words,
                short: $short,
            };
        )*
    };
}

targets! {
    APK: "alpine", "lib/apk/db/installed", 2_000, &["\n\n", "P:", "V:", "D:", "p:so:", "F:", "R:", "=", "!"];
    DPKG: "debian", "var/lib/dpkg/status", 2_000, &["\n\n", "Package: ", "Version: ", "Depends: ", "Status: ", "\n ", " (", " | ", ":any"];
    RPM: "rpm", "var/lib/rpm/Packages", 3_000, &["\0\0\0\0", "\0\0\0\x01", "\x01\0\0\0", "\x7f\x7f\x7f\x7f", "BlbS", "Slot", "\x0d", "\x05"];
    PROGRAM: "programs", "app/program.jar", 3_000, &["\0\0\0\0", "\x7f\x7f\x7f\x7f", "mod\t", "dep\t", "=>\t", "PK\x01\x02", "PK\x03\x04", "PK\x05\x06"];
}

/// A text that is read as each of the manifests.
pub(crate) const MANIFEST: Target = Target {
    name: "find-manifest",
    run: |data| {
        for path in [
            "etc/os-release",
            "usr/share/doc/a/copyright",
            "node_modules/a/package.json",
            "node_modules/.package-lock.json",
            "a.dist-info/METADATA",
            "a.dist-info/direct_url.json",
        ] {
            run(path, data);
        }
    },
    seeds: || {
        let mut seeds = seeds("debian");
        let texts = [
            r#"{"name":"@a/b","version":"1","license":{"type":"MIT"},"dependencies":{"c":"1"}}"#,
            r#"{"packages":{"node_modules/a":{"resolved":"https://r/a.tgz","integrity":"sha512-AAEC"}}}"#,
            r#"{"url":"https://x","vcs_info":{"vcs":"git","commit_id":"01"}}"#,
            "Metadata-Version: 2.1\nName: A.b\nVersion: 1\nRequires-Dist: c[x]>1; extra == 'y'\n\ntext",
        ];
        seeds.extend(texts.map(|it| it.as_bytes().to_vec()));
        seeds
    },
    words: &[
        "License: GPL-2+ or Expat\n",
        " with autoconf exception",
        "/usr/share/common-licenses/GPL",
        "ID=\"",
        "\\\"",
        "Name: ",
        "Requires-Dist: ",
        "\"license\":",
        "\"version\":\"1\"",
    ],
    short: 1_000,
};

fn seeds(folder: &str) -> Vec<Vec<u8>> {
    let folder = crate::folder().join("../fixtures/packages").join(folder);
    let files = list(&folder)
        .into_iter()
        .filter(|it| it.extension().is_none_or(is_data));
    files.filter_map(|it| fs_err::read(it).ok()).collect()
}

fn is_data(end: &std::ffi::OsStr) -> bool {
    end != "py" && end != "spec"
}

/// Programs and archives are told apart by their names, so those that are programs get one.
fn run(path: &str, data: &[u8]) {
    let path = match (path, data.starts_with(b"PK")) {
        ("app/program.jar", false) => "app/program",
        (path, _) => path,
    };
    let entry = Entry {
        path: Path::new(path).to_owned(),
        kind: EntryKind::File {
            size: data.len() as u64,
        },
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: 0,
    };
    let mut tar = Writer::new(Vec::new());
    tar.write(&entry, data).expect("memory takes all");
    let tar = tar.finish().expect("memory takes all");
    let mut view = View::new(ViewLimits::default());
    view.add_layer(&tar[..], &mut Finders::default())
        .expect("what is in a file is no reason to give up");
    let inventory = find(&view);
    for component in &inventory.components {
        assert!(!component.name.is_empty());
        assert!(!component.evidence.is_empty(), "{component:?}");
        let purl = component.purl.as_ref().map_or("", |it| it.as_str());
        assert!(
            purl.is_ascii() && !purl.contains(char::is_whitespace),
            "{purl}"
        );
    }
    let most = inventory.components.len();
    for relation in &inventory.relations {
        for end in [relation.from, relation.to] {
            let sbom::component::Node::Component(index) = end else {
                continue;
            };
            assert!(index < most);
        }
    }
}
