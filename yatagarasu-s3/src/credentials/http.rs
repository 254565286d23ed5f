//! The HTTP client of the AWS credential chain.

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

use crate::http_client::is_always_direct;

/// Returns a client that reaches STS and SSO through the proxies of the environment, as requests to S3 are sent, and
/// the metadata services of this machine directly. The SDK's own client knows no proxies.
pub(super) fn client() -> SharedHttpClient {
    http_client_fn(|settings, components| {
        let connector = |proxies| {
            let mut builder = Connector::builder().connector_settings(settings.clone()).proxy_config(proxies);
            builder.set_sleep_impl(components.sleep_impl());
            SharedHttpConnector::new(builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build())
        };
        let (direct, proxied) = (connector(ProxyConfig::disabled()), connector(ProxyConfig::from_env()));
        SharedHttpConnector::new(ByHost { direct, proxied })
    })
}

/// Sends requests for this machine and its link directly, and others through the proxies of the environment.
#[derive(Debug)]
struct ByHost {
    direct: SharedHttpConnector,
    proxied: SharedHttpConnector,
}

impl HttpConnector for ByHost {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let uri: Option<http::Uri> = request.uri().parse().ok();
        let is_direct = uri.as_ref().and_then(http::Uri::host).is_some_and(is_always_direct);
        if is_direct { self.direct.call(request) } else { self.proxied.call(request) }
    }
}
