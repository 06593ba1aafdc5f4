//! The history of a commit, out of a repository on this disk.
//!
//! Nothing of the repository is run, and none of the user's settings are read. An object is read
//! only if it is not larger than the limits allow, and only believed if it has the digest that it
//! was asked for by: so what is read depends on the commit and on the tags alone.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use gix::bstr::{BStr, ByteSlice as _};
use gix::objs::Kind;
use gix::{ObjectId, Repository};

use crate::commit::{Ident, RawCommit, RawTag};
use crate::predicate::FILES;
use crate::{Contribution, History, Limits, Person, Tag};

/// How many tags may name one another before one names a commit.
const MAX_TAG_DEPTH: usize = 8;

/// Where files that concern the whole project are, beside the root.
const FOLDERS: [&str; 3] = [".github", ".gitlab", "docs"];

/// Reads the history of `revision`, or of what is checked out, from the repository that `folder` is or
/// is in.
pub fn read(
    folder: &Path,
    revision: Option<&str>,
    limits: &Limits,
) -> Result<History, HistoryError> {
    let path = repository_of(folder);
    let open = gix::open::Options::isolated()
        // Whoever gave us the repository could replace commits by others, under the same digest.
        .config_overrides(["core.useReplaceRefs=false"])
        .open(&path)
        .map_err(|error| HistoryError::open(folder, error))?;
    let repository = open.to_thread_local();
    let is_cut_off = repository
        .is_shallow()
        .map_err(|error| HistoryError::open(folder, error))?;
    if is_cut_off {
        return Err(HistoryError::Shallow {
            path: folder.to_owned(),
        });
    }
    let name = revision.unwrap_or("HEAD");
    let start = repository
        .rev_parse_single(format!("{name}^{{commit}}").as_str())
        // Its words are about its parser.
        .map_err(|_error| HistoryError::Revision {
            name: name.to_owned(),
        })?
        .detach();
    Reader {
        repository: &repository,
        limits,
    }
    .history(start)
}

/// The nearest folder upwards that holds a repository; `folder` itself if it is one, or none is.
fn repository_of(folder: &Path) -> PathBuf {
    if folder.join("objects").is_dir() && folder.join("HEAD").is_file() {
        return folder.to_owned();
    }
    folder
        .ancestors()
        .find(|it| it.join(".git").exists())
        .unwrap_or(folder)
        .to_owned()
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    repository: &'a Repository,
    limits: &'a Limits,
}

impl Reader<'_> {
    fn history(self, start: ObjectId) -> Result<History, HistoryError> {
        let bytes = self.object(start, Kind::Commit, self.limits.object_bytes)?;
        let commit = RawCommit::parse(&bytes).ok_or_else(|| malformed(start, "commit"))?;
        let root = self.tree(id(commit.tree).ok_or_else(|| malformed(start, "commit"))?)?;
        let mailmap = self.mailmap(&root)?;
        let mut history = History {
            commit: start.to_string(),
            time: commit.committer.time,
            uri: self.origin(),
            files: self.files(&root)?,
            ..History::default()
        };
        let times = self.commits(start, &mailmap, &mut history)?;
        history.tags = self.tags(&times)?;
        Ok(history)
    }

    /// Reads `start` and all before it; gives their times.
    fn commits(
        self,
        start: ObjectId,
        mailmap: &gix::mailmap::Snapshot,
        history: &mut History,
    ) -> Result<BTreeMap<ObjectId, i64>, HistoryError> {
        let mut times = BTreeMap::from([(start, 0)]);
        let mut left = vec![start];
        let mut identities: BTreeMap<(Vec<u8>, Vec<u8>), usize> = BTreeMap::new();
        let mut people: BTreeMap<Person, usize> = BTreeMap::new();
        while let Some(at) = left.pop() {
            let bytes = self.object(at, Kind::Commit, self.limits.object_bytes)?;
            let commit = RawCommit::parse(&bytes).ok_or_else(|| malformed(at, "commit"))?;
            for parent in &commit.parents {
                let parent = id(parent).ok_or_else(|| malformed(at, "commit"))?;
                if times.contains_key(&parent) {
                    continue;
                }
                if times.len() >= self.limits.commits {
                    return Err(HistoryError::TooMany {
                        what: "commits",
                        limit: self.limits.commits,
                    });
                }
                times.insert(parent, 0);
                left.push(parent);
            }
            let Ident { name, mail, .. } = commit.author;
            let identity = (name.to_vec(), mail.to_vec());
            let author = if let Some(author) = identities.get(&identity) {
                *author
            } else {
                if identities.len() >= self.limits.identities {
                    return Err(HistoryError::TooMany {
                        what: "authors",
                        limit: self.limits.identities,
                    });
                }
                let person = resolve(mailmap, &commit.author);
                let next = people.len();
                let author = *people.entry(person).or_insert(next);
                identities.insert(identity, author);
                author
            };
            times.insert(at, commit.committer.time);
            history.contributions.push(Contribution {
                author,
                time: commit.committer.time,
                is_merge: commit.parents.len() > 1,
                signature: commit.signature,
            });
        }
        let mut people: Vec<_> = people.into_iter().collect();
        people.sort_by_key(|(_, at)| *at);
        history.people = people.into_iter().map(|(person, _)| person).collect();
        Ok(times)
    }

    /// The tags that name commits, in the history or beside it.
    fn tags(self, times: &BTreeMap<ObjectId, i64>) -> Result<Vec<Tag>, HistoryError> {
        let failed = |error: gix::Error| HistoryError::Tags {
            source: Box::new(error),
        };
        let platform = self.repository.references().map_err(failed)?;
        let mut tags = Vec::new();
        for (count, reference) in platform.tags().map_err(failed)?.enumerate() {
            if count >= self.limits.tags {
                return Err(HistoryError::TooMany {
                    what: "tags",
                    limit: self.limits.tags,
                });
            }
            let reference = reference.map_err(failed)?;
            let Some(target) = reference.try_id() else {
                continue;
            };
            let name = reference.name().as_bstr();
            let name = name.strip_prefix(b"refs/tags/").unwrap_or(name);
            if let Some(tag) = self.tag(name.to_str_lossy().into_owned(), target.detach(), times)? {
                tags.push(tag);
            }
        }
        tags.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tags)
    }

    /// The tag `name` of `target`; `None` if what it names in the end is no commit.
    fn tag(
        self,
        name: String,
        target: ObjectId,
        times: &BTreeMap<ObjectId, i64>,
    ) -> Result<Option<Tag>, HistoryError> {
        let mut tag = Tag {
            name,
            commit: String::new(),
            time: 0,
            signature: None,
            is_annotated: false,
        };
        let mut time = None;
        let mut target = target;
        for _ in 0..MAX_TAG_DEPTH {
            let found = match times.get(&target) {
                Some(found) => Some(*found),
                None => match self.kind(target)? {
                    Kind::Tag => None,
                    Kind::Commit => {
                        let bytes = self.object(target, Kind::Commit, self.limits.object_bytes)?;
                        let commit =
                            RawCommit::parse(&bytes).ok_or_else(|| malformed(target, "commit"))?;
                        Some(commit.committer.time)
                    }
                    _ => return Ok(None),
                },
            };
            if let Some(found) = found {
                tag.commit = target.to_string();
                tag.time = time.unwrap_or(found);
                return Ok(Some(tag));
            }
            let bytes = self.object(target, Kind::Tag, self.limits.object_bytes)?;
            let raw = RawTag::parse(&bytes).ok_or_else(|| malformed(target, "tag"))?;
            // What a tag of a tag says is said of the outer one.
            if !tag.is_annotated {
                tag.is_annotated = true;
                tag.signature = raw.signature;
                time = raw.time;
            }
            target = id(raw.object).ok_or_else(|| malformed(target, "tag"))?;
        }
        Ok(None)
    }

    /// The first file of each kind of [`FILES`], from the root downwards.
    fn files(self, root: &[Entry]) -> Result<BTreeMap<&'static str, String>, HistoryError> {
        let mut listings = vec![(String::new(), root.to_vec())];
        for folder in FOLDERS {
            let found = root.iter().find(|it| it.is_folder && it.name == folder);
            if let Some(found) = found {
                listings.push((format!("{folder}/"), self.tree(found.id)?));
            }
        }
        let mut files = BTreeMap::new();
        for (folder, listing) in &listings {
            for entry in listing {
                let name = entry.name.to_ascii_lowercase();
                let found = FILES.iter().find(|it| it.is_named(&name, entry.is_folder));
                if let Some(kind) = found {
                    let path = format!("{folder}{}", entry.name);
                    files.entry(kind.name).or_insert(path);
                }
            }
        }
        Ok(files)
    }

    fn mailmap(self, root: &[Entry]) -> Result<gix::mailmap::Snapshot, HistoryError> {
        let found = root.iter().find(|it| it.is_file && it.name == ".mailmap");
        let Some(found) = found else {
            return Ok(gix::mailmap::Snapshot::default());
        };
        let bytes = self.object(found.id, Kind::Blob, self.limits.mailmap_bytes)?;
        Ok(gix::mailmap::Snapshot::from_bytes(&bytes))
    }

    fn tree(self, at: ObjectId) -> Result<Vec<Entry>, HistoryError> {
        let bytes = self.object(at, Kind::Tree, self.limits.tree_bytes)?;
        let mut entries = Vec::new();
        for entry in gix::objs::TreeRefIter::from_bytes(&bytes, at.kind()) {
            let entry = entry.map_err(|_error| malformed(at, "tree"))?;
            entries.push(Entry {
                name: entry.filename.to_str_lossy().into_owned(),
                id: entry.oid.to_owned(),
                is_file: entry.mode.is_blob(),
                is_folder: entry.mode.is_tree(),
            });
        }
        Ok(entries)
    }

    fn kind(self, at: ObjectId) -> Result<Kind, HistoryError> {
        let header = self.repository.find_header(at);
        header
            .map(|it| it.kind())
            .map_err(|error| HistoryError::object(at, error))
    }

    /// The content of an object: of this kind, not larger, and what its name says.
    fn object(self, at: ObjectId, kind: Kind, limit: u64) -> Result<Vec<u8>, HistoryError> {
        let failed = |error| HistoryError::object(at, error);
        let header = self.repository.find_header(at).map_err(failed)?;
        if header.kind() != kind {
            return Err(malformed(at, kind_name(kind)));
        }
        if header.size() > limit {
            return Err(HistoryError::TooLarge {
                kind: kind_name(kind),
                id: at.to_string(),
                limit,
            });
        }
        let object = self.repository.find_object(at).map_err(failed)?.detach();
        let is_it = gix::objs::compute_hash(at.kind(), object.kind, &object.data)
            .is_ok_and(|found| found == at);
        if is_it {
            Ok(object.data)
        } else {
            Err(malformed(at, kind_name(kind)))
        }
    }

    /// The address of the remote `origin`, without credentials.
    fn origin(self) -> Option<String> {
        let config = self.repository.config_snapshot();
        let url = config.string("remote.origin.url")?;
        crate::remote::without_credentials(url.to_str().ok()?)
    }
}

/// What stands in a folder.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    id: ObjectId,
    is_file: bool,
    is_folder: bool,
}

/// The author, as `.mailmap` has it.
fn resolve(mailmap: &gix::mailmap::Snapshot, author: &Ident<'_>) -> Person {
    let signature = gix::actor::SignatureRef {
        name: BStr::new(author.name),
        email: BStr::new(author.mail),
        time: "0 +0000",
    };
    let resolved = mailmap.resolve_cow(signature);
    Person {
        name: resolved.name.to_str_lossy().trim().to_owned(),
        mail: resolved.email.to_str_lossy().trim().to_owned(),
    }
}

fn id(hex: &[u8]) -> Option<ObjectId> {
    ObjectId::from_hex(hex).ok()
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Tree => "tree",
        Kind::Blob => "blob",
        Kind::Commit => "commit",
        Kind::Tag => "tag",
    }
}

fn malformed(at: ObjectId, kind: &'static str) -> HistoryError {
    HistoryError::Malformed {
        kind,
        id: at.to_string(),
    }
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// There is no repository, or none that can be read.
    #[error("`{}` is not a readable git repository", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It is a clone without the whole history.
    #[error("the history in `{}` is cut off: it is a shallow clone", path.display())]
    Shallow {
        /// The folder.
        path: PathBuf,
    },
    /// The revision names no commit.
    #[error("`{name}` is not a commit of this repository")]
    Revision {
        /// What was named.
        name: String,
    },
    /// The tags cannot be listed.
    #[error("the tags cannot be listed")]
    Tags {
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An object is not there, or cannot be read.
    #[error("object `{id}` cannot be read")]
    Object {
        /// Its name.
        id: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An object is not what its name says, or of another kind.
    #[error("{kind} `{id}` is malformed")]
    Malformed {
        /// What it should be.
        kind: &'static str,
        /// Its name.
        id: String,
    },
    /// An object is larger than is read.
    #[error("{kind} `{id}` is larger than {limit} bytes")]
    TooLarge {
        /// What it is.
        kind: &'static str,
        /// Its name.
        id: String,
        /// How much is read.
        limit: u64,
    },
    /// There are more of something than are read.
    #[error("there are more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are read.
        limit: usize,
    },
}

impl HistoryError {
    fn open(folder: &Path, error: gix::Error) -> Self {
        Self::Open {
            path: folder.to_owned(),
            source: Box::new(error),
        }
    }

    fn object(at: ObjectId, error: gix::Error) -> Self {
        Self::Object {
            id: at.to_string(),
            source: Box::new(error),
        }
    }
}
