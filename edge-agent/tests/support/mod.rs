//! A door for one vehicle: MQTT over TCP or TLS, and a cloud that keeps what it is sent.

#![allow(dead_code, reason = "each test uses its part")]

pub mod pki;
pub mod port;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use remuda_model::{Epoch, Incarnation, Lane, Seq};
use remuda_wire::{Ack, Body, Down, Farewell, FarewellReason, LaneAck, Up, Welcome, frame};
use rumqttc::mqttbytes::v4::{ConnAck, ConnectReturnCode, Packet, Publish, SubAck, SubscribeReasonCode};
use rumqttc::mqttbytes::{Error as CodecError, QoS};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Key = (Lane, Incarnation);

/// What the cloud was told.
#[derive(Debug, Default)]
pub struct Told {
    /// Frames by lane, incarnation and seq.
    pub frames: BTreeMap<Key, BTreeMap<Seq, Body>>,
    /// Reasons of farewells.
    pub farewells: Vec<FarewellReason>,
    /// User names and passwords.
    pub logins: Vec<(String, String)>,
    /// Connections.
    pub connections: usize,
    /// The client's certificate, DER, of each TLS connection.
    pub certificates: Vec<Vec<u8>>,
    /// TLS connections that resumed an earlier session.
    pub resumed: usize,
}

/// The door; ends with the runtime.
pub struct Door {
    /// `host:port`.
    pub address: String,
    /// What came in.
    pub told: Arc<Mutex<Told>>,
}

impl Door {
    /// Listens. The first `hang_ups` connections are cut after their first frames, unanswered.
    pub async fn open(hang_ups: usize) -> Self {
        Self::listen(hang_ups, None).await
    }

    /// The same over TLS.
    pub async fn open_tls(hang_ups: usize, config: Arc<rustls::ServerConfig>) -> Self {
        Self::listen(hang_ups, Some(TlsAcceptor::from(config))).await
    }

    async fn listen(hang_ups: usize, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let told = Arc::new(Mutex::new(Told::default()));
        let kept = Arc::clone(&told);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let told = Arc::clone(&kept);
                let number = {
                    let mut told = told.lock().expect("not poisoned");
                    told.connections += 1;
                    told.connections
                };
                let tls = tls.clone();
                tokio::spawn(async move {
                    let hang_up = number <= hang_ups;
                    let Some(tls) = tls else { return serve(stream, &told, hang_up).await };
                    let stream = accept(tls, stream).await?;
                    {
                        let (_, session) = stream.get_ref();
                        let mut told = told.lock().expect("not poisoned");
                        told.certificates.extend(session.peer_certificates().map(|c| c[0].to_vec()));
                        let resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
                        told.resumed += usize::from(resumed);
                    }
                    serve(stream, &told, hang_up).await
                });
            }
        });
        Self { address, told }
    }
}

/// Accepts as the door does: a refusal's alert is not cut off by a reset.
pub async fn accept(
    tls: TlsAcceptor,
    stream: tokio::net::TcpStream,
) -> Option<tokio_rustls::server::TlsStream<tokio::net::TcpStream>> {
    match tls.accept(stream).into_fallible().await {
        Ok(stream) => Some(stream),
        Err((_, mut stream)) => {
            let _ = stream.shutdown().await;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            None
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    told: &Mutex<Told>,
    hang_up: bool,
) -> Option<()> {
    let mut read = BytesMut::new();
    let mut down = String::new();
    loop {
        let packet = match Packet::read(&mut read, 256 * 1024) {
            Ok(packet) => packet,
            Err(CodecError::InsufficientBytes(_)) => {
                if stream.read_buf(&mut read).await.ok()? == 0 {
                    return None;
                }
                continue;
            }
            Err(error) => panic!("no MQTT: {error:?}"),
        };
        let mut write = BytesMut::new();
        match packet {
            Packet::Connect(connect) => {
                assert!(connect.clean_session && connect.last_will.is_some());
                let login = connect.login.expect("with a login");
                told.lock().expect("not poisoned").logins.push((login.username, login.password));
                ConnAck::new(ConnectReturnCode::Success, false).write(&mut write).expect("short");
            }
            Packet::Subscribe(subscribe) => {
                down.clone_from(&subscribe.filters[0].path);
                let codes = vec![SubscribeReasonCode::Success(QoS::AtMostOnce)];
                SubAck::new(subscribe.pkid, codes).write(&mut write).expect("short");
            }
            Packet::Publish(publish) => {
                let message = Up::decode(&Bytes::from(publish.payload.to_vec())).expect("ours");
                if hang_up && matches!(message, Up::Frames(_)) {
                    return None;
                }
                if let Some(answer) = answer(message, &mut told.lock().expect("not poisoned")) {
                    let publish = Publish::new(&down, QoS::AtMostOnce, answer.encode());
                    publish.write(&mut write).expect("short");
                }
            }
            Packet::PingReq => write.extend_from_slice(&[0xd0, 0]),
            Packet::Disconnect => return None,
            other => panic!("unexpected: {other:?}"),
        }
        stream.write_all(&write).await.ok()?;
    }
}

fn lane_ack(told: &Told, key: Key) -> LaneAck {
    let seq = told.frames.get(&key).map_or(0, |frames| frames.len() as u64);
    LaneAck { lane: key.0, incarnation: key.1, received: seq, durable: seq, credit: 50_000 }
}

fn answer(message: Up, told: &mut Told) -> Option<Down> {
    let (epoch, server_time_ms) = (Epoch(1), 1_700_000_000_000);
    match message {
        Up::Hello(hello) => {
            let acks = hello.lanes.iter().map(|l| lane_ack(told, (l.lane, l.incarnation))).collect();
            let connection = hello.connection;
            Some(Down::Welcome(Welcome { connection, wire: 1, epoch, server_time_ms, acks, resync: false }))
        }
        Up::Frames(message) => {
            let key = (message.lane, message.incarnation);
            let frames = told.frames.entry(key).or_default();
            let mut missing = false;
            for (n, bytes) in message.frames.iter().enumerate() {
                let seq = message.first_seq + n as u64;
                let next = frames.len() as u64 + 1;
                missing |= seq > next;
                if seq == next {
                    frames.insert(seq, frame::decode(bytes).expect("sound").body);
                }
            }
            let ack = lane_ack(told, key);
            Some(Down::Ack(Ack { ack, epoch, server_time_ms, missing, greet: false }))
        }
        Up::Live(_) | Up::Status(_) | Up::Watching(_) => None,
        Up::Farewell(Farewell { reason, .. }) => {
            told.farewells.push(reason);
            None
        }
    }
}
