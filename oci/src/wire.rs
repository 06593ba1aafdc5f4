//! Manifests and configs as go-containerregistry reads them, with which the tools of the field are made:
//! what its types are called, and which fields they have.

use go::json::{Field, Struct, Type};

const FLAG: Type = Type::Bool;
const NUMBER: Type = Type::Integer("int64");
const DURATION: Type = Type::Integer("time.Duration");
const MEDIA_TYPE: Type = Type::Text("types.MediaType");
const HASH: Type = Type::Own("v1.Hash", hash);
const TIME: Type = Type::Time("v1.Time");
const NOTHING: Type = Type::Struct(&Struct {
    package: "",
    name: "",
    fields: &[],
});

/// An image manifest.
pub(crate) const MANIFEST: Type = Type::Struct(&Struct {
    package: "v1",
    name: "Manifest",
    fields: &[
        Field::new("schemaVersion", &NUMBER),
        Field::new("mediaType", &MEDIA_TYPE),
        Field::new("config", &DESCRIPTOR),
        Field::new("layers", &Type::List(&DESCRIPTOR)),
        Field::new("annotations", &Type::TEXTS_BY_NAME),
        Field::new("subject", &Type::Pointer(&DESCRIPTOR)),
        Field::new("artifactType", &Type::STRING),
    ],
});

/// An index.
pub(crate) const INDEX: Type = Type::Struct(&Struct {
    package: "v1",
    name: "IndexManifest",
    fields: &[
        Field::new("schemaVersion", &NUMBER),
        Field::new("mediaType", &MEDIA_TYPE),
        Field::new("manifests", &Type::List(&DESCRIPTOR)),
        Field::new("annotations", &Type::TEXTS_BY_NAME),
        Field::new("subject", &Type::Pointer(&DESCRIPTOR)),
        Field::new("artifactType", &Type::STRING),
    ],
});

/// As much of either as tells which it is.
pub(crate) const KIND: Type = Type::Struct(&Struct {
    package: "v1",
    name: "Manifest",
    fields: &[
        Field::new("mediaType", &MEDIA_TYPE),
        Field::new("config", &Type::Presence),
        Field::new("layers", &Type::Presence),
        Field::new("manifests", &Type::Presence),
    ],
});

/// Whether the config of either is a descriptor.
pub(crate) const SHAPE: Type = Type::Struct(&Struct {
    package: "v1",
    name: "Manifest",
    fields: &[Field::new(
        "config",
        &Type::Struct(&Struct {
            package: "v1",
            name: "Descriptor",
            fields: &[Field::new("digest", &Type::Presence)],
        }),
    )],
});

const DESCRIPTOR: Type = Type::Struct(&Struct {
    package: "v1",
    name: "Descriptor",
    fields: &[
        Field::new("mediaType", &MEDIA_TYPE),
        Field::new("size", &NUMBER),
        Field::new("digest", &HASH),
        Field::new("data", &Type::Bytes),
        Field::new("urls", &Type::TEXTS),
        Field::new("annotations", &Type::TEXTS_BY_NAME),
        Field::new("platform", &Type::Pointer(&PLATFORM)),
        Field::new("artifactType", &Type::STRING),
    ],
});

const PLATFORM: Type = Type::Struct(&Struct {
    package: "v1",
    name: "Platform",
    fields: &[
        Field::new("architecture", &Type::STRING),
        Field::new("os", &Type::STRING),
        Field::new("os.version", &Type::STRING),
        Field::new("os.features", &Type::TEXTS),
        Field::new("variant", &Type::STRING),
        Field::new("features", &Type::TEXTS),
    ],
});

/// The config of an image.
pub(crate) const CONFIG: Type = Type::Struct(&Struct {
    package: "v1",
    name: "ConfigFile",
    fields: &[
        Field::new("architecture", &Type::STRING),
        Field::new("author", &Type::STRING),
        Field::new("container", &Type::STRING),
        Field::new("created", &TIME),
        Field::new("docker_version", &Type::STRING),
        Field::new("history", &Type::List(&HISTORY)),
        Field::new("os", &Type::STRING),
        Field::new("rootfs", &ROOT_FS),
        Field::new("config", &RUN_CONFIG),
        Field::new("os.version", &Type::STRING),
        Field::new("variant", &Type::STRING),
        Field::new("os.features", &Type::TEXTS),
    ],
});

const HISTORY: Type = Type::Struct(&Struct {
    package: "v1",
    name: "History",
    fields: &[
        Field::new("author", &Type::STRING),
        Field::new("created", &TIME),
        Field::new("created_by", &Type::STRING),
        Field::new("comment", &Type::STRING),
        Field::new("empty_layer", &FLAG),
    ],
});

const ROOT_FS: Type = Type::Struct(&Struct {
    package: "v1",
    name: "RootFS",
    fields: &[
        Field::new("type", &Type::STRING),
        Field::new("diff_ids", &Type::List(&HASH)),
    ],
});

const HEALTH_CHECK: Type = Type::Struct(&Struct {
    package: "v1",
    name: "HealthConfig",
    fields: &[
        Field::new("Test", &Type::TEXTS),
        Field::new("Interval", &DURATION),
        Field::new("Timeout", &DURATION),
        Field::new("StartPeriod", &DURATION),
        Field::new("Retries", &Type::Integer("int")),
    ],
});

const RUN_CONFIG: Type = Type::Struct(&Struct {
    package: "v1",
    name: "Config",
    fields: &[
        Field::new("AttachStderr", &FLAG),
        Field::new("AttachStdin", &FLAG),
        Field::new("AttachStdout", &FLAG),
        Field::new("Cmd", &Type::TEXTS),
        Field::new("Healthcheck", &Type::Pointer(&HEALTH_CHECK)),
        Field::new("Domainname", &Type::STRING),
        Field::new("Entrypoint", &Type::TEXTS),
        Field::new("Env", &Type::TEXTS),
        Field::new("Hostname", &Type::STRING),
        Field::new("Image", &Type::STRING),
        Field::new("Labels", &Type::TEXTS_BY_NAME),
        Field::new("OnBuild", &Type::TEXTS),
        Field::new("OpenStdin", &FLAG),
        Field::new("StdinOnce", &FLAG),
        Field::new("Tty", &FLAG),
        Field::new("User", &Type::STRING),
        Field::new("Volumes", &Type::Map(&NOTHING)),
        Field::new("WorkingDir", &Type::STRING),
        Field::new("ExposedPorts", &Type::Map(&NOTHING)),
        Field::new("ArgsEscaped", &FLAG),
        Field::new("NetworkDisabled", &FLAG),
        Field::new("MacAddress", &Type::STRING),
        Field::new("StopSignal", &Type::STRING),
        Field::new("Shell", &Type::TEXTS),
    ],
});

/// Whether `text` is a digest; if not, why, in the library's words. It knows SHA-256 alone; SHA-512 is in
/// the specification, too, and other tools write it.
fn hash(text: &str) -> Result<(), String> {
    let unparsed = || format!("cannot parse hash: {}", go::words::quoted(text.as_bytes()));
    let (algorithm, hex) = text.split_once(':').ok_or_else(unparsed)?;
    if algorithm.is_empty() || hex.is_empty() {
        return Err(unparsed());
    }
    let is_hex = |it: &u8| matches!(it, b'0'..=b'9' | b'a'..=b'f');
    if let Some(other) = hex.bytes().find(|it| !is_hex(it)) {
        // Whoever reads this sits at a terminal.
        let other = Some(char::from(other)).filter(|it| !it.is_control());
        let other = other.unwrap_or(char::REPLACEMENT_CHARACTER);
        return Err(format!("found non-hex character in hash: {other}"));
    }
    let len = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        other => {
            let other = go::words::quoted(other.as_bytes());
            return Err(format!("unsupported hash: {other}"));
        }
    };
    if hex.len() == len {
        Ok(())
    } else {
        Err(format!("wrong number of hex digits for {algorithm}: {hex}"))
    }
}

#[cfg(test)]
mod tests;
