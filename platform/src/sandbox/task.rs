//! What is done in a user namespace, with the files of an image, without a root of its own: only there
//! have they the owners that the image says.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use oci::{ExtractOptions, OverlayXattrs, Owners, Whiteouts, extract};
use serde::{Deserialize, Serialize};

use super::failed::Failed;
use super::spec::{Map, Reply};
use super::{foreign, image, rights};

/// What to do.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Task {
    /// Nothing: whether it can be done at all is what is asked.
    Nothing,
    /// Unpack what comes after this into a folder.
    Unpack {
        /// The folder, which is there.
        folder: OsString,
        /// What it has to be, uncompressed.
        diff_id: String,
        /// Whether the folder has the layers below, and gets what this one changes; else it is a layer by
        /// itself, as overlayfs wants it.
        is_applied: bool,
    },
    /// Register an interpreter for programs of an architecture, as a sandbox does; for as long as this
    /// process lives.
    Register {
        /// The interpreter.
        file: OsString,
        /// For which architecture.
        architecture: String,
    },
    /// Remove all that is in a folder.
    Empty {
        /// The folder.
        folder: OsString,
    },
}

/// What was done.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Done {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) devices: u64,
    pub(crate) implied: Vec<OsString>,
}

/// Does it; `data` is what comes after the task.
pub(super) fn run(task: &Task, map: Map, data: impl Read) -> Result<Reply, Failed> {
    if let Task::Unpack { folder, .. } | Task::Empty { folder } = task {
        // Whoever runs us can get there, which the root of the namespace perhaps cannot.
        let step = format!("open `{}`", Path::new(folder).display());
        rustix::process::chdir(folder).map_err(Failed::new(step))?;
    }
    let owners = match map {
        Map::Given => {
            rights::become_root()?;
            Owners::Keep
        }
        Map::Real => Owners::Keep,
        Map::One { .. } => Owners::Drop,
    };
    let done = match task {
        Task::Nothing => Ok(Done::default()),
        Task::Register { file, architecture } => {
            let file = image::open(Path::new(file))?;
            // Nothing is run by it: that it can be registered is what is asked.
            foreign::register(&foreign::Opened::new(file, architecture)).map(drop)?;
            Ok(Done::default())
        }
        Task::Unpack {
            diff_id,
            is_applied,
            ..
        } => {
            let whiteouts = if *is_applied {
                Whiteouts::Apply
            } else {
                Whiteouts::Overlay(OverlayXattrs::User)
            };
            unpack(diff_id, owners, whiteouts, data)
        }
        Task::Empty { .. } => empty(Path::new(".")).map_err(|it| it.to_string()),
    };
    Ok(match done {
        Ok(done) => Reply::Done { done },
        Err(problem) => Reply::NotDone { problem },
    })
}

fn unpack(
    diff_id: &str,
    owners: Owners,
    whiteouts: Whiteouts,
    mut data: impl Read,
) -> Result<Done, String> {
    let diff_id = diff_id.parse().map(oci::DiffId);
    let diff_id = diff_id.map_err(|_bad| "its diff ID is malformed".to_owned())?;
    let options = ExtractOptions {
        owners,
        whiteouts,
        diff_id: Some(diff_id),
        ..ExtractOptions::default()
    };
    let unpacked = extract(&mut data, Path::new("."), &options);
    // Who sends it is not to fail, but to hear why we do.
    io::copy(&mut data, &mut io::sink()).unwrap_or_default();
    let summary = unpacked.map_err(|error| go::words::chain(&error))?;
    Ok(Done {
        entries: summary.entries,
        bytes: summary.bytes,
        devices: summary.devices,
        implied: summary.implied.into_iter().map(Into::into).collect(),
    })
}

/// Removes all that is in `folder`.
fn empty(folder: &Path) -> io::Result<Done> {
    let mut done = Done::default();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
        done.entries += 1;
    }
    Ok(done)
}
