//! Commands to vehicles: sent when the vehicle is there, obeyed once, answered from its reports, through restarts.

#[path = "orders/alerts.rs"]
mod alerts;
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use common::{Scripted, eventually, header, settings, start};
use remuda_contracts::commands::{CommandError, CommandRequest, CommandState, CommandView};
use remuda_eventsourcing::{Journal, MemoryJournal};
use remuda_model::{Epoch, Incarnation, Lane, OrganizationId, VehicleId};
use remuda_vehicles::metrics::{OrderLabel, ReasonLabel};
use remuda_vehicles::{CommandSigner, Signer, VehicleSettings, VehicleSystem, WallClock};
use remuda_wire::frame::CommandOutcome;
use remuda_wire::{Body, Command, CommandKind, Down, Event, LaneState, frame, signing};

/// A signature that a test can check.
struct Sum;

impl CommandSigner for Sum {
    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        vec![bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)); 64]
    }
}

fn signing_settings() -> VehicleSettings {
    VehicleSettings { signer: Signer(Some(Arc::new(Sum))), ..settings() }
}

fn request(id: &str, kind: CommandKind) -> CommandRequest {
    CommandRequest {
        request_id: id.into(),
        kind,
        reason: "the key is lost".into(),
        requested_by: "dora".into(),
        ttl_ms: 60_000,
        validate_only: false,
    }
}

async fn queue(system: &VehicleSystem, car: &Scripted, id: &str, kind: CommandKind) -> CommandView {
    let organization = OrganizationId::default();
    system.commands.queue(&organization, &car.vehicle, request(id, kind)).await.expect("taken")
}

async fn list(system: &VehicleSystem, car: &Scripted) -> Vec<CommandView> {
    system.commands.list(&OrganizationId::default(), &car.vehicle).await.expect("listed")
}

async fn state(system: &VehicleSystem, car: &Scripted, id: &str) -> CommandState {
    let found = list(system, car).await.into_iter().find(|command| command.request_id == id);
    found.expect("it is remembered").state
}

async fn reaches(system: &VehicleSystem, car: &Scripted, id: &str, wanted: CommandState) {
    eventually(&format!("{id} becomes {wanted:?}"), async || state(system, car, id).await == wanted).await;
}

/// The next command down.
async fn hear(car: &mut Scripted) -> Command {
    loop {
        if let Down::Command(command) = car.hear().await {
            return command;
        }
    }
}

/// A report as the agent makes it.
fn report(seq: u64, command: &Command, outcome: CommandOutcome) -> Vec<u8> {
    frame::encode(&header(seq), &Body::Event(Event::CommandResult { command: command.id, outcome }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_goes_to_a_connected_vehicle_and_its_answers_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, _, _) = start(folder.path(), &journal, signing_settings()).await;
    let mut changes = system.commands.changes();
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    car.greet(vec![]).await;
    let taken = queue(&system, &car, "r1", CommandKind::Lock(false)).await;
    assert_eq!((taken.state, taken.sends, taken.requested_by.as_str()), (CommandState::Sent, 1, "dora"));
    let command = hear(&mut car).await;
    assert_eq!((command.incarnation, command.kind.clone()), (Incarnation(7), CommandKind::Lock(false)));
    assert_eq!(command.signature, Sum.sign(&signing::signed_bytes(&car.vehicle, &command)));
    assert_eq!(command.expires_ms, taken.expires_ms);
    // The same request again is the same command, and goes out once.
    assert_eq!(queue(&system, &car, "r1", CommandKind::Lock(false)).await.id, taken.id);
    let other = request("r1", CommandKind::Honk);
    let refused = system.commands.queue(&OrganizationId::default(), &car.vehicle, other).await;
    assert!(matches!(refused, Err(CommandError::Refused { code: "request_id_reused", .. })), "{refused:?}");
    car.frames(Lane::Events, 1, vec![report(1, &command, CommandOutcome::Accepted)]).await;
    car.durable(Lane::Events, 1).await;
    reaches(&system, &car, "r1", CommandState::Accepted).await;
    car.frames(Lane::Events, 2, vec![report(2, &command, CommandOutcome::Done)]).await;
    car.durable(Lane::Events, 2).await;
    reaches(&system, &car, "r1", CommandState::Done).await;
    let mut seen = Vec::new();
    while seen.last() != Some(&CommandState::Done) {
        seen.push(changes.recv().await.expect("a change").state);
    }
    let expected = [CommandState::Queued, CommandState::Sent, CommandState::Accepted, CommandState::Done];
    assert_eq!(seen, expected);
    // A greeting does not send what has ended.
    car.reconnect().await;
    car.greet(vec![]).await;
    let probe = queue(&system, &car, "r2", CommandKind::Honk).await;
    assert_eq!(hear(&mut car).await.id.map(|b| format!("{b:02x}")).concat(), probe.id);
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vehicle_that_is_away_gets_it_when_it_returns_also_after_a_restart_of_the_cloud() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, _, _) = start(folder.path(), &journal, signing_settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    car.greet(vec![]).await;
    car.disconnect(car.generation).await;
    let organization = OrganizationId::default();
    let stranger = VehicleId::new("NOBODY").unwrap();
    let refused = system.commands.queue(&organization, &stranger, request("r", CommandKind::Honk)).await;
    assert_eq!(refused, Err(CommandError::NoSuchVehicle));
    assert_eq!(queue(&system, &car, "keep", CommandKind::Honk).await.state, CommandState::Queued);
    let unwanted = queue(&system, &car, "drop", CommandKind::Reboot).await;
    let dry = CommandRequest { validate_only: true, ..request("dry", CommandKind::Honk) };
    let preview = system.commands.queue(&organization, &car.vehicle, dry).await.expect("it would be taken");
    assert_eq!(preview.state, CommandState::Queued);
    let taken_back =
        system.commands.cancel(&organization, &car.vehicle, &unwanted.id, "dora", "mistake").await;
    assert_eq!(taken_back.expect("it was not sent").state, CommandState::Cancelled);
    let nothing = system.commands.cancel(&organization, &car.vehicle, "zz", "dora", "mistake").await;
    assert_eq!(nothing, Err(CommandError::NoSuchCommand));
    system.handle.stop().await.unwrap();

    let (system, _, _) = start(folder.path(), &journal, signing_settings()).await;
    let known: Vec<(String, CommandState)> =
        list(&system, &car).await.into_iter().map(|c| (c.request_id, c.state)).collect();
    let expected = [("keep", CommandState::Queued), ("drop", CommandState::Cancelled)];
    assert_eq!(known, expected.map(|(id, state)| (id.to_owned(), state)), "a preview leaves nothing");
    let mut car = Scripted::connect(&system.intake, "CAR1", 8).await;
    let welcome = car.greet(vec![]).await;
    let command = hear(&mut car).await;
    assert_eq!((command.kind.clone(), command.incarnation), (CommandKind::Honk, Incarnation(8)));
    assert!(command.epoch == welcome.epoch && command.epoch > Epoch(1), "the present owner's epoch");
    let too_late = system.commands.cancel(&organization, &car.vehicle, &hex(command.id), "d", "no").await;
    assert!(
        matches!(too_late, Err(CommandError::Refused { code: "command_already_sent", .. })),
        "{too_late:?}"
    );
    system.handle.stop().await.unwrap();
}

fn hex(id: [u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_agent_is_heard_out_before_a_command_counts_as_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, _, _) = start(folder.path(), &journal, signing_settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    car.greet(vec![]).await;
    for id in ["told", "silent"] {
        queue(&system, &car, id, CommandKind::Honk).await;
    }
    queue(&system, &car, "lock", CommandKind::Lock(true)).await;
    let told = hear(&mut car).await;
    // It begins anew with one report of its earlier start in its outbox.
    car.incarnation = Incarnation(8);
    car.reconnect().await;
    let old = LaneState { lane: Lane::Events, incarnation: Incarnation(7), next_seq: 2, floor: 1, acked: 0 };
    car.greet(vec![old]).await;
    assert_eq!(state(&system, &car, "silent").await, CommandState::Sent, "it may still say something");
    car.incarnation = Incarnation(7);
    car.frames(Lane::Events, 1, vec![report(1, &told, CommandOutcome::Done)]).await;
    car.durable(Lane::Events, 1).await;
    car.incarnation = Incarnation(8);
    reaches(&system, &car, "told", CommandState::Done).await;
    reaches(&system, &car, "silent", CommandState::Unknown).await;
    // Locking twice is locking once: it goes out again.
    let again = hear(&mut car).await;
    assert_eq!((again.kind.clone(), again.incarnation), (CommandKind::Lock(true), Incarnation(8)));
    let sent_again = list(&system, &car).await.into_iter().find(|c| c.request_id == "lock").unwrap();
    assert_eq!((sent_again.state, sent_again.sends), (CommandState::Sent, 2));
    system.handle.stop().await.unwrap();
}

/// How far the server's clock of the test below is ahead, ms.
static AHEAD: AtomicI64 = AtomicI64::new(0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_too_long_expires_by_itself_and_is_not_sent() {
    let clock = WallClock(|| common::now_ms() + AHEAD.load(Relaxed));
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let settings = || VehicleSettings { clock, ..signing_settings() };
    let (system, _, _) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    car.greet(vec![]).await;
    car.disconnect(car.generation).await;
    queue(&system, &car, "r1", CommandKind::Honk).await;
    system.handle.stop().await.unwrap();
    // Found again by a node that was started after it had expired, with nobody asking.
    AHEAD.store(61_000, Relaxed);
    let (system, metrics, _) = start(folder.path(), &journal, settings()).await;
    let expired = OrderLabel { event: "vehicle-orders.expired" };
    eventually("it expires", async || metrics.orders.get_or_create(&expired).get() == 1).await;
    assert_eq!(state(&system, &car, "r1").await, CommandState::Expired);
    let mut car = Scripted::connect(&system.intake, "CAR1", 8).await;
    car.greet(vec![]).await;
    let fresh = queue(&system, &car, "r2", CommandKind::Reboot).await;
    assert_eq!(hex(hear(&mut car).await.id), fresh.id, "the expired one was not sent");
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_between_report_and_command_is_made_again_from_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, metrics, _) = start(folder.path(), &journal, signing_settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    car.greet(vec![]).await;
    queue(&system, &car, "r1", CommandKind::Honk).await;
    let command = hear(&mut car).await;
    // The actor fails after the report is durable, before the answer is; nobody sends the report again.
    let scenario = fail::FailScenario::setup();
    fail::cfg("order-answer", "1*return->off").unwrap();
    car.frames(Lane::Events, 1, vec![report(1, &command, CommandOutcome::Done)]).await;
    let failed = ReasonLabel { reason: "conflict" };
    eventually("the actor fails", async || metrics.actor_failures.get_or_create(&failed).get() == 1).await;
    scenario.teardown();
    eventually("the report counts", async || {
        let listed = system.commands.list(&OrganizationId::default(), &car.vehicle).await;
        listed.is_ok_and(|all| all.iter().any(|c| c.request_id == "r1" && c.state == CommandState::Done))
    })
    .await;
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_nothing_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, _, _) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    car.greet(vec![]).await;
    let organization = OrganizationId::default();
    let refused = system.commands.queue(&organization, &car.vehicle, request("r", CommandKind::Honk)).await;
    assert!(matches!(refused, Err(CommandError::Unavailable(_))), "{refused:?}");
    system.handle.stop().await.unwrap();
}
