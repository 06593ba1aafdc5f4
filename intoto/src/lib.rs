//! in-toto statements: the waist between those who make claims and those who sign or judge them.
//!
//! A [`Statement`] binds a claim, its [`Predicate`], to the artifacts that it is about. This crate
//! knows what statements look like; it must never know how one is signed or stored.

mod document;
pub mod json;
mod predicate;
mod provenance;
mod resource;
mod statement;
mod summary;
mod timestamp;

pub use document::Misfit;
pub use predicate::{Predicate, PredicateType, PredicateTypeError};
pub use provenance::{BuildDefinition, BuildMetadata, Builder, Provenance, RunDetails};
pub use resource::{DigestSet, ResourceDescriptor};
pub use statement::{MAX_DIGESTS, MAX_SUBJECTS, Statement, StatementError};
pub use summary::{InputAttestation, SummaryPolicy, SummaryVerifier, Vsa, VsaResult};
pub use timestamp::{Timestamp, TimestampError, rfc3339};
