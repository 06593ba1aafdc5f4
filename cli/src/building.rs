//! What `sealpack build` is made of, beside the phases, which `platform` runs: arguments and what they
//! mean, words, proof, publishing. The command itself keeps them in order.

mod args;
mod builders;
mod env;
mod failure;
mod images;
mod launcher;
pub(crate) mod links;
mod modules;
pub(crate) mod places;
pub(crate) mod platforms;
mod programs;
mod progress;
mod project;
pub(crate) mod proof;
pub(crate) mod publish;
mod settings;
mod starts;
mod targets;
pub(crate) mod trace;

pub(crate) use self::args::Build;
pub(crate) use self::images::{Chooser, previous, run_image};
pub(crate) use self::programs::{HOW, OwnPrograms, sandbox_program};
pub(crate) use self::progress::Told;
pub(crate) use self::settings::Settings;
