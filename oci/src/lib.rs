//! OCI content: what it is ([`Descriptor`]), where it lies ([`Store`]), how it moves.
//!
//! Everything in this workspace that has a digest is named by a [`Descriptor`] and lies in a
//! [`Store`]. Nothing here knows of buildpacks, signatures, policies or the terminal.

pub mod auth;
mod config;
mod copy;
mod descriptor;
mod digest;
mod extract;
#[doc(hidden)]
pub mod fuzzing;
mod image;
mod index;
mod json;
pub mod layer;
mod limits;
mod manifest;
mod media_type;
mod places;
mod platform;
mod reference;
pub mod spans;
pub mod store;
pub mod tar;
pub mod view;
mod walk;
mod wire;

pub use config::{HealthCheck, History, ImageConfig, RootFs, RunConfig};
pub use copy::{
    Copied, CopyError, CopyOptions, Dropped, Outcome, Platforms, Progress, Tally, copy_graph,
};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, DiffId, Digest, DigestError, HashReader, Hasher};
pub use extract::{
    ExtractError, ExtractOptions, ExtractRules, ExtractSummary, IdMap, IdRange, Links,
    OverlayXattrs, Owners, RecordedOwner, Whiteouts, extract, extract_layer, extract_layer_telling,
};
pub use go::bounded::{read_at_most, read_text_at_most};
pub use image::{Image, ImageError};
pub use limits::Limits;
pub use manifest::{ImageManifest, Index, Manifest, ManifestError};
pub use media_type::MediaType;
pub use places::{Found, Places, PlacesError};
pub use platform::{Platform, PlatformError};
pub use reference::{Location, Reference, ReferenceError, Registry, Repository, Selector, Tag};
pub use store::{Content, LayoutStore, MemoryStore, Store, StoreError, Upload};
pub use walk::{Node, Relation, walk};
