//! `registries.conf` of containers/image, as far as it is about mirrors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Entry, Mirror, MirrorsError, Serves, at_slash, without_credentials};

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, MirrorsError> {
    let failed = |source| MirrorsError::Io {
        path: path.to_owned(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match crate::read_text_at_most(file, MAX_BYTES).map_err(failed)? {
        Some(text) => Ok(Some(text)),
        None => Err(malformed(path, format!("larger than {MAX_BYTES} bytes"))),
    }
}

/// The files `*.conf` of a folder, in the order in which they count; none, if there is no folder.
pub(super) fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>, MirrorsError> {
    let failed = |source| MirrorsError::Io {
        path: folder.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.retain(|it| it.extension().is_some_and(|it| it == "conf") && it.is_file());
    paths.sort();
    Ok(paths)
}

/// Parses what a file says of registries. Short names, aliases and helpers for credentials are none
/// of our concern: a reference names its registry.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Entry>, MirrorsError> {
    let document: Document =
        toml::from_str(text).map_err(|error| malformed(path, error.to_string().trim_end()))?;
    if document.registries.is_some_and(|it| !is_empty(&it)) {
        return Err(malformed(
            path,
            "`[registries]` is version 1 of the format; only version 2, `[[registry]]`, is read",
        ));
    }
    let entries = document
        .registry
        .into_iter()
        .map(|it| it.entry().map_err(|problem| malformed(path, problem)))
        .collect::<Result<Vec<_>, _>>()?;
    contradiction(&entries).map_or(Ok(entries), |problem| Err(malformed(path, problem)))
}

/// Whether nothing is said: distributions ship files with the tables of old, and nothing in them.
fn is_empty(value: &toml::Value) -> bool {
    match value {
        toml::Value::Table(table) => table.values().all(is_empty),
        toml::Value::Array(values) => values.is_empty(),
        _ => false,
    }
}

/// What two entries of one file say differently of one place. As for Podman and skopeo, neither holds
/// then: by a slip, one that is to be blocked would not be. Whether a place is insecure is said of where
/// it is, not of the name that leads there.
fn contradiction(entries: &[Entry]) -> Option<String> {
    let mut said = BTreeMap::new();
    for entry in entries {
        let location = entry.location.as_deref().unwrap_or(&entry.prefix);
        for (field, place, says) in [
            ("blocked", location, entry.blocked),
            ("blocked", &entry.prefix, entry.blocked),
            ("insecure", location, entry.insecure),
        ] {
            if *said.entry((field, place)).or_insert(says) != says {
                return Some(format!(
                    "two entries for `{place}` have a different `{field}`"
                ));
            }
        }
    }
    None
}

fn malformed(path: &Path, problem: impl AsRef<str>) -> MirrorsError {
    MirrorsError::File {
        path: path.to_owned(),
        problem: without_passwords(problem.as_ref()),
    }
}

/// Somebody may have tried to put a password before a host, and the file is quoted: words are shown
/// from their `@` on.
fn without_passwords(text: &str) -> String {
    let mut shown = String::new();
    let mut parts = text.split('@').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            shown.push_str(part);
            break;
        }
        let is_edge = |it: char| it.is_whitespace() || matches!(it, '`' | '"' | '\'' | '=');
        let kept = part.trim_end_matches(|it| !is_edge(it));
        shown.push_str(kept);
        shown.push_str("…@");
    }
    shown
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    registry: Vec<RawRegistry>,
    #[serde(default)]
    registries: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[derive(Default)]
struct RawRegistry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<RawMirror>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawMirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: String,
}

impl RawRegistry {
    fn entry(self) -> Result<Entry, String> {
        let location = place(&self.location)?;
        let prefix = match self.prefix.as_str() {
            "" if location.is_empty() => {
                return Err("a `[[registry]]` has neither `prefix` nor `location`".to_owned());
            }
            "" => location.clone(),
            prefix => {
                let bare = prefix.strip_prefix("*.").unwrap_or(prefix);
                let is_wild = bare.len() < prefix.len();
                place(bare)?;
                if location.is_empty() && !is_wild {
                    return Err(format!("`{prefix}` has no `location`"));
                }
                place(prefix.strip_prefix('*').unwrap_or(prefix))
                    .map(|it| if is_wild { format!("*{it}") } else { it })?
            }
        };
        let mirrors: Result<_, _> = self
            .mirror
            .into_iter()
            .map(|it| it.mirror(self.mirror_by_digest_only))
            .collect();
        Ok(Entry {
            location: Some(location).filter(|it| !it.is_empty() && *it != prefix),
            prefix,
            insecure: self.insecure,
            blocked: self.blocked,
            mirrors: mirrors?,
        })
    }
}

impl RawMirror {
    fn mirror(self, digests_only: bool) -> Result<Mirror, String> {
        let location = place(&self.location)?;
        if location.is_empty() {
            return Err("a mirror has no `location`".to_owned());
        }
        let serves = match (self.pull_from_mirror.as_str(), digests_only) {
            ("" | "all", false) => Serves::All,
            ("", true) | ("digest-only", false) => Serves::Digests,
            ("tag-only", false) => Serves::Tags,
            (_, true) => {
                return Err(format!(
                    "mirror `{location}` has `pull-from-mirror` beside `mirror-by-digest-only`"
                ));
            }
            (other, false) => {
                return Err(format!(
                    "mirror `{location}` has `pull-from-mirror = \"{other}\"`, which is neither `all` nor `digest-only` nor `tag-only`"
                ));
            }
        };
        Ok(Mirror {
            location,
            insecure: self.insecure,
            serves,
        })
    }
}

/// `host[:port][/path]`: no URL, no tag, no digest. The host is written as repositories have it.
fn place(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let last = text.rsplit('/').next().unwrap_or_default();
    let tagged = text.contains('/') && last.contains(':');
    if text.contains("://") || text.contains(['@', '*', ' ']) || tagged {
        let text = without_credentials(text);
        return Err(format!("`{text}` is not `HOST[:PORT][/PATH]`"));
    }
    let (host, path) = at_slash(text);
    let host = match host.to_ascii_lowercase().as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    };
    Ok(format!("{host}{path}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Vec<Entry>, MirrorsError> {
        parse(Path::new("registries.conf"), text)
    }

    #[test]
    fn what_others_write_is_read() {
        let entries = parsed(
            r#"
            unqualified-search-registries = ["docker.io"]
            short-name-mode = "enforcing"
            credential-helpers = ["x"]
            [aliases]
            "a" = "b.example/c"
            [[registry]]
            prefix = "r.example/foo"
            insecure = true
            blocked = false
            location = "internal.example/bar/"
            mirror-by-digest-only = true
            [[registry.mirror]]
            location = "m.example/x"
            insecure = true
            [[registry]]
            location = "q.example"
            blocked = true
            [[registry.mirror]]
            location = "n.example"
            pull-from-mirror = "tag-only"
            "#,
        )
        .unwrap();
        assert_eq!(entries[0].prefix, "r.example/foo");
        assert_eq!(entries[0].location.as_deref(), Some("internal.example/bar"));
        assert!(entries[0].insecure && entries[0].mirrors[0].insecure);
        assert_eq!(entries[0].mirrors[0].serves, Serves::Digests);
        assert_eq!(entries[1].prefix, "q.example");
        assert_eq!(entries[1].location, None);
        assert!(entries[1].blocked);
        assert_eq!(entries[1].mirrors[0].serves, Serves::Tags);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let deep = format!("x = {}", "[".repeat(100_000));
        for bad in [
            "[[registry]]",
            "[[registry]]\nprefix='r.example'",
            "[[registry]]\nlocation='https://r.example'",
            "[[registry]]\nlocation='r.example/app:v1'",
            "[[registry]]\nprefix='r.*.example'\nlocation='r.example'",
            "[[registry]]\nprefix='*r.example'\nlocation='r.example'",
            "[[registry]]\nlocation='me@r.example'",
            "[[registry]]\nlocation='r.example/a b'",
            "[[registry]]\nlocation='r.example'\n[[registry.mirror]]",
            "[[registry]]\nlocation='r.example'\n[[registry.mirror]]\nlocation=''",
            "[[registry]]\nlocation='r.example'\n[[registry.mirror]]\nlocation='m.example'\npull-from-mirror='some'",
            "[[registry]]\nlocation='r.example'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='m.example'\npull-from-mirror='all'",
            "[registries.search]\nregistries=['r.example']",
            "[[registry]]\nlocation=1",
            "[[",
            &deep,
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tables_of_old_with_nothing_in_them_say_nothing() {
        for text in [
            "[registries]",
            "[registries.search]",
            "[registries.search]\nregistries=[]",
        ] {
            assert!(parsed(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let (path, _folder, writer) = crate::store::endless_file("", MAX_BYTES);
        assert!(matches!(read(&path), Err(MirrorsError::File { .. })));
        assert!(writer.join().unwrap());
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registries.conf");
        assert!(read(&path).unwrap().is_none());
        assert!(drop_ins(&path).unwrap().is_empty());
        std::os::unix::fs::symlink(&path, &path).unwrap();
        assert!(matches!(read(&path), Err(MirrorsError::Io { .. })));
        assert!(matches!(drop_ins(&path), Err(MirrorsError::Io { .. })));
    }

    #[test]
    fn files_beside_count_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["c.conf", "a.conf", "b.conf", "a.txt"] {
            fs_err::write(folder.path().join(name), "").unwrap();
        }
        fs_err::create_dir(folder.path().join("folder.conf")).unwrap();
        let found = drop_ins(folder.path()).unwrap();
        let expected = ["a.conf", "b.conf", "c.conf"].map(|it| folder.path().join(it));
        assert_eq!(found, expected);
    }

    #[test]
    fn hosts_are_written_as_repositories_have_them() {
        for (text, read) in [
            ("R.Example:5000/Team/", "r.example:5000/Team"),
            ("Index.Docker.IO/library", "docker.io/library"),
            ("registry-1.docker.io", "docker.io"),
        ] {
            assert_eq!(place(text).as_deref(), Ok(read));
        }
        let text = "[[registry]]\nprefix='*.R.Example/'\n[[registry]]\nprefix='Docker.IO/a/'\nlocation='b.example'";
        let entries = parsed(text).unwrap();
        assert_eq!(entries[0].prefix, "*.r.example");
        assert_eq!(entries[1].prefix, "docker.io/a");
    }

    #[test]
    fn what_is_wrong_is_told_without_passwords() {
        for bad in [
            "[[registry]]\nlocation='me:hunter2@r.example'",
            "[[registry]]\nlocation='r.example'\n[[registry.mirror]]\nlocation='me:hunter 2@m.example'",
            "[[registry]]\nlocation=\"https://me:hunter2@r.example",
            "[[registry]]\nlocation=me:hunter2@r.example",
        ] {
            let told = parsed(bad).unwrap_err().to_string();
            assert!(told.contains("…@") && !told.contains("hunter"), "{told}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it is about time")]
    fn a_file_of_the_largest_size_is_read_at_once() {
        let limit = usize::try_from(MAX_BYTES).unwrap();
        let entry = |it| format!("[[registry]]\nlocation='r{it}.x'\n");
        let many: Vec<String> = (0..limit / 32).map(entry).collect();
        let many = many.concat();
        let nested = format!("{}=1", vec!["a"; limit / 2 - 1].join("."));
        let begun = std::time::Instant::now();
        let mirrors = super::super::Mirrors::default();
        let path = Path::new("registries.conf");
        let mirrors = mirrors.with_conf(path, &many).unwrap();
        assert!(!mirrors.is_blocked(&"r1.x/app".parse().unwrap()));
        drop(parsed(&nested));
        assert!(begun.elapsed().as_secs() < 20);
    }

    proptest! {
        #[test]
        fn no_file_panics(text: String) {
            drop(parsed(&text));
            drop(parsed(&format!("[[registry]]\nprefix='{text}'\nlocation='{text}'")));
        }
    }
}
