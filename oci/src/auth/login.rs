//! Writes credentials down, and removes them again.

use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{ConfigFile, Credential, CredentialsError, config_file, helper, lock, normalise, wire};
use crate::Registry;

impl ConfigFile {
    /// Keeps `credential` for `registry` in the file at `path`, or with the helper that this file
    /// names: the name of that program, if it is one. Entries under other names of the registry go, also
    /// addresses with a path, as `log_out` has it. All else in the file stays, and so do the credentials
    /// that others keep at the same time. The file is replaced at once, readable by its
    /// owner only.
    pub async fn log_in(
        path: &Path,
        registry: &Registry,
        credential: &Credential,
    ) -> Result<Option<String>, CredentialsError> {
        let text = Value::Object(read_document(path)?).to_string();
        let file = Self::parse(path, &text)?;
        let mut entry = Map::new();
        let helper = file.helper_for(registry.as_str());
        if let Some(name) = helper {
            let (username, secret) = match credential {
                Credential::Basic { username, password } => (username.as_str(), password),
                Credential::IdentityToken(token)
                | Credential::IdentityTokenOrBasic { token, .. }
                | Credential::RegistryToken(token) => ("<token>", token),
            };
            helper::store(name, registry.as_str(), username, secret.reveal()).await?;
        } else {
            let (key, value) = match credential {
                Credential::Basic { username, password } => (
                    "auth",
                    STANDARD.encode(format!("{username}:{}", password.reveal())),
                ),
                Credential::IdentityToken(token)
                | Credential::IdentityTokenOrBasic { token, .. } => {
                    ("identitytoken", token.reveal().to_owned())
                }
                Credential::RegistryToken(token) => ("registrytoken", token.reveal().to_owned()),
            };
            entry.insert(key.to_owned(), Value::String(value));
        }
        // Not while a helper asks its user.
        let path = &lock::target(path);
        let _lock = lock::lock(path, lock::PATIENCE).await?;
        let mut document = read_document(path)?;
        let auths = auths_of(path, &mut document)?;
        // Any other name for it could win over the new one, or over the helper.
        auths.retain(|key, _| !is_for(key, registry));
        auths.insert(key_of(registry), Value::Object(entry));
        write_document(path, &document)?;
        Ok(helper.map(helper::program))
    }

    /// Forgets the credential for `registry` as a whole, under whatever name: an address stands for its
    /// host, also one with a path.
    pub async fn log_out(path: &Path, registry: &Registry) -> Result<LoggedOut, CredentialsError> {
        let Some(file) = Self::read(path)? else {
            return Ok(LoggedOut::default());
        };
        let helper = file.helper_for(registry.as_str());
        if let Some(name) = helper {
            helper::erase(name, registry.as_str()).await?;
        }
        let path = &lock::target(path);
        let _lock = lock::lock(path, lock::PATIENCE).await?;
        let mut document = read_document(path)?;
        let auths = auths_of(path, &mut document)?;
        let before = auths.len();
        auths.retain(|key, _| !is_for(key, registry));
        let found = auths.len() < before;
        let text = zeroize::Zeroizing::new(serde_json::json!(document).to_string());
        let left = Self::parse(path, &text)?.below(registry);
        if found {
            write_document(path, &document)?;
        }
        Ok(LoggedOut {
            found: found || helper.is_some(),
            left,
        })
    }
}

/// What was forgotten.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct LoggedOut {
    /// Whether there was a credential; of what a helper keeps that is not known.
    pub found: bool,
    /// The parts of the registry, `HOST/PATH`, that have credentials of their own, which stay.
    pub left: Vec<String>,
}

/// Whether what is kept under `key` is for `registry` as a whole.
fn is_for(key: &str, registry: &Registry) -> bool {
    let name = normalise(key);
    match name.split_once('/') {
        Some((host, _)) => key.contains("://") && host == registry.as_str(),
        None => name == registry.as_str(),
    }
}

/// The key that Docker itself writes.
fn key_of(registry: &Registry) -> String {
    if registry.as_str() == Registry::DOCKER_HUB {
        "https://index.docker.io/v1/".to_owned()
    } else {
        registry.to_string()
    }
}

fn read_document(path: &Path) -> Result<Map<String, Value>, CredentialsError> {
    let Some(text) = config_file::read_text(path)? else {
        return Ok(Map::new());
    };
    // The error is dropped because it may quote a secret.
    let document: Map<String, Value> = serde_json::from_str(&text)
        .ok()
        .ok_or_else(|| no_object(path, "it"))?;
    // What is read from a file with several lists would not be what is written back.
    let is_one = go::json::unambiguous::<IgnoredAny>(text.as_bytes(), &wire::LISTS).is_ok();
    let is_other = |key: &String| key != wire::AUTHS && go::json::is_folded(wire::AUTHS, key);
    if !is_one || document.keys().any(is_other) {
        return Err(CredentialsError::File {
            path: path.to_owned(),
            problem:
                "it has several `auths`, or has it in other letters; make it one `auths` first"
                    .to_owned(),
        });
    }
    Ok(document)
}

fn auths_of<'a>(
    path: &Path,
    document: &'a mut Map<String, Value>,
) -> Result<&'a mut Map<String, Value>, CredentialsError> {
    let auths = document
        .entry("auths")
        .or_insert_with(|| Value::Object(Map::new()));
    if auths.is_null() {
        *auths = Value::Object(Map::new());
    }
    auths
        .as_object_mut()
        .ok_or_else(|| no_object(path, "`auths`"))
}

fn no_object(path: &Path, what: &str) -> CredentialsError {
    CredentialsError::File {
        path: path.to_owned(),
        problem: format!("{what} is no JSON object"),
    }
}

/// Only to be called under the lock.
fn write_document(path: &Path, document: &Map<String, Value>) -> Result<(), CredentialsError> {
    let failed = |source| CredentialsError::Io {
        path: path.to_owned(),
        action: "write",
        source,
    };
    let folder = lock::folder(path);
    let mut text = zeroize::Zeroizing::new(
        serde_json::to_string_pretty(document).map_err(|error| failed(error.into()))?,
    );
    text.push('\n');
    // Temporary files are made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    std::fs::File::open(folder)
        .and_then(|it| it.sync_all())
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::thread::ScopedJoinHandle;

    use super::super::Credentials;
    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_found_and_forgotten_and_all_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/config.json");
        let registry: Registry = "r.example:5000".parse().unwrap();
        assert!(!ConfigFile::log_out(&path, &registry).await.unwrap().found);

        fs_err::create_dir(path.parent().unwrap()).unwrap();
        fs_err::write(
            &path,
            r#"{"auths":{"https://r.example:5000/v2/":{"auth":"b2xkOm9sZA=="},
                "https://r.example:5000/some/path":{"auth":"b2xkOm9sZA=="}},"detachKeys":"ctrl-x"}"#,
        )
        .unwrap();
        let credential = Credential::basic("me", "a:b");
        ConfigFile::log_in(&path, &registry, &credential)
            .await
            .unwrap();
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains("detachKeys"));
        // The old one, under its other names, is gone.
        assert!(!text.contains("b2xkOm9sZA=="), "{text}");
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let found = Credentials::default()
            .with_file(ConfigFile::read(&path).unwrap().unwrap())
            .for_repository(&"r.example:5000/app".parse().unwrap())
            .await
            .unwrap();
        assert_eq!(found, Some(credential));

        assert!(ConfigFile::log_out(&path, &registry).await.unwrap().found);
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains("detachKeys") && !text.contains("r.example"));
        assert!(!ConfigFile::log_out(&path, &registry).await.unwrap().found);
    }

    #[test]
    fn many_at_once_are_all_kept_and_no_reader_sees_half_a_file() {
        const MANY: usize = 24;
        let folder = tempfile::tempdir().unwrap();
        let path = &folder.path().join("new/config.json");
        let run = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap()
        };
        let registry = |number: usize| format!("r{number}.example").parse::<Registry>().unwrap();
        let kept = || {
            let document = read_document(path).unwrap();
            let auths = document.get("auths").and_then(Value::as_object);
            auths.map_or(0, Map::len)
        };
        std::thread::scope(|scope| {
            let start = |number| {
                let credential = Credential::basic("me", "x".repeat(1000));
                scope.spawn(move || {
                    let registry = registry(number);
                    let log_in = ConfigFile::log_in(path, &registry, &credential);
                    run().block_on(log_in).unwrap();
                })
            };
            let logins: Vec<_> = (0..MANY).map(start).collect();
            // They come to more and more, and each time it is read it is whole.
            let mut seen = 0;
            while !logins.iter().all(ScopedJoinHandle::is_finished) {
                let now = kept();
                assert!(now >= seen, "{now} after {seen}");
                seen = now;
            }
        });
        assert_eq!(kept(), MANY);
        std::thread::scope(|scope| {
            for number in 0..MANY {
                scope.spawn(move || {
                    let registry = registry(number);
                    let removed = run().block_on(ConfigFile::log_out(path, &registry));
                    assert!(removed.unwrap().found);
                });
            }
        });
        assert_eq!(kept(), 0);
        let left = fs_err::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1);
    }

    #[tokio::test]
    async fn a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("config.json");
        std::os::unix::fs::symlink("elsewhere/real.json", &link).unwrap();
        let registry: Registry = "r.example".parse().unwrap();
        for _ in 0..2 {
            let credential = Credential::basic("me", "x");
            let kept = ConfigFile::log_in(&link, &registry, &credential).await;
            assert_eq!(kept.unwrap(), None);
        }
        assert!(link.is_symlink());
        let real = fs_err::read_to_string(folder.path().join("elsewhere/real.json")).unwrap();
        assert!(real.contains("r.example"), "{real}");
    }

    #[tokio::test]
    async fn a_registry_is_forgotten_under_all_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let text = r#"{"auths":{"https://r.example/v1/":{},"r.example":{},"other.example":{}}}"#;
        fs_err::write(&path, text).unwrap();
        let registry: Registry = "r.example".parse().unwrap();
        assert!(ConfigFile::log_out(&path, &registry).await.unwrap().found);
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(!text.contains("r.example/v1"), "{text}");
        assert!(text.contains("other.example"), "{text}");

        let text = r#"{"auths":{"https://r.example/some/path":{"auth":"bWU6eA=="},"r.example/team":{"auth":"bWU6eA=="},
            "R.Example/Team/app":{"identitytoken":"x"},"r.example/empty":{},"r.example.org/x":{},
            "https://index.docker.io/v1/":{}},"credHelpers":{"r.example/kept":"test","r.example/file":""}}"#;
        fs_err::write(&path, text).unwrap();
        let log_out = async |name: &str| {
            let registry = name.parse().unwrap();
            ConfigFile::log_out(&path, &registry).await.unwrap()
        };
        let left = || {
            let left = ["r.example/Team/app", "r.example/kept", "r.example/team"];
            left.map(str::to_owned).to_vec()
        };
        let all = LoggedOut {
            found: true,
            left: left(),
        };
        assert_eq!(log_out("r.example").await, all);
        let nothing = LoggedOut {
            found: false,
            left: left(),
        };
        assert_eq!(log_out("r.example").await, nothing);
        let file = ConfigFile::read(&path).unwrap().unwrap();
        let found = Credentials::default().with_file(file);
        let app = "r.example/app".parse().unwrap();
        assert_eq!(found.for_repository(&app).await.unwrap(), None);
        assert!(log_out("docker.io").await.found);
        assert!(!log_out("docker.io").await.found);

        // Where there is nothing to forget, nothing is written.
        fs_err::write(&path, "{ }").unwrap();
        assert!(!ConfigFile::log_out(&path, &registry).await.unwrap().found);
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "{ }");
    }

    #[tokio::test]
    async fn a_link_stays_and_whoever_reads_the_file_has_it_whole() {
        use std::io::Read as _;

        let folder = tempfile::tempdir().unwrap();
        let (link, path) = (folder.path().join("link"), folder.path().join("real"));
        fs_err::write(&path, "{ }").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut reader = fs_err::File::open(&link).unwrap();
        let registry: Registry = "r.example".parse().unwrap();
        let credential = Credential::basic("me", "x");
        ConfigFile::log_in(&link, &registry, &credential)
            .await
            .unwrap();
        assert!(fs_err::symlink_metadata(&link).unwrap().is_symlink());
        let written = fs_err::read_to_string(&path).unwrap();
        assert!(written.contains("r.example"), "{written}");
        // One who opened it before reads what was there before.
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "{ }");
    }

    #[tokio::test]
    async fn where_there_are_no_entries_there_may_be_null() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs_err::write(&path, r#"{"auths":null}"#).unwrap();
        let registry: Registry = "r.example".parse().unwrap();
        assert!(!ConfigFile::log_out(&path, &registry).await.unwrap().found);
        let credential = Credential::basic("me", "x");
        let kept = ConfigFile::log_in(&path, &registry, &credential).await;
        assert_eq!(kept.unwrap(), None);
        assert!(ConfigFile::log_out(&path, &registry).await.unwrap().found);
    }

    #[tokio::test]
    async fn dockers_registry_has_the_key_that_docker_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let registry: Registry = "docker.io".parse().unwrap();
        let credential = Credential::basic("me", "x");
        ConfigFile::log_in(&path, &registry, &credential)
            .await
            .unwrap();
        let document = read_document(&path).unwrap();
        let key = "https://index.docker.io/v1/";
        assert!(document["auths"].get(key).is_some(), "{document:?}");
    }

    #[tokio::test]
    async fn a_broken_file_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let registry: Registry = "r.example".parse().unwrap();
        let credential = Credential::basic("me", "x");
        for broken in [
            "{",
            "[]",
            r#"{"auths":[]}"#,
            r#"{"credHelpers":"x"}"#,
            r#"{"AUTHS":{"r.example":{}}}"#,
            r#"{"auths":{"a.example":{}},"auths":{"r.example":{}}}"#,
        ] {
            fs_err::write(&path, broken).unwrap();
            let kept = ConfigFile::log_in(&path, &registry, &credential).await;
            assert!(kept.is_err(), "{broken}");
            assert!(ConfigFile::log_out(&path, &registry).await.is_err());
            assert_eq!(fs_err::read_to_string(&path).unwrap(), broken);
        }
        // Nor is one that became so after it was looked at.
        let mut document = Map::from_iter([("auths".to_owned(), Value::Array(Vec::new()))]);
        assert!(auths_of(&path, &mut document).is_err());
    }
}
