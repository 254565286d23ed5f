//! Signing, forwarded fields, and configurations that cannot connect.

use std::sync::Arc;

use yatagarasu_core::{Answer, ObjectKey, SourceError, SourceRequest, SystemClock};
use yatagarasu_s3::{Access, Addressing, BuildError, CredentialsStatus, SourceBackend, SourceConfig, build};
use yatagarasu_testing::origin::Origin;

use crate::backends;

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

async fn get(config: &SourceConfig, request: &SourceRequest) -> Result<(), SourceError> {
    let connected = build(config, Arc::new(SystemClock)).await.unwrap();
    assert_eq!(connected.credentials(), CredentialsStatus::Settled);
    connected.source.get(&key("k"), request).await.map(|_| ())
}

fn secret(config: &mut SourceConfig, change: impl FnOnce(&mut yatagarasu_s3::StaticCredentials)) {
    let Access::Static(credentials) = &mut config.access else { panic!("static by default") };
    change(credentials);
}

#[tokio::test]
async fn wrong_credentials_are_denied_and_make_the_source_unready() {
    let server = Origin::start().await.unwrap();
    server.objects().put("bucket", "k", &[], "x");
    for backend in backends() {
        let good = server.source_config("bucket", backend);
        get(&good, &SourceRequest::default()).await.unwrap();

        let mut wrong_secret = good.clone();
        secret(&mut wrong_secret, |credentials| credentials.secret_key.push('x'));
        let mut wrong_token = good.clone();
        secret(&mut wrong_token, |credentials| credentials.session_token = Some("other".into()));
        let mut unknown = good.clone();
        secret(&mut unknown, |credentials| credentials.access_key = "AKIDUNKNOWN".into());
        for config in [wrong_secret, wrong_token, unknown] {
            let denied = get(&config, &SourceRequest::default()).await;
            assert!(matches!(denied, Err(SourceError::Denied { .. })), "{denied:?}");
            let connected = build(&config, Arc::new(SystemClock)).await.unwrap();
            let unready = connected.source.probe().await;
            assert!(matches!(unready, Err(SourceError::Denied { .. })), "{unready:?}");
        }
        let missing = server.source_config("missing-bucket", backend);
        let unready = build(&missing, Arc::new(SystemClock)).await.unwrap().source.probe().await;
        assert!(matches!(unready, Err(SourceError::NotFound { .. })), "{unready:?}");
    }
}

#[tokio::test]
async fn forwarded_fields_and_queries_are_sent_and_signed() {
    let server = Origin::start().await.unwrap();
    server.objects().put("bucket", "k", &[], "x");
    for backend in backends() {
        let mut request =
            SourceRequest { query: Some("v=a%20b&x-id=1%2B1".into()), ..SourceRequest::default() };
        request.headers.insert("origin", "https://example.com".parse().unwrap());
        get(&server.source_config("bucket", backend), &request).await.unwrap();
        let asked = server.requests().pop().unwrap();
        assert_eq!(asked.target, "/bucket/k?v=a%20b&x-id=1%2B1");
    }
}

#[tokio::test]
async fn a_bodys_end_gives_the_connection_back() {
    let server = Origin::start().await.unwrap();
    server.objects().put("bucket", "k", &[], vec![7; 100_000]);
    for backend in backends() {
        let connected = build(&server.source_config("bucket", backend), Arc::new(SystemClock)).await.unwrap();
        let before = server.connections();
        for _ in 0..3 {
            let answer = connected.source.get(&key("k"), &SourceRequest::default()).await;
            let Ok(Answer::Object(mut object)) = answer else { panic!("an object") };
            let mut length = 0;
            while let Some(chunk) = object.body.next().await {
                length += chunk.unwrap().len();
            }
            assert_eq!(length, 100_000);
        }
        assert!(server.connections() < before + 3, "connections are used again");
    }
}

#[tokio::test]
async fn what_cannot_be_connected_is_said_at_once() {
    let server = Origin::start().await.unwrap();
    let mut config = server.source_config("bucket", SourceBackend::Native);
    config.endpoint = Some("127.0.0.1:9000".to_owned());
    let refused = build(&config, Arc::new(SystemClock)).await.unwrap_err();
    assert!(matches!(refused, BuildError::Address(_)), "{refused}");
    config.endpoint = Some(server.endpoint());
    config.addressing = Addressing::VirtualHost;
    config.bucket = "no bucket".to_owned();
    assert!(config.check().is_err());
    if !backends().contains(&SourceBackend::Rusoto) {
        config.backend = SourceBackend::Rusoto;
        let refused = config.check().unwrap_err();
        assert!(refused.to_string().contains("--features rusoto"), "{refused}");
    }
}
