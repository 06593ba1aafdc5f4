//! Policies: who is believed about what, what has to be there, and which rules hold.

mod file;
mod pattern;
mod sense;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attest::key::KeyError;
use attest::{Accept, SignerPattern};
use intoto::PredicateType;
use oci::{Algorithm, Digest, Hasher};
use serde_json::{Map, Value};

use crate::engine::{RegoError, Rules};
use crate::evidence;

pub use pattern::{ImagePattern, ImagePatternError};
pub use source::PolicySource;

/// What an image must have. Holds nothing that is not checked: signers are resolved, rules parsed.
#[derive(Clone, Debug)]
pub struct Policy {
    name: String,
    images: Vec<ImagePattern>,
    namespaces: Vec<ImagePattern>,
    accepts: Vec<Accept>,
    required: Vec<PredicateType>,
    rules: Rules,
    parameters: Map<String, Value>,
    when_undecided: WhenUndecided,
    digest: Digest,
}

/// What it means for whoever has to answer yes or no that a question could not be decided.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "there is no third answer")]
pub enum WhenUndecided {
    /// No.
    #[default]
    Deny,
    /// Yes, with a warning.
    Warn,
}

impl Policy {
    /// Reads a `policy.toml` and the files that it names. `given` is who stands for
    /// `signer = "given"`: whom the command line names.
    pub fn load(path: &Path, given: &[SignerPattern]) -> Result<Self, PolicyError> {
        Self::compile(PolicySource::load(path, given)?)
    }

    /// Checks what a policy says: its rules parse, and it decides something.
    pub fn compile(source: PolicySource) -> Result<Self, PolicyError> {
        let PolicySource {
            name,
            mut images,
            mut namespaces,
            mut accepts,
            mut required,
            rules: texts,
            parameters,
            when_undecided,
        } = source;
        images.sort();
        images.dedup();
        namespaces.sort();
        namespaces.dedup();
        accepts.sort();
        accepts.dedup();
        required.sort();
        required.dedup();
        let rules = Rules::parse(texts.iter().map(|(name, text)| (&**name, &**text)))
            .map_err(PolicyError::Rules)?;
        let error = |problem: &str| PolicyError::Policy {
            file: name.clone(),
            line: None,
            problem: problem.to_owned(),
        };
        if accepts.is_empty() {
            return Err(error("nothing is accepted: there is no `[[accept]]`"));
        }
        if required.is_empty() && texts.is_empty() {
            return Err(error(
                "nothing is asked for: there is neither `[[require]]` nor a rule",
            ));
        }
        if let Some(claim) = required
            .iter()
            .find(|claim| accepts.iter().all(|it| it.predicate_type != **claim))
        {
            return Err(error(&format!(
                "`{claim}` is required, but nobody is accepted for it"
            )));
        }
        sense::of_images(&images)
            .and_then(|()| sense::of_namespaces(&namespaces))
            .and_then(|()| sense::of_parameters(&parameters, &texts, &accepts))
            .map_err(|problem| error(&problem))?;
        let mut policy = Self {
            name,
            images,
            namespaces,
            accepts,
            required,
            rules,
            parameters,
            when_undecided,
            digest: Digest::of(b""),
        };
        policy.digest = policy.digest_with(&texts);
        Ok(policy)
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which images it is about; all, if there are none.
    pub fn images(&self) -> &[ImagePattern] {
        &self.images
    }

    /// In which namespaces of a cluster; if there are none, in all, and outside of clusters.
    pub fn namespaces(&self) -> &[ImagePattern] {
        &self.namespaces
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

    /// What it means that a question could not be decided.
    pub fn when_undecided(&self) -> WhenUndecided {
        self.when_undecided
    }

    /// The digest of all that decides: what it is about, whom it accepts, what it requires, the texts
    /// of the rules and their parameters.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Hashes each part with what it is and its length, so that no two policies give the same bytes.
    fn digest_with(&self, rules: &BTreeMap<String, String>) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut add = |kind: &str, name: &str, text: &str| {
            hasher.update(format!("{kind} {} {name} {}\n", name.len(), text.len()).as_bytes());
            hasher.update(text.as_bytes());
        };
        for pattern in &self.images {
            add("image", "", pattern.as_str());
        }
        for pattern in &self.namespaces {
            add("namespace", "", pattern.as_str());
        }
        for accept in &self.accepts {
            let signer = match &accept.signer {
                SignerPattern::Key(key) => key.fingerprint().to_string(),
                SignerPattern::Identity(_) => evidence::accept(accept).to_string(),
            };
            add("accept", accept.predicate_type.as_str(), &signer);
        }
        for claim in &self.required {
            add("require", "", claim.as_str());
        }
        for (name, text) in rules {
            // Where the policy lies does not matter.
            add("rule", name.rsplit('/').next().unwrap_or(name), text);
        }
        for (name, value) in &self.parameters {
            add("parameter", name, &value.to_string());
        }
        if self.when_undecided == WhenUndecided::Warn {
            add("undecided", "", "warn");
        }
        hasher.finish()
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
    #[error("{file}{}: `signer = \"given\"`, but no key was given", place(*line))]
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
