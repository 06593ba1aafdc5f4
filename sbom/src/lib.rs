#![doc = include_str!("../README.md")]

pub mod collect;
pub mod component;
mod convert;
mod cyclonedx;
mod document;
pub mod find;
mod format;
mod json;
mod license;
mod merge;
pub mod purl;
mod spdx_document;
mod subject;

pub use collect::{CollectError, Collected, Scope, collect};
pub use cyclonedx::CycloneDx;
pub use document::{Document, DocumentError, Limits};
pub use format::Format;
pub use merge::{Merged, merge};
pub use spdx_document::Spdx;
pub use subject::Subject;
