//! Where the admin API of a server is.

use std::path::{Path, PathBuf};

use http::Uri;
use yatagarasu_server::config::{ADMIN_SOCKET, is_served};

use super::error::AdminError;

/// The address of the admin API if nothing is said: the default of `admin.address`.
const DEFAULT: &str = "http://127.0.0.1:9090";

/// The text before the path of a Unix socket.
const UNIX: &str = "unix:";

/// The place of an admin API.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AdminAddress {
    /// As errors name it.
    pub(super) shown: String,
    /// The beginning of the URLs of requests, without a slash at its end.
    pub(super) base: String,
    /// The Unix socket that requests go to, unless they go to the host of `base`.
    pub(super) socket: Option<PathBuf>,
}

impl AdminAddress {
    /// Returns the place that `--admin` names. If it names none, returns the Unix socket [`ADMIN_SOCKET`] if a server listens there
    /// and this user may open it, else the default of servers.
    pub(super) fn find(named: Option<&str>) -> Result<Self, AdminError> {
        match named {
            Some(named) => Self::parse(named),
            None => Ok(Self::unnamed(Path::new(ADMIN_SOCKET))),
        }
    }

    fn unnamed(socket: &Path) -> Self {
        if is_served(socket) { Self::unix(socket) } else { Self::tcp(DEFAULT) }
    }

    fn unix(path: &Path) -> Self {
        // The server looks at no `Host` there.
        let base = "http://localhost".to_owned();
        Self { shown: format!("{UNIX}{}", path.display()), base, socket: Some(path.to_owned()) }
    }

    fn tcp(url: &str) -> Self {
        let url = url.trim_end_matches('/');
        Self { shown: url.to_owned(), base: url.to_owned(), socket: None }
    }

    fn parse(named: &str) -> Result<Self, AdminError> {
        if let Some(path) = named.strip_prefix(UNIX) {
            let path = Path::new(path);
            let error = || AdminError::Address(format!("`{named}`, which has no absolute path"));
            return path.is_absolute().then(|| Self::unix(path)).ok_or_else(error);
        }
        let address = Self::tcp(named);
        let uri: Option<Uri> = address.base.parse().ok();
        // A user with a password must not be printed.
        let named_user =
            uri.as_ref().and_then(Uri::authority).is_some_and(|authority| authority.as_str().contains('@'));
        if named_user {
            return Err(AdminError::Address("a URL with a user".to_owned()));
        }
        let is_usable = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some()
                && uri.query().is_none()
        });
        if is_usable { Ok(address) } else { Err(AdminError::Address(format!("`{named}`"))) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_server_on_the_unix_socket_is_found_without_being_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        assert_eq!(AdminAddress::unnamed(&path), AdminAddress::tcp(DEFAULT), "nothing is there");
        let listener = UnixListener::bind(&path).expect("a free path");
        assert_eq!(AdminAddress::unnamed(&path), AdminAddress::unix(&path));
        drop(listener);
        assert_eq!(AdminAddress::unnamed(&path), AdminAddress::tcp(DEFAULT), "its server was killed");
    }

    #[test]
    fn a_place_is_a_url_or_the_path_of_a_unix_socket() {
        let check = |named: &str, expected: Option<(&str, bool)>| {
            let found = AdminAddress::parse(named).ok();
            let found = found.as_ref().map(|found| (found.shown.as_str(), found.socket.is_some()));
            assert_eq!(found, expected, "{named}");
        };
        check("http://127.0.0.1:9090/", Some(("http://127.0.0.1:9090", false)));
        check("https://gateway.example/admin", Some(("https://gateway.example/admin", false)));
        check("unix:/run/x.sock", Some(("unix:/run/x.sock", true)));
        for wrong in ["unix:x.sock", "unix:", "127.0.0.1:9090", "ftp://h", "http://u:p@h", "http://h?q"] {
            check(wrong, None);
        }
    }
}
