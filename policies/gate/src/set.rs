//! Which policy is for which image.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use attest::SignerPattern;
use oci::{Algorithm, Digest, Hasher, Repository};
use policies::{ImagePattern, Policy, PolicyError};

/// Policies, each about some images.
#[derive(Clone, Debug)]
pub struct PolicySet {
    policies: Vec<Arc<Policy>>,
    digest: Digest,
}

/// How many policies are read.
const MAX_POLICIES: usize = 1_000;

impl PolicySet {
    /// Of these policies. Two with the same pattern contradict each other, unless they are the same.
    pub fn new(policies: impl IntoIterator<Item = Policy>) -> Result<Self, PolicySetError> {
        let mut all: Vec<Arc<Policy>> = policies.into_iter().map(Arc::new).collect();
        all.sort_by(|a, b| (a.digest(), a.name()).cmp(&(b.digest(), b.name())));
        all.dedup_by(|a, b| a.digest() == b.digest());
        // So that messages name them in the order of their names.
        all.sort_by(|a, b| (a.name(), a.digest()).cmp(&(b.name(), b.digest())));
        for (at, first) in all.iter().enumerate() {
            for second in all.iter().skip(at + 1) {
                if let Some(scope) =
                    scopes(first).find(|it| scopes(second).any(|other| other == *it))
                {
                    return Err(PolicySetError::Contradiction {
                        first: first.name().to_owned(),
                        second: second.name().to_owned(),
                        about: scope.to_string(),
                    });
                }
            }
        }
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for policy in &all {
            hasher.update(policy.digest().to_string().as_bytes());
        }
        Ok(Self {
            policies: all,
            digest: hasher.finish(),
        })
    }

    /// Of one policy.
    pub fn one(policy: Policy) -> Self {
        Self {
            digest: policy.digest().clone(),
            policies: vec![Arc::new(policy)],
        }
    }

    /// Reads a `policy.toml`; a folder with one; or a folder of policies: each `*.toml` in it, and each
    /// folder in it with a `policy.toml`. `given` is who stands for `signer = "given"`.
    pub fn load(path: &Path, given: &[SignerPattern]) -> Result<Self, PolicySetError> {
        let load = |path: &Path| {
            Policy::load(path, given).map_err(|source| PolicySetError::Policy {
                path: path.to_owned(),
                source,
            })
        };
        if !path.is_dir() {
            return Ok(Self::one(load(path)?));
        }
        let alone = path.join("policy.toml");
        if alone.is_file() {
            return Ok(Self::one(load(&alone)?));
        }
        let failed = |source| PolicySetError::Folder {
            path: path.to_owned(),
            source,
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?.path();
            let inner = entry.join("policy.toml");
            if inner.is_file() {
                files.push(inner);
            } else if entry.is_file() && entry.extension().is_some_and(|it| it == "toml") {
                files.push(entry);
            }
            if files.len() > MAX_POLICIES {
                return Err(PolicySetError::TooMany {
                    path: path.to_owned(),
                    limit: MAX_POLICIES,
                });
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(PolicySetError::Empty {
                path: path.to_owned(),
            });
        }
        let policies: Result<Vec<_>, _> = files.iter().map(|it| load(it)).collect();
        Self::new(policies?)
    }

    /// All of them.
    pub fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// The digest of all of them.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The policy for the image of this `name`, used in this `namespace` of a cluster: of all whose
    /// pattern matches the one with the strictest, that is, whose pattern all others cover.
    ///
    /// An image in a layout or an archive has no name. Policies that are about all images are about it,
    /// too; and a policy that stands alone, because then somebody named it.
    pub fn choose(
        &self,
        name: Option<&Repository>,
        namespace: Option<&str>,
    ) -> Result<&Arc<Policy>, NoPolicy> {
        if let ([policy], None, None) = (self.policies.as_slice(), name, namespace) {
            return Ok(policy);
        }
        let long = name.map(Repository::long);
        let matching: Vec<(&Arc<Policy>, Scope<'_>)> = self
            .policies
            .iter()
            .flat_map(|policy| scopes(policy).map(move |scope| (policy, scope)))
            .filter(|(_, scope)| scope.matches(long.as_deref(), namespace))
            .collect();
        let shown = || {
            long.clone()
                .unwrap_or_else(|| "image without a name".to_owned())
        };
        let Some((first, scope)) = matching.first() else {
            return Err(NoPolicy::NoMatch { name: shown() });
        };
        // The strictest of all is covered by each: going on to one that is covered finds it.
        let (mut policy, mut strictest) = (*first, *scope);
        for (other, scope) in &matching {
            if strictest.covers(scope) {
                (policy, strictest) = (*other, *scope);
            }
        }
        let rival = matching
            .iter()
            .filter(|(other, _)| !Arc::ptr_eq(other, policy))
            .find(|(_, scope)| !scope.covers(&strictest) || strictest.covers(scope));
        match rival {
            None => Ok(policy),
            Some((rival, _)) => Err(NoPolicy::Contradiction {
                name: shown(),
                first: policy.name().to_owned(),
                second: rival.name().to_owned(),
            }),
        }
    }
}

/// One pattern of images of a policy, with one of namespaces.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Scope<'a> {
    /// None: all.
    image: Option<&'a ImagePattern>,
    /// None: all, and outside of clusters.
    namespace: Option<&'a ImagePattern>,
}

fn scopes(policy: &Policy) -> impl Iterator<Item = Scope<'_>> {
    let each = |list: &'_ [ImagePattern]| match list.len() {
        0 => 1,
        count => count,
    };
    (0..each(policy.images())).flat_map(move |image| {
        (0..each(policy.namespaces())).map(move |namespace| Scope {
            image: policy.images().get(image),
            namespace: policy.namespaces().get(namespace),
        })
    })
}

impl Scope<'_> {
    fn matches(&self, name: Option<&str>, namespace: Option<&str>) -> bool {
        let matches = |pattern: Option<&ImagePattern>, text: Option<&str>| match (pattern, text) {
            (None, _) => true,
            (Some(pattern), Some(text)) => pattern.matches(text),
            (Some(pattern), None) => *pattern == ImagePattern::all(),
        };
        matches(self.image, name) && matches(self.namespace, namespace)
    }

    fn covers(&self, other: &Self) -> bool {
        let covers =
            |wide: Option<&ImagePattern>, narrow: Option<&ImagePattern>| match (wide, narrow) {
                (None, _) => true,
                (Some(wide), None) => *wide == ImagePattern::all(),
                (Some(wide), Some(narrow)) => wide.covers(narrow),
            };
        covers(self.image, other.image) && covers(self.namespace, other.namespace)
    }
}

impl std::fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.image {
            Some(pattern) => write!(f, "`{pattern}`")?,
            None => f.write_str("all images")?,
        }
        match self.namespace {
            Some(namespace) => write!(f, " in namespace `{namespace}`"),
            None => Ok(()),
        }
    }
}

/// Why there are no policies.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "each has its own hint")]
pub enum PolicySetError {
    /// One cannot be used.
    #[error("failed to read the policy `{}`", path.display())]
    Policy {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: PolicyError,
    },
    /// The folder cannot be read.
    #[error("failed to read the folder `{}`", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The folder holds none.
    #[error("there is no policy in the folder `{}`", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// The folder holds more than are read.
    #[error("there are more than {limit} policies in the folder `{}`", path.display())]
    TooMany {
        /// Which.
        path: PathBuf,
        /// How many are read.
        limit: usize,
    },
    /// Two are about the very same images.
    #[error("the policies `{first}` and `{second}` are both about {about}")]
    Contradiction {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// The pattern that both have.
        about: String,
    },
}

/// Why no policy is for an image. Never to be taken for acceptance.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "each has its own hint")]
pub enum NoPolicy {
    /// None is about it.
    #[error("no policy is about `{name}`")]
    NoMatch {
        /// The image.
        name: String,
    },
    /// Two are, and neither is stricter.
    #[error(
        "the policies `{first}` and `{second}` are both about `{name}`, and neither is about less than the other"
    )]
    Contradiction {
        /// The image.
        name: String,
        /// One.
        first: String,
        /// The other.
        second: String,
    },
}

#[cfg(test)]
mod tests;
