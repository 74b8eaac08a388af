//! How far each vehicle's incarnations are durable, and the checkpoint that says so.

use std::collections::HashMap;

use remuda_eventsourcing::{Checkpoint, ManifestPosition};
use remuda_model::{Incarnation, Seq, ShardId, VehicleId};
use serde::{Deserialize, Serialize};

use crate::error::LakeError;
use crate::limits;
use crate::row::Row;

/// Incarnations of one vehicle with what is durable of each; the one that moved last is at the end.
pub type Marks = Vec<(Incarnation, Seq)>;

/// Watermarks of one shard.
#[derive(Debug, Default, Clone)]
pub(crate) struct ShardMarks(pub HashMap<VehicleId, Marks>);

/// What a checkpoint holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckpointState {
    /// Recovery replays files after this position.
    pub replay_from: ManifestPosition,
    /// Watermarks as of the checkpoint's position.
    pub marks: Vec<(VehicleId, Marks)>,
}

impl ShardMarks {
    /// Moves a vehicle's watermark to what a committed row makes durable.
    pub fn commit(&mut self, row: &Row) {
        let marks = self.0.entry(row.vehicle).or_default();
        move_to(marks, row.incarnation, row.durable_to());
    }

    /// The checkpoint; it closes a vehicle's oldest incarnations beyond the limit. Once it is durable, [`Self::close`]
    /// takes them out of the table.
    pub fn checkpoint(
        &self,
        position: ManifestPosition,
        replay_from: ManifestPosition,
    ) -> Result<Checkpoint, LakeError> {
        let mut closed = Vec::new();
        let mut marks = Vec::with_capacity(self.0.len());
        for (vehicle, of_vehicle) in &self.0 {
            let (gone, kept) = of_vehicle.split_at(excess(of_vehicle));
            closed.extend(
                gone.iter().map(|(inc, seq)| (closed_key(vehicle, *inc), seq.to_le_bytes().to_vec())),
            );
            marks.push((*vehicle, kept.to_vec()));
        }
        marks.sort_unstable_by_key(|(vehicle, _)| *vehicle);
        let state = CheckpointState { replay_from, marks };
        let state = postcard::to_allocvec(&state).map_err(|e| LakeError::Encode(e.to_string()))?;
        Ok(Checkpoint { position, state, closed })
    }

    /// Forgets what a durable checkpoint has closed.
    pub fn close(&mut self) {
        for marks in self.0.values_mut() {
            marks.drain(..excess(marks));
        }
    }
}

/// How many of a vehicle's incarnations, from the oldest on, a checkpoint closes.
fn excess(marks: &Marks) -> usize {
    marks.len().saturating_sub(limits::OPEN_INCARNATIONS_MAX)
}

/// Moves one incarnation's watermark; never back.
pub(crate) fn move_to(marks: &mut Marks, incarnation: Incarnation, seq: Seq) {
    match marks.iter().position(|(known, _)| *known == incarnation) {
        Some(at) if at + 1 == marks.len() => marks[at].1 = marks[at].1.max(seq),
        Some(at) => {
            let (_, before) = marks.remove(at);
            marks.push((incarnation, before.max(seq)));
        }
        None => marks.push((incarnation, seq)),
    }
}

/// Reads a shard's checkpoint.
pub(crate) fn read(
    shard: ShardId,
    checkpoint: Option<&Checkpoint>,
) -> Result<(ManifestPosition, CheckpointState), LakeError> {
    let Some(checkpoint) = checkpoint else {
        return Ok((0, CheckpointState { replay_from: 0, marks: Vec::new() }));
    };
    let state = postcard::from_bytes(&checkpoint.state)
        .map_err(|_| LakeError::Checkpoint { shard: shard.number() })?;
    Ok((checkpoint.position, state))
}

/// The manifest position up to which a shard's checkpoint covers everything: watermarks and snapshots. Its own first
/// number only: who asks is not the shard's owner and may find a checkpoint that is just being replaced, whose later
/// pieces are of another moment. Each of the two numbers was true when it was written, and what was covered stays so.
pub(crate) fn covered_to(
    shard: ShardId,
    checkpoint: Option<&Checkpoint>,
) -> Result<ManifestPosition, LakeError> {
    let Some(checkpoint) = checkpoint else { return Ok(0) };
    let (replay_from, _) = postcard::take_from_bytes::<ManifestPosition>(&checkpoint.state)
        .map_err(|_| LakeError::Checkpoint { shard: shard.number() })?;
    Ok(checkpoint.position.min(replay_from))
}

/// The name of a closed incarnation beside its shard's checkpoint.
pub(crate) fn closed_key(vehicle: &VehicleId, incarnation: Incarnation) -> Vec<u8> {
    let mut key = vehicle.as_str().as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(&incarnation.0.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_only_move_forward_and_the_last_mover_is_last() {
        let mut marks = Marks::new();
        move_to(&mut marks, Incarnation(1), 5);
        move_to(&mut marks, Incarnation(2), 1);
        move_to(&mut marks, Incarnation(1), 3);
        assert_eq!(marks, [(Incarnation(2), 1), (Incarnation(1), 5)]);
    }

    #[test]
    fn a_checkpoint_closes_only_what_it_drops() {
        let vehicle = VehicleId::new("V1").expect("an id");
        let mut shard = ShardMarks::default();
        let all: Marks = (1..=10).map(|i| (Incarnation(i), i * 10)).collect();
        shard.0.insert(vehicle, all.clone());
        let checkpoint = shard.checkpoint(7, 3).expect("encodes");
        let (position, state) = read(ShardId::of(&vehicle), Some(&checkpoint)).expect("decodes");
        assert_eq!((position, state.replay_from), (7, 3));
        assert_eq!(covered_to(ShardId::of(&vehicle), Some(&checkpoint)).expect("decodes"), 3);
        assert_eq!(state.marks, [(vehicle, all[2..].to_vec())]);
        let closed: Vec<_> = checkpoint.closed.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(closed, [closed_key(&vehicle, Incarnation(1)), closed_key(&vehicle, Incarnation(2))]);
        assert_eq!(shard.0[&vehicle].len(), 10, "nothing is forgotten before the checkpoint is durable");
        shard.close();
        assert_eq!(shard.0[&vehicle], all[2..]);
    }
}
