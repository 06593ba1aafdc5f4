//! What the tests share: our binaries, real peers, a folder of their own.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod binaries;
mod browser;
mod builder_image;
mod certificates;
pub mod daemon;
mod distribution;
mod dockerd;
mod git;
mod https;
mod kube;
mod layers;
mod locks;
mod many;
mod measured;
mod peers;
mod podman;
mod project;
mod proxy;
pub mod registry;
mod screen;
mod scripted;
mod services;
pub mod sigstore;
mod terminal;
mod tokens;
mod webhook;
mod workspace;

pub use binaries::{binary, copy_binary, repository};
pub use browser::Browser;
pub use builder_image::BuilderImage;
pub use certificates::Certificates;
pub use distribution::{Gate, distribution};
pub use dockerd::Dockerd;
pub use git::GitRepository;
pub use https::{Https, Response};
pub use kube::{Kube, KubeClient};
pub use layers::{LayerFiles, write_image, write_image_with};
pub use locks::is_waited_for;
pub use many::{Leg, copy_many};
pub use measured::Measured;
pub use peers::{
    Server, docker_registry, free_port, olareg, olareg_with, peer, plain_distribution, skipped,
};
pub use podman::Podman;
pub use project::{FakeBuildpack, Project};
pub use proxy::{Proxy, ProxyRequest};
pub use screen::{Line, Screen, Style, picture};
pub use scripted::{Asked, Reply, Scripted};
pub use services::Sigstore;
pub use terminal::Terminal;
pub use tokens::TokenServer;
pub use webhook::{Webhook, answer, review};
pub use workspace::{Output, Workspace};
