//! Credentials as the lifecycle of the Go project finds them: those of `config.json` as Docker reads it, of
//! one file, for registries as a whole, all looked up at the start.
//!
//! Our own commands read more, and forgive more ([`ConfigFile`](super::ConfigFile)): who has Podman's
//! files beside Docker's, or a typing error in the entry of another registry, wants them to work. Which of
//! two lifecycles a platform has must not decide whether a build finds its image, so the lifecycle has
//! neither.
//!
//! docker/cli 29.7.2, `cli/config`; go-containerregistry 0.21.9, `pkg/authn/keychain.go`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::asked::Asked;
use super::helper::Words;
use super::{Credential, CredentialsError, config_file, set, wire};
use crate::Registry;

/// The variable with credentials that go before those of the file.
pub(super) const VARIABLE: &str = "DOCKER_AUTH_CONFIG";

/// What Docker keeps for a registry.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    username: String,
    password: String,
    auth: String,
    #[serde(rename = "identitytoken")]
    identity_token: String,
    #[serde(rename = "registrytoken")]
    registry_token: String,
}

/// A `config.json`, all of which is as Docker has it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    #[serde(rename = "auths")]
    entries: BTreeMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: String,
}

/// Where the credentials for a program's registries are.
pub(super) struct Keychain {
    config: Config,
    /// What is in the variable, or what is wrong with it.
    given: Result<BTreeMap<String, Entry>, String>,
}

impl Keychain {
    /// Reads the one file that counts; none if there is none. One that cannot be read, or has anything that
    /// Docker does not take, is none.
    pub(super) fn find(
        home: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Option<Self> {
        let bytes = config_file::read_bytes(&place(home, environment)?);
        let config = Config::parse(&bytes.ok()?.unwrap_or_default()).ok()?;
        let given = set(environment, VARIABLE).map_or_else(|| Ok(BTreeMap::new()), of_variable);
        Some(Self { config, given })
    }

    /// The credential for all of `registry`. Each line of `notes` is for the user.
    pub(super) async fn credential(
        &self,
        registry: &Registry,
        asked: &Asked,
        notes: &mut Vec<String>,
    ) -> Option<Credential> {
        let key = match registry.as_str() {
            Registry::DOCKER_HUB => "https://index.docker.io/v1/",
            host => host,
        };
        // Asked for by its name, and by the name of its registry, which are the same here.
        for _ in 0..2 {
            match &self.given {
                Ok(given) => {
                    if let Some((_, entry)) = find(given, key) {
                        return entry.clone().credential();
                    }
                }
                Err(problem) => notes.push(format!(
                    "Failed to create credential store from {VARIABLE}:  {problem}"
                )),
            }
            let entry = self.config.entry(key, asked).await.ok()?;
            if !entry.is_empty() {
                return entry.credential();
            }
        }
        None
    }
}

/// What is under `key`, else under the first key that is the same but for the case of its letters: Docker
/// compares what its user typed, of which a registry has lost the case here.
fn find<'a, T>(map: &'a BTreeMap<String, T>, key: &str) -> Option<(&'a String, &'a T)> {
    map.get_key_value(key).or_else(|| {
        let mut entries = map.iter();
        entries.find(|(it, _)| it.eq_ignore_ascii_case(key))
    })
}

/// The file that counts: Docker's, wherever, if there is one, else Podman's.
fn place(home: Option<&Path>, environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let is_file = |path: &Path| std::fs::metadata(path).is_ok_and(|it| !it.is_dir());
    let folder = |name: &str| set(environment, name).map(PathBuf::from);
    let home = home.filter(|it| !it.as_os_str().is_empty());
    let users = home.map(|it| it.join(".docker/config.json"));
    let named = folder("DOCKER_CONFIG").map(|it| it.join("config.json"));
    if [&users, &named].into_iter().flatten().any(|it| is_file(it)) {
        // A folder that is named holds, even if the file is in the other.
        return named.or(users);
    }
    let session = folder("XDG_RUNTIME_DIR").map(|it| it.join("containers/auth.json"));
    let config = folder("XDG_CONFIG_HOME").or_else(|| home.map(|it| it.join(".config")));
    [
        folder("REGISTRY_AUTH_FILE"),
        session,
        config.map(|it| it.join("containers/auth.json")),
    ]
    .into_iter()
    .flatten()
    .find(|it| is_file(it))
}

impl Config {
    fn parse(text: &[u8]) -> Result<Self, ()> {
        let mut config: Self = wire::first(text, &wire::CONFIG).map_err(drop)?;
        for entry in config.entries.values_mut() {
            entry.decode()?;
        }
        Ok(config)
    }

    /// What the helper has, if one keeps it, else what the file has.
    async fn entry(&self, key: &str, asked: &Asked) -> Result<Entry, CredentialsError> {
        let mut entry = self.of_file(key);
        let (key, helper) = match find(&self.helpers, key) {
            Some((key, helper)) => (key.as_str(), helper),
            None => (key, &self.store),
        };
        if !helper.is_empty() {
            let found = asked.pair(helper, key, Words::Passed).await?;
            let (username, secret) = found
                .map(|(username, secret)| (username, secret.reveal().to_owned()))
                .unwrap_or_default();
            let is_token = username == "<token>";
            let (password, token) = if is_token {
                (String::new(), secret)
            } else {
                (secret, String::new())
            };
            entry.username = if is_token { String::new() } else { username };
            (entry.password, entry.identity_token) = (password, token);
        }
        Ok(entry)
    }

    /// The entry of this name, else the first whose address has it as its host.
    fn of_file(&self, key: &str) -> Entry {
        let of_host = |is_it: &dyn Fn(&str) -> bool| {
            let mut entries = self.entries.iter();
            entries.find_map(|(address, entry)| is_it(&host_of(address)).then_some(entry))
        };
        let entry = self.entries.get(key);
        let entry = entry.or_else(|| of_host(&|host| host == key));
        let entry = entry.or_else(|| Some(find(&self.entries, key)?.1));
        let entry = entry.or_else(|| of_host(&|host| host.eq_ignore_ascii_case(key)));
        entry.cloned().unwrap_or_default()
    }
}

impl Entry {
    /// An entry as it stands in a file.
    pub(super) fn read(text: &str) -> Option<Self> {
        // The error is dropped because it may quote a secret.
        let read: Option<Self> = go::json::unmarshal(text.as_bytes(), &wire::ENTRY).ok()?;
        Some(read.unwrap_or_default())
    }

    /// Takes name and password from `auth`, which goes before them.
    pub(super) fn decode(&mut self) -> Result<(), ()> {
        let auth = Zeroizing::new(std::mem::take(&mut self.auth));
        if !auth.is_empty() {
            (self.username, self.password) = pair(&auth).map_err(drop)?;
        }
        Ok(())
    }

    /// The same for our own commands: with a token an `auth` may be anything, and a name of `<token>` has one
    /// for its password.
    ///
    /// An entry without any is no error: Docker leaves such where a store keeps the secret.
    pub(super) fn tolerantly(mut self) -> Result<Option<Credential>, &'static str> {
        let has_token = !self.registry_token.is_empty() || !self.identity_token.is_empty();
        let auth = Zeroizing::new(std::mem::take(&mut self.auth));
        match (split(&auth), has_token) {
            _ if auth.is_empty() => {}
            (Ok(pair), true) => (self.username, self.password) = pair,
            (Err(_problem), true) => (self.username, self.password) = Default::default(),
            (Ok((username, password)), false) => {
                return Ok(Some(Credential::of_pair(&username, password)));
            }
            (Err(_problem), false) => {
                return Err("has an `auth` that is not base64 of name and password");
            }
        }
        Ok(match self.credential() {
            Some(Credential::Basic { username, password }) if username == "<token>" => {
                Some(Credential::IdentityToken(password))
            }
            credential => credential,
        })
    }

    fn is_empty(&self) -> bool {
        [
            &self.username,
            &self.password,
            &self.identity_token,
            &self.registry_token,
        ]
        .into_iter()
        .all(String::is_empty)
    }

    /// What proves something: a token, or a name with its password.
    pub(super) fn credential(self) -> Option<Credential> {
        let is_pair = !self.username.is_empty() && !self.password.is_empty();
        if !self.registry_token.is_empty() {
            Some(Credential::RegistryToken(self.registry_token.into()))
        } else if !self.identity_token.is_empty() && is_pair {
            Some(Credential::IdentityTokenOrBasic {
                token: self.identity_token.into(),
                username: self.username,
                password: self.password.into(),
            })
        } else if !self.identity_token.is_empty() {
            Some(Credential::IdentityToken(self.identity_token.into()))
        } else {
            is_pair.then(|| Credential::basic(self.username, self.password))
        }
    }
}

/// Go's decoder does not mind bits that are too many.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Name and password in an `auth`. Without a name it is none.
pub(super) fn pair(auth: &str) -> Result<(String, String), &'static str> {
    let (username, password) = split(auth)?;
    if username.is_empty() {
        return Err(NO_PAIR);
    }
    Ok((username, password))
}

const NO_PAIR: &str = "invalid auth configuration file";

/// What stands before and behind the colon in the text that `encoded` is the base64 of.
pub(super) fn split(encoded: &str) -> Result<(String, String), &'static str> {
    // `base64` on the command line breaks its lines.
    let text = Zeroizing::new(encoded.replace(['\r', '\n'], ""));
    let decoded = BASE64.decode(text.as_bytes()).map(Zeroizing::new);
    let decoded = decoded.map_err(|_secret| "illegal base64 data")?;
    // Mended, it would be another password.
    let decoded = std::str::from_utf8(&decoded).map_err(|_secret| NO_PAIR)?;
    let (username, password) = decoded.split_once(':').ok_or(NO_PAIR)?;
    // Docker pads what it writes with zero bytes.
    Ok((username.to_owned(), password.trim_matches('\0').to_owned()))
}

/// What is in [`VARIABLE`]: `auth` of registries, and nothing else. Why not is said as Docker says it.
pub(super) fn of_variable(text: &str) -> Result<BTreeMap<String, Entry>, String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Variable {
        auths: BTreeMap<String, Entry>,
    }
    let (variable, rest) = match go::json::decode_known(text.as_bytes(), &wire::VARIABLE) {
        Err(problem) if problem.is_end() => (None, &[][..]),
        read => read.map_err(|problem| problem.to_string())?,
    };
    let Variable { auths } = variable.unwrap_or_default();
    if !matches!(rest.trim_ascii_start().first(), None | Some(b']' | b'}')) {
        return Err(format!(
            "{VARIABLE} does not support more than one JSON object"
        ));
    }
    let decode = |(address, entry): (String, Entry)| {
        let auth = Zeroizing::new(entry.auth);
        if auth.is_empty() {
            return Err(format!(
                "{VARIABLE} environment variable is missing key `auth` for {address}"
            ));
        }
        let (username, password) = pair(&auth)?;
        let entry = Entry {
            username,
            password,
            ..Entry::default()
        };
        Ok((address, entry))
    };
    auths.into_iter().map(decode).collect()
}

/// The host, and the port if any, of what an entry is called by: an address or a host, with a path or not.
fn host_of(key: &str) -> String {
    let Some((_, rest)) = key.split_once("://") else {
        return key.split('/').next().unwrap_or_default().to_owned();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, it)| it);
    match host.strip_suffix(':') {
        Some(host) => host.to_owned(),
        // With a port an address keeps its brackets.
        None if host.ends_with(']') => host.trim_matches(['[', ']']).to_owned(),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry_of(text: &str, key: &str) -> Result<Option<Credential>, ()> {
        Config::parse(text.as_bytes()).map(|it| it.of_file(key).credential())
    }

    #[tokio::test]
    async fn the_case_of_letters_counts_only_where_it_tells_two_apart() {
        let me = |name: &str| Credential::basic(name, "x");
        let one = r#"{"auths":{"R.Example":{"auth":"YTp4"}}}"#;
        let address = r#"{"auths":{"https://R.Example/v2/":{"auth":"YTp4"}}}"#;
        let two =
            r#"{"auths":{"R.Example":{"auth":"YTp4"},"https://r.example/v1/":{"auth":"Yjp4"}}}"#;
        for (text, name) in [(one, "a"), (address, "a"), (two, "b")] {
            let found = entry_of(text, "r.example").unwrap();
            assert_eq!(found, Some(me(name)), "{text}");
        }
        let text =
            r#"{"auths":{"r.example":{"auth":"Yjp4"}},"credHelpers":{"R.Example":"surely/no"}}"#;
        let config = Config::parse(text.as_bytes()).unwrap();
        let error = config.entry("r.example", &Asked::default()).await;
        // Asked for it as it is written.
        let error = error.err().unwrap().to_string();
        assert!(error.contains("`R.Example`"), "{error}");

        let registry = "r.example".parse().unwrap();
        for (given, name) in [
            (r#"{"auths":{"R.EXAMPLE":{"auth":"YTp4"}}}"#, "a"),
            (
                r#"{"auths":{"R.EXAMPLE":{"auth":"YTp4"},"r.example":{"auth":"Yjp4"}}}"#,
                "b",
            ),
        ] {
            let keychain = Keychain {
                config: Config::default(),
                given: of_variable(given),
            };
            let (asked, mut notes) = (Asked::default(), Vec::new());
            let found = keychain.credential(&registry, &asked, &mut notes).await;
            assert_eq!(found, Some(me(name)), "{given}");
        }
    }

    #[test]
    fn entries_are_found_as_docker_finds_them() {
        let me = Some(Credential::basic("me", "x"));
        for (text, expected) in [
            (
                r#"{"auths":{"a.example":{"auth":"bWU6eA=="}}} trailing"#,
                &me,
            ),
            (r#"{"AUTHS":{"a.example":{"AUTH":"bWU6eA=="}}}"#, &me),
            (
                r#"{"auths":{"a.example":{"Username":"me","Password":"x"}}}"#,
                &me,
            ),
            (
                r#"{"auths":{"a.example":{"auth":"bWU6eA=="}},"auths":{"b":{}}}"#,
                &me,
            ),
            (
                r#"{"auths":{"a.example":{"auth":"bWU6eA=="}},"auths":null}"#,
                &None,
            ),
            (
                r#"{"auths":{"a.example/some/path":{"auth":"bWU6eA=="}}}"#,
                &me,
            ),
            (
                r#"{"auths":{"https://a.example/v1/":{"auth":"bWU6eA=="}}}"#,
                &me,
            ),
            (
                r#"{"auths":{"ftp://u@a.example":{"auth":"bWU6eA=="}}}"#,
                &me,
            ),
            (r#"{"auths":{"a.example":{"auth":"bW\nU6eB=\r="}}}"#, &me),
            (
                r#"{"auths":{"a.example":{"username":"no","auth":"bWU6AHgA"}}}"#,
                &me,
            ),
            (r#"{"auths":{"A.example":{"auth":"bWU6eA=="}}}"#, &me),
            (r#"{"auths":{"a.example":{"username":"me"}}}"#, &None),
            ("null", &None),
            ("", &None),
        ] {
            assert_eq!(&entry_of(text, "a.example").unwrap(), expected, "{text}");
        }
        let both = r#"{"auths":{"a.example":{"auth":"bWU6eA==","identitytoken":"t"}}}"#;
        let both = entry_of(both, "a.example").unwrap();
        assert!(matches!(
            both,
            Some(Credential::IdentityTokenOrBasic { .. })
        ));
    }

    #[test]
    fn a_file_is_good_as_a_whole_or_not_at_all() {
        let good = r#""auths":{"a.example":{"auth":"bWU6eA=="}}"#;
        for bad in [
            r#""auths":{"b.example":{"auth":"!!"}}"#,
            r#""auths":{"b.example":{"auth":"bWU="}}"#,
            r#""auths":{"b.example":{"auth":"Ong="}}"#,
            r#""auths":{"b.example":{"auth":1}}"#,
            r#""auths":{"b.example":[]}"#,
            r#""httpHeaders":{"a":1}"#,
            r#""plugins":[]"#,
            r#""plugins":{"a":{"b":1}}"#,
            r#""proxies":1"#,
            r#""proxies":{"default":{"httpProxy":1}}"#,
            r#""psFormat":{}"#,
            r#""pruneFilters":[1]"#,
            r#""credHelpers":"x""#,
            r#""credsStore":1"#,
        ] {
            let text = format!("{{{good},{bad}}}");
            assert_eq!(entry_of(&text, "a.example"), Err(()), "{bad}");
        }
        let fine = r#""proxies":{"default":{"x":1}},"x":1,"plugins":{"a":null},"psFormat":null"#;
        assert!(
            entry_of(&format!("{{{good},{fine}}}"), "a.example")
                .unwrap()
                .is_some()
        );
        for bad in ["{", "[]", "1"] {
            assert_eq!(entry_of(bad, "a.example"), Err(()));
        }
    }

    #[test]
    fn what_is_wrong_with_the_variable_is_told_as_docker_tells_it() {
        let found = of_variable(r#"{"auths":{"a":{"auth":"bWU6eA=="}}}"#).unwrap();
        let found = found.into_values().next().and_then(Entry::credential);
        assert_eq!(found, Some(Credential::basic("me", "x")));
        for (text, words) in [
            ("{", "unexpected EOF"),
            (r#"{"x":1}"#, r#"json: unknown field "x""#),
            (
                r#"{"auths":{"a":{"auth":"bWU6eA==","y":1}}}"#,
                r#"json: unknown field "y""#,
            ),
            (
                r#"{"auths":{"a":{"auth":1}}}"#,
                "json: cannot unmarshal number into Go struct field configEnvAuth.auths.auth of type string",
            ),
            (
                "{} {}",
                "DOCKER_AUTH_CONFIG does not support more than one JSON object",
            ),
            (
                r#"{"auths":{"a":{}}}"#,
                "DOCKER_AUTH_CONFIG environment variable is missing key `auth` for a",
            ),
            (
                r#"{"auths":{"a":{"auth":"bWU="}}}"#,
                "invalid auth configuration file",
            ),
        ] {
            assert_eq!(of_variable(text).err().as_deref(), Some(words), "{text}");
        }
    }

    #[tokio::test]
    async fn who_keeps_a_registry_is_asked_and_nobody_else() {
        let good = r#""auths":{"a.example":{"auth":"bWU6eA=="}}"#;
        let ask = async |rest: &str| {
            let config = Config::parse(format!("{{{good},{rest}}}").as_bytes()).unwrap();
            config.entry("a.example", &Asked::default()).await
        };
        assert!(ask(r#""credsStore":"surely-not-installed""#).await.is_err());
        let none = r#""credsStore":"surely-not-installed","credHelpers":{"a.example":""}"#;
        assert!(ask(none).await.unwrap().credential().is_some());
        let other = r#""credHelpers":{"https://a.example":"surely-not-installed"}"#;
        assert!(ask(other).await.unwrap().credential().is_some());
    }

    #[test]
    fn one_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = |it: &str| folder.path().join(it);
        let mut environment = BTreeMap::new();
        let home = folder.path();
        assert_eq!(place(Some(home), &environment), None);
        for (variable, value, file) in [
            ("", "", ".config/containers/auth.json"),
            ("XDG_RUNTIME_DIR", "run", "run/containers/auth.json"),
            ("REGISTRY_AUTH_FILE", "mine.json", "mine.json"),
            ("", "", ".docker/config.json"),
            ("DOCKER_CONFIG", "other", "other/config.json"),
        ] {
            fs_err::create_dir_all(path(file).parent().unwrap()).unwrap();
            fs_err::write(path(file), "{}").unwrap();
            let value = path(value).to_str().unwrap().to_owned();
            environment.insert(variable.to_owned(), value);
            assert_eq!(place(Some(home), &environment), Some(path(file)));
        }
        fs_err::remove_file(path("other/config.json")).unwrap();
        assert_eq!(
            place(Some(home), &environment),
            Some(path("other/config.json"))
        );
    }
}
