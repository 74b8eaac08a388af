//! The vehicles' HTTPS port, with a cloud behind it that does what a test says.

use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the port was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub body: Value,
    /// DER.
    pub certificate: Option<Vec<u8>>,
}

/// What it answers.
pub enum Reply {
    Json(u16, Value),
    /// Closes without an answer.
    Hangup,
    /// So many bytes, without an end.
    Flood(usize),
}

/// The port; ends with the runtime.
pub struct Port {
    /// `127.0.0.1:port`
    pub address: String,
    pub asked: Arc<Mutex<Vec<Asked>>>,
}

impl Port {
    pub fn url(&self) -> remuda_edge_agent::ServerUrl {
        format!("https://{}", self.address).parse().expect("an address")
    }

    pub async fn open(
        config: Arc<ServerConfig>,
        reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, reply) = (Arc::clone(&asked), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, kept, reply) =
                    (TlsAcceptor::from(Arc::clone(&config)), Arc::clone(&kept), Arc::clone(&reply));
                tokio::spawn(async move {
                    let mut stream = super::accept(tls, stream).await?;
                    let certificate = stream.get_ref().1.peer_certificates().map(|c| c[0].to_vec());
                    let mut bytes = Vec::new();
                    let (head, body) = loop {
                        stream.read_buf(&mut bytes).await.ok().filter(|n| *n > 0)?;
                        if let Some(request) = whole(&bytes) {
                            break request;
                        }
                    };
                    assert!(head.to_lowercase().contains("host: 127.0.0.1:"), "{head}");
                    let path = head.split(' ').nth(1).expect("a path").to_owned();
                    let asked = Asked { path, body, certificate };
                    let answer = reply(&asked);
                    kept.lock().expect("not poisoned").push(asked);
                    let (status, body) = match answer {
                        Reply::Json(status, body) => (status, body.to_string().into_bytes()),
                        Reply::Hangup => return None,
                        Reply::Flood(bytes) => (200, vec![b' '; bytes]),
                    };
                    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                    stream.write_all(head.as_bytes()).await.ok()?;
                    stream.write_all(&body).await.ok()?;
                    stream.shutdown().await.ok()
                });
            }
        });
        Self { address, asked }
    }
}

fn whole(bytes: &[u8]) -> Option<(String, Value)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    assert!(head.starts_with("POST /v1/"), "{head}");
    Some((head.to_owned(), serde_json::from_str(body).ok()?))
}
