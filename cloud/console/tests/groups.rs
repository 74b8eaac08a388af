//! Group commands and second persons over the console's port.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod assistance;
#[path = "support/business.rs"]
mod business;
mod parts;
mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_access::{Account, Accounts, Secret};
use remuda_api::commands::v1::approval_service_client::ApprovalServiceClient;
use remuda_api::commands::v1::command_group_service_client::CommandGroupServiceClient;
use remuda_api::commands::v1::command_service_client::CommandServiceClient;
use remuda_api::commands::v1::{
    AbortCommandGroupRequest, Action, ApprovalState, ApproveRequest, CreateCommandGroupRequest,
    CreateCommandRequest, FailureThreshold, GetCommandRequest, GroupState, ListApprovalsRequest,
    ListCommandGroupsRequest, PauseCommandGroupRequest, State, WatchCommandGroupRequest, WatchCommandRequest,
    action,
};
use remuda_console::{Access, Console, ConsoleSettings, ConsoleSources, Token};
use remuda_contracts::commands::{CommandDesk, CommandError, CommandRequest, CommandState, CommandView};
use remuda_contracts::fleet::Presence;
use remuda_entities::{EntityMetrics, Shards};
use remuda_eventsourcing::{Journal, MemoryJournal};
use remuda_model::{OrganizationId, VehicleId};
use remuda_operations::{Danger, Operations, OperationsMetrics, OperationsSettings, TwoPersons};
use support::FakeFleet;
use tokio::sync::broadcast;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

const TOKEN: &str = "a-token-for-tests-0123456789";
const PARENT: &str = "organizations/default";

/// Vehicles that are told and answer when the test says so.
struct Desk {
    given: Mutex<Vec<CommandView>>,
    changes: broadcast::Sender<CommandView>,
}

impl Desk {
    /// All that wait do it.
    fn answer(&self) {
        for view in self.given.lock().iter_mut().filter(|view| view.state == CommandState::Queued) {
            view.state = CommandState::Done;
            let _ = self.changes.send(view.clone());
        }
    }
}

#[async_trait]
impl CommandDesk for Desk {
    async fn queue(
        &self,
        _: &OrganizationId,
        vehicle: &VehicleId,
        request: CommandRequest,
    ) -> Result<CommandView, CommandError> {
        let mut given = self.given.lock();
        let id = format!("{:0>32}", format!("{}{}", vehicle, request.request_id.len()));
        if let Some(known) = given.iter().find(|view| view.id == id) {
            return Ok(known.clone());
        }
        let view = CommandView {
            id,
            vehicle: *vehicle,
            kind: request.kind,
            reason: request.reason,
            requested_by: request.requested_by,
            request_id: request.request_id,
            queued_ms: 1_000,
            expires_ms: 1_000 + request.ttl_ms,
            state: CommandState::Queued,
            detail: String::new(),
            changed_ms: 1_000,
            sends: 0,
        };
        if !request.validate_only {
            given.push(view.clone());
            let _ = self.changes.send(view.clone());
        }
        Ok(view)
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
        let found = given.iter_mut().find(|view| view.vehicle == *vehicle && view.id == id);
        let view = found.ok_or(CommandError::NoSuchCommand)?;
        view.state = CommandState::Cancelled;
        let _ = self.changes.send(view.clone());
        Ok(view.clone())
    }

    async fn list(&self, _: &OrganizationId, vehicle: &VehicleId) -> Result<Vec<CommandView>, CommandError> {
        Ok(self.given.lock().iter().filter(|view| view.vehicle == *vehicle).cloned().collect())
    }

    fn changes(&self) -> broadcast::Receiver<CommandView> {
        self.changes.subscribe()
    }
}

struct Stage {
    desk: Arc<Desk>,
    fleet: Arc<FakeFleet>,
    operations: Operations,
    said: Arc<assistance::Said>,
    console: Console,
    _folder: tempfile::TempDir,
}

async fn stage() -> Stage {
    let grants = [
        ("ada", vec!["operator"]),
        ("bob", vec!["operator"]),
        ("dora", vec!["dispatcher"]),
        ("vera", vec!["viewer"]),
    ];
    stage_with(Arc::new(FakeFleet::new(20)), &grants, |_| ()).await
}

async fn stage_with(
    fleet: Arc<FakeFleet>,
    grants: &[(&str, Vec<&str>)],
    more: impl FnOnce(&mut ConsoleSources),
) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let shards = Shards::take_all(journal, EntityMetrics::default()).await.unwrap();
    let desk = Arc::new(Desk { given: Mutex::default(), changes: broadcast::Sender::new(256) });
    let settings = OperationsSettings {
        folder: folder.path().to_owned(),
        two_persons: TwoPersons {
            kinds: BTreeSet::from([Danger::Reboot, Danger::UnlockWhileDriving]),
            above_vehicles: 10,
            wait_ms: 600_000,
        },
        clock: Arc::new(support::now_ms),
        organization: OrganizationId::default(),
    };
    let metrics = OperationsMetrics::default();
    let said = Arc::new(assistance::Said::default());
    let operations = Operations::start(settings, &shards, desk.clone(), said.clone(), metrics).await.unwrap();
    let account = |(name, grants): &(&str, Vec<&str>)| Account {
        name: (*name).into(),
        secret: Secret::of(&format!("{name}-token-for-tests-0123")),
        grants: grants.iter().map(|grant| grant.parse().unwrap()).collect(),
    };
    let accounts = Accounts::new(grants.iter().map(account).collect()).unwrap();
    let access = Access { accounts: Arc::new(accounts), ..Access::default() };
    let settings = ConsoleSettings {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: Token::new(TOKEN).unwrap(),
        organization: OrganizationId::default(),
        access,
    };
    let mut sources = support::sources(&fleet);
    sources.commands = desk.clone();
    sources.operations = Some(operations.desk());
    sources.assistance = Some(operations.assistance());
    more(&mut sources);
    let console = Console::bind(settings, sources).await.unwrap();
    Stage { desk, fleet, operations, said, console, _folder: folder }
}

#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Stage {
    async fn called_as(&self, name: &str) -> InterceptedService<Channel, Bearer> {
        let address = format!("http://{}", self.console.local_addr());
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        InterceptedService::new(
            channel,
            Bearer(format!("Bearer {name}-token-for-tests-0123").parse().unwrap()),
        )
    }

    async fn stop(self) {
        self.console.stop().await.unwrap();
        self.operations.stop().await;
    }
}

fn said(action: action::Action) -> Option<Action> {
    Some(Action { action: Some(action) })
}

/// Five vehicles, as fast as may be.
fn honk() -> CreateCommandGroupRequest {
    CreateCommandGroupRequest {
        parent: PARENT.into(),
        action: said(action::Action::Honk(true)),
        reason: "a drill".into(),
        filter: (0..5).map(|n| format!("vehicle = V{n:06}")).collect::<Vec<_>>().join(" OR "),
        request_id: "drill".into(),
        vehicles_per_second: 1_000.0,
        under_way_max: 100,
        failure_threshold: Some(FailureThreshold { percent: 50, after_vehicles: 2 }),
        ..CreateCommandGroupRequest::default()
    }
}

fn reason_of(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_previewed_given_and_followed_from_where_one_was() {
    let stage = stage().await;
    for number in 0..5 {
        stage.fleet.change(&format!("V{number:06}"), |vehicle| vehicle.presence = Presence::Online);
    }
    stage.fleet.change("V000003", |vehicle| vehicle.presence = Presence::Offline);
    let mut client = CommandGroupServiceClient::new(stage.called_as("ada").await);
    let dry = CreateCommandGroupRequest { validate_only: true, online_only: true, ..honk() };
    let preview = client.create_command_group(dry.clone()).await.unwrap().into_inner().preview.unwrap();
    assert_eq!((preview.vehicles.len(), preview.away, preview.needs_approval.as_str()), (4, 0, ""));
    assert_eq!(preview.excluded[0].vehicle, format!("{PARENT}/vehicles/V000003"));
    assert_eq!(preview.excluded[0].reason, "away");
    assert!(stage.desk.given.lock().is_empty(), "a preview gives nothing");

    // Another vehicle matches than the preview said.
    stage.fleet.change("V000003", |vehicle| vehicle.presence = Presence::Online);
    let real = CreateCommandGroupRequest {
        validate_only: false,
        vehicles_hash: preview.vehicles_hash,
        ..dry.clone()
    };
    let changed = client.create_command_group(real.clone()).await.unwrap_err();
    assert_eq!(reason_of(&changed), (Code::Aborted, "VEHICLES_CHANGED".into()));
    let preview = client.create_command_group(dry).await.unwrap().into_inner().preview.unwrap();
    let real = CreateCommandGroupRequest { vehicles_hash: preview.vehicles_hash, ..real };
    let group = client.create_command_group(real).await.unwrap().into_inner();
    assert_eq!((group.state(), group.requested_by.as_str()), (GroupState::Running, "account/ada"));

    // All are told, none has answered; the watcher goes away.
    let watch =
        |token: &str| WatchCommandGroupRequest { name: group.name.clone(), resume_token: token.into() };
    let mut changes = client.watch_command_group(watch("")).await.unwrap().into_inner();
    let mut token = String::new();
    while let Some(change) = changes.message().await.unwrap() {
        token = change.resume_token;
        if change.command_group.unwrap().counts.unwrap().given == 5 {
            break;
        }
    }
    drop(changes);
    stage.desk.answer();
    let mut changes = client.watch_command_group(watch(&token)).await.unwrap().into_inner();
    let (mut done, mut last) = (BTreeSet::new(), None);
    while let Some(change) = changes.message().await.unwrap() {
        for vehicle in change.vehicles {
            assert_eq!(vehicle.state(), State::Done, "only what is new is told");
            assert!(done.insert(vehicle.vehicle), "and once");
        }
        last = change.command_group;
    }
    assert_eq!((done.len(), last.unwrap().state()), (5, GroupState::Completed));
    let again = client.create_command_group(honk()).await.unwrap().into_inner();
    assert_eq!((again.state(), &again.name), (GroupState::Completed, &group.name));
    let list = ListCommandGroupsRequest { parent: PARENT.into(), ..ListCommandGroupsRequest::default() };
    assert_eq!(client.list_command_groups(list).await.unwrap().into_inner().command_groups.len(), 1);

    // What cannot be.
    for (request, code, reason) in [
        (
            CreateCommandGroupRequest { filter: String::new(), ..honk() },
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        (
            CreateCommandGroupRequest { filter: "vehicle = nobody".into(), request_id: "n".into(), ..honk() },
            Code::FailedPrecondition,
            "NO_VEHICLES",
        ),
        (
            CreateCommandGroupRequest { reason: "another".into(), ..honk() },
            Code::AlreadyExists,
            "REQUEST_ID_REUSED",
        ),
        (
            CreateCommandGroupRequest { vehicles_per_second: 1e9, ..honk() },
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
    ] {
        let status = client.create_command_group(request).await.unwrap_err();
        assert_eq!(reason_of(&status), (code, reason.to_owned()), "{status:?}");
    }
    let pause = PauseCommandGroupRequest { name: group.name, reason: "x".into(), etag: String::new() };
    let ended = client.pause_command_group(pause).await.unwrap_err();
    assert_eq!(reason_of(&ended), (Code::FailedPrecondition, "COMMAND_GROUP_PHASE".into()));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_etag_steers_nothing() {
    let stage = stage().await;
    let mut client = CommandGroupServiceClient::new(stage.called_as("ada").await);
    let group = client.create_command_group(honk()).await.unwrap().into_inner();
    let abort = |etag: &str| AbortCommandGroupRequest {
        name: group.name.clone(),
        reason: "enough".into(),
        etag: etag.into(),
    };
    let stale = client.abort_command_group(abort("\"1\"")).await.unwrap_err();
    assert_eq!(reason_of(&stale), (Code::Aborted, "ETAG_MISMATCH".into()));
    client.abort_command_group(abort("")).await.unwrap();
    let watch = WatchCommandGroupRequest { name: group.name.clone(), resume_token: String::new() };
    let mut changes = client.watch_command_group(watch).await.unwrap().into_inner();
    let mut last = None;
    while let Some(change) = changes.message().await.unwrap() {
        last = change.command_group;
    }
    let last = last.unwrap();
    assert_eq!((last.state(), last.state_by.as_str()), (GroupState::Aborted, "account/ada"));
    assert_eq!(last.counts.unwrap().done, 0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_person_decides_over_the_port() {
    let stage = stage().await;
    let mut ada = CommandServiceClient::new(stage.called_as("ada").await);
    let reboot = CreateCommandRequest {
        parent: format!("{PARENT}/vehicles/V000001"),
        action: said(action::Action::Reboot(true)),
        reason: "stuck".into(),
        request_id: "r".into(),
        ..CreateCommandRequest::default()
    };
    let waits = ada.create_command(reboot.clone()).await.unwrap().into_inner();
    assert_eq!(waits.state(), State::AwaitingApproval);
    let get = GetCommandRequest { name: waits.name.clone() };
    assert_eq!(ada.get_command(get.clone()).await.unwrap().into_inner(), waits);
    let mut changes =
        ada.watch_command(WatchCommandRequest { name: waits.name.clone() }).await.unwrap().into_inner();
    assert_eq!(changes.message().await.unwrap().unwrap().state(), State::AwaitingApproval);
    assert!(stage.desk.given.lock().is_empty());

    let list = ListApprovalsRequest { parent: PARENT.into(), ..ListApprovalsRequest::default() };
    let mut bob = ApprovalServiceClient::new(stage.called_as("bob").await);
    let listed = bob.list_approvals(list).await.unwrap().into_inner().approvals;
    let approval = listed.into_iter().next().unwrap();
    assert_eq!((approval.state(), &approval.resource), (ApprovalState::Pending, &waits.name));
    let approve = ApproveRequest {
        name: approval.name.clone(),
        content_hash: approval.content_hash.clone(),
        reason: "seen".into(),
    };
    let mut own = ApprovalServiceClient::new(stage.called_as("ada").await);
    let refused = own.approve(approve.clone()).await.unwrap_err();
    assert_eq!(reason_of(&refused), (Code::PermissionDenied, "SELF_APPROVAL".into()));
    let mut dora = ApprovalServiceClient::new(stage.called_as("dora").await);
    assert_eq!(dora.approve(approve.clone()).await.unwrap_err().code(), Code::PermissionDenied);
    let other = ApproveRequest { content_hash: "0".repeat(64), ..approve.clone() };
    let refused = bob.approve(other).await.unwrap_err();
    assert_eq!(reason_of(&refused), (Code::Aborted, "CONTENT_CHANGED".into()));
    let done = bob.approve(approve).await.unwrap().into_inner();
    assert_eq!((done.state(), done.decided_by.as_str()), (ApprovalState::Approved, "account/bob"));
    assert_eq!(stage.desk.given.lock().len(), 1);
    stage.desk.answer();
    let mut states = Vec::new();
    while let Some(change) = changes.message().await.unwrap() {
        states.push(change.state());
    }
    assert_eq!(states.last(), Some(&State::Done), "it is followed to its end: {states:?}");
    let again = ada.create_command(reboot).await.unwrap().into_inner();
    assert_eq!((again.state(), stage.desk.given.lock().len()), (State::Done, 1));
    // Doors of a vehicle that drives, and a large group.
    stage.fleet.change("V000002", |vehicle| {
        if let Some(position) = &mut vehicle.position {
            position.speed_kmh = 40.0;
        }
    });
    let unlock = |vehicle: &str| CreateCommandRequest {
        parent: format!("{PARENT}/vehicles/{vehicle}"),
        action: said(action::Action::Lock(false)),
        reason: "help".into(),
        ..CreateCommandRequest::default()
    };
    let drives = ada.create_command(unlock("V000002")).await.unwrap().into_inner();
    let stands = ada.create_command(unlock("V000004")).await.unwrap().into_inner();
    assert_eq!((drives.state(), stands.state()), (State::AwaitingApproval, State::Queued));
    let mut groups = CommandGroupServiceClient::new(stage.called_as("ada").await);
    let all = CreateCommandGroupRequest { filter: String::new(), all_vehicles: true, ..honk() };
    let all = groups.create_command_group(all).await.unwrap().into_inner();
    assert_eq!(all.state(), GroupState::AwaitingApproval);
    assert!(all.approval.ends_with(all.name.rsplit('/').next().unwrap()), "{all:?}");
    stage.stop().await;
}
