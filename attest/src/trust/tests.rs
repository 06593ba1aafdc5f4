use serde_json::{Value, json};
use time::macros::datetime;

use super::*;

fn fixture() -> Value {
    serde_json::from_slice(include_bytes!(
        "../../../tests/fixtures/keyless/trusted_root.json"
    ))
    .unwrap()
}

fn parse(value: &Value) -> Result<TrustedRoot, TrustedRootError> {
    TrustedRoot::parse(value.to_string().as_bytes())
}

#[test]
fn those_that_are_embedded_are_read() {
    for root in [
        TrustedRoot::public_good(),
        TrustedRoot::staging(),
        TrustedRoot::github(),
    ] {
        let root = root.unwrap();
        assert!(!root.certificate_authorities.is_empty());
        assert!(root.newest() > Some(datetime!(2023-01-01 00:00 UTC)));
    }
}

#[test]
fn both_versions_are_read_and_no_other() {
    let mut value = fixture();
    parse(&value).unwrap();
    for (media_type, is_known) in [
        ("application/vnd.dev.sigstore.trustedroot.v0.1+json", true),
        ("application/vnd.dev.sigstore.trustedroot.v0.2+json", true),
        ("application/vnd.dev.sigstore.trustedroot.v0.3+json", false),
        ("", false),
    ] {
        value["mediaType"] = media_type.into();
        assert_eq!(parse(&value).is_ok(), is_known, "{media_type}");
    }
}

#[test]
fn what_would_count_forever_or_not_at_all_is_refused() {
    for (pointer, value) in [
        ("/tlogs/0/publicKey/validFor/start", Value::Null),
        ("/tlogs/0/publicKey/validFor/start", json!("yesterday")),
        ("/tlogs/0/publicKey", Value::Null),
        ("/tlogs/0/logId", Value::Null),
        ("/tlogs/0/logId/keyId", json!("!")),
        ("/certificateAuthorities/0/certChain", Value::Null),
        (
            "/certificateAuthorities/0/certChain/certificates",
            json!([]),
        ),
        (
            "/certificateAuthorities/0/certChain/certificates/0/rawBytes",
            json!("AAAA"),
        ),
        ("/timestampAuthorities/0/validFor/start", json!("2026")),
        ("/tlogs", json!(vec![json!({}); MAX_ENTRIES + 1])),
        ("/tlogs", json!({})),
    ] {
        let mut root = fixture();
        *root.pointer_mut(pointer).unwrap() = value;
        assert!(parse(&root).is_err(), "{pointer}");
    }
    assert!(matches!(
        TrustedRoot::parse(&vec![b' '; MAX_BYTES + 1]),
        Err(TrustedRootError::TooLarge { .. })
    ));
}

#[test]
fn a_key_of_an_unknown_kind_only_silences_its_log() {
    let mut root = fixture();
    root["tlogs"][0]["publicKey"]["rawBytes"] = "MAA=".into();
    root["tlogs"][0]["publicKey"]["keyDetails"] = "ML_DSA_65".into();
    assert!(matches!(
        &parse(&root).unwrap().logs[0].key,
        LogKey::Unknown
    ));
}

#[test]
fn both_ends_of_a_time_are_in_it() {
    let validity = Validity::parse(Some("2025-01-01T00:00:00Z"), Some("2025-01-02T00:00:00Z"));
    let validity = validity.unwrap();
    for (time, is_in) in [
        (datetime!(2024-12-31 23:59:59 UTC), false),
        (datetime!(2025-01-01 00:00:00 UTC), true),
        (datetime!(2025-01-02 00:00:00 UTC), true),
        (datetime!(2025-01-02 00:00:01 UTC), false),
    ] {
        assert_eq!(validity.contains(time), is_in, "{time}");
    }
}

#[test]
fn a_log_is_called_like_its_host() {
    let log = |url: &str| Log {
        id: vec![1],
        base_url: url.to_owned(),
        key: LogKey::Unknown,
        validity: Validity::default(),
        operator: String::new(),
    };
    for (url, host) in [
        ("https://log.test", Some("log.test")),
        ("https://log.test/", Some("log.test")),
        ("http://127.0.0.1:5620/x", Some("127.0.0.1")),
        ("log.test", None),
        ("https://", None),
        ("https://:80", None),
    ] {
        assert_eq!(log(url).host(), host, "{url}");
    }
}
