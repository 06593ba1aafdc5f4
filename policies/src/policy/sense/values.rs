//! What the parameters of the shipped rules can be. A value of another type would never be compared with
//! anything: a list that is a text asks for nothing, and a switch that is a text is never on.

use serde_json::{Map, Value};

/// What a parameter holds.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A list of texts, none of which is empty.
    Texts,
    /// A list of kinds of files.
    Files,
    /// `true` or `false`.
    Switch,
    /// A number, 0 or more.
    Number,
    /// From 0 to 100.
    Percent,
    /// A table: the id of a builder to its signers.
    Signers,
    /// A table: the id of a builder to a level.
    Levels,
    /// Looked at elsewhere, for it needs more than its value.
    Elsewhere,
}

/// The parameters of the shipped rules.
const KNOWN: [(&str, Kind); 24] = [
    ("allow-dirty-source", Kind::Switch),
    ("allow-forced-rebase", Kind::Switch),
    ("builder-ids", Kind::Texts),
    ("builder-levels", Kind::Levels),
    ("builder-signers", Kind::Signers),
    ("denied-licenses", Kind::Elsewhere),
    ("denied-purls", Kind::Elsewhere),
    ("external-parameters", Kind::Texts),
    ("health-absence-factor", Kind::Number),
    ("health-age-days", Kind::Number),
    ("health-commits", Kind::Number),
    ("health-contributors", Kind::Number),
    ("health-elephant-factor", Kind::Number),
    ("health-files", Kind::Files),
    ("health-last-commit-days", Kind::Number),
    ("health-last-release-days", Kind::Number),
    ("health-new-contributors", Kind::Number),
    ("health-of-source", Kind::Switch),
    ("health-releases", Kind::Number),
    ("health-signed-commits-percent", Kind::Percent),
    ("health-signed-tags-percent", Kind::Percent),
    ("isolation", Kind::Texts),
    ("sbom-types", Kind::Elsewhere),
    ("signature-threshold", Kind::Elsewhere),
];

/// The files that a statement about health names: `docs/predicates/health-v1.md`.
const FILES: [&str; 9] = [
    "changelog",
    "codeOfConduct",
    "codeOwners",
    "contributing",
    "governance",
    "license",
    "maintainers",
    "readme",
    "securityPolicy",
];

/// The names of all of them.
pub(in crate::policy) fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, _)| *name)
}

/// What is wrong with the value of `name`, of all these parameters.
pub(super) fn of(name: &str, value: &Value, all: &Map<String, Value>) -> Result<(), String> {
    let known = KNOWN.iter().find(|(it, _)| *it == name);
    let Some((_, kind)) = known else {
        return Ok(());
    };
    let is = |fits: bool, what: &str| {
        if fits {
            Ok(())
        } else {
            Err(format!("`{name}` is not {what}: {value}"))
        }
    };
    match kind {
        Kind::Elsewhere => Ok(()),
        Kind::Switch => is(value.is_boolean(), "`true` or `false`"),
        Kind::Number => is(
            value.as_f64().is_some_and(|it| it >= 0.0),
            "a number, 0 or more",
        ),
        Kind::Percent => is(
            value.as_f64().is_some_and(|it| (0.0..=100.0).contains(&it)),
            "a number from 0 to 100",
        ),
        Kind::Texts => is(
            is_list(value, |it| !it.trim().is_empty()),
            "a list of texts",
        ),
        Kind::Files => is(
            is_list(value, |it| FILES.contains(&it)),
            &format!("a list of kinds of files ({})", FILES.join(", ")),
        ),
        Kind::Levels => of_builders(name, value, all, |level| {
            let is_level = level.as_u64().is_some_and(|it| (1..=3).contains(&it));
            (!is_level).then(|| format!("a level is 1, 2 or 3, not {level}"))
        }),
        Kind::Signers => of_builders(name, value, all, |signers| {
            let Some(signers) = signers.as_array() else {
                return Some(format!("its signers are not a list: {signers}"));
            };
            if signers.is_empty() {
                return Some("it has no signers, so nothing of it would be accepted".to_owned());
            }
            let wrong = signers.iter().find(|it| !is_signer(it))?;
            Some(format!(
                "a signer is the fingerprint of a key (`sha256:…`) or `{{ identity = \"…\", issuer = \"…\" }}`, not {wrong}"
            ))
        }),
    }
}

fn is_list(value: &Value, fits: impl Fn(&str) -> bool) -> bool {
    let list = value.as_array();
    list.is_some_and(|it| it.iter().all(|it| it.as_str().is_some_and(&fits)))
}

/// What is wrong with a table by the ids of builders: each has to be one that is accepted.
fn of_builders(
    name: &str,
    value: &Value,
    all: &Map<String, Value>,
    problem: impl Fn(&Value) -> Option<String>,
) -> Result<(), String> {
    let table = value.as_object();
    let table = table.ok_or_else(|| format!("`{name}` is not a table of builders: {value}"))?;
    let ids = all.get("builder-ids").and_then(Value::as_array);
    for (id, value) in table {
        let is_accepted = ids.is_some_and(|it| it.iter().any(|it| it.as_str() == Some(id)));
        if !is_accepted {
            return Err(format!(
                "`{name}` names the builder `{id}`, which is not one of `builder-ids`"
            ));
        }
        if let Some(problem) = problem(value) {
            return Err(format!("`{name}` of `{id}`: {problem}"));
        }
    }
    Ok(())
}

fn is_signer(signer: &Value) -> bool {
    match signer {
        Value::String(fingerprint) => fingerprint.starts_with("sha256:"),
        Value::Object(fields) => {
            fields.len() == 2
                && ["identity", "issuer"]
                    .iter()
                    .all(|it| fields.get(*it).is_some_and(Value::is_string))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_has_its_type() {
        let signers = |it: Value| ("builder-signers", json!({ "a": it }));
        let levels = |it: Value| ("builder-levels", json!({ "a": it }));
        for (name, good) in [
            ("isolation", json!(["network"])),
            ("allow-dirty-source", json!(true)),
            ("health-files", json!(["license"])),
            ("health-commits", json!(5)),
            ("health-signed-tags-percent", json!(99.5)),
            signers(json!(["sha256:00", { "identity": "x", "issuer": "y" }])),
            levels(json!(3)),
            ("of-my-own", json!("anything")),
        ] {
            let all = json!({ "builder-ids": ["a"] });
            let said = of(name, &good, all.as_object().unwrap());
            assert_eq!(said, Ok(()), "{name}");
        }
        let other = "which is not one of `builder-ids`";
        for ((name, bad), says) in [
            (
                ("isolation", json!("network")),
                "is not a list of texts: \"network\"",
            ),
            (("builder-ids", json!([""])), "is not a list of texts"),
            (
                ("external-parameters", json!([1])),
                "is not a list of texts",
            ),
            (
                ("allow-dirty-source", json!("yes")),
                "is not `true` or `false`: \"yes\"",
            ),
            (
                ("health-of-source", json!("true")),
                "is not `true` or `false`",
            ),
            (
                ("health-files", json!("license")),
                "is not a list of kinds of files (changelog, ",
            ),
            (
                ("health-files", json!(["licence"])),
                "is not a list of kinds of files",
            ),
            (
                ("health-commits", json!("5")),
                "is not a number, 0 or more: \"5\"",
            ),
            (
                ("health-age-days", json!(-1)),
                "is not a number, 0 or more: -1",
            ),
            (
                signers(json!("sha256:00")),
                "of `a`: its signers are not a list",
            ),
            (signers(json!([])), "of `a`: it has no signers"),
            (
                signers(json!(["00"])),
                "a signer is the fingerprint of a key",
            ),
            (
                signers(json!([{ "identity": "x", "isuer": "y" }])),
                "not {\"identity\":\"x\",\"isuer\":\"y\"}",
            ),
            (("builder-signers", json!({ "b": ["sha256:00"] })), other),
            (("builder-levels", json!({ "b": 1 })), other),
            (levels(json!("3")), "a level is 1, 2 or 3, not \"3\""),
            (levels(json!(4)), "a level is 1, 2 or 3, not 4"),
        ] {
            let all = json!({ "builder-ids": ["a"] });
            let said = of(name, &bad, all.as_object().unwrap()).unwrap_err();
            assert!(
                said.contains(&format!("`{name}`")) && said.contains(says),
                "{said}"
            );
        }
    }
}
