//! A blocking HTTP client that opens a connection for each request and needs no runtime.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A response with its head read and its body unread.
pub(crate) struct Begun {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    body: BufReader<TcpStream>,
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    fields: Vec<(String, String)>,
}

/// Sends a request and reads the response head.
pub(crate) fn begin(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Begun {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n").unwrap();
    for (name, value) in headers {
        write!(socket, "{name}: {value}\r\n").unwrap();
    }
    write!(socket, "\r\n").unwrap();
    let mut body = BufReader::new(socket);
    let mut line = || {
        let mut line = String::new();
        body.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let status = line().split(' ').nth(1).expect("a status line").parse().unwrap();
    let fields = std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty()));
    let field = |line: String| {
        let (name, value) = line.split_once(':').expect("a field");
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let fields = fields.map(field).collect();
    Begun { status, fields, body }
}

/// Sends a GET request and returns the complete response. The body must be UTF-8.
pub(crate) fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let Begun { status, fields, mut body } = begin(address, "GET", path, headers);
    let mut text = String::new();
    body.read_to_string(&mut text).unwrap();
    Answer { status, fields, body: text }
}

impl Begun {
    /// Returns the value of a header field, or an empty string if it is missing.
    pub(crate) fn field(&self, name: &str) -> &str {
        value(&self.fields, name)
    }

    /// Reads and discards the body. Returns its length in bytes.
    pub(crate) fn drain(mut self) -> u64 {
        io::copy(&mut self.body, &mut io::sink()).unwrap()
    }
}

impl Answer {
    /// Returns the value of a header field, or an empty string if it is missing.
    pub(crate) fn field(&self, name: &str) -> &str {
        value(&self.fields, name)
    }
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
}
