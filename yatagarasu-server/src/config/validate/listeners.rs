//! Validates the listeners for clients, and reads their certificates.

use std::path::{Path, PathBuf};

use crate::config::error::ErrorSink;
use crate::config::keys::{Address, ListenerSettings, ListenerTlsSettings, ServerSettings};
use crate::config::validate::acme;
use crate::config::{CertificateFiles, ListenerConfig, SHORT_FORM, TlsConfig};
use crate::listener::socket::ListenAddress;
use crate::tls::setup::{TlsError, TlsSetup};

/// The address if the configuration has none.
const DEFAULT: &str = "127.0.0.1:8080";

/// The text before the path of a Unix socket.
const UNIX: &str = "unix:";

/// Returns the listeners: that of `server.address` first, and then those of `server.listeners`.
pub(super) fn listeners(settings: &ServerSettings, complain: ErrorSink<'_>) -> Option<Vec<ListenerConfig>> {
    let mut listeners = Vec::new();
    let default = settings.listeners.0.is_empty().then(|| Address(DEFAULT.to_owned()));
    if let Some(short) = settings.address.as_ref().or(default.as_ref()) {
        let address = super::address(short, SHORT_FORM, complain).map(ListenAddress::Tcp);
        let plain =
            |address| ListenerConfig { key: SHORT_FORM.to_owned(), address, tls: None, https_redirect: None };
        listeners.push(address.map(plain));
    }
    for (index, one) in settings.listeners.0.iter().enumerate() {
        listeners.push(listener(one, format!("server.listeners[{index}]"), complain));
    }
    let listeners: Vec<_> = listeners.into_iter().collect::<Option<_>>()?;
    for (index, one) in listeners.iter().enumerate() {
        if let Some(first) = listeners[..index].iter().find(|first| is_taken(&first.address, &one.address)) {
            let key = if one.key == SHORT_FORM { one.key.clone() } else { format!("{}.address", one.key) };
            complain(&key, &format!("`{}` is taken by {} already", one.address, first.key));
        }
    }
    let orders: Vec<_> =
        listeners.iter().filter_map(|one| Some((one, one.tls.as_ref()?.acme.as_ref()?))).collect();
    for (index, (one, acme)) in orders.iter().enumerate() {
        let clash = orders[..index]
            .iter()
            .find(|(_, other)| other != acme && other.domains.iter().any(|name| acme.domains.contains(name)));
        if let Some((first, _)) = clash {
            let message = format!(
                "a name stands in {}.tls.acme, too, with other settings: use the same ones, or other names",
                first.key
            );
            complain(&format!("{}.tls.acme.domains", one.key), &message);
        }
    }
    Some(listeners)
}

/// Returns `true` if only one of two listeners can have its address.
fn is_taken(first: &ListenAddress, second: &ListenAddress) -> bool {
    match (first, second) {
        (ListenAddress::Tcp(first), ListenAddress::Tcp(second)) => super::overlap(*first, *second),
        _ => first == second,
    }
}

fn listener(settings: &ListenerSettings, key: String, complain: ErrorSink<'_>) -> Option<ListenerConfig> {
    let address = address(settings.address.as_ref(), &format!("{key}.address"), complain);
    let is_unix = matches!(address, Some(ListenAddress::Unix(_)));
    let tls = settings.tls.0.as_ref().map(|settings| tls(settings, is_unix, &format!("{key}.tls"), complain));
    let https_redirect = Some(settings.https_redirect).filter(|port| *port > 0);
    if tls.is_some() && https_redirect.is_some() {
        complain(
            &format!("{key}.https_redirect"),
            "has no effect on a listener with `tls`: set it on the one without, or leave it out",
        );
        return None;
    }
    let tls = match tls {
        None => None,
        Some(tls) => Some(tls?),
    };
    Some(ListenerConfig { key, address: address?, tls, https_redirect })
}

fn address(given: Option<&Address>, key: &str, complain: ErrorSink<'_>) -> Option<ListenAddress> {
    let Some(given) = given else {
        complain(key, "expected `IP:PORT` such as \"0.0.0.0:443\", or `unix:/PATH`");
        return None;
    };
    let Some(path) = given.0.strip_prefix(UNIX) else {
        return super::address(given, key, complain).map(ListenAddress::Tcp);
    };
    if !Path::new(path).is_absolute() {
        complain(
            key,
            &format!(
                "expected `unix:` and an absolute path such as \"unix:/run/yatagarasu.sock\", found `{}`",
                given.0
            ),
        );
        return None;
    }
    Some(ListenAddress::Unix(path.into()))
}

fn tls(
    settings: &ListenerTlsSettings,
    is_unix: bool,
    key: &str,
    complain: ErrorSink<'_>,
) -> Option<TlsConfig> {
    let certificates = &settings.certificates.0;
    let acme =
        settings.acme.0.as_ref().map(|settings| acme::acme(settings, &format!("{key}.acme"), complain));
    if certificates.is_empty() && acme.is_none() {
        complain(&format!("{key}.certificates"), "expected at least one certificate with `cert` and `key`");
        return None;
    }
    let mut file = |path: &Option<String>, index: usize, name: &str| {
        if path.is_none() {
            complain(&format!("{key}.certificates[{index}].{name}"), "expected the path of a file in PEM");
        }
        path.as_ref().map(PathBuf::from)
    };
    let files = certificates.iter().enumerate().map(|(index, one)| {
        let (cert, key) = (file(&one.cert, index, "cert"), file(&one.key, index, "key"));
        Some(CertificateFiles { cert: cert?, key: key? })
    });
    // All errors, and not the first only.
    let files: Vec<_> = files.collect();
    let wrong = match (settings.http3, settings.http3_port) {
        (true, _) if !cfg!(feature = "http3") => {
            Some(("http3", "HTTP/3 is not spoken by this build: build with `--features http3`"))
        }
        (true, _) if is_unix => {
            Some(("http3", "HTTP/3 needs an address of UDP, which a Unix socket has not: leave it out"))
        }
        (false, 1..) => {
            Some(("http3_port", "has no effect without `http3: true`: set that, or leave this out"))
        }
        _ => None,
    };
    if let Some((name, message)) = wrong {
        complain(&format!("{key}.{name}"), message);
        return None;
    }
    let acme = match acme {
        None => None,
        Some(acme) => Some(acme?),
    };
    let config = TlsConfig {
        acme,
        certificates: files.into_iter().collect::<Option<_>>()?,
        min_version: settings.min_version.0,
        client_ca: settings.client_ca.as_ref().map(PathBuf::from),
        http3: settings.http3,
        http3_port: Some(settings.http3_port).filter(|port| *port > 0),
        hsts: Some(settings.hsts.0).filter(|lifetime| !lifetime.is_zero()),
    };
    check(&config, key, complain).then_some(config)
}

/// Reads the files, so that a mistake is found before the server starts or is reloaded.
fn check(config: &TlsConfig, key: &str, complain: ErrorSink<'_>) -> bool {
    let Err(error) = TlsSetup::load(config) else { return true };
    let place = match &error {
        TlsError::Certificate(index, cause) => {
            let name = if cause.is_of_key(&config.certificates[*index]) { "key" } else { "cert" };
            format!("{key}.certificates[{index}].{name}")
        }
        TlsError::Acme(_) => format!("{key}.acme.storage"),
        TlsError::ClientAuthorities(_) => format!("{key}.client_ca"),
        TlsError::Setup(_) => key.to_owned(),
    };
    complain(&place, &error.to_string());
    false
}
