//! in-toto links and layouts: with the reference implementation as the judge beside ours.

mod fixtures;
mod reference;
