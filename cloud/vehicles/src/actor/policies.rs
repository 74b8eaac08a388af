//! The shelf of policies: kept in the journal, told to vehicles.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;
use remuda_contracts::fleet::Presence;
use remuda_contracts::policies::{Impact, PolicyBook, PolicyChange, PolicyRefusal, PolicyStatus, PolicyView};
use remuda_eventsourcing::{Appended, JournalError};
use remuda_model::{OrganizationId, ShardId, VehicleId};
use tokio::sync::{Mutex, Notify};

use super::node::Node;
use super::shard::ShardMessage;
use crate::index::PolicyLine;
use crate::limits;
use crate::policies::decide::decide;
use crate::policies::event::{PolicyEvent, shard_of, stream_of};
use crate::policies::evolve::evolve;
use crate::policies::{Desired, PoliciesState};

// Events read at a time.
const PAGE: usize = 1_000;
// Tries of a change that met another writer of the stream.
const TRIES: usize = 2;

/// The organisation's policies as they stand in the journal.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    state: RwLock<Arc<PoliciesState>>,
    writing: Mutex<()>,
    changed: Notify,
}

impl Shelf {
    /// What a vehicle should follow.
    pub fn desired(&self, vehicle: &VehicleId) -> Desired {
        let state = Arc::clone(&self.state.read());
        state.desired(vehicle)
    }

    fn state(&self) -> Arc<PoliciesState> {
        Arc::clone(&self.state.read())
    }
}

/// Reads the stream.
pub(crate) async fn load(node: &Node) -> Result<(), JournalError> {
    let stream = stream_of(node.settings.organization);
    let mut state = PoliciesState::default();
    loop {
        let events = node.journal.read_stream(&stream, state.version + 1, PAGE).await?;
        for event in &events {
            let event = &event.event;
            match PolicyEvent::open(event) {
                Some(fact) => evolve(&mut state, &fact, event.time_ms, &event.actor),
                None => {
                    tracing::error!(kind = event.event_type, "an event of an unknown kind was passed over");
                    state.version = event.version;
                }
            }
        }
        if events.len() < PAGE {
            break;
        }
    }
    *node.shelf.state.write() = Arc::new(state);
    Ok(())
}

/// Tells vehicles that are online of changes, some at a time; the others hear of them when they greet.
pub(crate) async fn push(node: Arc<Node>) {
    loop {
        node.shelf.changed.notified().await;
        let state = node.shelf.state();
        let mut behind = Vec::new();
        node.index.each(&node.settings.organization, |vehicle, presence, line| {
            if presence == Presence::Online && standing(&state.desired(vehicle), line) == Standing::Pending {
                behind.push(*vehicle);
            }
        });
        for group in behind.chunks(limits::POLICY_PUSH_VEHICLES) {
            let mut shards: BTreeMap<ShardId, Vec<VehicleId>> = BTreeMap::new();
            for vehicle in group {
                shards.entry(ShardId::of(vehicle)).or_default().push(*vehicle);
            }
            for (shard, vehicles) in shards {
                if let Some(supervisor) = &node.slot(shard).queue.lock().supervisor {
                    // One that ends just now takes its connections with it: they greet again.
                    let _ = supervisor.cast(ShardMessage::OfferPolicy(vehicles));
                }
            }
            tokio::time::sleep(limits::POLICY_PUSH_PAUSE).await;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Applied,
    Refused,
    Pending,
}

/// Where a vehicle stands with what it should follow.
fn standing(desired: &Desired, line: &PolicyLine) -> Standing {
    if line.follows(desired.sent.revision, desired.fingerprint) {
        Standing::Applied
    } else if line.refused.as_deref().is_some_and(|(revision, _)| *revision == desired.sent.revision) {
        Standing::Refused
    } else {
        Standing::Pending
    }
}

/// The book that people open.
pub(crate) struct Book(pub Arc<Node>);

impl Book {
    fn impact(&self, before: &PoliciesState, after: &PoliciesState) -> Impact {
        let mut impact = Impact::default();
        self.0.index.each(&self.0.settings.organization, |vehicle, presence, _| {
            let revision = |state: &PoliciesState| state.desired(vehicle).sent.revision;
            if revision(before) != revision(after) {
                impact.vehicles += 1;
                impact.online += u64::from(presence == Presence::Online);
            }
        });
        impact
    }

    async fn append(&self, event: &PolicyEvent, version: u64, now_ms: i64, who: &str) -> Option<bool> {
        let node = &self.0;
        let organization = node.settings.organization;
        let shard = shard_of(&organization);
        let envelope = event.envelope(stream_of(organization), version, now_ms, who);
        match node.slot(shard).append(node.journal.as_ref(), vec![envelope]).await {
            Ok(Appended::Committed { .. }) => Some(true),
            Ok(Appended::Fenced { .. }) => {
                node.shard_lost(shard);
                None
            }
            Ok(Appended::Conflict { .. }) => Some(false),
            Err(error) => {
                tracing::error!(%error, "a change of the policies has no answer");
                None
            }
        }
    }
}

#[async_trait]
impl PolicyBook for Book {
    fn list(&self, organization: &OrganizationId) -> Vec<PolicyView> {
        if *organization != self.0.settings.organization {
            return Vec::new();
        }
        self.0.shelf.state().views()
    }

    async fn change(
        &self,
        organization: &OrganizationId,
        change: PolicyChange,
        who: &str,
        dry_run: bool,
    ) -> Result<Impact, PolicyRefusal> {
        let node = &self.0;
        if *organization != node.settings.organization {
            return Err(PolicyRefusal::Unavailable);
        }
        let _one_at_a_time = node.shelf.writing.lock().await;
        for _ in 0..TRIES {
            let before = node.shelf.state();
            let Some(event) = decide(&before, change.clone())? else { return Ok(Impact::default()) };
            let now_ms = node.now_ms();
            let mut after = PoliciesState::clone(&before);
            evolve(&mut after, &event, now_ms, who);
            let impact = self.impact(&before, &after);
            if dry_run {
                return Ok(impact);
            }
            match self.append(&event, after.version, now_ms, who).await {
                Some(true) => {
                    tracing::info!(
                        kind = event.event_type(),
                        who,
                        vehicles = impact.vehicles,
                        "the policies changed"
                    );
                    *node.shelf.state.write() = Arc::new(after);
                    node.shelf.changed.notify_one();
                    return Ok(impact);
                }
                // What the journal holds is what counts, also when an answer was lost.
                other => {
                    load(node).await.map_err(|_| PolicyRefusal::Unavailable)?;
                    node.shelf.changed.notify_one();
                    if other.is_none() {
                        return Err(PolicyRefusal::Unavailable);
                    }
                }
            }
        }
        Err(PolicyRefusal::Unavailable)
    }

    fn status(&self, organization: &OrganizationId, name: Option<&str>) -> Option<PolicyStatus> {
        let state = self.0.shelf.state();
        if *organization != self.0.settings.organization
            || name.is_some_and(|name| !state.policies.contains_key(name))
        {
            return None;
        }
        let mut status = PolicyStatus::default();
        self.0.index.each(organization, |vehicle, _, line| {
            let desired = state.desired(vehicle);
            if desired.name.as_deref() != name {
                return;
            }
            status.desired += 1;
            match standing(&desired, line) {
                Standing::Applied => status.applied += 1,
                Standing::Refused => {
                    status.refused += 1;
                    if status.refusals.len() < limits::STATUS_VEHICLES_MAX {
                        let reason = line.refused.as_deref().map(|(_, reason)| reason.clone());
                        status.refusals.push((*vehicle, reason.unwrap_or_default()));
                    }
                }
                Standing::Pending => {
                    status.pending += 1;
                    if status.waiting.len() < limits::STATUS_VEHICLES_MAX {
                        status.waiting.push(*vehicle);
                    }
                }
            }
        });
        status.refusals.sort_unstable();
        status.waiting.sort_unstable();
        Some(status)
    }
}
