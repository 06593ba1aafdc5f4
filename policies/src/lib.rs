#![doc = include_str!("../README.md")]

mod engine;
mod evaluate;
mod evidence;
pub mod policy;
mod shipped;
mod summary;
#[cfg(test)]
mod testing;
mod verdict;

pub use engine::{EvaluateError, RegoError};
pub use evaluate::evaluate;
pub use evidence::Evidence;
pub use policy::{
    ImagePattern, ImagePatternError, Policy, PolicyError, PolicySource, WhenUndecided,
};
pub use summary::Judge;
pub use verdict::{Finding, Ground, Satisfied, Verdict};
