//! `remudactl commands group` and `remudactl commands approvals`.

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use clap::{Args, Subcommand};
use remuda_api::commands::v1::approval_service_client::ApprovalServiceClient;
use remuda_api::commands::v1::command_group_service_client::CommandGroupServiceClient;
use remuda_api::commands::v1::{
    AbortCommandGroupRequest, Action, Approval, ApprovalState, ApproveRequest, CommandGroup,
    CreateCommandGroupRequest, DenyRequest, FailureThreshold, GetApprovalRequest, GetCommandGroupRequest,
    GroupPreview, GroupState, GroupVehicle, ListApprovalsRequest, ListCommandGroupsRequest,
    PauseCommandGroupRequest, ResumeCommandGroupRequest, WatchCommandGroupRequest, WatchCommandGroupResponse,
};
use remuda_api::{ChildName, MESSAGE_BYTES_MAX, OrganizationName};
use serde_json::{Value, json};
use tonic::Request;

use crate::args::{Global, OutputFormat};
use crate::client::{Service, open};
use crate::commands::{ActionName, action_text, action_word, seconds, word};
use crate::error::CtlError;
use crate::run::follow;
use crate::table::{Cell, Tint, cell, write};
use crate::text::{age_of, id, now_ms, rfc3339};

/// What can be done with commands to groups of vehicles.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Shows whom it would reach, then commands them.
    Create(CreateArgs),
    /// Shows one group command.
    Get {
        /// Its id, or its whole resource name.
        group: String,
    },
    /// Lists group commands, the newest first.
    List {
        /// How many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=900))]
        limit: i32,
    },
    /// Follows a group command until it has ended; exit code 1 unless all vehicles did it.
    Watch {
        /// Its id, or its whole resource name.
        group: String,
        /// Go on after what was seen under this token (`-o json` prints it).
        #[arg(long, default_value = "")]
        resume_token: String,
    },
    /// Gives no more commands for now.
    Pause(SteerArgs),
    /// Goes on.
    Resume(SteerArgs),
    /// Gives no more commands at all, and takes back what was not sent.
    Abort(SteerArgs),
}

/// A group command.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What to do.
    action: ActionName,
    /// The value: km/h for `speed-limit`.
    value: Option<u32>,
    /// Which vehicles, such as `presence = ONLINE AND charge_percent < 20`.
    #[arg(long, required_unless_present = "all")]
    filter: Option<String>,
    /// All vehicles.
    #[arg(long, conflicts_with = "filter")]
    all: bool,
    /// Why; it stands in the journal.
    #[arg(long)]
    reason: String,
    /// Vehicles begun a second, 0.01 to 1000.
    #[arg(long, default_value_t = 1.0)]
    rate: f64,
    /// Commands under way at once, 1 to 1000.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=1000))]
    parallel: i32,
    /// How long each command may wait for its vehicle, such as 30s, 5m, 2h or 1d.
    #[arg(long, value_parser = seconds, default_value = "60s")]
    ttl: i64,
    /// Pause when so many percent of the vehicles that answered failed.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=100))]
    max_failures: i32,
    /// But not before so many have answered.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..))]
    after_vehicles: i32,
    /// Leave out vehicles that are away now.
    #[arg(long)]
    online_only: bool,
    /// Leave out vehicles that drive now.
    #[arg(long)]
    standing_only: bool,
    /// Makes a repetition recognisable: the same one again makes no second group command.
    #[arg(long)]
    request_id: Option<String>,
    /// Only show whom it would reach.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask whether these vehicles are meant.
    #[arg(long, short)]
    yes: bool,
    /// Follow it until it has ended; exit code 1 unless all vehicles did it.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
}

/// Which group command, and why.
#[derive(Debug, Args)]
pub struct SteerArgs {
    /// Its id, or its whole resource name.
    group: String,
    /// Why; it stands in the journal.
    #[arg(long)]
    reason: String,
    /// Only if it has not changed since this was shown.
    #[arg(long, default_value = "")]
    etag: String,
}

/// What can be done with what needs a second person.
#[derive(Debug, Subcommand)]
pub enum ApprovalsCommand {
    /// Lists what waits for a second person, and what became of the rest; the newest first.
    List {
        /// Only what waits.
        #[arg(long)]
        pending: bool,
        /// How many are looked at.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=900))]
        limit: i32,
    },
    /// Shows one.
    Get {
        /// Its id, or its whole resource name.
        approval: String,
    },
    /// Agrees; it is carried out at once.
    Approve {
        /// Its id, or its whole resource name.
        approval: String,
        /// The hash that was shown: agree to exactly that. Without it, to what is there now.
        #[arg(long)]
        hash: Option<String>,
        /// What to say to it.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Says no; whoever asked may take it back this way.
    Deny {
        /// Its id, or its whole resource name.
        approval: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

struct Session<'a> {
    groups: CommandGroupServiceClient<Service>,
    approvals: ApprovalServiceClient<Service>,
    global: Global,
    out: &'a mut dyn Write,
    colours: bool,
    widths: Vec<usize>,
}

/// Most vehicles of a preview that a table names.
const NAMED_MAX: usize = 20;

async fn session<'a>(global: Global, out: &'a mut dyn Write, colours: bool) -> Result<Session<'a>, CtlError> {
    let service = open(&global).await?;
    Ok(Session {
        groups: CommandGroupServiceClient::new(service.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
        approvals: ApprovalServiceClient::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX),
        global,
        out,
        colours,
        widths: Vec::new(),
    })
}

/// Runs one of them.
pub(crate) async fn groups(
    command: GroupCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let mut session = session(global, out, colours).await?;
    match command {
        GroupCommand::Create(args) => session.create(args).await,
        GroupCommand::Get { group } => {
            let request = GetCommandGroupRequest { name: session.name("commandGroups", &group) };
            let found = session.groups.get_command_group(session.request(request)).await?.into_inner();
            session.show(&[found], true)
        }
        GroupCommand::List { limit } => session.list(limit).await,
        GroupCommand::Watch { group, resume_token } => {
            let name = session.name("commandGroups", &group);
            session.watch(name, resume_token).await
        }
        GroupCommand::Pause(SteerArgs { group, reason, etag }) => {
            let name = session.name("commandGroups", &group);
            let request = session.request(PauseCommandGroupRequest { name, reason, etag });
            let group = session.groups.pause_command_group(request).await?.into_inner();
            session.show(&[group], true)
        }
        GroupCommand::Resume(SteerArgs { group, reason, etag }) => {
            let name = session.name("commandGroups", &group);
            let request = session.request(ResumeCommandGroupRequest { name, reason, etag });
            let group = session.groups.resume_command_group(request).await?.into_inner();
            session.show(&[group], true)
        }
        GroupCommand::Abort(SteerArgs { group, reason, etag }) => {
            let name = session.name("commandGroups", &group);
            let request = session.request(AbortCommandGroupRequest { name, reason, etag });
            let group = session.groups.abort_command_group(request).await?.into_inner();
            session.show(&[group], true)
        }
    }?;
    session.out.flush()?;
    Ok(())
}

/// Runs one of them.
pub(crate) async fn approvals(
    command: ApprovalsCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let mut session = session(global, out, colours).await?;
    match command {
        ApprovalsCommand::List { pending, limit } => {
            let parent = session.parent();
            let request = ListApprovalsRequest { parent, page_size: limit, page_token: String::new() };
            let listed = session.approvals.list_approvals(session.request(request)).await?.into_inner();
            let mut all = listed.approvals;
            all.retain(|approval| !pending || approval.state() == ApprovalState::Pending);
            if all.is_empty() && session.global.output != OutputFormat::Json {
                eprintln!("nothing waits for a second person");
            }
            session.show_approvals(&all)
        }
        ApprovalsCommand::Get { approval } => {
            let found = session.approval(&approval).await?;
            session.show_approvals(&[found])
        }
        ApprovalsCommand::Approve { approval, hash, reason } => {
            let content_hash = match hash {
                Some(hash) => hash,
                None => session.approval(&approval).await?.content_hash,
            };
            let name = session.name("approvals", &approval);
            let request = session.request(ApproveRequest { name, content_hash, reason });
            let done = session.approvals.approve(request).await?.into_inner();
            session.show_approvals(&[done])
        }
        ApprovalsCommand::Deny { approval, reason } => {
            let name = session.name("approvals", &approval);
            let request = session.request(DenyRequest { name, reason });
            let done = session.approvals.deny(request).await?.into_inner();
            session.show_approvals(&[done])
        }
    }?;
    session.out.flush()?;
    Ok(())
}

impl Session<'_> {
    fn parent(&self) -> String {
        OrganizationName { organization: self.global.organization.clone() }.to_string()
    }

    fn name(&self, collection: &'static str, id: &str) -> String {
        if id.contains('/') {
            return id.to_owned();
        }
        let organization = self.global.organization.clone();
        ChildName { organization, collection, id: id.to_owned() }.to_string()
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(self.global.timeout));
        request
    }

    async fn approval(&mut self, approval: &str) -> Result<Approval, CtlError> {
        let request = GetApprovalRequest { name: self.name("approvals", approval) };
        Ok(self.approvals.get_approval(self.request(request)).await?.into_inner())
    }

    /// Whom it would reach first; then, when these are meant, the real one with their hash.
    async fn create(&mut self, args: CreateArgs) -> Result<(), CtlError> {
        let mut asked = CreateCommandGroupRequest {
            parent: self.parent(),
            action: Some(Action { action: Some(action_word(args.action, args.value)?) }),
            reason: args.reason,
            filter: args.filter.unwrap_or_default(),
            all_vehicles: args.all,
            request_id: args.request_id.unwrap_or_default(),
            vehicles_per_second: args.rate,
            under_way_max: args.parallel,
            time_to_live: Some(prost_types::Duration { seconds: args.ttl, nanos: 0 }),
            failure_threshold: Some(FailureThreshold {
                percent: args.max_failures,
                after_vehicles: args.after_vehicles,
            }),
            online_only: args.online_only,
            standing_only: args.standing_only,
            vehicles_hash: String::new(),
            validate_only: true,
        };
        let preview = self.groups.create_command_group(self.request(asked.clone())).await?.into_inner();
        let shown = preview.preview.clone().unwrap_or_default();
        if args.dry_run {
            return self.preview(&preview, &shown);
        }
        if !args.yes {
            eprint!("{}", told(&preview, &shown));
            if !std::io::stdin().is_terminal() {
                return Err(CtlError::Usage(
                    "nobody can be asked whether these vehicles are meant; say --yes",
                ));
            }
            eprint!("Command these {} vehicles? [y/N] ", shown.vehicles.len());
            let mut answer = String::new();
            std::io::stdin().read_line(&mut answer)?;
            if !matches!(answer.trim(), "y" | "Y" | "yes") {
                eprintln!("nothing was done");
                return Ok(());
            }
        }
        (asked.validate_only, asked.vehicles_hash) = (false, shown.vehicles_hash);
        let group = self.groups.create_command_group(self.request(asked)).await?.into_inner();
        if !group.approval.is_empty() {
            eprintln!(
                "it waits for a second person: remudactl commands approvals approve {}",
                id(&group.approval)
            );
        }
        if args.wait {
            return self.watch(group.name, String::new()).await;
        }
        self.show(&[group], true)
    }

    fn preview(&mut self, group: &CommandGroup, preview: &GroupPreview) -> Result<(), CtlError> {
        match self.global.output {
            OutputFormat::Json => {
                let excluded: Vec<Value> = preview
                    .excluded
                    .iter()
                    .map(|out| json!({ "vehicle": out.vehicle, "reason": out.reason }))
                    .collect();
                let document = json!({
                    "action": action_text(group.action.as_ref()),
                    "vehicles": preview.vehicles,
                    "away": preview.away,
                    "excluded": excluded,
                    "vehiclesHash": preview.vehicles_hash,
                    "needsApproval": preview.needs_approval,
                    "durationSeconds": preview.duration.as_ref().map_or(0, |d| d.seconds),
                });
                writeln!(self.out, "{document:#}")?;
            }
            OutputFormat::Name => {
                for vehicle in &preview.vehicles {
                    writeln!(self.out, "{vehicle}")?;
                }
            }
            OutputFormat::Table | OutputFormat::Wide => write!(self.out, "{}", told(group, preview))?,
        }
        Ok(())
    }

    async fn list(&mut self, limit: i32) -> Result<(), CtlError> {
        let request =
            ListCommandGroupsRequest { parent: self.parent(), page_size: limit, page_token: String::new() };
        let listed = self.groups.list_command_groups(self.request(request)).await?.into_inner();
        if self.global.output == OutputFormat::Json {
            let documents: Vec<Value> = listed.command_groups.iter().map(group_json).collect();
            writeln!(self.out, "{:#}", json!({ "commandGroups": documents }))?;
            return Ok(());
        }
        if listed.command_groups.is_empty() {
            eprintln!("no group of vehicles was commanded yet");
        }
        self.show(&listed.command_groups, true)
    }

    /// Follows to the end, also through a restart of the node: the last token goes on where it was.
    async fn watch(&mut self, name: String, resume_token: String) -> Result<(), CtlError> {
        let client = self.groups.clone();
        let open = |resume_token| {
            let mut client = client.clone();
            let request = WatchCommandGroupRequest { name: name.clone(), resume_token };
            async move { client.watch_command_group(request).await }
        };
        let mut heads = true;
        let told = |response: WatchCommandGroupResponse| {
            self.told_change(&response, heads)?;
            heads = false;
            let Some(group) = response.command_group else { return Ok(ControlFlow::Continue(())) };
            match group.state() {
                GroupState::Completed => finished(&group).map(ControlFlow::Break),
                GroupState::Aborted | GroupState::Denied => {
                    Err(CtlError::NotDone { state: state_word(&group), detail: group.state_reason })
                }
                _ => Ok(ControlFlow::Continue(())),
            }
        };
        follow(resume_token, open, |response| &response.resume_token, told).await
    }

    fn told_change(&mut self, response: &WatchCommandGroupResponse, heads: bool) -> Result<(), CtlError> {
        let Some(group) = &response.command_group else { return Ok(()) };
        if self.global.output == OutputFormat::Json {
            let vehicles: Vec<Value> = response.vehicles.iter().map(vehicle_json).collect();
            let document = json!({
                "commandGroup": group_json(group),
                "vehicles": vehicles,
                "resumeToken": response.resume_token,
            });
            writeln!(self.out, "{document}")?;
        } else {
            self.show(std::slice::from_ref(group), heads)?;
            for vehicle in response.vehicles.iter().filter(|vehicle| !vehicle.detail.is_empty()) {
                writeln!(
                    self.out,
                    "    {} {}: {}",
                    id(&vehicle.vehicle),
                    word(vehicle.state()),
                    vehicle.detail.escape_debug()
                )?;
            }
        }
        self.out.flush()?;
        Ok(())
    }

    fn show(&mut self, groups: &[CommandGroup], heads: bool) -> Result<(), CtlError> {
        match self.global.output {
            OutputFormat::Json => {
                for group in groups {
                    writeln!(self.out, "{:#}", group_json(group))?;
                }
            }
            OutputFormat::Name => {
                for group in groups {
                    writeln!(self.out, "{}", group.name)?;
                }
            }
            OutputFormat::Table | OutputFormat::Wide => {
                let titles = [
                    "GROUP", "ACTION", "STATE", "VEHICLES", "WAITING", "GIVEN", "DONE", "FAILED", "EXPIRED",
                    "OTHER", "TAKEN", "BY", "WHY",
                ];
                let rows: Vec<Vec<Cell>> = groups.iter().map(row).collect();
                write(self.out, heads.then_some(&titles[..]), &rows, &mut self.widths, self.colours)?;
            }
        }
        Ok(())
    }

    fn show_approvals(&mut self, approvals: &[Approval]) -> Result<(), CtlError> {
        match self.global.output {
            OutputFormat::Json => {
                let documents: Vec<Value> = approvals.iter().map(approval_json).collect();
                writeln!(self.out, "{:#}", json!({ "approvals": documents }))?;
            }
            OutputFormat::Name => {
                for approval in approvals {
                    writeln!(self.out, "{}", approval.name)?;
                }
            }
            OutputFormat::Table | OutputFormat::Wide => {
                let wide = self.global.output == OutputFormat::Wide;
                let mut titles = vec![
                    "APPROVAL", "ACTION", "VEHICLES", "STATE", "ASKED", "BY", "WHY", "BECAUSE", "RESULT",
                ];
                if wide {
                    titles.extend(["DECIDED BY", "RESOURCE", "HASH"]);
                }
                let rows: Vec<Vec<Cell>> = approvals.iter().map(|approval| line(approval, wide)).collect();
                write(self.out, Some(&titles), &rows, &mut Vec::new(), self.colours)?;
            }
        }
        Ok(())
    }
}

/// Whether every vehicle did it.
fn finished(group: &CommandGroup) -> Result<(), CtlError> {
    let counts = group.counts.unwrap_or_default();
    if counts.done == counts.vehicles {
        return Ok(());
    }
    let detail = format!("{} of {} vehicles did it", counts.done, counts.vehicles);
    Err(CtlError::NotDone { state: state_word(group), detail })
}

/// A preview in sentences.
fn told(group: &CommandGroup, preview: &GroupPreview) -> String {
    let action = action_text(group.action.as_ref());
    let mut text = format!(
        "{action}: {} vehicles ({} of them away now), at least {} s at this rate\n",
        preview.vehicles.len(),
        preview.away,
        preview.duration.as_ref().map_or(0, |d| d.seconds),
    );
    let names: Vec<&str> = preview.vehicles.iter().take(NAMED_MAX).map(|name| id(name)).collect();
    let more = preview.vehicles.len().saturating_sub(names.len());
    let rest = if more > 0 { format!(" and {more} more (-o name shows all)") } else { String::new() };
    text.push_str(&format!("  reached: {}{rest}\n", names.join(" ")));
    for reason in ["never-seen", "away", "moving", "speed-unknown"] {
        let out: Vec<&str> =
            preview.excluded.iter().filter(|out| out.reason == reason).map(|out| id(&out.vehicle)).collect();
        if !out.is_empty() {
            let shown = out[..out.len().min(NAMED_MAX)].join(" ");
            text.push_str(&format!("  left out, {reason}: {} ({shown})\n", out.len()));
        }
    }
    if !preview.needs_approval.is_empty() {
        text.push_str(&format!("  {}\n", preview.needs_approval));
    }
    text
}

fn state_word(group: &CommandGroup) -> String {
    group.state().as_str_name().trim_start_matches("GROUP_STATE_").to_lowercase()
}

fn row(group: &CommandGroup) -> Vec<Cell> {
    let counts = group.counts.unwrap_or_default();
    let tint = match group.state() {
        GroupState::Completed => Tint::Good,
        GroupState::Paused | GroupState::Aborting | GroupState::AwaitingApproval => Tint::Warn,
        GroupState::Aborted | GroupState::Denied => Tint::Faint,
        _ => Tint::Plain,
    };
    let number = |n: i32| cell(n.to_string()).right();
    let failed = number(counts.failed + counts.refused + counts.unknown + counts.rejected);
    vec![
        cell(id(&group.name)),
        cell(action_text(group.action.as_ref())),
        cell(state_word(group)).tint(tint),
        number(counts.vehicles),
        number(counts.waiting),
        number(counts.given),
        number(counts.done),
        if counts.failed + counts.refused > 0 { failed.tint(Tint::Warn) } else { failed },
        number(counts.expired),
        number(counts.cancelled),
        cell(age_of(group.create_time.as_ref(), now_ms())).right(),
        cell(group.state_by.clone()),
        cell(group.state_reason.clone()),
    ]
}

fn group_json(group: &CommandGroup) -> Value {
    let time = |time: Option<&prost_types::Timestamp>| time.map(rfc3339);
    let counts = group.counts.unwrap_or_default();
    json!({
        "name": group.name,
        "action": action_text(group.action.as_ref()),
        "reason": group.reason,
        "filter": group.filter,
        "requestedBy": group.requested_by,
        "requestId": group.request_id,
        "vehiclesPerSecond": group.vehicles_per_second,
        "underWayMax": group.under_way_max,
        "state": state_word(group),
        "stateBy": group.state_by,
        "stateReason": group.state_reason,
        "counts": {
            "vehicles": counts.vehicles,
            "waiting": counts.waiting,
            "given": counts.given,
            "done": counts.done,
            "failed": counts.failed,
            "expired": counts.expired,
            "refused": counts.refused,
            "unknown": counts.unknown,
            "cancelled": counts.cancelled,
            "rejected": counts.rejected,
        },
        "createTime": time(group.create_time.as_ref()),
        "updateTime": time(group.update_time.as_ref()),
        "etag": group.etag,
        "approval": group.approval,
    })
}

fn vehicle_json(vehicle: &GroupVehicle) -> Value {
    json!({ "vehicle": vehicle.vehicle, "state": word(vehicle.state()), "detail": vehicle.detail })
}

fn approval_word(approval: &Approval) -> String {
    approval.state().as_str_name().trim_start_matches("APPROVAL_STATE_").to_lowercase()
}

fn line(approval: &Approval, wide: bool) -> Vec<Cell> {
    let tint = match approval.state() {
        ApprovalState::Pending => Tint::Warn,
        ApprovalState::Approved => Tint::Good,
        _ => Tint::Faint,
    };
    let mut cells = vec![
        cell(id(&approval.name)),
        cell(action_text(approval.action.as_ref())),
        cell(approval.vehicles.to_string()).right(),
        cell(approval_word(approval)).tint(tint),
        cell(age_of(approval.create_time.as_ref(), now_ms())).right(),
        cell(approval.requested_by.clone()),
        cell(approval.reason.clone()),
        cell(approval.because.clone()),
        cell(approval.result.clone()),
    ];
    if wide {
        cells.extend([
            cell(approval.decided_by.clone()),
            cell(approval.resource.clone()),
            cell(approval.content_hash.clone()),
        ]);
    }
    cells
}

fn approval_json(approval: &Approval) -> Value {
    let time = |time: Option<&prost_types::Timestamp>| time.map(rfc3339);
    json!({
        "name": approval.name,
        "resource": approval.resource,
        "action": action_text(approval.action.as_ref()),
        "vehicles": approval.vehicles,
        "reason": approval.reason,
        "because": approval.because,
        "requestedBy": approval.requested_by,
        "contentHash": approval.content_hash,
        "state": approval_word(approval),
        "decidedBy": approval.decided_by,
        "decisionReason": approval.decision_reason,
        "result": approval.result,
        "createTime": time(approval.create_time.as_ref()),
        "expireTime": time(approval.expire_time.as_ref()),
    })
}
