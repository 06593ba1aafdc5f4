//! Credentials in the variable `CNB_REGISTRY_AUTH`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use go::json::Type;

use super::{Credential, CredentialsError, normalise};

/// Parses `CNB_REGISTRY_AUTH`. As upstream, an entry holds for the whole registry: scheme and path
/// of its key are ignored.
///
/// <https://github.com/buildpacks/spec/blob/platform/v0.15/platform.md>
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, Credential>, CredentialsError> {
    // The error is dropped because it may quote a secret.
    let entries = go::json::unmarshal(text.as_bytes(), &Type::TEXTS_BY_NAME).ok();
    // `null` is nothing to Go.
    let entries: Option<BTreeMap<String, String>> =
        entries.ok_or(CredentialsError::CnbRegistryAuth)?;
    entries
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| match credential(&value) {
            Some(credential) => {
                let key = normalise(&key);
                let host = key.split_once('/').map_or(key.as_str(), |(host, _)| host);
                Ok((host.to_owned(), credential))
            }
            None => Err(CredentialsError::CnbEntry { registry: key }),
        })
        .collect()
}

fn credential(value: &str) -> Option<Credential> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        Some(Credential::RegistryToken(rest.into()))
    } else if scheme.eq_ignore_ascii_case("x-identity") {
        Some(Credential::IdentityToken(rest.into()))
    } else if scheme.eq_ignore_ascii_case("basic") {
        basic(rest)
    } else {
        None
    }
}

/// Decodes base64 of `name:password`.
pub(super) fn basic(text: &str) -> Option<Credential> {
    // `base64` on the command line breaks its lines.
    let text = zeroize::Zeroizing::new(text.replace(['\r', '\n'], ""));
    let decoded = zeroize::Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
    // Docker pads what it writes with zero bytes.
    let pair = std::str::from_utf8(&decoded).ok()?.trim_end_matches('\0');
    let (username, password) = pair.split_once(':')?;
    Some(Credential::of_pair(username, password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_schemes_parse() {
        let parsed = parse(
            r#"{"https://a.example/v2/x":"bAsIc bWU6aHVudGVyMg==","b.example:5000":"Bearer abc","c.example":"X-Identity def"}"#,
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
    fn what_docker_pads_a_password_with_is_no_part_of_it() {
        assert_eq!(basic("bWU6eAAA"), Some(Credential::basic("me", "x")));
    }

    #[test]
    fn what_is_malformed_is_named_but_not_shown() {
        assert!(parse("null").unwrap().is_empty());
        for bad in ["", "[]", r#"{"a.example":1}"#] {
            assert!(matches!(parse(bad), Err(CredentialsError::CnbRegistryAuth)));
        }
        for bad in ["Basic !", "Basic bWU=", "Digest x", "Bearer ", "hunter2"] {
            let error = parse(&format!(r#"{{"a.example":"{bad}"}}"#)).unwrap_err();
            assert!(error.to_string().contains("a.example"), "{bad}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
