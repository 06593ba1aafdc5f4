//! Syft's own JSON, which is only read.

pub(crate) mod read;
