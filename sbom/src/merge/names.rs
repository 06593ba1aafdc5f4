//! Names that are unique in a merged document.

use std::collections::{BTreeMap, BTreeSet};

use crate::json::short_hash;

/// Gives each of `wanted`, a pair of what identifies a thing and the name that it would like, a
/// name of its own: the one it likes if nobody else does and it is not in `taken`, else one made by
/// `rename` from a hash of what identifies it. Adds the names to `taken`.
///
/// The result depends on what is wanted, not on the order.
pub(crate) fn assign(
    wanted: &[(&str, &str)],
    taken: &mut BTreeSet<String>,
    rename: impl Fn(&str, &str) -> String,
) -> Vec<String> {
    let mut rivals: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, name) in wanted {
        *rivals.entry(name).or_default() += 1;
    }
    let given: Vec<Option<String>> = wanted
        .iter()
        .map(|(_, name)| {
            let is_free =
                !name.is_empty() && rivals.get(name) == Some(&1) && !taken.contains(*name);
            is_free.then(|| (*name).to_owned())
        })
        .collect();
    taken.extend(given.iter().flatten().cloned());
    wanted
        .iter()
        .zip(given)
        .map(|((identity, name), given)| {
            given.unwrap_or_else(|| {
                // Only who wrote a document against this one needs a second attempt.
                let mut seed = (*identity).to_owned();
                loop {
                    let renamed = rename(&short_hash(&seed), name);
                    if taken.insert(renamed.clone()) {
                        return renamed;
                    }
                    seed.push('\u{1f}');
                }
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_stay_where_they_can() {
        let mut taken = BTreeSet::from(["root".to_owned()]);
        let wanted = [
            ("k1", "a"),
            ("k2", "b"),
            ("k3", "b"),
            ("k4", "root"),
            ("k5", ""),
        ];
        let names = assign(&wanted, &mut taken, |hash, name| format!("{hash}-{name}"));
        assert_eq!(names.first().map(String::as_str), Some("a"));
        assert!(names.iter().skip(1).all(|it| it.contains('-')));
        assert_eq!(taken.len(), 6);
    }
}
