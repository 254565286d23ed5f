use std::sync::Arc;

use yatagarasu_core::ObjectCache;

use crate::{CacheBackend, CacheConfig};

/// Why a cache cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The backend is not part of this build.
    #[error("the cache backend `{backend}` is not compiled in: build with `--features {feature}`")]
    NotCompiled {
        /// The backend's name in the configuration.
        backend: &'static str,
        /// The feature of this crate that adds it.
        feature: &'static str,
    },
    /// An object of the largest size allowed would not fit.
    #[error("`max_item_size` is {max_item_size} bytes, but a cache of {max_size} bytes takes at most {fits}")]
    ItemTooLarge {
        /// Bytes of the longest object configured.
        max_item_size: u64,
        /// Bytes of the cache configured.
        max_size: u64,
        /// Bytes of the longest object such a cache takes.
        fits: u64,
    },
}

impl CacheConfig {
    /// Says whether a cache can be made of this.
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

/// Makes the cache that `config` describes.
pub fn build(config: &CacheConfig) -> Result<Arc<dyn ObjectCache>, BuildError> {
    config.check()?;
    match config.backend {
        #[cfg(feature = "foyer")]
        CacheBackend::Foyer => Ok(Arc::new(crate::foyer::FoyerCache::new(config))),
        #[cfg(not(feature = "foyer"))]
        CacheBackend::Foyer => unreachable!("checked above"),
    }
}
