//! The rules that come with the program.

/// A text of rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shipped {
    /// The name of the set that it belongs to.
    pub(crate) set: &'static str,
    /// What messages call it.
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! shipped {
    ($($set:literal / $file:literal),* $(,)?) => {
        &[$(Shipped {
            set: $set,
            name: concat!("sealpack:", $set, "/", $file),
            text: include_str!(concat!("../rules/", $set, "/", $file)),
        }),*]
    };
}

/// All shipped rules.
pub(crate) const SHIPPED: &[Shipped] = shipped![
    "health" / "age.rego",
    "health" / "files.rego",
    "health" / "health.rego",
    "health" / "signatures.rego",
    "health" / "source.rego",
    "sbom" / "components.rego",
    "sbom" / "denied.rego",
    "sbom" / "licenses.rego",
    "sbom" / "names.rego",
    "sbom" / "purls.rego",
    "sbom" / "sbom.rego",
    "sbom" / "subject.rego",
    "signature" / "signature.rego",
    "slsa" / "builder.rego",
    "slsa" / "isolation.rego",
    "slsa" / "parameters.rego",
    "slsa" / "slsa.rego",
    "slsa" / "source.rego",
];

/// The names of the sets.
pub(crate) fn sets() -> Vec<&'static str> {
    let mut sets: Vec<_> = SHIPPED.iter().map(|it| it.set).collect();
    sets.dedup();
    sets
}

/// The rules of the set called `name`; none if there is no such set.
pub(crate) fn set(name: &str) -> impl Iterator<Item = &'static Shipped> {
    SHIPPED.iter().filter(move |it| it.set == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn licences_have_the_names_of_the_list() {
        let gnu = ["agpl-", "gpl-", "lgpl-"];
        let mut names: Vec<_> = spdx::identifiers::LICENSES
            .iter()
            .map(|it| (it.name.to_lowercase(), it.full_name))
            .filter(|(id, _)| id != "noassertion" && !gnu.iter().any(|it| id.starts_with(it)))
            .map(|(id, name)| format!("\t\"{id}\": {},\n", serde_json::json!(name)))
            .collect();
        names.sort();
        let shipped = SHIPPED.iter().find(|it| it.name.ends_with("/names.rego"));
        let (_, list) = shipped.unwrap().text.split_once(":= {\n").unwrap();
        let right = format!("{}}}\n", names.concat());
        // Not the two lists, of which nobody sees how they differ.
        let differ = |one: &str, other: &str, sign: &str| {
            let others: BTreeSet<&str> = other.lines().collect();
            let only = one.lines().filter(|it| !others.contains(it));
            only.map(|it| format!("{sign}{it}")).collect::<Vec<_>>()
        };
        let lines = [differ(list, &right, "-"), differ(&right, list, "+")];
        let lines = lines.concat().join("\n");
        assert!(
            lines.is_empty(),
            "names.rego is not as the list has it:\n{lines}"
        );
        assert!(
            list == right,
            "names.rego is in another order than the list"
        );
    }
}
