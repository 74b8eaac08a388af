//! Reads over plain HTTP/1.1 at a fixed rate: a read that is late counts from when it was due, so a slow server cannot make
//! its own load lighter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::numbers::Times;
use crate::{Console, Failure};

/// Connections that the reads share.
const CONNECTIONS: usize = 64;

struct Connection {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Connection {
    async fn open(host: &str, token: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        let head = format!("HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n");
        Ok(Self { stream: BufReader::new(stream), head })
    }

    /// The status, with the whole body read.
    async fn get(&mut self, path: &str) -> Result<u16, Failure> {
        let text = format!("GET {path} {}", self.head);
        self.stream.write_all(text.as_bytes()).await?;
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).ok_or("no status line")?.parse()?;
        let (mut bytes, mut chunked) = (0, false);
        loop {
            line.clear();
            self.stream.read_line(&mut line).await?;
            let header = line.trim_end().to_ascii_lowercase();
            match header.split_once(": ") {
                Some(("content-length", length)) => bytes = length.parse()?,
                Some(("transfer-encoding", "chunked")) => chunked = true,
                None if header.is_empty() => break,
                _ => {}
            }
        }
        while chunked {
            line.clear();
            self.stream.read_line(&mut line).await?;
            let length = usize::from_str_radix(line.trim_end(), 16)?;
            self.skip(length + 2).await?;
            chunked = length > 0;
        }
        self.skip(bytes).await?;
        Ok(status)
    }

    async fn skip(&mut self, bytes: usize) -> Result<(), Failure> {
        let mut rest = vec![0; bytes];
        self.stream.read_exact(&mut rest).await?;
        Ok(())
    }
}

/// One vehicle mostly, now and then how the fleet is or a page of it.
fn path(number: u64, ids: &[String]) -> String {
    match number % 20 {
        0 => "/api/v1/fleet/status".into(),
        1 => "/api/v1/vehicles?page_size=50".into(),
        _ => format!("/api/v1/vehicles/{}", ids[number as usize % ids.len()]),
    }
}

/// So many reads a second.
pub async fn measure(console: &Console, time: Duration, rate: u64) -> Result<Value, Failure> {
    let vehicles = console.some("").await?;
    let ids: Arc<[String]> =
        vehicles.iter().filter_map(|v| v.name.rsplit('/').next()).map(str::to_owned).collect();
    let host = console.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let reads = rate * time.as_secs();
    let next = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(&host, &console.token).await?;
        let (ids, next) = (Arc::clone(&ids), Arc::clone(&next));
        readers.spawn(async move {
            let (mut times, mut refused) = (Vec::new(), 0);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= reads {
                    return Ok::<_, Failure>((times, refused));
                }
                let due = begun + Duration::from_nanos(number * 1_000_000_000 / rate);
                sleep_until(due).await;
                let status = connection.get(&path(number, &ids)).await?;
                times.push(due.elapsed());
                refused += u64::from(status != 200);
            }
        });
    }
    let (mut all, mut errors) = (Vec::new(), 0);
    while let Some(read) = readers.join_next().await {
        let (times, refused) = read??;
        all.extend(times);
        errors += refused;
    }
    let (elapsed, times) = (begun.elapsed().as_secs_f64(), Times::new(all));
    Ok(json!({
        "per_second": times.count() as f64 / elapsed, "p50_ms": times.at(0.5), "p95_ms": times.at(0.95),
        "p99_ms": times.at(0.99), "errors": errors,
    }))
}
