//! Which services are asked.

use url::Url;

/// Which services are asked for one signature.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Plan {
    /// Who gives certificates, if anybody has to.
    pub authority: Option<Url>,
    /// Who logs: all of them.
    pub logs: Vec<Log>,
    /// Who says when it was: all of them, each by the address that is asked.
    pub timestamp_authorities: Vec<Url>,
}

/// A transparency log.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Log {
    /// Where.
    pub url: Url,
    /// What it speaks.
    pub version: LogVersion,
}

/// What a log speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "whoever asks has to know each")]
pub enum LogVersion {
    /// Rekor: a promise, and a proof in time.
    V1,
    /// Rekor on tiles: the answer waits for the proof.
    V2,
}
