//! The rebaser.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use lifecycle_core::files;
use lifecycle_core::rebase::{self, App, RebaseContext, RebaseError};
use oci::spans;
use tracing::Span;

use crate::console::Console;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::phase::Phase;
use crate::session::Session;

/// What the rebaser needs; the image to rebase is the previous one, if one is named.
fn context<'a>(inputs: &'a Inputs, names: &'a [String], session: &'a Session) -> RebaseContext<'a> {
    let named = |name: &&str| !name.is_empty();
    let previous = Some(inputs.previous_image.as_str()).filter(named);
    RebaseContext {
        api: inputs.platform_api,
        images: session.images(),
        app: previous.unwrap_or(&inputs.image),
        names,
        run_image: Some(inputs.run_image.as_str()).filter(named),
        force: inputs.force,
        any_tag: false,
        workers: available_parallelism().unwrap_or(NonZeroUsize::MIN),
        limits: &session.limits,
    }
}

fn failed(error: &RebaseError) -> Failure {
    Failure::new(error.exit_code(), error.action(), error)
}

/// Opens the image to rebase, and finds the run image.
pub(super) fn open(inputs: &Inputs, session: &Session, span: &Span) -> Result<App, Failure> {
    let names = inputs.names();
    let context = context(inputs, &names, session);
    let opening = rebase::open_app(&context, async |name| session.may_read(inputs, name).await);
    session
        .wait(spans::within(span.clone(), opening))
        .map_err(|error| failed(&error))
}

/// The rebaser.
pub(super) fn run(
    inputs: &Inputs,
    app: App,
    session: &Session,
    span: &Span,
    console: Console,
) -> Result<(), Failure> {
    let names = inputs.names();
    let context = context(inputs, &names, session);
    let opening = rebase::open_base(&context, &app, &console);
    let base = session.wait(spans::within(span.clone(), opening));
    let base = base.map_err(|error| failed(&error))?;
    let rebased = console
        .time("Rebaser", || {
            let rebasing = rebase::rebase(&context, app, base, &console);
            session.wait(spans::within(span.clone(), rebasing))
        })
        .map_err(|error| failed(&error))?;
    let mut report = rebased.file();
    if inputs.report_run_image {
        report = report.with_run_image(&rebased.run_image_metadata);
    }
    files::write(&inputs.report, &report).map_err(|error| {
        let cause = format!("failed to write report file: {}", go::words::chain(&error));
        Failure::because(Phase::Rebase.failure(), "write rebase report", &cause)
    })
}
