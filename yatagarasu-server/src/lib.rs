//! The Yatagarasu server: the configuration, the public HTTP front end, the admin API, and the code that assembles
//! them.
#![forbid(unsafe_code)]

pub mod access_log;
pub mod admin;
pub mod assemble;
pub mod config;
pub mod exposition;
mod heap;
pub mod http;
mod listener;
pub mod log;
pub mod metrics;
pub mod server;
pub mod shutdown;

pub use assemble::StartError;
pub use config::Config;
pub use server::Server;
