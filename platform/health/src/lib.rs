#![doc = include_str!("../README.md")]

mod bounds;
mod commit;
mod domain;
pub mod forge;
mod history;
mod measure;
mod predicate;
mod quarter;
mod remote;
mod repository;
mod signature;

pub use bounds::Limits;
pub use domain::organization;
pub use history::{Contribution, History, Person, Tag};
pub use measure::{Measured, measure};
pub use predicate::{
    Commits, Contributor, Contributors, FILES, FileKind, Forge, ForgeIssues, ForgeReleases, Health,
    Organization, Organizations, Quarter, Release, Releases, SignatureCount, Signatures,
};
pub use remote::{CloneError, RepositoryPlace, clone, without_credentials};
pub use repository::{HistoryError, read};
pub use signature::SignatureKind;

/// What the parsers of git's objects are given, for fuzzing.
pub mod fuzzing {
    pub use crate::commit::{Ident, RawCommit, RawTag};
}
