//! The detector, and the generator that follows it.

use lifecycle_core::buildpack::ModuleContext;
use lifecycle_core::detect::{self, DetectContext, Detected};
use lifecycle_core::exec::{Cancel, Host, Run};
use lifecycle_core::files;
use lifecycle_core::files::analyzed::Analyzed;
use lifecycle_core::files::order::Order;
use lifecycle_core::files::run::Run as RunImages;
use lifecycle_core::files::system::System;
use lifecycle_core::generate::{self, GenerateContext};
use lifecycle_core::{Level, Log as _};
use oci::spans;
use tracing::info_span;

use super::analyze;
use crate::console::Console;
use crate::experimental::guard;
use crate::failure::{Failure, GENERIC};
use crate::files::read_or_default;
use crate::inputs::Inputs;
use crate::phase::Phase;
use crate::session::temporary_folder;
use crate::telemetry;

/// The detector.
pub(super) fn run(inputs: &Inputs, cancel: &Cancel, console: Console) -> Result<(), Failure> {
    let initialize = |cause: String| Failure::because(GENERIC, "initialize detector", &cause);
    let analyzed: Analyzed =
        read_or_default(&inputs.analyzed, "analyzed", Level::Warn, console).map_err(initialize)?;
    let detected = detect(Phase::Detect, inputs, &analyzed, cancel, console)?;
    if detected.group.group_extensions.is_empty() {
        return Ok(());
    }
    generate(inputs, analyzed, detected, cancel, console)
}

/// Lets extensions say what build and run image shall be; `analyzed.toml` and `plan.toml` change.
fn generate(
    inputs: &Inputs,
    analyzed: Analyzed,
    detected: Detected,
    cancel: &Cancel,
    console: Console,
) -> Result<(), Failure> {
    let initialize = |cause: String| Failure::because(GENERIC, "initialize generator", &cause);
    // Also at a Platform API that has no run.toml.
    let run_images: RunImages =
        read_or_default(&inputs.run, "run", Level::Info, console).map_err(initialize)?;
    // What the analyzer left is read once more, and may be told to be missing once more.
    if analyzed == Analyzed::default() {
        read_or_default::<Analyzed>(&inputs.analyzed, "analyzed", Level::Warn, console)
            .map_err(initialize)?;
    }
    let host = Host {
        user: None,
        cancel: cancel.clone(),
    };
    let modules = modules(inputs, &analyzed, &host);
    let context = GenerateContext {
        modules: &modules,
        extensions: detected.group.group_extensions,
        plan: detected.plan,
        analyzed,
        run_images,
        generated_dir: inputs.generated.clone(),
    };
    let generated = console
        .time("Generator", || {
            spans::inside(&info_span!("generate"), || {
                generate::generate(&context, &console)
            })
        })
        .map_err(|error| Failure {
            code: error.exit_code(),
            text: go::words::chain(&error),
        })?;
    analyze::write(inputs, &generated.analyzed, console)?;
    files::write(&inputs.plan, &generated.plan)
        .map_err(|error| Failure::new(GENERIC, "write plan file", &error))
}

/// What the detector decides; its files are written. Of the creator extensions are not asked to be
/// allowed: it refuses them.
pub(super) fn detect(
    phase: Phase,
    inputs: &Inputs,
    analyzed: &Analyzed,
    cancel: &Cancel,
    console: Console,
) -> Result<Detected, Failure> {
    let initialize = |cause: String| Failure::because(GENERIC, "initialize detector", &cause);
    let order: Order = files::read_required(&inputs.order).map_err(|error| {
        initialize(format!(
            "reading order: failed to read order file: {}",
            go::words::chain(&error)
        ))
    })?;
    let is_guarded = phase == Phase::Detect && !inputs.platform_api.has_stable_extensions();
    let has_extensions = !order.order_extensions.is_empty();
    let system =
        system(inputs, console).map_err(|error| initialize(format!("reading system: {error}")))?;
    let host = Host {
        user: None,
        cancel: cancel.clone(),
    };
    let modules = modules(inputs, analyzed, &host);
    let context = DetectContext {
        modules: &modules,
        order,
        system,
    };
    detect::verify(&context, &console).map_err(|error| Failure {
        code: error.exit_code(),
        text: go::words::chain(&error),
    })?;
    if has_extensions && is_guarded {
        guard("Dockerfiles", &inputs.environment, console)?;
    }
    let detected = console
        .time("Detector", || {
            spans::inside(&info_span!("detect"), || detect::detect(&context, &console))
        })
        .map_err(|error| {
            error.explain(&console);
            Failure {
                code: error.exit_code(),
                text: go::words::chain(&error),
            }
        })?;
    let mut members = detected.group.group.iter();
    if inputs.has_telemetry() && members.any(|it| it.escaped_id() == telemetry::FOLDER) {
        return Err(Failure::because(
            Phase::Detect.failure(),
            "detect",
            "the buildpack `tracing` cannot take part: its folder of layers is that of traces",
        ));
    }
    files::write(&inputs.group, &detected.group)
        .map_err(|error| Failure::new(GENERIC, "write group file", &error))?;
    files::write(&inputs.plan, &detected.plan)
        .map_err(|error| Failure::new(GENERIC, "write plan file", &error))?;
    Ok(detected)
}

/// The buildpacks that are part of each group.
fn system(inputs: &Inputs, console: Console) -> Result<System, String> {
    if !inputs.platform_api.has_system_buildpacks() {
        return Ok(System::default());
    }
    let system = files::read(&inputs.system)
        .map_err(|error| format!("failed to read system file: {}", go::words::chain(&error)))?;
    Ok(system.unwrap_or_else(|| {
        let path = inputs.system.display();
        let text = format!("No system buildpacks found at path \"{path}\"");
        console.line(Level::Debug, &text);
        System::default()
    }))
}

/// What buildpacks are run with.
pub(super) fn modules<'a>(
    inputs: &Inputs,
    analyzed: &Analyzed,
    run: &'a dyn Run,
) -> ModuleContext<'a> {
    let run_image = analyzed.run_image.as_ref();
    ModuleContext {
        platform_api: inputs.platform_api,
        app_dir: inputs.app.clone(),
        buildpacks_dir: inputs.buildpacks.clone(),
        extensions_dir: inputs.extensions.clone(),
        platform_dir: inputs.platform.clone(),
        build_config_dir: inputs.build_config.clone(),
        target: run_image
            .and_then(|it| it.target.clone())
            .unwrap_or_default(),
        os_release: "/etc/os-release".into(),
        exec_env: inputs.exec_env(),
        env: inputs.environment.variables.clone(),
        temp_dir: temporary_folder(&inputs.environment),
        telemetry: telemetry::of_modules(inputs),
        run,
    }
}
