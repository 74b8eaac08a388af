//! Reading quarantine again: frames that an older release could not use, rows of the lake or facts of the journal, for a
//! stopped node. What can be read now is stored exactly once, and counts as stored from then on (I1).

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use remuda_eventsourcing::{Journal, JournalError, NewEvent};
use remuda_lake::{Lake, LakeError, Row, RowBody};
use remuda_model::{Incarnation, Lane, OrganizationId, SHARDS, Seq, ShardId, VehicleId};

use crate::command::Command;
use crate::decide::decide;
use crate::event::{Place, VehicleEvent, stream_of};
use crate::evolve::evolve;
use crate::geofences::{Fences, Surroundings};
use crate::reception::{Taken, read};
use crate::rules::RuleSettings;
use crate::state::VehicleState;
use crate::vehicle::{Context, Vehicle, rows_of};

// Events read at a time.
const PAGE: usize = 1_000;
// Bytes of frames that one transaction takes, and how many frames.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
const BATCH_FRAMES_MAX: usize = 5_000;

/// Why it could not be done. What was committed before stays so; run it again.
#[derive(Debug, thiserror::Error)]
pub enum ReprocessError {
    /// The journal.
    #[error("the journal could not be read")]
    Journal(#[from] JournalError),
    /// The lake, or the commit.
    #[error("the frames could not be read or stored")]
    Lake(#[from] LakeError),
    /// The stream and the lake disagree.
    #[error("the stream of {0} does not hold what its quarantine says; run remuda journal verify")]
    Stream(VehicleId),
}

type Key = (VehicleId, Lane, Incarnation, Seq);

/// A frame in quarantine.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Whose.
    pub organization: OrganizationId,
    /// Whose vehicle's.
    pub vehicle: VehicleId,
    /// On which lane.
    pub lane: Lane,
    /// Start of the agent that made it.
    pub incarnation: Incarnation,
    /// Which.
    pub seq: Seq,
    /// Why it could not be used.
    pub reason: String,
    /// When the cloud received it, ms since 1970 UTC; 0 on the events lane.
    pub received_ms: i64,
    /// The frame as it came.
    pub raw: Bytes,
}

impl Found {
    fn key(&self) -> Key {
        (self.vehicle, self.lane, self.incarnation, self.seq)
    }

    /// What this release makes of it; none when it can still not be used.
    fn taken(&self) -> Option<Taken> {
        read(self.lane, self.seq, &self.raw).filter(|taken| matches!(taken, Taken::Frame { .. }))
    }

    /// Could this release use it?
    pub fn is_readable(&self) -> bool {
        self.taken().is_some()
    }
}

/// What became of quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Frames that could be read now and were stored.
    pub reprocessed: u64,
    /// Frames that this release cannot use either.
    pub unreadable: u64,
}

/// Looks at every frame in quarantine that was not read since; stops when `look` says false.
///
/// # Errors
/// When journal or lake cannot be read.
pub async fn each_quarantined(
    journal: &dyn Journal,
    lake: &Lake,
    mut look: impl FnMut(Found) -> bool + Send,
) -> Result<(), ReprocessError> {
    let (events, done) = from_journal(journal).await?;
    let mut more = true;
    for found in events.into_iter().filter(|found| !done.contains(&found.key())) {
        more = more && look(found);
    }
    lake.for_each_row(|row| {
        let Some(found) = from_row(row).filter(|_| more) else { return };
        if !done.contains(&found.key()) {
            more = look(found);
        }
    })
    .await?;
    Ok(())
}

fn from_row(row: &Row) -> Option<Found> {
    let RowBody::Quarantine { reason, raw } = &row.body else { return None };
    Some(Found {
        organization: row.organization,
        vehicle: row.vehicle,
        lane: Lane::Samples,
        incarnation: row.incarnation,
        seq: row.seq,
        reason: reason.clone(),
        received_ms: row.receive_time_ms,
        raw: Bytes::from(raw.clone()),
    })
}

/// Frames of the events lane in quarantine, and frames of both lanes that were read since.
async fn from_journal(journal: &dyn Journal) -> Result<(Vec<Found>, HashSet<Key>), ReprocessError> {
    let (mut found, mut done) = (Vec::new(), HashSet::new());
    for shard in (0..SHARDS).filter_map(ShardId::new) {
        let mut after = 0;
        loop {
            let page = journal.read_feed(shard, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.position;
            for event in &page {
                let Ok(vehicle) = VehicleId::new(&event.event.stream.aggregate_id) else { continue };
                match VehicleEvent::open(&event.event) {
                    Some(VehicleEvent::Quarantined { place, reason, raw }) => found.push(Found {
                        organization: event.event.stream.organization,
                        vehicle,
                        lane: Lane::Events,
                        incarnation: place.incarnation,
                        seq: place.seq,
                        reason,
                        received_ms: event.event.time_ms,
                        raw: Bytes::from(raw),
                    }),
                    Some(VehicleEvent::Reprocessed { lane, place }) => {
                        done.insert((vehicle, lane, place.incarnation, place.seq));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok((found, done))
}

/// Stores every frame in quarantine that this release can use. Takes the shards it writes to: no node may run.
///
/// # Errors
/// When journal or lake fail. Each transaction is all or nothing, so whatever was stored is stored once; run it again.
pub async fn reprocess(journal: &dyn Journal, lake: &Lake, now_ms: i64) -> Result<Report, ReprocessError> {
    let mut report = Report::default();
    loop {
        let (mut batch, mut bytes, mut unreadable) = (Vec::new(), 0, 0);
        each_quarantined(journal, lake, |found| {
            if found.is_readable() {
                bytes += found.raw.len();
                batch.push(found);
            } else {
                unreadable += 1;
            }
            bytes < BATCH_BYTES_MAX && batch.len() < BATCH_FRAMES_MAX
        })
        .await?;
        if batch.is_empty() {
            report.unreadable = unreadable;
            return Ok(report);
        }
        report.reprocessed += batch.len() as u64;
        store(journal, lake, batch, now_ms).await?;
    }
}

async fn store(
    journal: &dyn Journal,
    lake: &Lake,
    batch: Vec<Found>,
    now_ms: i64,
) -> Result<(), ReprocessError> {
    let mut vehicles: BTreeMap<(OrganizationId, VehicleId), Vec<Found>> = BTreeMap::new();
    for found in batch {
        vehicles.entry((found.organization, found.vehicle)).or_default().push(found);
    }
    let mut shards: Vec<ShardId> = vehicles.keys().map(|(_, vehicle)| ShardId::of(vehicle)).collect();
    shards.sort_unstable();
    shards.dedup();
    // The epoch is raised before anything is read: whoever owned them before can write to them no more.
    let owners: Vec<_> = journal.acquire(&shards).await?.into_iter().map(|(owner, _)| owner).collect();
    let rules = RuleSettings::default();
    let forgotten = lake.tombstones().await?;
    let nowhere = Fences::default();
    let around = Surroundings { fences: &nowhere, home: None };
    let (mut rows, mut decisions) = (Vec::new(), Vec::new());
    for ((organization, vehicle), frames) in vehicles {
        let context = Context { organization, vehicle, rules: &rules, forgotten: &forgotten, around };
        let shard = ShardId::of(&vehicle);
        let mut state = state_of(journal, organization, &vehicle).await?;
        for found in frames {
            let Some(taken) = found.taken() else { continue };
            let place = Place { incarnation: found.incarnation, seq: found.seq };
            let fact = decide(&state, Command::Reprocess { lane: found.lane, place });
            let Ok(Some(fact)) = fact else { return Err(ReprocessError::Stream(vehicle)) };
            evolve(&mut state, &fact);
            if found.lane == Lane::Samples {
                rows_of(&context, found.incarnation, found.received_ms, taken, &mut rows);
            }
            let envelope = fact.envelope(stream_of(organization, &vehicle), state.version, now_ms);
            decisions.push((shard, NewEvent { actor: "remuda lake reprocess".to_owned(), ..envelope }));
        }
    }
    lake.commit_reprocessed(&owners, rows, &decisions).await?;
    Ok(())
}

/// A vehicle's state as its stream stands.
async fn state_of(
    journal: &dyn Journal,
    organization: OrganizationId,
    vehicle: &VehicleId,
) -> Result<VehicleState, JournalError> {
    let stream = stream_of(organization, vehicle);
    let snapshot = journal.snapshot(&stream).await?;
    let restored = snapshot.and_then(|snapshot| Vehicle::restore(&snapshot.state));
    let mut state = restored.map(|(vehicle, _)| vehicle.state).unwrap_or_default();
    loop {
        let events = journal.read_stream(&stream, state.version + 1, PAGE).await?;
        for event in &events {
            match VehicleEvent::open(&event.event) {
                Some(fact) => evolve(&mut state, &fact),
                None => state.version = event.event.version,
            }
        }
        if events.len() < PAGE {
            return Ok(state);
        }
    }
}
