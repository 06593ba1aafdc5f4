//! Which registries have mirrors.

mod conf;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use url::Url;

use crate::{Registry, Repository};

/// Which registries have mirrors: other places with the same content.
///
/// Reading asks the mirrors of a repository in order, and itself last; writing knows no mirrors.
/// Names stay what they are. Content is checked by its digest, wherever it comes from; but which
/// digest a tag means is the word of the first place that has it.
#[derive(Clone, Debug, Default)]
pub struct Mirrors {
    /// By the name of a registry: mirrors that go before those of files.
    cnb: BTreeMap<String, Mirror>,
    /// By prefix.
    entries: BTreeMap<String, Entry>,
}

/// What is set up for all repositories below a prefix.
#[derive(Clone, Debug)]
struct Entry {
    prefix: String,
    /// Where they really are, if elsewhere.
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
}

#[derive(Clone, Debug)]
struct Mirror {
    location: String,
    insecure: bool,
    serves: Serves,
}

/// What a mirror is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Serves {
    All,
    Digests,
    Tags,
}

/// A place to read a repository from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Source {
    pub(crate) repository: Repository,
    pub(crate) insecure: bool,
    pub(crate) serves: Serves,
}

/// Whether nothing can be said of a file but that it is not for whoever runs us to see: what leads there
/// is closed.
fn is_closed(file: &Path) -> bool {
    std::fs::metadata(file).is_err_and(|it| it.kind() == io::ErrorKind::PermissionDenied)
}

/// Whether `home` is another user's than whoever runs us.
fn is_strange(home: &Path) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    std::fs::metadata(home).is_ok_and(|it| it.uid() != ours)
}

impl Mirrors {
    /// Finds what the user and the system have set up: `CNB_REGISTRY_MIRRORS`, and the
    /// `registries.conf` that is `named`. Else that of `CONTAINERS_REGISTRIES_CONF`, or as Podman
    /// and skopeo that of the user or of the system, and the folders `registries.conf.d` beside it.
    ///
    /// That a registry need not be secure counts only in a file that was named.
    pub fn find(
        named: Option<&Path>,
        home: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, MirrorsError> {
        let set = |name: &str| environment.get(name).filter(|it| !it.is_empty());
        let mut found = Self::default();
        if let Some(text) = set("CNB_REGISTRY_MIRRORS") {
            found = found.with_cnb_registry_mirrors(text)?;
        }
        let variable = set("CONTAINERS_REGISTRIES_CONF").map(Path::new);
        if let Some(path) = named.or(variable) {
            let text = conf::read(path)?.ok_or_else(|| MirrorsError::Io {
                path: path.to_owned(),
                source: super::settings::missing(),
            })?;
            found.add(conf::parse(path, &text)?);
            return Ok(found);
        }
        let mut paths = Vec::new();
        let user = home.map(|it| it.join(".config/containers"));
        // A home that is another user's says nothing to us. What the system forbids is not to be missed.
        let is_strange = home.is_some_and(is_strange);
        let user = user.filter(|it| !is_strange || !is_closed(&it.join("registries.conf")));
        let own = user.as_ref().map(|it| it.join("registries.conf"));
        if let Some(own) = own.filter(|it| it.is_file()) {
            paths.push(own);
        } else {
            let system = Path::new("/etc/containers");
            paths.push(system.join("registries.conf"));
            paths.extend(conf::drop_ins(&system.join("registries.conf.d"))?);
        }
        let folder = user.map(|it| it.join("registries.conf.d"));
        if let Some(folder) = folder {
            paths.extend(conf::drop_ins(&folder)?);
        }
        for path in paths {
            if let Some(text) = conf::read(&path)? {
                let mut entries = conf::parse(&path, &text)?;
                entries.iter_mut().for_each(Entry::insist_on_security);
                found.add(entries);
            }
        }
        Ok(found)
    }

    /// Adds a file in the format of containers' `registries.conf`, version 2. `path` is named in
    /// errors.
    ///
    /// <https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md>
    pub fn with_conf(mut self, path: &Path, text: &str) -> Result<Self, MirrorsError> {
        self.add(conf::parse(path, text)?);
        Ok(self)
    }

    /// Adds the content of `CNB_REGISTRY_MIRRORS`: `REGISTRY=URL`, with semicolons between.
    ///
    /// <https://github.com/buildpacks/rfcs/pull/285>
    pub fn with_cnb_registry_mirrors(mut self, text: &str) -> Result<Self, MirrorsError> {
        for entry in text.split(';').map(str::trim).filter(|it| !it.is_empty()) {
            let (registry, mirror) = cnb_entry(entry).ok_or_else(|| MirrorsError::Cnb {
                entry: without_credentials(entry),
            })?;
            self.cnb.insert(registry, mirror);
        }
        Ok(self)
    }

    /// A later entry for the same prefix holds.
    fn add(&mut self, entries: Vec<Entry>) {
        let named = entries.into_iter().map(|it| (it.prefix.clone(), it));
        self.entries.extend(named);
    }

    /// Whether a file says that `repository` is not to be used at all.
    pub fn is_blocked(&self, repository: &Repository) -> bool {
        self.entry(&repository.long())
            .is_some_and(|(entry, _)| entry.blocked)
    }

    /// Whether a file says that `repository` need not be secure.
    pub(super) fn is_insecure(&self, repository: &Repository) -> bool {
        self.entry(&repository.long())
            .is_some_and(|(entry, _)| entry.insecure && entry.location.is_none())
    }

    /// Where to read `repository` from, in order: its mirrors, and where it really is.
    pub(crate) fn sources(&self, repository: &Repository) -> Result<(Vec<Source>, Source), String> {
        let name = repository.long();
        let mut mirrors = Vec::new();
        let (host, path) = name.split_once('/').unwrap_or((&name, ""));
        if let Some(mirror) = self.cnb.get(host) {
            mirrors.push(mirror.source(&format!("/{path}"))?);
        }
        let mut origin = Source {
            repository: repository.clone(),
            insecure: false,
            serves: Serves::All,
        };
        if let Some((entry, rest)) = self.entry(&name) {
            for mirror in &entry.mirrors {
                mirrors.push(mirror.source(rest)?);
            }
            if let Some(location) = &entry.location {
                origin.repository = rewritten(location, rest)?;
            }
            origin.insecure = entry.insecure;
        }
        Ok((mirrors, origin))
    }

    /// The entry with the longest prefix of `name`, the last one of several, and what follows that.
    fn entry<'a>(&self, name: &'a str) -> Option<(&Entry, &'a str)> {
        self.entries
            .values()
            .filter_map(|entry| Some((entry, rest_after(name, &entry.prefix)?)))
            .max_by_key(|(entry, _)| entry.prefix.len())
    }
}

impl Entry {
    fn insist_on_security(&mut self) {
        self.insecure = false;
        for mirror in &mut self.mirrors {
            mirror.insecure = false;
        }
    }
}

impl Mirror {
    fn source(&self, rest: &str) -> Result<Source, String> {
        Ok(Source {
            repository: rewritten(&self.location, rest)?,
            insecure: self.insecure,
            serves: self.serves,
        })
    }
}

fn rewritten(location: &str, rest: &str) -> Result<Repository, String> {
    let text = format!("{location}{rest}");
    let named = |it: &str| it.contains(['.', ':']) || it == "localhost";
    // What is no host would be a repository of Docker's.
    if !text.split_once('/').is_some_and(|(host, _)| named(host)) {
        return Err(format!("mirror `{text}` names no registry"));
    }
    text.parse()
        .map_err(|error| format!("mirror `{text}` is no repository: {error}"))
}

/// What follows `prefix` in `name`, if it is one: whole words only. `*.example.com` stands for all
/// hosts below.
fn rest_after<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = match prefix.strip_prefix('*') {
        Some(suffix) => {
            let (domain, path) = at_slash(suffix);
            let (host, rest) = at_slash(name);
            // No host begins with a dot, as the domain does.
            host.ends_with(domain).then(|| rest.strip_prefix(path))??
        }
        None => name.strip_prefix(prefix)?,
    };
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// The host, and what follows it.
fn at_slash(name: &str) -> (&str, &str) {
    name.split_at(name.find('/').unwrap_or(name.len()))
}

fn cnb_entry(entry: &str) -> Option<(String, Mirror)> {
    let (registry, url) = entry.split_once('=')?;
    let registry: Registry = registry.trim().parse().ok()?;
    let registry = match registry.as_str() {
        Registry::DOCKER_HUB => "docker.io".to_owned(),
        host => host.to_owned(),
    };
    let url = Url::parse(url.trim()).ok()?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let location = format!(
        "{}{}",
        net::address::authority(&url),
        url.path().trim_end_matches('/')
    );
    // A stray slash makes a path of a password.
    let plain = plain && !location.contains('@');
    let insecure = match url.scheme() {
        "https" => false,
        "http" => true,
        _ => return None,
    };
    // Both schemes have a host.
    plain.then_some((
        registry,
        Mirror {
            location,
            insecure,
            serves: Serves::All,
        },
    ))
}

/// Somebody may have tried to put a password into a URL.
fn without_credentials(entry: &str) -> String {
    match entry.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => entry.to_owned(),
    }
}

/// Why it is not known which mirrors there are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorsError {
    /// An entry of `CNB_REGISTRY_MIRRORS` has not the form it should.
    #[error("malformed `CNB_REGISTRY_MIRRORS`: `{entry}` is not `REGISTRY=https://MIRROR`")]
    Cnb {
        /// The entry.
        entry: String,
    },
    /// A file is no `registries.conf`.
    #[error("malformed `{}`: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file could not be read.
    #[error("failed to read `{}`", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(mirrors: &Mirrors, repository: &str) -> Vec<String> {
        let (mirrors, origin) = mirrors.sources(&repository.parse().unwrap()).unwrap();
        mirrors
            .iter()
            .chain([&origin])
            .map(|it| it.repository.to_string())
            .collect()
    }

    fn conf(text: &str) -> Mirrors {
        Mirrors::default()
            .with_conf(Path::new("registries.conf"), text)
            .unwrap()
    }

    #[test]
    fn the_longest_prefix_holds_and_no_prefix_ends_inside_a_word() {
        let mirrors = conf(
            r#"
            [[registry]]
            location = "r.example"
            [[registry.mirror]]
            location = "m.example/all"
            [[registry]]
            prefix = "r.example/team"
            location = "moved.example/team2/"
            [[registry.mirror]]
            location = "m.example/first"
            [[registry.mirror]]
            location = "n.example:5000/second"
            [[registry]]
            prefix = "*.wild.example"
            [[registry.mirror]]
            location = "w.example/x"
            [[registry]]
            prefix = "*.wild.example/team"
            [[registry.mirror]]
            location = "w.example/team"
            [[registry]]
            location = "b.wild.example"
            [[registry.mirror]]
            location = "w.example/b"
            [[registry]]
            location = "s.example/team"
            [[registry.mirror]]
            location = "m.example/team"
            [[registry]]
            location = "s.example"
            [[registry.mirror]]
            location = "m.example/all"
            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "hub.example"
            "#,
        );
        for (repository, expected) in [
            (
                "r.example/team/app",
                &[
                    "m.example/first/app",
                    "n.example:5000/second/app",
                    "moved.example/team2/app",
                ][..],
            ),
            (
                "r.example/teams/app",
                &["m.example/all/teams/app", "r.example/teams/app"],
            ),
            (
                "s.example/team/app",
                &["m.example/team/app", "s.example/team/app"],
            ),
            ("r.example:5000/app", &["r.example:5000/app"]),
            ("r.example.evil/app", &["r.example.evil/app"]),
            (
                "a.b.wild.example/app",
                &["w.example/x/app", "a.b.wild.example/app"],
            ),
            (
                "a.wild.example.wild.example/app",
                &["w.example/x/app", "a.wild.example.wild.example/app"],
            ),
            (
                "b.wild.example/app",
                &["w.example/b/app", "b.wild.example/app"],
            ),
            (
                "b.wild.example/team/app",
                &["w.example/team/app", "b.wild.example/team/app"],
            ),
            ("wild.example/app", &["wild.example/app"]),
            (
                "evil.example/a.wild.example/app",
                &["evil.example/a.wild.example/app"],
            ),
            ("x.notwild.example/app", &["x.notwild.example/app"]),
            (
                "ubuntu",
                &[
                    "hub.example/library/ubuntu",
                    "index.docker.io/library/ubuntu",
                ],
            ),
        ] {
            assert_eq!(sources(&mirrors, repository), expected, "{repository}");
        }
    }

    #[test]
    fn a_mirror_has_to_be_in_a_registry_that_is_named() {
        let mirrors = conf("[[registry]]\nlocation='r.example'\n[[registry.mirror]]\nlocation='m'");
        let repository = "r.example/app".parse().unwrap();
        assert!(mirrors.sources(&repository).is_err());
        let text = "[[registry]]\nlocation='r.example'\n[[registry.mirror]]\nlocation='localhost'";
        let found = sources(&conf(text), "r.example/app");
        assert_eq!(found, ["localhost/app", "r.example/app"]);
    }

    #[test]
    fn what_is_said_of_a_place_is_not_said_of_a_name() {
        let mirrors = conf(
            r#"
            [[registry]]
            prefix = "moved.example"
            location = "r.example"
            insecure = true
            [[registry]]
            prefix = "other.example"
            location = "moved.example"
            "#,
        );
        let is_insecure = |it: &str| mirrors.is_insecure(&it.parse().unwrap());
        assert!(!is_insecure("moved.example/app"));
        let (_, origin) = mirrors
            .sources(&"moved.example/app".parse().unwrap())
            .unwrap();
        assert!(origin.insecure);
    }

    #[test]
    fn cnb_registry_mirrors_go_first() {
        let mirrors =
            conf("[[registry]]\nlocation='r.example'\n[[registry.mirror]]\nlocation='m.example'")
                .with_cnb_registry_mirrors(
                    "docker.io=https://hub.example; r.example = http://c.example:5000/cache/ ;",
                )
                .unwrap();
        assert_eq!(
            sources(&mirrors, "r.example/app"),
            ["c.example:5000/cache/app", "m.example/app", "r.example/app"]
        );
        let (found, _) = mirrors.sources(&"r.example/app".parse().unwrap()).unwrap();
        assert!(found[0].insecure && !found[1].insecure);
        assert_eq!(
            sources(&mirrors, "ubuntu"),
            [
                "hub.example/library/ubuntu",
                "index.docker.io/library/ubuntu"
            ]
        );
        for bad in [
            "docker.io",
            "=https://m.example",
            "r.example=m.example",
            "r.example=ftp://m.example",
            "r.example=https://",
            "r.example=https://me:hunter2@m.example",
            "r.example=https://m.example/me:hunter2@m.example",
            "r.example=https:'/me:hunter2@m.example",
            "r.example=https://me@m.example",
            "r.example=https://:hunter2@m.example",
            "r.example=https://m.example?x",
            "r.example=https://m.example#x",
        ] {
            let error = Mirrors::default()
                .with_cnb_registry_mirrors(bad)
                .unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn only_files_that_were_named_may_give_up_security() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".config/containers");
        fs_err::create_dir_all(folder.join("registries.conf.d")).unwrap();
        let path = folder.join("registries.conf");
        let text = "[[registry]]\nlocation='r.example'\ninsecure=true\n[[registry.mirror]]\nlocation='m.example'\ninsecure=true";
        fs_err::write(&path, text).unwrap();
        let insecure = |mirrors: Mirrors| {
            let (found, origin) = mirrors.sources(&"r.example/app".parse().unwrap()).unwrap();
            (found[0].insecure, origin.insecure)
        };
        let nothing = BTreeMap::new();
        let find = |named| Mirrors::find(named, Some(home.path()), &nothing).unwrap();
        assert_eq!(insecure(find(None)), (false, false));
        assert_eq!(insecure(find(Some(&path))), (true, true));
        let named = path.to_str().unwrap().to_owned();
        let variable = BTreeMap::from([("CONTAINERS_REGISTRIES_CONF".to_owned(), named)]);
        let found = Mirrors::find(None, Some(home.path()), &variable).unwrap();
        assert_eq!(insecure(found), (true, true));

        // What is named goes before what a variable names.
        let empty = home.path().join("empty.conf");
        fs_err::write(&empty, "").unwrap();
        let other = empty.to_str().unwrap().to_owned();
        let variable = BTreeMap::from([("CONTAINERS_REGISTRIES_CONF".to_owned(), other)]);
        let found = Mirrors::find(Some(&path), Some(home.path()), &variable).unwrap();
        assert_eq!(insecure(found), (true, true));

        // What is empty names nothing.
        let variable = BTreeMap::from([("CONTAINERS_REGISTRIES_CONF".to_owned(), String::new())]);
        let found = Mirrors::find(None, Some(home.path()), &variable).unwrap();
        assert_eq!(insecure(found), (false, false));

        // What lies beside it comes later.
        let text = "[[registry]]\nlocation='r.example'\nblocked=true";
        fs_err::write(folder.join("registries.conf.d/10-block.conf"), text).unwrap();
        fs_err::write(folder.join("registries.conf.d/20-no.txt"), "{").unwrap();
        assert!(find(None).is_blocked(&"r.example/app".parse().unwrap()));
        assert!(!find(Some(&path)).is_blocked(&"r.example/app".parse().unwrap()));
        assert!(Mirrors::find(Some(Path::new("/surely/not/there")), None, &nothing).is_err());
    }
}
