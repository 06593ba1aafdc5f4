#![doc = include_str!("../README.md")]

mod carry;
pub mod collect;
pub mod component;
mod cyclonedx;
mod detect;
mod document;
pub mod find;
mod format;
mod identity;
mod json;
mod license;
mod merge;
mod percent;
pub mod purl;
mod reading;
mod spdx;
mod subject;
mod syft;

pub use self::spdx::Spdx;
pub use self::spdx::tag_value::TagValueError;
pub use carry::Carried;
pub use collect::{CollectError, Collected, Scope, collect};
pub use cyclonedx::CycloneDx;
pub use cyclonedx::xml::XmlError;
pub use detect::read;
pub use document::{Document, DocumentError, Limits};
pub use format::Format;
pub use merge::{Merged, Sources, merge};
pub use subject::Subject;
