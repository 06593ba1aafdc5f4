//! That an entry is in a tree: RFC 6962's proof of inclusion.

use super::checkpoint::Tree;
use super::{Generation, LogError};
use crate::bundle::{InclusionProof, LogEntry};
use crate::key::Hash;

/// The entry is in `tree`.
pub(super) fn included(
    entry: &LogEntry,
    proof: &InclusionProof,
    tree: &Tree,
    generation: Generation,
) -> Result<(), LogError> {
    // v1 counts entries over all its trees, v2 has one.
    let is_numbered = generation == Generation::V1 || entry.log_index == proof.log_index;
    let mut leaf = vec![0];
    leaf.extend_from_slice(&entry.body);
    let root = root(
        Hash::Sha256.of(&leaf),
        proof.log_index,
        tree.size,
        &proof.hashes,
    );
    let is_same_tree = proof.tree_size == tree.size && proof.root_hash == tree.root;
    if is_numbered && is_same_tree && root.is_some_and(|it| it == tree.root) {
        Ok(())
    } else {
        Err(LogError::NotIncluded)
    }
}

/// The root of a tree of `size` entries in which the one with number `index` has the hash `leaf`.
///
/// <https://www.rfc-editor.org/rfc/rfc9162#section-2.1.3.2>
fn root(leaf: Vec<u8>, index: u64, size: u64, hashes: &[Vec<u8>]) -> Option<Vec<u8>> {
    let (mut at, mut last) = (index, size.checked_sub(1)?);
    if at > last {
        return None;
    }
    let mut root = leaf;
    for hash in hashes {
        if hash.len() != Hash::Sha256.len() || last == 0 {
            return None;
        }
        if at % 2 == 1 || at == last {
            root = node(hash, &root);
            while at % 2 == 0 && at != 0 {
                (at, last) = (at / 2, last / 2);
            }
        } else {
            root = node(&root, hash);
        }
        (at, last) = (at / 2, last / 2);
    }
    (last == 0).then_some(root)
}

fn node(left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut node = vec![1];
    node.extend_from_slice(left);
    node.extend_from_slice(right);
    Hash::Sha256.of(&node)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The root of a tree, as RFC 6962 defines it.
    fn tree(leaves: &[Vec<u8>]) -> Vec<u8> {
        match leaves {
            [one] => one.clone(),
            many => {
                let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
                node(&tree(left), &tree(right))
            }
        }
    }

    /// The proof that the leaf at `index` is in it.
    fn path(leaves: &[Vec<u8>], index: usize) -> Vec<Vec<u8>> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        let (mut path, sibling) = if index < left.len() {
            (path(left, index), tree(right))
        } else {
            (path(right, index - left.len()), tree(left))
        };
        path.push(sibling);
        path
    }

    #[test]
    fn each_entry_of_each_small_tree_is_in_it_and_nowhere_else() {
        let leaves: Vec<_> = (0..33u8).map(|it| Hash::Sha256.of(&[0, it])).collect();
        for size in 1..=leaves.len() {
            let leaves = &leaves[..size];
            let (expected, count) = (tree(leaves), size as u64);
            for index in 0..size {
                let hashes = path(leaves, index);
                let of = |leaf: usize, index: usize, hashes: &[Vec<u8>]| {
                    root(leaves[leaf].clone(), index as u64, count, hashes)
                };
                assert_eq!(of(index, index, &hashes).unwrap(), expected);
                for other in (0..size).filter(|it| *it != index) {
                    assert_ne!(of(index, other, &hashes).as_ref(), Some(&expected));
                    assert_ne!(of(other, index, &hashes).as_ref(), Some(&expected));
                }
                if let Some((_, short)) = hashes.split_last() {
                    assert_eq!(of(index, index, short), None);
                }
                let long = [hashes.as_slice(), &[vec![0; 32]]].concat();
                assert_eq!(of(index, index, &long), None);
            }
            assert_eq!(root(leaves[0].clone(), count, count, &[]), None);
        }
        assert_eq!(root(vec![0; 32], 0, 0, &[]), None);
    }
}
