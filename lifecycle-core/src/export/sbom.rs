//! The SBOMs of lifecycle and launcher, which come with them.

use std::fs;
use std::io;
use std::path::Path;

use go::words::PathError;

use super::{ExportContext, ExportError};
use crate::copying;
use crate::{Level, Log};

const SUFFIXES: [&str; 3] = ["sbom.cdx.json", "sbom.spdx.json", "sbom.syft.json"];

/// Where the SBOMs of lifecycle and launcher are.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the platform says which of these it is"
)]
pub enum OwnSboms<'a> {
    /// `/cnb/lifecycle`, where a builder has both. What is missing is said.
    Builder,
    /// The launcher's are all SBOMs in this folder, the lifecycle's where a builder has them:
    /// `-launcher-sbom`.
    Named(&'a Path),
    /// The launcher's are in this folder, named as in a builder; the lifecycle's are not wanted.
    Launcher(&'a Path),
}

impl OwnSboms<'_> {
    /// Where a builder has them.
    pub const BUILDER: &'static str = "/cnb/lifecycle";
}

/// Copies them to where the SBOMs of buildpacks are: the launcher's goes into the image.
pub(super) fn copy(context: &ExportContext<'_>, log: &dyn Log) -> Result<(), ExportError> {
    let sboms = context.layers_dir.join("sbom");
    let lifecycle = sboms.join("build").join("buildpacksio_lifecycle");
    let launcher = sboms
        .join("launch")
        .join("buildpacksio_lifecycle")
        .join("launcher");
    let builder = Path::new(OwnSboms::BUILDER);
    match context.own_sboms {
        OwnSboms::Builder => {
            copy_of("lifecycle", builder, &lifecycle, Some(log))?;
            copy_of("launcher", builder, &launcher, Some(log))
        }
        OwnSboms::Named(from) => {
            copy_of("lifecycle", builder, &lifecycle, Some(log))?;
            copy_all(from, &launcher, log)
        }
        OwnSboms::Launcher(from) => copy_of("launcher", from, &launcher, None),
    }
}

/// Copies the SBOMs of one component, named as in a builder.
fn copy_of(
    component: &str,
    from: &Path,
    to: &Path,
    log: Option<&dyn Log>,
) -> Result<(), ExportError> {
    let say = |level, text: &str| log.iter().for_each(|it| it.line(level, text));
    for suffix in SUFFIXES {
        let name = format!("{component}.{suffix}");
        let path = from.join(&name);
        match fs::metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = format!("Did not find SBOM {name} in {}", from.display());
                say(Level::Warn, &text);
                continue;
            }
            Err(error) => return Err(failed("stat", &path, &error)),
        }
        go::files::create_dir_all(to).map_err(ExportError::OwnSbom)?;
        let to = to.join(suffix);
        say(
            Level::Debug,
            &format!("Copying SBOM {name} to {}", to.display()),
        );
        copy_one(&path, &to)?;
    }
    Ok(())
}

/// Copies all that is named as an SBOM, under the names that they have.
fn copy_all(from: &Path, to: &Path, log: &dyn Log) -> Result<(), ExportError> {
    let unlisted = |error: io::Error| {
        let text = format!("Failed to list contents of directory {}", from.display());
        log.line(Level::Warn, &text);
        failed("open", from, &error)
    };
    let entries = fs::read_dir(from).map_err(unlisted)?;
    let entries: Vec<_> = entries.collect::<io::Result<_>>().map_err(unlisted)?;
    let mut names = Vec::new();
    for entry in entries {
        let is_folder = entry.file_type().is_ok_and(|it| it.is_dir());
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if !is_folder && SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
            names.push(name);
        }
    }
    names.sort_unstable();
    go::files::create_dir_all(to).map_err(ExportError::OwnSbom)?;
    for name in names {
        let path = from.join(&name);
        copy_one(&path, &to.join(&name)).inspect_err(|_| {
            let (from, to) = (path.display(), to.join(&name));
            let text = format!("failed while copying SBOM from {from} to {}", to.display());
            log.line(Level::Warn, &text);
        })?;
    }
    Ok(())
}

/// Copies one.
fn copy_one(from: &Path, to: &Path) -> Result<(), ExportError> {
    copying::copy(from, to).map_err(ExportError::OwnSbom)
}

fn failed(operation: &'static str, path: &Path, error: &io::Error) -> ExportError {
    ExportError::OwnSbom(PathError::new(operation, path, error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Log for Lines {
        fn line(&self, _: Level, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }

        fn output(&self, _: &[u8]) {}
    }

    #[test]
    fn sboms_of_a_builder_are_named_by_their_format_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path(), folder.path().join("to"));
        fs::write(from.join("launcher.sbom.cdx.json"), "1").unwrap();
        fs::write(from.join("lifecycle.sbom.cdx.json"), "2").unwrap();
        let lines = Lines::default();
        copy_of("launcher", from, &to, Some(&lines)).unwrap();
        assert_eq!(fs::read(to.join("sbom.cdx.json")).unwrap(), b"1");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
        let lines = lines.0.into_inner().unwrap();
        let missing = format!(
            "Did not find SBOM launcher.sbom.spdx.json in {}",
            from.display()
        );
        assert_eq!(lines.get(1), Some(&missing), "{lines:?}");
    }

    #[test]
    fn sboms_in_a_folder_that_was_named_keep_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("a.sbom.cdx.json")).unwrap();
        fs::write(from.join("b.sbom.spdx.json"), "1").unwrap();
        fs::write(from.join("c.json"), "2").unwrap();
        symlink("b.sbom.spdx.json", from.join("d.sbom.syft.json")).unwrap();
        let lines = Lines::default();
        copy_all(&from, &to, &lines).unwrap();
        let mut names: Vec<_> = fs::read_dir(&to)
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["b.sbom.spdx.json", "d.sbom.syft.json"]);
        assert!(to.join("d.sbom.syft.json").is_symlink());
        let error = copy_all(&from, &to, &lines).unwrap_err();
        let expected = format!(
            "failed to copy buildpacksio SBOMs: symlink b.sbom.spdx.json {}: file exists",
            to.join("d.sbom.syft.json").display()
        );
        assert_eq!(error.to_string(), expected);
        let missing = copy_all(&from.join("missing"), &to, &lines).unwrap_err();
        assert!(
            missing.to_string().contains("from/missing: no such"),
            "{missing}"
        );
    }
}
