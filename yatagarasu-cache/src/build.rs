//! Checks a cache configuration and creates the cache.

use std::sync::Arc;

use yatagarasu_core::ObjectCache;

use crate::{CacheBackend, CacheConfig};

/// The reason why a cache cannot be created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The backend is not part of this build.
    #[error("the cache backend `{backend}` is not compiled in: build with `--features {feature}`")]
    NotCompiled {
        /// The backend's name in the configuration.
        backend: &'static str,
        /// The Cargo feature of this crate that adds it.
        feature: &'static str,
    },
    /// An object of length `max_item_size` would not fit into the cache.
    #[error(
        "an object of {max_item_size} bytes (`max_item_size`) does not fit into {max_size} bytes (`max_size`): raise \
         `max_size`, or lower `max_item_size` to {fits}"
    )]
    ItemTooLarge {
        /// The configured maximum length of an object in bytes.
        max_item_size: u64,
        /// The configured size of the cache in bytes.
        max_size: u64,
        /// The largest `max_item_size`, in bytes, that `max_size` permits.
        fits: u64,
    },
}

impl CacheConfig {
    /// Checks the configuration.
    ///
    /// Returns an error if [`build`] could not create this cache.
    pub fn check(&self) -> Result<(), BuildError> {
        match self.backend {
            #[cfg(feature = "foyer")]
            CacheBackend::Foyer => {
                let fits = crate::weight::longest_body(self.max_size);
                let &Self { max_item_size, max_size, .. } = self;
                if max_item_size > fits {
                    return Err(BuildError::ItemTooLarge { max_item_size, max_size, fits });
                }
                Ok(())
            }
            #[cfg(not(feature = "foyer"))]
            CacheBackend::Foyer => Err(BuildError::NotCompiled { backend: "foyer", feature: "foyer" }),
        }
    }
}

/// Creates the cache that `config` describes. Returns an error if [`CacheConfig::check`] does.
pub fn build(config: &CacheConfig) -> Result<Arc<dyn ObjectCache>, BuildError> {
    config.check()?;
    match config.backend {
        #[cfg(feature = "foyer")]
        CacheBackend::Foyer => Ok(Arc::new(crate::foyer::FoyerCache::new(config))),
        #[cfg(not(feature = "foyer"))]
        CacheBackend::Foyer => unreachable!("checked above"),
    }
}
