//! What a phase is told: by flags, else by the environment, else by default.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use go::flag::{Parsed, Value};
use lifecycle_core::api::PlatformApi;

use crate::environment::Environment;
use crate::flags::LAYERS;

/// All that any phase may be told. Texts that are empty mean that nothing was said.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch that users know"
)]
pub(crate) struct Inputs {
    pub(crate) platform_api: PlatformApi,
    pub(crate) environment: Environment,
    pub(crate) analyzed: PathBuf,
    pub(crate) app: PathBuf,
    pub(crate) build_config: PathBuf,
    pub(crate) build_image: String,
    pub(crate) buildpacks: PathBuf,
    pub(crate) cache_dir: PathBuf,
    pub(crate) cache_image: String,
    pub(crate) daemon: bool,
    pub(crate) deprecated_run_image: String,
    pub(crate) extended: PathBuf,
    pub(crate) extensions: PathBuf,
    pub(crate) force: bool,
    pub(crate) generated: PathBuf,
    pub(crate) gid: i64,
    pub(crate) group: PathBuf,
    pub(crate) insecure_registries: Vec<String>,
    pub(crate) kaniko_cache_ttl: Duration,
    pub(crate) kind: String,
    pub(crate) launch_cache: PathBuf,
    pub(crate) launcher: PathBuf,
    pub(crate) launcher_sbom: PathBuf,
    pub(crate) layers: PathBuf,
    pub(crate) layout: bool,
    pub(crate) layout_dir: PathBuf,
    pub(crate) layout_digests: bool,
    pub(crate) order: PathBuf,
    pub(crate) parallel: bool,
    pub(crate) plan: PathBuf,
    pub(crate) platform: PathBuf,
    pub(crate) previous_image: String,
    pub(crate) process_type: String,
    pub(crate) project_metadata: PathBuf,
    pub(crate) report: PathBuf,
    /// Whether the report says what the image is based on.
    pub(crate) report_run_image: bool,
    pub(crate) run: PathBuf,
    pub(crate) run_image: String,
    pub(crate) skip_layers: bool,
    /// Whether the SBOM of the previous image is not wanted.
    pub(crate) skip_sbom: bool,
    pub(crate) stack: PathBuf,
    pub(crate) system: PathBuf,
    /// Whether the phases are to be traced.
    telemetry: bool,
    pub(crate) uid: i64,
    /// The image to write; empty for phases that write none.
    pub(crate) image: String,
    /// Further names for it.
    pub(crate) tags: Vec<String>,
}

/// The same path in its shortest form, by its text alone, as Go's `filepath.Clean` has it.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

impl Inputs {
    /// The values of a command line. `working_directory` is what relative folders are relative to.
    #[expect(clippy::too_many_lines, reason = "one line or so for each input")]
    pub(crate) fn new(
        parsed: Parsed,
        platform_api: PlatformApi,
        environment: Environment,
        working_directory: &Path,
    ) -> Self {
        let values = Values(parsed.values);
        // Files in a folder that was given as relative stay so: it is how they are told.
        let named_layers = PathBuf::from(values.text("layers"));
        // What is not named stays so, and is no folder at all.
        let absolute = |path: PathBuf| {
            if path.as_os_str().is_empty() {
                path
            } else {
                clean(&working_directory.join(path))
            }
        };
        let layers = absolute(named_layers.clone());
        let file = |name: &str| -> PathBuf {
            let text = values.text(name);
            match text.strip_prefix(LAYERS) {
                Some(rest) if named_layers.as_os_str().is_empty() => {
                    rest.strip_prefix('/').unwrap_or(rest).into()
                }
                Some(rest) => format!("{}{rest}", named_layers.display()).into(),
                None => text.into(),
            }
        };
        let analyzed = file("analyzed");
        let mut order = file("order");
        if order == named_layers.join("order.toml") && fs::metadata(&order).is_err() {
            order = "/cnb/order.toml".into();
        }
        let [
            group,
            plan,
            project_metadata,
            report,
            run,
            stack,
            system,
            launcher,
        ] = [
            "group",
            "plan",
            "project-metadata",
            "report",
            "run",
            "stack",
            "system",
            "launcher",
        ]
        .map(file);
        let folder = |name: &str| absolute(file(name));
        let [
            app,
            build_config,
            buildpacks,
            cache_dir,
            extended,
            extensions,
            generated,
        ] = [
            "app",
            "build-config",
            "buildpacks",
            "cache-dir",
            "extended",
            "extensions",
            "generated",
        ]
        .map(folder);
        let [launch_cache, platform] = ["launch-cache", "platform"].map(folder);
        let mut arguments = parsed.arguments.into_iter();
        let image = arguments.next().unwrap_or_default();
        let tags = values.list("tag").into_iter().chain(arguments).collect();
        Self {
            platform_api,
            environment,
            analyzed,
            app,
            build_config,
            build_image: values.text("build-image"),
            buildpacks,
            cache_dir,
            cache_image: values.text("cache-image"),
            daemon: values.switch("daemon"),
            deprecated_run_image: values.text("image"),
            extended,
            extensions,
            force: values.switch("force"),
            generated,
            gid: values.number("gid"),
            group,
            insecure_registries: values.list("insecure-registry"),
            kaniko_cache_ttl: values.duration("kaniko-cache-ttl"),
            kind: values.text("kind"),
            launch_cache,
            launcher,
            launcher_sbom: file("launcher-sbom"),
            layers,
            layout: values.switch("layout"),
            // Told as it was given.
            layout_dir: file("layout-dir"),
            layout_digests: values.switch("layout-digests"),
            order,
            parallel: values.switch("parallel"),
            plan,
            platform,
            previous_image: values.text("previous-image"),
            process_type: values.text("process-type"),
            project_metadata,
            report,
            report_run_image: values.switch("report-run-image"),
            run,
            run_image: values.text("run-image"),
            // Either variable sets the same.
            skip_layers: values.switch("skip-layers") || values.switch("skip-restore"),
            skip_sbom: values.switch("skip-sbom"),
            stack,
            system,
            telemetry: values.switch("telemetry"),
            uid: values.number("uid"),
            image,
            tags,
        }
    }

    /// All names that the image is to have.
    pub(crate) fn names(&self) -> Vec<String> {
        std::iter::once(&self.image)
            .chain(&self.tags)
            .cloned()
            .collect()
    }

    /// Whether the phases are to be traced: it is said, or there is a place for what modules write.
    pub(crate) fn has_telemetry(&self) -> bool {
        self.telemetry || self.environment.text("CNB_OTEL_LOG_PATH").is_some()
    }

    /// The execution environment, e.g. `production`.
    pub(crate) fn exec_env(&self) -> String {
        self.environment
            .text("CNB_EXEC_ENV")
            .unwrap_or_else(|| "production".to_owned())
    }
}

/// Values by the names of their flags.
struct Values(BTreeMap<&'static str, Value>);

impl Values {
    fn text(&self, name: &str) -> String {
        match self.0.get(name) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    fn list(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(Value::List(list)) => list.clone(),
            _ => Vec::new(),
        }
    }

    fn switch(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(Value::Switch(true)))
    }

    fn duration(&self, name: &str) -> Duration {
        match self.0.get(name) {
            // What is younger than nothing is too old, too.
            Some(Value::Duration(duration)) => {
                Duration::from_nanos((*duration).try_into().unwrap_or_default())
            }
            _ => Duration::ZERO,
        }
    }

    fn number(&self, name: &str) -> i64 {
        match self.0.get(name) {
            Some(Value::Number(number)) => *number,
            _ => 0,
        }
    }
}
