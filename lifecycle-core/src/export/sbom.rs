//! The SBOMs of lifecycle and launcher, which come with them.

use std::path::Path;

use super::{ExportContext, ExportError};
use crate::files::{FileError, OsError, write_bytes};
use crate::{Level, Log};

/// Where they are unless something else is said.
const DEFAULT_DIR: &str = "/cnb/lifecycle";
const SUFFIXES: [&str; 3] = ["sbom.cdx.json", "sbom.spdx.json", "sbom.syft.json"];

/// Copies them to where the SBOMs of buildpacks are: the launcher's goes into the image.
pub(super) fn copy(context: &ExportContext<'_>, log: &dyn Log) -> Result<(), ExportError> {
    let sboms = context.layers_dir.join("sbom");
    let lifecycle = sboms.join("build").join("buildpacksio_lifecycle");
    let launcher = sboms
        .join("launch")
        .join("buildpacksio_lifecycle")
        .join("launcher");
    let from = context.launcher_sbom_dir;
    if from != Path::new(DEFAULT_DIR) {
        let Ok(entries) = std::fs::read_dir(from) else {
            return Ok(());
        };
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| SUFFIXES.iter().any(|suffix| name.ends_with(suffix)))
            .collect();
        names.sort_unstable();
        for name in names {
            copy_one(from, &name, &launcher.join(&name), log)?;
        }
        return Ok(());
    }
    for (component, to) in [("lifecycle", &lifecycle), ("launcher", &launcher)] {
        for suffix in SUFFIXES {
            copy_one(
                from,
                &format!("{component}.{suffix}"),
                &to.join(suffix),
                log,
            )?;
        }
    }
    Ok(())
}

fn copy_one(from: &Path, name: &str, to: &Path, log: &dyn Log) -> Result<(), ExportError> {
    let path = from.join(name);
    if !path.exists() {
        log.line(
            Level::Warn,
            &format!("Did not find SBOM {name} in {}", from.display()),
        );
        return Ok(());
    }
    log.line(
        Level::Debug,
        &format!("Copying SBOM {name} to {}", to.display()),
    );
    let bytes = std::fs::read(&path).map_err(|source| {
        ExportError::Sbom(FileError::Read {
            path,
            source: OsError(source),
        })
    })?;
    write_bytes(to, &bytes).map_err(ExportError::Sbom)
}
