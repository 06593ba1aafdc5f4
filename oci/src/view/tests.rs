use super::*;
use crate::tar::{Entry as TarEntry, EntryKind, Writer};

/// Keeps what each text file says.
#[derive(Default)]
struct Texts {
    asked: usize,
}

impl Pick for Texts {
    type Kept = String;

    fn wants(&mut self, file: &FileInfo<'_>) -> bool {
        self.asked += 1;
        !file.path.contains(".bin")
    }

    fn keep(&mut self, _: &FileInfo<'_>, content: &mut FileContent<'_>) -> Option<String> {
        let all = content.all(1 << 20).unwrap()?;
        Some(String::from_utf8(all).unwrap())
    }

    fn miss(&mut self, _: &FileInfo<'_>, missed: Missed) -> Option<String> {
        Some(missed.to_string())
    }
}

fn entry(path: &str, kind: EntryKind) -> TarEntry {
    TarEntry {
        path: path.into(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 0,
    }
}

/// A layer of `PATH=content`, `PATH->target`, `PATH=>hard link`, `PATH/`.
fn layer(entries: &[&str]) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for text in entries {
        let (path, kind, content) = if let Some((path, target)) = text.split_once("->") {
            let target = target.into();
            (path, EntryKind::Symlink { target }, "")
        } else if let Some((path, target)) = text.split_once("=>") {
            let target = target.into();
            (path, EntryKind::Hardlink { target }, "")
        } else if let Some((path, content)) = text.split_once('=') {
            let size = content.len() as u64;
            (path, EntryKind::File { size }, content)
        } else {
            (*text, EntryKind::Directory, "")
        };
        tar.write(&entry(path, kind), content.as_bytes()).unwrap();
    }
    tar.finish().unwrap()
}

fn view(layers: &[&[&str]]) -> View<String> {
    let mut view = View::new(ViewLimits::default());
    for entries in layers {
        view.add_layer(&layer(entries)[..], &mut Texts::default())
            .unwrap();
    }
    view
}

fn listing(view: &View<String>) -> String {
    let files = view.files();
    let texts: Vec<String> = files
        .map(|it| format!("{}={}@{}", it.path, it.kept, it.layer))
        .collect();
    texts.join(" ")
}

#[test]
fn the_last_writer_wins() {
    let view = view(&[
        &["a=1", "d/b=1", "d/c=1"],
        &["a=2", "d/b=2", "d/b=3", "./e=2", "/f=2"],
    ]);
    assert_eq!(listing(&view), "a=2@1 d/b=3@1 d/c=1@0 e=2@1 f=2@1");
    let past: Vec<_> = view
        .past()
        .iter()
        .map(|it| (it.path.as_str(), it.layer, it.until))
        .collect();
    assert_eq!(past, [("a", 0, 1), ("d/b", 0, 1)]);
    assert_eq!(view.past().first().unwrap().kept.as_str(), "1");
}

#[test]
fn whiteouts_remove_what_lower_layers_brought() {
    let lower: &[&str] = &["a/x=1", "a/y/z=1", "b=1", "ab=1", "c/x=1"];
    for (upper, expected) in [
        (&["a/.wh.x="] as &[&str], "a/y/z=1@0 ab=1@0 b=1@0 c/x=1@0"),
        (&[".wh.a="], "ab=1@0 b=1@0 c/x=1@0"),
        (
            &["a/.wh..wh..opq=", "a/n=2"],
            "a/n=2@1 ab=1@0 b=1@0 c/x=1@0",
        ),
        (
            &["a/n=2", "a/.wh..wh..opq="],
            "a/n=2@1 ab=1@0 b=1@0 c/x=1@0",
        ),
        (&["b=2", ".wh.b="], "a/x=1@0 a/y/z=1@0 ab=1@0 b=2@1 c/x=1@0"),
        (&[".wh..wh.plnk="], "a/x=1@0 a/y/z=1@0 ab=1@0 b=1@0 c/x=1@0"),
        (&[".wh..wh..opq="], ""),
        (&["a=2"], "a=2@1 ab=1@0 b=1@0 c/x=1@0"),
        (&["a->c"], "ab=1@0 b=1@0 c/x=1@0"),
        (&["a/"], "a/x=1@0 a/y/z=1@0 ab=1@0 b=1@0 c/x=1@0"),
        (&["b/"], "a/x=1@0 a/y/z=1@0 ab=1@0 c/x=1@0"),
    ] {
        assert_eq!(listing(&view(&[lower, upper])), expected, "{upper:?}");
    }
    for bad in [".wh.", ".wh..", ".wh..."] {
        let mut view = view(&[]);
        let refused = view.add_layer(&layer(&[&format!("{bad}=")])[..], &mut Texts::default());
        assert!(matches!(refused, Err(ViewError::Outside { .. })), "{bad}");
    }
}

#[test]
fn links_lead_where_they_say() {
    let view = view(&[
        &["usr/lib/x=1", "lib->usr/lib", "var/run->/run", "run/y=1"],
        &[
            "lib/x=2",
            "var/run/z=2",
            "up->../../usr",
            "loop->loop",
            "l2->l1",
            "l1->l2",
        ],
    ]);
    assert_eq!(listing(&view), "run/y=1@0 run/z=2@1 usr/lib/x=2@1");
    for path in [
        "lib/x",
        "usr/lib/x",
        "/lib/x",
        "up/lib/x",
        "up/../lib/x",
        "./lib/./x",
    ] {
        assert_eq!(
            view.get(path).map(|it| it.path),
            Some("usr/lib/x"),
            "{path}"
        );
    }
    for path in ["loop", "loop/x", "l1/x", "lib", "", "..", "usr/lib/x/y"] {
        assert!(view.get(path).is_none(), "{path}");
    }
    assert!(view.is_symlink("lib") && !view.is_symlink("lib/x"));
}

#[test]
fn what_goes_through_a_circle_is_passed_by() {
    let view = view(&[&["a->b", "b->a", "a/x=1", "c=1", "d=>a/x"]]);
    assert_eq!((listing(&view).as_str(), view.astray()), ("c=1@0", 2));
    let mut long: Vec<String> = (0..100).map(|it| format!("l{it}->l{}", it + 1)).collect();
    long.push("l100/x=1".to_owned());
    long.push("l0/y=1".to_owned());
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let view = self::view(&[&long]);
    assert_eq!((listing(&view).as_str(), view.astray()), ("l100/x=1@0", 1));
}

/// A target that grows each time it is followed.
#[test]
fn links_cannot_make_paths_grow() {
    let target = "a/".repeat(1000);
    let link = format!("a->{target}");
    let view = view(&[&[&link, "a/x=1", "b=1"]]);
    assert_eq!((listing(&view).as_str(), view.astray()), ("b=1@0", 1));
}

#[test]
fn hard_links_are_the_same_file() {
    let view = view(&[
        &[
            "a=1",
            "b=>a",
            "l->a",
            "m=>l",
            "x.bin=1",
            "y=>x.bin",
            "z=>nowhere",
            "b=>/b",
        ],
        &["a=2", "c=>b"],
    ]);
    let missed = "a hard link to a file that was not looked into";
    assert_eq!(
        listing(&view),
        format!("a=2@1 b=1@0 c=1@1 y={missed}@0 z={missed}@0")
    );
    assert_eq!(view.get("m").unwrap().kept.as_str(), "2");
}

#[test]
fn nothing_leads_out() {
    for text in ["../x=1", "a/../../x=1", "x=>../y", ".."] {
        let mut view = view(&[]);
        let refused = view.add_layer(&layer(&[text])[..], &mut Texts::default());
        assert!(matches!(refused, Err(ViewError::Outside { .. })), "{text}");
    }
}

#[test]
fn limits_hold() {
    let limited = |limits: ViewLimits, entries: &[&str]| {
        let mut view = View::new(limits);
        let added = view.add_layer(&layer(entries)[..], &mut Texts::default());
        added.map(|_| listing(&view))
    };
    let defaults = ViewLimits::default();
    let limits = ViewLimits {
        entries: 2,
        ..defaults
    };
    let many = limited(limits, &["a=1", "b=1", "c=1"]);
    assert!(matches!(many, Err(ViewError::TooManyEntries { limit: 2 })));
    let limits = ViewLimits {
        kept: 2,
        ..defaults
    };
    assert!(limited(limits, &["a=1", "b->a"]).is_ok());
    let many = limited(limits, &["a=1", "b->a", "c->a"]);
    assert!(matches!(many, Err(ViewError::TooManyKept { limit: 2 })));
    let limits = ViewLimits {
        names: 4,
        ..defaults
    };
    let many = limited(limits, &["a->aaaa"]);
    assert!(matches!(many, Err(ViewError::TooManyKept { .. })));
    // What takes the place of another does not count twice.
    let limits = ViewLimits {
        names: 8,
        ..defaults
    };
    assert!(limited(limits, &["a->aaaa"; 100]).is_ok());
    let limits = ViewLimits {
        bytes: 2048,
        ..defaults
    };
    let many = limited(limits, &["a=1", "b=1"]);
    assert!(matches!(many, Err(ViewError::TooManyBytes { limit: 2048 })));
    let limits = ViewLimits {
        path: 4,
        ..defaults
    };
    let long = limited(limits, &["aaaaa=1"]);
    assert!(matches!(long, Err(ViewError::PathTooLong { limit: 4 })));
    let limits = ViewLimits {
        file: 3,
        ..defaults
    };
    let large = limited(limits, &["a=1234", "b=123"]).unwrap();
    assert_eq!(large, "a=larger than 3 bytes@0 b=123@0");
    // Through a temporary file.
    let limits = ViewLimits {
        memory: 3,
        ..defaults
    };
    let text = "x".repeat(10_000);
    let large = limited(limits, &[&format!("a={text}"), "b=12345", "c=123"]).unwrap();
    assert_eq!(large, format!("a={text}@0 b=12345@0 c=123@0"));
}

#[test]
fn a_layer_that_ends_early_is_malformed() {
    let whole = layer(&["a=1234567890"]);
    for size in [100, 515, 600] {
        let mut view = view(&[]);
        let cut = view.add_layer(&whole[..size], &mut Texts::default());
        assert!(matches!(cut, Err(ViewError::Malformed { .. })), "{size}");
    }
}

#[test]
fn a_folder_is_seen_as_a_layer_is() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    };
    write("usr/lib/x", "1");
    write("a", "2");
    write("b.bin", "3");
    fs_err::os::unix::fs::symlink("usr/lib", folder.path().join("lib")).unwrap();
    fs_err::os::unix::fs::symlink("/", folder.path().join("out")).unwrap();
    let pipe = folder.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
    let mut view = View::new(ViewLimits::default());
    view.add_folder(folder.path(), &mut Texts::default())
        .unwrap();
    assert_eq!(listing(&view), "a=2@0 usr/lib/x=1@0");
    assert_eq!(view.get("out/lib/x").unwrap().path, "usr/lib/x");
    assert_eq!(view.layer(0), None);
    let mut view = View::new(ViewLimits::default());
    view.add_file(&folder.path().join("a"), "app/a", &mut Texts::default())
        .unwrap();
    assert_eq!(listing(&view), "app/a=2@0");
    let missing = view.add_folder(&folder.path().join("none"), &mut Texts::default());
    assert!(matches!(missing, Err(ViewError::Folder { .. })));
}
