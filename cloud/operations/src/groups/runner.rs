//! Gives a group's commands, vehicle by vehicle, and writes down how each ended. One task a group.
//!
//! Nothing here must survive: what counts is in the group's stream and in each vehicle's. A runner that starts looks each
//! vehicle up whose turn had come and whose command has not ended.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use remuda_contracts::commands::{CommandDesk, CommandError, CommandRequest, CommandState, CommandView};
use remuda_entities::{AskError, Entities, Outcome as Asked};
use remuda_eventsourcing::Context;
use remuda_model::{OrganizationId, VehicleId};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::{Ending, Group, GroupCommand, Groups, Outcome, Phase, evolve, request_id};
use crate::limits;
use crate::metrics::OperationsMetrics;
use crate::start::Clock;

/// What all runners share.
#[derive(Clone)]
pub(crate) struct Means {
    pub groups: Entities<Groups>,
    pub desk: Arc<dyn CommandDesk>,
    pub clock: Clock,
    pub metrics: OperationsMetrics,
    pub stopping: watch::Receiver<bool>,
}

/// What a call to the vehicles' desk came back with.
enum Called {
    View(Box<CommandView>, Call),
    Rejected(String),
    /// Called off before it was given.
    NeverGiven,
    Later,
    /// The node does not know the vehicle, though it was found when the group was made: a node that died before
    /// anything of a vehicle was durable hears of it again when it is back.
    NotThere,
}

/// What to call for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// It was never told.
    Give,
    /// It may have been: look first.
    Find,
    /// Take it back if it was not sent.
    TakeBack,
}

struct Run {
    means: Means,
    organization: OrganizationId,
    id: String,
    group: Group,
    version: u64,
    /// Places of vehicles whose command has not ended.
    open: HashMap<VehicleId, u32>,
    /// Where these commands are, when that is known: state and id.
    known: HashMap<u32, (CommandState, String)>,
    ended: Vec<Ending>,
    calls: JoinSet<(u32, Called)>,
    due: VecDeque<(u32, Call)>,
    later: VecDeque<(Instant, u32, Call)>,
    /// Vehicles whose turn may come now.
    allowance: f64,
    reckoned: Instant,
}

/// Until the node stops.
pub(crate) async fn stopped(stops: &mut watch::Receiver<bool>) {
    // Who was to tell is gone: it stops too.
    let _ = stops.wait_for(|stops| *stops).await;
}

/// Runs a group to its end, or until the node stops.
pub(crate) async fn run(means: Means, organization: OrganizationId, id: String, wake: Arc<Notify>) {
    // Before anything is read: no change falls in between.
    let mut changes = means.desk.changes();
    let mut stopping = means.stopping.clone();
    let mut run = Run {
        means,
        organization,
        id,
        group: Group::default(),
        version: 0,
        open: HashMap::new(),
        known: HashMap::new(),
        ended: Vec::new(),
        calls: JoinSet::new(),
        due: VecDeque::new(),
        later: VecDeque::new(),
        allowance: 1.0,
        reckoned: Instant::now(),
    };
    let mut ticks = tokio::time::interval(limits::TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !run.reload().await {
        tokio::select! {
            () = tokio::time::sleep(limits::AGAIN) => {}
            () = stopped(&mut stopping) => return,
        }
    }
    while !run.group.line.phase.is_final() {
        tokio::select! {
            () = stopped(&mut stopping) => return,
            Some(done) = run.calls.join_next() => {
                if let Ok((index, called)) = done {
                    run.called(index, called);
                }
            }
            change = changes.recv() => {
                if !run.heard(change) {
                    return;
                }
            }
            () = wake.notified() => {
                run.reload().await;
            }
            _ = ticks.tick() => run.work().await,
        }
    }
}

impl Run {
    /// Reads the group anew; false when it cannot be read now. Open vehicles of which nothing is known are looked up.
    async fn reload(&mut self) -> bool {
        let seen = match self.means.groups.read(&self.organization, &self.id).await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!(group = self.id, %error, "a group command cannot be read now");
                return false;
            }
        };
        let was = self.group.line.phase;
        (self.group, self.version) = (seen.state, seen.version);
        // Their end is known here, and not yet written down.
        let ended: HashSet<u32> = self.ended.iter().map(|ending| ending.index).collect();
        for (index, member) in (0..).zip(&self.group.members) {
            let open = member.outcome == Outcome::Given && !ended.contains(&index);
            if open && !self.open.contains_key(&member.vehicle) {
                self.open.insert(member.vehicle, index);
                self.due.push_back((index, Call::Find));
            }
        }
        if self.group.line.phase == Phase::Aborting && was != Phase::Aborting {
            let waiting = self.known.iter().filter(|(_, (state, _))| *state == CommandState::Queued);
            self.due.extend(waiting.map(|(index, _)| (*index, Call::TakeBack)));
        }
        true
    }

    /// A vehicle's command has changed. False when there will be no more changes.
    fn heard(&mut self, change: Result<CommandView, RecvError>) -> bool {
        match change {
            Ok(view) => {
                if let Some(index) = self.open.get(&view.vehicle).copied()
                    && view.request_id == request_id(&self.id)
                {
                    self.seen(index, &view, false);
                }
            }
            // Too many changes for this reader: each open command is looked up.
            Err(RecvError::Lagged(_)) => {
                let all: Vec<u32> = self.open.values().copied().collect();
                for index in all {
                    if self.known.contains_key(&index) {
                        self.due.push_back((index, Call::Find));
                    } else {
                        // It is being told: its answer may be older than a change that was missed.
                        self.again(index, Call::Find);
                    }
                }
            }
            // The vehicles are stopping; the next start goes on.
            Err(RecvError::Closed) => return false,
        }
        true
    }

    /// `answer`: to a wish, so it may be older than a change that was heard before it.
    fn seen(&mut self, index: u32, view: &CommandView, answer: bool) {
        let outcome = match view.state {
            CommandState::Queued | CommandState::Sent | CommandState::Accepted => {
                if !answer || !self.known.contains_key(&index) {
                    self.known.insert(index, (view.state, view.id.clone()));
                }
                return;
            }
            CommandState::Done => Outcome::Done,
            CommandState::Failed => Outcome::Failed,
            CommandState::Expired => Outcome::Expired,
            CommandState::Refused => Outcome::Refused,
            CommandState::Unknown => Outcome::Unknown,
            CommandState::Cancelled => Outcome::Cancelled,
        };
        self.ends(index, outcome, &view.detail);
    }

    fn ends(&mut self, index: u32, outcome: Outcome, detail: &str) {
        let Some(member) = self.group.members.get(index as usize) else { return };
        if self.open.remove(&member.vehicle).is_some() {
            self.known.remove(&index);
            self.ended.push(Ending { index, outcome, detail: detail.to_owned() });
        }
    }

    fn called(&mut self, index: u32, called: Called) {
        let open = self.group.members.get(index as usize).is_some_and(|m| self.open.contains_key(&m.vehicle));
        if !open {
            // It ended while it was asked about.
            return;
        }
        match called {
            Called::View(view, call) => {
                self.seen(index, &view, call == Call::Give);
                if view.state == CommandState::Queued && self.group.line.phase == Phase::Aborting {
                    match call {
                        Call::TakeBack => self.again(index, Call::TakeBack),
                        Call::Give | Call::Find => self.due.push_back((index, Call::TakeBack)),
                    }
                }
            }
            Called::Rejected(why) => self.ends(index, Outcome::Rejected, &why),
            Called::NeverGiven => self.ends(index, Outcome::Cancelled, "called off before it was given"),
            Called::Later => self.again(index, Call::Find),
            Called::NotThere if self.group.line.phase == Phase::Aborting => {
                self.ends(index, Outcome::Cancelled, "called off before it was given");
            }
            Called::NotThere => {
                let (created_ms, spec) = (self.group.line.created_ms, &self.group.line.spec);
                let until_ms =
                    spec.as_ref().map_or(created_ms, |spec| created_ms.saturating_add(spec.ttl_ms));
                if (self.means.clock)() < until_ms {
                    self.again(index, Call::Find);
                } else {
                    self.ends(index, Outcome::Expired, "the vehicle did not come back in time");
                }
            }
        }
    }

    fn again(&mut self, index: u32, call: Call) {
        self.later.push_back((Instant::now() + limits::AGAIN, index, call));
    }

    /// What can be done now.
    async fn work(&mut self) {
        let now = Instant::now();
        while self.later.front().is_some_and(|(at, ..)| *at <= now) {
            self.due.extend(self.later.pop_front().map(|(_, index, call)| (index, call)));
        }
        self.settle().await;
        self.dispatch(now).await;
        while self.calls.len() < limits::CALLS_MAX {
            let Some((index, call)) = self.due.pop_front() else { break };
            self.call(index, call);
        }
    }

    /// Writes down what has ended.
    async fn settle(&mut self) {
        while !self.ended.is_empty() {
            let some: Vec<Ending> = self.ended.iter().take(limits::TOGETHER_MAX).cloned().collect();
            let count = some.len();
            // Ends are facts about the vehicles: whether these were written before does not matter, the first counts.
            let id = format!("settle/{:032x}", rand::random::<u128>());
            let outcomes: Vec<Outcome> = some.iter().map(|ending| ending.outcome).collect();
            if self.ask(GroupCommand::Settle(some), id).await.is_none() {
                return;
            }
            self.ended.drain(..count);
            outcomes.into_iter().for_each(|outcome| self.means.metrics.vehicle(outcome));
        }
    }

    /// Lets the turn of the next vehicles come, as many as the rate and the bound permit.
    async fn dispatch(&mut self, now: Instant) {
        let line = &self.group.line;
        let Some(spec) = &line.spec else { return };
        let passed =
            now.duration_since(std::mem::replace(&mut self.reckoned, now)).min(Duration::from_secs(10));
        let rate = f64::from(spec.vehicles_per_1000_s) / 1_000.0;
        if line.phase != Phase::Running {
            return;
        }
        // After a pause nobody catches up.
        self.allowance = (self.allowance + passed.as_secs_f64() * rate).min(rate.max(1.0));
        let waits = self.known.values().filter(|(state, _)| *state == CommandState::Queued).count();
        let under_way = self.open.len().saturating_sub(waits);
        let room = (spec.under_way_max as usize).saturating_sub(under_way);
        let from = line.dispatched;
        let left = (line.vehicles - from) as usize;
        let count = (self.allowance as usize).min(room).min(left).min(limits::TOGETHER_MAX);
        if count == 0 {
            return;
        }
        let command = GroupCommand::Dispatch { from, count: count as u32 };
        // A turn that comes twice is one: the group says what the next is.
        let id = format!("dispatch/{from}/{:016x}", rand::random::<u64>());
        if self.ask(command, id).await.is_none() {
            return;
        }
        let upto = self.group.line.dispatched;
        self.allowance -= f64::from(upto.saturating_sub(from));
        for index in from..upto {
            let Some(member) = self.group.members.get(index as usize) else { break };
            if self.open.insert(member.vehicle, index).is_none() {
                self.due.push_back((index, Call::Give));
            }
        }
    }

    /// Asks the group, and takes in what followed; none when it must be asked again later.
    async fn ask(&mut self, command: GroupCommand, command_id: String) -> Option<()> {
        let context = Context {
            now_ms: (self.means.clock)(),
            command_id,
            actor: "policy/command-group".into(),
            correlation_id: self.id.clone(),
        };
        match self.means.groups.ask(&self.organization, &self.id, command, context).await {
            Ok(Asked { version, events, .. }) => {
                if version == self.version + events.len() as u64 {
                    events.iter().for_each(|event| evolve(&mut self.group, event));
                    self.version = version;
                } else {
                    // Somebody steered it meanwhile.
                    self.reload().await;
                }
                Some(())
            }
            Err(AskError::Refused { text, .. }) => {
                tracing::error!(group = self.id, text, "a group command refused what its runner asked");
                None
            }
            Err(error) => {
                tracing::warn!(group = self.id, %error, "a group command cannot be asked now");
                None
            }
        }
    }

    fn call(&mut self, index: u32, call: Call) {
        let Some(spec) = &self.group.line.spec else { return };
        let Some(member) = self.group.members.get(index as usize) else { return };
        if !self.open.contains_key(&member.vehicle) {
            return;
        }
        let (desk, organization, vehicle) = (Arc::clone(&self.means.desk), self.organization, member.vehicle);
        let may_give = self.group.line.phase != Phase::Aborting;
        let request = CommandRequest {
            request_id: request_id(&self.id),
            kind: spec.kind.clone(),
            reason: spec.reason.clone(),
            requested_by: spec.requested_by.clone(),
            ttl_ms: spec.ttl_ms,
            validate_only: false,
        };
        let known = self.known.get(&index).map(|(_, id)| id.clone());
        let by = self.group.line.phase_by.clone();
        self.calls.spawn(async move {
            let called = match (call, known) {
                (Call::TakeBack, Some(id)) => take_back(&*desk, &organization, &vehicle, &id, &by).await,
                (Call::Give, _) if may_give => give(&*desk, &organization, &vehicle, request).await,
                (Call::Give, _) => Called::NeverGiven,
                (Call::Find | Call::TakeBack, _) => {
                    find(&*desk, &organization, &vehicle, request, may_give).await
                }
            };
            (index, called)
        });
    }
}

async fn give(
    desk: &dyn CommandDesk,
    organization: &OrganizationId,
    vehicle: &VehicleId,
    request: CommandRequest,
) -> Called {
    match desk.queue(organization, vehicle, request).await {
        Ok(view) => Called::View(Box::new(view), Call::Give),
        Err(CommandError::Unavailable(_)) => Called::Later,
        Err(CommandError::NoSuchVehicle) => Called::NotThere,
        Err(error) => Called::Rejected(error.to_string()),
    }
}

/// Looks for the command before giving it: a vehicle remembers ended ones for a while only.
async fn find(
    desk: &dyn CommandDesk,
    organization: &OrganizationId,
    vehicle: &VehicleId,
    request: CommandRequest,
    may_give: bool,
) -> Called {
    match desk.list(organization, vehicle).await {
        Ok(all) => match all.into_iter().find(|view| view.request_id == request.request_id) {
            Some(view) => Called::View(Box::new(view), Call::Find),
            None if may_give => give(desk, organization, vehicle, request).await,
            None => Called::NeverGiven,
        },
        Err(CommandError::Unavailable(_)) => Called::Later,
        Err(CommandError::NoSuchVehicle) => Called::NotThere,
        Err(error) => Called::Rejected(error.to_string()),
    }
}

async fn take_back(
    desk: &dyn CommandDesk,
    organization: &OrganizationId,
    vehicle: &VehicleId,
    id: &str,
    by: &str,
) -> Called {
    match desk.cancel(organization, vehicle, id, by, "the group command was called off").await {
        Ok(view) => Called::View(Box::new(view), Call::TakeBack),
        Err(CommandError::Unavailable(_)) => Called::Later,
        // It was sent, or has ended: how is told by its changes, and looked up once in case that was missed.
        Err(_) => match desk.list(organization, vehicle).await {
            Ok(all) => match all.into_iter().find(|view| view.id == id) {
                Some(view) => Called::View(Box::new(view), Call::TakeBack),
                None => Called::Rejected("the vehicle has forgotten it".into()),
            },
            Err(_) => Called::Later,
        },
    }
}
