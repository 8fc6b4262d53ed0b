//! A token endpoint over a loopback socket, for the peers that have no other source of tokens.

use std::future::ready;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::warm::TOKEN;

/// Serves one token to all, until the runtime ends; where.
pub(crate) fn start() -> url::Url {
    serve(|| ready(Ok(TOKEN.to_owned())))
}

/// Serves what `token` gives, until the runtime ends; where.
pub(crate) fn serve<F, T>(token: F) -> url::Url
where
    F: Fn() -> T + Send + 'static,
    T: Future<Output = Result<String, &'static str>> + Send + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let token = token();
            tokio::spawn(async move { answer(connection, token).await });
        }
    });
    url.parse().unwrap()
}

async fn answer<T>(mut connection: TcpStream, token: T)
where
    T: Future<Output = Result<String, &'static str>>,
{
    // One request to a connection, and all of it at once: that much is known of those who ask.
    let _ = connection.read(&mut [0; 8192]).await;
    let (status, body) = match token.await {
        Ok(token) => (
            "200 OK",
            format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":36000}}"#),
        ),
        Err(why) => ("500 Internal Server Error", why.to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = connection.write_all((head + &body).as_bytes()).await;
}
