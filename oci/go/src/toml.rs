//! TOML as BurntSushi/toml reads and writes it.
//!
//! Two halves: [`from_bytes`] takes and refuses what that takes and refuses, in its words;
//! [`to_string`] writes its bytes.

mod read;
mod write;

pub use self::read::{TomlError, from_bytes};
pub use self::write::{EncodeError, JSON_TEXT, to_string};
