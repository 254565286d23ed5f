//! What can go wrong on the way of an answer.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A fault in the middle of an answer. The connection ends with each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed after this many bytes of the body.
    Cut(usize),
    /// The connection is reset after this many bytes of the body.
    Reset(usize),
    /// The connection is reset after this many bytes of the head.
    ResetInHead(usize),
    /// Nothing more is sent after this many bytes of the body.
    Stall(usize),
    /// All is sent, each byte by itself.
    Dribble,
}

impl Fault {
    /// Sends what comes before the fault, and then has it happen.
    pub(super) async fn happen(self, socket: &mut TcpStream, head: &[u8], body: &Bytes) -> io::Result<()> {
        let (head_end, body_end) = match self {
            Self::Dribble => (0, 0),
            Self::ResetInHead(bytes) => (bytes, 0),
            Self::Cut(bytes) | Self::Reset(bytes) | Self::Stall(bytes) => (head.len(), bytes),
        };
        socket.write_all(&head[..head_end.min(head.len())]).await?;
        socket.write_all(&body[..body_end.min(body.len())]).await?;
        match self {
            Self::Dribble => {
                for byte in head.iter().chain(body) {
                    socket.write_all(&[*byte]).await?;
                }
                socket.shutdown().await
            }
            Self::Cut(_) => socket.shutdown().await,
            Self::Reset(_) | Self::ResetInHead(_) => {
                // A reset overtakes bytes that have not been read: those have to arrive first.
                socket2::SockRef::from(&*socket).set_linger(Some(std::time::Duration::ZERO))
            }
            // Whoever waits closes the connection.
            Self::Stall(_) => while_open(socket).await,
        }
    }
}

async fn while_open(socket: &mut TcpStream) -> io::Result<()> {
    let mut bytes = [0; 1024];
    while socket.read(&mut bytes).await? > 0 {}
    Ok(())
}
