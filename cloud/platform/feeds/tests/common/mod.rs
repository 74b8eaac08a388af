//! A lake and a journal that are written, feeds over them, and systems of customers that take, hang or refuse.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use remuda_eventsourcing::{Journal, ManifestPosition, MemoryJournal, NewEvent, Owner, testing};
use remuda_feeds::{
    FeedMetrics, FeedSettings, FeedSpec, FeedView, Feeds, Filter, Secret, SinkSpec, Source, Start,
};
use remuda_lake::{Answer, Contribution, Lake, LakeSettings, RoundListener, Rounds, Row, RowBody};
use remuda_model::{Incarnation, OrganizationId, SHARDS, ShardId, VehicleId, signal};
use remuda_webhooks::{AddressRules, Sender, SenderConfig, WebhookMetrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// `whsec_` and 32 bytes.
pub const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(120);

struct Quiet;

impl RoundListener for Quiet {
    fn answered(&self, _: ShardId, _: ManifestPosition, _: Vec<Answer>) {}
    fn replay_floor(&self, _: ShardId) -> ManifestPosition {
        0
    }
    fn shard_lost(&self, _: ShardId) {}
}

/// What is written.
pub struct World {
    pub folder: tempfile::TempDir,
    pub journal: Arc<dyn Journal>,
    pub lake: Lake,
    rounds: Rounds,
    next: Mutex<BTreeMap<VehicleId, (u64, u64)>>,
}

pub fn vehicle(n: usize) -> VehicleId {
    VehicleId::new(&format!("VAN{n}")).expect("an id")
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let settings =
            LakeSettings { round_interval_ms: 3_600_000, ..LakeSettings::new(folder.path().join("lake")) };
        let lake = Lake::open(settings, Arc::clone(&journal)).await.expect("opened");
        let shards: Vec<ShardId> = (0..SHARDS).filter_map(ShardId::new).collect();
        let owners: Vec<Owner> =
            journal.acquire(&shards).await.expect("acquired").into_iter().map(|(owner, _)| owner).collect();
        let recovery = lake.recover(&owners).await.expect("recovered");
        let rounds = lake.start_rounds(&owners, &recovery, Arc::new(Quiet));
        Self { folder, journal, lake, rounds, next: Mutex::default() }
    }

    /// A frame of some rows of a vehicle, committed, with an event beside it when told so.
    pub async fn write(&self, vehicle: VehicleId, rows: u32, with_event: bool) {
        let (seq, version) = {
            let mut next = self.next.lock();
            let (seq, version) = next.entry(vehicle).or_default();
            (*seq, *version) = (*seq + 1, *version + u64::from(with_event));
            (*seq, *version)
        };
        let row = |row_in_frame| Row {
            organization: OrganizationId::default(),
            vehicle,
            incarnation: Incarnation(7),
            seq,
            row_in_frame,
            boot: 1,
            mono_ns: seq,
            sample_time_ns: Some(1_700_000_000_000_000_000 + seq as i64),
            receive_time_ms: 1_700_000_000_500,
            commit: 0,
            body: RowBody::Samples(vec![(signal::SPEED, seq as i64), (signal::CHARGE, 80)]),
        };
        let decisions = if with_event { vec![event(vehicle, version)] } else { Vec::new() };
        let contribution = Contribution {
            shard: ShardId::of(&vehicle),
            vehicle,
            ticket: seq,
            rows: (0..rows).map(row).collect(),
            decisions,
            bytes: 100,
        };
        let handle = self.rounds.handle();
        handle.contribute(contribution).await.expect("open");
        handle.flush().await.expect("open");
    }

    /// Frames of some vehicles in turn; every third has an event.
    pub async fn drive(&self, vehicles: usize, frames: usize) {
        for i in 0..frames {
            self.write(vehicle(i % vehicles), 2, i % 3 == 0).await;
        }
    }

    /// Feeds over it, as a node that has just started has them.
    pub async fn feeds(&self) -> Feeds {
        self.feeds_with(Duration::from_secs(20)).await
    }

    pub async fn feeds_with(&self, send_within: Duration) -> Feeds {
        let addresses = AddressRules { allowed: vec!["127.0.0.0/8".parse().expect("a network")] };
        let config = SenderConfig { addresses: addresses.clone(), ..SenderConfig::default() };
        let sender = Sender::new(config, WebhookMetrics::default()).expect("a sender");
        let payload = Arc::new(|event: &NewEvent| {
            Some(serde_json::Value::from(String::from_utf8_lossy(&event.payload)))
        });
        let journals = vec![("vehicles", Arc::clone(&self.journal))];
        let source = Source::new(&self.lake, journals, payload);
        let settings = FeedSettings {
            send_within,
            retry: (Duration::from_millis(20), Duration::from_millis(200)),
            ..FeedSettings::new(self.folder.path().join("feeds"), sender, addresses)
        };
        Feeds::open(settings, source, FeedMetrics::default()).await.expect("opened")
    }

    /// Ids of everything that was written, by vehicle, in order: rows, and events.
    pub fn written(&self) -> usize {
        self.next.lock().values().map(|(seq, version)| (*seq * 2 + *version) as usize).sum()
    }
}

fn event(vehicle: VehicleId, version: u64) -> NewEvent {
    let mut event = testing::event(vehicle.as_str(), version);
    event.stream.aggregate_type = "vehicle".into();
    event.event_type = "vehicle.alert-raised".into();
    event.event_id = [0; 16];
    event.event_id[..8].copy_from_slice(&version.to_be_bytes());
    let name = vehicle.as_str().as_bytes();
    event.event_id[16 - name.len().min(8)..].copy_from_slice(&name[..name.len().min(8)]);
    event
}

pub fn organization() -> OrganizationId {
    OrganizationId::default()
}

pub fn webhook(name: &str, url: String) -> FeedSpec {
    let sink = SinkSpec::Webhook { url, secrets: vec![Secret(SECRET.into())] };
    FeedSpec { name: name.into(), filter: Filter::everything(), sink, refusals_max: 2 }
}

pub async fn create(feeds: &Feeds, spec: FeedSpec) -> FeedView {
    feeds.create(organization(), spec, &Start::Earliest, "ada").await.expect("registered")
}

/// Waits for a condition.
pub async fn wait_until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let begun = std::time::Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a customer's system says to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// A status.
    Status(u16),
    /// Nothing at all.
    Nothing,
}

/// A customer's system that remembers what it took.
pub struct Customer {
    pub address: SocketAddr,
    /// Bodies that were taken, with their heads.
    pub taken: Arc<Mutex<Vec<(String, String)>>>,
    /// What it says to the next calls; after them 200.
    pub says: Arc<Mutex<VecDeque<Says>>>,
    pub calls: Arc<Mutex<usize>>,
}

impl Customer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (taken, says) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<VecDeque<_>>>::default());
        let calls = Arc::<Mutex<usize>>::default();
        let (there, answers, counted) = (Arc::clone(&taken), Arc::clone(&says), Arc::clone(&calls));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (there, answers, counted) =
                    (Arc::clone(&there), Arc::clone(&answers), Arc::clone(&counted));
                tokio::spawn(async move { Box::pin(answer(stream, &there, &answers, &counted)).await });
            }
        });
        Self { address, taken, says, calls }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Everything that was taken, in order.
    pub fn items(&self) -> Vec<serde_json::Value> {
        let taken = self.taken.lock();
        taken
            .iter()
            .flat_map(|(_, body)| serde_json::from_str::<Vec<serde_json::Value>>(body).expect("an array"))
            .collect()
    }
}

async fn answer(
    mut stream: TcpStream,
    taken: &Mutex<Vec<(String, String)>>,
    says: &Mutex<VecDeque<Says>>,
    calls: &Mutex<usize>,
) {
    let mut bytes = Vec::new();
    let mut piece = [0; 65_536];
    let (head, body) = loop {
        let n = stream.read(&mut piece).await.unwrap_or(0);
        if n == 0 {
            return;
        }
        bytes.extend_from_slice(&piece[..n]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length: usize = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
            .expect("a length");
        if bytes.len() >= end + 4 + length {
            break (head, String::from_utf8(bytes[end + 4..].to_vec()).expect("text"));
        }
    };
    *calls.lock() += 1;
    let says = says.lock().pop_front().unwrap_or(Says::Status(200));
    let Says::Status(status) = says else {
        // Until the other side gives up.
        let _ = stream.read(&mut piece).await;
        return;
    };
    if status == 200 {
        taken.lock().push((head, body));
    }
    let _ = stream.write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nno").as_bytes()).await;
}

/// Each id in the order in which it came first, by what it is about; and how many there were with repetitions.
pub fn in_order(items: &[serde_json::Value]) -> (BTreeMap<(String, bool), Vec<String>>, usize) {
    let mut seen = std::collections::BTreeSet::new();
    let mut by_source: BTreeMap<(String, bool), Vec<String>> = BTreeMap::new();
    for item in items {
        let text = |key: &str| item[key].as_str().expect("a text").to_owned();
        let is_row = text("type").starts_with("dev.remuda.telemetry.");
        if seen.insert(text("id")) {
            by_source.entry((text("source"), is_row)).or_default().push(text("id"));
        }
    }
    (by_source, items.len())
}

/// Everything was told at least once, and each vehicle's things in order.
pub fn check(world: &World, items: &[serde_json::Value]) {
    let (by_source, _) = in_order(items);
    let next = world.next.lock();
    let mut expected: BTreeMap<(String, bool), Vec<String>> = BTreeMap::new();
    for (vehicle, (seq, version)) in next.iter() {
        let source = format!("organizations/default/vehicles/{vehicle}");
        let rows =
            (1..=*seq).flat_map(|seq| (0..2).map(move |row| format!("{vehicle}-{:016x}-{seq}-{row}", 7)));
        expected.insert((source.clone(), true), rows.collect());
        let hex = |bytes: [u8; 16]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let events: Vec<String> = (1..=*version).map(|v| hex(event(*vehicle, v).event_id)).collect();
        if !events.is_empty() {
            expected.insert((source, false), events);
        }
    }
    assert_eq!(by_source, expected);
}

/// A port that is free now.
pub fn free_port() -> u16 {
    StdListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port()
}

/// A server of somebody else in a process of its own.
pub struct Server {
    program: PathBuf,
    args: Vec<String>,
    pub port: u16,
    child: Option<Child>,
}

impl Server {
    pub fn new(program: &str, args: Vec<String>, port: u16) -> Self {
        let places = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/usr/local/sbin"];
        let found = places.iter().map(|place| Path::new(place).join(program)).find(|path| path.exists());
        let program = found.unwrap_or_else(|| panic!("{program} is missing: cargo xtask install"));
        Self { program, args, port, child: None }
    }

    pub async fn start(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("started"));
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        wait_until("the server listens", || async move { TcpStream::connect(address).await.is_ok() }).await;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
