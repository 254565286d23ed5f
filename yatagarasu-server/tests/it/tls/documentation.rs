//! Holds the page on TLS to what it says: each configuration on it is loaded and run.

use yatagarasu_server::Config;
use yatagarasu_server::config::Environment;
use yatagarasu_testing::origin::Origin;

use super::client::TlsClient;
use super::{Files, tcp};
use crate::site::Site;

const PAGE: &str = include_str!("../../../../docs/src/tls.md");

/// Returns the blocks of YAML on the page.
fn blocks() -> Vec<&'static str> {
    let blocks = PAGE.split("```yaml\n").skip(1);
    blocks.map(|block| block.split("```").next().expect("a block ends")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_configuration_on_the_page_serves_over_tls() {
    let blocks = blocks();
    assert_eq!(blocks.len(), 6);
    for block in blocks {
        let files = Files::new();
        let mut certificates = Vec::new();
        for (name, hosts) in [
            ("www.example.com", ["www.example.com"]),
            ("default", ["default.example"]),
            ("any.example.org", ["*.example.org"]),
            ("clients", ["clients.example"]),
        ] {
            certificates.push(files.make(name, &hosts));
        }
        let folder = format!("{}/", files.path("").display());
        // The ports and the addresses of this machine are not those of the reader.
        let here = block.replace("0.0.0.0:443", "127.0.0.1:0").replace("0.0.0.0:80", "127.0.0.1:0");
        let here = here.replace("/etc/yatagarasu/", &folder.replace("//", "/"));
        // Nobody is asked for a certificate.
        let nobody = "accept_terms: true\n          directory: \"https://127.0.0.1:9/\"";
        let here = here.replace("accept_terms: true", nobody);
        let yaml = format!("admin: {{ address: \"127.0.0.1:0\" }}\n{here}");
        let config = Config::from_yaml("tls.md", &yaml, &Environment::default()).unwrap();
        assert_eq!(config.warnings(), Vec::<String>::new(), "{block}");
        let site = Site::run(Origin::start().await, &yaml).await;
        let client = TlsClient::trusting(&certificates);
        let name = if block.contains("default.pem") { "www.example.org" } else { "www.example.com" };
        let answer = client.get(tcp(&site, 0), name, "/nowhere").await;
        if block.contains("client_ca") || block.contains("acme:") {
            answer.unwrap_err();
        } else {
            assert_eq!(answer.unwrap().response.status, 404, "{block}");
        }
    }
}
