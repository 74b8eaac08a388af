//! A small HTTP client for tests. It speaks HTTP/1.0, so that what comes is the body as it is, to the end of the connection.

// A panic is the answer.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// An answer, its body not read yet.
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    rest: BufReader<TcpStream>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub async fn text(mut self) -> String {
        let mut text = Vec::new();
        self.rest.read_to_end(&mut text).await.unwrap();
        String::from_utf8(text).unwrap()
    }

    pub async fn json(self) -> Json {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// The next line of a stream.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        self.rest.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }
}

/// The stable reason of an error.
pub fn reason_of(error: &Json) -> &str {
    let details = error["error"]["details"].as_array();
    let info = details
        .into_iter()
        .flatten()
        .find(|one| one["@type"].as_str().is_some_and(|t| t.ends_with("ErrorInfo")));
    info.and_then(|info| info["reason"].as_str()).unwrap_or_default()
}

/// A request. Headers are lines without their end.
pub async fn ask(addr: SocketAddr, method: &str, path: &str, headers: &[&str], body: Option<&str>) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.0\r\nhost: test\r\n");
    for header in headers {
        text += &format!("{header}\r\n");
    }
    if let Some(body) = body {
        if !headers.iter().any(|header| header.starts_with("content-type")) {
            text += "content-type: application/json\r\n";
        }
        text += &format!("content-length: {}\r\n\r\n{body}", body.len());
    } else {
        text += "\r\n";
    }
    raw(addr, text.as_bytes()).await
}

/// Sends bytes and reads the head of what comes.
pub async fn raw(addr: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // A server that has refused already may not read on.
    let _ = stream.write_all(bytes).await;
    let mut rest = BufReader::new(stream);
    let mut line = String::new();
    rest.read_line(&mut line).await.unwrap();
    let status =
        line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        rest.read_line(&mut line).await.unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => return Answer { status, headers, rest },
        }
    }
}
