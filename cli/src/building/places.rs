//! What can be known of destinations before anything is built: that they cannot take an image is better
//! said now than when all is done.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use oci::{LayoutStore, Location, Reference};
use rustix::fs::{Access, access};

use super::images::find_to_replace;
use super::settings::Settings;
use crate::error::{CommandError, Message};
use crate::images::Lookup;
use crate::ui::Ui;

/// Refuses what lies on this machine and cannot be written.
pub(crate) fn are_writable(destinations: &[Reference]) -> Result<(), CommandError> {
    for destination in destinations {
        let folder = match &destination.location {
            Location::Layout(path) => {
                LayoutStore::refuse_other(path)?;
                LayoutStore::refuse_linked(path).map_err(|error| {
                    CommandError::from(error).hint(format!(
                        "copy what it holds into a layout of its own: `sealpack copy {}:TAG oci:DIR:TAG`",
                        destination.location
                    ))
                })?;
                Some(path.as_path())
            }
            Location::LayoutArchive(path) | Location::DockerArchive { path, .. } => path.parent(),
            _ => None,
        };
        if let Some((at, error)) = folder.and_then(obstacle) {
            return Err(CommandError::undecided(Message(format!(
                "`{destination}` cannot be written: `{}`: {error}",
                at.display()
            )))
            .hint("name a folder that you may write to"));
        }
    }
    Ok(())
}

/// Refuses registries that do not let us write: a credential that is wrong, has run out or may only read.
pub(crate) async fn let_us_write(
    destinations: &[Reference],
    images: &Lookup<'_>,
    ui: &Ui,
) -> Result<(), CommandError> {
    let mut asked = BTreeSet::new();
    for destination in destinations {
        if let Location::Registry(repository) = &destination.location
            && asked.insert(repository.to_string())
        {
            ui.begin("access", repository.to_string());
            let allowed = images.may_write(destination).await;
            allowed.map_err(|it| it.note("nothing was built"))?;
        }
    }
    Ok(())
}

/// Asks each destination that nobody has asked for the image before.
pub(crate) async fn answer(
    settings: &Settings,
    images: &Lookup<'_>,
    ui: &Ui,
) -> Result<(), CommandError> {
    let is_asked = settings.previous_image.is_none() && settings.keeps();
    for destination in settings.destinations.iter().skip(usize::from(is_asked)) {
        find_to_replace(destination, images, ui).await?;
    }
    Ok(())
}

/// Why nothing can be made in `folder`, which need not be there yet: the part of its path that does not
/// allow it.
pub(crate) fn obstacle(folder: &Path) -> Option<(&Path, io::Error)> {
    for at in folder.ancestors() {
        let there = if at.as_os_str().is_empty() {
            Path::new(".")
        } else {
            at
        };
        match fs_err::metadata(there) {
            Ok(found) if found.is_dir() => {
                let error = access(there, Access::WRITE_OK | Access::EXEC_OK).err()?;
                return Some((there, error.into()));
            }
            Ok(_) => return Some((there, io::ErrorKind::NotADirectory.into())),
            // What is not there can be made, if what holds it allows that.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(error) => return Some((there, error)),
        }
    }
    None
}
