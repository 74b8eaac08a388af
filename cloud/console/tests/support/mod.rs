//! A fleet that does not exist, behind the port that the console reads: vehicles drive round a made-up town.

#![allow(dead_code, missing_docs)]

pub mod alerts;
pub mod geofences;
pub mod history;
pub mod http;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use remuda_console::{ConsoleMetrics, ConsoleSources, Identities};
use remuda_contracts::commands::{CommandDesk, CommandError, CommandRequest, CommandState, CommandView};
use remuda_contracts::fleet::{
    AlertView, FleetChange, FleetView, Position, Presence, TwinValue, TwinView, VehicleSummary,
};
use remuda_contracts::policies::{
    Impact, PolicyBook, PolicyChange, PolicyRefusal, PolicyStatus, PolicyView, Target,
};
use remuda_contracts::system::ProcessFigures;
use remuda_model::signal::{REGISTRY, SignalDef, SignalKind};
use remuda_model::{OrganizationId, VehicleId};
use tokio::sync::broadcast;

/// The town's middle, degrees.
const CENTRE: (f64, f64) = (60.1710, 24.9410);
/// Streets each way, and the distance between them, degrees of latitude.
const STREETS: i32 = 24;
const BLOCK: f64 = 0.0011;

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

/// Streets are twice as long a degree of longitude at 60° north.
fn place(east: f64, north: f64) -> (i32, i32) {
    let half = f64::from(STREETS) / 2.0;
    let latitude = CENTRE.0 + (north - half) * BLOCK;
    let longitude = CENTRE.1 + (east - half) * BLOCK * 2.0;
    ((latitude * 1e7) as i32, (longitude * 1e7) as i32)
}

#[derive(Clone)]
struct Line {
    summary: VehicleSummary,
    /// In blocks.
    at: (f64, f64),
    direction: usize,
    kmh: f32,
}

const DIRECTIONS: [(f64, f64, f32); 4] =
    [(0.0, 1.0, 0.0), (1.0, 0.0, 90.0), (0.0, -1.0, 180.0), (-1.0, 0.0, 270.0)];

/// See the module.
pub struct FakeFleet {
    lines: RwLock<BTreeMap<VehicleId, Line>>,
    changes: broadcast::Sender<FleetChange>,
    twin_delay: RwLock<Option<Duration>>,
    organization: OrganizationId,
}

fn mix(mut n: u64) -> u64 {
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

impl FakeFleet {
    pub fn new(vehicles: usize) -> Self {
        let organization = OrganizationId::default();
        let lines = (0..vehicles as u64).map(|n| {
            let vehicle = VehicleId::new(&format!("V{n:06}")).expect("digits are permitted in ids");
            let draw = mix(n + 1);
            let at = ((draw % STREETS as u64) as f64, ((draw >> 16) % STREETS as u64) as f64);
            let online = !draw.is_multiple_of(11);
            let (latitude_e7, longitude_e7) = place(at.0, at.1);
            let summary = VehicleSummary {
                organization,
                vehicle,
                presence: if online { Presence::Online } else { Presence::Offline },
                last_seen_ms: now_ms() - if online { 0 } else { 3_600_000 },
                position: Some(Position { latitude_e7, longitude_e7, heading_deg: 0.0, speed_kmh: 0.0 }),
                charge_percent: Some((draw >> 32) as f32 % 100.0),
                open_alerts: u16::from((draw >> 40).is_multiple_of(37)),
                revision: 1,
            };
            (
                vehicle,
                Line { summary, at, direction: (draw >> 8) as usize % 4, kmh: 20.0 + (draw % 40) as f32 },
            )
        });
        let lines = lines.collect();
        Self {
            lines: RwLock::new(lines),
            changes: broadcast::channel(16).0,
            twin_delay: RwLock::default(),
            organization,
        }
    }

    /// Makes reads of twins slow.
    pub fn answer_twins_after(&self, delay: Option<Duration>) {
        *self.twin_delay.write() = delay;
    }

    /// Moves all that are online, for ever.
    pub async fn drive(self: Arc<Self>, step: Duration) {
        let mut tick = tokio::time::interval(step);
        let mut count = 0;
        loop {
            tick.tick().await;
            count += 1;
            self.step(step.as_secs_f32(), count);
        }
    }

    fn step(&self, seconds: f32, count: u64) {
        let mut changed = Vec::new();
        for (n, line) in self.lines.write().values_mut().enumerate() {
            if line.summary.presence != Presence::Online {
                continue;
            }
            let draw = mix(n as u64 ^ (count / 12).wrapping_mul(7919));
            let stands = draw.is_multiple_of(5);
            let kmh = if stands { 0.0 } else { line.kmh };
            // A block is 122 m.
            let blocks = f64::from(kmh / 3.6 * seconds / 122.0);
            let (east, north, _) = DIRECTIONS[line.direction];
            let before = line.at;
            line.at = (before.0 + east * blocks, before.1 + north * blocks);
            let crossed = before.0.floor() != line.at.0.floor() || before.1.floor() != line.at.1.floor();
            let edge = f64::from(STREETS - 1);
            let outside = !(0.0..=edge).contains(&line.at.0) || !(0.0..=edge).contains(&line.at.1);
            if outside {
                line.at = (line.at.0.clamp(0.0, edge), line.at.1.clamp(0.0, edge));
                line.direction = (line.direction + 2) % 4;
            } else if crossed && draw.is_multiple_of(3) {
                line.at = (line.at.0.round(), line.at.1.round());
                line.direction = (line.direction + 1 + (draw as usize >> 7) % 2 * 2) % 4;
            }
            let (latitude_e7, longitude_e7) = place(line.at.0, line.at.1);
            let heading_deg = DIRECTIONS[line.direction].2;
            line.summary.position = Some(Position { latitude_e7, longitude_e7, heading_deg, speed_kmh: kmh });
            line.summary.last_seen_ms = now_ms();
            line.summary.revision += 1;
            changed.push(line.summary.clone());
        }
        // Nobody may be listening.
        let _ = self.changes.send(FleetChange { vehicles: changed.into() });
    }

    /// Changes one vehicle and tells of it.
    pub fn change(&self, vehicle: &str, edit: impl FnOnce(&mut VehicleSummary)) {
        let id = VehicleId::new(vehicle).expect("a test's vehicle id");
        let mut lines = self.lines.write();
        let line = lines.get_mut(&id).expect("a vehicle of this fleet");
        edit(&mut line.summary);
        line.summary.revision += 1;
        let _ = self.changes.send(FleetChange { vehicles: vec![line.summary.clone()].into() });
    }
}

#[async_trait]
impl FleetView for FakeFleet {
    async fn twin(&self, organization: &OrganizationId, vehicle: &VehicleId) -> Option<TwinView> {
        if *organization != self.organization {
            return None;
        }
        let delay = *self.twin_delay.read();
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        let summary = self.lines.read().get(vehicle)?.summary.clone();
        let seen = summary.last_seen_ms;
        let values =
            REGISTRY.iter().enumerate().filter(|(n, _)| n % 3 == 0 || *n < 12).map(|(n, def)| TwinValue {
                signal: def.id,
                raw: raw_of(def, &summary),
                sampled_ms: seen - (n as i64 % 5) * n as i64 * 900,
            });
        let alerts = (0..summary.open_alerts).map(|_| AlertView {
            rule: "low-charge".into(),
            raised_ms: seen - 95_000,
            value: f64::from(summary.charge_percent.unwrap_or_default()),
            of_geofence: false,
        });
        Some(TwinView {
            values: values.collect(),
            alerts: alerts.collect(),
            frames_durable: summary.revision * 3,
            frames_in_gaps: 0,
            frames_quarantined: 1,
            refusals: vec![("unknown-version".into(), 1)],
            detail: remuda_contracts::fleet::VehicleDetail::default(),
            summary,
        })
    }

    fn list(
        &self,
        organization: &OrganizationId,
        after: Option<&VehicleId>,
        limit: usize,
        matches: &(dyn Fn(&VehicleSummary) -> bool + Sync),
    ) -> Vec<VehicleSummary> {
        if *organization != self.organization {
            return Vec::new();
        }
        let lines = self.lines.read();
        let rest = lines.iter().filter(|(id, _)| after.is_none_or(|after| *id > after));
        rest.map(|(_, line)| &line.summary).filter(|s| matches(s)).take(limit).cloned().collect()
    }

    fn count(&self, organization: &OrganizationId) -> usize {
        if *organization == self.organization { self.lines.read().len() } else { 0 }
    }

    fn changes(&self) -> broadcast::Receiver<FleetChange> {
        self.changes.subscribe()
    }
}

/// Something plausible.
fn raw_of(def: &SignalDef, summary: &VehicleSummary) -> i64 {
    let position = summary.position.unwrap_or_default();
    let physical = match def.path {
        "Vehicle.CurrentLocation.Latitude" => f64::from(position.latitude_e7) / 1e7,
        "Vehicle.CurrentLocation.Longitude" => f64::from(position.longitude_e7) / 1e7,
        "Vehicle.CurrentLocation.Heading" => f64::from(position.heading_deg),
        "Vehicle.Speed" => f64::from(position.speed_kmh),
        path if path.ends_with("StateOfCharge.Current") => {
            f64::from(summary.charge_percent.unwrap_or_default())
        }
        path if path.contains("Acceleration") || path.contains("AngularVelocity") => 0.12,
        _ => match def.kind {
            SignalKind::Number => 20.0 + f64::from(def.id.0),
            SignalKind::Boolean => return i64::from(def.id.0 % 2),
            SignalKind::Enumeration(names) => return i64::from(def.id.0) % names.len() as i64,
        },
    };
    (physical / def.scale).round() as i64
}

/// The town's streets.
pub fn roads() -> Bytes {
    let degrees = |(latitude, longitude): (i32, i32)| {
        format!("[{:.6},{:.6}]", f64::from(longitude) / 1e7, f64::from(latitude) / 1e7)
    };
    let end = f64::from(STREETS - 1);
    let mut features = Vec::new();
    for n in 0..STREETS {
        let at = f64::from(n);
        let class = match n % 6 {
            0 => "primary",
            3 => "secondary",
            _ => "residential",
        };
        for (from, to) in [(place(at, 0.0), place(at, end)), (place(0.0, at), place(end, at))] {
            features.push(format!(
                r#"{{"type":"Feature","properties":{{"class":"{class}"}},"geometry":{{"type":"LineString","coordinates":[{},{}]}}}}"#,
                degrees(from),
                degrees(to)
            ));
        }
    }
    Bytes::from(format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(",")))
}

/// A book that keeps what it is told, and whose changes touch 3 vehicles, 2 of them online.
#[derive(Default)]
pub struct FakeBook(std::sync::Mutex<Vec<PolicyView>>);

#[async_trait::async_trait]
impl PolicyBook for FakeBook {
    fn list(&self, _: &OrganizationId) -> Vec<PolicyView> {
        self.0.lock().expect("nobody panicked").clone()
    }

    async fn change(
        &self,
        _: &OrganizationId,
        change: PolicyChange,
        who: &str,
        dry_run: bool,
    ) -> Result<Impact, PolicyRefusal> {
        let mut kept = self.0.lock().expect("nobody panicked");
        let impact = Impact { vehicles: 3, online: 2 };
        match change {
            PolicyChange::Set { document, .. } if document.is_empty() => {
                return Err(PolicyRefusal::Document("the policy is not valid".into()));
            }
            PolicyChange::Set { expected: Some(5), .. } => return Err(PolicyRefusal::Changed(1)),
            PolicyChange::Set { name, document, .. } if !dry_run => kept.push(PolicyView {
                name,
                document,
                revision: 1,
                changed_ms: 1_700_000_000_000,
                changed_by: who.to_owned(),
                all: false,
                prefixes: vec![],
                vehicles: vec![],
            }),
            PolicyChange::Assign { target: Target::Prefix(prefix), .. } if !dry_run => {
                kept.iter_mut().for_each(|policy| policy.prefixes.push(prefix.clone()));
            }
            PolicyChange::Delete { name, .. } => return Err(PolicyRefusal::Assigned(name)),
            _ => {}
        }
        Ok(impact)
    }

    fn status(&self, _: &OrganizationId, name: Option<&str>) -> Option<PolicyStatus> {
        let known =
            name.is_some_and(|name| self.list(&OrganizationId::default()).iter().any(|p| p.name == name));
        let vehicle = VehicleId::new("V0001").expect("an id");
        known.then(|| PolicyStatus {
            desired: 3,
            applied: 1,
            refused: 1,
            pending: 1,
            refusals: vec![(vehicle, "no room".into())],
            waiting: vec![vehicle],
        })
    }
}

/// Commands of one vehicle, V0001, that somebody else moves on.
#[derive(Default)]
pub struct FakeDesk {
    kept: Mutex<Vec<CommandView>>,
    changes: OnceLock<broadcast::Sender<CommandView>>,
}

impl FakeDesk {
    fn channel(&self) -> &broadcast::Sender<CommandView> {
        self.changes.get_or_init(|| broadcast::Sender::new(16))
    }

    /// Changes the newest command as its vehicle would.
    pub fn move_on(&self, state: CommandState, detail: &str) {
        let mut kept = self.kept.lock();
        let command = kept.last_mut().expect("a command was given");
        command.state = state;
        command.detail = detail.to_owned();
        // Nobody may be watching.
        let _ = self.channel().send(command.clone());
    }
}

#[async_trait]
impl CommandDesk for FakeDesk {
    async fn queue(
        &self,
        _: &OrganizationId,
        vehicle: &VehicleId,
        request: CommandRequest,
    ) -> Result<CommandView, CommandError> {
        if vehicle.as_str() != "V0001" {
            return Err(CommandError::NoSuchVehicle);
        }
        if request.reason.is_empty() {
            return Err(CommandError::Refused { code: "bad_text", sentence: "say why".into() });
        }
        let view = CommandView {
            id: format!("{:032x}", self.kept.lock().len()),
            vehicle: *vehicle,
            kind: request.kind,
            reason: request.reason,
            requested_by: request.requested_by,
            request_id: request.request_id,
            queued_ms: 1_000,
            expires_ms: 1_000 + request.ttl_ms,
            state: CommandState::Queued,
            detail: String::new(),
            changed_ms: 1_000,
            sends: 0,
        };
        if !request.validate_only {
            self.kept.lock().push(view.clone());
        }
        Ok(view)
    }

    async fn cancel(
        &self,
        _: &OrganizationId,
        _: &VehicleId,
        _: &str,
        _: &str,
        _: &str,
    ) -> Result<CommandView, CommandError> {
        Err(CommandError::Refused { code: "command_already_sent", sentence: "too late".into() })
    }

    async fn list(&self, _: &OrganizationId, _: &VehicleId) -> Result<Vec<CommandView>, CommandError> {
        Ok(self.kept.lock().iter().rev().cloned().collect())
    }

    fn changes(&self) -> broadcast::Receiver<CommandView> {
        self.channel().subscribe()
    }
}

/// An empty register. Its folder is gone at once; the open file serves as long as the register does.
pub fn identities() -> Identities {
    let folder = tempfile::tempdir().expect("a folder");
    let register = Arc::new(remuda_identity::Register::open(folder.path()).expect("a register"));
    Identities { register, fingerprint: [7; 32], token_valid_ms: 86_400_000 }
}

/// An empty audit log. Its folder is gone at once; the open file serves as long as the log does.
pub fn audit() -> Arc<remuda_audit::AuditLog> {
    let folder = tempfile::tempdir().expect("a folder");
    Arc::new(remuda_audit::AuditLog::open(folder.path()).expect("a log"))
}

/// What a console needs, from a fake fleet.
pub fn sources(fleet: &Arc<FakeFleet>) -> ConsoleSources {
    let metrics = ConsoleMetrics::default();
    let mut registry = prometheus_client::registry::Registry::default();
    metrics.register(&mut registry);
    let roads = roads();
    ConsoleSources {
        view: Arc::clone(fleet) as Arc<dyn FleetView>,
        policies: Arc::new(FakeBook::default()),
        commands: Arc::new(FakeDesk::default()),
        alerts: Arc::new(alerts::FakeAlerts::default()),
        history: Arc::new(history::FakeHistory::default()),
        audit: audit(),
        geofences: Arc::new(geofences::FakeGeofences::default()),
        feeds: None,
        business: None,
        operations: None,
        assistance: None,
        identities: identities(),
        roads: Arc::new(move || Some(roads.clone())),
        metrics_text: Arc::new(move || {
            let mut text = String::new();
            let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
            text
        }),
        ready: Arc::new(|| Ok(None)),
        process: Arc::new(ProcessFigures::default),
        metrics,
    }
}
