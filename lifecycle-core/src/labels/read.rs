//! What upstream reads labels and the metadata of caches into: what its types are called, and which fields
//! they have.

use go::json::{Field, Struct, Type};

const FLAG: Type = Type::Bool;
const ANY_BY_NAME: Type = Type::Map(&Type::Any);

/// The metadata of the lifecycle, as most of upstream reads it.
pub(super) const LAYERS: Type = Type::Struct(&Struct {
    package: "files",
    name: "LayersMetadata",
    fields: &[
        Field::new("app", &Type::List(&SHA)),
        Field::new("sbom", &Type::Pointer(&SHA)),
        Field::new("buildpacks", &Type::List(&BUILDPACK)),
        Field::new("config", &SHA),
        Field::new("launcher", &SHA),
        Field::new("process-types", &SHA),
        Field::new("runImage", &RUN_IMAGE),
        Field::new("stack", &Type::Pointer(&STACK)),
    ],
});

/// The same as a rebase writes it again: what is said of the app stays, whatever it is.
pub(super) const LAYERS_OF_ANY_APP: Type = Type::Struct(&Struct {
    package: "files",
    name: "LayersMetadataCompat",
    fields: &[
        Field::new("app", &Type::Any),
        Field::new("sbom", &Type::Pointer(&SHA)),
        Field::new("buildpacks", &Type::List(&BUILDPACK)),
        Field::new("config", &SHA),
        Field::new("launcher", &SHA),
        Field::new("process-types", &SHA),
        Field::new("runImage", &RUN_IMAGE),
        Field::new("stack", &Type::Pointer(&STACK)),
    ],
});

/// What a cache says of its layers.
pub(super) const CACHE: Type = Type::Struct(&Struct {
    package: "platform",
    name: "CacheMetadata",
    fields: &[
        Field::new("sbom", &SHA),
        Field::new("buildpacks", &Type::List(&BUILDPACK)),
    ],
});

const SHA: Type = Type::Struct(&Struct {
    package: "files",
    name: "LayerMetadata",
    fields: &[Field::new("sha", &Type::STRING)],
});

const BUILDPACK: Type = Type::Struct(&Struct {
    package: "buildpack",
    name: "LayersMetadata",
    fields: &[
        Field::new("key", &Type::STRING),
        Field::new("version", &Type::STRING),
        Field::new("layers", &Type::Map(&LAYER)),
        Field::new("store", &Type::Pointer(&STORE)),
    ],
});

const OF_FILE: &[&str] = &["LayerMetadataFile"];

const LAYER: Type = Type::Struct(&Struct {
    package: "buildpack",
    name: "LayerMetadata",
    fields: &[
        Field::new("sha", &Type::STRING),
        Field::embedded(OF_FILE, "data", &Type::Any),
        Field::embedded(OF_FILE, "build", &FLAG),
        Field::embedded(OF_FILE, "launch", &FLAG),
        Field::embedded(OF_FILE, "cache", &FLAG),
    ],
});

const STORE: Type = Type::Struct(&Struct {
    package: "buildpack",
    name: "StoreTOML",
    fields: &[Field::new("metadata", &ANY_BY_NAME)],
});

const OF_EXPORT: &[&str] = &["RunImageForExport"];

const RUN_IMAGE: Type = Type::Struct(&Struct {
    package: "files",
    name: "RunImageForRebase",
    fields: &[
        Field::new("topLayer", &Type::STRING),
        Field::new("reference", &Type::STRING),
        Field::embedded(OF_EXPORT, "image", &Type::STRING),
        Field::embedded(OF_EXPORT, "mirrors", &Type::TEXTS),
    ],
});

const STACK: Type = Type::Struct(&Struct {
    package: "files",
    name: "Stack",
    fields: &[Field::new("runImage", &IMAGES)],
});

const IMAGES: Type = Type::Struct(&Struct {
    package: "files",
    name: "RunImageForExport",
    fields: &[
        Field::new("image", &Type::STRING),
        Field::new("mirrors", &Type::TEXTS),
    ],
});

#[cfg(test)]
mod tests;
