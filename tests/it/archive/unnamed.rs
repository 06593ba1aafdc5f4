//! What lies beside an archive while it is written, and where temporary files are while one is read:
//! nothing that would stay behind if the process were killed.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use testkit::is_waited_for;

use super::*;

/// Whether files without a name can be made in a folder; else there is nothing to be seen here.
fn can_be_unnamed(folder: &Path) -> bool {
    let made = File::options()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_TMPFILE)
        .open(folder);
    if made.is_err() {
        skipped("this file system has no files without a name");
    }
    made.is_ok()
}

#[tokio::test]
async fn what_is_pushed_has_no_name() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    if !can_be_unnamed(workspace.path()) {
        return;
    }
    let archive = new_oci_archive(&path);
    let target = Descriptor::of(MediaType::LAYER_TAR, b"one two");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (notes, watched) = (seen.clone(), path.clone());
    let chunks = [b"one ".as_slice(), b"two"].into_iter().map(move |chunk| {
        notes.lock().unwrap().push(beside(&watched));
        Ok(Bytes::from_static(chunk))
    });
    let upload = Upload::Stream(Content::new(futures_util::stream::iter(chunks)));
    archive.push_blob(&target, upload).await.unwrap();
    let nothing: [String; 0] = [];
    assert_eq!(*seen.lock().unwrap(), [nothing.clone(), nothing.clone()]);
    assert_eq!(beside(&path), nothing);
    assert_eq!(read(&archive, &target, 100).await.unwrap(), "one two");
}

/// All of it is there, and it waits for its turn.
#[tokio::test]
async fn a_new_archive_has_no_name_until_it_is_whole() {
    let workspace = Workspace::new();
    let path = workspace.join("app.tar");
    if !can_be_unnamed(workspace.path()) {
        return;
    }
    let archive = new_oci_archive(&path);
    let image = push_image(&archive, b"first", None).await;
    archive.tag(&image, &tag("first")).await.unwrap();
    archive.finish().await.unwrap();
    let before = fs_err::read(&path).unwrap();

    let held = File::open(&path).unwrap();
    held.lock().unwrap();
    let archive = new_oci_archive(&path);
    let image = push_image(&archive, b"second", None).await;
    archive.tag(&image, &tag("second")).await.unwrap();
    let finish = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(archive.finish())
    });
    assert!(is_waited_for(&held, || finish.is_finished()));
    assert_eq!(beside(&path), ["app.tar"]);
    assert!(fs_err::read(&path).unwrap() == before);
    held.unlock().unwrap();
    finish.join().unwrap().unwrap();
    assert_eq!(beside(&path), ["app.tar"]);
    assert_eq!(resolve(&oci_archive(&path), "second").await, image);
}

/// An archive through a pipe, which has given only half of it: it is kept where there is no name.
#[tokio::test]
async fn what_comes_through_a_pipe_is_kept_without_a_name() {
    let workspace = Workspace::new();
    let (pipe, temporary) = (workspace.join("pipe"), workspace.join("temporary"));
    fs_err::create_dir(&temporary).unwrap();
    if !can_be_unnamed(&temporary) {
        return;
    }
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let (saved, _) = saved();
    for content in [gzip(&workspace, &saved), saved] {
        let mut command = workspace.sealpack(["copy", "docker-archive:pipe:app:v1", "oci:out:v1"]);
        let mut child = command
            .env("TMPDIR", &temporary)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Opened when the other side is, too.
        let mut writer = File::options().write(true).open(&pipe).unwrap();
        let (start, rest) = content.split_at(content.len() / 2);
        writer.write_all(start).unwrap();
        let descriptors = format!("/proc/{}/fd", child.id());
        let is_kept = || {
            let open = fs_err::read_dir(&descriptors).unwrap();
            let mut paths = open
                .flatten()
                .filter_map(|it| fs_err::read_link(it.path()).ok());
            paths.any(|it| it.starts_with(&temporary))
        };
        let is_there = (0..60_000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            assert!(child.try_wait().unwrap().is_none(), "it has ended early");
            is_kept()
        });
        assert!(is_there, "it keeps nothing");
        assert_eq!(fs_err::read_dir(&temporary).unwrap().count(), 0);
        writer.write_all(rest).unwrap();
        drop(writer);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert_eq!(fs_err::read_dir(&temporary).unwrap().count(), 0);
    }
}

/// As the shell's `<(…)` gives it: by a name that leads to no other.
#[tokio::test]
async fn a_pipe_has_no_other_name() {
    use std::os::fd::AsRawFd as _;

    let (saved, _) = saved();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let writing = std::thread::spawn(move || writer.write_all(&saved));
    let archive = docker_archive(Path::new(&path), Some("app"));
    writing.join().unwrap().unwrap();
    resolve(&archive, "v1").await;
}
