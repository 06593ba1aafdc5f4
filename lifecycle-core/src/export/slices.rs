//! Cuts the app into layers: parts that change apart are stored apart.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::mem;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use go::glob::{self, BadPattern};

use super::tree::{Content, TreeError, children, look, parents};
use crate::files::metadata::Slice;

/// The layers of the app in `folder`: one for each of `slices`, and one for what is left.
///
/// A slice has what its patterns match, with all that is below; what an earlier slice has is gone.
/// A folder that is missing above is added. What is left comes without folders of which all is in
/// slices.
pub(super) fn cut(folder: &Path, slices: &[Slice]) -> Result<Vec<Content>, TreeError> {
    let mut app = App::walk(folder)?;
    let above = parents(folder);
    let mut layers = Vec::new();
    for slice in slices {
        let files = app.slice(slice.paths.as_deref().unwrap_or_default())?;
        layers.push(Content::Files(files, above.clone()));
    }
    layers.push(Content::Files(app.rest(), above));
    Ok(layers)
}

/// All files of the app, sorted bytewise by their whole path, as their layers are.
struct App<'a> {
    folder: &'a Path,
    /// Whether each is in a slice yet.
    sliced: BTreeMap<Key, bool>,
    /// In the order of a walk, in which patterns are tried.
    walk: Vec<PathBuf>,
}

/// A path that sorts as its bytes: `a-b` before `a/b`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Key(Vec<u8>);

impl Key {
    fn of(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.0))
    }
}

impl<'a> App<'a> {
    fn walk(folder: &'a Path) -> Result<Self, TreeError> {
        let mut app = Self {
            folder,
            sliced: BTreeMap::new(),
            walk: Vec::new(),
        };
        let mut waiting = vec![folder.to_owned()];
        while let Some(path) = waiting.pop() {
            if look(&path)?.is_dir() {
                waiting.extend(children(&path)?.into_iter().rev());
            }
            app.sliced.insert(Key::of(&path), false);
            app.walk.push(path);
        }
        Ok(app)
    }

    fn slice(&mut self, patterns: &[String]) -> Result<Vec<PathBuf>, TreeError> {
        let mut taken = BTreeSet::new();
        for pattern in patterns {
            for path in self.matches(pattern)? {
                self.take(&path, &mut taken);
            }
        }
        let above: BTreeSet<_> = taken
            .iter()
            .flat_map(|key: &Key| self.folders_above(&key.path()))
            .collect();
        // Deepest first: a folder of which all is in slices is in a slice itself.
        for folder in above.iter().rev() {
            let rest = self.below_mut(&folder.path()).any(|(_, sliced)| !*sliced);
            if let Some(sliced) = self.sliced.get_mut(folder) {
                *sliced |= !rest;
            }
        }
        taken.extend(above);
        Ok(taken.iter().map(Key::path).collect())
    }

    /// The pattern from the app's folder on: it may also be absolute, and then names what is below
    /// that folder.
    fn relative(&self, pattern: String) -> String {
        let below = self
            .folder
            .to_str()
            .and_then(|folder| pattern.strip_prefix(folder)?.strip_prefix('/'));
        below.map(str::to_owned).unwrap_or(pattern)
    }

    /// The files that `pattern` matches, in the order of a walk.
    fn matches(&self, pattern: &str) -> Result<Vec<PathBuf>, TreeError> {
        let pattern = self.relative(glob::clean(pattern));
        let mut matches = Vec::new();
        for path in self.walk.iter().skip(1) {
            let relative = path.strip_prefix(self.folder).unwrap_or(path);
            match glob::matches(pattern.as_bytes(), relative.as_os_str().as_bytes()) {
                Ok(true) => matches.push(path.clone()),
                Ok(false) => {}
                Err(BadPattern) => {
                    return Err(TreeError::Pattern {
                        path: relative.display().to_string(),
                        pattern,
                    });
                }
            }
        }
        Ok(matches)
    }

    /// Takes `path` and all below, as far as no slice has it.
    fn take(&mut self, path: &Path, taken: &mut BTreeSet<Key>) {
        let key = Key::of(path);
        if let Some(sliced) = self.sliced.get_mut(&key)
            && !mem::replace(sliced, true)
        {
            taken.insert(key);
        }
        for (key, sliced) in self.below_mut(path) {
            if !mem::replace(sliced, true) {
                taken.insert(key.clone());
            }
        }
    }

    fn below_mut(&mut self, path: &Path) -> impl Iterator<Item = (&Key, &mut bool)> {
        let mut prefix = path.as_os_str().as_bytes().to_vec();
        prefix.push(b'/');
        self.sliced
            .range_mut(Key(prefix.clone())..)
            .take_while(move |(key, _)| key.0.starts_with(&prefix))
    }

    /// The folders above `path` up to the app's own.
    fn folders_above(&self, path: &Path) -> Vec<Key> {
        path.ancestors()
            .skip(1)
            .take_while(|it| it.starts_with(self.folder))
            .map(Key::of)
            .collect()
    }

    /// What is in no slice.
    fn rest(&self) -> Vec<PathBuf> {
        let rest = self.sliced.iter().filter(|(_, sliced)| !**sliced);
        rest.map(|(key, _)| key.path()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_names(patterns: &[&[&str]]) -> Vec<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "a/x",
            "a-b",
            "deep/a/b/two.md",
            "deep/a/one",
            "deep/z/four",
            "static/a.txt",
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
        }
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        let slices: Vec<_> = patterns
            .iter()
            .map(|paths| Slice {
                paths: Some(paths.iter().map(|&it| it.to_owned()).collect()),
            })
            .collect();
        let layers = cut(folder.path(), &slices).unwrap();
        let relative = |path: &PathBuf| {
            let path = path.strip_prefix(folder.path()).unwrap();
            path.display().to_string()
        };
        let names = |layer: Content| match layer {
            Content::Files(files, _) => files.iter().map(relative).collect(),
            other => panic!("{other:?}"),
        };
        layers.into_iter().map(names).collect()
    }

    #[test]
    fn without_slices_all_is_one_layer_sorted_by_bytes() {
        let layers = cut_names(&[]);
        assert_eq!(layers.len(), 1);
        assert_eq!(layers[0][..4], ["", "a", "a-b", "a/x"]);
    }

    #[test]
    fn a_pattern_may_be_absolute_below_the_app() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("real")).unwrap();
        std::fs::write(folder.path().join("real/one"), "").unwrap();
        let app = folder.path().to_str().unwrap();
        for (pattern, is_taken) in [
            (format!("{app}/real/*"), true),
            (format!("{app}/./x/..//real"), true),
            (format!("{app}x/real/*"), false),
            ("/real/*".to_owned(), false),
        ] {
            let slice = Slice {
                paths: Some(vec![pattern.clone()]),
            };
            let layers = cut(folder.path(), &[slice]).unwrap();
            let Content::Files(files, _) = &layers[0] else {
                panic!("{layers:?}");
            };
            let taken = files.contains(&folder.path().join("real/one"));
            assert_eq!(taken, is_taken, "{pattern}");
        }
    }

    #[test]
    fn a_file_is_in_the_first_slice_that_matches() {
        let layers = cut_names(&[
            &["deep/a", "./static/../static/*.txt"],
            &["*/*"],
            &["*"],
            &["../etc"],
        ]);
        assert_eq!(
            layers[0],
            [
                "",
                "deep",
                "deep/a",
                "deep/a/b",
                "deep/a/b/two.md",
                "deep/a/one",
                "static",
                "static/a.txt"
            ]
        );
        assert_eq!(layers[1], ["", "a", "a/x", "deep", "deep/z", "deep/z/four"]);
        assert_eq!(layers[2], ["", "a-b", "empty"]);
        assert_eq!(layers[3..], [Vec::<String>::new(), Vec::new()]);
    }
}
