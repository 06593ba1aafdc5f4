//! in-toto links and layouts: with the reference implementation as the judge beside ours.

mod command;
mod fixtures;
mod reference;
