//! How much the door alone does: connects a second, memory of an idle connection, messages a second, all on loopback
//! with the generator in a second process on the same machine. Prints one JSON object.
//!
//! `cargo run --release -p remuda-ingress --example door_load -- [connections] [messages] [messages a write]`

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::BytesMut;
use remuda_contracts::uplink::{Arrival, Intake, IntakeClosed};
use remuda_ingress::{Door, DoorMetrics, DoorSettings, TrustLoopback, VehicleLimits};
use remuda_model::{Lane, ShardId, VehicleId};
use remuda_mqtt::codec::{Connect, Packet, Publish, Subscribe};
use remuda_wire::{Channel, Topic};
use rumqttc::mqttbytes::QoS;
use tokio::sync::mpsc;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Bytes of a small message.
const PAYLOAD_BYTES: usize = 200;
/// Messages that may wait in the intake, as between door and shard.
const INTAKE_MESSAGES_MAX: usize = 4_096;

struct Counting {
    queue: mpsc::Sender<Arrival>,
}

#[async_trait]
impl Intake for Counting {
    async fn offer(&self, _: ShardId, arrival: Arrival) -> Result<(), IntakeClosed> {
        self.queue.send(arrival).await.map_err(|_| IntakeClosed)
    }
}

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("generate", rest)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return generate(rest);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(&args))
}

fn number(args: &[String], at: usize, otherwise: u64) -> Outcome<u64> {
    Ok(args.get(at).map(|text| text.parse()).transpose()?.unwrap_or(otherwise))
}

async fn measure(args: &[String]) -> Outcome {
    let (connections, messages, batch) =
        (number(args, 0, 500)?, number(args, 1, 2_000_000)?, number(args, 2, 1)?);
    let (queue, mut arrivals) = mpsc::channel(INTAKE_MESSAGES_MAX);
    let mut settings = DoorSettings::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    settings.vehicle = VehicleLimits::NONE;
    let intake = Arc::new(Counting { queue });
    let door = Door::bind(settings, Arc::new(TrustLoopback), intake, DoorMetrics::default()).await?;
    let connected = Arc::new(AtomicU64::new(0));
    let taken = Arc::new(AtomicU64::new(0));
    let (counted, counting) = (Arc::clone(&connected), Arc::clone(&taken));
    tokio::spawn(async move {
        let mut downlinks = Vec::new();
        while let Some(arrival) = arrivals.recv().await {
            match arrival {
                Arrival::Connected { downlink, .. } => {
                    downlinks.push(downlink);
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                Arrival::Payload { .. } => drop(counting.fetch_add(1, Ordering::Relaxed)),
                Arrival::Disconnected { .. } | Arrival::Refused { .. } => {}
            }
        }
    });
    let (rss_before, cpu_before) = (resident_kb()?, cpu_seconds()?);
    let mut generator = Command::new(std::env::current_exe()?)
        .args(["generate", &door.plain_addr().expect("it listens").to_string()])
        .args([connections, messages, batch].map(|number| number.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(generator.stdout.take().ok_or("no output")?).lines();
    let connect_seconds: f64 = said.next().ok_or("the generator ended")??.parse()?;
    let cpu_connected = cpu_seconds()?;
    until(&connected, connections).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let rss_idle = resident_kb()?;
    let (began, cpu_idle) = (Instant::now(), cpu_seconds()?);
    generator.stdin.take().ok_or("no input")?.write_all(b"go\n")?;
    let expected = messages / connections / batch * connections * batch;
    until(&taken, expected).await;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{{\"connections\": {connections}, \"connects_per_second\": {:.0}, \"cpu_us_per_connect\": {:.0}, \
         \"idle_kb_per_connection\": {:.1}, \"messages\": {expected}, \"messages_per_write\": {batch}, \
         \"messages_per_second\": {:.0}, \"cpu_us_per_message\": {:.2}, \"rss_after_mb\": {:.0}}}",
        connections as f64 / connect_seconds,
        (cpu_connected - cpu_before) * 1e6 / connections as f64,
        rss_idle.saturating_sub(rss_before) as f64 / connections as f64,
        expected as f64 / seconds,
        (cpu_seconds()? - cpu_idle) * 1e6 / expected as f64,
        resident_kb()? as f64 / 1024.0,
    );
    door.stop().await;
    generator.wait()?;
    Ok(())
}

async fn until(counter: &AtomicU64, wanted: u64) {
    while counter.load(Ordering::Relaxed) < wanted {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The second process: connects, says so, waits for a line, then writes as fast as the door reads.
fn generate(args: &[String]) -> Outcome {
    let address: SocketAddr = args.first().ok_or("no address")?.parse()?;
    let (connections, messages, batch) = (number(args, 1, 1)?, number(args, 2, 1)?, number(args, 3, 1)?);
    let began = Instant::now();
    let mut streams = Vec::new();
    for index in 0..connections {
        streams.push(login(address, VehicleId::new(&format!("VAN{index}"))?, batch)?);
    }
    println!("{}", began.elapsed().as_secs_f64());
    std::io::stdin().lock().read_line(&mut String::new())?;
    for _ in 0..messages / connections / batch {
        for (stream, said) in &mut streams {
            stream.write_all(said)?;
        }
    }
    // The door ends it.
    for (mut stream, _) in streams {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    Ok(())
}

/// A logged-in, subscribed vehicle and what it writes at a time.
fn login(address: SocketAddr, vehicle: VehicleId, batch: u64) -> Outcome<(TcpStream, BytesMut)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut connect = Connect::new("generator");
    connect.set_login(vehicle.as_str(), "");
    connect.keep_alive = 600;
    let mut subscribe = Subscribe::new(Topic::Down { vehicle }.to_string(), QoS::AtMostOnce);
    subscribe.pkid = 1;
    let mut said = BytesMut::new();
    Packet::Connect(connect).write(&mut said, usize::MAX)?;
    Packet::Subscribe(subscribe).write(&mut said, usize::MAX)?;
    stream.write_all(&said)?;
    // CONNACK and SUBACK.
    stream.read_exact(&mut [0; 9])?;
    let topic = Topic::up(vehicle, Channel::Lane(Lane::Samples)).to_string();
    let publish = Packet::Publish(Publish::new(topic, QoS::AtMostOnce, vec![0; PAYLOAD_BYTES]));
    said.clear();
    for _ in 0..batch {
        publish.write(&mut said, usize::MAX)?;
    }
    Ok((stream, said))
}

fn resident_kb() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// CPU time of this process; the kernel counts in hundredths of a second.
fn cpu_seconds() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no fields")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}
