//! Policies: who is believed about what, what has to be there, and which rules hold.

mod file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attest::key::{KeyError, PublicKey};
use attest::{Accept, SignerPattern};
use globset::Glob;
use intoto::PredicateType;
use oci::{Algorithm, Digest, Hasher};
use serde_json::{Map, Value};

use crate::engine::{RegoError, Rules};
use crate::evidence;
use crate::shipped;
use file::{Entry, PolicyFile, Signer};

/// What an image must have. Holds nothing that is not checked: signers are resolved, rules parsed.
#[derive(Clone, Debug)]
pub struct Policy {
    accepts: Vec<Accept>,
    required: Vec<PredicateType>,
    rules: Rules,
    parameters: Map<String, Value>,
    digest: Digest,
}

impl Policy {
    /// Reads a `policy.toml` and the files that it names. `given` is who stands for
    /// `signer = "given"`: the keys of the command line.
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

    /// Makes a policy of the text of a `policy.toml`, called `name` in messages.
    fn parse(
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
        let mut accepts = Vec::new();
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
                accepts.extend(value.claims.iter().map(|claim| Accept {
                    predicate_type: claim.clone(),
                    signer: signer.clone(),
                }));
            }
        }
        accepts.sort();
        accepts.dedup();

        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for Entry { line, value } in &file.rule_sets {
            let mut set = shipped::set(value).peekable();
            if set.peek().is_none() {
                return Err(error_at(
                    *line,
                    format!("there are no rules called `{value}`"),
                ));
            }
            texts.extend(set.map(|it| (it.name.to_owned(), it.text.to_owned())));
        }
        for Entry { line, value } in &file.rule_files {
            let found = files.find(value)?;
            if found.is_empty() {
                return Err(error_at(*line, format!("no file matches `{value}`")));
            }
            for path in found {
                let text = files.read(&path)?;
                texts.insert(path.display().to_string(), text);
            }
        }
        let rules = Rules::parse(texts.iter().map(|(name, text)| (&**name, &**text)))
            .map_err(PolicyError::Rules)?;
        let required: Vec<PredicateType> = file.required.into_iter().map(|it| it.value).collect();
        if accepts.is_empty() {
            return Err(error_at(
                None,
                "nothing is accepted: there is no `[[accept]]`".to_owned(),
            ));
        }
        if required.is_empty() && texts.is_empty() {
            let problem = "nothing is asked for: there is neither `[[require]]` nor a rule";
            return Err(error_at(None, problem.to_owned()));
        }
        if let Some(claim) = required
            .iter()
            .find(|claim| accepts.iter().all(|it| it.predicate_type != **claim))
        {
            let problem = format!("`{claim}` is required, but nobody is accepted for it");
            return Err(error_at(None, problem));
        }
        Ok(Self {
            digest: digest(text, &texts, &accepts),
            accepts,
            required,
            rules,
            parameters: file.parameters,
        })
    }

    /// Who is believed about what: for [`attest::Verifier`].
    pub fn accepts(&self) -> &[Accept] {
        &self.accepts
    }

    /// The claims that have to be there.
    pub fn required(&self) -> &[PredicateType] {
        &self.required
    }

    /// What the rules read as `input.parameters`.
    pub fn parameters(&self) -> &Map<String, Value> {
        &self.parameters
    }

    /// The digest of all that decides: the file, the texts of the rules, and whom it accepts.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The same policy with other parameters.
    #[cfg(test)]
    pub(crate) fn with_parameters(self, parameters: Map<String, Value>) -> Self {
        Self { parameters, ..self }
    }
}

/// Hashes each text with its name and lengths, so that no two policies give the same bytes.
fn digest(text: &str, rules: &BTreeMap<String, String>, accepts: &[Accept]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut add = |name: &str, text: &str| {
        hasher.update(format!("{} {name} {}\n", name.len(), text.len()).as_bytes());
        hasher.update(text.as_bytes());
    };
    add("policy.toml", text);
    for (name, text) in rules {
        // Where the policy lies does not matter.
        let name = name.rsplit('/').next().unwrap_or(name);
        add(name, text);
    }
    for accept in accepts {
        let signer = match &accept.signer {
            SignerPattern::Key(key) => key.fingerprint().to_string(),
            SignerPattern::Identity(_) => evidence::accept(accept).to_string(),
        };
        add(accept.predicate_type.as_str(), &signer);
    }
    hasher.finish()
}

fn key(files: &impl Files, path: &str) -> Result<PublicKey, PolicyError> {
    let (path, text) = (files.path(path), files.read(&files.path(path))?);
    PublicKey::from_pem(text.as_bytes()).map_err(|source| PolicyError::Key { path, source })
}

/// The files around a policy.
trait Files {
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
    use std::io::Read as _;

    let read_error = |source| PolicyError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    std::fs::File::open(path)
        .map_err(read_error)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(read_error)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(PolicyError::TooLarge {
            path: path.to_owned(),
            limit: MAX_BYTES,
        });
    }
    Ok(text)
}

/// Why there is no policy. Without one nothing is accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A key file holds no public key.
    #[error("failed to use `{}` as a public key", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The policy leaves it to the user who signs, and the user said nothing.
    #[error("{file}{}: `signer = \"given\"`, but nobody was given", place(*line))]
    NoSigner {
        /// The policy.
        file: String,
        /// Where.
        line: Option<usize>,
    },
    /// The pattern of `rules.files` is none.
    #[error("`{pattern}` is not a pattern: {problem}")]
    Pattern {
        /// Which.
        pattern: String,
        /// What is wrong.
        problem: String,
    },
    /// The file is not a policy, or one that would decide nothing.
    #[error("{file}{}: {problem}", place(*line))]
    Policy {
        /// The policy.
        file: String,
        /// Where.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
    },
    /// A file could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The rules do not parse.
    #[error(transparent)]
    Rules(RegoError),
    /// A file is longer than is read.
    #[error("`{}` is longer than {limit} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// How much is read.
        limit: u64,
    },
}

fn place(line: Option<usize>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests;
