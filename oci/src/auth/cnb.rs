//! Credentials in the variable `CNB_REGISTRY_AUTH`.

use std::collections::BTreeMap;

use go::json::Type;

use super::{Credential, CredentialsError, docker, normalise};

/// Parses `CNB_REGISTRY_AUTH`. As upstream, an entry holds for the whole registry: scheme and path
/// of its key are ignored.
///
/// <https://github.com/buildpacks/spec/blob/platform/v0.15/platform.md>
pub(super) fn parse(
    text: &str,
    as_given: bool,
) -> Result<BTreeMap<String, Credential>, CredentialsError> {
    // The error is dropped because it may quote a secret.
    let entries = go::json::unmarshal(text.as_bytes(), &Type::TEXTS_BY_NAME).ok();
    // `null` is nothing to Go.
    let entries: Option<BTreeMap<String, String>> =
        entries.ok_or(CredentialsError::CnbRegistryAuth)?;
    entries
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| match credential(&value) {
            Some(credential) => Ok((host_of(&key, as_given), credential)),
            None => Err(CredentialsError::CnbEntry { registry: key }),
        })
        .collect()
}

/// What an entry is for: the host of its key. To upstream no host has two names, and letters differ.
fn host_of(key: &str, as_given: bool) -> String {
    if as_given {
        let rest = key
            .strip_prefix("http://")
            .or_else(|| key.strip_prefix("https://"));
        let rest = rest.unwrap_or(key);
        return rest.split('/').next().unwrap_or_default().to_owned();
    }
    let key = normalise(key);
    key.split('/').next().unwrap_or_default().to_owned()
}

/// One blank is behind the scheme, and none before it. What follows is sent as it is, so one more makes
/// it no base64 to the registry; that at the end of a header means nothing.
fn credential(value: &str) -> Option<Credential> {
    let (scheme, rest) = value.split_once(' ')?;
    if rest.contains('\n') {
        return None;
    }
    let rest = rest.trim_end_matches([' ', '\t']);
    if scheme.eq_ignore_ascii_case("bearer") {
        Some(Credential::RegistryToken(rest.into()))
    } else if scheme.eq_ignore_ascii_case("x-identity") {
        Some(Credential::IdentityToken(rest.into()))
    } else if scheme.eq_ignore_ascii_case("basic") {
        let (username, password) = docker::split(rest).ok()?;
        Some(Credential::basic(username, password))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_schemes_parse() {
        let parsed = parse(
            r#"{"https://a.example/v2/x":"bAsIc bWU6aHVudGVyMg== ","b.example:5000":"Bearer abc","c.example":"X-Identity def","\ud800":"Basic eDp5"}"#,
            false,
        )
        .unwrap();
        assert_eq!(parsed["a.example"], Credential::basic("me", "hunter2"));
        assert_eq!(
            parsed["b.example:5000"],
            Credential::RegistryToken("abc".into())
        );
        assert_eq!(parsed["c.example"], Credential::IdentityToken("def".into()));
    }

    #[test]
    fn to_upstream_a_registry_is_called_as_its_name_is_written() {
        let text = r#"{"https://A.example/v2/":"Basic bWU6eA==","docker.io":"Basic bWU6eA=="}"#;
        let keys = |as_given| parse(text, as_given).unwrap().into_keys();
        assert!(keys(true).eq(["A.example", "docker.io"]));
        assert!(keys(false).eq(["a.example", "index.docker.io"]));
    }

    #[test]
    fn what_is_malformed_is_named_but_not_shown() {
        assert!(parse("null", false).unwrap().is_empty());
        for bad in ["", "[]", r#"{"a.example":1}"#] {
            assert!(matches!(
                parse(bad, false),
                Err(CredentialsError::CnbRegistryAuth)
            ));
        }
        for bad in [
            "Basic !",
            "Basic bWU=",
            "Digest x",
            " Basic bWU6eA==",
            "Basic  bWU6eA==",
            r"Basic bWU6eA==\n",
            "hunter2",
        ] {
            let error = parse(&format!(r#"{{"a.example":"{bad}"}}"#), false).unwrap_err();
            assert!(error.to_string().contains("a.example"), "{bad}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
