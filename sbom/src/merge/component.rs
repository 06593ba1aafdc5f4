//! Merges what is said of one component, whoever says it.

use std::collections::BTreeMap;

use super::fields::Other;
use crate::component::{Completeness, Component, Kind, Licenses, Party};

/// Merges `members`, in any order. Lists are united; where values differ, one stands and the
/// others are returned with the name of the field, as CycloneDX calls it.
pub(super) fn unite(members: &[&Component]) -> (Component, Vec<Other>) {
    let mut others = Vec::new();
    let mut text = |name: &str, field: fn(&Component) -> Option<&String>| {
        let values = sorted(members.iter().filter_map(|it| field(it)));
        let mut values = values.into_iter();
        let kept = values.next().cloned();
        others.extend(values.map(|it| Other {
            path: name.to_owned(),
            value: it.clone(),
        }));
        kept
    };
    let group = text("group", |it| it.group.as_ref());
    let name = text("name", |it| Some(&it.name)).unwrap_or_default();
    let version = text("version", |it| it.version.as_ref());
    let description = text("description", |it| it.description.as_ref());
    let copyright = text("copyright", |it| it.copyright.as_ref());
    let mut party = |name: &str, field: fn(&Component) -> Option<&Party>| {
        let values = sorted(members.iter().filter_map(|it| field(it)));
        let mut values = values.into_iter();
        let kept = values.next().cloned();
        others.extend(
            values
                .filter(|it| kept.as_ref().is_none_or(|kept| kept.name != it.name))
                .map(|it| Other {
                    path: format!("{name}.name"),
                    value: it.name.clone(),
                }),
        );
        kept
    };
    let supplier = party("supplier", |it| it.supplier.as_ref());
    let originator = party("author", |it| it.originator.as_ref());
    let mut properties = BTreeMap::new();
    for (name, value) in sorted(members.iter().flat_map(|it| &it.properties)) {
        properties
            .entry(name.clone())
            .or_insert_with(|| value.clone());
    }
    let component = Component {
        // A library is what something is if nobody says.
        kind: members
            .iter()
            .map(|it| it.kind)
            .filter(|it| *it != Kind::Library)
            .min()
            .unwrap_or_default(),
        purl: members.iter().filter_map(|it| it.purl.clone()).min(),
        group,
        name,
        version,
        cpes: all(members, |it| &it.cpes),
        supplier,
        originator,
        description,
        licenses: Licenses {
            declared: all(members, |it| &it.licenses.declared),
            concluded: all(members, |it| &it.licenses.concluded),
        },
        copyright,
        hashes: all(members, |it| &it.hashes),
        source: members.iter().filter_map(|it| it.source.clone()).min(),
        urls: all(members, |it| &it.urls),
        evidence: all(members, |it| &it.evidence),
        dependencies: members
            .iter()
            .map(|it| it.dependencies)
            .min()
            .unwrap_or(Completeness::Unknown),
        properties,
    };
    (component, others)
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort();
    values.dedup();
    values
}

fn all<T: Clone + Ord>(members: &[&Component], list: fn(&Component) -> &Vec<T>) -> Vec<T> {
    sorted(members.iter().flat_map(|it| list(it)).cloned())
}
