//! What reads foreign bytes, as functions of bytes that panic where a promise is broken.
//!
//! Which engine makes the bytes is not known here: `libfuzzer/` follows coverage, `tests/short.rs`
//! only mutates what is known to be good.

mod archive;
mod builder;
mod config;
mod credentials;
mod descriptor;
mod dockerfile;
mod extract;
mod find;
mod forge;
mod git_objects;
mod gzip;
mod identity_token;
mod in_toto;
mod in_toto_layout;
mod in_toto_link;
mod index;
mod link;
mod manifest;
pub mod mutate;
mod project;
mod proof;
mod reference;
mod registries_conf;
mod review;
mod sbom;
mod seeds;
mod signing_config;
mod tar;
mod toml_file;
mod view;
mod www_authenticate;

pub use seeds::folder;

/// One reader, and where to begin with it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Panics if some promise is broken for these bytes.
    pub run: fn(&[u8]),
    /// Good input.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that input is made of.
    pub words: &'static [&'static str],
    /// How many inputs a run is that must be short.
    pub short: u32,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    archive::TARGET,
    proof::BUNDLE,
    proof::CERTIFICATE,
    proof::CHECKPOINT,
    builder::LABELS,
    builder::PACKAGE_TOML,
    config::TARGET,
    credentials::TARGET,
    descriptor::TARGET,
    dockerfile::TARGET,
    extract::TARGET,
    forge::TARGET,
    git_objects::TARGET,
    find::APK,
    find::DPKG,
    find::MANIFEST,
    find::PROGRAM,
    find::RPM,
    gzip::TARGET,
    in_toto_layout::TARGET,
    in_toto_link::TARGET,
    identity_token::TARGET,
    index::TARGET,
    link::TARGET,
    manifest::TARGET,
    project::TARGET,
    toml_file::TARGET,
    reference::TARGET,
    registries_conf::TARGET,
    sbom::TARGET,
    signing_config::TARGET,
    review::TARGET,
    tar::TARGET,
    proof::TIMESTAMP,
    proof::TRUSTED_ROOT,
    view::TARGET,
    www_authenticate::TARGET,
];
