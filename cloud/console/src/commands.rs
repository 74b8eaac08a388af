//! `remuda.commands.v1.CommandService`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use remuda_api::commands::v1::command_service_server::CommandService;
use remuda_api::commands::v1::{
    Action, CancelCommandRequest, Command, CreateCommandRequest, GetCommandRequest, ListCommandsRequest,
    ListCommandsResponse, State, WatchCommandRequest, action,
};
use remuda_api::{ChildName, CommandName};
use remuda_contracts::commands::{CommandDesk, CommandRequest, CommandState, CommandView};
use remuda_contracts::fleet::{FleetView, VehicleSummary};
use remuda_contracts::operations::{
    ApprovalPhase, ApprovalView, Given, OperationsDesk, OperationsError, Party,
};
use remuda_model::VehicleId;
use remuda_wire::CommandKind;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::convert::timestamp_of;
use crate::limits;
use crate::refusal::Refusal;
use crate::scope::{Scope, field, party, sight, who};
use crate::seats::Seats;
use crate::watch::stopped;

/// How long a command waits for its vehicle when nobody says, ms.
const TTL_MS: i64 = 60_000;

/// How often a watched command that waits for a second person is looked at.
const WAITS_LOOK: Duration = Duration::from_millis(500);

/// The service, over the vehicle domain's desk.
pub(crate) struct Commands {
    pub desk: Arc<dyn CommandDesk>,
    /// Who has what is dangerous wait for a second person; without it one is enough.
    pub operations: Option<Arc<dyn OperationsDesk>>,
    pub view: Arc<dyn FleetView>,
    pub scope: Scope,
    pub watchers: Seats,
    pub stopping: watch::Receiver<bool>,
}

type Changes = Pin<Box<dyn Stream<Item = Result<Command, Status>> + Send>>;

impl Commands {
    fn named(&self, name: &str) -> Result<(VehicleId, String), Refusal> {
        let name: CommandName = name.parse().map_err(|e| field("name", e))?;
        self.scope.check(&name.organization)?;
        let vehicle = VehicleId::new(&name.vehicle).map_err(|e| field("name", e))?;
        Ok((vehicle, name.command))
    }

    fn command_of(&self, view: &CommandView) -> Command {
        let name = CommandName {
            organization: self.scope.organization.to_string(),
            vehicle: view.vehicle.to_string(),
            command: view.id.clone(),
        };
        Command {
            name: name.to_string(),
            action: Some(action_of(&view.kind)),
            reason: view.reason.clone(),
            requested_by: view.requested_by.clone(),
            request_id: view.request_id.clone(),
            create_time: timestamp_of(view.queued_ms),
            expire_time: timestamp_of(view.expires_ms),
            state: state_of(view.state).into(),
            detail: view.detail.clone(),
            update_time: timestamp_of(view.changed_ms),
            sends: view.sends,
            approval: String::new(),
        }
    }

    /// A command that waits for a second person, or did in vain.
    fn command_waiting(&self, vehicle: &VehicleId, approval: &ApprovalView) -> Command {
        let organization = self.scope.organization.to_string();
        let (state, detail) = match approval.phase {
            ApprovalPhase::Pending => (State::AwaitingApproval, &approval.because),
            // Given a moment ago, or it could not be: the result says why.
            ApprovalPhase::Approved if approval.result.is_empty() => (State::Queued, &approval.result),
            ApprovalPhase::Approved => (State::Refused, &approval.result),
            ApprovalPhase::Denied => (State::Cancelled, &approval.decision_reason),
            ApprovalPhase::Expired => (State::Expired, &approval.because),
        };
        let name = CommandName {
            organization: organization.clone(),
            vehicle: vehicle.to_string(),
            command: approval.id.clone(),
        };
        let waits = ChildName { organization, collection: "approvals", id: approval.id.clone() };
        Command {
            name: name.to_string(),
            action: Some(action_of(&approval.kind)),
            reason: approval.reason.clone(),
            requested_by: approval.requested_by.clone(),
            request_id: approval.request_id.clone(),
            create_time: timestamp_of(approval.requested_ms),
            expire_time: timestamp_of(approval.expires_ms),
            state: state.into(),
            detail: detail.clone(),
            update_time: timestamp_of(approval.changed_ms),
            sends: 0,
            approval: waits.to_string(),
        }
    }

    async fn create(&self, request: CreateCommandRequest, by: Party) -> Result<Command, Refusal> {
        let vehicle = self.scope.vehicle(&request.parent, "parent")?;
        let kind = kind_of(request.action)?;
        let ttl_ms = ttl_of(request.time_to_live);
        let request_id = match request.request_id {
            id if id.is_empty() => format!("{:032x}", rand::random::<u128>()),
            id => id,
        };
        let asked = CommandRequest {
            request_id,
            kind,
            reason: request.reason,
            requested_by: by.subject.clone(),
            ttl_ms,
            validate_only: request.validate_only,
        };
        let organization = &self.scope.organization;
        let Some(operations) = &self.operations else {
            let view = self.desk.queue(organization, &vehicle, asked).await;
            return view.map(|view| self.command_of(&view)).map_err(|e| Refusal::command(e, &vehicle));
        };
        // Only doors ask whether it drives: a twin is not read for nothing.
        let moving = match &asked.kind {
            CommandKind::Lock(false) => {
                let twin = self.view.twin(organization, &vehicle).await;
                twin.is_some_and(|twin| drives(&twin.summary))
            }
            _ => false,
        };
        match operations.give(organization, &vehicle, asked, by, moving).await {
            Ok(Given::Command(view)) => Ok(self.command_of(&view)),
            Ok(Given::Approval(approval)) => Ok(self.command_waiting(&vehicle, &approval)),
            Err(OperationsError::Command(error)) => Err(Refusal::command(error, &vehicle)),
            Err(error) => Err(Refusal::operations(error)),
        }
    }

    async fn find(&self, vehicle: &VehicleId, id: &str) -> Result<Command, Refusal> {
        let all = self.desk.list(&self.scope.organization, vehicle).await;
        let all = all.map_err(|e| Refusal::command(e, vehicle))?;
        if let Some(view) = all.iter().find(|view| view.id == id) {
            return Ok(self.command_of(view));
        }
        let approval = match &self.operations {
            Some(operations) => match operations.approval(&self.scope.organization, id).await {
                Ok(approval) => Some(approval),
                Err(OperationsError::NotFound { .. }) => None,
                Err(error) => return Err(Refusal::operations(error)),
            },
            None => None,
        };
        let approval = approval.filter(|approval| approval.vehicle == Some(*vehicle));
        approval
            .map(|approval| self.command_waiting(vehicle, &approval))
            .ok_or_else(|| Refusal::NoSuchCommand(id.to_owned()))
    }

    async fn get(&self, name: &str) -> Result<Command, Refusal> {
        let (vehicle, id) = self.named(name)?;
        self.find(&vehicle, &id).await
    }

    async fn list(&self, parent: &str) -> Result<ListCommandsResponse, Refusal> {
        let vehicle = self.scope.vehicle(parent, "parent")?;
        let all = self.desk.list(&self.scope.organization, &vehicle).await;
        let all = all.map_err(|e| Refusal::command(e, &vehicle))?;
        Ok(ListCommandsResponse { commands: all.iter().map(|view| self.command_of(view)).collect() })
    }

    async fn cancel(&self, request: CancelCommandRequest, who: String) -> Result<Command, Refusal> {
        let (vehicle, id) = self.named(&request.name)?;
        let view = self.desk.cancel(&self.scope.organization, &vehicle, &id, &who, &request.reason).await;
        view.map(|view| self.command_of(&view)).map_err(|e| Refusal::command(e, &vehicle))
    }

    async fn watch(&self, request: &Request<WatchCommandRequest>) -> Result<Changes, Refusal> {
        let (seat, sight) = (self.watchers.take(request)?, sight(request));
        let (vehicle, id) = self.named(&request.get_ref().name)?;
        // Subscribed before the first look: no change falls in between.
        let mut changes = self.desk.changes();
        let first = self.find(&vehicle, &id).await?;
        let this = Self {
            desk: Arc::clone(&self.desk),
            operations: self.operations.clone(),
            view: Arc::clone(&self.view),
            scope: self.scope.clone(),
            watchers: self.watchers.clone(),
            stopping: self.stopping.clone(),
        };
        let mut stopping = self.stopping.clone();
        let (to, from) = mpsc::channel(limits::WATCH_AHEAD_MAX);
        tokio::spawn(async move {
            let _seat = seat;
            let mut command = first;
            loop {
                // It may have gone to a fleet that is not theirs.
                if let Err(refusal) = sight.check(&vehicle) {
                    let _ = to.send(Err(refusal.into())).await;
                    return;
                }
                let state = command.state();
                let ended = (State::Done..=State::Cancelled).contains(&state);
                if to.send(Ok(command.clone())).await.is_err() || ended {
                    return;
                }
                command = loop {
                    let next = tokio::select! {
                        next = changes.recv() => next,
                        // Whoever decides about it tells nobody of it here.
                        () = tokio::time::sleep(WAITS_LOOK), if state == State::AwaitingApproval => {
                            Err(RecvError::Lagged(0))
                        }
                        () = to.closed() => return,
                        () = stopped(&mut stopping) => {
                            let _ = to.send(Err(Refusal::Stopping.into())).await;
                            return;
                        }
                    };
                    match next {
                        Ok(change) if change.vehicle == vehicle && change.id == id => {
                            break this.command_of(&change);
                        }
                        Ok(_) => {}
                        // Too slow for the whole fleet's changes: the newest state is what counts.
                        Err(RecvError::Lagged(_)) => match this.find(&vehicle, &id).await {
                            Ok(now) if now != command => break now,
                            Ok(_) => {}
                            Err(refusal) => {
                                let _ = to.send(Err(refusal.into())).await;
                                return;
                            }
                        },
                        Err(RecvError::Closed) => return,
                    }
                };
            }
        });
        Ok(Box::pin(ReceiverStream::new(from)))
    }
}

/// Whether it drives, by the last that is known of it; one that never said where it is does not.
pub(crate) fn drives(vehicle: &VehicleSummary) -> bool {
    vehicle.position.is_some_and(|position| position.speed_kmh > limits::STANDING_KMH_MAX)
}

/// What a vehicle is told, as the API says it.
pub(crate) fn action_of(kind: &CommandKind) -> Action {
    let action = match kind {
        CommandKind::Lock(lock) => action::Action::Lock(*lock),
        CommandKind::Honk => action::Action::Honk(true),
        CommandKind::SpeedLimit(kmh) => action::Action::SpeedLimitKmh(u32::from(*kmh)),
        CommandKind::Reboot => action::Action::Reboot(true),
        CommandKind::Answer { option, .. } => action::Action::AnswerOption(i32::from(*option)),
    };
    Action { action: Some(action) }
}

/// A duration in ms, or what counts when none is said.
pub(crate) fn ttl_of(time_to_live: Option<prost_types::Duration>) -> i64 {
    time_to_live
        .map_or(TTL_MS, |d| d.seconds.saturating_mul(1_000).saturating_add(i64::from(d.nanos) / 1_000_000))
}

pub(crate) fn kind_of(action: Option<Action>) -> Result<CommandKind, Refusal> {
    let one_of = "say what to do: lock, honk, speed_limit_kmh or reboot";
    match action.and_then(|action| action.action).ok_or_else(|| field("action", one_of))? {
        action::Action::Lock(lock) => Ok(CommandKind::Lock(lock)),
        action::Action::Honk(true) => Ok(CommandKind::Honk),
        action::Action::Reboot(true) => Ok(CommandKind::Reboot),
        action::Action::Honk(false) | action::Action::Reboot(false) => {
            Err(field("action", "there is nothing that is not to be done; leave it out"))
        }
        action::Action::AnswerOption(_) => {
            let advice =
                "questions of vehicles are answered with AnswerAssistanceRequest, so that one person does";
            Err(field("action", advice))
        }
        action::Action::SpeedLimitKmh(kmh) => {
            let kmh =
                u16::try_from(kmh).map_err(|_| field("action", "a speed limit is from 5 to 250 km/h"))?;
            Ok(CommandKind::SpeedLimit(kmh))
        }
    }
}

pub(crate) const fn state_of(state: CommandState) -> State {
    match state {
        CommandState::Queued => State::Queued,
        CommandState::Sent => State::Sent,
        CommandState::Accepted => State::Accepted,
        CommandState::Done => State::Done,
        CommandState::Failed => State::Failed,
        CommandState::Expired => State::Expired,
        CommandState::Refused => State::Refused,
        CommandState::Unknown => State::Unknown,
        CommandState::Cancelled => State::Cancelled,
    }
}

#[tonic::async_trait]
impl CommandService for Commands {
    async fn create_command(
        &self,
        request: Request<CreateCommandRequest>,
    ) -> Result<Response<Command>, Status> {
        let by = party(&request);
        self.scope.measured("CreateCommand", self.create(request.into_inner(), by)).await
    }

    async fn get_command(&self, request: Request<GetCommandRequest>) -> Result<Response<Command>, Status> {
        self.scope.measured("GetCommand", self.get(&request.get_ref().name)).await
    }

    async fn list_commands(
        &self,
        request: Request<ListCommandsRequest>,
    ) -> Result<Response<ListCommandsResponse>, Status> {
        self.scope.measured("ListCommands", self.list(&request.get_ref().parent)).await
    }

    async fn cancel_command(
        &self,
        request: Request<CancelCommandRequest>,
    ) -> Result<Response<Command>, Status> {
        let who = who(&request);
        self.scope.measured("CancelCommand", self.cancel(request.into_inner(), who)).await
    }

    type WatchCommandStream = Changes;

    async fn watch_command(
        &self,
        request: Request<WatchCommandRequest>,
    ) -> Result<Response<Self::WatchCommandStream>, Status> {
        self.scope.measured("WatchCommand", self.watch(&request)).await
    }
}
