//! What images are called in a Docker archive: `docker.io/library/app:v1`. In memory, that is the
//! name in the index; on disk it stands in an annotation of containerd's beside the tag alone.

use std::collections::BTreeSet;

use crate::store::layout::index::{IndexFile, REF_NAME};
use crate::{Location, Reference, Repository, Tag};

/// <https://github.com/containerd/containerd/blob/v2.0.0/core/images/annotations.go>
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// A name as containerd keeps it, whatever form it has in `RepoTags`. None for what is no name:
/// `<none>:<none>`.
pub(super) fn full(name: &str) -> Option<String> {
    let (repository, tag) = parse(name)?;
    Some(format!("{}:{tag}", repository.long()))
}

/// A name as Docker shows it.
pub(super) fn short(name: &str) -> String {
    match parse(name) {
        Some((repository, tag)) => format!("{}:{tag}", repository.short()),
        None => name.to_owned(),
    }
}

/// The tag in `name`, if it is one of `repository`.
pub(super) fn tag_of(repository: &Repository, name: &str) -> Option<Tag> {
    let (other, tag) = parse(name)?;
    (other == *repository).then_some(tag)
}

fn parse(name: &str) -> Option<(Repository, Tag)> {
    let reference: Reference = name.parse().ok()?;
    match reference.location {
        Location::Registry(repository) => Some((repository, reference.tag?)),
        _ => None,
    }
}

/// Takes all names away, and what is then listed twice.
pub(super) fn clear(index: &mut IndexFile) {
    let mut seen = BTreeSet::new();
    index.manifests.retain_mut(|entry| {
        entry.annotate(|it| {
            it.remove(REF_NAME);
            it.remove(CONTAINERD_NAME);
        });
        seen.insert(entry.digest.clone())
    });
}

/// The index as it stands on disk.
pub(super) fn annotated(index: &IndexFile) -> IndexFile {
    let mut index = index.clone();
    for entry in &mut index.manifests {
        entry.annotate(|annotations| {
            if let Some(name) = annotations.remove(REF_NAME) {
                if let Some((_, tag)) = parse(&name) {
                    annotations.insert(REF_NAME.to_owned(), tag.to_string());
                }
                annotations.insert(CONTAINERD_NAME.to_owned(), name);
            }
        });
    }
    index
}
