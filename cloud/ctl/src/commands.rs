//! `remudactl commands`.

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use remuda_api::commands::v1::command_service_client::CommandServiceClient;
use remuda_api::commands::v1::{
    Action, CancelCommandRequest, Command, CreateCommandRequest, GetCommandRequest, ListCommandsRequest,
    State, WatchCommandRequest, action,
};
use remuda_api::{CommandName, MESSAGE_BYTES_MAX, VehicleName};
use serde_json::{Value, json};
use tonic::{Request, Streaming};

use crate::args::{Global, OutputFormat};
use crate::client::{Service, open};
use crate::error::CtlError;
use crate::run::next_or_ctrl_c;
use crate::table::{Cell, Tint, cell, write};
use crate::text::{age_of, id, now_ms, rfc3339};

/// What can be done with commands to vehicles.
#[derive(Debug, Subcommand)]
pub enum CommandsCommand {
    /// Gives a vehicle a command.
    Send(SendArgs),
    /// Lists a vehicle's commands, newest first.
    List {
        /// The vehicle.
        vehicle: String,
    },
    /// Shows one command.
    Get {
        /// The vehicle; or the command's whole resource name.
        vehicle: String,
        /// The command's id.
        command: Option<String>,
    },
    /// Takes a command back that was not sent yet.
    Cancel {
        /// The vehicle; or the command's whole resource name.
        vehicle: String,
        /// The command's id.
        command: Option<String>,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Follows a command until it has ended.
    Watch {
        /// The vehicle; or the command's whole resource name.
        vehicle: String,
        /// The command's id.
        command: Option<String>,
    },
    /// Commands many vehicles at once.
    #[command(subcommand, visible_alias = "groups")]
    Group(crate::groups::GroupCommand),
    /// What one person may not do alone.
    #[command(subcommand, visible_alias = "approval")]
    Approvals(crate::groups::ApprovalsCommand),
}

/// A command.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The vehicle.
    vehicle: String,
    /// What to do.
    action: ActionName,
    /// The value: km/h for `speed-limit`.
    value: Option<u32>,
    /// Why; it stands in the journal.
    #[arg(long)]
    reason: String,
    /// How long it may wait for the vehicle, such as 30s, 5m, 2h or 1d.
    #[arg(long, value_parser = seconds, default_value = "60s")]
    ttl: i64,
    /// Makes a repetition recognisable: the same one again gives no second command.
    #[arg(long)]
    request_id: Option<String>,
    /// Follow it until it has ended; exit code 1 unless it was done.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// Only say whether it would be taken.
    #[arg(long)]
    dry_run: bool,
}

/// What a vehicle can be told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ActionName {
    /// Lock all doors.
    Lock,
    /// Unlock them.
    Unlock,
    /// Sound the horn.
    Honk,
    /// Limit the speed, km/h.
    SpeedLimit,
    /// Restart the agent.
    Reboot,
}

pub(crate) fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text} is no time; say 30s, 5m, 2h or 1d");
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?);
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(unit)
        .filter(|seconds| (1..=604_800).contains(seconds))
        .ok_or_else(|| format!("{text} is not from 1 s to 7 days"))
}

/// What was typed, as the API says it.
pub(crate) fn action_word(action: ActionName, value: Option<u32>) -> Result<action::Action, CtlError> {
    if value.is_some() != (action == ActionName::SpeedLimit) {
        return Err(CtlError::Usage("speed-limit takes one value, km/h; the other actions take none"));
    }
    Ok(match action {
        ActionName::Lock => action::Action::Lock(true),
        ActionName::Unlock => action::Action::Lock(false),
        ActionName::Honk => action::Action::Honk(true),
        ActionName::SpeedLimit => action::Action::SpeedLimitKmh(value.unwrap_or_default()),
        ActionName::Reboot => action::Action::Reboot(true),
    })
}

struct Session<'a> {
    client: CommandServiceClient<Service>,
    global: Global,
    out: &'a mut dyn Write,
    colours: bool,
    widths: Vec<usize>,
}

/// Runs one of them.
pub(crate) async fn run(
    command: CommandsCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let command = match command {
        CommandsCommand::Group(command) => return crate::groups::groups(command, global, out, colours).await,
        CommandsCommand::Approvals(command) => {
            return crate::groups::approvals(command, global, out, colours).await;
        }
        command => command,
    };
    let client = CommandServiceClient::new(open(&global).await?).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut session = Session { client, global, out, colours, widths: Vec::new() };
    match command {
        CommandsCommand::Send(args) => session.send(args).await,
        CommandsCommand::List { vehicle } => session.list(&vehicle).await,
        CommandsCommand::Get { vehicle, command } => {
            let request = GetCommandRequest { name: session.name(vehicle, command)? };
            let found = session.client.get_command(session.request(request)).await?.into_inner();
            session.show(&[found], true)
        }
        CommandsCommand::Cancel { vehicle, command, reason } => {
            let request = CancelCommandRequest { name: session.name(vehicle, command)?, reason };
            let cancelled = session.client.cancel_command(session.request(request)).await?.into_inner();
            session.show(&[cancelled], true)
        }
        CommandsCommand::Watch { vehicle, command } => {
            let name = session.name(vehicle, command)?;
            session.watch(name).await.map(|_| ())
        }
        // Answered above.
        CommandsCommand::Group(_) | CommandsCommand::Approvals(_) => Ok(()),
    }?;
    session.out.flush()?;
    Ok(())
}

impl Session<'_> {
    fn vehicle_name(&self, vehicle: &str) -> String {
        if vehicle.contains('/') {
            return vehicle.to_owned();
        }
        VehicleName { organization: self.global.organization.clone(), vehicle: vehicle.to_owned() }
            .to_string()
    }

    fn name(&self, vehicle: String, command: Option<String>) -> Result<String, CtlError> {
        match command {
            None if vehicle.contains("/commands/") => Ok(vehicle),
            None => Err(CtlError::Usage("say which command: its id after the vehicle, or its whole name")),
            Some(command) => {
                let organization = self.global.organization.clone();
                Ok(CommandName { organization, vehicle, command }.to_string())
            }
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(self.global.timeout));
        request
    }

    async fn send(&mut self, args: SendArgs) -> Result<(), CtlError> {
        let request = CreateCommandRequest {
            parent: self.vehicle_name(&args.vehicle),
            action: Some(Action { action: Some(action_word(args.action, args.value)?) }),
            reason: args.reason,
            request_id: args.request_id.unwrap_or_default(),
            time_to_live: Some(prost_types::Duration { seconds: args.ttl, nanos: 0 }),
            validate_only: args.dry_run,
        };
        let taken = self.client.create_command(self.request(request)).await?.into_inner();
        if args.dry_run {
            eprintln!("it would be taken");
        }
        if !taken.approval.is_empty() && taken.state() == State::AwaitingApproval {
            eprintln!(
                "it waits for a second person: remudactl commands approvals approve {}",
                id(&taken.approval)
            );
        }
        if !args.wait {
            return self.show(&[taken], true);
        }
        match self.watch(taken.name).await? {
            Some(ended) if ended.state() == State::Done => Ok(()),
            Some(ended) => Err(CtlError::NotDone { state: word(ended.state()), detail: ended.detail }),
            None => Ok(()),
        }
    }

    async fn list(&mut self, vehicle: &str) -> Result<(), CtlError> {
        let request = self.request(ListCommandsRequest { parent: self.vehicle_name(vehicle) });
        let commands = self.client.list_commands(request).await?.into_inner().commands;
        if self.global.output == OutputFormat::Json {
            let documents: Vec<Value> = commands.iter().map(command_json).collect();
            writeln!(self.out, "{:#}", json!({ "commands": documents }))?;
            return Ok(());
        }
        if commands.is_empty() {
            eprintln!("this vehicle was given no command");
        }
        self.show(&commands, true)
    }

    /// Follows to the end; answers the last state seen, none when the person does not want more.
    async fn watch(&mut self, name: String) -> Result<Option<Command>, CtlError> {
        let mut changes: Streaming<Command> =
            self.client.watch_command(WatchCommandRequest { name }).await?.into_inner();
        let mut last = None;
        while let Some(command) = next_or_ctrl_c(&mut changes).await? {
            if self.global.output == OutputFormat::Json {
                writeln!(self.out, "{}", command_json(&command))?;
            } else {
                self.show(std::slice::from_ref(&command), last.is_none())?;
            }
            self.out.flush()?;
            last = Some(command);
        }
        Ok(last.filter(|command| (State::Done..=State::Cancelled).contains(&command.state())))
    }

    fn show(&mut self, commands: &[Command], heads: bool) -> Result<(), CtlError> {
        match self.global.output {
            OutputFormat::Json => {
                for command in commands {
                    writeln!(self.out, "{:#}", command_json(command))?;
                }
            }
            OutputFormat::Name => {
                for command in commands {
                    writeln!(self.out, "{}", command.name)?;
                }
            }
            OutputFormat::Table | OutputFormat::Wide => {
                let titles = ["COMMAND", "ACTION", "STATE", "GIVEN", "CHANGED", "REASON", "DETAIL"];
                let rows: Vec<Vec<Cell>> = commands.iter().map(row).collect();
                write(self.out, heads.then_some(&titles[..]), &rows, &mut self.widths, self.colours)?;
            }
        }
        Ok(())
    }
}

pub(crate) fn word(state: State) -> String {
    state.as_str_name().trim_start_matches("STATE_").to_lowercase()
}

fn action_of(command: &Command) -> String {
    action_text(command.action.as_ref())
}

/// What is to be done, in words.
pub(crate) fn action_text(action: Option<&Action>) -> String {
    match action.and_then(|action| action.action.as_ref()) {
        Some(action::Action::Lock(true)) => "lock".to_owned(),
        Some(action::Action::Lock(false)) => "unlock".to_owned(),
        Some(action::Action::Honk(_)) => "honk".to_owned(),
        Some(action::Action::SpeedLimitKmh(kmh)) => format!("speed-limit {kmh}"),
        Some(action::Action::Reboot(_)) => "reboot".to_owned(),
        Some(action::Action::AnswerOption(option)) => format!("answer {option}"),
        None => "?".to_owned(),
    }
}

fn row(command: &Command) -> Vec<Cell> {
    let tint = match command.state() {
        State::Done => Tint::Good,
        State::Failed | State::Expired | State::Refused | State::Unknown => Tint::Warn,
        State::Cancelled => Tint::Faint,
        _ => Tint::Plain,
    };
    let age = |time: Option<&prost_types::Timestamp>| cell(age_of(time, now_ms())).right();
    vec![
        cell(id(&command.name)),
        cell(action_of(command)),
        cell(word(command.state())).tint(tint),
        age(command.create_time.as_ref()),
        age(command.update_time.as_ref()),
        cell(command.reason.clone()),
        cell(command.detail.clone()),
    ]
}

fn command_json(command: &Command) -> Value {
    let time = |time: Option<&prost_types::Timestamp>| time.map(rfc3339);
    json!({
        "name": command.name,
        "action": action_of(command),
        "state": word(command.state()),
        "detail": command.detail,
        "reason": command.reason,
        "requestedBy": command.requested_by,
        "requestId": command.request_id,
        "createTime": time(command.create_time.as_ref()),
        "expireTime": time(command.expire_time.as_ref()),
        "updateTime": time(command.update_time.as_ref()),
        "sends": command.sends,
        "approval": command.approval,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live_are_read_and_bounded() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("7d"), Ok(604_800));
        for wrong in ["", "60", "s", "8d", "0s", "1w", "9999999999999999d", "-1s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
