//! What is written is on the disk before it has its name, and then its name is. No machine crashes in
//! a test, so it is the system calls that are looked at.

use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use futures_util::stream;
use oci::layer::{self, Compression};
use oci::store::{ArchiveForm, ArchiveStore};
use oci::tar::TarError;
use oci::{Content, Descriptor, LayoutStore, MediaType, Store, Upload};
use testkit::{Workspace, peer, skipped};

use crate::layout::push_image;

/// A system call that worked.
#[derive(Debug)]
enum Call {
    /// A file or folder was synced: the number by which it is open, and its name.
    Sync { number: String, name: String },
    /// A file got this name, in place of that one or beside it.
    Name { from: String, to: String },
}

impl Call {
    /// As `strace -y` writes it: `fsync(9</file>) = 0`, `rename("/old", "/new") = 0`.
    fn parse(line: &str) -> Option<Self> {
        let (call, _) = line.rsplit_once(" = 0").filter(|(_, end)| end.is_empty())?;
        if let Some(file) = call.strip_prefix("fsync(") {
            let (number, name) = file.split_once('<')?;
            let (name, _) = name.rsplit_once('>')?;
            return Some(Self::Sync {
                number: number.to_owned(),
                name: name.to_owned(),
            });
        }
        let mut names = call.split('"').skip(1).step_by(2).map(str::to_owned);
        Some(Self::Name {
            from: names.next()?,
            to: names.next()?,
        })
    }

    fn syncs(&self, path: &Path) -> bool {
        matches!(self, Self::Sync { number, name }
            if Path::new(name) == path || Path::new("/proc/self/fd").join(number) == path)
    }

    fn names(&self, path: &Path) -> bool {
        matches!(self, Self::Name { to, .. } if Path::new(to) == path)
    }
}

const WATCHED: &str = "watched:";

/// What [`write_while_watched`] does in `workspace`, thread by thread; none where nothing can be watched.
fn watch(workspace: &Workspace) -> Option<Vec<Vec<Call>>> {
    let strace = peer("strace")?;
    let tried = Command::new(&strace)
        .args(["-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    if !tried.unwrap().success() {
        skipped("`strace` may not watch anything here");
        return None;
    }
    let traces = workspace.join("traces");
    fs_err::create_dir(&traces).unwrap();
    let watched = Command::new(strace)
        .args(["-ff", "-y", "-o"])
        .arg(traces.join("thread"))
        .args(["-e", "trace=fsync,link,linkat,rename,renameat,renameat2"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "lasting::write_while_watched"])
        .arg(format!("{WATCHED}{}", workspace.path().display()))
        .stdout(Stdio::null())
        .status();
    assert!(watched.unwrap().success());
    let threads = fs_err::read_dir(traces).unwrap().map(|file| {
        let text = fs_err::read_to_string(file.unwrap().path()).unwrap();
        text.lines().filter_map(Call::parse).collect()
    });
    Some(threads.collect())
}

/// Writes in all ways that there are; without its argument it has nothing to do.
#[tokio::test]
async fn write_while_watched() {
    let Some(folder) = std::env::args().find_map(|it| it.strip_prefix(WATCHED).map(str::to_owned))
    else {
        return;
    };
    let folder = Path::new(&folder);
    let store = LayoutStore::create(folder.join("layout")).unwrap();
    let image = push_image(&store, b"layer", None).await;
    store.tag(&image, &"v1".parse().unwrap()).await.unwrap();
    let chunks = stream::iter([Ok(Bytes::from_static(b"stream"))]);
    let streamed = Descriptor::of(MediaType::LAYER_TAR, b"stream");
    let upload = Upload::Stream(Content::new(chunks));
    store.push_blob(&streamed, upload).await.unwrap();
    fs_err::create_dir(folder.join("layers")).unwrap();
    let made = layer::write(&folder.join("layers/made"), Compression::None, |_| {
        Ok::<_, TarError>(())
    });
    let made = made.unwrap();
    let target = made.descriptor.clone();
    let upload = Upload::Layer(Box::new(made));
    store.push_blob(&target, upload).await.unwrap();
    // A new archive, and one that replaces another.
    for layer in ["one", "two"] {
        let path = folder.join("app.tar");
        let archive = ArchiveStore::create(path, ArchiveForm::Oci, None).unwrap();
        push_image(&archive, layer.as_bytes(), None).await;
        archive.finish().await.unwrap();
    }
}

#[test]
fn what_is_written_is_on_the_disk_before_it_has_its_name() {
    let workspace = Workspace::new();
    let Some(threads) = watch(&workspace) else {
        return;
    };
    let layout = workspace.join("layout");
    let (index, version) = (layout.join("index.json"), layout.join("oci-layout"));
    let (blobs, archive) = (layout.join("blobs/sha256"), workspace.join("app.tar"));
    let mut files: Vec<_> = fs_err::read_dir(&blobs)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    assert_eq!(files.len(), 5, "{files:?}");
    files.extend([index.clone(), version, archive.clone()]);
    for file in &files {
        let mut times = 0;
        for calls in &threads {
            for (at, call) in calls.iter().enumerate().filter(|(_, it)| it.names(file)) {
                times += 1;
                assert_synced(call, &calls[..at]);
                let is_synced = |it: &Call| it.syncs(file.parent().unwrap());
                // The names of blobs are synced all at once.
                if !file.starts_with(&blobs) {
                    assert!(calls[at..].iter().any(is_synced), "{call:?}: {calls:#?}");
                }
                if *file == index {
                    let since = calls[..at].iter().rev().take_while(|it| !it.names(&index));
                    let mut since = since.filter(|it| it.syncs(&blobs));
                    assert!(since.next().is_some(), "{call:?}: {calls:#?}");
                }
            }
        }
        let expected = if [&index, &archive].contains(&file) {
            2
        } else {
            1
        };
        assert_eq!(times, expected, "{}: {threads:#?}", file.display());
    }
}

/// What `call` names was synced `before`, by the name that it had or by none.
#[track_caller]
fn assert_synced(call: &Call, before: &[Call]) {
    let Call::Name { from, .. } = call else {
        panic!("{call:?}");
    };
    let from = Path::new(from);
    let first = before.iter().find(|it| it.names(from));
    let unnamed = match first {
        Some(Call::Name { from, .. }) => Path::new(from),
        _ => from,
    };
    let is_synced = |it: &Call| it.syncs(from) || it.syncs(unnamed);
    assert!(before.iter().any(is_synced), "{call:?}: {before:#?}");
}
