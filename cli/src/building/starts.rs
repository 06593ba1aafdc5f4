//! Whether what the image starts can start there: a program needs its interpreter, a shell for a
//! script, a loader for what is linked dynamically, and a small base may have neither.
//!
//! A process is looked at as the launcher would start it: by its first word. What it needs and what
//! neither app nor layers have is sought in the run image, whose layers are read once for each such
//! program; what was found out is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use lifecycle_core::files;
use lifecycle_core::files::metadata::{BuildMetadata, Process};
use oci::view::{FileContent, FileInfo, Missed, Pick, ViewLimits, view_layers};
use oci::{Digest, Image, Store};

use crate::contents;
use crate::error::{CommandError, Context as _};

/// Where an image has its app and its layers, and where they are while it is built.
const PLACES: [&str; 2] = ["workspace", "layers"];

/// What the processes of `image` need and do not find, a sentence each. `root` is what buildpacks saw as
/// `/`; what was found in a run image is kept in `cache`.
pub(super) async fn lacking(
    store: &dyn Store,
    image: &Image,
    root: &Path,
    cache: Option<&Path>,
) -> Result<Vec<String>, CommandError> {
    let path = root.join("layers/config/metadata.toml");
    let metadata: Option<BuildMetadata> =
        files::read(&path).context(|| "failed to read how the app starts".to_owned())?;
    let mut needs = BTreeSet::new();
    let processes = metadata.unwrap_or_default().processes;
    for process in processes.into_iter().flatten() {
        let Some(need) = Need::of(&process, root) else {
            continue;
        };
        needs.insert((need, process.r#type));
    }
    let mut lacking = Vec::new();
    let mut known = BTreeMap::new();
    for (need, name) in needs {
        let sought = (need.what.clone(), need.by_name);
        let is_there = if let Some(it) = known.get(&sought) {
            *it
        } else {
            let it = is_there(store, image, &need, cache).await;
            known.insert(sought, it);
            it
        };
        if !is_there {
            lacking.push(format!(
                "the process `{name}` cannot start: {}, and the run image has no `{}`",
                need.why, need.what
            ));
        }
    }
    Ok(lacking)
}

/// A program of the run image that a process needs.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Need {
    /// Its path.
    what: String,
    /// Whether it may lie in any folder of programs.
    by_name: bool,
    /// What for.
    why: String,
}

impl Need {
    /// What a process needs besides what app and layers hold; nothing, if that cannot be said.
    fn of(process: &Process, root: &Path) -> Option<Self> {
        if !process.direct {
            return Some(Self {
                what: "/bin/bash".to_owned(),
                by_name: true,
                why: "it is started by bash".to_owned(),
            });
        }
        let program = process.command.words().first()?;
        let path = program.strip_prefix('/');
        let Some(own) = path.and_then(|it| within(root, it)) else {
            if path.is_some_and(is_own) {
                return None;
            }
            // A shell is what bases lack; what else there is, they may have anywhere.
            let name = Path::new(program).file_name()?.to_str()?;
            let is_shell = ["bash", "sh"].contains(&name);
            let is_ours = path.is_none() && is_in_layers(root, name);
            return (is_shell && !is_ours).then(|| Self {
                what: path.map_or_else(|| format!("/bin/{name}"), |_| program.clone()),
                by_name: path.is_none(),
                why: "a shell starts it".to_owned(),
            });
        };
        let (interpreter, kind) = interpreter(&own)?;
        if is_own(interpreter.strip_prefix('/')?) {
            return None;
        }
        Some(Self {
            why: format!("`{program}` is {kind}"),
            by_name: false,
            what: interpreter,
        })
    }
}

/// Whether `path`, which an image has at its root, is of app or layers.
fn is_own(path: &str) -> bool {
    PLACES.iter().any(|it| Path::new(path).starts_with(it))
}

/// Where `path`, which an image has at its root, lies while the image is built; nothing, if it is not of
/// app or layers.
fn within(root: &Path, path: &str) -> Option<PathBuf> {
    let mut parts = Path::new(path).components();
    if !is_own(path) || !parts.all(|it| matches!(it, std::path::Component::Normal(_))) {
        return None;
    }
    // A link out of here leads to a file of the image, not to one of this machine.
    let own = root.join(path).canonicalize().ok()?;
    (own.starts_with(root.canonicalize().ok()?) && own.is_file()).then_some(own)
}

/// Whether a layer of a buildpack has this program.
fn is_in_layers(root: &Path, name: &str) -> bool {
    let inner = |folder: &Path| {
        let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|it| it.path()).collect::<Vec<_>>()
    };
    let buildpacks = inner(&root.join("layers")).into_iter();
    let mut layers = buildpacks.flat_map(|it| inner(&it));
    layers.any(|it| it.join("bin").join(name).exists())
}

/// What runs the program at `path`, and what kind of program that makes it: by its first line, or by
/// its program headers.
///
/// ELF, <https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html>
fn interpreter(path: &Path) -> Option<(String, &'static str)> {
    const PATH_MAX: u64 = 4096;
    const INTERP: u64 = 3;
    let mut file = fs_err::File::open(path).ok()?;
    let mut head = Vec::new();
    (&mut file).take(256).read_to_end(&mut head).ok()?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|it| *it == b'\n').next()?;
        let line = std::str::from_utf8(line).ok()?;
        let program = line.split_whitespace().next()?;
        return program
            .starts_with('/')
            .then(|| (program.to_owned(), "a script"));
    }
    let header = head.strip_prefix(b"\x7fELF\x02\x01")?;
    let number = |bytes: &[u8], at: usize, len: usize| {
        let bytes = bytes.get(at..at.checked_add(len)?)?;
        let number = bytes.iter().rev();
        Some(number.fold(0_u64, |all, it| all << 8 | u64::from(*it)))
    };
    // Counted without the first six bytes of the header.
    let table = number(header, 32 - 6, 8)?;
    let (size, count) = (number(header, 54 - 6, 2)?, number(header, 56 - 6, 2)?);
    for at in 0..count.min(64) {
        let mut entry = Vec::new();
        let at = table.checked_add(at.checked_mul(size)?)?;
        file.seek(SeekFrom::Start(at)).ok()?;
        (&mut file).take(56).read_to_end(&mut entry).ok()?;
        if number(&entry, 0, 4)? != INTERP {
            continue;
        }
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(number(&entry, 8, 8)?)).ok()?;
        let length = number(&entry, 32, 8)?.min(PATH_MAX);
        (&mut file).take(length).read_to_end(&mut text).ok()?;
        let text = String::from_utf8(text).ok()?;
        let text = text.trim_end_matches('\0');
        return text
            .starts_with('/')
            .then(|| (text.to_owned(), "linked dynamically"));
    }
    None
}

/// Whether the run image of `image` has what is needed; also if that cannot be found out.
async fn is_there(store: &dyn Store, image: &Image, need: &Need, cache: Option<&Path>) -> bool {
    const FOLDERS: [&str; 6] = [
        "usr/local/sbin",
        "usr/local/bin",
        "usr/sbin",
        "usr/bin",
        "sbin",
        "bin",
    ];
    let layers: Vec<_> = image.layers().take(contents::base_layers(image)).collect();
    let mut name = format!("{} {}\n", need.what, need.by_name);
    for (_, diff_id) in &layers {
        name.push_str(diff_id.0.as_str());
        name.push('\n');
    }
    let name = Digest::of(name.as_bytes());
    let kept = cache.map(|it| it.join("starts").join(name.hex()));
    if layers.is_empty() {
        return true;
    }
    let said = kept.as_ref().and_then(|it| fs_err::read(it).ok());
    match said.as_deref() {
        Some(b"yes") => return true,
        Some(b"no") => return false,
        _ => {}
    }
    let path = need.what.trim_start_matches('/');
    let own_name = path.rsplit('/').next().unwrap_or_default();
    // That they are there is enough.
    let limits = ViewLimits {
        file: 0,
        ..ViewLimits::default()
    };
    let viewed = view_layers(store, &layers, Named(own_name.to_owned()), limits).await;
    let Ok((view, _)) = viewed else {
        return true;
    };
    // A link whose target has another name is believed.
    let is_there = |path: &str| view.get(path).is_some() || view.is_symlink(path);
    let found = is_there(path)
        || is_there(&format!("usr/{path}"))
        || need.by_name
            && FOLDERS
                .iter()
                .any(|it| is_there(&format!("{it}/{own_name}")));
    if let Some(kept) = kept {
        // Who cannot remember looks again.
        files::write_bytes(&kept, if found { b"yes" } else { b"no" }).unwrap_or_default();
    }
    found
}

/// Picks programs of this name, and those that go by many names.
struct Named(String);

impl Pick for Named {
    type Kept = ();

    fn wants(&mut self, file: &FileInfo<'_>) -> bool {
        const MANY: [&str; 5] = ["bash", "busybox", "coreutils", "dash", "toybox"];
        let name = file.path.rsplit('/').next().unwrap_or_default();
        name.starts_with(&self.0) || MANY.contains(&name) || name.starts_with("ld-")
    }

    fn keep(&mut self, _: &FileInfo<'_>, _: &mut FileContent<'_>) -> Option<()> {
        Some(())
    }

    fn miss(&mut self, _: &FileInfo<'_>, _: Missed) -> Option<()> {
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use lifecycle_core::files::metadata::Command;

    use super::*;

    fn need(root: &Path, words: &[&str], direct: bool) -> Option<(String, String)> {
        let words = words.iter().map(|it| (*it).to_owned()).collect();
        let process = Process {
            command: Command::Words(words),
            direct,
            ..Process::default()
        };
        Need::of(&process, root).map(|it| (it.what, it.why))
    }

    #[test]
    fn what_a_process_needs_is_known_by_its_program() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for it in ["workspace", "layers/me/tools/bin"] {
            std::fs::create_dir_all(root.join(it)).unwrap();
        }
        let write = |path: &str, bytes: &[u8]| std::fs::write(root.join(path), bytes).unwrap();
        let text = |it: Option<(String, String)>| it.map(|(what, why)| format!("{what}: {why}"));
        let of = |words: &[&str]| text(need(root, words, true));

        write("workspace/run.sh", b"#! /bin/sh -e\ntrue\n");
        write("workspace/data", b"data");
        write("workspace/odd", b"#!sh\n");
        write("workspace/short", b"\x7fELF\x02\x01");
        let script = "/bin/sh: `/workspace/run.sh` is a script";
        assert_eq!(of(&["/workspace/run.sh"]).as_deref(), Some(script));
        for path in ["data", "odd", "short", "missing", "../workspace/run.sh"] {
            assert_eq!(of(&[&format!("/workspace/{path}")]), None, "{path}");
        }
        assert_eq!(
            of(&["bash", "-c", "x"]).as_deref(),
            Some("/bin/bash: a shell starts it")
        );
        assert_eq!(
            of(&["/usr/bin/bash"]).as_deref(),
            Some("/usr/bin/bash: a shell starts it")
        );
        assert_eq!(of(&["node"]), None);
        assert_eq!(of(&[]), None);
        assert_eq!(
            text(need(root, &["node"], false)).as_deref(),
            Some("/bin/bash: it is started by bash")
        );
        // A buildpack may bring its own.
        write("layers/me/tools/bin/bash", b"\x7fELF");
        assert_eq!(of(&["bash"]), None);
        write("workspace/own", b"#!/layers/me/tools/bin/bash\n");
        assert_eq!(of(&["/workspace/own"]), None);
        // Links lead to files of the image, not of this machine.
        let link = |to: &str, path: &str| std::os::unix::fs::symlink(to, root.join(path)).unwrap();
        link("/bin/sh", "workspace/link");
        link("/nowhere/bash", "layers/me/tools/bin/python");
        write("workspace/venv", b"#!/layers/me/tools/bin/python\n");
        for path in [
            "/workspace/link",
            "/workspace/venv",
            "/layers/me/tools/bin/python",
        ] {
            assert_eq!(of(&[path]), None, "{path}");
        }
    }

    #[test]
    fn a_program_names_its_loader() {
        let (mut elf, loader) = (b"\x7fELF\x02\x01".to_vec(), b"/lib64/ld.so\0");
        elf.resize(64 + 56, 0);
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = 3;
        elf[64 + 8] = 120;
        elf[64 + 32] = 13;
        elf.extend_from_slice(loader);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, &elf).unwrap();
        let found = interpreter(&path);
        assert_eq!(
            found,
            Some(("/lib64/ld.so".to_owned(), "linked dynamically"))
        );
        // A static one has none; numbers that point anywhere do no harm.
        elf[64] = 1;
        std::fs::write(&path, &elf).unwrap();
        assert_eq!(interpreter(&path), None);
        elf[32..40].fill(0xff);
        std::fs::write(&path, &elf).unwrap();
        assert_eq!(interpreter(&path), None);
    }
}
