//! What is done with the inputs of a phase before anything else, in upstream's order: of several
//! mistakes the first is told, so the order decides which.

use lifecycle_core::analyze::{self, AnalyzeError};
use lifecycle_core::files::analyzed::Analyzed;
use lifecycle_core::images::registry;
use lifecycle_core::{Level, Log as _};

use crate::commands::offered;
use crate::console::Console;
use crate::failure::{Failure, INVALID_ARGUMENTS};
use crate::files::read_or_default;
use crate::inputs::Inputs;
use crate::phase::Phase;
use crate::session::Session;

fn invalid(cause: &str) -> Failure {
    Failure::because(INVALID_ARGUMENTS, "resolve inputs", cause)
}

/// The analyzer and the creator: names the image that is replaced, and the run image. Returns the
/// session by which it was chosen, if one had to be chosen.
///
/// # Errors
///
/// With [`INVALID_ARGUMENTS`].
pub(crate) fn analyze(
    phase: Phase,
    inputs: &mut Inputs,
    console: Console,
) -> Result<Option<Session>, Failure> {
    require_image(inputs)?;
    if inputs.previous_image.is_empty() {
        inputs.previous_image.clone_from(&inputs.image);
    }
    let session = if inputs.run_image.is_empty() {
        Some(choose_run_image(inputs, console)?)
    } else {
        None
    };
    if phase == Phase::Create {
        check_cache(inputs, console);
    }
    check_launch_cache(inputs, console);
    validate_names(inputs)?;
    if inputs.parallel && inputs.cache_image.is_empty() && inputs.cache_dir.as_os_str().is_empty() {
        console.line(
            Level::Warn,
            "Parallel export has been enabled, but it has not taken effect because no cache has been specified.",
        );
    }
    Ok(session)
}

/// The exporter: the run image is the analyzer's. Returns what the analyzer left.
///
/// # Errors
///
/// With [`INVALID_ARGUMENTS`].
pub(crate) fn export(inputs: &mut Inputs, console: Console) -> Result<Analyzed, Failure> {
    require_image(inputs)?;
    let of_environment = inputs.environment.text("CNB_RUN_IMAGE").unwrap_or_default();
    if !inputs.run_image.is_empty() && inputs.run_image != of_environment {
        return Err(invalid("-run-image is unsupported"));
    }
    if !inputs.deprecated_run_image.is_empty() {
        return Err(invalid("-image is unsupported"));
    }
    let analyzed: Analyzed = read_or_default(&inputs.analyzed, "analyzed", Level::Warn, console)
        .map_err(|cause| invalid(&cause))?;
    let run_image = analyzed.run_image.as_ref();
    inputs.run_image = run_image.map_or_else(String::new, |it| it.reference.clone());
    if inputs.run_image.is_empty() {
        return Err(invalid("run image not found in analyzed metadata"));
    }
    check_cache(inputs, console);
    check_launch_cache(inputs, console);
    validate_names(inputs)?;
    // Its credential is looked up with the others, while that can be done.
    if let (false, Some(previous)) = (inputs.daemon, analyzed.previous_image()) {
        previous.clone_into(&mut inputs.previous_image);
    }
    Ok(analyzed)
}

/// The rebaser.
///
/// # Errors
///
/// With [`INVALID_ARGUMENTS`].
pub(crate) fn rebase(inputs: &mut Inputs) -> Result<(), Failure> {
    require_image(inputs)?;
    if !inputs.deprecated_run_image.is_empty() {
        let of_environment = inputs.environment.text("CNB_RUN_IMAGE").unwrap_or_default();
        if inputs.run_image != of_environment {
            let cause = "supply only one of -run-image or (deprecated) -image";
            return Err(invalid(cause));
        }
        inputs.run_image.clone_from(&inputs.deprecated_run_image);
    }
    validate_names(inputs)
}

/// Warns where neither a cache folder nor a cache image is named.
pub(crate) fn check_cache(inputs: &Inputs, console: Console) {
    if inputs.cache_image.is_empty() && inputs.cache_dir.as_os_str().is_empty() {
        console.line(
            Level::Warn,
            "No cached data will be used, no cache specified.",
        );
    }
}

fn require_image(inputs: &Inputs) -> Result<(), Failure> {
    if inputs.image.is_empty() {
        return Err(invalid("image argument is required"));
    }
    Ok(())
}

/// The best run image that the platform offers.
fn choose_run_image(inputs: &mut Inputs, console: Console) -> Result<Session, Failure> {
    check_name(&inputs.image)?;
    let offered = offered(inputs, console).map_err(|cause| invalid(&cause))?;
    let failed = |error: AnalyzeError| Failure::new(error.exit_code(), error.action(), &error);
    analyze::check_offered(&offered).map_err(failed)?;
    let session = Session::open(inputs, |cause| {
        invalid(&format!("unable to create keychain: {cause}"))
    })?;
    let names = offered.images.first().into_iter();
    session.look_up(names.flat_map(|it| {
        let mirrors = it.mirrors.iter().map(String::as_str);
        std::iter::once(it.image.as_str()).chain(mirrors)
    }));
    let choosing = analyze::choose_run_image(&offered, &inputs.image, async |name| {
        session.may_read(inputs, name).await
    });
    inputs.run_image = session.wait(choosing).map_err(failed)?;
    Ok(session)
}

fn check_launch_cache(inputs: &mut Inputs, console: Console) {
    if !inputs.daemon && !inputs.launch_cache.as_os_str().is_empty() {
        console.line(
            Level::Warn,
            "Ignoring -launch-cache, only intended for use with -daemon",
        );
    }
    let is_cache = inputs.launch_cache == inputs.cache_dir;
    if inputs.daemon && is_cache && !inputs.cache_dir.as_os_str().is_empty() {
        console.line(
            Level::Warn,
            "Ignoring -launch-cache, it is the folder of -cache-dir",
        );
        inputs.launch_cache = std::path::PathBuf::new();
    }
}

/// The registry of an image's name, which has to be a name.
fn check_name(name: &str) -> Result<String, Failure> {
    registry(name).ok_or_else(|| invalid(&format!("could not parse reference: {name}")))
}

/// All names are names, and what is written goes to one registry. Empty ones are passed over.
fn validate_names(inputs: &Inputs) -> Result<(), Failure> {
    let given = |it: &&String| !it.is_empty();
    let written = || {
        std::iter::once(&inputs.image)
            .chain(&inputs.tags)
            .filter(given)
    };
    let others = [
        &inputs.previous_image,
        &inputs.build_image,
        &inputs.run_image,
        &inputs.deprecated_run_image,
        &inputs.cache_image,
    ];
    for name in written().chain(others.into_iter().filter(given)) {
        check_name(name)?;
    }
    if inputs.daemon {
        return Ok(());
    }
    let first = registry(&inputs.image);
    if written().any(|name| registry(name) != first) {
        return Err(invalid("writing to multiple registries is unsupported"));
    }
    Ok(())
}
