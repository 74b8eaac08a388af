//! Group commands, second persons and assistance over a journal in memory and a desk whose vehicles answer at once, or are
//! away.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod assistance;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_contracts::commands::{CommandDesk, CommandError, CommandRequest, CommandState, CommandView};
use remuda_contracts::operations::{
    ApprovalPhase, FailureThreshold, Given, GroupOutcome, GroupPhase, GroupRequest, GroupView,
    OperationsDesk, OperationsError, Party, Steering,
};
use remuda_entities::{Entities, EntityMetrics, Settings, Shards};
use remuda_eventsourcing::{Context, Journal, MemoryJournal};
use remuda_model::{OrganizationId, VehicleId};
use remuda_operations::groups::{GroupCommand, Groups, Spec};
use remuda_operations::{Danger, Operations, OperationsMetrics, OperationsSettings, TwoPersons};
use remuda_wire::CommandKind;
use tokio::sync::broadcast;

use assistance::Said;

/// Vehicles that do what they are told at once, fail at it, or are away.
struct Fleet {
    given: Mutex<BTreeMap<(VehicleId, String), CommandView>>,
    away: Mutex<BTreeSet<VehicleId>>,
    broken: Mutex<BTreeSet<VehicleId>>,
    /// Whether anybody can be told anything.
    closed: AtomicBool,
    changes: broadcast::Sender<CommandView>,
}

impl Fleet {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            given: Mutex::default(),
            away: Mutex::default(),
            broken: Mutex::default(),
            closed: AtomicBool::new(false),
            changes: broadcast::Sender::new(64),
        })
    }

    fn answer(&self, view: &mut CommandView) {
        if self.away.lock().contains(&view.vehicle) {
            return;
        }
        let broken = self.broken.lock().contains(&view.vehicle);
        view.state = if broken { CommandState::Failed } else { CommandState::Done };
        view.detail = if broken { "the horn is broken".into() } else { String::new() };
    }

    /// A vehicle that was away returns.
    fn returns(&self, vehicle: VehicleId) {
        self.away.lock().remove(&vehicle);
        let mut given = self.given.lock();
        for view in given.values_mut().filter(|v| v.vehicle == vehicle && !v.state.is_final()) {
            self.answer(view);
            let _ = self.changes.send(view.clone());
        }
    }

    /// How many commands each vehicle was given.
    fn counts(&self) -> BTreeMap<VehicleId, usize> {
        let mut counts = BTreeMap::new();
        self.given.lock().keys().for_each(|(vehicle, _)| *counts.entry(*vehicle).or_default() += 1);
        counts
    }
}

#[async_trait]
impl CommandDesk for Fleet {
    async fn queue(
        &self,
        _: &OrganizationId,
        vehicle: &VehicleId,
        request: CommandRequest,
    ) -> Result<CommandView, CommandError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(CommandError::Unavailable("nobody is there"));
        }
        if vehicle.as_str().starts_with('X') {
            return Err(CommandError::Refused {
                code: "too_many_open",
                sentence: "too many are open".into(),
            });
        }
        let key = (*vehicle, request.request_id.clone());
        if let Some(known) = self.given.lock().get(&key) {
            return Ok(known.clone());
        }
        let mut view = CommandView {
            id: format!("{:0>32}", format!("{vehicle}{}", request.request_id)),
            vehicle: *vehicle,
            kind: request.kind,
            reason: request.reason,
            requested_by: request.requested_by,
            request_id: request.request_id,
            queued_ms: 1,
            expires_ms: 1 + request.ttl_ms,
            state: CommandState::Queued,
            detail: String::new(),
            changed_ms: 1,
            sends: 0,
        };
        if request.validate_only {
            return Ok(view);
        }
        let queued = view.clone();
        self.answer(&mut view);
        self.given.lock().insert(key, view.clone());
        let _ = self.changes.send(view);
        // As a vehicle's actor answers: before the vehicle has.
        Ok(queued)
    }

    async fn cancel(
        &self,
        _: &OrganizationId,
        vehicle: &VehicleId,
        id: &str,
        _: &str,
        _: &str,
    ) -> Result<CommandView, CommandError> {
        let mut given = self.given.lock();
        let view = given.values_mut().find(|view| view.vehicle == *vehicle && view.id == id).unwrap();
        if view.state != CommandState::Queued {
            return Err(CommandError::Refused { code: "command_already_sent", sentence: "too late".into() });
        }
        view.state = CommandState::Cancelled;
        let _ = self.changes.send(view.clone());
        Ok(view.clone())
    }

    async fn list(&self, _: &OrganizationId, vehicle: &VehicleId) -> Result<Vec<CommandView>, CommandError> {
        Ok(self.given.lock().values().filter(|view| view.vehicle == *vehicle).cloned().collect())
    }

    fn changes(&self) -> broadcast::Receiver<CommandView> {
        self.changes.subscribe()
    }
}

/// A node that can be started anew over the same journal: whoever ran before is fenced, as after a crash.
struct Stage {
    journal: Arc<dyn Journal>,
    fleet: Arc<Fleet>,
    said: Arc<Said>,
    now_ms: Arc<AtomicI64>,
    folder: tempfile::TempDir,
    starts: AtomicI64,
    metrics: OperationsMetrics,
}

impl Stage {
    fn new() -> Self {
        Self {
            journal: Arc::new(MemoryJournal::new()),
            fleet: Fleet::new(),
            said: Arc::default(),
            now_ms: Arc::new(AtomicI64::new(1_000_000)),
            folder: tempfile::tempdir().unwrap(),
            starts: AtomicI64::new(0),
            metrics: OperationsMetrics::default(),
        }
    }

    async fn start(&self) -> Operations {
        let shards = Shards::take_all(Arc::clone(&self.journal), EntityMetrics::default()).await.unwrap();
        let now_ms = Arc::clone(&self.now_ms);
        // A fenced predecessor still holds its lists; lists are made anew from the journal.
        let number = self.starts.fetch_add(1, Ordering::SeqCst);
        let settings = OperationsSettings {
            folder: self.folder.path().join(number.to_string()),
            two_persons: TwoPersons {
                kinds: BTreeSet::from([Danger::Reboot, Danger::UnlockWhileDriving]),
                above_vehicles: 100,
                wait_ms: 60_000,
            },
            clock: Arc::new(move || now_ms.load(Ordering::SeqCst)),
            organization: here(),
        };
        let (desk, reports, metrics) = (self.fleet.clone(), self.said.clone(), self.metrics.clone());
        Operations::start(settings, &shards, desk, reports, metrics).await.unwrap()
    }
}

fn vehicle(n: usize) -> VehicleId {
    VehicleId::new(&format!("V{n:04}")).unwrap()
}

fn here() -> OrganizationId {
    OrganizationId::default()
}

fn party(name: &str) -> Party {
    Party { subject: name.into(), identity: format!("issuer#{name}") }
}

fn honk(count: usize) -> GroupRequest {
    GroupRequest {
        request_id: "drill".into(),
        kind: CommandKind::Honk,
        reason: "a drill".into(),
        filter: "presence = ONLINE".into(),
        vehicles: (0..count).map(vehicle).collect(),
        excluded: 0,
        vehicles_per_1000_s: 1_000_000,
        under_way_max: 4,
        ttl_ms: 60_000,
        threshold: None,
        moving: false,
    }
}

/// Waits until a group is as wanted.
async fn until(desk: &Arc<dyn OperationsDesk>, id: &str, wanted: impl Fn(&GroupView) -> bool) -> GroupView {
    let mut changes = desk.changes();
    let found = async {
        loop {
            changes.mark_unchanged();
            let (view, _) = desk.group(&here(), id).await.unwrap();
            if wanted(&view) {
                return view;
            }
            changes.changed().await.unwrap();
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), found).await {
        Ok(view) => view,
        Err(_) => panic!("it is {:?}", desk.group(&here(), id).await.unwrap().0),
    }
}

fn code(error: OperationsError) -> String {
    match error {
        OperationsError::Refused { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_vehicle_gets_its_command_once_whatever_restarts() {
    let stage = Stage::new();
    let mut operations = vec![stage.start().await];
    let desk = operations[0].desk();
    let group = desk.create_group(&here(), honk(60), party("ada")).await.unwrap();
    let again = desk.create_group(&here(), honk(60), party("ada")).await.unwrap();
    assert_eq!(group.id, again.id, "the same request again");
    for part in [10, 25, 45] {
        let desk = operations.last().unwrap().desk();
        until(&desk, &group.id, |view| view.counts.done >= part).await;
        // The one before lives on, and is fenced.
        operations.push(stage.start().await);
    }
    let desk = operations.last().unwrap().desk();
    let view = until(&desk, &group.id, |view| view.phase == GroupPhase::Completed).await;
    assert_eq!((view.counts.done, view.counts.vehicles), (60, 60));
    let counts = stage.fleet.counts();
    assert_eq!(counts.len(), 60);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    let listed = desk.groups(&here(), None, 10).await.unwrap();
    assert_eq!(
        listed.iter().map(|view| (view.phase, view.counts)).collect::<Vec<_>>(),
        [(GroupPhase::Completed, view.counts)]
    );
    for one in operations {
        one.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_callers_with_one_request_id_get_a_group_each_and_one_of_before_stays_its_callers() {
    let stage = Stage::new();
    // As it was named when its id followed from the request id alone.
    let before = "0eda4d9498b9f3826ec406e7a3dd35bc";
    let GroupRequest { request_id, kind, reason, filter, .. } = honk(3);
    let spec = Spec {
        kind,
        reason,
        filter,
        requested_by: "ada".into(),
        identity: party("ada").identity,
        request_id,
        excluded: 0,
        vehicles_per_1000_s: 1_000_000,
        under_way_max: 4,
        ttl_ms: 60_000,
        threshold: None,
    };
    let create = GroupCommand::Create { spec, vehicles: (0..3).map(vehicle).collect(), because: None };
    let shards = Shards::take_all(Arc::clone(&stage.journal), EntityMetrics::default()).await.unwrap();
    let groups = Entities::<Groups>::start(&shards, Settings::default()).await.unwrap();
    let context = Context {
        now_ms: 1,
        command_id: "create/1".into(),
        actor: "ada".into(),
        correlation_id: before.into(),
    };
    groups.ask(&here(), before, create, context).await.unwrap();

    let operations = stage.start().await;
    let desk = operations.desk();
    let known = desk.create_group(&here(), honk(9), party("ada")).await.unwrap();
    assert_eq!((known.id.as_str(), known.counts.vehicles), (before, 3), "a repetition of the first");
    let other = GroupRequest { vehicles: (10..15).map(vehicle).collect(), ..honk(0) };
    let other = desk.create_group(&here(), other, party("bob")).await.unwrap();
    assert_ne!(other.id, before);
    assert_eq!((other.requested_by.as_str(), other.counts.vehicles), ("bob", 5));
    let again = desk.create_group(&here(), honk(9), party("bob")).await.unwrap();
    assert_eq!((&again.id, again.counts.vehicles), (&other.id, 5));
    for id in [before, &other.id] {
        until(&desk, id, |view| view.phase == GroupPhase::Completed).await;
    }
    assert_eq!(stage.fleet.counts().len(), 8);
    operations.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_away_keeps_nobody_waiting_and_is_taken_back() {
    let stage = Stage::new();
    stage.fleet.away.lock().extend([vehicle(0), vehicle(1)]);
    let operations = stage.start().await;
    let desk = operations.desk();
    let one_by_one = GroupRequest { under_way_max: 1, ..honk(6) };
    let group = desk.create_group(&here(), one_by_one, party("ada")).await.unwrap();
    let view = until(&desk, &group.id, |view| view.counts.done == 4).await;
    assert_eq!((view.phase, view.counts.given), (GroupPhase::Running, 2));
    // It returns, through a restart.
    operations.stop().await;
    let operations = stage.start().await;
    let desk = operations.desk();
    stage.fleet.returns(vehicle(0));
    until(&desk, &group.id, |view| view.counts.done == 5).await;
    let refused = desk.steer(&here(), &group.id, Steering::Abort, "enough", Some(1), party("bob")).await;
    assert_eq!(refused, Err(OperationsError::Changed));
    desk.steer(&here(), &group.id, Steering::Abort, "enough", None, party("bob")).await.unwrap();
    let view = until(&desk, &group.id, |view| view.phase == GroupPhase::Aborted).await;
    assert_eq!((view.counts.cancelled, view.counts.done, view.phase_by.as_str()), (1, 5, "bob"));
    assert_eq!(
        code(desk.steer(&here(), &group.id, Steering::Pause, "x", None, party("bob")).await.unwrap_err()),
        "command-group-phase"
    );
    operations.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_pause_it_and_somebody_lets_it_go_on() {
    let stage = Stage::new();
    stage.fleet.broken.lock().extend((0..3).map(vehicle));
    let operations = stage.start().await;
    let desk = operations.desk();
    let mut request = honk(30);
    // One that does not exist is told of, and counts as a failure.
    request.vehicles.push(VehicleId::new("X1").unwrap());
    request.threshold = Some(FailureThreshold { percent: 50, after_vehicles: 3 });
    request.under_way_max = 1;
    let group = desk.create_group(&here(), request, party("ada")).await.unwrap();
    let view = until(&desk, &group.id, |view| view.phase == GroupPhase::Paused).await;
    assert_eq!((view.phase_by.as_str(), view.counts.failed), ("threshold", 3));
    assert!(view.counts.waiting > 20, "{view:?}");
    let (_, vehicles) = desk.group(&here(), &group.id).await.unwrap();
    assert_eq!(
        (vehicles[0].outcome, vehicles[0].detail.as_str()),
        (GroupOutcome::Failed, "the horn is broken")
    );
    desk.steer(&here(), &group.id, Steering::Resume, "known", None, party("ada")).await.unwrap();
    let view = until(&desk, &group.id, |view| view.phase == GroupPhase::Completed).await;
    assert_eq!((view.counts.done, view.counts.failed, view.counts.rejected), (27, 3, 1));
    operations.stop().await;
}

fn reboot() -> CommandRequest {
    CommandRequest {
        request_id: "r1".into(),
        kind: CommandKind::Reboot,
        reason: "stuck".into(),
        requested_by: "ada".into(),
        ttl_ms: 60_000,
        validate_only: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dangerous_waits_for_a_second_person_and_is_given_once() {
    let stage = Stage::new();
    let operations = stage.start().await;
    let desk = operations.desk();
    let v = vehicle(1);
    let harmless = CommandRequest { kind: CommandKind::Honk, request_id: "h".into(), ..reboot() };
    let given = desk.give(&here(), &v, harmless, party("ada"), true).await.unwrap();
    assert!(matches!(given, Given::Command(_)));
    let Given::Approval(asked) = desk.give(&here(), &v, reboot(), party("ada"), false).await.unwrap() else {
        panic!("it was given");
    };
    assert_eq!((asked.phase, asked.vehicle), (ApprovalPhase::Pending, Some(v)));
    assert_eq!(stage.fleet.counts()[&v], 1, "only the horn");
    let approve = async |hash: &str, by: Party| desk.approve(&here(), &asked.id, hash, "", by).await;
    let hash = asked.content_hash.as_str();
    let other_token = Party { subject: "ada@elsewhere".into(), identity: "issuer#ada".into() };
    assert_eq!(code(approve(hash, party("ada")).await.unwrap_err()), "self-approval");
    assert_eq!(code(approve(hash, other_token).await.unwrap_err()), "self-approval");
    assert_eq!(code(approve(&"0".repeat(64), party("bob")).await.unwrap_err()), "content-changed");
    // The vehicles cannot be reached when it is approved, and the node ends before they can.
    stage.fleet.closed.store(true, Ordering::SeqCst);
    let approved = approve(hash, party("bob")).await.unwrap();
    assert_eq!((approved.phase, approved.decided_by.as_str()), (ApprovalPhase::Approved, "bob"));
    assert_eq!((approved.result.as_str(), stage.fleet.counts()[&v]), ("", 1));
    operations.stop().await;
    stage.fleet.closed.store(false, Ordering::SeqCst);
    let operations = stage.start().await;
    let desk = operations.desk();
    let mut changes = desk.changes();
    let carried_out = async {
        while desk.approval(&here(), &asked.id).await.unwrap().result.is_empty() {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), carried_out).await.expect("carried out");
    assert_eq!(stage.fleet.counts()[&v], 2);
    // Asked again: the command itself, and no second one.
    let again = desk.give(&here(), &v, reboot(), party("ada"), false).await.unwrap();
    assert!(matches!(again, Given::Command(view) if view.state == CommandState::Done));
    assert_eq!(stage.fleet.counts()[&v], 2);
    operations.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_decides_in_time_and_nothing_is_given() {
    let stage = Stage::new();
    let operations = stage.start().await;
    let desk = operations.desk();
    let unlock = CommandRequest { kind: CommandKind::Lock(false), ..reboot() };
    let v = vehicle(2);
    let Given::Approval(asked) = desk.give(&here(), &v, unlock, party("ada"), true).await.unwrap() else {
        panic!("it was given");
    };
    let large = desk.create_group(&here(), honk(101), party("ada")).await.unwrap();
    assert_eq!(large.phase, GroupPhase::AwaitingApproval);
    let pending = desk.approvals(&here(), None, 10).await.unwrap();
    assert_eq!(pending.iter().map(|approval| approval.vehicles).sum::<u32>(), 102);
    stage.now_ms.fetch_add(60_000, Ordering::SeqCst);
    let late = desk.approve(&here(), &asked.id, &asked.content_hash, "", party("bob")).await;
    assert_eq!(code(late.unwrap_err()), "approval-expired");
    let view = until(&desk, &large.id, |view| view.phase == GroupPhase::Denied).await;
    assert!(view.phase_reason.contains("in time"), "{view:?}");
    assert!(stage.fleet.counts().is_empty());
    operations.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_group_runs_when_a_second_person_agrees_to_these_vehicles() {
    let stage = Stage::new();
    let operations = stage.start().await;
    let desk = operations.desk();
    let group = desk.create_group(&here(), honk(101), party("ada")).await.unwrap();
    let waits = desk.approval(&here(), &group.id).await.unwrap();
    let own = desk.approve(&here(), &group.id, &waits.content_hash, "", party("ada")).await;
    assert_eq!(code(own.unwrap_err()), "self-approval");
    desk.approve(&here(), &group.id, &waits.content_hash, "fine", party("bob")).await.unwrap();
    let view = until(&desk, &group.id, |view| view.phase == GroupPhase::Completed).await;
    assert_eq!((view.counts.done, view.phase_by.as_str()), (101, "bob"));
    // Denied: nothing more is given.
    let other = GroupRequest { request_id: "other".into(), ..honk(101) };
    let other = desk.create_group(&here(), other, party("ada")).await.unwrap();
    desk.deny(&here(), &other.id, "not now", party("bob")).await.unwrap();
    let view = until(&desk, &other.id, |view| view.phase == GroupPhase::Denied).await;
    assert_eq!((view.phase_reason.as_str(), view.counts.waiting), ("not now", 101));
    assert!(stage.fleet.counts().values().all(|count| *count == 1));
    operations.stop().await;
}
