//! Where each row of some files goes: which output, and in what order.

use std::collections::HashMap;

use remuda_model::signal::REGISTRY;
use remuda_model::{Incarnation, OrganizationId, ShardId, SignalClass, SignalId, VehicleId};

use super::columns::{Numbers, Source, names};
use super::filter::Taken;
use crate::commits::Commits;
use crate::describe::Description;
use crate::erasure::{Stripped, Tombstones};
use crate::error::LakeError;
use crate::history::{HOUR_NS, Hour, time_of};
use crate::row::{Row, RowBody};
use crate::schema;

/// Rows of one output file.
pub(super) struct Part {
    pub hour: Hour,
    /// Of which commits they are, when they come from fresh files.
    pub commits: Option<Commits>,
    /// Their numbers among all rows of the sources, in the output's order.
    pub rows: Vec<u32>,
    pub description: Description,
}

/// The order of all rows.
pub(super) struct Ordered {
    pub parts: Vec<Part>,
    /// Ascending.
    pub vehicles: Vec<VehicleId>,
    /// Place of each row's vehicle among them.
    pub vehicle_of: Vec<u32>,
    /// What was taken out of each source.
    pub taken: Vec<Taken>,
}

/// Whether rows go to a file each hour, or stay together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    Hours,
    One(Hour),
}

/// Of what the order is made.
struct Keys {
    organizations: Vec<OrganizationId>,
    organization_of: Vec<u32>,
    vehicles: Vec<VehicleId>,
    vehicle_of: Vec<u32>,
    sampled: Numbers,
    received: Vec<i64>,
}

impl Keys {
    fn read(sources: &[Source]) -> Result<Self, LakeError> {
        let (organizations, organization_of) =
            names(sources, schema::ORGANIZATION, |id| OrganizationId::new(id).ok())?;
        let (ids, number_of) = names(sources, schema::VEHICLE, |id| VehicleId::new(id).ok())?;
        let mut ranked: Vec<u32> = (0..ids.len() as u32).collect();
        ranked.sort_unstable_by_key(|number| ids[*number as usize]);
        let mut rank = vec![0; ids.len()];
        for (place, number) in ranked.iter().enumerate() {
            rank[*number as usize] = place as u32;
        }
        Ok(Self {
            organizations,
            organization_of,
            vehicles: ranked.iter().map(|number| ids[*number as usize]).collect(),
            vehicle_of: number_of.into_iter().map(|number| rank[number as usize]).collect(),
            sampled: Numbers::fixed(sources, schema::SAMPLE_TIME)?,
            received: Numbers::fixed(sources, schema::RECEIVE_TIME)?.values,
        })
    }

    fn rows(&self) -> usize {
        self.received.len()
    }

    fn time(&self, row: usize) -> i64 {
        time_of(self.sampled.get(row), self.received[row])
    }

    /// What tombstones say of a row, whose values are not looked at.
    fn stripped(&self, row: usize, tombstones: &Tombstones, body: RowBody) -> Stripped {
        tombstones.strip(&mut Row {
            organization: self.organizations[self.organization_of[row] as usize],
            vehicle: self.vehicles[self.vehicle_of[row] as usize],
            incarnation: Incarnation(0),
            seq: 0,
            row_in_frame: 0,
            boot: 0,
            mono_ns: 0,
            sample_time_ns: self.sampled.get(row),
            receive_time_ms: self.received[row],
            commit: 0,
            body,
        })
    }
}

/// A row with a value of each class.
fn of_every_class() -> RowBody {
    const ALL: [SignalClass; 4] =
        [SignalClass::Position, SignalClass::DriverBehaviour, SignalClass::Cabin, SignalClass::Technical];
    let mut signals: Vec<SignalId> = ALL
        .iter()
        .filter_map(|class| REGISTRY.iter().find(|def| def.class == *class))
        .map(|def| def.id)
        .collect();
    signals.sort_unstable();
    RowBody::Samples(signals.into_iter().map(|id| (id, 0)).collect())
}

/// The order of the sources' rows without those that were erased; `None` when values of rows are to be taken out, which
/// is done row by row, or when the rows cannot stay together.
pub(super) fn ordered(
    sources: &[Source],
    tombstones: &Tombstones,
    into: Into,
) -> Result<Option<Ordered>, LakeError> {
    let kinds = Numbers::fixed(sources, schema::KIND)?;
    if kinds.values.iter().any(|kind| !(RowBody::SAMPLES..=RowBody::QUARANTINE).contains(kind)) {
        return Ok(None);
    }
    drop(kinds);
    let keys = Keys::read(sources)?;
    if let Into::One(hour) = into
        && keys.organizations != [hour.organization]
    {
        return Ok(None);
    }
    let Some((taken, erased)) = erased(sources, &keys, tombstones) else { return Ok(None) };
    let sorted = sorted(sources, &keys, &erased)?;
    let parts = parts(sources, &keys, &sorted, into);
    let Keys { vehicles, vehicle_of, .. } = keys;
    Ok(Some(Ordered { parts, vehicles, vehicle_of, taken }))
}

/// Which rows are erased (none: empty), counted by source; `None` when rows lose values.
fn erased(sources: &[Source], keys: &Keys, tombstones: &Tombstones) -> Option<(Vec<Taken>, Vec<bool>)> {
    let mut taken = vec![Taken::default(); sources.len()];
    if tombstones.is_empty() {
        return Some((taken, Vec::new()));
    }
    let probe = of_every_class();
    let mut erased = Vec::new();
    let mut row = 0;
    for (source, taken) in sources.iter().zip(&mut taken) {
        for row in row..row + source.rows() {
            let organization = &keys.organizations[keys.organization_of[row] as usize];
            let vehicle = &keys.vehicles[keys.vehicle_of[row] as usize];
            if !tombstones.touches(organization, vehicle) {
                continue;
            }
            match keys.stripped(row, tombstones, probe.clone()) {
                Stripped::Kept => {}
                Stripped::Blanked(_) => return None,
                Stripped::Erased(id) => {
                    taken.erase(id);
                    erased.resize(keys.rows(), false);
                    erased[row] = true;
                }
            }
        }
        row += source.rows();
    }
    Some((taken, erased))
}

/// Rows by vehicle, time, incarnation, frame and place in it; those that are equal as they came.
fn sorted(sources: &[Source], keys: &Keys, erased: &[bool]) -> Result<Vec<u32>, LakeError> {
    // Counted into their vehicles' ranges, in which they mostly stand in order of time already.
    let mut ends = vec![0_u32; keys.vehicles.len() + 1];
    keys.vehicle_of.iter().for_each(|vehicle| ends[*vehicle as usize + 1] += 1);
    for place in 1..ends.len() {
        ends[place] += ends[place - 1];
    }
    let mut sorted = vec![0_u32; keys.rows()];
    let mut next = ends.clone();
    for (row, vehicle) in keys.vehicle_of.iter().enumerate() {
        let at = &mut next[*vehicle as usize];
        sorted[*at as usize] = row as u32;
        *at += 1;
    }
    let mut ids: Option<[Vec<i64>; 3]> = None;
    for range in ends.windows(2) {
        let rows = &mut sorted[range[0] as usize..range[1] as usize];
        let time = |row: &u32| keys.time(*row as usize);
        let mut before = i64::MIN;
        let mut in_order = true;
        for row in rows.iter() {
            let at = time(row);
            in_order &= before < at;
            before = at;
        }
        if in_order {
            continue;
        }
        let mut timed: Vec<(i64, u32)> = rows.iter().map(|row| (time(row), *row)).collect();
        timed.sort_by_key(|(at, _)| *at);
        if timed.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            if ids.is_none() {
                let read = |name| Numbers::fixed(sources, name).map(|numbers| numbers.values);
                ids = Some([read(schema::INCARNATION)?, read(schema::SEQ)?, read(schema::ROW_IN_FRAME)?]);
            }
            if let Some([incarnations, seqs, in_frame]) = &ids {
                timed.sort_by_key(|(at, row)| {
                    let row = *row as usize;
                    (*at, incarnations[row] as u64, seqs[row] as u64, in_frame[row] as u32)
                });
            }
        }
        for (place, (_, row)) in rows.iter_mut().zip(timed) {
            *place = row;
        }
    }
    if !erased.is_empty() {
        sorted.retain(|row| !erased[*row as usize]);
    }
    Ok(sorted)
}

/// The sorted rows, by output.
fn parts(sources: &[Source], keys: &Keys, sorted: &[u32], into: Into) -> Vec<Part> {
    let ends: Vec<usize> = sources
        .iter()
        .scan(0, |end, source| {
            *end += source.rows();
            Some(*end)
        })
        .collect();
    let commit_of = |row: u32| sources.get(ends.partition_point(|end| *end <= row as usize))?.committed();
    // The sources stand in the order of their commits.
    let commits_of = |rows: &[u32]| {
        let (from, to) = (commit_of(*rows.iter().min()?)?, commit_of(*rows.iter().max()?)?);
        Some(Commits { from, to })
    };
    let mut parts: Vec<Part> = Vec::new();
    let mut places: HashMap<Hour, usize> = HashMap::new();
    let hour_of = |row: u32| match into {
        Into::One(hour) => hour,
        Into::Hours => Hour {
            organization: keys.organizations[keys.organization_of[row as usize] as usize],
            hour: keys.time(row as usize).div_euclid(HOUR_NS),
        },
    };
    let run = |a: &u32, b: &u32| keys.vehicle_of[*a as usize] == keys.vehicle_of[*b as usize];
    for of_vehicle in sorted.chunk_by(run) {
        let Some(first) = of_vehicle.first() else { continue };
        let shard = ShardId::of(&keys.vehicles[keys.vehicle_of[*first as usize] as usize]);
        for rows in of_vehicle.chunk_by(|a, b| hour_of(*a) == hour_of(*b)) {
            let hour = hour_of(rows[0]);
            let place = *places.entry(hour).or_insert_with(|| {
                parts.push(Part {
                    hour,
                    commits: None,
                    rows: Vec::new(),
                    description: Description::default(),
                });
                parts.len() - 1
            });
            let part = &mut parts[place];
            part.rows.extend_from_slice(rows);
            part.commits = Commits::joined(part.commits, commits_of(rows));
            let sampled = range(rows, |row| keys.sampled.get(row));
            let received = range(rows, |row| Some(keys.received[row]));
            part.description.add_rows(shard, rows.len() as u32, sampled, received);
        }
    }
    parts.sort_unstable_by_key(|part| part.hour);
    parts
}

fn range(rows: &[u32], of: impl Fn(usize) -> Option<i64>) -> Option<(i64, i64)> {
    rows.iter().filter_map(|row| of(*row as usize)).fold(None, |range, at| {
        let (low, high) = range.unwrap_or((at, at));
        Some((at.min(low), at.max(high)))
    })
}
