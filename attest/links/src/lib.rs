#![doc = include_str!("../README.md")]

mod artifacts;
mod canonical;
mod key;
mod layout;
mod limits;
mod link;
mod pattern;
mod rule;
mod signed;
mod verify;

pub use artifacts::{Artifacts, Hashes, HashesError};
pub use key::{Key, KeyId, UnsupportedKey};
pub use layout::{Inspection, Layout, LayoutError, LayoutKey, Step};
pub use limits::Limits;
pub use link::{Link, LinkError, LinkFile, SignLinkError};
pub use rule::{Rule, RuleError, Side};
pub use signed::{Signed, SignedError};
pub use verify::{
    FileError, Files, Finding, Ignored, Inspections, Question, Refusal, StepProof, Undecided,
    Verified, WhyIgnored, verify,
};
