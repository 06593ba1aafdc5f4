//! A manifest with all manifests below it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{CopyError, Copying};
use crate::{Descriptor, Digest, Manifest, StoreError};

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: Descriptor,
    /// Boxed, because a map makes room for several, and most trees have one.
    nodes: BTreeMap<Digest, Box<Node>>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) target: Descriptor,
    pub(super) content: Bytes,
    pub(super) manifest: Manifest,
    /// How many levels of manifests are below it.
    pub(super) height: usize,
}

impl Tree {
    /// Reads `root` and the manifests below it from the source, each once.
    pub(super) async fn gather(copy: &Copying<'_>, root: &Descriptor) -> Result<Self, CopyError> {
        let limits = &copy.options.limits;
        let mut nodes = BTreeMap::new();
        let mut bytes = 0;
        let mut level = vec![root.bare()];
        let mut seen = BTreeMap::from([(root.digest.clone(), root.size)]);
        for depth in 0.. {
            if level.is_empty() {
                break;
            }
            if depth > limits.depth {
                // A circle is deep, too, and then that is the thing to say.
                heights(&nodes, &root.digest)?;
                return Err(CopyError::TooDeep {
                    limit: limits.depth,
                });
            }
            let mut next = Vec::new();
            let read = level.iter().map(|it| copy.manifest(it));
            for (target, read) in level.iter().zip(copy.all(read).await) {
                let (content, manifest) = read?;
                bytes += content.len() as u64;
                for child in manifest.successors() {
                    if !child.media_type.is_manifest() {
                        continue;
                    }
                    let size = *seen.entry(child.digest.clone()).or_insert_with(|| {
                        next.push(child.bare());
                        child.size
                    });
                    if size != child.size {
                        return Err(two_sizes(child, size));
                    }
                }
                let node = Node {
                    target: target.clone(),
                    content,
                    manifest,
                    height: 0,
                };
                nodes.insert(target.digest.clone(), Box::new(node));
            }
            if bytes > limits.metadata_bytes {
                return Err(CopyError::TooLarge {
                    digest: root.digest.clone(),
                    limit: limits.metadata_bytes,
                });
            }
            if seen.len() > limits.manifests {
                return Err(CopyError::TooManyManifests {
                    limit: limits.manifests,
                });
            }
            level = next;
        }
        for (digest, height) in heights(&nodes, &root.digest)? {
            if let Some(node) = nodes.get_mut(&digest) {
                node.height = height;
            }
        }
        Ok(Self {
            root: root.clone(),
            nodes,
        })
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().map(|it| &**it)
    }

    pub(super) fn manifests(&self) -> impl Iterator<Item = &Descriptor> {
        self.nodes().map(|it| &it.target)
    }

    /// What is no manifest and is moved. Layers that must not be distributed stay where they are.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let all = self.nodes().flat_map(|it| it.manifest.successors());
        all.filter(|it| !it.media_type.is_manifest() && !is_foreign(it))
    }

    /// The manifests below the root that have a subject, each with it.
    pub(super) fn subjects_below(&self) -> impl Iterator<Item = (&Digest, &Digest)> {
        let below = self
            .nodes()
            .filter(|it| it.target.digest != self.root.digest);
        below.filter_map(|it| Some((&it.target.digest, &it.manifest.subject()?.digest)))
    }

    pub(super) fn subject(&self) -> Option<&Digest> {
        let root = self.nodes.get(&self.root.digest)?;
        root.manifest.subject().map(|it| &it.digest)
    }
}

/// Content cannot have two sizes: one of them is a lie.
fn two_sizes(child: &Descriptor, other: u64) -> CopyError {
    CopyError::source(
        &child.digest,
        StoreError::SizeMismatch {
            digest: child.digest.clone(),
            expected: child.size,
            presented: other,
            came: None,
        },
    )
}

/// How many levels of manifests are below each of `nodes` that `root` leads to.
///
/// Content that was hashed cannot form a circle; a store that did not hash it could.
fn heights(
    nodes: &BTreeMap<Digest, Box<Node>>,
    root: &Digest,
) -> Result<BTreeMap<Digest, usize>, CopyError> {
    let mut heights: BTreeMap<Digest, usize> = BTreeMap::new();
    let mut above: BTreeSet<&Digest> = BTreeSet::new();
    let mut stack = vec![(root, false)];
    while let Some((digest, is_done)) = stack.pop() {
        let Some(node) = nodes.get(digest) else {
            continue;
        };
        let successors = node.manifest.successors();
        let children = successors
            .iter()
            .filter(|it| nodes.contains_key(&it.digest));
        if is_done {
            above.remove(digest);
            let below = children.filter_map(|it| heights.get(&it.digest)).max();
            let height = below.map_or(0, |it| it + 1);
            heights.insert(digest.clone(), height);
        } else if above.contains(digest) {
            return Err(CopyError::Cycle {
                digest: digest.clone(),
            });
        } else if !heights.contains_key(digest) {
            above.insert(digest);
            stack.push((digest, true));
            stack.extend(children.filter_map(|it| {
                nodes
                    .get_key_value(&it.digest)
                    .map(|(digest, _)| (digest, false))
            }));
        }
    }
    Ok(heights)
}

fn is_foreign(target: &Descriptor) -> bool {
    let text = target.media_type.as_str();
    text.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || text.starts_with("application/vnd.docker.image.rootfs.foreign.")
}
