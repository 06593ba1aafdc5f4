//! A small Docker daemon, with a switch for each fault that a real one will not show on demand. It
//! writes down what it is asked and what it is sent.

#![expect(
    clippy::indexing_slicing,
    reason = "a daemon that is sent nonsense may panic: the test fails by its broken connection"
)]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use oci::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

mod server;
mod tls;

pub use tls::TlsPort;

/// How the daemon differs from a plain, classic Docker 20.10.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made with `..DaemonSwitches::default()`"
)]
pub struct DaemonSwitches {
    /// It keeps images in containerd: by their manifests.
    pub containerd: bool,
    /// The newest version of the API that it knows.
    pub api: &'static str,
    /// It closes each connection after one answer.
    pub closes: bool,
    /// What it answers to a request in whose log line this text stands.
    pub faults: Vec<(&'static str, DaemonFault)>,
}

impl Default for DaemonSwitches {
    fn default() -> Self {
        Self {
            containerd: false,
            api: "1.41",
            closes: false,
            faults: Vec::new(),
        }
    }
}

/// What goes wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum DaemonFault {
    /// It says no.
    Status(u16, &'static str),
    /// It has begun by saying 200, and then says no.
    ErrorLine(&'static str),
    /// It says yes, and does nothing.
    Lie,
    /// It reads so many bytes of what it is sent, and breaks off.
    Drop(usize),
    /// It answers this, again and again.
    Endless(&'static str),
    /// It answers this, whatever it was asked.
    Gives(Vec<u8>),
    /// It begins to answer, with this, and says no more.
    Stalls(&'static str),
    /// It never answers.
    Silent,
}

/// A running daemon. Ends when it is dropped.
#[derive(Debug)]
pub struct TestDaemon {
    folder: TempDir,
    state: Arc<State>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestDaemon {
    /// Starts at a socket in a folder of its own, on a thread of its own.
    ///
    /// # Panics
    /// If there is no room for it.
    pub fn start(switches: DaemonSwitches) -> Self {
        let folder = TempDir::with_prefix("sealpack-daemon-").expect("a temporary folder");
        let socket = folder.path().join("docker.sock");
        let listener = std::os::unix::net::UnixListener::bind(socket).expect("a socket");
        let state = Arc::new(State {
            switches,
            ..State::default()
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let served = state.clone();
        let thread = std::thread::spawn(move || server::run(listener, &served, stopped));
        Self {
            folder,
            state,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// Its address, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// What it was asked since it was last asked this: `METHOD PATH?QUERY`, without the version.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.inner().log)
    }

    /// The names of the files in each archive that it was sent whole, in order.
    pub fn loads(&self) -> Vec<Vec<String>> {
        self.state.inner().loads.clone()
    }

    /// The ID of the image by a name.
    pub fn image(&self, name: &str) -> Option<Digest> {
        self.state.inner().names.get(name).cloned()
    }

    /// Takes over the images of another daemon, and their names.
    pub fn take_images(&self, from: &Self) {
        let from = from.state.inner();
        let mut inner = self.state.inner();
        inner.images.clone_from(&from.images);
        inner.names.clone_from(&from.names);
        inner.chains.clone_from(&from.chains);
        inner.files.clone_from(&from.files);
    }

    /// Forgets the layers of its images, but not the images: a layer was removed after it was seen.
    pub fn forget_layers(&self) {
        let mut inner = self.state.inner();
        inner.chains.clear();
        inner.files.clear();
    }
}

impl Drop for TestDaemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has failed the test by its broken connection already.
            drop(thread.join());
        }
    }
}

#[derive(Debug, Default)]
struct State {
    switches: DaemonSwitches,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    log: Vec<String>,
    loads: Vec<Vec<String>>,
    names: BTreeMap<String, Digest>,
    images: BTreeMap<Digest, Image>,
    /// The chains of layers that a classic store has, each with the file of its uppermost one.
    chains: BTreeMap<Vec<String>, Vec<u8>>,
    /// The content that containerd has, by its name in an archive.
    files: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Image {
    config: Vec<u8>,
    diff_ids: Vec<String>,
    /// Names of files in an archive, lowest first.
    layers: Vec<String>,
    manifest: Option<Value>,
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, line: &str) -> Option<DaemonFault> {
        let faults = &self.switches.faults;
        let found = faults.iter().find(|(on, _)| line.contains(on));
        found.map(|(_, fault)| fault.clone())
    }

    /// Makes an image of an archive; what it says about it.
    fn load(&self, archive: &[u8]) -> Result<String, String> {
        let mut files = BTreeMap::new();
        let mut tar = tar::Archive::new(archive);
        for entry in tar.entries().map_err(|it| it.to_string())? {
            let mut entry = entry.map_err(|it| it.to_string())?;
            let mut content = Vec::new();
            let read = entry.read_to_end(&mut content);
            read.map_err(|it| it.to_string())?;
            let path = entry.path().map_err(|it| it.to_string())?;
            files.insert(path.display().to_string(), content);
        }
        let mut inner = self.inner();
        inner.loads.push(files.keys().cloned().collect());
        if self.switches.containerd {
            inner.load_layout(files)
        } else {
            inner.load_classic(&files)
        }
    }
}

impl Inner {
    fn load_classic(&mut self, files: &BTreeMap<String, Vec<u8>>) -> Result<String, String> {
        let item = parse(files, "manifest.json")?[0].clone();
        let config = file(files, text(&item["Config"]))?;
        let diff_ids = diff_ids(config)?;
        let layers = texts(&item["Layers"]);
        for (at, path) in layers.iter().enumerate() {
            let chain = diff_ids[..=at].to_vec();
            if let Entry::Vacant(place) = self.chains.entry(chain) {
                place.insert(file(files, path)?.clone());
            }
        }
        let id = Digest::of(config);
        let image = Image {
            config: config.clone(),
            diff_ids,
            layers,
            manifest: None,
        };
        self.images.insert(id.clone(), image);
        for name in texts(&item["RepoTags"]) {
            self.names.insert(name, id.clone());
        }
        Ok(format!("Loaded image: {id}\n"))
    }

    /// As containerd does: what is missing is no error here.
    fn load_layout(&mut self, files: BTreeMap<String, Vec<u8>>) -> Result<String, String> {
        let entry = parse(&files, "index.json")?["manifests"][0].clone();
        let digest = text(&entry["digest"]);
        let manifest = parse(&files, &path_of(digest))?;
        let config = file(&files, &path_of(text(&manifest["config"]["digest"])))?;
        let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
        let image = Image {
            config: config.clone(),
            diff_ids: diff_ids(config)?,
            layers: layers
                .iter()
                .map(|it| path_of(text(&it["digest"])))
                .collect(),
            manifest: Some(manifest.clone()),
        };
        let name = text(&entry["annotations"]["io.containerd.image.name"]);
        let name = name
            .trim_start_matches("docker.io/")
            .trim_start_matches("library/");
        let id: Digest = digest.parse().ok().ok_or("bad digest")?;
        self.names.insert(name.to_owned(), id.clone());
        self.images.insert(id.clone(), image);
        self.files.extend(files);
        Ok(format!("Loaded image: {name}\n"))
    }

    fn find(&self, name: &str) -> Option<(&Digest, &Image)> {
        let id = self.names.get(name).cloned();
        let id = id.or_else(|| self.names.get(&format!("{name}:latest")).cloned());
        let id = id
            .or_else(|| name.parse().ok())
            .or_else(|| format!("sha256:{name}").parse().ok())?;
        self.images.get_key_value(&id)
    }

    fn inspect(&self, name: &str) -> Option<Value> {
        let (id, image) = self.find(name)?;
        let config: Value = serde_json::from_slice(&image.config).unwrap_or_default();
        let mut shown = json!({
            "Id": id,
            "Architecture": config["architecture"],
            "Os": config["os"],
            "Config": config["config"],
            "RootFS": {"Type": "layers", "Layers": image.diff_ids},
        });
        if image.manifest.is_some() {
            let available = image.layers.iter().all(|it| self.files.contains_key(it));
            shown["Manifests"] = json!([{"ID": id, "Available": available}]);
        }
        Some(shown)
    }

    /// Newest first.
    fn history(&self, name: &str) -> Option<Value> {
        let config: Value = serde_json::from_slice(&self.find(name)?.1.config).ok()?;
        let told = config["history"].as_array().cloned().unwrap_or_default();
        let told = told.iter().rev().map(
            |it| json!({"CreatedBy": text(&it["created_by"]), "Comment": text(&it["comment"])}),
        );
        Some(told.collect())
    }

    fn list(&self) -> Value {
        let images = self.images.keys().map(|id| {
            let names = self.names.iter().filter(|(_, it)| *it == id);
            let names: Vec<&String> = names.map(|(name, _)| name).collect();
            json!({"Id": id, "RepoTags": names})
        });
        images.collect()
    }

    /// As `docker save` has written it up to Docker 24.
    fn save(&self, name: &str) -> Option<Vec<u8>> {
        let (id, image) = self.find(name)?;
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |path: &str, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, content)
                .expect("memory takes it");
        };
        let config = format!("{}.json", id.hex());
        let mut layers = Vec::new();
        for at in 0..image.layers.len() {
            let path = format!("{at}/layer.tar");
            add(&path, self.chains.get(&image.diff_ids[..=at])?);
            layers.push(path);
        }
        add(&config, &image.config);
        let items = json!([{"Config": config, "RepoTags": [name], "Layers": layers}]);
        add("manifest.json", items.to_string().as_bytes());
        Some(tar.into_inner().expect("memory takes it"))
    }
}

fn path_of(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn file<'a>(files: &'a BTreeMap<String, Vec<u8>>, path: &str) -> Result<&'a Vec<u8>, String> {
    let found = files.get(path);
    found.ok_or_else(|| {
        format!(
            "open {}: no such file or directory",
            Path::new(path).display()
        )
    })
}

fn parse(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Result<Value, String> {
    serde_json::from_slice(file(files, path)?).map_err(|it| it.to_string())
}

fn diff_ids(config: &[u8]) -> Result<Vec<String>, String> {
    let config: Value = serde_json::from_slice(config).map_err(|it| it.to_string())?;
    Ok(texts(&config["rootfs"]["diff_ids"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.map(|it| text(it).to_owned()).collect()
}
