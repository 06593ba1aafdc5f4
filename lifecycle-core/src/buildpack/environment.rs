//! What a buildpack sees of the lifecycle's own environment.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::ModuleContext;
use crate::api::BuildpackApi;
use crate::env::{Action, BUILD_DIRS, Env, EnvError};
use crate::files::analyzed::TargetMetadata;

/// What programs see of the lifecycle's own environment, besides the lists of folders.
const KEPT: &[&str] = &[
    // Of RFC 0131, which upstream has not.
    "CNB_OTEL_LOG_PATH",
    "CNB_OTEL_TRACEPARENT",
    "CNB_STACK_ID",
    "HOME",
    "HOSTNAME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// What programs see of the lifecycle's own environment.
pub(crate) fn base_env(env: &BTreeMap<OsString, OsString>) -> Env {
    let lists = BUILD_DIRS.iter().flat_map(|(_, names)| names.iter());
    let kept = KEPT.iter().chain(lists).filter_map(|name| {
        let value = env.get(std::ffi::OsStr::new(name))?;
        Some((OsString::from(name), value.clone()))
    });
    Env::new(kept.collect())
}

/// `base`, with what the platform gives unless the module wants none of it, and with what the
/// operator of the builder gives.
pub(crate) fn user_env(
    context: &ModuleContext<'_>,
    base: &Env,
    clear_env: bool,
) -> Result<Env, EnvError> {
    let mut env = base.clone();
    if !clear_env {
        env.add_platform(&context.platform_dir.join("env"))?;
    }
    let folder = context.build_config_dir.join("env");
    env.add_dir(&folder, Action::Default)
        .map_err(|source| EnvError::Apply {
            folder,
            source: Box::new(source),
        })?;
    Ok(env)
}

/// Sets in `env` what the module's API has it told of the target and the execution environment.
pub(crate) fn tell_target(
    env: &mut Env,
    api: BuildpackApi,
    target: &TargetMetadata,
    exec_env: &str,
) {
    if api.has_targets() {
        env.set("CNB_TARGET_OS", &target.os);
        env.set("CNB_TARGET_ARCH", &target.arch);
        let distro = target.distro.as_ref();
        for (name, value) in [
            ("CNB_TARGET_ARCH_VARIANT", Some(&target.arch_variant)),
            ("CNB_TARGET_DISTRO_NAME", distro.map(|it| &it.name)),
            ("CNB_TARGET_DISTRO_VERSION", distro.map(|it| &it.version)),
        ] {
            if let Some(value) = value.filter(|it| !it.is_empty()) {
                env.set(name, value);
            }
        }
    }
    if api.has_exec_env() && !exec_env.is_empty() {
        env.set("CNB_EXEC_ENV", exec_env);
    }
}
