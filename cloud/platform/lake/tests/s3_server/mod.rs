//! A real server that speaks S3 (`moto`), and a proxy that does to it what networks do.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// Serves on a free port, makes the bucket, says its address.
const SERVE: &str = include_str!("serve.py");

/// The server; it ends with this.
pub struct Server {
    pub address: String,
    _child: Child,
}

impl Server {
    /// Starts it; `None`, with the reason printed, where it is not installed.
    pub async fn start() -> Option<Self> {
        let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../target/venv/bin/python");
        let there = Command::new(&python).args(["-c", "import moto.server"]).output().await;
        if !there.is_ok_and(|ran| ran.status.success()) {
            eprintln!("skipped: target/venv has no moto; cargo xtask install makes it");
            return None;
        }
        let mut child = Command::new(&python)
            .args(["-c", SERVE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let said = child.stdout.take().expect("piped");
        let mut address = String::new();
        BufReader::new(said).read_line(&mut address).await.expect("it can be read");
        assert!(!address.is_empty(), "moto did not start; see what it said above");
        Some(Self { address: address.trim().to_owned(), _child: child })
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its answer takes long.
    Slow,
    /// 503, and the server never hears of it.
    Refuse,
    /// Half of it arrives, then the line is cut.
    Cut,
    /// It is done, and its answer never comes.
    Lose,
}

/// Which requests suffer: every third one.
const EVERY: u64 = 3;

#[derive(Default)]
struct Plan {
    fault: Mutex<Option<Fault>>,
    requests: AtomicU64,
    struck: [AtomicU64; 4],
}

/// The proxy.
pub struct Proxy {
    address: String,
    plan: Arc<Plan>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound").to_string();
        let (plan, server) = (Arc::new(Plan::default()), server.to_owned());
        let shared = Arc::clone(&plan);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (plan, server) = (Arc::clone(&shared), server.clone());
                // A line that breaks is one of the things that happen.
                tokio::spawn(async move { serve(client, &server, &plan).await.ok() });
            }
        });
        Self { address, plan, task }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What happens to requests from now on.
    pub fn plan(&self, fault: Option<Fault>) {
        *self.plan.fault.lock().expect("not poisoned") = fault;
    }

    /// How often a fault struck.
    pub fn struck(&self, fault: Option<Fault>) -> u64 {
        fault.map_or(0, |fault| self.plan.struck[fault as usize].load(Ordering::SeqCst))
    }
}

/// One request a connection: the client opens another for the next.
async fn serve(client: TcpStream, server: &str, plan: &Plan) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let (mut head, mut length) = (Vec::new(), 0_usize);
    loop {
        let mut line = String::new();
        if client.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line == "\r\n" {
            head.extend_from_slice(b"connection: close\r\n\r\n");
            break;
        }
        if !lower.starts_with("connection:") {
            head.extend_from_slice(line.as_bytes());
        }
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body).await?;
    let fault = *plan.fault.lock().expect("not poisoned");
    let strikes = plan.requests.fetch_add(1, Ordering::SeqCst) % EVERY == 1;
    let fault = fault.filter(|_| strikes);
    if let Some(fault) = fault {
        plan.struck[fault as usize].fetch_add(1, Ordering::SeqCst);
    }
    if fault == Some(Fault::Refuse) {
        let answer = b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return client.write_all(answer).await;
    }
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(&head).await?;
    if fault == Some(Fault::Cut) {
        upstream.write_all(&body[..length / 2]).await?;
        return upstream.shutdown().await;
    }
    upstream.write_all(&body).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    match fault {
        Some(Fault::Lose) => return Ok(()),
        Some(Fault::Slow) => tokio::time::sleep(Duration::from_millis(100)).await,
        _ => {}
    }
    client.write_all(&close(answer)).await?;
    client.shutdown().await
}

/// Says that no other request may come on this connection.
fn close(answer: Vec<u8>) -> Vec<u8> {
    let end = answer.windows(2).position(|pair| pair == b"\r\n").map_or(0, |at| at + 2);
    let said = answer.windows(17).any(|part| part.eq_ignore_ascii_case(b"connection: close"));
    if said || end == 0 {
        return answer;
    }
    [&answer[..end], b"connection: close\r\n", &answer[end..]].concat()
}
