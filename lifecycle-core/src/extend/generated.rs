//! What extensions generated: a Dockerfile, its arguments, its context.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::copy::Context;
use super::{ExtendContext, ExtendError};
use crate::dockerfile::ignore::{self, Ignore};
use crate::dockerfile::{self, Dockerfile, DockerfileError};
use crate::files;
use crate::files::extend_config::{self, ExtendConfig};
use crate::files::group::GroupElement;

/// A Dockerfile of an extension.
pub(super) struct Generated {
    pub(super) id: String,
    pub(super) path: PathBuf,
    pub(super) dockerfile: Dockerfile,
    pub(super) arguments: Vec<(String, String)>,
    pub(super) context: Context,
}

/// What `extension` generated for this kind of image, if anything.
pub(super) fn read(
    context: &ExtendContext<'_>,
    extension: &GroupElement,
) -> Result<Option<Generated>, ExtendError> {
    let kind = context.kind.name();
    let escaped = extension.escaped_id();
    let (folder, file, contexts) = if context.api.has_stable_extensions() {
        let folder = context.generated_dir.join(escaped);
        let contexts = vec![
            folder.join(format!("context.{kind}")),
            folder.join("context"),
        ];
        (folder, format!("{kind}.Dockerfile"), contexts)
    } else {
        let folder = context.generated_dir.join(kind).join(escaped);
        (folder, "Dockerfile".to_owned(), Vec::new())
    };
    let path = folder.join(file);
    let limit = dockerfile::MAX_BYTES as u64;
    let Some(text) = text_of(&path, limit)? else {
        return Ok(None);
    };
    let parsed = match Dockerfile::parse(&text) {
        Ok(parsed) if parsed.stages.is_empty() => Err(DockerfileError::NoStage),
        parsed => parsed,
    };
    let dockerfile = parsed.map_err(|source| ExtendError::Dockerfile {
        path: path.clone(),
        source,
    })?;
    let config: Option<ExtendConfig> = files::read(&folder.join(extend_config::NAME))
        .map_err(|source| ExtendError::Config { source })?;
    let config = config.unwrap_or_default();
    let args = match context.kind {
        super::ExtendKind::Build => config.build.args,
        super::ExtendKind::Run => config.run.args,
    };
    let used = contexts.into_iter().find(|it| it.is_dir());
    let used = used.unwrap_or_else(|| context.app_dir.to_owned());
    // The one beside the Dockerfile wins.
    let mut beside = path.clone().into_os_string();
    beside.push(".dockerignore");
    let mut patterns = Ignore::default();
    let files: [PathBuf; 2] = [beside.into(), used.join(".dockerignore")];
    for file in files {
        if let Some(text) = text_of(&file, ignore::MAX_BYTES as u64)? {
            patterns = Ignore::parse(&text).map_err(|source| ExtendError::Ignore {
                path: file.clone(),
                source,
            })?;
            break;
        }
    }
    Ok(Some(Generated {
        id: extension.id.clone(),
        path,
        dockerfile,
        arguments: args.into_iter().map(|it| (it.name, it.value)).collect(),
        context: Context {
            folder: used,
            ignore: patterns,
        },
    }))
}

/// The text of a file, if it is there.
fn text_of(path: &Path, limit: u64) -> Result<Option<String>, ExtendError> {
    let read = || -> io::Result<Option<String>> {
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = oci::read_text_at_most(file, limit)?;
        text.map(Some)
            .ok_or_else(|| io::ErrorKind::FileTooLarge.into())
    };
    read().map_err(|source| ExtendError::Read {
        path: path.to_owned(),
        source,
    })
}
