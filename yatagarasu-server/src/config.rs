//! Configuration: reads a file, validates it as a whole, and prints the effective result.
//!
//! [`load`] parses a file. [`interpolate`] replaces `${NAME}`, [`overrides`] applies variables of the [`environment`],
//! and [`text`] trims and checks all texts. The result is read into [`raw`], the keys as written, with their [`units`].
//! [`validate`] checks them, fills in the defaults and makes the [`effective`] configuration, or collects all
//! [errors](error). [`render`] prints the effective configuration as a file that loads again.

mod effective;
mod environment;
mod error;
mod interpolate;
mod load;
mod overrides;
mod query;
mod raw;
mod render;
mod text;
mod units;
mod validate;

pub use effective::{AdminConfig, BucketCache, BucketConfig, Config, Secret, ServerConfig, StatusKey};
pub use environment::Environment;
pub use error::{ConfigError, ConfigErrors};
pub use query::ForwardedQuery;
pub use render::show;

/// A commented example configuration file (YAML).
pub const EXAMPLE: &str = include_str!("config/example.yaml");
