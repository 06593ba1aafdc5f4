//! Credentials in the files that Docker and Podman keep.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::asked::Asked;
use super::{Credential, CredentialsError, MAX_BYTES, docker, normalise, wire};
use crate::Registry;

/// A `config.json` of Docker, or an `auth.json` of Podman: credentials, and which helper programs
/// keep more.
///
/// <https://docs.docker.com/reference/cli/docker/login/#credential-stores>,
/// <https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md>
#[derive(Clone)]
pub struct ConfigFile {
    path: PathBuf,
    /// Each, or what is wrong with its entry: one for another registry must not stop anything.
    credentials: BTreeMap<String, Result<Credential, &'static str>>,
    helpers: BTreeMap<String, Option<String>>,
    store: Option<String>,
}

impl ConfigFile {
    /// Reads the file at `path`; `None` if there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, CredentialsError> {
        match read_bytes(path)? {
            // What is no text in one entry is nothing to the others.
            Some(bytes) => Self::parse(path, &String::from_utf8_lossy(&bytes)).map(Some),
            None => Ok(None),
        }
    }

    /// Parses the content of a file. `path` is named in errors.
    pub fn parse(path: &Path, text: &str) -> Result<Self, CredentialsError> {
        let malformed = |problem: String| CredentialsError::File {
            path: path.to_owned(),
            problem,
        };
        // A file of nothing is one without configuration, as for Docker.
        let raw: Raw = wire::first(text.as_bytes(), &wire::ENTRIES).map_err(|_secret| {
            // Where, but not what: the error may quote a secret.
            let error = serde_json::from_str::<serde::de::IgnoredAny>(text).err();
            malformed(match error {
                Some(error) => format!(
                    "no JSON of the expected shape at line {}, column {}",
                    error.line(),
                    error.column()
                ),
                None => "no JSON of the expected shape".to_owned(),
            })
        })?;
        let mut credentials = BTreeMap::new();
        let mut of_addresses = Vec::new();
        for (key, entry) in raw.auths {
            let credential = match docker::Entry::read(&entry) {
                Some(entry) => entry.tolerantly().transpose(),
                None => Some(Err("is not of the expected shape")),
            };
            let is_address = key.contains("://");
            if let Some(credential) = credential {
                let key = normalise(&key);
                // As `docker login https://HOST/v1/…` writes it: an address stands for its host, too.
                if is_address
                    && credential.is_ok()
                    && let Some((host, _)) = key.split_once('/')
                {
                    of_addresses.push((host.to_owned(), credential.clone()));
                }
                credentials.insert(key, credential);
            }
        }
        for (host, credential) in of_addresses {
            credentials.entry(host).or_insert(credential);
        }
        Ok(Self {
            path: path.to_owned(),
            credentials,
            helpers: raw
                .cred_helpers
                .into_iter()
                // Without a name it is the file, whatever the store has.
                .map(|(key, helper)| (normalise(&key), Some(helper).filter(|it| !it.is_empty())))
                .collect(),
            store: Some(raw.creds_store).filter(|it| !it.is_empty()),
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The first credential for one of `keys`, the last of which is the registry itself. A helper
    /// for this registry goes first, the store for all others last.
    pub(super) async fn credential(
        &self,
        keys: &[String],
        asked: &Asked,
    ) -> Result<Option<Credential>, CredentialsError> {
        let Some(registry) = keys.last() else {
            return Ok(None);
        };
        let helper = keys.iter().find_map(|key| self.helpers.get_key_value(key));
        if let Some((key, Some(helper))) = helper {
            return asked.credential(helper, key).await;
        }
        let named = |key| Some((key, self.credentials.get(key)?));
        if let Some((key, credential)) = keys.iter().find_map(named) {
            return match credential {
                Ok(credential) => Ok(Some(credential.clone())),
                Err(problem) => Err(CredentialsError::File {
                    path: self.path.clone(),
                    problem: format!("entry `{key}` {problem}"),
                }),
            };
        }
        match &self.store {
            Some(store) if helper.is_none() => asked.credential(store, registry).await,
            _ => Ok(None),
        }
    }

    /// The parts of `registry`, `HOST/PATH`, that have credentials of their own, here or with a helper.
    pub(super) fn below(&self, registry: &Registry) -> Vec<String> {
        let helpers = self.helpers.iter().filter(|(_, it)| it.is_some());
        let keys = self.credentials.keys().chain(helpers.map(|(key, _)| key));
        let is_below = |key: &&String| {
            let rest = key.strip_prefix(registry.as_str());
            rest.is_some_and(|it| it.starts_with('/'))
        };
        let below: BTreeSet<_> = keys.filter(is_below).cloned().collect();
        below.into_iter().collect()
    }

    /// The helper that keeps the credential for `registry`, if one does.
    pub(super) fn helper_for(&self, registry: &str) -> Option<&str> {
        match self.helpers.get(registry) {
            Some(helper) => helper.as_deref(),
            None => self.store.as_deref(),
        }
    }
}

impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConfigFile").field(&self.path).finish()
    }
}

/// Reads a file of credentials whole; `None` if there is none.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, CredentialsError> {
    let text = read_bytes(path)?.map(String::from_utf8).transpose();
    text.map_err(|error| CredentialsError::Io {
        path: path.to_owned(),
        action: "read",
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
    })
}

pub(super) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, CredentialsError> {
    let failed = |source| CredentialsError::Io {
        path: path.to_owned(),
        action: "read",
        source,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    match crate::read_at_most(file, MAX_BYTES).map_err(failed)? {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(CredentialsError::File {
            path: path.to_owned(),
            problem: format!("larger than {MAX_BYTES} bytes"),
        }),
    }
}

/// What a file says, as far as it is for us; of each entry the text.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Raw {
    auths: BTreeMap<String, String>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, CredentialsError> {
        ConfigFile::parse(Path::new("config.json"), text)
    }

    #[test]
    fn entries_of_all_kinds_parse() {
        let file = parse(
            r#"{"auths":{
                "a.example":{"auth":"bWU6aHVudGVyMg=="},
                "b.example":{"username":"me","password":"x"},
                "c.example":{"auth":"bWU6","identitytoken":"t"},
                "d.example":{"registrytoken":"r"},
                "e.example":{},
                "https://f.example/v1/":{"auth":"PHRva2VuPjp0"}
            },"HttpHeaders":{"x":"y"},"credHelpers":null}"#,
        )
        .unwrap();
        let of = |host: &str| file.credentials.get(host).cloned().map(Result::unwrap);
        assert_eq!(of("a.example"), Some(Credential::basic("me", "hunter2")));
        assert_eq!(of("b.example"), Some(Credential::basic("me", "x")));
        assert_eq!(of("c.example"), Some(Credential::IdentityToken("t".into())));
        assert_eq!(of("d.example"), Some(Credential::RegistryToken("r".into())));
        assert_eq!(of("e.example"), None);
        assert_eq!(of("f.example"), Some(Credential::IdentityToken("t".into())));
    }

    #[tokio::test]
    async fn a_helper_for_the_registry_goes_first_and_the_store_last() {
        let file = parse(
            r#"{"auths":{"a.example":{"auth":"bWU6eA=="},"b.example":{"auth":"bWU6eA=="}},
                "credHelpers":{"b.example":"surely-not-installed"},"credsStore":"surely-not-installed"}"#,
        )
        .unwrap();
        let of = async |host: &str| file.credential(&[host.to_owned()], &Asked::default()).await;
        let kept = Some(Credential::basic("me", "x"));
        assert_eq!(of("a.example").await.unwrap(), kept);
        for host in ["b.example", "c.example"] {
            let asked = of(host).await;
            assert!(matches!(asked, Err(CredentialsError::Helper { .. })));
        }
    }

    #[test]
    fn what_is_empty_is_no_credential() {
        let nothing = r#""auth":"","identitytoken":"","registrytoken":"""#;
        for entry in [
            nothing,
            r#""username":"","password":"x""#,
            r#""username":"me","password":"""#,
            r#""password":"x""#,
        ] {
            let file = parse(&format!(r#"{{"auths":{{"a.example":{{{entry}}}}}}}"#)).unwrap();
            assert_eq!(file.credentials.len(), 0, "{entry}");
        }
    }

    #[tokio::test]
    async fn a_store_without_a_name_is_none() {
        for text in [
            r#"{"credsStore":""}"#,
            r#"{"credHelpers":{"a.example":""}}"#,
            r#"{"credHelpers":{"a.example":null}}"#,
        ] {
            let file = parse(text).unwrap();
            let found = file
                .credential(&["a.example".to_owned()], &Asked::default())
                .await;
            assert_eq!(found.unwrap(), None, "{text}");
        }
    }

    #[test]
    fn an_address_stands_for_its_host() {
        let file = parse(
            r#"{"auths":{"https://a.example/some/path":{"auth":"bWU6eA=="},
                "https://b.example/x":{"auth":"bWU6eA=="},"b.example":{"auth":"bWU6eQ=="},
                "c.example/x":{"auth":"bWU6\neA=\r\n="}}}"#,
        )
        .unwrap();
        let of = |key: &str| file.credentials.get(key).cloned().map(Result::unwrap);
        assert_eq!(of("a.example"), Some(Credential::basic("me", "x")));
        assert_eq!(of("b.example"), Some(Credential::basic("me", "y")));
        // A path alone is one.
        assert_eq!(of("c.example"), None);
        assert_eq!(of("c.example/x"), Some(Credential::basic("me", "x")));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        assert!(ConfigFile::read(&path).unwrap().is_none());
        // As where a file lies where its folder should be.
        fs_err::write(folder.path().join("file"), "").unwrap();
        let below = folder.path().join("file/config.json");
        assert!(ConfigFile::read(&below).unwrap().is_none());
        std::os::unix::fs::symlink(&path, &path).unwrap();
        assert!(matches!(
            ConfigFile::read(&path),
            Err(CredentialsError::Io { .. })
        ));
    }

    #[test]
    fn what_is_no_text_in_one_entry_is_nothing_to_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let text = b"{\"x\":\"\xff\",\"auths\":{\"a.example\":{\"auth\":\"bWU6eA==\"}}}";
        fs_err::write(&path, text).unwrap();
        let file = ConfigFile::read(&path).unwrap().unwrap();
        assert!(file.credentials["a.example"].is_ok());
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let (path, _folder, writer) = crate::store::endless_file("{}", MAX_BYTES);
        assert!(matches!(
            ConfigFile::read(&path),
            Err(CredentialsError::File { .. })
        ));
        assert!(writer.join().unwrap());
    }

    #[tokio::test]
    async fn errors_do_not_show_content() {
        for bad in ["hunter2", r#"{"auths":"hunter2"}"#] {
            let error = parse(bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        for bad in [r#"{"auth":"hunter2"}"#, r#""hunter2""#] {
            let file = parse(&format!(r#"{{"auths":{{"a.example":{bad}}}}}"#)).unwrap();
            let error = file
                .credential(&["a.example".to_owned()], &Asked::default())
                .await
                .unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_entry_stops_only_those_who_ask_for_its_registry() {
        for entry in ["null", "1", r#"{"auth":"*****"}"#] {
            let good = r#""good.example":{"auth":"bWU6eA=="}"#;
            let file = parse(&format!(r#"{{"auths":{{"bad.example":{entry},{good}}}}}"#)).unwrap();
            let ask = |host: &str| [host.to_owned()];
            let found = file
                .credential(&ask("good.example"), &Asked::default())
                .await
                .unwrap();
            assert_eq!(found, Some(Credential::basic("me", "x")));
            let bad = file
                .credential(&ask("bad.example"), &Asked::default())
                .await;
            assert_eq!(bad.is_ok(), entry == "null", "{entry}");
        }
        for empty in ["", " \n", "{}"] {
            assert_eq!(parse(empty).unwrap().credentials.len(), 0);
        }
    }
}
