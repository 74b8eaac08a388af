//! Hostile clients: rapid resets, huge headers, slow bodies, bodies without an end. A thousand of them leave the console serving,
//! and its memory as it was.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use remuda_console::{Access, Console, ConsoleSettings, Token};
use remuda_model::OrganizationId;
use support::FakeFleet;
use support::http::ask;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TOKEN: &str = "a-token-for-tests-0123456789";
/// A hostile connection is given up after this: the console may let it wait, but not for ever.
const PATIENCE: Duration = Duration::from_secs(60);
/// What 750 attacks may leave behind: allocators keep some pages.
const GROWTH_BYTES_MAX: usize = 24 << 20;

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header block without compression: a gRPC call of ListVehicles.
fn call() -> Vec<u8> {
    let path = b"/remuda.vehicles.v1.VehicleService/ListVehicles";
    let text = |block: &mut Vec<u8>, text: &[u8]| {
        block.push(u8::try_from(text.len()).unwrap());
        block.extend_from_slice(text);
    };
    // :method POST, :scheme http; then :path, :authority and content-type as literals.
    let mut block = vec![0x83, 0x86, 0x04];
    text(&mut block, path);
    block.push(0x01);
    text(&mut block, b"test");
    block.extend_from_slice(&[0x0f, 0x10]);
    text(&mut block, b"application/grpc");
    block
}

/// Until the console ends the connection. What is written after that fails, as it should.
async fn to_the_end(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the console ends it");
}

/// Calls that are taken back at once (CVE-2023-44487).
async fn rapid_reset(addr: SocketAddr) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    for n in 0..300u32 {
        bytes.extend(frame(1, 4, 2 * n + 1, &call()));
        bytes.extend(frame(3, 0, 2 * n + 1, &8u32.to_be_bytes()));
    }
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
    to_the_end(stream).await;
}

async fn huge_headers(addr: SocketAddr) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!("GET /vehicles HTTP/1.1\r\nhost: x\r\nx-filler: {}\r\n\r\n", "x".repeat(4 << 20));
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.shutdown().await;
    to_the_end(stream).await;
}

fn post(kind: &str, more: &str) -> String {
    format!(
        "POST /api/v1/organizations/default/vehicles/V0001/commands HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\n\
         authorization: Bearer {TOKEN}\r\nconnection: close\r\n{more}\r\n\r\n"
    )
}

/// A body of which one byte comes; the caller keeps the connection open.
async fn slow_body(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = post("application/json", "content-length: 100000");
    stream.write_all(format!("{head}{{").as_bytes()).await.unwrap();
    stream
}

/// A body that goes on until the console has enough.
async fn endless_body(addr: SocketAddr) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = post("application/json", "transfer-encoding: chunked");
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let mut sent = 0;
    while stream.write_all(chunk.as_bytes()).await.is_ok() {
        sent += 1;
        assert!(sent < 1_000, "the console reads on and on: {sent} chunks of 64 KiB");
    }
}

async fn still_serves(addr: SocketAddr) {
    let bearer = format!("authorization: Bearer {TOKEN}");
    let answer = ask(addr, "GET", "/vehicles/V000001", &[&bearer], None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json().await["id"], "V000001");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_attacks_leave_it_serving_and_its_memory_flat() {
    let settings = ConsoleSettings {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: Token::new(TOKEN).unwrap(),
        organization: OrganizationId::default(),
        access: Access::default(),
    };
    let console = Console::bind(settings, support::sources(&Arc::new(FakeFleet::new(10)))).await.unwrap();
    let addr = console.local_addr();
    let mut before = 0;
    for round in 0..40 {
        // Ten rounds warm the allocator up.
        if round == 10 {
            before = resident_bytes();
        }
        let mut attacks = tokio::task::JoinSet::new();
        let mut slow = Vec::new();
        for n in 0..25 {
            match n % 4 {
                0 => drop(attacks.spawn(rapid_reset(addr))),
                1 => drop(attacks.spawn(huge_headers(addr))),
                2 => drop(attacks.spawn(endless_body(addr))),
                _ => slow.push(slow_body(addr).await),
            }
        }
        // In the middle of it.
        still_serves(addr).await;
        while let Some(ended) = attacks.join_next().await {
            ended.unwrap();
        }
        drop(slow);
    }
    still_serves(addr).await;
    let after = resident_bytes();
    assert!(after < before + GROWTH_BYTES_MAX, "from {before} to {after} bytes");
    console.stop().await.unwrap();
}
