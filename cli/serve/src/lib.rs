#![doc = include_str!("../README.md")]

mod budget;
mod connection;
mod files;
mod gated;
mod judge;
mod limits;
mod log;
mod metrics;
mod respond;
mod review;
mod server;
mod tls;
mod verify;

pub use gated::{Gated, Loaded};
pub use judge::{Asked, Judge, Judgement, ReloadError};
pub use limits::Limits;
pub use log::Log;
pub use review::{Pin, Settings};
pub use server::{Control, ServeError, Server, Stop, Told};
pub use tls::{Certificate, CertificateError};
