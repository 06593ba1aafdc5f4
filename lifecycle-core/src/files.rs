//! The files of the CNB specification, as types, and how they are read and written.
//!
//! Who reads one of these reads what a buildpack or a platform wrote, so [`read`] has a limit and
//! names the file and the line. `write` leaves the old file or the new one, never half of it, in
//! the bytes that the Go lifecycle writes: `config/metadata.toml` is part of the image.

pub mod analyzed;
pub mod any;
pub mod build_toml;
pub mod extend_config;
pub mod launch_toml;
pub mod layer;
pub mod order;
pub mod plan;
pub mod project_metadata;
pub mod report;
pub mod run;
pub mod store;
pub mod system;
mod write;

pub use launch::files::{
    FileError, MAX_TOML, OsError, TomlError, group, metadata, parse, read, read_bytes,
    read_required, table,
};

pub use self::write::{write, write_bytes};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        use super::analyzed::Analyzed;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/analyzed.toml");
        assert!(read::<Analyzed>(&path).unwrap().is_none());
        let text = "[image]\nreference = \"r\"\n[metadata.run-image]\ntop-layer = \"t\"\nimage = \"i\"\n\
                    [[metadata.buildpacks]]\nkey = \"k\"\nversion = \"1\"\n[metadata.buildpacks.layers.l]\n\
                    sha = \"s\"\nlaunch = true\n[metadata.buildpacks.layers.l.metadata]\nn = 3.0\n";
        let analyzed: Analyzed = toml::from_str(text).unwrap();
        assert_eq!(analyzed.previous_image(), Some("r"));
        assert_eq!(analyzed.metadata.run_image.images.image, "i");
        write(&path, &analyzed).unwrap();
        assert_eq!(read(&path).unwrap(), Some(analyzed));
        write_bytes(&path, b"not toml").unwrap();
        assert!(matches!(
            read::<Analyzed>(&path),
            Err(FileError::Malformed { .. })
        ));
    }
}
