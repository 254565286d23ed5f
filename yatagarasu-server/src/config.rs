//! Configuration: read, checked as a whole, and shown as it takes effect.

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

/// A commented configuration file to begin with.
pub const EXAMPLE: &str = include_str!("config/example.yaml");
