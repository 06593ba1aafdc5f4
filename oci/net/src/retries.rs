//! Trying again.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tracing::Instrument as _;

/// How often to try again what may yet succeed, and when: after twice as long each time, less a
/// random part, or when the server says.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Retries {
    /// How often, beyond the first time.
    pub count: u32,
    /// After how long at first.
    pub first: Duration,
    /// After how long at most, whatever the server says.
    pub longest: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            count: 4,
            first: Duration::from_millis(200),
            longest: Duration::from_secs(30),
        }
    }
}

impl Retries {
    /// Waits before try number `attempt` + 1.
    pub async fn pause(&self, attempt: u32, asked: Option<Duration>) {
        let span = tracing::info_span!("retry", attempt = u64::from(attempt));
        let pause = tokio::time::sleep(self.delay(attempt, asked, random()));
        pause.instrument(span).await;
    }

    /// How long to wait before try `attempt` (from 1), given what the server asked for. `random` is
    /// at least 0 and less than 1.
    pub(crate) fn delay(&self, attempt: u32, asked: Option<Duration>, random: f64) -> Duration {
        match asked {
            Some(asked) => asked.min(self.longest),
            None => self
                .first
                .saturating_mul(1 << attempt.saturating_sub(1).min(16))
                .min(self.longest)
                .mul_f64(1.0 - random / 2.0),
        }
    }
}

/// At least 0 and less than 1. Good enough to keep clients from trying in step.
#[expect(
    clippy::cast_precision_loss,
    reason = "a fraction need not have all its bits"
)]
fn random() -> f64 {
    // Each state is keyed anew by the standard library.
    (RandomState::new().hash_one(()) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_a_bound() {
        let retries = Retries::default();
        assert_eq!(retries.delay(1, None, 0.0), Duration::from_millis(200));
        assert_eq!(retries.delay(3, None, 0.0), Duration::from_millis(800));
        assert_eq!(retries.delay(3, None, 0.5), Duration::from_millis(600));
        assert_eq!(retries.delay(u32::MAX, None, 0.0), retries.longest);
        let hour = Duration::from_hours(1);
        assert_eq!(retries.delay(1, Some(hour), 0.9), retries.longest);
        let second = Duration::from_secs(1);
        assert_eq!(retries.delay(1, Some(second), 0.9), second);
    }
}
