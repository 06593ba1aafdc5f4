//! Manual pages, made of what `--help` says.

use std::path::Path;

use clap::CommandFactory as _;

use crate::args::Cli;
use crate::error::{CommandError, Context as _};
use crate::ui::{Tone, Ui};

/// Writes `sealpack.1`, `sealpack-build.1` and so on into `folder`.
pub(crate) fn run(folder: &Path, ui: &Ui) -> Result<(), CommandError> {
    let tried = || format!("failed to write manual pages into `{}`", folder.display());
    fs_err::create_dir_all(folder).context(tried)?;
    let mut root = Cli::command();
    root.build();
    let count = page(&root, "sealpack", folder).context(tried)?;
    ui.line(format_args!(
        "{} {count} pages in {}",
        ui.paint(Tone::Good, "wrote"),
        folder.display()
    ));
    Ok(())
}

/// Writes the page of `command` and of those below it; how many.
fn page(command: &clap::Command, name: &str, folder: &Path) -> std::io::Result<usize> {
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(command.clone().display_name(name.to_owned()));
    page.render(&mut text)?;
    // The only thing that stands behind our arguments.
    let text = String::from_utf8_lossy(&text).replace("\n.SH EXTRA\n", "\n.SH EXAMPLES\n");
    fs_err::write(folder.join(format!("{name}.1")), text)?;
    let mut count = 1;
    for inner in command.get_subcommands() {
        if !inner.is_hide_set() && inner.get_name() != "help" {
            count += self::page(inner, &format!("{name}-{}", inner.get_name()), folder)?;
        }
    }
    Ok(count)
}
