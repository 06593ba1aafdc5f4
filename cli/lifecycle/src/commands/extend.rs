//! The extender, and where it shares files with the restorer.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lifecycle_core::Level;
use lifecycle_core::exec::Cancel;
use lifecycle_core::export::source_date_epoch;
use lifecycle_core::extend::{
    ExtendContext, ExtendKind, Extended, InPlace, LayerCache, Times, extend, hand_over,
};
use lifecycle_core::files::analyzed::Analyzed;
use lifecycle_core::files::group::Group;
use oci::{Digest, Image, Limits, spans};
use tokio::runtime::{Builder, Runtime};
use tracing::info_span;

use super::{build, export};
use crate::console::Console;
use crate::environment::Environment;
use crate::failure::{Failure, GENERIC, INVALID_ARGUMENTS};
use crate::files::{read, read_or_default};
use crate::inputs::Inputs;
use crate::phase::Phase;
use crate::privileges::{self, User};

/// The folder that restorer and extender share, and that platforms mount into both.
pub(super) const KANIKO: &str = "/kaniko";

/// The variable with the numbers of two opened folders, if the root is an overlay: of what is written, and
/// of all else. As in `100,101`.
const OVERLAY: &str = "SEALPACK_OVERLAY";

/// The variable that names a folder with layers of commands that were run before.
const KEPT_LAYERS: &str = "SEALPACK_KEPT_LAYERS";

/// Where the restorer leaves images.
pub(super) fn bases() -> PathBuf {
    Path::new(KANIKO).join("cache/base")
}

/// The extender: applies Dockerfiles to the root that it runs in; if it is the build image's, the
/// builder follows, as the user of the build.
pub(super) fn run(inputs: &mut Inputs, cancel: &Cancel, console: Console) -> Result<(), Failure> {
    let kind = match inputs.kind.as_str() {
        "build" => ExtendKind::Build,
        "run" => ExtendKind::Run,
        other => {
            let cause = format!("`{other}` is not a kind of image: `build` and `run` are");
            return Err(Failure::because(
                INVALID_ARGUMENTS,
                "resolve inputs",
                &cause,
            ));
        }
    };
    let failed = |cause: &(dyn std::error::Error + 'static)| {
        let action = format!("extend {} image", kind.name());
        Failure::new(Phase::Extend.failure(), &action, cause)
    };
    let refused = |cause: &str| {
        let action = format!("extend {} image", kind.name());
        Failure::because(Phase::Extend.failure(), &action, cause)
    };
    if !is_in_container(&inputs.environment) {
        return Err(refused(
            "instructions change the root file system that this runs in, which has to be a container's; if it is, set the variable `container` to any value",
        ));
    }
    let generic = |text| Failure {
        code: GENERIC,
        text,
    };
    let analyzed: Analyzed =
        read_or_default(&inputs.analyzed, "analyzed", Level::Warn, console).map_err(generic)?;
    let group: Group = read(&inputs.group, "group", GENERIC)?;
    export::verify_apis(&group)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    let reference = match kind {
        ExtendKind::Build => analyzed
            .build_image
            .as_ref()
            .map(|it| it.reference.as_str()),
        ExtendKind::Run => analyzed.run_image.as_ref().map(|it| it.reference.as_str()),
    };
    let reference = reference.unwrap_or_default();
    let base = base(reference, &runtime).map_err(|cause| refused(&cause))?;
    // Its files are large, and other folders are part of the image.
    let temporary = tempfile_in_kaniko().map_err(|error| failed(&error))?;
    let left_out = [
        inputs.app.as_path(),
        &inputs.layers,
        &inputs.platform,
        &inputs.extended,
    ];
    let root = InPlace::new(&left_out, cancel.clone()).map_err(|error| failed(&error))?;
    let mut root = match inputs.environment.text(OVERLAY) {
        Some(numbers) => {
            let [upper, lower] = sides(&numbers).map_err(|error| failed(&error))?;
            root.of_overlay(upper, lower)
        }
        None => root,
    };
    let build_ids = group.group_extensions.iter().map(|_it| random_id());
    let build_ids: Vec<String> = build_ids
        .collect::<Result<_, _>>()
        .map_err(|error| failed(&error))?;
    let epoch = inputs.environment.text("SOURCE_DATE_EPOCH");
    let created = source_date_epoch(inputs.platform_api, epoch.as_deref(), &console);
    let context = ExtendContext {
        api: inputs.platform_api,
        kind,
        reference,
        base: &base,
        group: &group,
        generated_dir: &inputs.generated,
        app_dir: &inputs.app,
        build_ids: &build_ids,
        cache: &LayerCache {
            folder: Path::new(KANIKO).join("cache/layers/sealpack"),
            also: inputs.environment.path(KEPT_LAYERS),
            ttl: inputs.kaniko_cache_ttl,
            now: now(),
        },
        times: created.map_or(Times::Kept, Times::AtMost),
        temporary_dir: temporary.path(),
    };
    let extended = console.time("Extender", || {
        spans::inside(&info_span!("extend"), || {
            extend(&context, &mut root, &console)
        })
    });
    let extended = extended.map_err(|error| failed(&error))?;
    if kind == ExtendKind::Run {
        let folder = inputs.extended.join("run");
        let left = runtime.block_on(hand_over::leave_extended(&folder, &extended));
        left.map_err(|error| failed(&error))?;
        return temporary.close().map_err(|error| failed(&error));
    }
    temporary.close().map_err(|error| failed(&error))?;
    // Buildpacks have no use for what it holds opened.
    drop(root);
    become_builder(inputs, &extended)?;
    build::run(inputs, cancel, console)
}

/// Goes on as the user of the build, in the environment of the extended image.
fn become_builder(inputs: &mut Inputs, extended: &Extended) -> Result<(), Failure> {
    for entry in &extended.image.config().config.env {
        if let Some((name, value)) = entry.split_once('=') {
            inputs.environment.set(name, value);
        }
    }
    if privileges::is_root() {
        keep_layers_from_user()?;
    }
    let user = User::new(inputs.uid, inputs.gid)?;
    privileges::own(user, &[&inputs.layers])?;
    privileges::become_user(user)?;
    privileges::set_home(user, &mut inputs.environment)?;
    if privileges::is_root() {
        let cause = "refusing to run as root";
        return Err(Failure::because(GENERIC, Phase::Build.name(), cause));
    }
    Ok(())
}

/// Gives the folders above layers to root. A platform may have mounted them as the build user's, who could
/// then put others in their place, which a later build unpacks as root.
fn keep_layers_from_user() -> Result<(), Failure> {
    for folder in ["", "cache", "cache/layers"].map(|it| Path::new(KANIKO).join(it)) {
        let given = match fs::symlink_metadata(&folder) {
            Ok(found) if (found.uid(), found.gid()) == (0, 0) => Ok(()),
            Ok(_) => lchown(&folder, Some(0), Some(0)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        given.map_err(|error| {
            let action = format!("give `{}` to root", folder.display());
            Failure::new(GENERIC, &action, &error)
        })?;
    }
    Ok(())
}

/// The image that the restorer left.
fn base(reference: &str, runtime: &Runtime) -> Result<Image, String> {
    let digest: Option<Digest> = reference
        .rsplit_once('@')
        .and_then(|(_name, digest)| digest.parse().ok());
    let Some(digest) = digest else {
        return Err(format!(
            "getting image to extend: failed to get digest for reference '{reference}'"
        ));
    };
    let (folder, limits) = (bases(), Limits::default());
    let read = hand_over::read_base(&folder, &digest, &limits);
    runtime.block_on(read).map_err(|error| {
        let cause = go::words::chain(&error);
        format!("getting base image for digest '{digest}': {cause}")
    })
}

/// Takes the sides of an overlay from whoever started us: no command gets them.
fn sides(numbers: &str) -> io::Result<[OwnedFd; 2]> {
    let malformed = || {
        let text = format!("{OVERLAY} is malformed: `{numbers}`");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    let (upper, lower) = numbers.split_once(',').ok_or_else(malformed)?;
    let take = |number: &str| {
        // Neither input nor output.
        let number: i32 = number.parse().map_err(|_error| malformed())?;
        if number < 3 {
            return Err(malformed());
        }
        let file = fs::File::open(format!("/proc/self/fd/{number}"))?;
        nix::unistd::close(number)?;
        Ok(file.into())
    };
    Ok([take(upper)?, take(lower)?])
}

fn tempfile_in_kaniko() -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("work.dir")
        .tempdir_in(KANIKO)
}

/// Whether this is a container, by what container engines leave in one, or because it is said.
///
/// <https://systemd.io/CONTAINER_INTERFACE/>
fn is_in_container(environment: &Environment) -> bool {
    let marks = [
        "/.dockerenv",
        "/run/.containerenv",
        "/run/secrets/kubernetes.io",
    ];
    if environment.text("container").is_some() || marks.iter().any(|it| Path::new(it).exists()) {
        return true;
    }
    let of_engines = [
        "docker",
        "kubepods",
        "containerd",
        "libpod",
        "lxc",
        "buildkit",
    ];
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    of_engines.iter().any(|it| groups.contains(it))
}

/// What no other build has.
fn random_id() -> io::Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(text.trim().to_owned())
}

#[expect(
    clippy::disallowed_methods,
    reason = "how old a layer is, is known here only"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
