//! Signing, forwarded fields, and configurations that cannot connect.

use std::sync::Arc;

use yatagarasu_core::{ErrorKind, SourceError, SourceRequest, SystemClock};
use yatagarasu_s3::{Access, Addressing, BuildError, CredentialsStatus, SourceBackend, SourceConfig, build};
use yatagarasu_testing::origin::Origin;

use crate::bed::{self, backends};

async fn get(config: &SourceConfig, request: &SourceRequest) -> Result<(), SourceError> {
    let connected = build(config, Arc::new(SystemClock)).await.unwrap();
    assert_eq!(connected.credentials(), CredentialsStatus::Settled);
    bed::get(&*connected.source, request).await.map(|_| ())
}

fn secret(config: &mut SourceConfig, change: impl FnOnce(&mut yatagarasu_s3::StaticCredentials)) {
    let Access::Static(credentials) = &mut config.access else { panic!("static by default") };
    change(credentials);
}

#[tokio::test]
async fn wrong_credentials_are_denied_and_make_the_source_unready() {
    let origin = Origin::start().await;
    origin.objects().put("k", &[], "x");
    for backend in backends() {
        let good = origin.source_config("bucket", backend);
        get(&good, &SourceRequest::default()).await.unwrap();

        let mut wrong_secret = good.clone();
        secret(&mut wrong_secret, |credentials| credentials.secret_key.push('x'));
        let mut wrong_token = good.clone();
        secret(&mut wrong_token, |credentials| credentials.session_token = Some("other".into()));
        let mut unknown = good.clone();
        secret(&mut unknown, |credentials| credentials.access_key = "AKIDUNKNOWN".into());
        for config in [wrong_secret, wrong_token, unknown] {
            let denied = get(&config, &SourceRequest::default()).await;
            assert_eq!(denied.map(drop).unwrap_err().kind(), ErrorKind::Unauthenticated);
            let unready = bed::source(&config).await.probe().await;
            assert_eq!(unready.unwrap_err().kind(), ErrorKind::Unauthenticated);
        }
        let missing = origin.source_config("missing-bucket", backend);
        let unready = bed::source(&missing).await.probe().await;
        assert_eq!(unready.unwrap_err().kind(), ErrorKind::NoSuchBucket);
    }
}

#[tokio::test]
async fn forwarded_fields_and_queries_are_sent_and_signed() {
    let origin = Origin::start().await;
    origin.objects().put("k", &[], "x");
    for backend in backends() {
        let mut request =
            SourceRequest { query: Some("v=a%20b&x-id=1%2B1".into()), ..SourceRequest::default() };
        request.headers.insert("origin", "https://example.com".parse().unwrap());
        get(&origin.source_config("bucket", backend), &request).await.unwrap();
        let asked = origin.requests().pop().unwrap();
        assert_eq!(asked.target, "/bucket/k?v=a%20b&x-id=1%2B1");
        assert_eq!(asked.field("origin"), "https://example.com");
    }
}

#[tokio::test]
async fn a_bodys_end_gives_the_connection_back() {
    let origin = Origin::start().await;
    origin.objects().put("k", &[], vec![7; 100_000]);
    for backend in backends() {
        let source = bed::source(&origin.source_config("bucket", backend)).await;
        let before = origin.connections();
        for _ in 0..3 {
            let mut object = bed::get(&*source, &SourceRequest::default()).await.unwrap();
            let mut length = 0;
            while let Some(chunk) = object.body.next().await {
                length += chunk.unwrap().len();
            }
            assert_eq!(length, 100_000);
        }
        assert!(origin.connections() < before + 3, "connections are used again");
    }
}

#[tokio::test]
async fn what_cannot_be_connected_is_said_at_once() {
    let origin = Origin::start().await;
    let mut config = origin.source_config("bucket", SourceBackend::Native);
    config.endpoint = Some("127.0.0.1:9000".to_owned());
    let refused = build(&config, Arc::new(SystemClock)).await.unwrap_err();
    assert!(matches!(refused, BuildError::Address(_)), "{refused}");
    config.endpoint = Some(origin.endpoint());
    config.addressing = Addressing::VirtualHost;
    config.bucket = "no bucket".to_owned();
    assert!(config.check().is_err());
    if !backends().contains(&SourceBackend::Rusoto) {
        config.backend = SourceBackend::Rusoto;
        let refused = config.check().unwrap_err();
        assert!(refused.to_string().contains("--features rusoto"), "{refused}");
    }
}
