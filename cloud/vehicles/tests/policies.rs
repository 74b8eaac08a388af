//! Policies over a whole vehicle domain: told at once and at the greeting, reported back, kept over a restart.

mod common;

use std::sync::Arc;

use common::{Scripted, eventually, settings, start};
use remuda_contracts::policies::{Impact, PolicyChange, PolicyRefusal, Target};
use remuda_eventsourcing::{Journal, MemoryJournal};
use remuda_model::OrganizationId;
use remuda_vehicles::VehicleSystem;
use remuda_wire::{
    Channel, ClockQuality, CollectionLevel, Down, LinkKind, Policy, PolicyRefused, Status, Up,
};

const FAST: &str = r#"{"others":{}}"#;
const RARE: &str = r#"{"others":{"min_interval_ms":10000}}"#;

fn set(name: &str, document: &str, expected: Option<u32>) -> PolicyChange {
    PolicyChange::Set { name: name.into(), document: document.into(), expected }
}

fn assign(name: &str, target: Target) -> PolicyChange {
    PolicyChange::Assign { name: name.into(), target }
}

async fn change(system: &VehicleSystem, change: PolicyChange) -> Result<Impact, PolicyRefusal> {
    system.policies.change(&OrganizationId::default(), change, "me", false).await
}

async fn policy(car: &mut Scripted) -> Policy {
    loop {
        if let Down::Policy(policy) = car.hear().await {
            return policy;
        }
    }
}

fn status(car: &Scripted, policy: &Policy) -> Status {
    Status {
        connection: car.connection(),
        policy_revision: policy.revision,
        policy_fingerprint: policy.fingerprint(),
        policy_refused: None,
        clock: ClockQuality::Server,
        link: LinkKind::Metered,
        collection: CollectionLevel::Full,
        bulk_held: false,
        budget: None,
        frames_held: 12,
        frames_shed: 3,
        frames_damaged: 0,
        readings_dropped: 0,
    }
}

async fn report(car: &Scripted, status: Status) {
    car.payload(car.generation, Channel::Session, Up::Status(status).encode()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_who_is_online_at_once_and_the_others_when_they_greet() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, metrics, _) = start(folder.path(), &journal, settings()).await;
    let organization = OrganizationId::default();
    let mut van = Scripted::connect(&system.intake, "VAN1", 7).await;
    van.greet(vec![]).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    car.greet(vec![]).await;
    eventually("both are online", async || system.handle.figures().vehicles_online == 2).await;
    change(&system, set("vans", RARE, Some(0))).await.unwrap();
    let tried = assign("vans", Target::Prefix("VAN".into()));
    let impact = system.policies.change(&organization, tried.clone(), "me", true).await.unwrap();
    assert_eq!(impact, Impact { vehicles: 1, online: 1 }, "a dry run");
    assert!(!system.policies.get(&organization, "vans").unwrap().prefixes.contains(&"VAN".into()));
    assert_eq!(change(&system, tried).await, Ok(Impact { vehicles: 1, online: 1 }));
    let sent = policy(&mut van).await;
    assert_eq!((sent.revision, sent.document.as_str()), (1, RARE));
    let standing = || system.policies.status(&organization, Some("vans")).unwrap();
    assert_eq!((standing().desired, standing().pending), (1, 1));
    report(&van, status(&van, &sent)).await;
    eventually("it follows", async || standing().applied == 1).await;
    let twin = system.view.twin(&organization, &van.vehicle).await.unwrap();
    assert_eq!(twin.detail.policy.as_deref(), Some("vans"));
    let said = twin.detail.report.unwrap();
    assert_eq!((said.policy_revision, said.frames_held, said.frames_shed), (1, 12, 3));
    assert_eq!((said.clock, said.agent_version.as_str()), (ClockQuality::Server, "test"));
    // Another document is another revision, for all who follow it.
    assert_eq!(change(&system, set("vans", FAST, Some(9))).await, Err(PolicyRefusal::Changed(1)));
    change(&system, set("vans", FAST, Some(1))).await.unwrap();
    let sent = policy(&mut van).await;
    assert_eq!((sent.revision, sent.document.as_str()), (3, FAST));
    let no = PolicyRefused { revision: 3, reason: "no room".into() };
    report(
        &van,
        Status { policy_refused: Some(no), ..status(&van, &Policy { revision: 1, document: RARE.into() }) },
    )
    .await;
    eventually("it said no", async || standing().refusals == [(van.vehicle, "no room".to_owned())]).await;
    assert_eq!(metrics.policies_refused.get(), 1);
    assert_eq!(metrics.policies_sent.get(), 2, "nobody else was told anything, and nothing twice");
    system.handle.stop().await.unwrap();

    // The book survives, and so does what vehicles said; who greets with another revision is told.
    let (system, ..) = start(folder.path(), &journal, settings()).await;
    let view = system.policies.get(&organization, "vans").unwrap();
    assert_eq!((view.revision, view.changed_by.as_str(), view.prefixes.len()), (3, "me", 1));
    let standing = system.policies.status(&organization, Some("vans")).unwrap();
    assert_eq!((standing.desired, standing.refused), (1, 1));
    let mut van = Scripted::connect(&system.intake, "VAN1", 8).await;
    van.greet(vec![]).await;
    assert_eq!(policy(&mut van).await.revision, 3);
    change(&system, PolicyChange::Unassign { target: Target::Prefix("VAN".into()) }).await.unwrap();
    let mut back = van.hello(vec![]);
    back.policy_revision = 3;
    van.payload(van.generation, Channel::Session, Up::Hello(back).encode()).await;
    assert_eq!(policy(&mut van).await, Policy { revision: 0, document: String::new() });
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passivated_vehicle_that_is_connected_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let settings =
        remuda_vehicles::VehicleSettings { idle: std::time::Duration::from_millis(50), ..settings() };
    let (system, metrics, _) = start(folder.path(), &journal, settings).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    car.greet(vec![]).await;
    eventually("it is passivated", async || metrics.passivations.get() > 0).await;
    change(&system, set("all", RARE, None)).await.unwrap();
    change(&system, assign("all", Target::All)).await.unwrap();
    assert_eq!(policy(&mut car).await.revision, 1);
    system.handle.stop().await.unwrap();
}
