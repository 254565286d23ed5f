//! Configuration: reads a file, validates it as a whole, and prints the effective result.

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
