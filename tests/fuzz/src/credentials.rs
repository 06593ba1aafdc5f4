//! Files of credentials and `CNB_REGISTRY_AUTH`: nothing that goes wrong shows a secret.

use std::path::Path;

use oci::auth::{ConfigFile, Credentials};
use serde_json::Value;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "credentials",
    run,
    seeds,
    words: &[
        "\"auths\":",
        "\"auth\":",
        "\"username\":",
        "\"password\":",
        "\"identitytoken\":",
        "\"registrytoken\":",
        "\"credHelpers\":",
        "\"credsStore\":",
        "null",
        "\"Basic ",
        "\"Bearer ",
        "\"X-Identity ",
        "bWU6aHVudGVyMg==",
        "hunter2",
        "https://",
        "/v1/",
    ],
    short: 10_000,
};

const SECRET: &str = "hunter2";

fn seeds() -> Vec<Vec<u8>> {
    [
        r#"{"auths":{"a.example":{"auth":"bWU6aHVudGVyMg=="},"b.example/team":{"username":"me","password":"hunter2"}}}"#,
        r#"{"auths":{"c.example":{"auth":"bWU6","identitytoken":"hunter2"},"d.example":{"registrytoken":"hunter2"},"e.example":{}}}"#,
        r#"{"auths":{"https://index.docker.io/v1/":{"auth":"PHRva2VuPjpodW50ZXIy"}},"HttpHeaders":{"x":"y"},"credHelpers":{"f.example":"pass"},"credsStore":"desktop"}"#,
        r#"{"https://a.example/v2/x":"bAsIc bWU6aHVudGVyMg==","b.example:5000":"Bearer hunter2","c.example":"X-Identity hunter2"}"#,
        r#"{"a.example":"hunter2"}"#,
    ]
    .map(|it| it.as_bytes().to_vec())
    .into()
}

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let shown = [
        match ConfigFile::parse(Path::new("config.json"), text) {
            Ok(file) => format!("{file:?}"),
            Err(error) => format!("{error} {error:?}"),
        },
        match Credentials::default().with_cnb_registry_auth(text) {
            Ok(credentials) => format!("{credentials:?}"),
            Err(error) => format!("{error} {error:?}"),
        },
    ];
    // The names of registries are no secrets, nor are those of users.
    let is_shown = shown.iter().any(|it| it.contains(SECRET));
    assert!(!is_shown || is_name(text), "{shown:?}");
}

/// Whether the secret stands where it is none.
fn is_name(text: &str) -> bool {
    fn is_named(value: &Value) -> bool {
        match value {
            Value::Object(entries) => entries
                .iter()
                .any(|(key, value)| key.to_ascii_lowercase().contains(SECRET) || is_named(value)),
            Value::String(text) => text.to_ascii_lowercase().contains("basic"),
            _ => false,
        }
    }
    serde_json::from_str(text).is_ok_and(|it: Value| is_named(&it))
}
