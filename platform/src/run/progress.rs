//! Who hears how a build goes on, and who looks at what its phases take and make.

use std::error::Error;
use std::path::Path;

use async_trait::async_trait;
use lifecycle_core::{Level, Log};
use oci::Digest;
use serde_json::Value;

use crate::sandbox::IsolationReport;

/// Hears how a build goes on. What the phases themselves say comes as to any [`Log`].
pub trait BuildProgress: Log {
    /// A part of the build has begun.
    fn begin(&self, phase: &'static str, text: &str);

    /// It is done.
    fn done(&self, phase: &'static str, text: &str);

    /// It goes on without something that there usually is.
    fn lacks(&self, lack: &Lack<'_>) {
        self.line(Level::Warn, &lack.to_string());
    }
}

/// What a build goes on without.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Lack<'a> {
    /// A place for what later builds can use.
    #[error("nothing is kept for later builds: {why}")]
    Cache {
        /// Why there is none.
        why: String,
    },
    /// The usual places of app and layers.
    #[error(
        "app and layers lie in `{}` in the image, not in `/workspace` and `/layers`: {why}", at.display()
    )]
    Places {
        /// Where they are instead.
        at: &'a Path,
        /// Why they are not there.
        why: String,
    },
    /// What keeps buildpacks from the machine.
    #[error("{0}")]
    Isolation(&'a IsolationReport),
}

/// Looks at what the phases take and make. `folders` are below the build's root: `cnb`, `layers`,
/// `workspace`.
#[async_trait]
pub trait Watch: Send {
    /// Where all phases run, said before the first of them.
    fn runs_in(&mut self, name: &str, value: Value);

    /// A phase is about to begin, which may read all that is in `folders`.
    async fn begin(
        &mut self,
        phase: &'static str,
        folders: &'static [&'static str],
    ) -> Result<(), WatchError>;

    /// What the phase is told.
    fn told(&mut self, words: Vec<String>);

    /// The phase takes what is no file.
    fn takes(&mut self, name: &str, digest: &Digest);

    /// The phase has made what is no file.
    fn makes(&mut self, name: &str, digest: &Digest);

    /// The phase has ended well, and may have changed all that is in `folders`.
    async fn end(&mut self, folders: &'static [&'static str]) -> Result<(), WatchError>;
}

/// Takes part in a trace, if one was asked for.
pub trait Telemetry: std::fmt::Debug + Send + Sync {
    /// Who is the parent of what is started now, as `CNB_OTEL_TRACEPARENT`.
    fn traceparent(&self) -> Option<String>;

    /// The build is over, and `folder` is about to go, in which phases and modules wrote their spans: it
    /// need not be there, and modules may have written anything.
    fn collect(&self, folder: &Path);
}

/// Why who watches cannot let the build go on.
pub type WatchError = Box<dyn Error + Send + Sync>;

/// Nobody watches.
#[async_trait]
impl Watch for () {
    fn runs_in(&mut self, _name: &str, _value: Value) {}

    async fn begin(
        &mut self,
        _phase: &'static str,
        _folders: &'static [&'static str],
    ) -> Result<(), WatchError> {
        Ok(())
    }

    fn told(&mut self, _words: Vec<String>) {}

    fn takes(&mut self, _name: &str, _digest: &Digest) {}

    fn makes(&mut self, _name: &str, _digest: &Digest) {}

    async fn end(&mut self, _folders: &'static [&'static str]) -> Result<(), WatchError> {
        Ok(())
    }
}
