//! The conformance tests of `ObjectSource`, for each backend and kind of access.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use yatagarasu_core::ObjectSource;
use yatagarasu_s3::{Access, Addressing, SourceBackend, SourceConfig};
use yatagarasu_testing::conformance::{SourceBed, source_conformance};
use yatagarasu_testing::origin::{Origin, SESSION_TOKEN};

use crate::bed::{Bed, source};

#[async_trait]
impl SourceBed for Bed {
    async fn put(&self, key: &str, headers: &[(&str, &str)], content: Bytes) {
        self.origin.objects().put(key, headers, content);
    }

    fn source(&self) -> Arc<dyn ObjectSource> {
        Arc::clone(&self.source)
    }
}

async fn conforms(backend: SourceBackend, change: impl FnOnce(&Origin, &mut SourceConfig)) {
    let origin = Origin::start().await;
    let mut config = origin.source_config("bucket", backend);
    change(&origin, &mut config);
    let source = source(&config).await;
    source_conformance(&Bed { origin, source }).await;
}

fn virtual_host(origin: &Origin, config: &mut SourceConfig) {
    config.endpoint = Some(origin.virtual_host_endpoint());
    config.addressing = Addressing::VirtualHost;
}

fn session(_: &Origin, config: &mut SourceConfig) {
    let Access::Static(credentials) = &mut config.access else { panic!("static by default") };
    credentials.session_token = Some(SESSION_TOKEN.to_owned());
}

fn anonymous(origin: &Origin, config: &mut SourceConfig) {
    origin.objects().publish();
    config.access = Access::Anonymous;
}

#[tokio::test]
async fn native_with_the_bucket_in_the_path() {
    conforms(SourceBackend::Native, |_, _| {}).await;
}

#[tokio::test]
async fn native_with_the_bucket_in_the_host() {
    conforms(SourceBackend::Native, virtual_host).await;
}

#[tokio::test]
async fn native_with_a_session_token() {
    conforms(SourceBackend::Native, session).await;
}

#[tokio::test]
async fn native_without_credentials() {
    conforms(SourceBackend::Native, anonymous).await;
}

#[cfg(feature = "rusoto")]
mod rusoto {
    use super::*;

    #[tokio::test]
    async fn rusoto_with_the_bucket_in_the_path() {
        conforms(SourceBackend::Rusoto, |_, _| {}).await;
    }

    #[tokio::test]
    async fn rusoto_with_the_bucket_in_the_host() {
        conforms(SourceBackend::Rusoto, virtual_host).await;
    }

    #[tokio::test]
    async fn rusoto_with_a_session_token() {
        conforms(SourceBackend::Rusoto, session).await;
    }

    #[tokio::test]
    async fn rusoto_without_credentials() {
        conforms(SourceBackend::Rusoto, anonymous).await;
    }
}
