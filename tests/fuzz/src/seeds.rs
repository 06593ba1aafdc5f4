//! Good input: what real tools wrote into `tests/fixtures`, as far as it is small.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What JSON of this field is made of.
pub(crate) const WORDS: &[&str] = &[
    "\"schemaVersion\":2",
    "\"mediaType\":",
    "\"config\":",
    "\"layers\":[",
    "\"manifests\":[",
    "\"subject\":",
    "\"artifactType\":",
    "\"annotations\":{",
    "\"digest\":",
    "\"size\":",
    "\"urls\":[",
    "\"data\":",
    "\"platform\":{",
    "\"architecture\":",
    "\"os\":",
    "\"os.version\":",
    "\"os.features\":",
    "\"rootfs\":",
    "\"diff_ids\":",
    "\"history\":[",
    "\"created\":",
    "\"Labels\":",
    "\"Env\":",
    "\"ExposedPorts\":",
    "\"Healthcheck\":",
    "null",
    "1e400",
    "-0.0",
    "18446744073709551615",
    "\\u2028",
    "\\ud800",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
];

/// Larger than this is of no use: most of its bytes say the same.
const LARGEST: u64 = 3 << 10;

/// The folder of this crate: beside its code, what once broke something.
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn manifests() -> Vec<Vec<u8>> {
    documents(|it| it.get("config").is_some() && it.get("layers").is_some())
}

pub(crate) fn indexes() -> Vec<Vec<u8>> {
    documents(|it| it.get("manifests").is_some())
}

pub(crate) fn configs() -> Vec<Vec<u8>> {
    let full = br#"{"architecture":"amd64","author":"me","container":"c","created":"2024-01-01T00:00:00Z","docker_version":"27","history":[{"created":"2024-01-01T00:00:00.5Z","created_by":"RUN x","empty_layer":true,"comment":"<&>"}],"os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"]},"config":{"Cmd":["a"],"Entrypoint":null,"Env":["A=b"],"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["CMD","x"],"Interval":1000000000,"Retries":3},"Labels":{"a":"b"},"OnBuild":[],"StopSignal":"9","User":"1:1","Volumes":{"/x":{}},"WorkingDir":"/x","Memory":1.5},"os.version":"10","variant":"v8","os.features":["f"],"moby.buildkit":[1e21]}"#;
    let mut documents = documents(|it| it.get("rootfs").is_some());
    documents.push(full.to_vec());
    documents
}

pub(crate) fn descriptors() -> Vec<Vec<u8>> {
    let full = br#"{"mediaType":"x/y","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"urls":["https://a.example"],"annotations":{"a":"b"},"data":"e30=","platform":{"architecture":"arm64","os":"linux","os.version":"1","os.features":["f"],"variant":"v8"},"artifactType":"a/b"}"#;
    let mut found = BTreeSet::from([full.to_vec()]);
    for document in manifests().into_iter().chain(indexes()) {
        let Ok(Value::Object(document)) = serde_json::from_slice(&document) else {
            continue;
        };
        for value in document.into_values() {
            let values = match value {
                Value::Array(values) => values,
                other => vec![other],
            };
            let descriptors = values.iter().filter(|it| it.get("digest").is_some());
            found.extend(descriptors.map(|it| it.to_string().into_bytes()));
        }
    }
    found.into_iter().take(24).collect()
}

/// The distinct fixtures that are JSON and `wanted`.
fn documents(wanted: fn(&Value) -> bool) -> Vec<Vec<u8>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder().join("../fixtures")];
    while let Some(folder) = folders.pop() {
        for path in list(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else if let Some(content) = small(&path)
                && serde_json::from_slice(&content).is_ok_and(|it| wanted(&it))
            {
                found.insert(content);
            }
        }
    }
    found.into_iter().take(24).collect()
}

/// What is in `folder`, in order; nothing if it is none.
pub(crate) fn list(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|it| Some(it.ok()?.path()));
    let sorted: BTreeSet<PathBuf> = paths.collect();
    sorted.into_iter().collect()
}

fn small(path: &Path) -> Option<Vec<u8>> {
    let size = fs_err::metadata(path).ok()?.len();
    (size <= LARGEST).then(|| fs_err::read(path).ok()).flatten()
}
