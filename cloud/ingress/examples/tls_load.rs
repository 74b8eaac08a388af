//! What the door costs over mutual TLS: connects a second with full and with resumed handshakes, memory of an idle
//! connection; on loopback, with the generator in a second process on the same machine. Prints one JSON object.
//!
//! `cargo run --release -p remuda-ingress --example tls_load -- [connections]`

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::BytesMut;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use remuda_contracts::uplink::{Arrival, Intake, IntakeClosed};
use remuda_identity::{EmbeddedCa, Issuer, NewVehicle, Register, VehicleIdentity, Who};
use remuda_ingress::{
    Door, DoorMetrics, DoorSettings, TlsEntrance, TlsFiles, TrustLoopback, VehicleLimits, VehicleTls,
};
use remuda_model::{OrganizationId, ShardId, VehicleId};
use remuda_mqtt::codec::{Connect, Packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Connects at a time.
const AT_A_TIME: usize = 64;
const DAY: Duration = Duration::from_secs(86_400);

struct Counting {
    queue: mpsc::Sender<Arrival>,
}

#[async_trait]
impl Intake for Counting {
    async fn offer(&self, _: ShardId, arrival: Arrival) -> Result<(), IntakeClosed> {
        self.queue.send(arrival).await.map_err(|_| IntakeClosed)
    }
}

#[tokio::main]
async fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("generate", [address, folder, connections])) => {
            generate(address.parse()?, Path::new(folder), connections.parse()?).await
        }
        Some((connections, _)) => measure(connections.parse()?).await,
        None => measure(2_000).await,
    }
}

async fn measure(connections: u64) -> Outcome {
    let folder = tempfile::tempdir()?;
    let authority = EmbeddedCa::open(folder.path(), DAY, SystemTime::now())?;
    let register = Arc::new(Register::open(folder.path())?);
    let who = Who { by: "tls_load".into(), at_ms: 0 };
    let vehicles: Result<Vec<NewVehicle>, Box<dyn Error + Send + Sync>> = (0..connections)
        .map(|number| Ok(NewVehicle { vehicle: vehicle(number)?, display_name: None }))
        .collect();
    for batch in vehicles?.chunks(10_000) {
        register.create(OrganizationId::default(), batch, 1_000, authority.fingerprint(), &who)?;
    }
    let (file, _) = authority.keep_server_certificate(&["localhost".into()], SystemTime::now())?;
    let files = TlsFiles { certificate: file.clone(), key: file, trust: authority.trust_file() };
    let tls = VehicleTls::open(files, register)?;
    let (queue, mut arrivals) = mpsc::channel(4_096);
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut settings = DoorSettings::secured(TlsEntrance { listen, tls });
    settings.vehicle = VehicleLimits::NONE;
    let intake = Arc::new(Counting { queue });
    let door = Door::bind(settings, Arc::new(TrustLoopback), intake, DoorMetrics::default()).await?;
    let connected = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&connected);
    tokio::spawn(async move {
        let mut downlinks = Vec::new();
        while let Some(arrival) = arrivals.recv().await {
            if let Arrival::Connected { downlink, .. } = arrival {
                downlinks.push(downlink);
                counting.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let address = door.tls_addr().ok_or("it does not listen")?;
    let mut generator = Command::new(std::env::current_exe()?)
        .args(["generate", &address.to_string()])
        .arg(folder.path())
        .arg(connections.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(generator.stdout.take().ok_or("no output")?).lines();
    let mut next = move || -> Outcome<String> { Ok(said.next().ok_or("the generator ended")??) };
    next()?;
    let (rss_before, cpu_before) = (resident_kb()?, cpu_seconds()?);
    generator.stdin.as_mut().ok_or("no input")?.write_all(b"go\n")?;
    let full: f64 = next()?.parse()?;
    let cpu_full = cpu_seconds()?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let rss_idle = resident_kb()?;
    let cpu_idle = cpu_seconds()?;
    generator.stdin.as_mut().ok_or("no input")?.write_all(b"go\n")?;
    let resumed: f64 = next()?.parse()?;
    let cpu_resumed = cpu_seconds()?;
    generator.stdin.take();
    generator.wait()?;
    println!(
        "{{\"connections\": {connections}, \"idle_kb_per_connection\": {:.1}, \"full_per_second\": {:.0}, \
         \"full_cpu_us\": {:.0}, \"resumed_per_second\": {:.0}, \"resumed_cpu_us\": {:.0}}}",
        rss_idle.saturating_sub(rss_before) as f64 / connections as f64,
        connections as f64 / full,
        (cpu_full - cpu_before) * 1e6 / connections as f64,
        connections as f64 / resumed,
        (cpu_resumed - cpu_idle) * 1e6 / connections as f64,
    );
    door.stop().await;
    Ok(())
}

fn vehicle(number: u64) -> Outcome<VehicleId> {
    Ok(VehicleId::new(&format!("VAN{number}"))?)
}

/// The second process: certificates first, then twice everybody connects, the second time with their tickets.
async fn generate(address: SocketAddr, folder: &Path, connections: u64) -> Outcome {
    let authority = EmbeddedCa::open(folder, DAY, SystemTime::now())?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authority.trust_anchors_pem().as_bytes()) {
        roots.add(root?)?;
    }
    let roots = Arc::new(roots);
    let mut configs = Vec::new();
    for number in 0..connections {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let request = CertificateParams::default().serialize_request(&key)?;
        let identity = VehicleIdentity { organization: OrganizationId::default(), vehicle: vehicle(number)? };
        let issued = authority.issue(request.der(), &identity, SystemTime::now())?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes()).collect();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(chain?, PrivateKeyDer::try_from(key.serialize_der())?)?;
        configs.push(Arc::new(config));
    }
    println!("ready");
    for _ in 0..2 {
        std::io::stdin().lock().read_line(&mut String::new())?;
        let (begun, room) = (Instant::now(), Arc::new(Semaphore::new(AT_A_TIME)));
        let mut connecting = tokio::task::JoinSet::new();
        for config in &configs {
            let (config, permit) = (Arc::clone(config), Arc::clone(&room).acquire_owned().await?);
            connecting.spawn(async move {
                let stream = login(address, config).await;
                drop(permit);
                stream
            });
        }
        let mut streams = Vec::new();
        while let Some(stream) = connecting.join_next().await {
            streams.push(stream??);
        }
        println!("{}", begun.elapsed().as_secs_f64());
        // Those of the first round stay until the memory was looked at.
        if configs.len() == streams.len() {
            std::mem::forget(streams);
        }
    }
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

async fn login(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> Outcome<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut stream = TlsConnector::from(config).connect(ServerName::try_from("localhost")?, stream).await?;
    let mut bytes = BytesMut::new();
    Packet::Connect(Connect::new("c")).write(&mut bytes, usize::MAX)?;
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await?;
    if connack[3] == 0 { Ok(stream) } else { Err("refused".into()) }
}

fn resident_kb() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse()?)
}

fn cpu_seconds() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}
