//! The flags of instructions: `--name`, `--name=value`.

use std::collections::BTreeMap;

use super::Problem;
use super::suggest::with_suggestion;

/// What a flag takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Takes {
    /// A value, each time that it is given.
    List,
    /// Nothing, or `true` or `false`.
    Switch,
    /// A value.
    Text,
}

/// The flags that were given.
#[derive(Debug, Default)]
pub(super) struct Flags(BTreeMap<&'static str, Vec<String>>);

impl Flags {
    /// Reads those that an instruction has.
    pub(super) fn read(given: &[String], known: &[(&'static str, Takes)]) -> Result<Self, Problem> {
        let mut flags = Self::default();
        for flag in given {
            let Some(text) = flag.strip_prefix("--") else {
                return Err(Problem(format!("arg should start with -- : {flag}")));
            };
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (text, None),
            };
            let Some((name, takes)) = known.iter().find(|(it, _)| *it == name) else {
                let text = format!("unknown flag: --{name}");
                let known = known.iter().map(|(it, _)| *it);
                return Err(Problem(with_suggestion(text, name, known, false)));
            };
            let values = flags.0.entry(name).or_default();
            if !values.is_empty() && *takes != Takes::List {
                return Err(Problem(format!("duplicate flag specified: --{name}")));
            }
            let missing = || Problem(format!("missing a value on flag: --{name}"));
            values.push(match (takes, value) {
                (Takes::Switch, None) => "true".to_owned(),
                (Takes::Switch, Some(value)) => match value.to_ascii_lowercase().as_str() {
                    "" => return Err(missing()),
                    it @ ("true" | "false") => it.to_owned(),
                    _ => {
                        let text =
                            format!("expecting boolean value for flag --{name}, not: {value}");
                        return Err(Problem(text));
                    }
                },
                (_, Some(value)) => value.to_owned(),
                (_, None) => return Err(missing()),
            });
        }
        Ok(flags)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.first().cloned()
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        self.0.get(name).cloned().unwrap_or_default()
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.text(name).as_deref() == Some("true")
    }
}
