//! A TCP proxy that can stop forwarding.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::postgres::Postgres;

/// A TCP proxy to a database server. It can stop forwarding while all connections stay open, like a broken network.
pub struct TcpProxy {
    port: u16,
    blocked: watch::Sender<bool>,
}

impl TcpProxy {
    pub async fn to(server: &Postgres) -> Self {
        Self::to_url(&server.url()).await
    }

    /// A proxy to the server or pooler of `url`.
    pub async fn to_url(url: &str) -> Self {
        let (_, server) = url.split_once('@').expect("a URL with a user");
        let server = server.split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (blocked, watched) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let (client, server) = (client.into_split(), server.into_split());
                tokio::spawn(forward(client.0, server.1, watched.clone()));
                tokio::spawn(forward(server.0, client.1, watched.clone()));
            }
        });
        Self { port, blocked }
    }

    /// URL of the database through the proxy.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    /// The URL of the same database through the proxy.
    pub fn url_of(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).expect("a URL");
        url.set_port(Some(self.port)).expect("a URL with a host");
        url.into()
    }

    /// Stops or resumes forwarding.
    pub fn block(&self, blocked: bool) {
        self.blocked.send_replace(blocked);
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut blocked: watch::Receiver<bool>) {
    let mut buffer = [0; 4_096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if blocked.wait_for(|blocked| !blocked).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
