//! The app's `project.toml`, and what of it the command line overrules.

use std::path::Path;

use platform::project::{FILE, Project};

use super::args::Build;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _};
use crate::ui::Ui;

/// Reads the file that was named, else the one in the app's folder, if there is one.
pub(super) fn load(
    args: &Build,
    app: &Path,
    environment: &Environment,
    ui: &Ui,
) -> Result<Option<Project>, CommandError> {
    let path = match &args.descriptor {
        Some(path) => environment.directory.join(path),
        None => app.join(FILE),
    };
    // A link that leads nowhere is there, and wrong.
    if args.descriptor.is_none() && fs_err::symlink_metadata(&path).is_err() {
        return Ok(None);
    }
    let project = Project::load(&path)
        .context(|| "what the app says of its build cannot be followed".to_owned())?;
    for warning in &project.warnings {
        let (path, line) = (project.path.display(), warning.line);
        ui.warn(format_args!("`{path}`, line {line}: {}", warning.text));
    }
    Ok(Some(project))
}

/// The builder that `project` asks for, if the command line names none: a file beside it, or an image.
pub(super) fn builder(args: &Build, project: Option<&Project>, ui: &Ui) -> Option<String> {
    let project = project?;
    let wanted = project.builder.as_deref()?;
    if let Some(named) = &args.builder {
        if named != wanted {
            ui.aside(format_args!(
                "the builder is not `{wanted}`, as `{}` says, but `{named}`",
                project.path.display()
            ));
        }
        return None;
    }
    let beside = project.path.parent().unwrap_or(Path::new(".")).join(wanted);
    let is_file = beside.is_file() || beside.extension().is_some_and(|it| it == "toml");
    Some(match beside.to_str().filter(|_| is_file) {
        Some(path) => path.to_owned(),
        None => wanted.to_owned(),
    })
}
