#![doc = include_str!("../README.md")]

pub mod health;
pub mod image;
pub mod mirror;
pub mod page;
