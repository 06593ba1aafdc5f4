//! What makes two components the same.
//!
//! 1. A package URL, in its type's normal form: wherever it is named, it is one package.
//! 2. Without one, group, name and version, if both are of the same place: the same layer of the
//!    same buildpack, or the same document. Never across places, for `app 1.0` is the name of many
//!    things. The kind does not count: one format says `application` where the other can only say
//!    package.
//! 3. Of two in one place with the same group, name and version, one with a package URL and one
//!    without are the same, if no other could be meant.

use std::collections::{BTreeMap, BTreeSet};

use crate::component::{Component, Inventory, Node, RelationKind};
use crate::json::short_hash;

/// What is known of where an inventory is from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) inventory: &'a Inventory,
    /// Where it belongs; none if its components say so themselves.
    pub(crate) place: Option<&'a str>,
    /// Whether what contains a thing is a part of what it is, as where components are nested.
    pub(crate) is_nested: bool,
}

/// The identity of each component of each source: two are the same if these are.
pub(crate) fn identities(sources: &[Source<'_>]) -> Vec<Vec<String>> {
    let mut known: BTreeMap<[String; 3], BTreeSet<String>> = BTreeMap::new();
    let mut found: Vec<Vec<(String, Option<[String; 3]>)>> = Vec::new();
    for source in sources {
        let mut parents: BTreeMap<usize, usize> = BTreeMap::new();
        if source.is_nested {
            for relation in &source.inventory.relations {
                if let (Node::Component(from), RelationKind::Contains, Node::Component(to)) =
                    (relation.from, relation.kind, relation.to)
                    && from < to
                {
                    parents.entry(to).or_insert(from);
                }
            }
        }
        let mut list: Vec<(String, Option<[String; 3]>)> = Vec::new();
        for (index, component) in source.inventory.components.iter().enumerate() {
            let place = source.place.map_or_else(|| place(component), str::to_owned);
            let words = [place, full_name(component), version(component)];
            let parent = parents.get(&index).and_then(|it| list.get(*it));
            list.push(if let Some(purl) = &component.purl {
                let identity = purl.identity();
                known.entry(words).or_default().insert(identity.clone());
                (identity, None)
            } else if let Some((parent, _)) = parent {
                let identity = format!("{}\u{1e}{}", words.join("\u{1f}"), short_hash(parent));
                known.entry(words).or_default().insert(identity.clone());
                (identity, None)
            } else {
                (words.join("\u{1f}"), Some(words))
            });
        }
        found.push(list);
    }
    found
        .into_iter()
        .map(|list| {
            list.into_iter()
                .map(|(identity, words)| {
                    let others = words.as_ref().and_then(|it| known.get(it));
                    match others.filter(|it| it.len() == 1).and_then(BTreeSet::first) {
                        Some(other) => other.clone(),
                        None => identity,
                    }
                })
                .collect()
        })
        .collect()
}

/// Where a component was found: its layers and buildpacks.
fn place(component: &Component) -> String {
    let mut places: Vec<String> = component
        .evidence
        .iter()
        .map(|it| {
            let layer = it.layer.as_ref().map(|it| it.0.as_str());
            let buildpack = it.buildpack.as_deref().unwrap_or_default();
            format!("{}\n{buildpack}", layer.unwrap_or_default())
        })
        .collect();
    places.sort();
    places.dedup();
    places.join("\n")
}

/// Group and name; formats without groups write them so.
fn full_name(component: &Component) -> String {
    match &component.group {
        Some(group) => format!("{group}/{}", component.name),
        None => component.name.clone(),
    }
}

fn version(component: &Component) -> String {
    component.version.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::Kind;
    use crate::purl::Purl;

    fn inventory(components: &[(Kind, Option<&str>, &str)]) -> Inventory {
        let mut inventory = Inventory::default();
        for (kind, purl, name) in components {
            let mut component = Component::new(*kind, *name);
            component.version = Some("1".to_owned());
            component.purl = purl.and_then(Purl::parse);
            inventory.add(component);
        }
        inventory
    }

    fn same(one: (&str, &Inventory), two: (&str, &Inventory)) -> bool {
        let source = |(place, inventory)| Source {
            inventory,
            place: Some(place),
            is_nested: false,
        };
        let found = identities(&[source(one), source(two)]);
        found[0].first() == found[1].first()
    }

    #[test]
    fn a_package_url_is_the_same_everywhere() {
        let one = inventory(&[(Kind::Library, Some("pkg:pypi/A_b@1"), "x")]);
        let two = inventory(&[(Kind::Application, Some("pkg:pypi/a-b@1"), "y")]);
        assert!(same(("here", &one), ("there", &two)));
    }

    #[test]
    fn a_name_is_the_same_in_one_place_only_whatever_its_kind() {
        let one = inventory(&[(Kind::Application, None, "app")]);
        let two = inventory(&[(Kind::Library, None, "app")]);
        assert!(same(("here", &one), ("here", &two)));
        assert!(!same(("here", &one), ("there", &two)));
    }

    #[test]
    fn a_name_is_the_package_of_that_name_if_it_can_be_no_other() {
        let named = inventory(&[(Kind::Library, None, "a")]);
        let one = inventory(&[(Kind::Library, Some("pkg:npm/a@1"), "a")]);
        assert!(same(("here", &named), ("here", &one)));
        assert!(!same(("here", &named), ("there", &one)));
        let two = inventory(&[
            (Kind::Library, Some("pkg:npm/a@1"), "a"),
            (Kind::Library, Some("pkg:pypi/a@1"), "a"),
        ]);
        assert!(!same(("here", &named), ("here", &two)));
    }
}
