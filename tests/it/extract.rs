//! Archives that try to get out of the directory that they are unpacked into.

mod headers;
mod overlay;
mod owners;
mod replaced;

use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use oci::{
    Descriptor, Digest, ExtractError, ExtractOptions, ExtractRules, LayoutStore, MediaType, Store,
    StoreError, Upload, extract, extract_layer,
};
use testkit::Workspace;

/// A tar archive, put together without asking whether it makes sense.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, flag: u8, path: &str, link: &str, content: &[u8]) -> Self {
        self.header(
            flag,
            path,
            link,
            &format!("{:011o}\0", content.len()),
            "0000755\0",
        );
        self.content(content)
    }

    fn header(&mut self, flag: u8, path: &str, link: &str, size: &str, mode: &str) {
        let mut block = [0; 512];
        let mut put = |at: usize, text: &[u8]| {
            let field = block.get_mut(at..at + text.len()).unwrap();
            field.copy_from_slice(text);
        };
        put(0, path.as_bytes());
        put(100, mode.as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, size.as_bytes());
        put(136, b"00000000012\0");
        put(148, b"        ");
        put(156, &[flag]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|it| u32::from(*it)).sum();
        block
            .get_mut(148..156)
            .unwrap()
            .copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(block);
    }

    fn content(mut self, content: &[u8]) -> Self {
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.entry(b'0', path, "", content.as_bytes())
    }

    fn folder(self, path: &str) -> Self {
        self.entry(b'5', path, "", b"")
    }

    fn symlink(self, path: &str, link: &str) -> Self {
        self.entry(b'2', path, link, b"")
    }

    fn hard_link(self, path: &str, link: &str) -> Self {
        self.entry(b'1', path, link, b"")
    }

    fn pax(self, key: &str, value: &str) -> Self {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len();
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        self.entry(b'x', "pax", "", format!("{length}{rest}").as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A directory to unpack into, beside what must stay as it is.
struct Cell {
    workspace: Workspace,
    outside: PathBuf,
    inside: PathBuf,
}

impl Cell {
    fn new() -> Self {
        let workspace = Workspace::new();
        let inside = workspace.join("outside/inside");
        fs_err::create_dir_all(&inside).unwrap();
        workspace.write("outside/secret", "secret");
        Self {
            outside: workspace.join("outside"),
            inside,
            workspace,
        }
    }

    fn extract(&self, tar: Tar) -> Result<(), ExtractError> {
        self.extract_by(ExtractRules::Layer, tar)
    }

    fn extract_by(&self, rules: ExtractRules, tar: Tar) -> Result<(), ExtractError> {
        let options = ExtractOptions {
            rules,
            ..ExtractOptions::default()
        };
        extract(&tar.end()[..], &self.inside, &options).map(|_| ())
    }

    /// Nothing beside the directory has changed.
    fn is_whole(&self) -> bool {
        let names = fs_err::read_dir(&self.outside).unwrap().count();
        let secret = fs_err::metadata(self.outside.join("secret")).unwrap();
        let text = fs_err::read_to_string(self.outside.join("secret")).unwrap();
        names == 2 && text == "secret" && secret.nlink() == 1
    }

    fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.inside.join(path)).unwrap()
    }

    fn has(&self, path: &str) -> bool {
        fs_err::symlink_metadata(self.inside.join(path)).is_ok()
    }
}

#[test]
fn paths_that_lead_out_are_refused() {
    for path in [
        "../evil",
        "a/../../evil",
        "a/..",
        "..",
        "/../evil",
        "./../evil",
    ] {
        for flag in *b"0125" {
            let cell = Cell::new();
            let tar = Tar::default().entry(flag, path, "x", b"");
            let refused = cell.extract(tar);
            assert!(
                matches!(refused, Err(ExtractError::Outside { .. })),
                "{path}"
            );
            assert!(cell.is_whole());
        }
        // The lifecycle's rules keep them in.
        let cell = Cell::new();
        let tar = Tar::default().file(&format!("{path}/x"), "x");
        cell.extract_by(ExtractRules::Lifecycle, tar).unwrap();
        assert!(cell.is_whole());
    }
    let cell = Cell::new();
    let tar = Tar::default().file("a/../../b/../file", "x");
    cell.extract_by(ExtractRules::Lifecycle, tar).unwrap();
    assert_eq!(cell.read("file"), "x");
    let cell = Cell::new();
    cell.extract(Tar::default().file("/etc/passwd", "ours"))
        .unwrap();
    assert_eq!(cell.read("etc/passwd"), "ours");
    let refused = cell.extract(Tar::default().pax("path", "../evil").file("good", "x"));
    assert!(matches!(refused, Err(ExtractError::Outside { .. })));
    assert!(cell.is_whole());
}

#[test]
fn links_lead_nowhere_but_into_the_directory() {
    for rules in [ExtractRules::Layer, ExtractRules::Lifecycle] {
        for target in [
            "..",
            "../..",
            "/",
            "/..",
            "loop/../../..",
            "a/../..",
            "//../",
        ] {
            let cell = Cell::new();
            let tar = Tar::default()
                .folder("a")
                .symlink("way", target)
                .file("way/secret", "evil")
                .folder("way/made")
                .symlink("deep", "way")
                .file("deep/deeper/evil", "evil");
            // Whether it works out or not, it stays inside.
            cell.extract_by(rules, tar).ok();
            assert!(cell.is_whole(), "{target}");
        }
        let cell = Cell::new();
        let outside = cell.outside.to_str().unwrap().to_owned();
        let tar = Tar::default()
            .symlink("way", &outside)
            .file("way/secret", "evil");
        cell.extract_by(rules, tar).unwrap();
        assert!(cell.is_whole());
        assert_eq!(
            cell.read(&format!("{}/secret", outside.trim_start_matches('/'))),
            "evil"
        );
    }
    // One that is there already is no way out either.
    let cell = Cell::new();
    fs_err::os::unix::fs::symlink("..", cell.inside.join("old")).unwrap();
    cell.extract(Tar::default().file("old/secret", "evil"))
        .unwrap();
    assert!(cell.is_whole());
    assert_eq!(cell.read("secret"), "evil");
    // Nor is one around in circles.
    let tar = Tar::default()
        .symlink("x", "y")
        .symlink("y", "x")
        .file("x/z", "");
    assert!(matches!(cell.extract(tar), Err(ExtractError::File { .. })));
}

/// A link is read as if the directory were the root of all.
#[test]
fn links_lead_where_they_say() {
    for (link, target) in [
        ("a/../b", "b"),
        ("../b", "b"),
        ("a/rooted", "b"),
        ("../a/rooted", "b"),
        ("a/back", "a"),
        ("/a/./new", "a/new"),
    ] {
        let cell = Cell::new();
        let tar = Tar::default()
            .folder("a")
            .folder("b")
            .symlink("a/rooted", "/b")
            .symlink("a/back", "../b/../a")
            .symlink("way", link)
            .file("way/file", "here");
        cell.extract(tar).unwrap();
        assert!(cell.has(&format!("{target}/file")), "{link}");
    }
}

#[test]
fn a_file_over_a_link_replaces_the_link() {
    let cell = Cell::new();
    let tar = Tar::default()
        .symlink("file", "../secret")
        .file("file", "evil");
    cell.extract(tar).unwrap();
    assert!(cell.is_whole());
    assert_eq!(cell.read("file"), "evil");
    let tar = Tar::default()
        .symlink("link", "../secret")
        .file("link", "evil");
    let refused = cell.extract_by(ExtractRules::Lifecycle, tar);
    assert!(matches!(refused, Err(ExtractError::File { .. })));
    assert!(cell.is_whole());
}

#[test]
fn a_folder_that_becomes_a_link_is_not_walked_any_more() {
    let cell = Cell::new();
    let tar = Tar::default()
        .folder("a")
        .file("a/one", "1")
        .symlink("a", "..")
        .file("a/secret", "evil")
        .file("a/one", "2");
    cell.extract(tar).unwrap();
    assert!(cell.is_whole());
    assert_eq!(cell.read("secret"), "evil");
}

#[test]
fn hard_links_reach_only_what_is_inside() {
    let outside = |target: &str| {
        let cell = Cell::new();
        let failed = cell
            .extract(Tar::default().hard_link("link", target))
            .is_err();
        assert!(cell.is_whole());
        failed
    };
    assert!(outside("../secret"));
    assert!(outside("/secret"));
    assert!(outside("."));
    let cell = Cell::new();
    let tar = Tar::default()
        .symlink("way", "..")
        .hard_link("link", "way/secret");
    assert!(cell.extract(tar).is_err());
    // To a link, not through it.
    let tar = Tar::default()
        .symlink("to-secret", "../secret")
        .hard_link("same", "to-secret")
        .file("same", "evil");
    cell.extract(tar).unwrap();
    assert!(cell.is_whole());
    let tar = Tar::default()
        .file("a", "1")
        .hard_link("b", "a")
        .hard_link("b", "/a");
    cell.extract(tar).unwrap();
    let a = fs_err::metadata(cell.inside.join("a")).unwrap();
    assert_eq!((a.nlink(), cell.read("b").as_str()), (2, "1"));
}

#[test]
fn whiteouts_remove_only_what_lower_layers_brought() {
    let cell = Cell::new();
    let lower = Tar::default()
        .file("a/old", "1")
        .file("a/sub/old", "1")
        .file("b", "1")
        .file("c/old", "1")
        .file("d/old", "1");
    cell.extract(lower).unwrap();
    let upper = Tar::default()
        .file("a/new", "2")
        .file("a/sub/new", "2")
        .file("a/.wh..wh..opq", "")
        .file("a/later", "2")
        .file(".wh.b", "")
        .file("b", "2")
        .file("c/new", "2")
        .file(".wh.c", "")
        .file(".wh.d", "")
        .file(".wh..wh.plnk", "")
        .file(".wh.nothing", "");
    cell.extract(upper).unwrap();
    for path in ["a/new", "a/sub/new", "a/later", "b", "c/new"] {
        assert_eq!(cell.read(path), "2", "{path}");
    }
    for path in ["a/old", "a/sub/old", "c/old", "d", ".wh.b", ".wh..wh.plnk"] {
        assert!(!cell.has(path), "{path}");
    }
    for bad in [".wh...", ".wh..", ".wh.", "a/.wh..."] {
        let refused = cell.extract(Tar::default().file(bad, ""));
        assert!(
            matches!(refused, Err(ExtractError::Outside { .. })),
            "{bad}"
        );
    }
    let tar = Tar::default()
        .symlink("way", "..")
        .file("way/.wh.secret", "")
        .file("way/.wh..wh..opq", "");
    cell.extract(tar).unwrap();
    assert!(cell.is_whole());
}

#[test]
fn devices_are_left_out() {
    let cell = Cell::new();
    let tar = Tar::default()
        .entry(b'3', "null", "", b"")
        .entry(b'4', "disk", "", b"")
        .entry(b'6', "pipe", "", b"")
        .file("after", "x");
    let summary = extract(&tar.end()[..], &cell.inside, &ExtractOptions::default()).unwrap();
    assert_eq!((summary.devices, summary.entries), (2, 4));
    assert!(!cell.has("null") && !cell.has("disk") && cell.has("after"));
    let pipe = fs_err::symlink_metadata(cell.inside.join("pipe")).unwrap();
    assert!(pipe.file_type().is_fifo());
    // A pipe that is there is not waited at.
    let tar = Tar::default().file("pipe", "x");
    cell.extract_by(ExtractRules::Lifecycle, tar).unwrap_err();
    cell.extract(Tar::default().file("pipe", "x")).unwrap();
    assert_eq!(cell.read("pipe"), "x");
}

#[test]
fn lifecycle_rules_are_those_of_upstream() {
    let rules = ExtractRules::Lifecycle;
    for (flag, number) in [(b'1', 49), (b'3', 51), (b'6', 54), (b'Z', 90)] {
        let cell = Cell::new();
        let refused = cell.extract_by(rules, Tar::default().entry(flag, "x", "x", b""));
        let text = refused.unwrap_err().to_string();
        assert_eq!(text, format!("unknown file type in tar {number}"));
    }
    let cell = Cell::new();
    fs_err::create_dir(cell.inside.join("there")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o700);
    fs_err::set_permissions(cell.inside.join("there"), mode).unwrap();
    fs_err::write(cell.inside.join("there/file"), "long before").unwrap();
    let mut tar = Tar::default().folder("there/").file("/there/file", "now");
    tar.header(b'5', "new", "", "00000000000\0", "0000500\0");
    let tar = tar
        .file("new/file", "x")
        .file("made/for/file", "x")
        .symlink("new/link", "x");
    cell.extract_by(rules, tar).unwrap();
    let mode = |path: &str| fs_err::metadata(cell.inside.join(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("there"), 0o700);
    assert_eq!(mode("new"), 0o500);
    assert_eq!(mode("made/for"), 0o777);
    assert_eq!(cell.read("there/file"), "now");
    let again = cell.extract_by(rules, Tar::default().symlink("new/link", "x"));
    assert!(matches!(again, Err(ExtractError::File { .. })));
}

#[test]
fn set_user_id_is_kept_only_with_the_owner() {
    let cell = Cell::new();
    let mut tar = Tar::default();
    tar.header(b'0', "su", "", "00000000000\0", "0006755\0");
    cell.extract(tar).unwrap();
    let mode = fs_err::metadata(cell.inside.join("su")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn limits_hold() {
    let cell = Cell::new();
    let options = ExtractOptions {
        entries: 100_000,
        bytes: 100 << 20,
        ..ExtractOptions::default()
    };
    let run = |tar: Vec<u8>| extract(&tar[..], &cell.inside, &options);
    let mut many = Tar::default();
    for _ in 0..=100_000 {
        many = many.folder("x");
    }
    assert!(matches!(
        run(many.end()),
        Err(ExtractError::TooManyEntries { limit: 100_000 })
    ));

    let one = Tar::default().file("x", "").0;
    let endless = std::io::Read::chain(&one[..], std::io::repeat(b'x'));
    let mut huge = Tar::default();
    huge.header(b'0', "huge", "", "77777777777\0", "0000644\0");
    let huge = std::io::Read::chain(&huge.0[..], std::io::repeat(0));
    let outcome = extract(huge, &cell.inside, &options);
    assert!(
        matches!(outcome, Err(ExtractError::TooManyBytes { .. })),
        "{outcome:?}"
    );
    let outcome = extract(endless, &cell.inside, &options);
    assert!(matches!(outcome, Err(ExtractError::Malformed { .. })));

    let long = "a/".repeat(3000);
    let tar = Tar::default().pax("path", &long).file("x", "");
    assert!(matches!(
        run(tar.end()),
        Err(ExtractError::PathTooLong { limit: 4096 })
    ));
    let tar = Tar::default().entry(b'L', "", "", &vec![b'x'; 2 << 20]);
    assert!(matches!(
        run(tar.end()),
        Err(ExtractError::Malformed { .. })
    ));
    for size in ["\u{7f}zzzzzzzzzzz", "99999999999\0", "-0000000001\0"] {
        let mut tar = Tar::default();
        tar.header(b'0', "x", "", size, "0000644\0");
        assert!(
            matches!(run(tar.end()), Err(ExtractError::Malformed { .. })),
            "{size}"
        );
    }
    let mut cut = Tar::default().file("x", "content").0;
    cut.truncate(700);
    assert!(matches!(run(cut), Err(ExtractError::Malformed { .. })));
    let mut bad = Tar::default().file("x", "content").end();
    bad[0] ^= 1;
    assert!(matches!(run(bad), Err(ExtractError::Malformed { .. })));
    assert!(run(b"no archive at all".repeat(100)).is_err());
}

/// Real tar and gzip made it; names are long and numbers large.
#[test]
fn what_real_tools_pack_is_unpacked() {
    let cell = Cell::new();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    let file = cell.workspace.write(format!("home/{long}"), "content");
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let opened = fs_err::OpenOptions::new().write(true).open(&file).unwrap();
    opened.file().set_modified(time).unwrap();
    fs_err::os::unix::fs::symlink("x".repeat(150), cell.workspace.join("home/link")).unwrap();
    for (at, arguments) in [
        vec!["--format=gnu"],
        vec!["--format=posix"],
        vec!["--format=posix", "-z"],
        vec![
            "--format=gnu",
            "-z",
            "--owner=4000000000",
            "--numeric-owner",
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let packed = cell
            .workspace
            .command("tar")
            .args(arguments)
            .args(["-C", "home", "-cf", "-", "."])
            .output()
            .unwrap();
        assert!(packed.status.success());
        let to = cell.inside.join(at.to_string());
        fs_err::create_dir(&to).unwrap();
        extract(&packed.stdout[..], &to, &ExtractOptions::default()).unwrap();
        let found = to.join(&long);
        assert_eq!(fs_err::read_to_string(&found).unwrap(), "content");
        assert_eq!(fs_err::metadata(&found).unwrap().modified().unwrap(), time);
        let link = fs_err::read_link(to.join("link")).unwrap();
        assert_eq!(link, Path::new(&"x".repeat(150)));
    }
}

#[tokio::test]
async fn a_layer_is_unpacked_and_checked_while_it_is_read() {
    let cell = Cell::new();
    let store = LayoutStore::create(cell.workspace.join("layout")).unwrap();
    let noise: Vec<u8> = (0..3_000_000_u64)
        .map(|it| (it * it).to_le_bytes()[1])
        .collect();
    let tar = Tar::default().entry(b'0', "big", "", &noise).end();
    let mut zipped = Command::new("gzip")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = zipped.stdin.take().unwrap();
    let diff_id = Digest::of(&tar);
    let writer = std::thread::spawn(move || input.write_all(&tar).unwrap());
    let gzip = zipped.wait_with_output().unwrap().stdout;
    writer.join().unwrap();
    let layer = Descriptor::of(MediaType::LAYER_GZIP, &gzip);
    let upload = Upload::Bytes(Bytes::from(gzip.clone()));
    store.push_blob(&layer, upload).await.unwrap();

    let options = ExtractOptions::default();
    let summary = extract_layer(&store, &layer, &cell.inside, &options).await;
    assert_eq!(summary.unwrap().diff_id.0, diff_id);
    assert_eq!(fs_err::read(cell.inside.join("big")).unwrap(), noise);

    // A bit in the first chunk, so that unpacking fails before the end is seen.
    let blob = cell
        .workspace
        .join("layout/blobs/sha256")
        .join(layer.digest.hex());
    let mut bad = gzip;
    bad[1000] ^= 0x55;
    fs_err::write(&blob, bad).unwrap();
    let refused = extract_layer(&store, &layer, &cell.inside, &options).await;
    assert!(matches!(
        refused,
        Err(ExtractError::Store(StoreError::DigestMismatch { .. }))
    ));
}

/// What unpacking makes of bad content helps nobody.
#[tokio::test]
async fn bad_content_is_told_as_that() {
    let cell = Cell::new();
    let path = cell.workspace.join("layout");
    let store = LayoutStore::create(&path).unwrap();
    // More than waits to be unpacked.
    let content = vec![b'x'; 8 << 20];
    let layer = Descriptor::of(MediaType::LAYER_TAR, &content);
    let upload = Upload::Bytes(content.clone().into());
    store.push_blob(&layer, upload).await.unwrap();
    let options = ExtractOptions::default();
    let refused = extract_layer(&store, &layer, &cell.inside, &options).await;
    assert!(matches!(refused, Err(ExtractError::Malformed { .. })));
    let mut bad = content;
    bad[7 << 20] = b'y';
    fs_err::write(path.join("blobs/sha256").join(layer.digest.hex()), bad).unwrap();
    let refused = extract_layer(&store, &layer, &cell.inside, &options).await;
    assert!(matches!(
        refused,
        Err(ExtractError::Store(StoreError::DigestMismatch { .. }))
    ));
}
