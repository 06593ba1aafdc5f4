//! Which trace spans belong to, and what numbers they get.
//!
//! <https://www.w3.org/TR/trace-context/#traceparent-header>

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::str::FromStr;

/// A trace: new, or one that somebody else began.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceContext {
    trace: u128,
    parent: Option<Parent>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Parent {
    span: u64,
    /// As it was given, if modules are told that.
    text: Option<String>,
}

impl TraceContext {
    /// A new trace.
    pub fn begin() -> Self {
        let trace = (u128::from(random()) << 64) | u128::from(random());
        Self {
            trace: trace.max(1),
            parent: None,
        }
    }

    /// The span of somebody else's that ours are below, as it was given.
    pub fn given(&self) -> Option<&str> {
        self.parent.as_ref()?.text.as_deref()
    }

    /// The same trace, in which what we start is below our spans and not beside them.
    #[must_use]
    pub fn around_us(mut self) -> Self {
        if let Some(parent) = &mut self.parent {
            parent.text = None;
        }
        self
    }

    pub(crate) fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    pub(crate) fn parent_id(&self) -> Option<u64> {
        self.parent.as_ref().map(|it| it.span)
    }

    /// How a program that is started is told that this span is its parent.
    pub(crate) fn below(&self, span: u64) -> String {
        format!("00-{:032x}-{span:016x}-01", self.trace)
    }
}

impl FromStr for TraceContext {
    type Err = MalformedTraceparent;

    /// Reads a `traceparent`. Versions that are newer may go on behind what is known.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<_> = text.splitn(5, '-').collect();
        let (&[version, trace, span, flags], rest) =
            parts.split_first_chunk::<4>().ok_or(MalformedTraceparent)?;
        let version = hex(version, 2)?;
        if version == 0xff || (version == 0 && !rest.is_empty()) {
            return Err(MalformedTraceparent);
        }
        hex(flags, 2)?;
        let (trace, span) = (hex(trace, 32)?, hex(span, 16)?);
        let span = u64::try_from(span).map_err(|_too_large| MalformedTraceparent)?;
        if trace == 0 || span == 0 {
            return Err(MalformedTraceparent);
        }
        Ok(Self {
            trace,
            parent: Some(Parent {
                span,
                text: Some(text.to_owned()),
            }),
        })
    }
}

/// A number of so many digits, in small letters.
fn hex(text: &str, digits: usize) -> Result<u128, MalformedTraceparent> {
    let is_hex = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
    if text.len() != digits || !text.bytes().all(is_hex) {
        return Err(MalformedTraceparent);
    }
    u128::from_str_radix(text, 16).map_err(|_too_large| MalformedTraceparent)
}

/// What was given is not a `traceparent` of W3C's Trace Context.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct MalformedTraceparent;

impl fmt::Display for MalformedTraceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed traceparent: it has the form `00-TRACE-SPAN-FLAGS`, of 32, 16 and 2 hexadecimal digits")
    }
}

impl std::error::Error for MalformedTraceparent {}

/// Tells spans apart, also those of several processes that write to one trace.
pub(crate) fn random() -> u64 {
    // Each state is keyed anew by the standard library. Zero stands for no span.
    RandomState::new().hash_one(()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_is_read_and_told_as_it_was_given() {
        let context: TraceContext = GIVEN.parse().unwrap();
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.parent_id(), Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!(context.given(), Some(GIVEN));
        assert_eq!(
            context.below(0xabc),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01"
        );
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let longer = format!("{GIVEN}-more");
        for text in [
            "",
            "00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            longer.as_str(),
        ] {
            assert_eq!(
                text.parse::<TraceContext>(),
                Err(MalformedTraceparent),
                "{text}"
            );
        }
        // A later version may say more.
        assert!(
            longer
                .replacen("00", "01", 1)
                .parse::<TraceContext>()
                .is_ok()
        );
    }

    #[test]
    fn new_traces_differ() {
        assert_ne!(TraceContext::begin(), TraceContext::begin());
        assert_eq!(TraceContext::begin().given(), None);
    }
}
