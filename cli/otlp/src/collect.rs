//! What phases and modules wrote, gathered from the folder that they wrote to.
//!
//! Buildpacks write there, too: nothing in it is followed, waited for or believed, and what is not a
//! span is left out.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The most that is read of one build.
const MAX_BYTES: u64 = 32 << 20;
/// The most files of one kind: two for each module of a large builder.
const MAX_FILES: usize = 1000;
/// The longest line.
const MAX_LINE: usize = 1 << 20;

/// What was found, as elements of `resourceSpans`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Collected {
    /// By phases of the lifecycle.
    pub phases: Vec<String>,
    /// By buildpacks and extensions.
    pub modules: Vec<String>,
    /// How many lines and files were left out: too many, too long, or not spans.
    pub left_out: usize,
}

/// Reads what is below `tracing`; nothing, if it is not there.
///
/// <https://github.com/buildpacks/rfcs/blob/main/text/0131-build-observability.md#location>
pub fn collect(tracing: &Path) -> Collected {
    let mut found = Collected::default();
    let Ok(tracing) = openat(CWD, tracing, FOLDER, Mode::empty()) else {
        return found;
    };
    let mut left = MAX_BYTES;
    for (name, is_phases) in [
        ("lifecycle", true),
        ("buildpacks", false),
        ("extensions", false),
    ] {
        let Ok(folder) = openat(&tracing, name, FOLDER, Mode::empty()) else {
            continue;
        };
        let mut files = names(&folder);
        found.left_out += files.len().saturating_sub(MAX_FILES);
        files.truncate(MAX_FILES);
        for file in files {
            let Some(text) = read(&folder, &file, &mut left) else {
                found.left_out += 1;
                continue;
            };
            for line in text.split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
                let Some(elements) = elements(line) else {
                    found.left_out += 1;
                    continue;
                };
                if is_phases {
                    found.phases.extend(elements);
                } else {
                    found.modules.extend(elements);
                }
            }
        }
    }
    found
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The files for lines in a folder, in order.
fn names(folder: &OwnedFd) -> Vec<String> {
    let Ok(entries) = Dir::read_from(folder) else {
        return Vec::new();
    };
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().to_str().ok()?;
        name.strip_suffix(".jsonl").map(|_stem| name.to_owned())
    });
    let mut names: Vec<_> = names.take(2 * MAX_FILES).collect();
    names.sort();
    names
}

/// A file whole, if it is one and there is room for it.
fn read(folder: &OwnedFd, name: &str, left: &mut u64) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::empty()).ok()?;
    let stat = fstat(&file).ok()?;
    // What does not fit is not read, either.
    let fits = u64::try_from(stat.st_size).is_ok_and(|it| it <= *left);
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || !fits {
        return None;
    }
    let mut text = Vec::new();
    let read = File::from(file)
        .take(*left + 1)
        .read_to_end(&mut text)
        .ok()?;
    *left = left.checked_sub(read as u64)?;
    Some(text)
}

/// The elements of a line, if all of it is spans.
fn elements(line: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow, rename = "resourceSpans")]
        resource_spans: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Element {
        #[serde(rename = "scopeSpans")]
        scope_spans: Vec<Scope>,
    }
    #[derive(Deserialize)]
    struct Scope {
        spans: Vec<Ids>,
    }
    #[derive(Deserialize)]
    struct Ids {
        #[serde(rename = "traceId")]
        trace: String,
        #[serde(rename = "spanId")]
        span: String,
        name: String,
    }
    if line.len() > MAX_LINE {
        return None;
    }
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let is_hex =
        |text: &str, digits| text.len() == digits && text.bytes().all(|it| it.is_ascii_hexdigit());
    let mut elements = Vec::new();
    for element in line.resource_spans {
        let Element { scope_spans } = serde_json::from_str(element.get()).ok()?;
        let mut spans = scope_spans.iter().flat_map(|it| &it.spans).peekable();
        spans.peek()?;
        if !spans.all(|it| is_hex(&it.trace, 32) && is_hex(&it.span, 16) && !it.name.is_empty()) {
            return None;
        }
        elements.push(element.get().to_owned());
    }
    Some(elements)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const ELEMENT: &str = r#"{"scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"x"}]}]}"#;

    fn line() -> String {
        format!("{{\"resourceSpans\":[{ELEMENT}]}}\n")
    }

    #[test]
    fn lines_of_phases_and_modules_are_found() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("lifecycle/detect.jsonl", line().repeat(2)),
            ("buildpacks/a@1-build.jsonl", line()),
            ("extensions/e@1-generate.jsonl", line()),
            ("buildpacks/notes.txt", "notes".to_owned()),
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = collect(folder.path());
        assert_eq!(found.phases, [ELEMENT; 2]);
        assert_eq!(found.modules, [ELEMENT; 2]);
        assert_eq!(found.left_out, 0);
        let missing = collect(&folder.path().join("missing"));
        assert_eq!(missing, Collected::default());
    }

    #[test]
    fn what_is_not_a_span_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let modules = folder.path().join("buildpacks");
        fs::create_dir(&modules).unwrap();
        let short = line().replace("00f067aa0ba902b7", "00f0");
        let nested = "[".repeat(100_000);
        let long = line().replace("\"x\"", &format!("{:?}", "x".repeat(MAX_LINE)));
        let empty = r#"{"resourceSpans":[{"scopeSpans":[]}]}"#;
        let text = format!("not JSON\n{{}}\n{empty}\n{short}{nested}\n{long}{}", line());
        fs::write(modules.join("a.jsonl"), text).unwrap();
        symlink("/dev/zero", modules.join("b.jsonl")).unwrap();
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(CWD, modules.join("c.jsonl"), FileType::Fifo, mode, 0).unwrap();
        let found = collect(folder.path());
        assert_eq!(found.modules, [ELEMENT]);
        assert_eq!(found.left_out, 8);
    }

    #[test]
    fn there_is_a_limit_to_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let modules = folder.path().join("buildpacks");
        fs::create_dir(&modules).unwrap();
        let large = File::create(modules.join("a.jsonl")).unwrap();
        large.set_len(MAX_BYTES + 1).unwrap();
        fs::write(modules.join("b.jsonl"), line()).unwrap();
        let found = collect(folder.path());
        assert_eq!((found.modules.len(), found.left_out), (1, 1));
    }
}
