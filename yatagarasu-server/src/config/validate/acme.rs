//! Validates a certificate that an authority issues.

use std::path::Path;

use http::Uri;

use crate::config::error::ErrorSink;
use crate::config::keys::AcmeSettings;
use crate::service::router::HostPattern;
use crate::tls::acme::{AcmeConfig, IS_COMPILED};

/// Validates a certificate to order. Returns `None` on an error.
pub(super) fn acme(settings: &AcmeSettings, key: &str, complain: ErrorSink<'_>) -> Option<AcmeConfig> {
    let AcmeSettings { domains, storage, accept_terms, contact, directory, ca_file } = settings;
    let domains = domains.as_deref().unwrap_or_default();
    let mut good = true;
    let mut refuse = |name: &str, message: &str| {
        complain(&format!("{key}.{name}"), message);
        good = false;
    };
    if !IS_COMPILED {
        refuse("domains", "certificates cannot be ordered by this build: build with `--features acme`");
    }
    if domains.is_empty() {
        refuse("domains", "expected the names of hosts such as \"www.example.com\"");
    }
    for (index, name) in domains.iter().enumerate() {
        let is_address = name.parse::<std::net::IpAddr>().is_ok() || name.starts_with('[');
        let is_name = matches!(HostPattern::parse(name), Ok(HostPattern::Exact(_)));
        if is_address || !is_name {
            let place = format!("domains[{index}]");
            refuse(
                &place,
                &format!("expected the name of a host, without `*` and no address; found `{name}`"),
            );
        }
    }
    let folder = storage.as_deref().filter(|path| Path::new(path).is_absolute());
    if folder.is_none() {
        refuse("storage", "expected an absolute path such as \"/var/lib/yatagarasu/acme\"");
    }
    if !accept_terms {
        refuse(
            "accept_terms",
            "read the terms of service of the authority, and set it to `true` if you accept them",
        );
    }
    for (index, url) in contact.iter().enumerate() {
        if !url.strip_prefix("mailto:").is_some_and(|address| address.contains('@')) {
            let message = format!("expected a URL such as \"mailto:webmaster@example.com\", found `{url}`");
            refuse(&format!("contact[{index}]"), &message);
        }
    }
    let is_https =
        directory.parse().is_ok_and(|uri: Uri| uri.scheme_str() == Some("https") && uri.host().is_some());
    if !is_https {
        refuse("directory", &format!("expected an `https` URL, found `{directory}`"));
    }
    good.then(|| AcmeConfig {
        domains: domains.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect(),
        contact: contact.clone(),
        directory: directory.clone(),
        storage: folder.unwrap_or_default().into(),
        ca_file: ca_file.as_ref().map(Into::into),
    })
}
