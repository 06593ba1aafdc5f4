//! The file system of an image: what comes out of layers has clean paths, each once, and leads nowhere
//! else.

use oci::fuzzing::read_tar;
use oci::view::{FileContent, FileInfo, Missed, Pick, View, ViewLimits};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "view",
    run,
    seeds: crate::tar::seeds,
    words: crate::tar::WORDS,
    short: 5_000,
};

/// Keeps how long each file is.
struct Sizes;

impl Pick for Sizes {
    type Kept = usize;

    fn wants(&mut self, file: &FileInfo<'_>) -> bool {
        assert!(file.head.len() <= 64 && file.head.len() as u64 <= file.size);
        !file.path.ends_with('b')
    }

    fn keep(&mut self, file: &FileInfo<'_>, content: &mut FileContent<'_>) -> Option<usize> {
        let all = content.all(1 << 20).expect("memory is readable")?;
        assert_eq!(all.len() as u64, file.size);
        assert!(all.starts_with(file.head));
        Some(all.len())
    }

    fn miss(&mut self, _: &FileInfo<'_>, _: Missed) -> Option<usize> {
        Some(0)
    }
}

/// An even first byte sets checksums right; the second says where the second layer begins.
fn run(data: &[u8]) {
    let Some((first, archive)) = data.split_first() else {
        return;
    };
    let mut archive = archive.to_vec();
    if first % 2 == 0 {
        crate::tar::set_checksums(&mut archive);
    }
    let middle = usize::from(*first) / 2 * 512;
    let (lower, upper) = archive.split_at(middle.min(archive.len()));
    let limits = ViewLimits {
        path: 300,
        kept: 100,
        ..ViewLimits::default()
    };
    let mut view = View::new(limits);
    let mut entries = 0;
    for layer in [lower, upper] {
        if view.add_layer(layer, &mut Sizes).is_err() {
            return;
        }
        entries += read_tar(layer, 300).map_or(0, |it| it.len());
    }
    let files: Vec<&str> = view.files().map(|it| it.path).collect();
    assert!(files.len() <= entries.min(100));
    assert!(files.is_sorted());
    for path in files {
        assert!(
            path.split('/').all(|it| !matches!(it, "" | "." | "..")),
            "{path}"
        );
        // Where it is, it is found, and through no link.
        assert_eq!(view.get(path).map(|it| it.path), Some(path));
        assert!(!view.is_symlink(path));
    }
}
