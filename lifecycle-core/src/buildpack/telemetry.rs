//! What modules are told of tracing, and the span that each of their runs is.
//!
//! <https://github.com/buildpacks/rfcs/blob/main/text/0131-build-observability.md>

use std::path::PathBuf;

use tracing::{Span, info_span};

use super::Kind;
use crate::env::Env;
use crate::files::group::GroupElement;

/// How modules take part in a trace.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Telemetry {
    /// `<layers>/tracing`.
    pub folder: PathBuf,
    /// Who is their parent, as `CNB_OTEL_TRACEPARENT`: asked in the span of the module.
    pub traceparent: fn() -> Option<String>,
}

/// What modules do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    Detect,
    Generate,
    Build,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Generate => "generate",
            Self::Build => "build",
        }
    }

    /// The span of this module.
    pub(crate) fn span(self, element: &GroupElement) -> Span {
        let (id, version) = (element.id.as_str(), element.version.as_str());
        match (self, Kind::of(element)) {
            (Self::Detect, Kind::Buildpack) => {
                info_span!(
                    "buildpack-detect",
                    "buildpack-id" = id,
                    "buildpack-version" = version
                )
            }
            (Self::Detect, Kind::Extension) => {
                info_span!(
                    "extension-detect",
                    "extension-id" = id,
                    "extension-version" = version
                )
            }
            (Self::Generate, _) => {
                info_span!(
                    "extension-generate",
                    "extension-id" = id,
                    "extension-version" = version
                )
            }
            (Self::Build, _) => {
                info_span!(
                    "buildpack-build",
                    "buildpack-id" = id,
                    "buildpack-version" = version
                )
            }
        }
    }
}

impl Telemetry {
    /// Tells a module where its spans go, and below which they are. One that cannot write there is
    /// told nothing: no build fails for its trace.
    ///
    /// A path that is in `env` stays: the platform set it, the user, or an earlier buildpack.
    pub(crate) fn tell(&self, env: &mut Env, element: &GroupElement, action: Action) {
        if let Some(traceparent) = (self.traceparent)() {
            env.set("CNB_OTEL_TRACEPARENT", traceparent);
        }
        if !env.get("CNB_OTEL_LOG_PATH").is_empty() {
            return;
        }
        let folder = self.folder.join(match Kind::of(element) {
            Kind::Buildpack => "buildpacks",
            Kind::Extension => "extensions",
        });
        if std::fs::create_dir_all(&folder).is_err() {
            return;
        }
        let (id, version) = (element.escaped_id(), element.version.replace('/', "_"));
        let name = format!("{id}@{version}-{}.jsonl", action.name());
        env.set("CNB_OTEL_LOG_PATH", folder.join(name));
    }
}
