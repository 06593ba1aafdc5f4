use oci::{ExtractOptions, Image, Limits, Platform, extract_layer};

use crate::args::Unpack;
use crate::commands::copy::size;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::images::Images;
use crate::ui::{Tone, Ui};

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
    for (layer, diff_id) in image.layers() {
        ui.begin("unpack", format!("{} {}", size(layer.size), layer.digest));
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
    }
    ui.line(format_args!(
        "{} {} into {}",
        ui.paint(Tone::Good, "unpacked"),
        found.reference,
        args.directory.display()
    ));
    Ok(())
}
