//! Chooses the buildpacks that build the app, and what each of them shall provide.
//!
//! | step | where |
//! |---|---|
//! | put composite buildpacks, extensions and system buildpacks in their places | `groups` |
//! | run `bin/detect` of all members of a group at once, each only once | `run` |
//! | match what they require with what they provide | `resolve` |

mod groups;
mod resolve;
mod run;

use std::sync::{Mutex, PoisonError};

use crate::buildpack::{ApiError, ModuleContext};
use crate::files::FileError;
use crate::files::group::{Group, GroupElement};
use crate::files::order::Order;
use crate::files::plan::BuildPlan;
use crate::files::system::System;
use crate::{Level, Log};

/// What detection needs.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever detects has to say all of it"
)]
pub struct DetectContext<'a> {
    /// Where modules lie and what they are given.
    pub modules: &'a ModuleContext<'a>,
    /// The groups to try.
    pub order: Order,
    /// Buildpacks to add to each group; counts from Platform API 0.15 on.
    pub system: System,
}

/// What detection decides.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "what later phases need, and no more"
)]
pub struct Detected {
    /// Who takes part: the content of `group.toml`.
    pub group: Group,
    /// What they agreed on: the content of `plan.toml`.
    pub plan: BuildPlan,
}

/// Looks up all modules that the order names, in this order, and says what is wrong with the first.
pub fn verify(context: &DetectContext<'_>, log: &dyn Log) -> Result<(), DetectError> {
    groups::Groups::new(context, log).map(|_groups| ())
}

/// Chooses the first group of which all members pass that are not optional, and whose plans fit.
///
/// What [`verify`] looks at is taken for granted.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md#phase-1-detection>
pub fn detect(context: &DetectContext<'_>, log: &dyn Log) -> Result<Detected, DetectError> {
    let groups = groups::Groups::of(context);
    let results = Lines::default();
    let result = groups.detect(&results, log);
    results.replay(log, result.is_err());
    let (found, plan) = result?;
    let (group_extensions, group) = found.into_iter().partition(|it| it.extension);
    Ok(Detected {
        group: Group::new(group, without_kind(group_extensions)),
        plan,
    })
}

impl DetectError {
    /// Says what it comes to, before the error itself is told.
    pub fn explain(&self, log: &dyn Log) {
        if matches!(self, Self::NoneParticipating | Self::BuildpackErred) {
            log.line(Level::Error, "No buildpack groups passed detection.");
        }
        if matches!(self, Self::NoneParticipating) {
            let hint = "Please check that you are running against the correct path.";
            log.line(Level::Error, hint);
        }
    }
}

/// Lists of their own kind do not say the kind of each member.
fn without_kind(mut elements: Vec<GroupElement>) -> Vec<GroupElement> {
    for element in &mut elements {
        element.extension = false;
    }
    elements
}

/// Keeps what is logged until it is known whether detection failed: then all of it is of interest.
#[derive(Debug, Default)]
struct Lines(Mutex<Vec<(Level, Vec<u8>)>>);

impl Lines {
    fn replay(self, log: &dyn Log, failed: bool) {
        for (level, mut line) in self.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
            if failed {
                // Also for who asked for errors alone.
                if !line.ends_with(b"\n") {
                    line.push(b'\n');
                }
                log.output(&line);
            } else {
                log.printed(level, &line);
            }
        }
    }
}

impl Log for Lines {
    fn line(&self, level: Level, text: &str) {
        self.printed(level, text.as_bytes());
    }

    fn printed(&self, level: Level, bytes: &[u8]) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push((level, bytes.to_owned()));
    }

    fn output(&self, bytes: &[u8]) {
        self.printed(Level::Info, bytes);
    }
}

/// Why there is no group.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// A module speaks an API that we do not.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// No group passed, and at least one buildpack failed with an error of its own.
    #[error("failed to detect: buildpack(s) failed with err")]
    BuildpackErred,
    /// It was cancelled.
    #[error("failed to detect: cancelled")]
    Cancelled,
    /// A composite buildpack contains itself.
    #[error("failed to detect: buildpack '{buildpack}' is part of itself")]
    Cycle {
        /// Which.
        buildpack: String,
    },
    /// A module that the order names is not there, or says nothing sensible of itself.
    #[error("failed to initialize detector")]
    Initialize {
        /// Why not.
        source: FileError,
    },
    /// The same, for a member of a composite buildpack.
    #[error("failed to detect")]
    Lookup {
        /// Why not.
        source: FileError,
    },
    /// No group passed.
    #[error("failed to detect: no buildpacks participating")]
    NoneParticipating,
    /// The alternatives of all plans multiply to more than can be tried.
    #[error(
        "failed to detect: the alternatives in the plans of this group have more than {limit} combinations"
    )]
    TooManyAlternatives {
        /// How many are tried.
        limit: usize,
    },
}

impl DetectError {
    /// The exit code that tells this to a platform.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Initialize { .. } => 1,
            Self::Api(_) => 12,
            Self::NoneParticipating => 20,
            Self::BuildpackErred => 21,
            _ => 22,
        }
    }
}

#[cfg(test)]
mod tests;
