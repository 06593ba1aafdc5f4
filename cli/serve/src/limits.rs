//! What one client can take of a server, and all of them.

use std::time::Duration;

/// What one client can take of a server, and all of them. The defaults fit a cluster.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made with `..Limits::default()`")]
pub struct Limits {
    /// Bytes of a request. A review of an update holds the object twice, each up to 3 MiB, and who
    /// manages its fields.
    pub body_bytes: usize,
    /// Bytes of all headers of a request.
    pub header_bytes: u32,
    /// Connections at the same time.
    pub connections: usize,
    /// Requests of one connection at the same time.
    pub streams: u32,
    /// Requests that are worked on at the same time.
    pub requests: usize,
    /// Requests that wait for that, at most: the next one is told so at once.
    pub waiting: usize,
    /// Images of one request that are asked about at the same time.
    pub images: usize,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// How long a connection may be without a request, or in the middle of its headers. Longer than
    /// API servers keep one, so that it is they who close it.
    pub idle: Duration,
    /// After how long a connection is to be made anew: else one of several replicas does all the work.
    pub age: Duration,
    /// How long an answer may take where the request does not say.
    pub time_limit: Duration,
    /// How long, after it was told to end, a server still takes connections: whoever sends them may
    /// not have heard of it.
    pub lame_duck: Duration,
    /// How long what is in flight then has to end.
    pub drain: Duration,
    /// How often files are looked at.
    pub look_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 8 << 20,
            header_bytes: 64 << 10,
            connections: 1024,
            streams: 256,
            requests: 256,
            waiting: 1024,
            images: 16,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(100),
            age: Duration::from_mins(5),
            time_limit: Duration::from_secs(9),
            lame_duck: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            look_every: Duration::from_secs(2),
        }
    }
}
