//! A policy as data, before it is compiled: whatever it was read from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attest::key::PublicKey;
use attest::{Accept, SignerPattern};
use globset::Glob;
use intoto::PredicateType;
use serde_json::{Map, Value};

use super::file::{Entry, PolicyFile, Signer};
use super::pattern::ImagePattern;
use super::{PolicyError, WhenUndecided};
use crate::shipped;

/// What a policy says. [`Policy::compile`](super::Policy::compile) checks it.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever reads policies from elsewhere has to say all of it"
)]
pub struct PolicySource {
    /// What messages call it: a file, in most cases.
    pub name: String,
    /// Which images it is about; all, if it names none.
    pub images: Vec<ImagePattern>,
    /// In which namespaces of a cluster; if it names none, in all, and outside of clusters.
    pub namespaces: Vec<ImagePattern>,
    /// Who is believed about what.
    pub accepts: Vec<Accept>,
    /// The claims that have to be there.
    pub required: Vec<PredicateType>,
    /// Texts of rules, by what messages call them.
    pub rules: BTreeMap<String, String>,
    /// What the rules read as `input.parameters`.
    pub parameters: Map<String, Value>,
    /// What it means that the question could not be decided.
    pub when_undecided: WhenUndecided,
}

impl PolicySource {
    /// One that says nothing yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            images: Vec::new(),
            namespaces: Vec::new(),
            accepts: Vec::new(),
            required: Vec::new(),
            rules: BTreeMap::new(),
            parameters: Map::new(),
            when_undecided: WhenUndecided::default(),
        }
    }

    /// Reads a `policy.toml` and the files that it names. `given` is who stands for
    /// `signer = "given"`: whom the command line names.
    pub fn load(path: &Path, given: &[SignerPattern]) -> Result<Self, PolicyError> {
        Self::parse(
            &path.display().to_string(),
            &read(path)?,
            given,
            &Directory {
                root: path.parent().unwrap_or(Path::new("")),
            },
        )
    }

    /// Adds the shipped rules called `set`. False if there are none.
    pub fn add_shipped(&mut self, set: &str) -> bool {
        let mut rules = shipped::set(set).peekable();
        let any = rules.peek().is_some();
        self.rules
            .extend(rules.map(|it| (it.name.to_owned(), it.text.to_owned())));
        any
    }

    /// Reads the text of a `policy.toml`, called `name` in messages.
    pub(super) fn parse(
        name: &str,
        text: &str,
        given: &[SignerPattern],
        files: &impl Files,
    ) -> Result<Self, PolicyError> {
        let error_at = |line, problem| PolicyError::Policy {
            file: name.to_owned(),
            line,
            problem,
        };
        let file = PolicyFile::parse(text).map_err(|error| error_at(error.line, error.problem))?;
        let mut source = Self {
            images: file.images,
            namespaces: file.namespaces,
            required: file.required.into_iter().map(|it| it.value).collect(),
            parameters: file.parameters,
            when_undecided: file.when_undecided,
            ..Self::new(name)
        };
        for Entry { line, value } in &file.accepts {
            let signers = match &value.signer {
                Signer::Given if given.is_empty() => {
                    return Err(PolicyError::NoSigner {
                        file: name.to_owned(),
                        line: *line,
                    });
                }
                Signer::Given => given.to_vec(),
                Signer::Key(path) => vec![SignerPattern::Key(key(files, path)?)],
                Signer::Identity(identity) => vec![SignerPattern::Identity(identity.clone())],
            };
            for signer in signers {
                source
                    .accepts
                    .extend(value.claims.iter().map(|claim| Accept {
                        predicate_type: claim.clone(),
                        signer: signer.clone(),
                    }));
            }
        }
        for Entry { line, value } in &file.rule_sets {
            if !source.add_shipped(value) {
                return Err(error_at(
                    *line,
                    format!(
                        "unknown rules `{value}`; known: {}",
                        shipped::sets().join(", ")
                    ),
                ));
            }
        }
        for Entry { line, value } in &file.rule_files {
            let found = files.find(value)?;
            if found.is_empty() {
                return Err(error_at(*line, format!("no file matches `{value}`")));
            }
            for path in found {
                let text = files.read(&path)?;
                source.rules.insert(path.display().to_string(), text);
            }
        }
        Ok(source)
    }
}

fn key(files: &impl Files, path: &str) -> Result<PublicKey, PolicyError> {
    let (path, text) = (files.path(path), files.read(&files.path(path))?);
    PublicKey::from_pem(text.as_bytes()).map_err(|source| PolicyError::Key { path, source })
}

/// The files around a policy.
pub(super) trait Files {
    /// Where the file is that the policy calls `name`.
    fn path(&self, name: &str) -> PathBuf;
    /// The files that `pattern` matches, sorted. Only the last part may have wildcards.
    fn find(&self, pattern: &str) -> Result<Vec<PathBuf>, PolicyError>;
    fn read(&self, path: &Path) -> Result<String, PolicyError>;
}

struct Directory<'a> {
    root: &'a Path,
}

impl Files for Directory<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn find(&self, pattern: &str) -> Result<Vec<PathBuf>, PolicyError> {
        let (directory, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        let glob = Glob::new(name)
            .map_err(|error| PolicyError::Pattern {
                pattern: pattern.to_owned(),
                problem: error.kind().to_string(),
            })?
            .compile_matcher();
        let directory = self.path(directory);
        // What `Path::join` makes of nothing is no directory.
        let listed = if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &directory
        };
        let read_error = |source| PolicyError::Read {
            path: listed.to_owned(),
            source,
        };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(listed).map_err(read_error)? {
            let entry = entry.map_err(read_error)?;
            if glob.is_match(Path::new(&entry.file_name())) {
                found.push(directory.join(entry.file_name()));
            }
        }
        found.sort();
        Ok(found)
    }

    fn read(&self, path: &Path) -> Result<String, PolicyError> {
        read(path)
    }
}

/// How long a file of a policy may be: what the engine takes.
const MAX_BYTES: u64 = 1 << 20;

fn read(path: &Path) -> Result<String, PolicyError> {
    let read_error = |source| PolicyError::Read {
        path: path.to_owned(),
        source,
    };
    std::fs::File::open(path)
        .and_then(|file| oci::read_text_at_most(file, MAX_BYTES))
        .map_err(read_error)?
        // Editors on Windows begin files so.
        .map(|text| match text.strip_prefix('\u{feff}') {
            Some(text) => text.to_owned(),
            None => text,
        })
        .ok_or_else(|| PolicyError::TooLarge {
            path: path.to_owned(),
            limit: MAX_BYTES,
        })
}
