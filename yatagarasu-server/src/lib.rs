//! The Yatagarasu server: the configuration, the public HTTP front end, the admin API, and the code that assembles
//! them.
#![forbid(unsafe_code)]

pub mod admin;
pub mod arguments;
pub mod bucket_check;
pub mod build;
mod compression;
pub mod config;
mod connection;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod listener;
pub mod server;
pub mod service;
pub mod signals;
pub mod supervisor;
pub mod telemetry;
mod tls;
mod trim;

pub use build::StartError;
pub use config::Config;
pub use server::handover::{Handover, tell_predecessor};
pub use server::reload::Reloader;
pub use server::{Server, Stop};
