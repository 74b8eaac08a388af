//! The baseline: the payloads of `ingest`, made beforehand, through a bare MQTT broker to one subscriber.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, Packet, Publish, Subscribe};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use remuda_model::Lane;
use remuda_wire::limits::PAYLOAD_BYTES_MAX;
use remuda_wire::{Channel, Topic};

use crate::synthetic;

/// Connections being opened at once: more only fills the broker's backlog.
const CONNECTING_MAX: usize = 64;
/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes the sink reads at once, as the door does.
const SINK_READ_BYTES: usize = 16 * 1024;
/// Packets written at once when nothing limits the rate.
const BURST: usize = 4;

/// What to publish.
#[derive(Debug, Clone)]
pub struct PublishSettings {
    /// Address of the broker.
    pub broker: String,
    /// Connections.
    pub vehicles: usize,
    /// Payloads per second and connection; 0 is as fast as the broker takes them.
    pub rate: f64,
    /// Signals per frame.
    pub signals: usize,
    /// Frames per payload.
    pub frames: usize,
    /// How long to send, once all are connected.
    pub duration: Duration,
}

/// What was published.
#[derive(Debug, Serialize)]
pub struct Published {
    /// Connections.
    pub connections: usize,
    /// Payloads written to sockets.
    pub payloads: u64,
    /// Frames in them.
    pub frames: u64,
    /// Bytes of MQTT.
    pub wire_bytes: u64,
    /// Time from the first to the last, s.
    pub seconds: f64,
    /// Frames written per second.
    pub frames_per_second: f64,
}

/// What arrived at the subscriber.
#[derive(Debug, Serialize)]
pub struct Counted {
    /// Payloads that arrived.
    pub payloads: u64,
    /// Bytes of them.
    pub payload_bytes: u64,
    /// Frames in them.
    pub frames: u64,
    /// Time from the first to the last, s.
    pub seconds: f64,
    /// Frames that arrived per second.
    pub frames_per_second: f64,
}

async fn connect(broker: &str, client: &str) -> io::Result<TcpStream> {
    let hello = async {
        let mut stream = TcpStream::connect(broker).await?;
        stream.set_nodelay(true)?;
        let mut connect = Connect::new(client);
        connect.keep_alive = 600;
        let mut buffer = BytesMut::new();
        connect.write(&mut buffer).map_err(io::Error::other)?;
        stream.write_all(&buffer).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        if answer[0] != 0x20 || answer[3] != 0 {
            return Err(io::Error::other(format!("the broker refuses the connection (code {})", answer[3])));
        }
        Ok(stream)
    };
    tokio::time::timeout(PATIENCE, hello).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Publishes from many connections until the time is over or `stop` says so.
pub async fn publish(settings: PublishSettings, mut stop: watch::Receiver<bool>) -> io::Result<Published> {
    let slots = Arc::new(Semaphore::new(CONNECTING_MAX));
    let mut connecting = JoinSet::new();
    for vehicle in 0..settings.vehicles {
        let (slots, broker) = (Arc::clone(&slots), settings.broker.clone());
        connecting.spawn(async move {
            let _slot = slots.acquire_owned().await.map_err(io::Error::other)?;
            let id = synthetic::vehicle_id(vehicle);
            connect(&broker, id.as_str()).await.map(|stream| (vehicle, stream))
        });
    }
    let mut streams = Vec::with_capacity(settings.vehicles);
    while let Some(connected) = connecting.join_next().await {
        streams.push(connected.map_err(io::Error::other)??);
    }
    eprintln!("{} connections to {}", streams.len(), settings.broker);
    let payloads = Arc::new(AtomicU64::new(0));
    let bytes = Arc::new(AtomicU64::new(0));
    let (begun, mut sending) = (Instant::now(), JoinSet::new());
    let end = begun + settings.duration;
    for (vehicle, mut stream) in streams {
        let packet = packet(vehicle, settings.signals, settings.frames)?;
        let (payloads, bytes) = (Arc::clone(&payloads), Arc::clone(&bytes));
        let rate = settings.rate;
        sending.spawn(async move {
            let burst = if rate > 0.0 { 1 } else { BURST };
            let chunk = packet.repeat(burst);
            let mut ticks = ticker(rate, vehicle);
            while Instant::now() < end {
                if let Some(ticks) = &mut ticks {
                    ticks.tick().await;
                }
                let left = end.saturating_duration_since(Instant::now());
                match tokio::time::timeout(left, stream.write_all(&chunk)).await {
                    Err(_) => return Ok(()),
                    Ok(written) => written?,
                }
                payloads.fetch_add(burst as u64, Ordering::Relaxed);
                bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
            stream.shutdown().await
        });
    }
    let all = async {
        while let Some(sent) = sending.join_next().await {
            sent.map_err(io::Error::other)??;
        }
        io::Result::Ok(())
    };
    tokio::select! { done = all => done?, _ = stop.wait_for(|stop| *stop) => {} }
    let seconds = begun.elapsed().as_secs_f64();
    let (payloads, wire_bytes) = (payloads.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed));
    let frames = payloads * settings.frames as u64;
    let frames_per_second = frames as f64 / seconds;
    Ok(Published { connections: settings.vehicles, payloads, frames, wire_bytes, seconds, frames_per_second })
}

fn ticker(rate: f64, vehicle: usize) -> Option<tokio::time::Interval> {
    if rate <= 0.0 {
        return None;
    }
    let period = Duration::from_secs_f64(1.0 / rate);
    // Spread over the period, as a fleet is.
    let first = tokio::time::Instant::now() + period.mul_f64((vehicle as f64 * 0.618_034).fract());
    let mut ticks = tokio::time::interval_at(first, period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    Some(ticks)
}

fn packet(vehicle: usize, signals: usize, frames: usize) -> io::Result<Vec<u8>> {
    let topic = Topic::up(synthetic::vehicle_id(vehicle), Channel::Lane(Lane::Samples)).to_string();
    let payload = synthetic::payload(vehicle, signals, frames);
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(io::Error::other(
            "that many frames and signals do not fit into a payload; ask for fewer",
        ));
    }
    let mut buffer = BytesMut::new();
    Publish::new(topic, QoS::AtMostOnce, payload).write(&mut buffer).map_err(io::Error::other)?;
    Ok(buffer.to_vec())
}

/// The end of a bare loopback: lets everybody in and reads whatever comes, without looking at it, until `stop`.
/// Answers the bytes it read.
///
/// # Errors
/// When it cannot accept.
pub async fn sink(listener: TcpListener, mut stop: watch::Receiver<bool>) -> io::Result<u64> {
    let bytes = Arc::new(AtomicU64::new(0));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(bytes.load(Ordering::Relaxed)),
            accepted = listener.accept() => {
                let (mut stream, _) = accepted?;
                let bytes = Arc::clone(&bytes);
                connections.spawn(async move {
                    let mut buffer = vec![0; SINK_READ_BYTES];
                    let mut answered = false;
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        // CONNACK, for whatever the first packet was.
                        if !std::mem::replace(&mut answered, true) && stream.write_all(&[0x20, 2, 0, 0]).await.is_err() {
                            return;
                        }
                        bytes.fetch_add(count as u64, Ordering::Relaxed);
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Subscribes to everything vehicles send and counts, until `duration` after the first arrival or `stop`.
pub async fn count(
    broker: &str,
    frames_per_payload: usize,
    duration: Duration,
    mut stop: watch::Receiver<bool>,
) -> io::Result<Counted> {
    let mut stream = connect(broker, "remuda-count").await?;
    let mut buffer = BytesMut::with_capacity(1 << 20);
    let mut subscribe = Subscribe::new("remuda/v1/+/up/#", QoS::AtMostOnce);
    subscribe.pkid = 1;
    let mut request = BytesMut::new();
    subscribe.write(&mut request).map_err(io::Error::other)?;
    stream.write_all(&request).await?;
    let (mut payloads, mut payload_bytes) = (0_u64, 0_u64);
    let mut times: Option<(Instant, Instant)> = None;
    loop {
        let deadline = times.map(|(first, _)| tokio::time::Instant::from_std(first + duration));
        let over = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            () = over => break,
            read = stream.read_buf(&mut buffer) => if read? == 0 { break },
        }
        let now = Instant::now();
        loop {
            match Packet::read(&mut buffer, PAYLOAD_BYTES_MAX * 2) {
                Ok(Packet::Publish(publish)) => {
                    payloads += 1;
                    payload_bytes += publish.payload.len() as u64;
                    times = Some((times.map_or(now, |(first, _)| first), now));
                }
                Ok(Packet::SubAck(_)) => eprintln!("counting what arrives from {broker}"),
                Ok(_) => {}
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => break,
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
    let seconds = times.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    let frames = payloads * frames_per_payload as u64;
    let frames_per_second = if seconds > 0.0 { frames as f64 / seconds } else { 0.0 };
    Ok(Counted { payloads, payload_bytes, frames, seconds, frames_per_second })
}
