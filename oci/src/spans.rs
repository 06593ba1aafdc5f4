//! Marks work as a span of `tracing`, whoever records that: nobody, unless a program is asked to.
//!
//! A span says what was done, for how long, and how large it was; never where: names of images, hosts
//! and addresses stay out.

use tracing::{Instrument as _, Span};

/// Does `work` in `span`, which is marked if it fails.
pub fn within<T, E>(
    span: Span,
    work: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    // What a whole phase holds is large.
    let work = Box::pin(work);
    async { marked(work.await) }.instrument(span)
}

/// The same, for what does not wait.
pub fn inside<T, E>(span: &Span, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    span.in_scope(|| marked(work()))
}

/// Why it failed may name what is nobody's business.
fn marked<T, E>(result: Result<T, E>) -> Result<T, E> {
    result.inspect_err(|_error| tracing::error!("failed"))
}
