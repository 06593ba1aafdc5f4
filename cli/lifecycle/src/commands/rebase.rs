//! The rebaser.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use lifecycle_core::files;
use lifecycle_core::rebase::{self, RebaseContext};

use crate::console::Console;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::phase::Phase;
use crate::session::Session;

/// The rebaser. The image to rebase is the previous one, if one is named.
pub(super) fn run(inputs: &Inputs, session: &Session, console: Console) -> Result<(), Failure> {
    let names = inputs.names();
    let named = |name: &str| !name.is_empty();
    let previous = Some(inputs.previous_image.as_str()).filter(|it| named(it));
    let context = RebaseContext {
        api: inputs.platform_api,
        images: session.images(),
        app: previous.unwrap_or(&inputs.image),
        names: &names,
        run_image: Some(inputs.run_image.as_str()).filter(|it| named(it)),
        force: inputs.force,
        any_tag: false,
        workers: available_parallelism().unwrap_or(NonZeroUsize::MIN),
        limits: &session.limits,
    };
    let rebased = console
        .time("Rebaser", || {
            session.wait(rebase::rebase(&context, &console))
        })
        .map_err(|error| Failure::new(error.exit_code(), error.action(), &error))?;
    let mut report = rebased.file();
    if inputs.report_run_image {
        report = report.with_run_image(&rebased.run_image_metadata);
    }
    files::write(&inputs.report, &report).map_err(|error| {
        let cause = format!("failed to write report file: {}", go::words::chain(&error));
        Failure::because(Phase::Rebase.failure(), "write rebase report", &cause)
    })
}
