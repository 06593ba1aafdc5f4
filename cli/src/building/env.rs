//! The variables that buildpacks get: of `project.toml`, then of files, then of the command line; who
//! comes later wins.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use platform::project::Project;

use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::files;
use crate::ui::Ui;

/// The most bytes that a file of variables may have.
const MAX_BYTES: u64 = 1 << 20;

/// Variables for the buildpacks.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub(super) values: BTreeMap<String, OsString>,
    /// Those whose value everybody may know: it stands in the app's `project.toml` or was written on
    /// the command line. What stands in other files, or in our environment, may be secret.
    pub(super) literal: BTreeSet<String>,
}

impl Variables {
    /// Those of `project`, of `files` and of `given`, which are as `--env` has them.
    pub(super) fn read(
        project: Option<&Project>,
        files: &[PathBuf],
        given: &[String],
        environment: &Environment,
        ui: &Ui,
    ) -> Result<Self, CommandError> {
        let mut variables = Self::default();
        let own = project
            .into_iter()
            .flat_map(|it| it.env_in(platform::run::EXEC_ENV));
        for (name, value) in own {
            variables.set(name, value.into(), true);
        }
        let of_project = variables.literal.clone();
        for file in files {
            variables.of_file(file, environment)?;
        }
        for it in given {
            let value = it.split_once('=').map(|(_, value)| OsString::from(value));
            variables.add(it, environment, value.is_some())?;
        }
        if let Some(project) = project {
            let values: BTreeMap<_, _> = project.env_in(platform::run::EXEC_ENV).collect();
            for (name, value) in &variables.values {
                let before = values
                    .get(name.as_str())
                    .filter(|_| of_project.contains(name));
                if before.is_some_and(|before| value != before) {
                    ui.aside(format_args!(
                        "`{name}` is not what `{}` says, but what the command line does",
                        project.path.display()
                    ));
                }
            }
        }
        Ok(variables)
    }

    /// Those of a file: a line each, `NAME=VALUE` or `NAME`; empty lines and those that begin with `#`
    /// mean nothing.
    fn of_file(&mut self, file: &Path, environment: &Environment) -> Result<(), CommandError> {
        let shown = file.display();
        let read = fs_err::File::open(environment.directory.join(file))
            .and_then(|it| oci::read_text_at_most(it, MAX_BYTES))
            .context(|| format!("failed to read the variables in `{shown}`"))?;
        let text = files::whole(read, file, MAX_BYTES)?;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            self.add(line, environment, false)
                .map_err(|error| error.note(format!("in `{shown}`, line {}", at + 1)))?;
        }
        Ok(())
    }

    /// Adds `NAME=VALUE`, or `NAME` with the value that it has here.
    fn add(
        &mut self,
        text: &str,
        environment: &Environment,
        is_literal: bool,
    ) -> Result<(), CommandError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (text, None),
        };
        // It becomes the name of a file.
        if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
            return Err(Message(format!("`{name}` is not the name of a variable")).into());
        }
        let value = match value {
            Some(value) => value,
            None => environment
                .variables
                .get(&OsString::from(name))
                .cloned()
                .ok_or_else(|| {
                    CommandError::undecided(Message(format!("the variable `{name}` is not set")))
                        .hint("give it a value: `NAME=VALUE`")
                })?,
        };
        self.set(name, value, is_literal);
        Ok(())
    }

    fn set(&mut self, name: &str, value: OsString, is_literal: bool) {
        if is_literal {
            self.literal.insert(name.to_owned());
        } else {
            self.literal.remove(name);
        }
        self.values.insert(name.to_owned(), value);
    }
}
