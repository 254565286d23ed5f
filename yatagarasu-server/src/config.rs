//! Configuration: reads a file, validates it as a whole, and prints the effective result.
//!
//! [`keys`] is the table of all keys, with their types, defaults and bounds. [`load`] parses a file. [`interpolate`]
//! replaces `${NAME}`, [`overrides`] applies variables of the [`environment`], and [`text`] trims and checks all texts.
//! The result is read into the structs of the table, with its [`units`]. [`validate`] checks them and makes the
//! [`effective`] configuration, or collects all [errors](error). [`render`] prints the effective configuration as a file
//! that loads again, and what else is made from the table.

mod effective;
mod environment;
mod error;
mod interpolate;
mod keys;
mod load;
mod overrides;
mod query;
mod render;
mod text;
mod units;
mod validate;

pub use crate::listener::socket::{ADMIN_SOCKET, ListenAddress, is_served};
pub use crate::service::listing::ListingFormat;
pub use crate::service::router::{HostPattern, KeyPrefix};
pub use crate::service::site::{ErrorClass, Site};
pub use crate::tls::TlsVersion;
pub use crate::tls::certificate::CertificateFiles;
pub use crate::tls::setup::TlsConfig;
pub(crate) use effective::SHORT_FORM;
pub use effective::{
    AdminConfig, BucketCache, BucketConfig, Config, EventConfig, FallbackConfig, ListenerConfig, LogConfig,
    OriginConfig, Prices, Secret, ServerConfig, StatusKey, TracingConfig, WarmRestart,
};
pub use environment::Environment;
pub use error::{ConfigError, ConfigErrors};
pub use query::ForwardedQuery;
pub use render::{example, schema, show};
