//! A forward proxy, as companies place between their networks and the internet.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Starts a proxy that reaches every host at this machine. Returns its address with a user and a password, and the
/// request lines it gets, each with `true` if the user was named.
pub(crate) async fn start() -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://user:secret@{}", listener.local_addr().unwrap());
    let (lines, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let lines = lines.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let text = String::from_utf8(head.clone()).unwrap();
                let line = text.lines().next().unwrap().to_owned();
                let authorized = text.to_ascii_lowercase().contains("proxy-authorization: basic ");
                lines.send(format!("{line} {authorized}")).unwrap();
                let target = line.split(' ').nth(1).unwrap();
                let tunnel = line.starts_with("CONNECT ");
                let place = target.trim_start_matches("http://").split('/').next().unwrap();
                let port = place.rsplit(':').next().unwrap();
                let mut server = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
                if tunnel {
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                } else {
                    let origin_form = text.replace(&format!("http://{place}"), "");
                    server.write_all(origin_form.as_bytes()).await.unwrap();
                }
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, received)
}
