//! `remuda.commands.v1.CommandGroupService`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use remuda_api::commands::v1::command_group_service_server::CommandGroupService;
use remuda_api::commands::v1::{
    AbortCommandGroupRequest, CommandGroup, CreateCommandGroupRequest, ExcludedVehicle,
    FailureThreshold as ApiThreshold, GetCommandGroupRequest, GroupCounts, GroupPreview, GroupState,
    GroupVehicle as ApiVehicle, ListCommandGroupsRequest, ListCommandGroupsResponse,
    PauseCommandGroupRequest, ResumeCommandGroupRequest, State, WatchCommandGroupRequest,
    WatchCommandGroupResponse,
};
use remuda_api::{ChildName, VehicleName};
use remuda_contracts::fleet::{FleetView, Presence, VehicleSummary};
use remuda_contracts::operations::{
    FailureThreshold, GroupOutcome, GroupPhase, GroupRequest, GroupVehicle, GroupView, OperationsDesk,
    OperationsError, Party, Steering,
};
use remuda_model::VehicleId;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use crate::commands::{action_of, drives, kind_of, ttl_of};
use crate::convert::timestamp_of;
use crate::limits;
use crate::page::{self, PageToken};
use crate::refusal::Refusal;
use crate::scope::{Scope, etag_of, field, party, sight};
use crate::seats::Seats;
use crate::sight::{Seen, Sight, Wanted};
use crate::time::now_ms;
use crate::watch::stopped;

/// Vehicles begun a second when nobody says: slow enough to look at the first ones.
const RATE: f64 = 1.0;
/// Commands under way at once when nobody says.
const UNDER_WAY: i32 = 10;
/// The failure threshold when nobody says: percent, and after how many vehicles.
const THRESHOLD: (i32, i32) = (20, 10);

/// The service, over the desk of operations.
#[derive(Clone)]
pub(crate) struct Groups {
    pub desk: Arc<dyn OperationsDesk>,
    pub view: Arc<dyn FleetView>,
    pub scope: Scope,
    pub watchers: Seats,
    pub stopping: watch::Receiver<bool>,
}

type Changes = Pin<Box<dyn Stream<Item = Result<WatchCommandGroupResponse, Status>> + Send>>;

/// Whom a filter finds.
struct Found {
    vehicles: Vec<VehicleId>,
    away: usize,
    moving: bool,
    excluded: Vec<(VehicleId, &'static str)>,
}

impl Groups {
    fn name_of(&self, collection: &'static str, id: &str) -> String {
        let organization = self.scope.organization.to_string();
        ChildName { organization, collection, id: id.to_owned() }.to_string()
    }

    fn vehicle_name(&self, vehicle: &VehicleId) -> String {
        let organization = self.scope.organization.to_string();
        VehicleName { organization, vehicle: vehicle.to_string() }.to_string()
    }

    fn group_of(&self, view: &GroupView) -> CommandGroup {
        let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let counts = &view.counts;
        CommandGroup {
            name: self.name_of("commandGroups", &view.id),
            action: Some(action_of(&view.kind)),
            reason: view.reason.clone(),
            filter: view.filter.clone(),
            requested_by: view.requested_by.clone(),
            request_id: view.request_id.clone(),
            vehicles_per_second: f64::from(view.vehicles_per_1000_s) / 1_000.0,
            under_way_max: count(view.under_way_max),
            time_to_live: Some(duration_of(view.ttl_ms)),
            failure_threshold: view.threshold.map(|threshold| ApiThreshold {
                percent: i32::from(threshold.percent),
                after_vehicles: count(threshold.after_vehicles),
            }),
            state: state_of(view.phase).into(),
            state_by: view.phase_by.clone(),
            state_reason: view.phase_reason.clone(),
            counts: Some(GroupCounts {
                vehicles: count(counts.vehicles),
                waiting: count(counts.waiting),
                given: count(counts.given),
                done: count(counts.done),
                failed: count(counts.failed),
                expired: count(counts.expired),
                refused: count(counts.refused),
                unknown: count(counts.unknown),
                cancelled: count(counts.cancelled),
                rejected: count(counts.rejected),
            }),
            create_time: timestamp_of(view.created_ms),
            update_time: timestamp_of(view.changed_ms),
            etag: format!("\"{}\"", view.version),
            approval: match view.phase {
                GroupPhase::AwaitingApproval => self.name_of("approvals", &view.id),
                _ => String::new(),
            },
            preview: None,
        }
    }

    /// Whom the filter finds, and who is left out.
    fn find(&self, request: &CreateCommandGroupRequest, sight: &Sight) -> Result<Found, Refusal> {
        if request.filter.trim().is_empty() && !request.all_vehicles {
            return Err(field("filter", "it is empty; say which vehicles, or set all_vehicles"));
        }
        let filter = Wanted::parse(&request.filter, sight.clone())?;
        let now_ms = now_ms();
        let organization = &self.scope.organization;
        // One more than may be: then it is refused.
        let found = self.view.list(organization, None, limits::GROUP_VEHICLES_MAX + 1, &|vehicle| {
            filter.matches(vehicle, now_ms)
        });
        if found.len() > limits::GROUP_VEHICLES_MAX {
            let most = limits::GROUP_VEHICLES_MAX;
            return Err(field("filter", format!("it matches more than {most} vehicles; narrow it")));
        }
        let out = |vehicle: &VehicleSummary| match vehicle.presence {
            Presence::Unknown if vehicle.last_seen_ms == 0 => Some("never-seen"),
            Presence::Offline | Presence::Unknown if request.online_only => Some("away"),
            _ if request.standing_only && drives(vehicle) => Some("moving"),
            _ if request.standing_only && vehicle.position.is_none() => Some("speed-unknown"),
            _ => None,
        };
        let mut all = Found { vehicles: Vec::new(), away: 0, moving: false, excluded: Vec::new() };
        for vehicle in &found {
            // One that has left the fleet moments ago is told nothing.
            if !sight.sees_now(&vehicle.vehicle).map_err(Refusal::business)? {
                continue;
            }
            match out(vehicle) {
                Some(reason) => all.excluded.push((vehicle.vehicle, reason)),
                None => {
                    all.away += usize::from(vehicle.presence != Presence::Online);
                    all.moving |= drives(vehicle);
                    all.vehicles.push(vehicle.vehicle);
                }
            }
        }
        Ok(all)
    }

    async fn create(
        &self,
        request: CreateCommandGroupRequest,
        by: Party,
        sight: Sight,
    ) -> Result<CommandGroup, Refusal> {
        self.scope.parent(&request.parent)?;
        let kind = kind_of(request.action)?;
        let found = self.find(&request, &sight)?;
        let rate = if request.vehicles_per_second == 0.0 { RATE } else { request.vehicles_per_second };
        if !(0.01..=1_000.0).contains(&rate) {
            return Err(field("vehicles_per_second", "it is from 0.01 to 1000"));
        }
        let threshold =
            request.failure_threshold.unwrap_or(ApiThreshold { percent: THRESHOLD.0, after_vehicles: 0 });
        let after = if threshold.after_vehicles == 0 { THRESHOLD.1 } else { threshold.after_vehicles };
        let wrong = |_| field("failure_threshold", "it is from 1 to 100 percent, after 1 vehicle or more");
        let threshold = FailureThreshold {
            percent: u8::try_from(threshold.percent).map_err(wrong)?,
            after_vehicles: u32::try_from(after).map_err(wrong)?,
        };
        let hash = hash_of(&found.vehicles);
        let request_id = match &request.request_id {
            id if id.is_empty() => format!("{:032x}", rand::random::<u128>()),
            id => id.clone(),
        };
        let under_way = if request.under_way_max == 0 { UNDER_WAY } else { request.under_way_max };
        let group = GroupRequest {
            request_id,
            kind,
            reason: request.reason.clone(),
            filter: request.filter.clone(),
            vehicles: found.vehicles.clone(),
            excluded: found.excluded.len() as u32,
            vehicles_per_1000_s: (rate * 1_000.0).round() as u32,
            under_way_max: u32::try_from(under_way).map_err(|_| field("under_way_max", "it is below 0"))?,
            ttl_ms: ttl_of(request.time_to_live),
            threshold: Some(threshold),
            moving: found.moving,
        };
        if request.validate_only {
            return Ok(self.preview(&request, &group, &found, hash));
        }
        if !request.vehicles_hash.is_empty() && request.vehicles_hash != hash {
            return Err(Refusal::OtherVehicles);
        }
        let taken = self.desk.create_group(&self.scope.organization, group, by).await;
        let taken = taken.map_err(Refusal::operations)?;
        // The vehicles of a repetition are those of the first, which may be another fleet's by now.
        check_group(&self.desk, &self.scope, &taken.id, &sight).await?;
        Ok(self.group_of(&taken))
    }

    fn preview(
        &self,
        request: &CreateCommandGroupRequest,
        group: &GroupRequest,
        found: &Found,
        vehicles_hash: String,
    ) -> CommandGroup {
        let count = found.vehicles.len();
        let excluded = found.excluded.iter();
        let excluded = excluded.map(|(vehicle, reason)| ExcludedVehicle {
            vehicle: self.vehicle_name(vehicle),
            reason: (*reason).to_owned(),
        });
        let preview = GroupPreview {
            vehicles: found.vehicles.iter().map(|vehicle| self.vehicle_name(vehicle)).collect(),
            away: i32::try_from(found.away).unwrap_or(i32::MAX),
            excluded: excluded.collect(),
            vehicles_hash,
            needs_approval: self.desk.needs_second(&group.kind, count, group.moving).unwrap_or_default(),
            duration: Some(duration_of(
                (count.saturating_sub(1) as i64 * 1_000_000) / i64::from(group.vehicles_per_1000_s.max(1)),
            )),
        };
        CommandGroup {
            action: Some(action_of(&group.kind)),
            reason: request.reason.clone(),
            filter: request.filter.clone(),
            vehicles_per_second: f64::from(group.vehicles_per_1000_s) / 1_000.0,
            under_way_max: i32::try_from(group.under_way_max).unwrap_or(i32::MAX),
            time_to_live: Some(duration_of(group.ttl_ms)),
            counts: Some(GroupCounts {
                vehicles: i32::try_from(count).unwrap_or(i32::MAX),
                ..GroupCounts::default()
            }),
            preview: Some(preview),
            ..CommandGroup::default()
        }
    }

    async fn get(&self, name: &str, sight: &Sight) -> Result<CommandGroup, Refusal> {
        let id = self.scope.child("commandGroups", name)?;
        let (view, _) = group(&self.desk, &self.scope, &id, &sight.seen()?).await?;
        Ok(self.group_of(&view))
    }

    async fn list(
        &self,
        request: ListCommandGroupsRequest,
        sight: &Sight,
    ) -> Result<ListCommandGroupsResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let (size, after) = page_for(sight, request.page_size, &request.page_token, "commandGroups")?;
        let mut found = self
            .desk
            .groups(&self.scope.organization, after.as_deref(), size + 1)
            .await
            .map_err(Refusal::operations)?;
        let more = found.len() > size;
        found.truncate(size);
        let next_page_token = match found.last() {
            Some(last) if more => PageToken::write_for(sight, &last.id, "commandGroups"),
            _ => String::new(),
        };
        // A page may be shorter for it; the next one goes on behind what was left out.
        let (seen, mut command_groups) = (sight.seen()?, Vec::with_capacity(found.len()));
        for view in &found {
            if sight.is_whole() || is_there(group(&self.desk, &self.scope, &view.id, &seen).await)? {
                command_groups.push(self.group_of(view));
            }
        }
        Ok(ListCommandGroupsResponse { command_groups, next_page_token })
    }

    async fn steer(
        &self,
        steering: Steering,
        (name, reason, etag): (&str, &str, &str),
        by: Party,
        sight: Sight,
    ) -> Result<CommandGroup, Refusal> {
        let id = self.scope.child("commandGroups", name)?;
        check_group(&self.desk, &self.scope, &id, &sight).await?;
        let expected = etag_of(etag)?;
        let done =
            self.desk.steer(&self.scope.organization, &id, steering, reason.trim(), expected, by).await;
        done.map(|view| self.group_of(&view)).map_err(Refusal::operations)
    }

    async fn watch(&self, request: &Request<WatchCommandGroupRequest>) -> Result<Changes, Refusal> {
        let (seat, sight, request) = (self.watchers.take(request)?, sight(request), request.get_ref());
        let id = self.scope.child("commandGroups", &request.name)?;
        let mut seen = match request.resume_token.as_str() {
            "" => 0,
            token => {
                let number = token.strip_prefix("1.").and_then(|number| number.parse().ok());
                number
                    .ok_or_else(|| field("resume_token", "this is not a token that this method gave out"))?
            }
        };
        // Before the first look: no change falls in between.
        let mut changes = self.desk.changes();
        let first = group(&self.desk, &self.scope, &id, &sight.seen()?).await?;
        let (this, mut stopping) = (self.clone(), self.stopping.clone());
        let (to, from) = mpsc::channel(limits::WATCH_AHEAD_MAX);
        tokio::spawn(async move {
            let _seat = seat;
            let mut found = Ok(first);
            let mut told = false;
            loop {
                let (view, vehicles) = match found {
                    Ok(found) => found,
                    Err(refusal) => {
                        let refusal: Refusal = refusal;
                        let _ = to.send(Err(refusal.into())).await;
                        return;
                    }
                };
                if view.progress > seen || !told {
                    let moved = vehicles.iter().filter(|vehicle| vehicle.progress > seen);
                    let response = WatchCommandGroupResponse {
                        command_group: Some(this.group_of(&view)),
                        vehicles: moved.map(|vehicle| this.vehicle_of(vehicle)).collect(),
                        resume_token: format!("1.{}", view.progress),
                    };
                    if to.send(Ok(response)).await.is_err() {
                        return;
                    }
                    (seen, told) = (view.progress, true);
                }
                if matches!(view.phase, GroupPhase::Completed | GroupPhase::Aborted | GroupPhase::Denied) {
                    return;
                }
                tokio::select! {
                    moved = changes.changed() => if moved.is_err() { return },
                    () = to.closed() => return,
                    () = stopped(&mut stopping) => {
                        let _ = to.send(Err(Refusal::Stopping.into())).await;
                        return;
                    }
                }
                // Everything that comes meanwhile is told together.
                tokio::time::sleep(limits::GROUP_WATCH_INTERVAL).await;
                changes.mark_unchanged();
                found = match sight.seen() {
                    Ok(seen) => group(&this.desk, &this.scope, &id, &seen).await,
                    Err(refusal) => Err(refusal),
                };
            }
        });
        Ok(Box::pin(ReceiverStream::new(from)))
    }

    fn vehicle_of(&self, vehicle: &GroupVehicle) -> ApiVehicle {
        let state = match vehicle.outcome {
            GroupOutcome::Waiting => State::Unspecified,
            GroupOutcome::Given => State::Sent,
            GroupOutcome::Done => State::Done,
            GroupOutcome::Failed => State::Failed,
            GroupOutcome::Expired => State::Expired,
            GroupOutcome::Refused | GroupOutcome::Rejected => State::Refused,
            GroupOutcome::Unknown => State::Unknown,
            GroupOutcome::Cancelled => State::Cancelled,
        };
        let detail = match vehicle.outcome {
            GroupOutcome::Rejected => format!("rejected: {}", vehicle.detail),
            _ => vehicle.detail.clone(),
        };
        ApiVehicle { vehicle: self.vehicle_name(&vehicle.vehicle), state: state.into(), detail }
    }
}

/// A group and its vehicles, for who sees all of them; for others it is not there.
pub(crate) async fn group(
    desk: &Arc<dyn OperationsDesk>,
    scope: &Scope,
    id: &str,
    seen: &Seen,
) -> Result<(GroupView, Vec<GroupVehicle>), Refusal> {
    let found = desk.group(&scope.organization, id).await.map_err(Refusal::operations)?;
    if found.1.iter().all(|vehicle| seen.has(&vehicle.vehicle)) {
        return Ok(found);
    }
    let (what, id) = ("command-group", id.to_owned());
    Err(Refusal::operations(OperationsError::NotFound { what, id }))
}

/// Refuses a group command with a vehicle that is not the caller's now, in the words for one that is not there.
pub(crate) async fn check_group(
    desk: &Arc<dyn OperationsDesk>,
    scope: &Scope,
    id: &str,
    sight: &Sight,
) -> Result<(), Refusal> {
    if sight.is_whole() {
        return Ok(());
    }
    let (_, vehicles) = desk.group(&scope.organization, id).await.map_err(Refusal::operations)?;
    for vehicle in &vehicles {
        if !sight.sees_now(&vehicle.vehicle).map_err(Refusal::business)? {
            let (what, id) = ("command-group", id.to_owned());
            return Err(Refusal::operations(OperationsError::NotFound { what, id }));
        }
    }
    Ok(())
}

/// Whether something is there for the caller; what could not be answered is not taken for absent.
pub(crate) fn is_there<T>(found: Result<T, Refusal>) -> Result<bool, Refusal> {
    match found {
        Ok(_) => Ok(true),
        Err(refusal) if refusal.code_and_reason().0 == Code::NotFound => Ok(false),
        Err(refusal) => Err(refusal),
    }
}

/// As [`page::page_for`], of the operations' desk, which answers as many as a page holds at most, and is asked for one more.
pub(crate) fn page_for(
    sight: &Sight,
    size: i32,
    token: &str,
    of: &str,
) -> Result<(usize, Option<String>), Refusal> {
    let (size, after) = page::page_for(sight, size, token, of)?;
    Ok((size.min(limits::PAGE_MAX - 1), after))
}

/// SHA-256 of which vehicles.
fn hash_of(vehicles: &[VehicleId]) -> String {
    let mut hash = Sha256::new();
    for vehicle in vehicles {
        hash.update(vehicle.as_str());
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) const fn duration_of(ms: i64) -> prost_types::Duration {
    prost_types::Duration { seconds: ms / 1_000, nanos: (ms % 1_000) as i32 * 1_000_000 }
}

const fn state_of(phase: GroupPhase) -> GroupState {
    match phase {
        GroupPhase::AwaitingApproval => GroupState::AwaitingApproval,
        GroupPhase::Running => GroupState::Running,
        GroupPhase::Paused => GroupState::Paused,
        GroupPhase::Aborting => GroupState::Aborting,
        GroupPhase::Completed => GroupState::Completed,
        GroupPhase::Aborted => GroupState::Aborted,
        GroupPhase::Denied => GroupState::Denied,
    }
}

#[tonic::async_trait]
impl CommandGroupService for Groups {
    async fn create_command_group(
        &self,
        request: Request<CreateCommandGroupRequest>,
    ) -> Result<Response<CommandGroup>, Status> {
        let (by, sight) = (party(&request), sight(&request));
        self.scope.measured("CreateCommandGroup", self.create(request.into_inner(), by, sight)).await
    }

    async fn get_command_group(
        &self,
        request: Request<GetCommandGroupRequest>,
    ) -> Result<Response<CommandGroup>, Status> {
        let sight = sight(&request);
        self.scope.measured("GetCommandGroup", self.get(&request.get_ref().name, &sight)).await
    }

    async fn list_command_groups(
        &self,
        request: Request<ListCommandGroupsRequest>,
    ) -> Result<Response<ListCommandGroupsResponse>, Status> {
        let sight = sight(&request);
        self.scope.measured("ListCommandGroups", self.list(request.into_inner(), &sight)).await
    }

    type WatchCommandGroupStream = Changes;

    async fn watch_command_group(
        &self,
        request: Request<WatchCommandGroupRequest>,
    ) -> Result<Response<Changes>, Status> {
        self.scope.measured("WatchCommandGroup", self.watch(&request)).await
    }

    async fn pause_command_group(
        &self,
        request: Request<PauseCommandGroupRequest>,
    ) -> Result<Response<CommandGroup>, Status> {
        let (by, sight) = (party(&request), sight(&request));
        let r = request.into_inner();
        let call = self.steer(Steering::Pause, (&r.name, &r.reason, &r.etag), by, sight);
        self.scope.measured("PauseCommandGroup", call).await
    }

    async fn resume_command_group(
        &self,
        request: Request<ResumeCommandGroupRequest>,
    ) -> Result<Response<CommandGroup>, Status> {
        let (by, sight) = (party(&request), sight(&request));
        let r = request.into_inner();
        let call = self.steer(Steering::Resume, (&r.name, &r.reason, &r.etag), by, sight);
        self.scope.measured("ResumeCommandGroup", call).await
    }

    async fn abort_command_group(
        &self,
        request: Request<AbortCommandGroupRequest>,
    ) -> Result<Response<CommandGroup>, Status> {
        let (by, sight) = (party(&request), sight(&request));
        let r = request.into_inner();
        let call = self.steer(Steering::Abort, (&r.name, &r.reason, &r.etag), by, sight);
        self.scope.measured("AbortCommandGroup", call).await
    }
}
