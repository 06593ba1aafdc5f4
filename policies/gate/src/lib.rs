#![doc = include_str!("../README.md")]

mod flight;
mod gate;
mod memory;
mod proof;
mod set;
mod trust;
mod watched;

pub use gate::{Answer, Gate, GateOptions, Image, Judged, Question, Undecided};
pub use proof::{OtherClaim, Proof, ProofError, Unproven, prove};
pub use set::{NoPolicy, PolicySet, PolicySetError};
pub use trust::Trust;
