//! The arguments of a Dockerfile, by where they were declared.
//!
//! <https://docs.docker.com/reference/dockerfile/#arg>

use std::collections::BTreeMap;

use oci::Platform;

use crate::dockerfile::words::{Lookup, Style, WordError, expand};

/// Arguments that a `RUN` gets, if they are given, without being declared.
const PROXIES: &[&str] = &[
    "ALL_PROXY",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "all_proxy",
    "ftp_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Arguments: those given, and those that were declared so far.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    given: BTreeMap<String, String>,
    /// What stands before the first `FROM`, and what is known of the platform.
    global: BTreeMap<String, String>,
    declared: BTreeMap<String, String>,
}

impl Arguments {
    /// Those that were given; later ones win.
    pub(super) fn new(
        given: impl IntoIterator<Item = (String, String)>,
        platform: &Platform,
    ) -> Self {
        let variant = platform.variant.clone().unwrap_or_default();
        let mut name = format!("{}/{}", platform.os, platform.architecture);
        if !variant.is_empty() {
            name.push('/');
            name.push_str(&variant);
        }
        let mut global = BTreeMap::new();
        for kind in ["BUILD", "TARGET"] {
            for (key, value) in [
                ("PLATFORM", &name),
                ("OS", &platform.os),
                ("ARCH", &platform.architecture),
                ("VARIANT", &variant),
            ] {
                global.insert(format!("{kind}{key}"), value.clone());
            }
        }
        Self {
            given: given.into_iter().collect(),
            global,
            declared: BTreeMap::new(),
        }
    }

    /// Declares what stands before the first `FROM`.
    pub(super) fn declare_global(
        &mut self,
        arguments: &[(String, Option<String>)],
        escape: char,
    ) -> Result<(), WordError> {
        for (name, default) in arguments {
            let value = match (self.given.get(name), default) {
                (Some(given), _) => given.clone(),
                (None, Some(default)) => {
                    let lookup = |name: &str| self.global.get(name).cloned();
                    expand(default, &Style::new(escape), &lookup)?
                }
                (None, None) => continue,
            };
            self.global.insert(name.clone(), value);
        }
        Ok(())
    }

    /// Declares arguments of a stage, whose environment is `env`.
    pub(super) fn declare(
        &mut self,
        arguments: &[(String, Option<String>)],
        env: &BTreeMap<String, String>,
        escape: char,
    ) -> Result<(), WordError> {
        for (name, default) in arguments {
            let value = match (self.given.get(name), default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => {
                    let lookup = |name: &str| self.value(env, name);
                    Some(expand(default, &Style::new(escape), &lookup)?)
                }
                (None, None) => self.global.get(name).cloned(),
            };
            if let Some(value) = value {
                self.declared.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    /// The value of a variable: what is in the environment wins.
    pub(super) fn value(&self, env: &BTreeMap<String, String>, name: &str) -> Option<String> {
        env.get(name).or_else(|| self.declared.get(name)).cloned()
    }

    /// The environment of a command.
    pub(super) fn environment(&self, env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        for name in PROXIES {
            if let Some(value) = self.given.get(*name) {
                all.insert((*name).to_owned(), value.clone());
            }
        }
        all.extend(self.declared.clone());
        all.extend(env.clone());
        all
    }
}

/// Replaces the variables of `text`.
pub(super) fn replace(text: &str, escape: char, lookup: &Lookup<'_>) -> Result<String, WordError> {
    expand(text, &Style::new(escape), lookup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_count_from_where_they_are_declared() {
        let given = [("a", "1"), ("b", "2"), ("http_proxy", "p")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let platform = Platform {
            os: "linux".to_owned(),
            architecture: "arm64".to_owned(),
            variant: Some("v8".to_owned()),
            ..Platform::host()
        };
        let mut arguments = Arguments::new(given, &platform);
        let declared =
            |name: &str, default: Option<&str>| (name.to_owned(), default.map(str::to_owned));
        let env = BTreeMap::from([("b".to_owned(), "env".to_owned())]);
        arguments
            .declare_global(
                &[
                    declared("g", Some("x${TARGETARCH}")),
                    declared("a", Some("9")),
                ],
                '\\',
            )
            .unwrap();
        assert_eq!(arguments.value(&env, "a"), None);
        let stage = [
            declared("a", None),
            declared("b", None),
            declared("g", None),
            declared("d", Some("$a$b")),
            declared("none", None),
            declared("TARGETPLATFORM", None),
        ];
        arguments.declare(&stage, &env, '\\').unwrap();
        let value = |name: &str| arguments.value(&env, name).unwrap_or_default();
        assert_eq!(
            (value("a"), value("b"), value("g")),
            ("1".into(), "env".into(), "xarm64".into())
        );
        assert_eq!(
            (value("d"), value("TARGETPLATFORM")),
            ("1env".into(), "linux/arm64/v8".into())
        );
        let all = arguments.environment(&env);
        assert_eq!(all.get("http_proxy").map(String::as_str), Some("p"));
        assert_eq!(all.get("b").map(String::as_str), Some("env"));
        assert!(!all.contains_key("none"));
    }
}
