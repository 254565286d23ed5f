//! Responses to bytes that are no request.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::connection::Unserved;
use crate::connection::admission::Excess;
use crate::connection::fast_path::request_head::Invalidity;
use crate::connection::transport::Transport;
use crate::listener::terms::Front;
use crate::service::handler::{Refused, RequestHandler};
use crate::service::problem::Problem;

/// A response that ends the connection.
#[derive(Debug)]
pub(in crate::connection) struct Refusal {
    refused: Refused,
    sent: usize,
}

impl Refusal {
    pub(in crate::connection) fn of(
        invalidity: Invalidity,
        handler: &RequestHandler,
        client: IpAddr,
        front: &Front,
    ) -> Self {
        let problem = match invalidity {
            Invalidity::NotHttp => Problem::BadRequest("the bytes are no HTTP request"),
            Invalidity::Tls => Problem::BadRequest("this port speaks plain HTTP, and the bytes are TLS"),
            Invalidity::Target => Problem::BadRequest("the target of the request is no path"),
            Invalidity::Framing => {
                Problem::BadRequest("the length of the content is invalid or contradictory")
            }
            Invalidity::Connect => Problem::MethodNotAllowed,
            Invalidity::TooManyFields => Problem::TooLarge("the request has more than 512 fields".into()),
        };
        Self { refused: handler.refuse(&problem, client, front), sent: 0 }
    }

    pub(in crate::connection) fn of_unserved(
        unserved: Unserved,
        handler: &RequestHandler,
        client: IpAddr,
        front: &Front,
    ) -> Self {
        let problem = match unserved {
            Unserved::Excess(Excess::OfClient) => Problem::TooMany("the client has too many connections"),
            Unserved::Excess(Excess::Connections | Excess::Streams | Excess::Resets) => Problem::Busy,
            Unserved::NotProxied => Problem::BadRequest(
                "the connection of a proxy has to begin with a header of the PROXY protocol",
            ),
            Unserved::NotTls => {
                Problem::BadRequest("this port speaks TLS: ask for https:// instead of http://")
            }
        };
        Self { refused: handler.refuse(&problem, client, front), sent: 0 }
    }

    pub(in crate::connection) fn too_large(
        max: usize,
        handler: &RequestHandler,
        client: IpAddr,
        front: &Front,
    ) -> Self {
        let problem = Problem::TooLarge(format!("the request head is longer than {max} bytes").into());
        Self { refused: handler.refuse(&problem, client, front), sent: 0 }
    }

    /// Sends the rest.
    pub(in crate::connection) fn poll_send(
        &mut self,
        transport: &mut Transport,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.refused.bytes.len() {
            self.sent += ready!(Pin::new(&mut *transport).poll_write(cx, &self.refused.bytes[self.sent..]))?;
        }
        Pin::new(transport).poll_flush(cx)
    }
}
