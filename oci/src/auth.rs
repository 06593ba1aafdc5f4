//! Credentials for registries: where they are kept, and whom they are for.
//!
//! In order: what was given for a registry, `CNB_REGISTRY_AUTH`, and the file that Docker or Podman
//! keeps, before which goes `DOCKER_AUTH_CONFIG`. Nothing is looked up, and no helper program runs, before a registry asks for credentials.

mod asked;
mod cnb;
mod config_file;
mod docker;
mod helper;
mod lock;
mod login;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Registry, Repository};

pub(crate) use asked::GOOD_FOR;
pub use config_file::ConfigFile;
pub use login::LoggedOut;
pub use net::Secret;

/// The largest file of credentials, or answer of a helper, that is read.
const MAX_BYTES: u64 = 4 << 20;

/// What proves to a registry who asks.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Credential {
    /// A name and its password, or an access token in the place of one.
    Basic {
        /// Who.
        username: String,
        /// The proof.
        password: Secret,
    },
    /// A refresh token, to be exchanged for registry tokens.
    IdentityToken(Secret),
    /// A refresh token, and what is for those who exchange none: registries without tokens, and servers
    /// of tokens of old.
    IdentityTokenOrBasic {
        /// The token.
        token: Secret,
        /// Who.
        username: String,
        /// The proof.
        password: Secret,
    },
    /// A token that the registry itself takes.
    RegistryToken(Secret),
}

impl Credential {
    /// A name and its password.
    pub fn basic(username: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self::Basic {
            username: username.into(),
            password: password.into(),
        }
    }

    /// What proves it.
    fn secrets(&self) -> Vec<&Secret> {
        match self {
            Self::Basic { password, .. } => vec![password],
            Self::IdentityToken(token) | Self::RegistryToken(token) => vec![token],
            Self::IdentityTokenOrBasic {
                token, password, ..
            } => vec![token, password],
        }
    }

    /// What Docker's files and helpers mean by a pair: the name `<token>` marks an identity token.
    fn of_pair(username: &str, secret: impl Into<Secret>) -> Self {
        if username == "<token>" {
            Self::IdentityToken(secret.into())
        } else {
            Self::basic(username, secret)
        }
    }
}

/// Which credential is for which registry.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    given: BTreeMap<String, Credential>,
    cnb: BTreeMap<String, Credential>,
    docker: BTreeMap<String, Credential>,
    files: Vec<ConfigFile>,
    notes: Vec<String>,
    as_upstream: Option<AsUpstream>,
    asked: asked::Asked,
}

/// What is looked up for registries as a whole, as the lifecycle of the Go project does it.
#[derive(Clone)]
struct AsUpstream {
    keychain: Arc<docker::Keychain>,
    /// What was found for those that were asked about, by whichever copy.
    known: Arc<Mutex<BTreeMap<Registry, Option<Credential>>>>,
}

impl AsUpstream {
    fn known(&self) -> MutexGuard<'_, BTreeMap<Registry, Option<Credential>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for AsUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.known().fmt(f)
    }
}

impl Credentials {
    /// For a registry, or a part of it: `host[:port][/path]`. Goes before all else.
    #[must_use]
    pub fn with(mut self, prefix: &str, credential: Credential) -> Self {
        self.given.insert(normalise(prefix), credential);
        self
    }

    /// Adds the content of `CNB_REGISTRY_AUTH`: a JSON object of registry to `Basic …`, `Bearer …`
    /// or `X-Identity …`.
    pub fn with_cnb_registry_auth(mut self, text: &str) -> Result<Self, CredentialsError> {
        self.cnb.append(&mut cnb::parse(text, false)?);
        Ok(self)
    }

    /// Adds a `config.json` of Docker or an `auth.json` of Podman. The first that knows a registry
    /// is asked.
    #[must_use]
    pub fn with_file(mut self, file: ConfigFile) -> Self {
        self.files.push(file);
        self
    }

    /// Finds what the user keeps, as other clients do: `CNB_REGISTRY_AUTH`, and those of
    /// [`config_paths`] that exist, in this order. Reads these files, and nothing else. A file that
    /// nobody named and that cannot be read is as good as absent: where root's Podman has run, there is
    /// one that this user may not read.
    pub fn find(
        home: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, CredentialsError> {
        let mut found = Self::default();
        if let Some(text) = set(environment, "CNB_REGISTRY_AUTH") {
            found = found.with_cnb_registry_auth(text)?;
        }
        if let Some(text) = set(environment, docker::VARIABLE) {
            match docker::of_variable(text) {
                Ok(entries) => {
                    let credentials = entries
                        .into_iter()
                        .filter_map(|(key, entry)| Some((normalise(&key), entry.credential()?)));
                    found.docker.extend(credentials);
                }
                // As to Docker: what is malformed is told, and is as good as absent.
                Err(problem) => found.notes.push(format!(
                    "malformed `{}` is left out: {problem}",
                    docker::VARIABLE
                )),
            }
        }
        for (path, is_named) in places(home, environment) {
            match ConfigFile::read(&path) {
                Ok(Some(file)) => found = found.with_file(file),
                Ok(None) => {}
                Err(CredentialsError::Io { .. }) if !is_named => found.notes.push(format!(
                    "credentials in `{}` cannot be read, and are left out",
                    path.display()
                )),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// As the lifecycle of the Go project finds them: `CNB_REGISTRY_AUTH`, and one file, which is read as
    /// Docker reads it. To read less than [`find`](Self::find) does, and to forgive less, is what makes a
    /// build pass or fail with both lifecycles alike.
    pub fn find_as_upstream(
        home: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, CredentialsError> {
        let mut found = Self::default();
        if let Some(text) = set(environment, "CNB_REGISTRY_AUTH") {
            found.cnb = cnb::parse(text, true)?;
        }
        found.as_upstream = docker::Keychain::find(home, environment).map(|keychain| AsUpstream {
            keychain: Arc::new(keychain),
            known: Arc::default(),
        });
        Ok(found)
    }

    /// Looks up the credential for `registry` now, and keeps it, for copies too: later its helper may be out of reach.
    /// Does nothing but after [`find_as_upstream`](Self::find_as_upstream). What it returns is for the user.
    pub async fn look_up(&self, registry: &Registry) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(upstream) = &self.as_upstream {
            let found = upstream
                .keychain
                .credential(registry, &self.asked, &mut notes)
                .await;
            let mut known = upstream.known();
            let known = known.entry(registry.clone()).or_default();
            *known = found.or_else(|| known.take());
        }
        notes
    }

    /// What the user should know of what was left out.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Forgets the answers of helpers that gave `credential`, which somebody did not take: what they give next
    /// may be another one.
    pub(crate) fn forget(&self, credential: &Credential) {
        self.asked.forget(&credential.secrets());
    }

    /// The credential for `repository`: the one for the longest path that contains it. May run a
    /// credential helper, but not twice within minutes for one registry, whichever copy is asked.
    pub async fn for_repository(
        &self,
        repository: &Repository,
    ) -> Result<Option<Credential>, CredentialsError> {
        let keys = keys_of(repository);
        for source in [&self.given, &self.cnb, &self.docker] {
            if let Some(credential) = keys.iter().find_map(|key| source.get(key)) {
                return Ok(Some(credential.clone()));
            }
        }
        if let Some(upstream) = &self.as_upstream {
            let registry = repository.registry();
            let known = upstream.known().get(registry).cloned();
            return Ok(match known {
                Some(known) => known,
                None => {
                    upstream
                        .keychain
                        .credential(registry, &self.asked, &mut Vec::new())
                        .await
                }
            });
        }
        for file in &self.files {
            if let Some(credential) = file.credential(&keys, &self.asked).await? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }
}

/// Where Docker keeps its `config.json`: `$DOCKER_CONFIG`, else `~/.docker`. It need not exist.
pub fn docker_config_path(
    home: Option<&Path>,
    environment: &BTreeMap<String, String>,
) -> Option<PathBuf> {
    match set(environment, "DOCKER_CONFIG") {
        Some(folder) => Some(Path::new(folder).join("config.json")),
        None => home.map(|it| it.join(".docker/config.json")),
    }
}

/// Where clients keep credentials, in the order in which they are asked: Docker's `config.json`,
/// `$REGISTRY_AUTH_FILE`, and Podman's `auth.json` of this session and of this user.
pub fn config_paths(home: Option<&Path>, environment: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let places = places(home, environment);
    places.into_iter().map(|(path, _)| path).collect()
}

/// The same, each with whether the user has named that very file, or its folder.
fn places(home: Option<&Path>, environment: &BTreeMap<String, String>) -> Vec<(PathBuf, bool)> {
    let session = match set(environment, "XDG_RUNTIME_DIR") {
        Some(folder) => Path::new(folder).join("containers/auth.json"),
        None => format!("/run/containers/{}/auth.json", rustix::process::getuid()).into(),
    };
    let user = match set(environment, "XDG_CONFIG_HOME") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => home.map(|it| it.join(".config")),
    };
    let docker = docker_config_path(home, environment);
    let named = set(environment, "REGISTRY_AUTH_FILE").map(PathBuf::from);
    [
        docker.map(|it| (it, set(environment, "DOCKER_CONFIG").is_some())),
        named.map(|it| (it, true)),
        Some((session, false)),
        user.map(|it| (it.join("containers/auth.json"), false)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn set<'a>(environment: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    environment
        .get(name)
        .map(String::as_str)
        .filter(|it| !it.is_empty())
}

/// What files and variables may call a registry, or a part of it, in one form: without scheme,
/// trailing slash and version, Docker's own registry under one name.
fn normalise(key: &str) -> String {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key)
        .trim_end_matches('/');
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let host = match host {
        "docker.io" | "registry-1.docker.io" => Registry::DOCKER_HUB.to_owned(),
        host => host.to_ascii_lowercase(),
    };
    match path {
        "" | "v1" | "v2" => host,
        path => format!("{host}/{path}"),
    }
}

/// All keys that a credential for `repository` may stand under, the most exact one first.
fn keys_of(repository: &Repository) -> Vec<String> {
    let mut keys = Vec::new();
    // The name of a registry may have upper-case letters, which mean nothing.
    let mut key = repository.to_string().to_ascii_lowercase();
    loop {
        keys.push(key.clone());
        match key.rsplit_once('/') {
            Some((shorter, _)) => key = shorter.to_owned(),
            None => return keys,
        }
    }
}

/// Why credentials could not be looked up or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// `CNB_REGISTRY_AUTH` is no JSON object of texts.
    #[error("malformed `CNB_REGISTRY_AUTH`: not a JSON object of registry to credential")]
    CnbRegistryAuth,
    /// An entry of `CNB_REGISTRY_AUTH` has none of the forms that there are.
    #[error(
        "malformed `CNB_REGISTRY_AUTH`: entry `{registry}` is not a `Basic`, `Bearer` or `X-Identity` credential"
    )]
    CnbEntry {
        /// The entry.
        registry: String,
    },
    /// A file is no `config.json`.
    #[error("malformed file of credentials `{}`: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong. Never a part of the content.
        problem: String,
    },
    /// A file could not be read or written.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file is being changed by another program, which does not come to an end.
    #[error("`{}` has been locked by another program for {} s", path.display(), patience.as_secs())]
    Locked {
        /// Which.
        path: PathBuf,
        /// How long was waited.
        patience: Duration,
    },
    /// A credential helper could not be asked.
    #[error("credential helper `{helper}` failed for `{registry}`: {problem}")]
    Helper {
        /// The program.
        helper: String,
        /// What it was asked about.
        registry: String,
        /// What went wrong, in its own words if it had any.
        problem: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lookup(credentials: &Credentials, repository: &str) -> Option<Credential> {
        credentials
            .for_repository(&repository.parse().unwrap())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn the_longest_path_wins_and_no_path_is_cut_inside_a_word() {
        let credentials = Credentials::default()
            .with("r.example", Credential::basic("host", "1"))
            .with("r.example/team", Credential::basic("team", "2"))
            .with("r.example/team/app", Credential::basic("app", "3"));
        for (repository, username) in [
            ("r.example/team/app", "app"),
            ("r.example/team/app2", "team"),
            ("r.example/teams/app", "host"),
        ] {
            assert!(matches!(
                lookup(&credentials, repository).await,
                Some(Credential::Basic { username: it, .. }) if it == username
            ));
        }
        assert_eq!(lookup(&credentials, "r.example.evil/team").await, None);
        assert_eq!(lookup(&credentials, "r.example:5000/team").await, None);
    }

    #[tokio::test]
    async fn what_was_given_goes_before_the_variable_and_that_before_files() {
        let text = r#"{"auths":{"r.example/app":{"username":"file","password":"1"}}}"#;
        let file = ConfigFile::parse(Path::new("config.json"), text).unwrap();
        let mut credentials = Credentials::default();
        let variable = r#"{"r.example":"Basic dmFyaWFibGU6MQ=="}"#;
        for username in ["file", "variable", "given"] {
            credentials = match username {
                "file" => credentials.with_file(file.clone()),
                "variable" => credentials.with_cnb_registry_auth(variable).unwrap(),
                _ => credentials.with("r.example", Credential::basic(username, "1")),
            };
            let found = lookup(&credentials, "r.example/app").await;
            assert_eq!(found, Some(Credential::basic(username, "1")));
        }
    }

    #[tokio::test]
    async fn docker_hub_has_one_name() {
        for key in [
            "docker.io",
            "index.docker.io",
            "https://index.docker.io/v1/",
            "registry-1.docker.io",
        ] {
            let credentials = Credentials::default().with(key, Credential::basic("me", "1"));
            assert!(lookup(&credentials, "ubuntu").await.is_some(), "{key}");
        }
    }

    #[tokio::test]
    async fn a_registry_has_one_name_however_it_is_written() {
        let credentials = Credentials::default().with("R.Example", Credential::basic("me", "1"));
        assert!(lookup(&credentials, "r.example/app").await.is_some());
    }

    #[test]
    fn a_variable_that_is_empty_is_not_set() {
        let environment = ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME"]
            .map(|it| (it.to_owned(), String::new()))
            .into();
        let paths = config_paths(Some(Path::new("/home/me")), &environment);
        assert_eq!(paths[0], Path::new("/home/me/.docker/config.json"));
        let user = Path::new("/home/me/.config/containers/auth.json");
        assert_eq!(paths.last().unwrap(), user);
        assert_eq!(paths.len(), 3);
    }

    #[test]
    fn only_a_variable_names_a_file() {
        let places = places(
            Some(Path::new("/home/me")),
            &BTreeMap::from([("REGISTRY_AUTH_FILE".to_owned(), "named".to_owned())]),
        );
        let is_named: Vec<_> = places.iter().map(|(_, it)| *it).collect();
        assert_eq!(is_named, [false, true, false, false]);
    }

    #[test]
    fn secrets_do_not_print() {
        let credential = Credential::basic("me", "hunter2");
        assert!(!format!("{credential:?}").contains("hunter2"));
        let credentials = Credentials::default().with("r.example", credential);
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }

    #[test]
    fn the_users_files_are_found_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |it: &str| folder.path().join(it);
        // Not those of whoever runs the tests.
        let mut environment = BTreeMap::from([(
            "XDG_RUNTIME_DIR".to_owned(),
            path("none").to_str().unwrap().to_owned(),
        )]);
        let found = |environment: &BTreeMap<String, String>| {
            Credentials::find(Some(folder.path()), environment)
                .unwrap()
                .files
                .first()
                .map(|it| it.path().to_owned())
        };
        assert_eq!(found(&environment), None);
        for (variable, value, file) in [
            ("", "", ".config/containers/auth.json"),
            ("XDG_CONFIG_HOME", "xdg", "xdg/containers/auth.json"),
            ("XDG_RUNTIME_DIR", "run", "run/containers/auth.json"),
            ("REGISTRY_AUTH_FILE", "mine.json", "mine.json"),
            ("", "", ".docker/config.json"),
            ("DOCKER_CONFIG", "other", "other/config.json"),
        ] {
            fs_err::create_dir_all(path(file).parent().unwrap()).unwrap();
            fs_err::write(path(file), "{}").unwrap();
            environment.insert(
                variable.to_owned(),
                path(value).to_str().unwrap().to_owned(),
            );
            assert_eq!(found(&environment), Some(path(file)));
        }
    }

    #[tokio::test]
    async fn dockers_variable_goes_before_files_and_may_be_malformed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        fs_err::write(&path, r#"{"auths":{"r.example":{"auth":"bWU6ZmlsZQ=="}}}"#).unwrap();
        let find = |text: &str| {
            let variables = [
                ("DOCKER_AUTH_CONFIG", text),
                ("REGISTRY_AUTH_FILE", path.to_str().unwrap()),
            ];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Credentials::find(None, &variables.into()).unwrap()
        };
        let good = find(r#"{"auths":{"r.example":{"auth":"bWU6eA=="}}}"#);
        assert_eq!(
            lookup(&good, "r.example/a").await,
            Some(Credential::basic("me", "x"))
        );
        let bad = find("{");
        assert_eq!(
            lookup(&bad, "r.example/a").await,
            Some(Credential::basic("me", "file"))
        );
        assert!(
            bad.notes()
                .iter()
                .any(|it| it.contains("DOCKER_AUTH_CONFIG"))
        );
    }

    #[tokio::test]
    async fn as_upstream_one_file_counts_and_letters_differ() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let text = r#"{"auths":{"r.example/deep/path":{"auth":"bWU6eA=="}}}"#;
        fs_err::write(&path, text).unwrap();
        let variables = [
            ("REGISTRY_AUTH_FILE", path.to_str().unwrap()),
            ("CNB_REGISTRY_AUTH", r#"{"S.example":"Basic bWU6eA=="}"#),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let found = Credentials::find_as_upstream(None, &variables.into()).unwrap();
        assert!(
            found
                .look_up(&"r.example".parse().unwrap())
                .await
                .is_empty()
        );
        assert!(lookup(&found, "r.example/app").await.is_some());
        assert!(lookup(&found, "s.example/app").await.is_none());
        let shown = format!("{found:?}");
        assert!(
            !shown.contains("bWU6") && !shown.contains("\"x\""),
            "{shown}"
        );
    }

    #[test]
    fn what_nobody_named_and_cannot_be_read_is_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        // A folder is no file that could be read, whoever asks.
        fs_err::create_dir_all(path("run/containers/auth.json")).unwrap();
        let run = ("XDG_RUNTIME_DIR".to_owned(), path("run"));
        let found = Credentials::find(None, &BTreeMap::from([run])).unwrap();
        assert_eq!(found.notes().len(), 1);
        let named = "REGISTRY_AUTH_FILE".to_owned();
        let named = BTreeMap::from([(named, path("run/containers/auth.json"))]);
        assert!(Credentials::find(None, &named).is_err());
    }

    #[tokio::test]
    async fn a_file_without_an_entry_does_not_hide_the_next() {
        let file = |name: &str, host: &str| {
            let text = format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6aHVudGVyMg=="}}}}}}"#);
            ConfigFile::parse(Path::new(name), &text).unwrap()
        };
        let credentials = Credentials::default()
            .with_file(file("a", "a.example"))
            .with_file(file("b", "b.example"));
        assert!(lookup(&credentials, "b.example/app").await.is_some());
        assert!(lookup(&credentials, "c.example/app").await.is_none());
    }
}
