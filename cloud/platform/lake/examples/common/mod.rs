//! What both examples need: a lake whose rounds are covered at once, and vehicles that drive.

#![allow(dead_code, reason = "each example takes what it needs")]

use std::error::Error;
use std::io::BufRead as _;
use std::path::Path;

use bytes::Bytes;
use rand::prelude::*;
use remuda_eventsourcing::{Journal, ManifestPosition, Owner};
use remuda_lake::{Answer, Contribution, RoundListener, Row, RowBody};
use remuda_model::{IdError, Incarnation, OrganizationId, SHARDS, ShardId, SignalId, VehicleId};
use serde::Deserialize;

/// 2023-11-14T00:00:00Z.
pub const BEGIN_MS: i64 = 1_699_920_000_000;
pub const HOUR_MS: i64 = 3_600_000;
pub const MS_NS: i64 = 1_000_000;

/// Everything is covered at once.
pub struct Covered;

impl RoundListener for Covered {
    fn answered(&self, _: ShardId, _: ManifestPosition, _: Vec<Answer>) {}
    fn replay_floor(&self, _: ShardId) -> ManifestPosition {
        ManifestPosition::MAX
    }
    fn shard_lost(&self, _: ShardId) {}
}

/// Takes every shard.
pub async fn owners(journal: &dyn Journal) -> Result<Vec<Owner>, Box<dyn Error>> {
    let shards: Vec<ShardId> = (0..SHARDS).filter_map(ShardId::new).collect();
    Ok(journal.acquire(&shards).await?.into_iter().map(|(owner, _)| owner).collect())
}

pub fn vehicle(n: usize) -> Result<VehicleId, IdError> {
    VehicleId::new(&format!("V{n:06}"))
}

/// The first line of a recording.
#[derive(Deserialize)]
struct Head {
    vehicles: usize,
    seconds: usize,
    signals: Vec<u16>,
}

/// What `record_drive` of `remuda-world` has written: a value for each vehicle, second and signal.
pub struct Drive {
    pub vehicles: usize,
    pub seconds: usize,
    pub signals: Vec<SignalId>,
    values: Bytes,
}

impl Drive {
    pub fn read(file: &Path) -> Result<Self, Box<dyn Error>> {
        let all = Bytes::from(std::fs::read(file)?);
        let mut line = String::new();
        let taken = (&all[..]).read_line(&mut line)?;
        let Head { vehicles, seconds, signals } = serde_json::from_str(&line)?;
        let values = all.slice(taken..);
        if values.len() != vehicles * seconds * signals.len() * 4 {
            return Err("the recording is not as long as its first line says".into());
        }
        Ok(Self { vehicles, seconds, signals: signals.into_iter().map(SignalId).collect(), values })
    }

    /// The signals of a vehicle in a second; it drives the same again when the recording ends, and a vehicle beyond those
    /// recorded drives as one of them does, at another time.
    pub fn values(&self, vehicle: usize, second: usize) -> impl Iterator<Item = (SignalId, i64)> + '_ {
        let second = (second + vehicle / self.vehicles * 997) % self.seconds;
        let row = (vehicle % self.vehicles) * self.seconds + second;
        let width = self.signals.len();
        self.signals.iter().enumerate().map(move |(i, id)| {
            let at = (row * width + i) * 4;
            let bytes = [0, 1, 2, 3].map(|byte| self.values[at + byte]);
            (*id, i64::from(i32::from_le_bytes(bytes)))
        })
    }
}

/// A row: the vehicle takes it once a second, some milliseconds early or late.
pub fn row(
    id: VehicleId,
    second: u64,
    values: impl Iterator<Item = (SignalId, i64)>,
    random: &mut StdRng,
) -> Row {
    let at_ms = BEGIN_MS + second as i64 * 1_000 + random.random_range(0..5);
    // The clock of the boot and that of the wall go alike.
    let mono_ms = (at_ms - BEGIN_MS) as u64 + 86_400_000;
    Row {
        organization: OrganizationId::default(),
        vehicle: id,
        incarnation: Incarnation(7),
        seq: second + 1,
        row_in_frame: 0,
        boot: 1,
        mono_ns: mono_ms * 1_000_000,
        sample_time_ns: Some(at_ms * MS_NS),
        receive_time_ms: at_ms + random.random_range(40..120),
        commit: 0,
        body: RowBody::Samples(values.collect()),
    }
}

/// Rows of one vehicle on their way into a round.
pub fn contribution(rows: Vec<Row>, vehicle: VehicleId) -> Contribution {
    let shard = ShardId::of(&vehicle);
    Contribution { shard, vehicle, ticket: 0, rows, decisions: Vec::new(), bytes: 1 }
}
