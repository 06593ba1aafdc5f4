//! The app's `project.toml`, and what of it the command line overrules.

use std::path::{Path, PathBuf};

use oci::{Location, Reference};
use platform::project::{FILE, Files, Project};

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

/// Says what this build writes into the app's folder, where the next one takes it for source.
pub(super) fn warn_of_products(
    (app, files): (&Path, &Files),
    args: &Build,
    destinations: &[Reference],
    environment: &Environment,
    ui: &Ui,
) {
    let written = destinations.iter().filter_map(|it| match &it.location {
        Location::Layout(path)
        | Location::LayoutArchive(path)
        | Location::DockerArchive { path, .. } => Some(path),
        Location::Registry(_) | Location::DockerDaemon(_) => None,
    });
    let folders = [&args.links, &args.staging, &args.cache, &args.root_store];
    for path in written.chain(folders.into_iter().flatten()) {
        let path = environment.directory.join(path);
        let Some(inner) = within(app, &path) else {
            continue;
        };
        let bytes = inner.as_os_str().as_encoded_bytes();
        let is_source = match files {
            Files::All => true,
            Files::Include(patterns) => patterns.mean(bytes, path.is_dir()),
            Files::Exclude(patterns) => !patterns.mean(bytes, true),
        };
        if is_source {
            ui.warn(format_args!(
                "`{}` lies in the app's folder: the next build takes it for source",
                inner.display()
            ));
            ui.hint(&format!(
                "name a place outside, or leave it out: `exclude = [\"/{}\"]` in `{FILE}`",
                inner.display()
            ));
        }
    }
}

/// The path of `path` in `folder`; nothing, if it is elsewhere, or the folder itself.
fn within(folder: &Path, path: &Path) -> Option<PathBuf> {
    // What is not there yet lies where its nearest folder is.
    let mut there = path.to_owned();
    let mut missing = Vec::new();
    let real = loop {
        match there.canonicalize() {
            Ok(real) => break real,
            Err(_) => missing.push(there.file_name()?.to_owned()),
        }
        there = there.parent()?.to_owned();
    };
    let path: PathBuf = std::iter::once(real.into_os_string())
        .chain(missing.into_iter().rev())
        .collect();
    let inner = path.strip_prefix(folder.canonicalize().ok()?).ok()?;
    (inner != Path::new("")).then(|| inner.to_owned())
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
