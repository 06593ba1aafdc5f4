//! Scripts that stand in a `project.toml`, as buildpacks.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::builder::{ModuleId, ModuleVersion};

/// What runs a script that does not say what runs it.
pub(super) const SHELL: &str = "/bin/sh";

/// The version of one that says none.
pub(super) const VERSION: &str = "0.0.0";

/// A buildpack that is a script. It always takes part.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Script {
    /// Its id.
    pub id: ModuleId,
    /// Its version.
    pub version: ModuleVersion,
    /// The buildpack API that it speaks.
    pub api: String,
    /// What runs it, as it stands behind `#!`.
    pub shell: String,
    /// What builds.
    pub inline: String,
}

impl Script {
    /// Writes the buildpack into `folder`, which is made.
    pub fn write(&self, folder: &Path) -> Result<(), ScriptError> {
        let failed = |source| ScriptError {
            folder: folder.to_owned(),
            source,
        };
        self.write_files(folder).map_err(failed)
    }

    fn write_files(&self, folder: &Path) -> io::Result<()> {
        let bin = folder.join("bin");
        fs::create_dir_all(&bin)?;
        let text = |value: &str| toml::Value::from(value);
        let table = |entries: &[(&str, &str)]| {
            let entries = entries.iter();
            let entries = entries.map(|(key, value)| ((*key).to_owned(), text(value)));
            entries.collect::<toml::Table>()
        };
        let mut descriptor = table(&[("api", &self.api)]);
        let own = table(&[("id", self.id.as_str()), ("version", self.version.as_str())]);
        descriptor.insert("buildpack".to_owned(), own.into());
        // Older APIs want a stack; this is any.
        let stacks = toml::Value::Array(vec![table(&[("id", "*")]).into()]);
        descriptor.insert("stacks".to_owned(), stacks);
        fs::write(folder.join("buildpack.toml"), descriptor.to_string())?;
        let build = format!("#!{}\n\n{}\n", self.shell, self.inline);
        // Not by the shell of the script, which may speak another language.
        let detect = format!("#!{SHELL}\n\nexit 0\n");
        for (name, text) in [("build", build), ("detect", detect)] {
            let path = bin.join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}

/// Why a script did not become a buildpack.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the inline buildpack to `{}`", folder.display())]
#[non_exhaustive]
pub struct ScriptError {
    /// Where.
    pub folder: PathBuf,
    /// Why.
    pub source: io::Error,
}
