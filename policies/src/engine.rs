//! The Rego engine: regorus, with nothing that reaches out, and with errors that say where.

mod layout;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use intoto::Timestamp;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};
use serde_json::Value as Json;

use crate::verdict::Finding;

/// How long the rules of one package may run. The shipped ones take 20 ms for an SBOM of 2600
/// packages.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Rules, parsed, and the packages that they are in.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    engine: Engine,
    /// What has to have a `deny`, with a file that has such a package.
    packages: BTreeMap<String, String>,
}

impl Rules {
    /// Parses rules: pairs of a name for messages and a text.
    pub(crate) fn parse<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, RegoError> {
        let mut engine = Engine::new();
        engine.set_rego_v0(false);
        // Else a failing builtin makes a rule undefined, and so what it forbids allowed.
        engine.set_strict_builtin_errors(true);
        limit_time(&mut engine, TIME_LIMIT);
        let mut packages = BTreeMap::new();
        let mut denying = BTreeSet::new();
        for (name, text) in files {
            if let Some(line) = too_deep(text) {
                return Err(RegoError {
                    file: name.to_owned(),
                    line: Some(line),
                    message: format!("brackets are nested more than {MAX_DEPTH} deep"),
                });
            }
            let package = engine
                .add_policy(name.to_owned(), text.to_owned())
                .map_err(|error| RegoError::parse(name, &error.to_string()))?;
            let Some(package) = package
                .strip_prefix("data.sealpack.")
                .filter(|it| it.split('.').all(is_segment))
            else {
                return Err(RegoError {
                    file: name.to_owned(),
                    line: None,
                    message: "the package is not one below `sealpack`, of lower-case letters, \
                              digits and `_`"
                        .to_owned(),
                });
            };
            let has_deny = engine
                .has_declared_rule_rooted_at(name, "deny")
                .map_err(|error| RegoError::parse(name, &error.to_string()))?;
            if has_deny {
                denying.insert(package.to_owned());
            }
            if package != "lib" && !package.starts_with("lib.") {
                packages
                    .entry(package.to_owned())
                    .or_insert_with(|| name.to_owned());
            }
        }
        // Rules that are called otherwise would be there and never be asked.
        if let Some((package, file)) = packages.iter().find(|(it, _)| !denying.contains(*it)) {
            return Err(RegoError {
                file: file.clone(),
                line: None,
                message: format!("package `sealpack.{package}` has no `deny`"),
            });
        }
        Ok(Self { engine, packages })
    }

    /// The packages that judge, and what each finds in `input`.
    pub(crate) fn evaluate(
        &self,
        input: Json,
        now: Option<&Timestamp>,
    ) -> Result<BTreeMap<&str, Vec<Finding>>, EvaluateError> {
        let mut engine = self.engine.clone();
        confine(&mut engine, now).map_err(|error| RegoError::parse("", &error))?;
        engine.set_input(input.into());
        let mut findings = BTreeMap::new();
        for (package, file) in &self.packages {
            let denied = engine
                .eval_rule(format!("data.sealpack.{package}.deny"))
                .map_err(|error| RegoError::parse(file, &error.to_string()))?;
            let found =
                read_findings(package, &denied).ok_or_else(|| EvaluateError::NotFindings {
                    package: package.clone(),
                    file: file.clone(),
                })?;
            findings.insert(package.as_str(), found);
        }
        Ok(findings)
    }
}

/// How deep brackets may be nested: the engine's parser recurses without a limit of its own.
const MAX_DEPTH: usize = 64;

/// The line at which brackets are nested too deep, outside of texts and comments.
fn too_deep(text: &str) -> Option<u32> {
    let mut depth = 0_usize;
    let mut line = 1;
    let mut within = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c == '\n' {
            line += 1;
        }
        match within {
            Some('"') if c == '\\' => {
                characters.next();
            }
            Some(end) if c == end => within = None,
            Some(_) => {}
            None => match c {
                '"' | '`' => within = Some(c),
                '#' => within = Some('\n'),
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            },
        }
        if depth > MAX_DEPTH {
            return Some(line);
        }
    }
    None
}

fn limit_time(engine: &mut Engine, limit: Duration) {
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit,
        check_interval: NonZeroU32::MIN.saturating_add(255),
    });
}

fn is_segment(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Takes away what asks others: network, clock, machine, chance.
fn confine(engine: &mut Engine, now: Option<&Timestamp>) -> Result<(), String> {
    for (name, arguments) in [
        ("http.send", 1),
        ("net.lookup_ip_addr", 1),
        ("opa.runtime", 0),
        ("rand.intn", 2),
        ("uuid.rfc4122", 1),
    ] {
        let refuse = move |_: Vec<Value>| {
            let message = format!("`{name}` is not for rules: they see only what is proven");
            Err(std::io::Error::other(message).into())
        };
        engine
            .add_extension(name.to_owned(), arguments, Box::new(refuse))
            .map_err(|error| error.to_string())?;
    }
    for (name, arguments, function) in time::FUNCTIONS {
        let call = move |arguments: Vec<Value>| {
            function(&arguments)
                .map_err(|error| std::io::Error::other(format!("`{name}`: {error}")).into())
        };
        engine
            .add_extension(name.to_owned(), arguments, Box::new(call))
            .map_err(|error| error.to_string())?;
    }
    let now = now
        .and_then(|it| OffsetDateTime::parse(it.as_str(), &Rfc3339).ok())
        .and_then(|it| i64::try_from(it.unix_timestamp_nanos()).ok());
    let answer = move |_: Vec<Value>| match now {
        Some(now) => Ok(Value::from(now)),
        None => Err(std::io::Error::other("`time.now_ns`: no time was given").into()),
    };
    engine
        .add_extension("time.now_ns".to_owned(), 0, Box::new(answer))
        .map_err(|error| error.to_string())
}

/// The findings in `denied`: a set of texts, or of objects with `message` and `solution`.
fn read_findings(package: &str, denied: &Value) -> Option<Vec<Finding>> {
    let text = |value: &Value| value.as_string().ok().map(|it| it.as_ref().to_owned());
    let mut findings = denied
        .as_set()
        .ok()?
        .iter()
        .map(|it| {
            let (message, solution) = if let Some(message) = text(it) {
                (message, None)
            } else {
                let fields = it.as_object().ok()?;
                let message = text(fields.get(&Value::from("message"))?)?;
                let solution = match fields.get(&Value::from("solution")) {
                    Some(solution) => Some(text(solution)?),
                    None => None,
                };
                (message, solution)
            };
            Some(Finding {
                rule: package.to_owned(),
                message,
                solution,
            })
        })
        .collect::<Option<Vec<_>>>()?;
    findings.sort();
    Some(findings)
}

/// An error in rules: they do not parse, or went wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{file}{}: {message}", line.map(|it| format!(":{it}")).unwrap_or_default())]
#[non_exhaustive]
pub struct RegoError {
    /// In which file; names that start with `sealpack:` are shipped.
    pub file: String,
    /// At which line.
    pub line: Option<u32>,
    /// What is wrong.
    pub message: String,
}

impl RegoError {
    /// Takes the engine's text apart: `--> file:line:column`, the line, and `error: message`.
    fn parse(file: &str, text: &str) -> Self {
        let place = text.lines().find_map(|it| {
            let mut place = it.strip_prefix("--> ")?.rsplitn(3, ':');
            let _column = place.next()?;
            let line = place.next()?.parse().ok()?;
            Some((place.next()?, line))
        });
        let message = text
            .lines()
            .find_map(|it| it.strip_prefix("error: "))
            .unwrap_or_else(|| text.trim());
        let (file, line) = match place {
            Some((file, line)) => (file, Some(line)),
            None => (file, None),
        };
        Self {
            file: file.to_owned(),
            line,
            message: message.to_owned(),
        }
    }
}

/// Why it could not be decided. Never to be taken for acceptance.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// What a package denies is no set of findings.
    #[error(
        "{file}: `data.sealpack.{package}.deny` is not a set of texts or of objects with `message`"
    )]
    NotFindings {
        /// The package.
        package: String,
        /// A file that it is in.
        file: String,
    },
    /// A rule went wrong, or ran into a limit.
    #[error("rules failed")]
    Rego(#[from] RegoError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_run_for_too_long_are_an_error() {
        let text = "package sealpack.slow\n\ndeny contains \"x\" if {\n\tsome a in numbers.range(1, 4000)\n\tsome b in numbers.range(1, 4000)\n\ta * b < 0\n}\n";
        let mut rules = Rules::parse([("slow.rego", text)]).unwrap();
        limit_time(&mut rules.engine, Duration::from_millis(20));
        let error = rules.evaluate(Json::Null, None).unwrap_err();
        let EvaluateError::Rego(error) = error else {
            panic!("{error}");
        };
        assert!(error.message.contains("limit"), "{error}");
    }

    #[test]
    fn deep_rules_are_an_error() {
        let parse = |rule: &str| Rules::parse([("deep.rego", rule)]).map(drop);
        let rule = |value: &str| {
            format!(
                "package sealpack.deep\n\n# {0}\ndeny contains \"{0}\" if {value} == `{0}`\n",
                "[".repeat(100)
            )
        };
        assert_eq!(parse(&rule("1")), Ok(()));
        let error = parse(&rule(&"[".repeat(100_000))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "deep.rego:4: brackets are nested more than 64 deep"
        );
    }
}
