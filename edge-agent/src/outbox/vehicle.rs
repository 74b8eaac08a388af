//! One vehicle's part of a log.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use remuda_edge_agent_core::{Held, Record, ShedUntil};
use remuda_model::{Incarnation, Lane, Seq, VehicleId};
use remuda_wire::{FloorReason, frame};
use tokio::sync::watch;

use super::error::OutboxError;
use super::index::Place;
use super::record::{self, Kind, ShedRange, StreamKey};
use super::store::{Group, Shared, Store};

/// Handle of one vehicle's agent.
#[derive(Clone)]
pub struct VehicleOutbox {
    shared: Arc<Shared>,
    vehicle: VehicleId,
    incarnation: Incarnation,
}

impl std::fmt::Debug for VehicleOutbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VehicleOutbox").field("vehicle", &self.vehicle).finish_non_exhaustive()
    }
}

/// What an agent finds at its start.
#[derive(Debug)]
pub struct Opened {
    /// The handle.
    pub outbox: VehicleOutbox,
    /// Earlier incarnations that still hold frames, older first.
    pub held: Vec<Held>,
    /// The small state saved last.
    pub state: Option<Vec<u8>>,
}

impl Store {
    /// Begins a new incarnation of a vehicle.
    pub fn vehicle(&self, vehicle: VehicleId, incarnation: Incarnation) -> Result<Opened, OutboxError> {
        let mut inner = self.shared.lock();
        inner.check()?;
        let mut held = Vec::new();
        let mut state = None;
        if let Some(known) = inner.index.by_vehicle.get(&vehicle) {
            state.clone_from(&known.state);
            for number in &known.streams {
                let stream = &inner.index.streams[*number as usize];
                if !stream.places.is_empty() {
                    let StreamKey { lane, incarnation, .. } = stream.key;
                    let (floor, floor_reason, made) = (stream.floor, stream.reason, stream.made);
                    held.push(Held { lane, incarnation, floor, floor_reason, made });
                }
            }
        }
        for lane in Lane::ALL {
            inner.index.stream(StreamKey { vehicle, lane, incarnation });
        }
        drop(inner);
        let outbox = VehicleOutbox { shared: Arc::clone(&self.shared), vehicle, incarnation };
        Ok(Opened { outbox, held, state })
    }
}

impl VehicleOutbox {
    fn key(&self, lane: Lane, incarnation: Incarnation) -> StreamKey {
        StreamKey { vehicle: self.vehicle, lane, incarnation }
    }

    /// Appends frames of this incarnation. They are durable once [`VehicleOutbox::committed`] reaches the answer.
    pub fn append(
        &self,
        lane: Lane,
        first: Seq,
        frames: &[Bytes],
        at_once: bool,
    ) -> Result<Group, OutboxError> {
        let mut inner = self.shared.lock_for_append()?;
        let (number, _) = inner.index.stream(self.key(lane, self.incarnation));
        for (n, frame) in frames.iter().enumerate() {
            let place = inner.put(Kind::Frame, number, first + n as u64, frame)?;
            inner.index.push(number, place);
        }
        Ok(self.shared.appended(inner, at_once))
    }

    /// Makes the agent's small state durable, at once.
    pub fn save_state(&self, state: Vec<u8>) -> Result<Group, OutboxError> {
        let mut inner = self.shared.lock_for_append()?;
        let (number, _) = inner.index.stream(self.key(Lane::Events, self.incarnation));
        inner.put(Kind::State, number, 0, &record::sealed_bytes(state.clone()))?;
        inner.index.by_vehicle.entry(self.vehicle).or_default().state = Some(state);
        Ok(self.shared.appended(inner, true))
    }

    /// The newest group that is durable. Its sender is gone, or it stands still, when the log failed: see
    /// [`VehicleOutbox::check`].
    pub fn committed(&self) -> watch::Receiver<Group> {
        self.shared.subscribe()
    }

    /// Did a write fail?
    pub fn check(&self) -> Result<(), OutboxError> {
        self.shared.lock().check()
    }

    /// Bytes this vehicle's frames take.
    pub fn bytes(&self) -> u64 {
        self.shared.lock().index.vehicle_bytes(self.vehicle)
    }

    /// Reads contiguous records from `from`, at least one when there is one, with their checksums checked.
    pub fn read(
        &self,
        lane: Lane,
        incarnation: Incarnation,
        from: Seq,
        to: Seq,
        bytes_max: usize,
    ) -> Result<Vec<Record>, OutboxError> {
        let mut wanted = Vec::new();
        {
            let mut inner = self.shared.lock();
            let Some(stream) = inner.index.find(self.key(lane, incarnation)) else { return Ok(Vec::new()) };
            let places: Vec<Place> = (from..=to).map_while(|seq| stream.place(seq)).collect();
            let mut bytes = 0;
            for place in places {
                let damaged = place == Place::DAMAGED;
                bytes += if damaged { 0 } else { place.length() };
                if !wanted.is_empty() && bytes > bytes_max {
                    break;
                }
                let file =
                    (!damaged).then(|| inner.open_file(&self.shared.dir, place.segment()).ok()).flatten();
                wanted.push((place, file));
            }
        }
        Ok(wanted.into_iter().map(|(place, file)| read_one(place, file.as_deref())).collect())
    }

    /// Everything up to `up_to` is safe in the cloud. The disk learns of it when it matters.
    pub fn trim(&self, lane: Lane, incarnation: Incarnation, up_to: Seq) {
        let mut inner = self.shared.lock();
        let (number, new) = inner.index.stream(self.key(lane, incarnation));
        debug_assert!(!new, "only what was held can be trimmed");
        inner.index.raise_floor(number, up_to + 1, FloorReason::Acked);
    }

    /// Chooses what to shed and writes the record of it. Once its group is durable, call
    /// [`VehicleOutbox::finish_shed`].
    pub fn shed(
        &self,
        lane: Lane,
        incarnation: Incarnation,
        until: ShedUntil,
        reason: FloorReason,
    ) -> Result<Option<(ShedRange, Group)>, OutboxError> {
        let Some((from, to)) = self.choose(lane, incarnation, until)? else { return Ok(None) };
        let mut inner = self.shared.lock_for_append()?;
        let (number, _) = inner.index.stream(self.key(lane, incarnation));
        let shed = ShedRange { from, to, reason };
        inner.put(Kind::Shed, number, 0, &record::sealed(&shed))?;
        let sheds = &mut inner.index.streams[number as usize].sheds;
        match sheds.last_mut().filter(|last| last.to + 1 == from && last.reason == reason) {
            Some(last) => last.to = to,
            None => sheds.push(shed),
        }
        Ok(Some((shed, self.shared.appended(inner, true))))
    }

    fn choose(
        &self,
        lane: Lane,
        incarnation: Incarnation,
        until: ShedUntil,
    ) -> Result<Option<(Seq, Seq)>, OutboxError> {
        let (floor, made, sizes) = {
            let inner = self.shared.lock();
            let Some(stream) = inner.index.find(self.key(lane, incarnation)) else { return Ok(None) };
            let sizes: Vec<u64> = match until {
                ShedUntil::Bytes(_) => stream.places.iter().map(|p| p.bytes()).collect(),
                ShedUntil::Before { .. } => Vec::new(),
            };
            (stream.floor, stream.made, sizes)
        };
        let mut last = None;
        match until {
            ShedUntil::Bytes(wanted) => {
                let mut freed = 0;
                for (n, size) in sizes.iter().enumerate() {
                    if freed >= wanted {
                        break;
                    }
                    freed += size;
                    last = Some(floor + n as u64);
                }
            }
            ShedUntil::Before { wall_ms } => {
                for seq in floor..=made {
                    let records = self.read(lane, incarnation, seq, seq, usize::MAX)?;
                    let old = match records.first() {
                        Some(Record::Frame(bytes)) => {
                            let wall = frame::decode(bytes).ok().and_then(|f| f.header.wall_ms);
                            wall.is_some_and(|w| w < wall_ms)
                        }
                        _ => false,
                    };
                    if !old {
                        break;
                    }
                    last = Some(seq);
                }
            }
        }
        Ok(last.map(|last| (floor, last)))
    }

    /// The record of a shed range is durable: its frames go.
    pub fn finish_shed(&self, lane: Lane, incarnation: Incarnation, shed: ShedRange) {
        let mut inner = self.shared.lock();
        let (number, _) = inner.index.stream(self.key(lane, incarnation));
        inner.index.raise_floor(number, shed.to + 1, shed.reason);
    }
}

fn read_one(place: Place, file: Option<&std::fs::File>) -> Record {
    let Some(file) = file else { return Record::Damaged };
    let mut payload = vec![0; place.length()];
    match file.read_exact_at(&mut payload, place.offset() + record::RECORD_HEADER as u64) {
        Ok(()) if frame::is_sound(&payload) => Record::Frame(Bytes::from(payload)),
        Ok(()) | Err(_) => Record::Damaged,
    }
}
