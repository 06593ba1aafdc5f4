//! in-toto links of the phases: what each took and made. `docs/links.md` says what stands in them.
//!
//! Files are read again before and after each phase: a link says what was there, not what we
//! remember to have written.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use attest::key::PrivateKey;
use links::{Artifacts, Hashes, Link};
use oci::{Digest, HashReader};
use platform::run::{Watch, WatchError};
use serde_json::{Map, Value};

use crate::error::{CommandError, Context as _, Message};

/// Watches the phases, if links are wanted; else all it does is nothing.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// The folder that the phases call `/`; none, if nobody wants links.
    root: Option<PathBuf>,
    environment: Map<String, Value>,
    open: Link,
    done: Vec<Link>,
}

impl Watcher {
    pub(crate) fn new(root: Option<&Path>) -> Self {
        Self {
            root: root.map(Path::to_owned),
            environment: Map::new(),
            open: Link::default(),
            done: Vec::new(),
        }
    }

    /// The links, in the order of the phases.
    pub(crate) fn into_links(self) -> Vec<Link> {
        self.done
    }

    async fn look(&self, folders: &'static [&'static str]) -> Result<Artifacts, WatchError> {
        let Some(root) = self.root.clone() else {
            return Ok(Artifacts::new());
        };
        tokio::task::spawn_blocking(move || {
            let mut artifacts = Artifacts::new();
            for folder in folders {
                look(&root, folder, &mut artifacts)?;
            }
            Ok(artifacts)
        })
        .await?
    }
}

#[async_trait]
impl Watch for Watcher {
    fn runs_in(&mut self, name: &str, value: Value) {
        self.environment.insert(name.to_owned(), value);
    }

    async fn begin(
        &mut self,
        phase: &'static str,
        folders: &'static [&'static str],
    ) -> Result<(), WatchError> {
        self.open = Link {
            name: phase.to_owned(),
            command: vec![phase.to_owned()],
            materials: self.look(folders).await?,
            environment: self.environment.clone(),
            ..Link::default()
        };
        Ok(())
    }

    fn told(&mut self, words: Vec<String>) {
        self.open.command.extend(words);
    }

    fn takes(&mut self, name: &str, digest: &Digest) {
        let hashes = Hashes::of(digest);
        self.open.materials.insert(name.to_owned(), hashes);
    }

    fn makes(&mut self, name: &str, digest: &Digest) {
        let hashes = Hashes::of(digest);
        self.open.products.insert(name.to_owned(), hashes);
    }

    async fn end(&mut self, folders: &'static [&'static str]) -> Result<(), WatchError> {
        let mut link = std::mem::take(&mut self.open);
        link.products.extend(self.look(folders).await?);
        link.byproducts.insert("return-value".to_owned(), 0.into());
        self.done.push(link);
        Ok(())
    }
}

/// Signs the links and writes their files into `folder`. Says their names.
pub(crate) fn write(
    links: &[Link],
    key: &PrivateKey,
    folder: &Path,
) -> Result<Vec<String>, CommandError> {
    fs_err::create_dir_all(folder).map_err(CommandError::undecided)?;
    links
        .iter()
        .map(|link| {
            let file = link
                .sign(key)
                .context(|| format!("failed to sign the link of phase {}", link.name))?;
            let path = folder.join(&file.name);
            let mut temporary =
                tempfile::NamedTempFile::new_in(folder).map_err(CommandError::undecided)?;
            std::io::Write::write_all(&mut temporary, &file.bytes)
                .and_then(|()| temporary.as_file().sync_all())
                .and_then(|()| {
                    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
                    temporary.as_file().set_permissions(readable)
                })
                .and_then(|()| temporary.persist(&path).map_err(Into::into))
                .context(|| format!("failed to write `{}`", path.display()))?;
            Ok(file.name)
        })
        .collect()
}

/// All that `folder` of `root` holds: files by their content, symbolic links by the text in them.
fn look(root: &Path, folder: &str, artifacts: &mut Artifacts) -> Result<(), WatchError> {
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            let kind = entry.file_type()?;
            let digest = if kind.is_dir() {
                folders.push(path);
                continue;
            } else if kind.is_symlink() {
                let target = fs_err::read_link(&path)?;
                Digest::of(std::os::unix::ffi::OsStrExt::as_bytes(target.as_os_str()))
            } else if kind.is_file() {
                digest(&path)?
            } else {
                // A socket or a pipe has no content, and does not come into an image.
                continue;
            };
            let name = path.strip_prefix(root).unwrap_or(&path).to_str();
            let name = name.ok_or_else(|| {
                Message(format!(
                    "`{}` is not UTF-8: no link can name it",
                    path.display()
                ))
            })?;
            artifacts.insert(name.to_owned(), Hashes::of(&digest));
        }
    }
    Ok(())
}

fn digest(path: &Path) -> std::io::Result<Digest> {
    HashReader::new(fs_err::File::open(path)?).finish()
}
