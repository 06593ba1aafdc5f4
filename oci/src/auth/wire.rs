//! Docker's files of credentials, its variable and the answers of its helpers, as Go reads them: what its
//! types are called, and which fields they have.

use go::json::{Field, Problem, Struct, Type};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A `config.json`, all of which has to be as Docker has it.
pub(super) const CONFIG: Type = Type::Struct(&Struct {
    package: "configfile",
    name: "ConfigFile",
    fields: &[
        Field::new("auths", &Type::Map(&ENTRY)),
        Field::new("HttpHeaders", &Type::TEXTS_BY_NAME),
        Field::new("psFormat", &Type::STRING),
        Field::new("imagesFormat", &Type::STRING),
        Field::new("networksFormat", &Type::STRING),
        Field::new("pluginsFormat", &Type::STRING),
        Field::new("volumesFormat", &Type::STRING),
        Field::new("statsFormat", &Type::STRING),
        Field::new("detachKeys", &Type::STRING),
        Field::new("credsStore", &Type::STRING),
        Field::new("credHelpers", &Type::TEXTS_BY_NAME),
        Field::new("serviceInspectFormat", &Type::STRING),
        Field::new("servicesFormat", &Type::STRING),
        Field::new("tasksFormat", &Type::STRING),
        Field::new("secretFormat", &Type::STRING),
        Field::new("configFormat", &Type::STRING),
        Field::new("nodesFormat", &Type::STRING),
        Field::new("pruneFilters", &Type::TEXTS),
        Field::new("proxies", &Type::Map(&PROXY)),
        Field::new("currentContext", &Type::STRING),
        Field::new("cliPluginsExtraDirs", &Type::TEXTS),
        Field::new("plugins", &Type::Map(&Type::TEXTS_BY_NAME)),
        Field::new("aliases", &Type::TEXTS_BY_NAME),
        Field::new("features", &Type::TEXTS_BY_NAME),
    ],
});

const PROXY: Type = Type::Struct(&Struct {
    package: "configfile",
    name: "ProxyConfig",
    fields: &[
        Field::new("httpProxy", &Type::STRING),
        Field::new("httpsProxy", &Type::STRING),
        Field::new("noProxy", &Type::STRING),
        Field::new("ftpProxy", &Type::STRING),
        Field::new("allProxy", &Type::STRING),
    ],
});

/// As much of a `config.json` as has credentials, each entry to be read by itself.
pub(super) const ENTRIES: Type = Type::Struct(&Struct {
    package: "configfile",
    name: "ConfigFile",
    fields: &[
        Field::new("auths", &Type::Map(&Type::Raw)),
        Field::new("credsStore", &Type::STRING),
        Field::new("credHelpers", &Type::TEXTS_BY_NAME),
    ],
});

/// As much as tells whether it has one list of credentials.
pub(super) const LISTS: Type = Type::Struct(&Struct {
    package: "configfile",
    name: "ConfigFile",
    fields: &[Field::new(AUTHS, &Type::Presence)],
});

/// The key of the list of credentials.
pub(super) const AUTHS: &str = "auths";

/// What a file has of one registry.
pub(super) const ENTRY: Type = Type::Struct(&Struct {
    package: "types",
    name: "AuthConfig",
    fields: &[
        Field::new("username", &Type::STRING),
        Field::new("password", &Type::STRING),
        Field::new("auth", &Type::STRING),
        Field::new("serveraddress", &Type::STRING),
        Field::new("identitytoken", &Type::STRING),
        Field::new("registrytoken", &Type::STRING),
    ],
});

/// What is in `DOCKER_AUTH_CONFIG`.
pub(super) const VARIABLE: Type = Type::Struct(&Struct {
    package: "configfile",
    name: "configEnv",
    fields: &[Field::new(
        AUTHS,
        &Type::Map(&Type::Struct(&Struct {
            package: "configfile",
            name: "configEnvAuth",
            fields: &[Field::new("auth", &Type::STRING)],
        })),
    )],
});

/// What a helper answers.
const ANSWER: Type = Type::Struct(&Struct {
    package: "credentials",
    name: "Credentials",
    fields: &[
        Field::new("ServerURL", &Type::STRING),
        Field::new("Username", &Type::STRING),
        Field::new("Secret", &Type::STRING),
    ],
});

/// Reads the first value of `text`; a text of nothing is one without configuration.
pub(super) fn first<T: DeserializeOwned + Default>(text: &[u8], of: &Type) -> Result<T, Problem> {
    match go::json::decode::<Option<T>>(text, of) {
        Ok(read) => Ok(read.unwrap_or_default()),
        Err(problem) if problem.is_end() => Ok(T::default()),
        Err(problem) => Err(problem),
    }
}

/// Name and secret in the answer of a helper. As Docker reads it, whatever follows, and in whatever letters.
pub(super) fn answer(output: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    #[derive(Default)]
    struct Answer {
        username: String,
        secret: String,
    }
    // The error is dropped because it may quote a secret.
    let answer: Answer = go::json::decode(output, &ANSWER).ok()?;
    Some((answer.username, answer.secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_docker_reads_them() {
        let pair = |name: &str, secret: &str| Some((name.to_owned(), secret.to_owned()));
        for (text, expected) in [
            (
                r#"{"ServerURL":"https://x","Username":"me","Secret":"s"} x"#,
                pair("me", "s"),
            ),
            (r#"{"username":"me","SECRET":"s"}"#, pair("me", "s")),
            (r#"{"Username":"me","USERNAME":"you"}"#, pair("you", "")),
            (r#"{"Secret":"\ud800\u0041"}"#, pair("", "\u{fffd}A")),
            (r#"{"Username":null}"#, pair("", "")),
            ("null", pair("", "")),
            (r#"{"ServerURL":1,"Username":"me","Secret":"s"}"#, None),
            ("", None),
            ("hello", None),
            ("[]", None),
        ] {
            assert_eq!(answer(text.as_bytes()), expected, "{text}");
        }
    }
}
