//! Artifact rules: which materials and products a step may have.
//!
//! As a firewall's: all artifacts of one side stand in a queue, each rule in turn takes some out,
//! and only `DISALLOW` and `REQUIRE` can say no. in-toto 1.0, section 4.3.3.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

use crate::link::names;
use crate::pattern::{Budget, Exhausted, Pattern};
use crate::{Artifacts, Link};

/// Which artifacts of a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a step has these two sides")]
pub enum Side {
    /// What was there before.
    Materials,
    /// What was there after.
    Products,
}

impl Side {
    fn of(self, link: &Link) -> &Artifacts {
        match self {
            Self::Materials => &link.materials,
            Self::Products => &link.products,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Materials => "materials",
            Self::Products => "products",
        })
    }
}

/// One rule, as words. Printed, it is what it was parsed from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "Vec<String>")]
pub struct Rule {
    words: Vec<String>,
    verb: Verb,
    pattern: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Verb {
    Create,
    Delete,
    Modify,
    Allow,
    Disallow,
    Require,
    Match {
        source_prefix: String,
        side: Side,
        destination_prefix: String,
        step: String,
    },
}

impl TryFrom<Vec<String>> for Rule {
    type Error = RuleError;

    /// Key words in any case, all else as it is.
    fn try_from(words: Vec<String>) -> Result<Self, RuleError> {
        let malformed = || RuleError {
            rule: words.join(" "),
        };
        let lower: Vec<_> = words.iter().map(|it| it.to_lowercase()).collect();
        let lower: Vec<_> = lower.iter().map(String::as_str).collect();
        let word = |index: usize| words.get(index).cloned().unwrap_or_default();
        let side = |text: &str| match text {
            "materials" => Ok(Side::Materials),
            "products" => Ok(Side::Products),
            _ => Err(malformed()),
        };
        let (verb, pattern) = match lower.as_slice() {
            ["create", _] => (Verb::Create, 1),
            ["delete", _] => (Verb::Delete, 1),
            ["modify", _] => (Verb::Modify, 1),
            ["allow", _] => (Verb::Allow, 1),
            ["disallow", _] => (Verb::Disallow, 1),
            ["require", _] => (Verb::Require, 1),
            ["match", _, "in", _, "with", with, "in", _, "from", _] => {
                (matching(word(3), side(with)?, word(7), word(9)), 1)
            }
            ["match", _, "in", _, "with", with, "from", _] => {
                (matching(word(3), side(with)?, String::new(), word(7)), 1)
            }
            ["match", _, "with", with, "in", _, "from", _] => {
                (matching(String::new(), side(with)?, word(5), word(7)), 1)
            }
            ["match", _, "with", with, "from", _] => (
                matching(String::new(), side(with)?, String::new(), word(5)),
                1,
            ),
            _ => return Err(malformed()),
        };
        Ok(Self {
            verb,
            pattern: word(pattern),
            words,
        })
    }
}

fn matching(source_prefix: String, side: Side, destination_prefix: String, step: String) -> Verb {
    Verb::Match {
        source_prefix,
        side,
        destination_prefix,
        step,
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

/// Some words are no rule.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("malformed rule `{rule}`")]
#[expect(clippy::exhaustive_structs, reason = "it says one thing")]
pub struct RuleError {
    /// The words.
    pub rule: String,
}

/// What a rule says no to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Broken {
    pub(crate) rule: String,
    /// What `DISALLOW` matched; nothing for `REQUIRE`.
    pub(crate) names: Vec<String>,
}

/// Applies the rules of one side of a step, in order, until one says no.
pub(crate) fn apply(
    rules: &[Rule],
    side: Side,
    link: &Link,
    links: &BTreeMap<String, Link>,
    budget: &mut Budget,
) -> Result<Option<Broken>, Exhausted> {
    let artifacts = side.of(link);
    let mut queue: BTreeSet<&str> = names(artifacts).collect();
    for rule in rules {
        let broken = |names: Vec<String>| Broken {
            rule: rule.to_string(),
            names,
        };
        if rule.verb == Verb::Require {
            // A name and no pattern, as the reference implementation has it.
            if !queue.contains(rule.pattern.as_str()) {
                return Ok(Some(broken(Vec::new())));
            }
            continue;
        }
        let taken = rule.takes(&queue, artifacts, link, links, budget)?;
        if rule.verb == Verb::Disallow {
            if !taken.is_empty() {
                let names = taken.into_iter().map(str::to_owned).collect();
                return Ok(Some(broken(names)));
            }
            continue;
        }
        for name in taken {
            queue.remove(name);
        }
    }
    Ok(None)
}

impl Rule {
    /// Which of the queue it is about.
    fn takes<'a>(
        &self,
        queue: &BTreeSet<&'a str>,
        artifacts: &Artifacts,
        link: &Link,
        links: &BTreeMap<String, Link>,
        budget: &mut Budget,
    ) -> Result<Vec<&'a str>, Exhausted> {
        let pattern = Pattern::parse(&self.pattern);
        let mut taken = Vec::new();
        for &name in queue {
            let (material, product) = (link.materials.get(name), link.products.get(name));
            let applies = match &self.verb {
                Verb::Create => material.is_none() && product.is_some(),
                Verb::Delete => material.is_some() && product.is_none(),
                Verb::Modify => material.is_some() && product.is_some() && material != product,
                Verb::Allow | Verb::Disallow | Verb::Require => true,
                Verb::Match {
                    source_prefix,
                    side,
                    destination_prefix,
                    step,
                } => {
                    let Some(rest) = without_prefix(name, source_prefix) else {
                        continue;
                    };
                    let there = links
                        .get(step)
                        .and_then(|it| side.of(it).get(&with_prefix(destination_prefix, rest)));
                    if there.is_some()
                        && there == artifacts.get(name)
                        && pattern.matches(rest, budget)?
                    {
                        taken.push(name);
                    }
                    continue;
                }
            };
            if applies && pattern.matches(name, budget)? {
                taken.push(name);
            }
        }
        Ok(taken)
    }
}

/// What stands behind the folder `prefix`; none if `name` is not in it.
fn without_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.is_empty() {
        Some(name)
    } else {
        name.strip_prefix(&with_prefix(prefix, ""))
    }
}

fn with_prefix(prefix: &str, rest: &str) -> String {
    let prefix = prefix.replace('\\', "/");
    if prefix.is_empty() || prefix.ends_with('/') {
        format!("{prefix}{rest}")
    } else {
        format!("{prefix}/{rest}")
    }
}

#[cfg(test)]
mod tests {
    use oci::Digest;

    use super::*;
    use crate::Hashes;

    fn rule(text: &str) -> Rule {
        let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
        Rule::try_from(words).unwrap()
    }

    fn artifacts(of: &[(&str, &str)]) -> Artifacts {
        of.iter()
            .map(|(name, content)| {
                let hashes = Hashes::of(&Digest::of(content.as_bytes()));
                ((*name).to_owned(), hashes)
            })
            .collect()
    }

    /// What the rules say of a step that keeps `same`, changes `mod`, deletes `old` and makes `new`.
    fn said(side: Side, rules: &[&str]) -> Option<String> {
        let link = Link {
            materials: artifacts(&[("same", "1"), ("mod", "1"), ("old", "1"), ("d/x", "7")]),
            products: artifacts(&[("same", "1"), ("mod", "2"), ("new", "1"), ("d/x", "7")]),
            ..Link::default()
        };
        let before = Link {
            products: artifacts(&[("same", "1"), ("mod", "other"), ("x", "7"), ("e/x", "7")]),
            ..Link::default()
        };
        let links = BTreeMap::from([("before".to_owned(), before)]);
        let rules: Vec<_> = rules.iter().map(|it| rule(it)).collect();
        let mut budget = Budget::new(1 << 20);
        apply(&rules, side, &link, &links, &mut budget)
            .unwrap()
            .map(|it| format!("{}: {}", it.rule, it.names.join(" ")))
    }

    #[test]
    fn each_rule_takes_what_it_is_about() {
        use Side::{Materials, Products};
        for (side, first, left) in [
            (Products, "CREATE *", "d/x mod same"),
            (Materials, "CREATE *", "d/x mod old same"),
            (Materials, "DELETE *", "d/x mod same"),
            (Products, "DELETE *", "d/x mod new same"),
            (Products, "MODIFY *", "d/x new same"),
            (Materials, "modify m*", "d/x old same"),
            (Products, "ALLOW *m*", "d/x new"),
            (Products, "MATCH * WITH PRODUCTS FROM before", "d/x mod new"),
            (
                Products,
                "MATCH * WITH MATERIALS FROM before",
                "d/x mod new same",
            ),
            (
                Products,
                "MATCH * WITH PRODUCTS FROM nowhere",
                "d/x mod new same",
            ),
            (
                Products,
                "MATCH * IN d WITH PRODUCTS FROM before",
                "mod new same",
            ),
            (
                Products,
                "match * in d/ with products in e from before",
                "mod new same",
            ),
            (
                Products,
                "MATCH * WITH PRODUCTS IN e FROM before",
                "d/x mod new same",
            ),
            (
                Products,
                "MATCH y IN d WITH PRODUCTS FROM before",
                "d/x mod new same",
            ),
            (Products, "REQUIRE mod", "d/x mod new same"),
        ] {
            let said = said(side, &[first, "DISALLOW *"]).unwrap();
            assert_eq!(said, format!("DISALLOW *: {left}"), "{first}");
        }
    }

    #[test]
    fn only_disallow_and_require_say_no() {
        use Side::Products;
        assert_eq!(said(Products, &[]), None);
        assert_eq!(said(Products, &["CREATE nothing"]), None);
        assert_eq!(said(Products, &["ALLOW *", "DISALLOW *"]), None);
        assert_eq!(said(Products, &["DISALLOW old"]), None);
        assert_eq!(
            said(Products, &["DISALLOW n*"]).unwrap(),
            "DISALLOW n*: new"
        );
        assert_eq!(said(Products, &["REQUIRE n*"]).unwrap(), "REQUIRE n*: ");
        assert_eq!(
            said(Products, &["ALLOW new", "REQUIRE new"]).unwrap(),
            "REQUIRE new: "
        );
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            "ALLOW",
            "ALLOW a b",
            "PERMIT a",
            "MATCH a",
            "MATCH a WITH THINGS FROM b",
            "MATCH a IN b FROM c",
            "MATCH a IN b WITH PRODUCTS IN c",
            "MATCH a WITH PRODUCTS FROM b c",
        ] {
            let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
            let error = Rule::try_from(words).unwrap_err();
            assert_eq!(error.to_string(), format!("malformed rule `{text}`"));
        }
        assert_eq!(
            rule("match a With Products From B").to_string(),
            "match a With Products From B"
        );
    }
}
