//! Builds a source with all that heals its faults.

use std::sync::Arc;

use yatagarasu_core::source::circuit::Guarded;
use yatagarasu_core::source::failover::Alternative;
use yatagarasu_core::source::healing::Healing;
use yatagarasu_core::source::hedge::Hedging;
use yatagarasu_core::source::metered::{Metered, SourceMeters};
use yatagarasu_core::source::resume::Resuming;
use yatagarasu_core::source::retry::Retrying;
use yatagarasu_core::source::timeout::Timed;
use yatagarasu_core::{Clock, ObjectSource};
use yatagarasu_s3::{Access, BuildError, BuiltSource};

use crate::build::Memory;
use crate::config::{FallbackConfig, OriginConfig};

/// A source of a bucket, in use.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The name of the bucket, with the number of the fallback if it is one.
    pub name: Arc<str>,
    /// The source itself.
    pub built: BuiltSource,
    /// What was done to heal its faults.
    pub healing: Arc<Healing>,
    /// Its circuit.
    pub circuit: Guarded,
    /// The requests that were sent to it.
    pub meters: Arc<SourceMeters>,
    /// The source with its timeouts, without retries, hedging and circuit.
    pub(crate) asked_once: Arc<dyn ObjectSource>,
    /// The source, with the limits of requests to it.
    source: Arc<dyn ObjectSource>,
    /// What it was built from.
    pub(crate) config: OriginConfig,
}

impl Origin {
    /// Builds a source. Of `earlier`, keeps what is still valid: its connections and credentials if it is the same
    /// source, and the state of its circuit and its counters if the limits are the same as well.
    pub(super) async fn build(
        config: &OriginConfig,
        clock: &Arc<dyn Clock>,
        memory: &Memory,
        earlier: Option<&Self>,
    ) -> Result<Self, BuildError> {
        // A file of certificates may have another content under the same name.
        let is_fixed = config.source.tls.ca_file.is_none();
        let built = match earlier.filter(|earlier| is_fixed && earlier.config.source == config.source) {
            Some(earlier) if earlier.config == *config => return Ok(earlier.clone()),
            Some(earlier) => earlier.built.clone(),
            None => yatagarasu_s3::build(&config.source, Arc::clone(clock)).await?,
        };
        let name = Arc::clone(&config.source.name);
        let healing = Healing::new(Arc::clone(&name), config.retry);
        // A retry counts for the circuit, and a body that goes on is a request like all others.
        let timed = Timed::new(Arc::clone(&built.source), config.response_timeout, config.idle_timeout);
        // Another configuration of the same bucket goes on counting.
        let meters = memory.sources.meters(&name);
        let asked_once: Arc<dyn ObjectSource> = Arc::new(Metered::new(Arc::new(timed), Arc::clone(&meters)));
        #[cfg(feature = "otel")]
        let asked_once: Arc<dyn ObjectSource> = {
            let (tracing, url) = (Arc::clone(&memory.tracing), built.url().clone());
            Arc::new(crate::telemetry::spans::source::Traced::new(
                asked_once,
                tracing,
                Arc::clone(&name),
                url,
            ))
        };
        let circuit = Guarded::new(Arc::clone(&asked_once), Arc::clone(&name));
        let asked: Arc<dyn ObjectSource> = if config.hedging {
            Arc::new(Hedging::new(Arc::new(circuit.clone()), Arc::clone(&healing)))
        } else {
            Arc::new(circuit.clone())
        };
        let retrying = Retrying::new(asked, Arc::clone(&healing));
        let source = Arc::new(Resuming::new(Arc::new(retrying), Arc::clone(&healing)));
        Ok(Self { name, built, healing, circuit, meters, asked_once, source, config: config.clone() })
    }

    /// Says where it asks, and with which keys.
    pub(super) fn announce(&self, path_prefix: &str, cache_bytes: u64) {
        tracing::info!(
            bucket = &*self.name,
            path_prefix,
            url = self.built.url(),
            region = self.built.region(),
            credentials = match &self.config.source.access {
                Access::Anonymous => "none",
                Access::Static(_) => "configuration",
                Access::Chain => "AWS credential chain",
            },
            cache_bytes,
            "bucket configured"
        );
        if self.config.source.tls.insecure {
            let bucket = &*self.name;
            tracing::warn!(bucket, "the certificate of this bucket's S3 is not verified (`s3.tls.insecure`)");
        }
    }

    /// Returns it as one of the sources of a bucket. `fallback` says when it is asked if it is not the first.
    pub(super) fn alternative(&self, fallback: Option<&FallbackConfig>) -> Alternative {
        Alternative {
            source: Arc::clone(&self.source),
            circuit: self.circuit.clone(),
            when: fallback.map_or_else(Vec::new, |fallback| fallback.when.clone()),
        }
    }
}
