//! Who is asked whether an image may be used.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use admission::Decision;
use async_trait::async_trait;
use oci::Reference;

/// Judges images. Answers in time, whatever registries do.
#[async_trait]
pub trait Judge: fmt::Debug + Send + Sync + 'static {
    /// Whether an image may be used.
    async fn judge(&self, asked: Asked) -> Judgement;

    /// Reads policies, credentials and trust again. If they cannot be used, what was in force stays.
    /// What it returns says what is in force now.
    fn reload(&self) -> Result<String, ReloadError>;

    /// The files and folders that it is made of.
    fn watched(&self) -> Vec<PathBuf>;

    /// Figures for the metrics: name, help, value.
    fn figures(&self) -> Vec<(&'static str, &'static str, u64)> {
        Vec::new()
    }
}

/// An image that is asked about.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Asked {
    /// Which: always in a registry.
    pub name: Reference,
    /// In which namespace it is to run, if in any.
    pub namespace: Option<String>,
    /// How long there is.
    pub limit: Duration,
}

/// What is known about it.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Judgement {
    /// Whether it may be used.
    pub decision: Decision,
}

/// What was in force stays in force.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct ReloadError(pub Box<dyn std::error::Error + Send + Sync>);
