use std::path::PathBuf;

use clap::Args;
use oci::{ExtractOptions, Image, Limits, Platform, Reference, extract_layer};
use serde::Serialize;

use crate::args::{Access, Printed};
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::images::Images;
use crate::ui::{Tone, Ui};

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  sealpack unpack oci:out:app root && CNB_PLATFORM_API=0.15 chroot root /cnb/process/web"
)]
pub(crate) struct Unpack {
    /// The image.
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
    let images = Images::new(&args.access, environment, ui);
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
    fs_err::create_dir_all(&args.directory).context(tried)?;
    if fs_err::read_dir(&args.directory)
        .context(tried)?
        .next()
        .is_some()
    {
        return Err(Message(format!("`{}` is not empty", args.directory.display())).into());
    }
    let sizes = image.layers().map(|(layer, _)| layer.size);
    ui.expect("unpack", sizes.fold(0, u64::saturating_add));
    let mut layers = 0;
    for (layer, diff_id) in image.layers() {
        let summary = extract_layer(
            &*found.store,
            layer,
            &args.directory,
            &ExtractOptions::default(),
        )
        .await
        .context(|| format!("failed to unpack layer {}", layer.digest))?;
        if summary.diff_id != *diff_id {
            return Err(Message(format!(
                "layer {} is not the one that the config names: expected {diff_id}, got {}",
                layer.digest, summary.diff_id
            ))
            .into());
        }
        ui.moved(layer.size);
        layers += 1;
    }
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
