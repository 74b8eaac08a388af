//! What is committed, kept over sets and checked at every commit; and what vehicles were told of it.

use std::collections::{BTreeMap, BTreeSet};

use remuda_eventsourcing::NewEvent;
use remuda_lake::{Row, RowBody};
use remuda_model::{Incarnation, Lane, Seq, SignalId, VehicleId};
use remuda_vehicles::ledger::{Booked, CLOUD_LOST, Decision, read};
use remuda_wire::LaneAck;

use crate::disk::Key;

/// What became of a frame in the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// With so many rows (an event has one).
    Stored { rows: usize },
    /// As it came.
    Quarantined,
    /// It will never come.
    Gap,
}

/// One vehicle's books.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub fates: BTreeMap<Key, BTreeMap<Seq, Fate>>,
    pub decisions: BTreeSet<Decision>,
    pub rows: Vec<Row>,
    told: BTreeMap<Key, Seq>,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub vehicles: BTreeMap<VehicleId, Books>,
    files: BTreeSet<String>,
}

/// What a process knew to have been told when it took its shards.
pub(crate) type Told = BTreeMap<(VehicleId, Key), Seq>;

impl Truth {
    /// Is this file's commit known already?
    pub fn knows(&self, path: &str) -> bool {
        self.files.contains(path)
    }

    /// A file and its decisions were committed; answers what is wrong with that.
    pub fn committed(&mut self, path: &str, rows: Vec<Row>, decisions: &[NewEvent]) -> Result<(), String> {
        if !self.files.insert(path.to_owned()) {
            return Err("a file is committed twice".into());
        }
        let mut frames: Vec<(VehicleId, Incarnation, Seq, Seq, Fate)> = Vec::new();
        for row in &rows {
            let (to, fate) = match &row.body {
                RowBody::Gap { reason, .. } if reason == CLOUD_LOST => {
                    return Err(format!(
                        "{} {:x}/{} is called lost by us",
                        row.vehicle, row.incarnation.0, row.seq
                    ));
                }
                RowBody::Gap { to, .. } => (*to, Fate::Gap),
                RowBody::Quarantine { .. } => (row.seq, Fate::Quarantined),
                RowBody::Marker | RowBody::Samples(_) => (row.seq, Fate::Stored { rows: 1 }),
            };
            match frames.last_mut() {
                Some((vehicle, incarnation, seq, _, Fate::Stored { rows }))
                    if (*vehicle, *incarnation, *seq) == (row.vehicle, row.incarnation, row.seq)
                        && row.row_in_frame as usize == *rows =>
                {
                    *rows += 1;
                }
                _ if row.row_in_frame != 0 => return Err(format!("a frame's rows are torn: {row:?}")),
                _ => frames.push((row.vehicle, row.incarnation, row.seq, to, fate)),
            }
        }
        for (vehicle, incarnation, from, to, fate) in frames {
            self.add(vehicle, (Lane::Samples, incarnation), from, to, fate)?;
        }
        for row in rows {
            self.vehicles.entry(row.vehicle).or_default().rows.push(row);
        }
        decisions.iter().try_for_each(|event| self.event(event))
    }

    /// An event was committed.
    pub fn event(&mut self, event: &NewEvent) -> Result<(), String> {
        let Some((vehicle, booked)) = read(event) else { return Err("an event nobody can read".into()) };
        let lane = |incarnation| (Lane::Events, incarnation);
        match booked {
            Booked::Reported { incarnation, seq } => {
                self.add(vehicle, lane(incarnation), seq, seq, Fate::Stored { rows: 1 })
            }
            Booked::Quarantined { incarnation, seq } => {
                self.add(vehicle, lane(incarnation), seq, seq, Fate::Quarantined)
            }
            Booked::Gapped { incarnation, from, to, cloud_lost } => {
                if cloud_lost {
                    return Err(format!("{vehicle} events {:x}/{from} is called lost by us", incarnation.0));
                }
                self.add(vehicle, lane(incarnation), from, to, Fate::Gap)
            }
            Booked::Reprocessed { .. } => Err(format!("{vehicle}: nobody asked for a reprocessing")),
            Booked::Decided(decision) => {
                let new = self.vehicles.entry(vehicle).or_default().decisions.insert(decision);
                if new { Ok(()) } else { Err(format!("{vehicle} decided twice: {decision:?}")) }
            }
        }
    }

    fn add(&mut self, vehicle: VehicleId, key: Key, from: Seq, to: Seq, fate: Fate) -> Result<(), String> {
        let fates = self.vehicles.entry(vehicle).or_default().fates.entry(key).or_default();
        let next = fates.last_key_value().map_or(1, |(seq, _)| seq + 1);
        let name = || format!("{vehicle} {} {:x}/{from}", key.0.as_str(), key.1.0);
        if from < next {
            return Err(format!("{} is committed a second time ({fate:?})", name()));
        }
        if from > next {
            return Err(format!("{} is committed before {next}", name()));
        }
        fates.extend((from..=to).map(|seq| (seq, fate)));
        Ok(())
    }

    /// What is durable of a lane.
    pub fn durable(&self, vehicle: &VehicleId, key: Key) -> Seq {
        let fates = self.vehicles.get(vehicle).and_then(|books| books.fates.get(&key));
        fates.and_then(|fates| fates.last_key_value()).map_or(0, |(seq, _)| *seq)
    }

    /// The highest value of a signal in a vehicle's rows.
    pub fn newest(&self, vehicle: &VehicleId, signal: SignalId) -> Option<i64> {
        let values = |row: &Row| match &row.body {
            RowBody::Samples(values) => values.iter().find(|(s, _)| *s == signal).map(|(_, raw)| *raw),
            _ => None,
        };
        self.vehicles.get(vehicle)?.rows.iter().filter_map(values).max()
    }

    /// What vehicles were told so far.
    pub fn told(&self) -> Told {
        let of = |(vehicle, books): (&VehicleId, &Books)| {
            let vehicle = *vehicle;
            books.told.iter().map(|(key, seq)| ((vehicle, *key), *seq)).collect::<Vec<_>>()
        };
        self.vehicles.iter().flat_map(of).collect()
    }

    /// A process tells a vehicle; answers what is wrong with that. `known` is what the process itself must not go below.
    pub fn tell(&mut self, vehicle: &VehicleId, ack: &LaneAck, known: &mut Told) -> Result<(), String> {
        let key = (ack.lane, ack.incarnation);
        let name = || format!("{vehicle} {} {:x}", key.0.as_str(), key.1.0);
        let committed = self.durable(vehicle, key);
        if ack.durable > committed {
            return Err(format!("{} is told durable {} but {committed} are committed", name(), ack.durable));
        }
        if ack.received < ack.durable {
            return Err(format!(
                "{} is told received {} below durable {}",
                name(),
                ack.received,
                ack.durable
            ));
        }
        let before = known.entry((*vehicle, key)).or_default();
        if ack.durable < *before {
            return Err(format!("{} is told durable {} after {before}", name(), ack.durable));
        }
        *before = ack.durable;
        let told = self.vehicles.entry(*vehicle).or_default().told.entry(key).or_default();
        *told = ack.durable.max(*told);
        Ok(())
    }
}
