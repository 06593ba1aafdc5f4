//! Bytes and words as Go's libraries have them.
//!
//! The tools around buildpacks are written in Go. Layers are named by the hash of what its
//! `archive/tar` writes, images by the hash of what its `encoding/json` writes, and platforms match
//! its words for errors. Each module is one library of Go's as far as upstream's tools use it; the
//! README has the table of what is held to which version, and how.
//!
//! It must not know what an image or a phase is.

pub mod bounded;
pub mod files;
pub mod flag;
pub mod glob;
pub mod gzip;
pub mod http;
pub mod json;
pub mod mime;
pub mod signals;
pub mod tar;
pub mod time;
pub mod toml;
pub mod words;
