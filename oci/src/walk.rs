//! Visits an image, its children, and what is attached to them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, StreamExt as _};

use crate::{Descriptor, Digest, Limits, Manifest, MediaType, Store, StoreError};

/// A manifest, as [`walk`] met it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Node {
    /// Which; beside digest and size, as whoever led here describes it.
    pub descriptor: Descriptor,
    /// How far from the root.
    pub depth: usize,
    /// How the node before it on the way from the root led here.
    pub relation: Relation,
    /// What kind of artifact it is, by its own word.
    pub artifact_type: Option<MediaType>,
    /// Its own annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its config and layers.
    pub blobs: Vec<Descriptor>,
    /// What is wrong with it, in one sentence. Then there is nothing below it.
    pub problem: Option<String>,
}

/// How one manifest leads to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "who prints has to name each")]
pub enum Relation {
    /// It is where the walk began.
    Root,
    /// It is in the index above.
    Child,
    /// It is attached to the manifest above.
    Referrer,
}

/// Visits `root`, its children, and what is attached to any of them or to that, from the top down:
/// below each manifest first its children, then its referrers.
///
/// A manifest is visited once; where it is met again, it has a node and nothing below it. What is
/// broken, or beyond the `limits`, is a node with a [problem](Node::problem).
///
/// # Errors
/// If `root` itself cannot be read.
pub async fn walk(
    store: &dyn Store,
    root: &Descriptor,
    limits: &Limits,
) -> Result<Vec<Node>, StoreError> {
    let manifest = load(store, root, limits).await?;
    let mut walk = Walk {
        store,
        limits,
        seen: BTreeSet::new(),
        nodes: Vec::new(),
    };
    walk.visit(root.clone(), 0, Relation::Root, Ok(manifest))
        .await;
    Ok(walk.nodes)
}

/// Manifests that are read at once.
const CONCURRENCY: usize = 8;

struct Walk<'a> {
    store: &'a dyn Store,
    limits: &'a Limits,
    seen: BTreeSet<Digest>,
    nodes: Vec<Node>,
}

impl Walk<'_> {
    fn visit(
        &mut self,
        descriptor: Descriptor,
        depth: usize,
        relation: Relation,
        manifest: Result<Manifest, String>,
    ) -> BoxFuture<'_, ()> {
        async move {
            let digest = descriptor.digest.clone();
            let mut node = Node {
                descriptor,
                depth,
                relation,
                artifact_type: None,
                annotations: BTreeMap::new(),
                blobs: Vec::new(),
                problem: None,
            };
            let manifest = match manifest {
                Ok(manifest) => manifest,
                Err(problem) => {
                    node.problem = Some(problem);
                    self.nodes.push(node);
                    return;
                }
            };
            node.artifact_type = manifest.artifact_type().cloned();
            node.annotations.clone_from(manifest.annotations());
            let successors = manifest.successors();
            let (children, blobs): (Vec<_>, Vec<_>) = successors
                .into_iter()
                .cloned()
                .partition(|it| it.media_type.is_manifest());
            node.blobs = blobs;
            let place = self.nodes.len();
            self.nodes.push(node);
            if !self.seen.insert(digest.clone()) {
                return;
            }
            if depth >= self.limits.depth {
                self.note(
                    place,
                    format!("there may be more below, deeper than {depth}"),
                );
                return;
            }
            self.descend(place, depth, Relation::Child, children, None)
                .await;
            match self.store.referrers(&digest).await {
                Ok(referrers) => {
                    let subject = Some(&digest);
                    self.descend(place, depth, Relation::Referrer, referrers, subject)
                        .await;
                }
                Err(error) => {
                    let problem = go::words::chain(&error);
                    self.note(place, format!("its referrers are not known: {problem}"));
                }
            }
        }
        .boxed()
    }

    /// Visits `targets`, which are below the node at `place`.
    async fn descend(
        &mut self,
        place: usize,
        depth: usize,
        relation: Relation,
        mut targets: Vec<Descriptor>,
        subject: Option<&Digest>,
    ) {
        let limit = match relation {
            Relation::Referrer => self.limits.referrers,
            _ => self.limits.manifests,
        };
        let limit = limit.min(self.limits.manifests.saturating_sub(self.nodes.len()));
        if targets.len() > limit {
            self.note(
                place,
                format!(
                    "it leads to {} manifests, and only {limit} of them are shown",
                    targets.len()
                ),
            );
            targets.truncate(limit);
        }
        for some in targets.chunks(256) {
            let (store, limits) = (self.store, self.limits);
            let reads = some.iter().map(|it| async move {
                if subject.is_none() {
                    return load(store, it, limits).await.map(|read| (it.clone(), read));
                }
                let read = crate::store::read_listed(store, it, limits.manifest_bytes).await;
                let (found, content) = read?;
                Ok((found.clone(), parse(&found, &content, limits)?))
            });
            let reads: Vec<BoxFuture<'_, _>> = reads.map(futures_util::FutureExt::boxed).collect();
            let read: Vec<_> = stream::iter(reads).buffered(CONCURRENCY).collect().await;
            for (target, manifest) in some.iter().zip(read) {
                let (target, manifest) = match manifest {
                    // Whoever lists it is wrong, or wants to be.
                    Ok((target, it))
                        if subject.is_some() && it.subject().map(|it| &it.digest) != subject =>
                    {
                        let problem = "it is listed here, but is not attached here";
                        (target, Err(problem.to_owned()))
                    }
                    Ok((target, manifest)) => (target, Ok(manifest)),
                    Err(error) => (target.clone(), Err(go::words::chain(&error))),
                };
                self.visit(target, depth + 1, relation, manifest).await;
            }
        }
    }

    fn note(&mut self, place: usize, problem: String) {
        if let Some(node) = self.nodes.get_mut(place) {
            node.problem = Some(problem);
        }
    }
}

async fn load(
    store: &dyn Store,
    target: &Descriptor,
    limits: &Limits,
) -> Result<Manifest, StoreError> {
    let content = crate::store::read(store, target, limits.manifest_bytes).await?;
    parse(target, &content, limits)
}

fn parse(target: &Descriptor, content: &[u8], limits: &Limits) -> Result<Manifest, StoreError> {
    Manifest::parse(&target.media_type, content, limits).map_err(|source| StoreError::Manifest {
        digest: target.digest.clone(),
        source,
    })
}
