use std::io::Read;

use tempfile::TempDir;

use super::*;
use crate::Digest;
use crate::tar::{Entry, EntryKind};

const ALL: [Compression; 5] = [
    Compression::GoGzip,
    Compression::None,
    Compression::Gzip { level: 1 },
    Compression::Gzip { level: 9 },
    Compression::Zstd { level: 3 },
];

#[test]
fn all_compressions_hold_the_same_tar() {
    let folder = TempDir::new().unwrap();
    for size in [0, 1, 511, 512, (1 << 20) - 1536, 9_000_000] {
        let fill = |tar: &mut tar::Writer<Sink>| tar.write(&file("/app/data", size), noise(size));
        let hashed = hash(fill).unwrap();
        let plain = write(&folder.path().join("plain"), Compression::None, fill).unwrap();
        assert_eq!(plain.descriptor.digest, plain.diff_id.0);
        assert_eq!(plain.descriptor.size, plain.uncompressed_size);
        let tar = fs_err::read(&plain.file).unwrap();
        for compression in ALL {
            let layer = write(&folder.path().join("layer"), compression, fill).unwrap();
            assert_eq!(layer.diff_id, hashed.diff_id);
            assert_eq!(layer.uncompressed_size, hashed.uncompressed_size);
            let stored = fs_err::read(&layer.file).unwrap();
            let descriptor = Descriptor::of(compression.media_type(), &stored);
            assert_eq!(layer.descriptor, descriptor);
            assert!(
                unpack(compression, &stored) == tar,
                "{compression:?}, {size}"
            );

            let later = compress(&plain, &folder.path().join("later"), compression).unwrap();
            assert_eq!(later.descriptor, layer.descriptor);
        }
    }
}

#[test]
fn a_plain_tar_is_kept_beside_or_found_to_be_there() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let size = 1_000_000;
    let fill = |tar: &mut tar::Writer<Sink>| tar.write(&file("/f", size), noise(size));
    let plain = write(&path("plain"), Compression::None, fill).unwrap();
    let tar = fs_err::read(&plain.file).unwrap();
    let changed = |at: usize| {
        let mut bytes = tar.clone();
        bytes[at] ^= 1;
        bytes
    };
    let known = path("known");
    for (content, is_same) in [
        (tar.clone(), true),
        (changed(0), false),
        (changed(CHUNK), false),
        (changed(tar.len() - 1), false),
        (tar[..tar.len() - 1].to_vec(), false),
        ([&*tar, &[0]].concat(), false),
        (Vec::new(), false),
    ] {
        fs_err::write(&known, content).unwrap();
        let beside = || Some(Plain::new(Some(&known), folder.path()));
        let (hashed, of_hash) = hash_beside(beside(), fill).unwrap();
        let written = write_beside(&path("layer"), Compression::GoGzip, beside(), fill);
        let (written, of_write) = written.unwrap();
        assert_eq!([&hashed.diff_id, &written.diff_id], [&plain.diff_id; 2]);
        for kept in [of_hash, of_write] {
            match kept.unwrap() {
                PlainTar::Same => assert!(is_same),
                PlainTar::New(new) => {
                    assert!(!is_same);
                    assert!(fs_err::read(&new).unwrap() == tar);
                }
            }
        }
    }
    let names = || fs_err::read_dir(folder.path()).unwrap().count();
    assert_eq!(names(), 3);
    let beside = Some(Plain::new(Some(&path("none")), folder.path()));
    let (_, kept) = hash_beside(beside, fill).unwrap();
    assert!(matches!(kept, Some(PlainTar::New(_))));
    drop(kept);
    assert_eq!(names(), 3);
    // That it cannot be kept does not matter.
    let beside = Some(Plain::new(None, &path("nowhere")));
    let (hashed, kept) = hash_beside(beside, fill).unwrap();
    assert_eq!((hashed.diff_id, kept.is_none()), (plain.diff_id, true));
}

#[test]
fn an_empty_layer_has_the_diff_id_that_all_know() {
    let hashed = hash(|_| Ok::<(), TarError>(())).unwrap();
    assert_eq!(
        hashed.diff_id.to_string(),
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    );
}

#[test]
fn a_file_that_shrinks_is_an_error_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let fill = |tar: &mut tar::Writer<Sink>| tar.write(&file("/f", 10), b"short".as_slice());
    for compression in ALL {
        let error = write(&folder.path().join("layer"), compression, fill).unwrap_err();
        assert!(matches!(
            error,
            LayerError::Fill(TarError::Short {
                expected: 10,
                presented: 5,
                ..
            })
        ));
    }
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_grows_is_cut() {
    let fill = |tar: &mut tar::Writer<Sink>| tar.write(&file("/f", 5), b"short".as_slice());
    let grown = |tar: &mut tar::Writer<Sink>| tar.write(&file("/f", 5), b"shorter".as_slice());
    assert_eq!(hash(fill).unwrap(), hash(grown).unwrap());
}

#[test]
fn a_full_disk_is_the_error_and_not_what_it_breaks() {
    let full = Path::new("/dev/full");
    let (sender, receiver) = sync_channel(1);
    drop(sender);
    let mut file = fs_err::OpenOptions::new().write(true).open(full).unwrap();
    let error = consume(&receiver, file.file_mut(), Compression::GoGzip).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);

    let missing = Path::new("/nonexistent/layer");
    let error = write(missing, Compression::None, |_| Ok::<(), TarError>(())).unwrap_err();
    assert!(matches!(error, LayerError::Write { .. }));
}

#[test]
fn a_plain_layer_that_changed_is_noticed() {
    let folder = TempDir::new().unwrap();
    let fill = |tar: &mut tar::Writer<Sink>| tar.write(&file("/f", 600), noise(600));
    let plain = write(&folder.path().join("plain"), Compression::None, fill).unwrap();
    let mut bytes = fs_err::read(&plain.file).unwrap();
    bytes[700] ^= 1;
    fs_err::write(&plain.file, bytes).unwrap();
    let target = folder.path().join("later");
    let error = compress(&plain, &target, Compression::GoGzip).unwrap_err();
    assert!(matches!(error, LayerError::Changed { .. }));
    assert!(!target.exists());
}

#[test]
fn the_layer_is_gos() {
    let folder = TempDir::new().unwrap();
    let fill = |tar: &mut tar::Writer<Sink>| {
        let mut folder = file("/cnb", 0);
        folder.kind = EntryKind::Directory;
        folder.mode = 0o755;
        tar.write(&folder, io::empty())?;
        tar.write(&file("/cnb/é", 2000), noise(2000))
    };
    let layer = write(&folder.path().join("layer"), Compression::GoGzip, fill).unwrap();
    assert_eq!(
        (layer.diff_id.0, layer.descriptor.digest),
        (
            "sha256:011651a906672db49c779466a0f12299a9a239c1b07de4007b9ff0dcbf653208"
                .parse::<Digest>()
                .unwrap(),
            "sha256:1f47d9967ffaec546dd0de7bb92ba6a2908d9f736e27cda499c3478174c073ef"
                .parse::<Digest>()
                .unwrap(),
        )
    );
}

fn file(path: &str, size: u64) -> Entry {
    Entry {
        path: path.into(),
        kind: EntryKind::File { size },
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        mtime: 315_532_801,
    }
}

/// Bytes that compress somewhat, the same each time.
fn noise(size: u64) -> impl Read {
    let mut state = 1_u64;
    let bytes: Vec<u8> = (0..size)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 60) as u8
        })
        .collect();
    io::Cursor::new(bytes)
}

fn unpack(compression: Compression, stored: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    match compression {
        Compression::None => return stored.to_vec(),
        Compression::Zstd { .. } => return zstd::stream::decode_all(stored).unwrap(),
        // Only one member is read: there has to be no more.
        _ => flate2::read::GzDecoder::new(stored).read_to_end(&mut tar),
    }
    .unwrap();
    tar
}
