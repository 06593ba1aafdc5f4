//! Which layers a daemon has.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::client::Client;
use super::problem::DaemonProblem;
use crate::DiffId;

/// Images that are asked about at once.
const AT_ONCE: usize = 4;

/// How many of the lowest of `layers` the daemon has, as far as its images show: the image `name`
/// first, which often is an earlier build of the same app, then the newest ones.
///
/// Layers are kept as chains: one that lies on others is another layer there.
pub(super) async fn count(
    client: &Client,
    layers: &[DiffId],
    name: &str,
) -> Result<usize, DaemonProblem> {
    let mut seen = BTreeSet::new();
    let mut images = client.images(None).await?;
    let is_named = |tags: &Option<Vec<String>>| tags.iter().flatten().any(|it| it == name);
    images.sort_by_key(|it| !is_named(&it.repo_tags));
    images.retain(|it| seen.insert(it.id.clone()));
    images.truncate(client.options.inspections);
    let asked = images.iter().map(|it| client.inspect(&it.id));
    let mut asked = stream::iter(asked).buffered(AT_ONCE);
    let mut known = 0;
    while let Some(image) = asked.next().await {
        // It may have been removed since it was listed.
        let Some(image) = image? else { continue };
        let pairs = image.layers().iter().zip(layers);
        let common = pairs.take_while(|(theirs, ours)| theirs == ours);
        known = known.max(common.count());
        if known == layers.len() {
            break;
        }
    }
    Ok(known)
}
