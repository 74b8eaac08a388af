//! A whole vehicle domain in process, and scripted vehicles that speak the raw wire to it.
// Each test crate uses a part of it; and a test may unwrap.
#![allow(dead_code, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use remuda_contracts::uplink::{
    Arrival, ConnectionGeneration, Downlink, DownlinkError, DownlinkPort, Intake,
};
use remuda_eventsourcing::Journal;
use remuda_lake::{Lake, LakeSettings};
use remuda_model::{ConnectionId, Epoch, Incarnation, Lane, Seq, ShardId, SignalId, VehicleId, signal};
use remuda_vehicles::{VehicleMetrics, VehicleSettings, VehicleSystem};
use remuda_wire::{
    Ack, Body, Channel, ClockQuality, Column, Down, Event, Farewell, FarewellReason, FloorReason,
    FrameHeader, Frames, Hello, LaneState, SampleBlock, TimeUnit, Up, Welcome, frame,
};
use tokio::sync::mpsc;

pub const PATIENCE: Duration = Duration::from_secs(20);
static GENERATION: AtomicU64 = AtomicU64::new(1);

/// Settings with short times.
pub fn settings() -> VehicleSettings {
    VehicleSettings { restart_backoff: Duration::from_millis(20), ..VehicleSettings::default() }
}

pub async fn start(
    folder: &std::path::Path,
    journal: &Arc<dyn Journal>,
    settings: VehicleSettings,
) -> (VehicleSystem, VehicleMetrics, Arc<Lake>) {
    start_with_rounds(folder, journal, settings, 50).await
}

pub async fn start_with_rounds(
    folder: &std::path::Path,
    journal: &Arc<dyn Journal>,
    settings: VehicleSettings,
    round_interval_ms: u64,
) -> (VehicleSystem, VehicleMetrics, Arc<Lake>) {
    let lake = LakeSettings {
        root: folder.to_path_buf(),
        round_interval_ms,
        round_bytes_max: 32 * 1024 * 1024,
        checkpoint_interval_ms: 60_000,
    };
    let lake = Arc::new(Lake::open(lake, Arc::clone(journal)).await.unwrap());
    let metrics = VehicleMetrics::default();
    let system = VehicleSystem::start(settings, Arc::clone(journal), Arc::clone(&lake), metrics.clone())
        .await
        .unwrap();
    (system, metrics, lake)
}

/// Waits for a condition.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

struct Port(mpsc::Sender<Bytes>, Arc<AtomicBool>);

impl DownlinkPort for Port {
    fn send(&self, payload: Bytes) -> Result<(), DownlinkError> {
        self.0.try_send(payload).map_err(|_| DownlinkError::Full)
    }
    fn kick(&self, _: &'static str) {
        self.1.store(true, Relaxed);
    }
}

/// A vehicle that says what it is told to say.
pub struct Scripted {
    pub vehicle: VehicleId,
    pub intake: Arc<dyn Intake>,
    pub incarnation: Incarnation,
    pub counter: u32,
    pub generation: ConnectionGeneration,
    pub kicked: Arc<AtomicBool>,
    down: mpsc::Receiver<Bytes>,
}

impl Scripted {
    /// A vehicle with a connection, not greeted yet.
    pub async fn connect(intake: &Arc<dyn Intake>, name: &str, incarnation: u64) -> Self {
        let (_, down) = mpsc::channel(1);
        let mut scripted = Self {
            vehicle: VehicleId::new(name).unwrap(),
            intake: Arc::clone(intake),
            incarnation: Incarnation(incarnation),
            counter: 0,
            generation: ConnectionGeneration(0),
            kicked: Arc::default(),
            down,
        };
        scripted.reconnect().await;
        scripted
    }

    pub async fn reconnect(&mut self) {
        let (up, down) = mpsc::channel(1_024);
        self.down = down;
        self.counter += 1;
        self.kicked = Arc::default();
        self.generation = ConnectionGeneration(GENERATION.fetch_add(1, Relaxed));
        let downlink = Downlink::new(Arc::new(Port(up, Arc::clone(&self.kicked))));
        let (generation, vehicle) = (self.generation, self.vehicle);
        self.offer(Arrival::Connected { generation, vehicle, downlink }).await;
    }

    pub async fn disconnect(&self, generation: ConnectionGeneration) {
        self.offer(Arrival::Disconnected { generation, vehicle: self.vehicle }).await;
    }

    pub async fn offer(&self, arrival: Arrival) {
        self.intake.offer(ShardId::of(&self.vehicle), arrival).await.unwrap();
    }

    pub async fn payload(&self, generation: ConnectionGeneration, channel: Channel, payload: Vec<u8>) {
        let received_ms = now_ms();
        let payload = Bytes::from(payload);
        let vehicle = self.vehicle;
        self.offer(Arrival::Payload { generation, vehicle, channel, payload, received_ms, trace: None })
            .await;
    }

    pub fn connection(&self) -> ConnectionId {
        ConnectionId { incarnation: self.incarnation, counter: self.counter }
    }

    pub fn hello(&self, lanes: Vec<LaneState>) -> Hello {
        Hello {
            connection: self.connection(),
            wire_min: 1,
            wire_max: 1,
            agent_version: "test".into(),
            boot: 1,
            registry: 1,
            registry_hash: 0,
            lanes,
            highest_epoch: Epoch(0),
            open_commands: vec![],
            policy_revision: 0,
            clock: ClockQuality::Gnss,
        }
    }

    /// Says Hello and does not wait.
    pub async fn say_hello(&self) {
        let hello = Up::Hello(self.hello(vec![]));
        self.payload(self.generation, Channel::Session, hello.encode()).await;
    }

    /// Says Hello and waits for the Welcome.
    pub async fn greet(&mut self, lanes: Vec<LaneState>) -> Welcome {
        let hello = Up::Hello(self.hello(lanes));
        self.payload(self.generation, Channel::Session, hello.encode()).await;
        loop {
            if let Down::Welcome(welcome) = self.hear().await {
                assert_eq!(welcome.connection, self.connection());
                return welcome;
            }
        }
    }

    pub async fn farewell(&self, generation: ConnectionGeneration, connection: ConnectionId) {
        let farewell = Up::Farewell(Farewell { connection, reason: FarewellReason::Lost });
        self.payload(generation, Channel::Session, farewell.encode()).await;
    }

    /// The next message down; `None` when the connection has ended.
    pub async fn hear_any(&mut self) -> Option<Down> {
        self.down.recv().await.map(|payload| Down::decode(&payload).unwrap())
    }

    /// The next message down.
    pub async fn hear(&mut self) -> Down {
        let payload = tokio::time::timeout(PATIENCE, self.down.recv()).await;
        Down::decode(&payload.expect("a message down").expect("the downlink is open")).unwrap()
    }

    /// Waits for an Ack that the predicate takes.
    pub async fn ack(&mut self, lane: Lane, mut wanted: impl FnMut(&Ack) -> bool) -> Ack {
        loop {
            if let Down::Ack(ack) = self.hear().await
                && ack.ack.lane == lane
                && wanted(&ack)
            {
                return ack;
            }
        }
    }

    pub async fn durable(&mut self, lane: Lane, seq: Seq) -> Ack {
        self.ack(lane, |ack| ack.ack.durable >= seq).await
    }

    pub async fn frames(&self, lane: Lane, first_seq: Seq, frames: Vec<Vec<u8>>) {
        self.frames_with_floor(lane, first_seq, (1, FloorReason::Acked), frames).await;
    }

    pub async fn frames_with_floor(
        &self,
        lane: Lane,
        first_seq: Seq,
        (floor, floor_reason): (Seq, FloorReason),
        frames: Vec<Vec<u8>>,
    ) {
        let incarnation = self.incarnation;
        let frames = frames.into_iter().map(Bytes::from).collect();
        let message = Up::Frames(Frames { lane, incarnation, floor, floor_reason, first_seq, frames });
        self.payload(self.generation, Channel::Lane(lane), message.encode()).await;
    }

    /// Sends one samples frame a value list.
    pub async fn samples(&self, first_seq: Seq, values: &[&[(SignalId, f64)]]) {
        let frames = values.iter().zip(first_seq..).map(|(values, seq)| samples(seq, values)).collect();
        self.frames(Lane::Samples, first_seq, frames).await;
    }
}

pub fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

pub fn header(seq: Seq) -> FrameHeader {
    FrameHeader {
        seq,
        boot: 1,
        mono_ms: seq * 1_000,
        wall_ms: Some(now_ms()),
        clock: ClockQuality::Gnss,
        registry: 1,
        trace: None,
    }
}

/// A frame of one row.
pub fn samples(seq: Seq, values: &[(SignalId, f64)]) -> Vec<u8> {
    let mut columns: Vec<Column> = values
        .iter()
        .map(|(id, value)| Column {
            signal: *id,
            values: vec![Some(signal::by_id(*id).unwrap().to_raw(*value))],
        })
        .collect();
    columns.sort_by_key(|column| column.signal);
    let block = SampleBlock { unit: TimeUnit::Millisecond, offsets: vec![0], columns };
    frame::encode(&header(seq), &Body::Samples(block))
}

pub fn event(seq: Seq, version: &str) -> Vec<u8> {
    frame::encode(&header(seq), &Body::Event(Event::Started { agent_version: version.into() }))
}
