//! `sealpack unpack`: the layers of an image as a folder of files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use oci::{ExtractOptions, Image, Limits, Platform, Reference, Store, extract_layer_telling};
use serde::Serialize;

use crate::args::{Access, Printed};
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::images::Lookup;
use crate::typed;
use crate::ui::{Tone, Ui};

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  sealpack unpack oci:out:app root && CNB_PLATFORM_API=0.15 chroot root /cnb/process/web"
)]
pub(crate) struct Unpack {
    /// The image.
    #[arg(value_parser = typed::image)]
    pub(crate) image: Reference,

    /// The folder; made if it is not there, and empty if it is.
    pub(crate) directory: PathBuf,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// What `sealpack unpack --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
struct Report {
    image: String,
    directory: PathBuf,
    layers: usize,
}

/// Unpacks the layers of an image, lowest first.
pub(crate) async fn run(
    args: Unpack,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let images = Lookup::new(&args.access, environment, ui);
    let found = images.find(&args.image).await?;
    let image = Image::read(
        &*found.store,
        &found.descriptor,
        &Platform::host(),
        &Limits::default(),
    )
    .await
    .context(|| format!("`{}` is not an image that can be unpacked", found.reference))?;
    let tried = || format!("failed to make `{}`", args.directory.display());
    let is_new = !args.directory.exists();
    fs_err::create_dir_all(&args.directory).context(tried)?;
    if fs_err::read_dir(&args.directory)
        .context(tried)?
        .next()
        .is_some()
    {
        return Err(Message(format!("`{}` is not empty", args.directory.display())).into());
    }
    let half = Half {
        folder: &args.directory,
        is_new,
        is_whole: false,
    };
    let layers = layers(&*found.store, &image, &args.directory, ui).await?;
    half.keep();
    let report = Report {
        image: found.reference.to_string(),
        directory: args.directory,
        layers,
    };
    ui.result(args.printed.output, &report, |ui, report| {
        ui.line(format_args!(
            "{} {} into {}",
            ui.paint(Tone::Good, "unpacked"),
            report.image,
            report.directory.display()
        ));
    })
}

/// Half a root: of no use, and in the way of the next try. Gone when it is dropped.
struct Half<'a> {
    folder: &'a Path,
    /// Whether it was not there before.
    is_new: bool,
    is_whole: bool,
}

impl Half<'_> {
    /// All of it is there.
    fn keep(mut self) {
        self.is_whole = true;
    }
}

impl Drop for Half<'_> {
    fn drop(&mut self) {
        if self.is_whole {
            return;
        }
        clear(self.folder);
        if self.is_new {
            fs_err::remove_dir(self.folder).unwrap_or_default();
        }
    }
}

/// Unpacks all layers; how many.
async fn layers(
    store: &dyn Store,
    image: &Image,
    folder: &Path,
    ui: &Ui,
) -> Result<usize, CommandError> {
    let sizes = image.layers().map(|(layer, _)| layer.size);
    ui.expect("unpack", sizes.fold(0, u64::saturating_add));
    let mut count = 0;
    for (layer, diff_id) in image.layers() {
        let options = ExtractOptions::default();
        let moved = |bytes| ui.moved(bytes);
        let summary = extract_layer_telling(store, layer, folder, &options, &moved)
            .await
            .context(|| format!("failed to unpack layer {}", layer.digest))?;
        if summary.diff_id != *diff_id {
            return Err(Message(format!(
                "layer {} is not the one that the config names: expected {diff_id}, got {}",
                layer.digest, summary.diff_id
            ))
            .into());
        }
        count += 1;
    }
    Ok(count)
}

/// Empties a folder that was empty before, whatever modes there are in it. What cannot be removed stays.
fn clear(folder: &Path) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                let private = std::fs::Permissions::from_mode(0o700);
                fs_err::set_permissions(entry.path(), private).unwrap_or_default();
                folders.push(entry.path());
            }
        }
    }
    for entry in fs_err::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|it| it.is_dir());
        let removed = if is_folder {
            fs_err::remove_dir_all(path)
        } else {
            fs_err::remove_file(path)
        };
        removed.unwrap_or_default();
    }
}
