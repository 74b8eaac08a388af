//! `remudactl alerts`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use clap::{Args, Subcommand};
use prost_types::{Duration as Length, Timestamp};
use remuda_api::alerts::v1::alert_service_client::AlertServiceClient;
use remuda_api::alerts::v1::entry::Kind;
use remuda_api::alerts::v1::{
    AcknowledgeAlertRequest, Alert, ClearAlertRequest, Entry, GetAlertRequest, ListAlertsRequest, Severity,
    SnoozeAlertRequest, State, UnsnoozeAlertRequest, WatchAlertsRequest, WatchAlertsResponse,
};
use remuda_api::{AlertName, MESSAGE_BYTES_MAX, OrganizationName};
use serde_json::{Value, json};
use tonic::Request;

use crate::args::{Global, OutputFormat};
use crate::client::{Service, open};
use crate::commands::seconds;
use crate::error::CtlError;
use crate::run::follow;
use crate::table::{Cell, Tint, cell, write};
use crate::text::{age_of, id, now_ms, rfc3339};

/// What can be done with alerts.
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// Lists alerts, those raised last first.
    List {
        /// Which alerts, such as `state != CLEARED AND severity >= WARNING AND age_s > 600`.
        #[arg(long, default_value = "state != CLEARED")]
        filter: String,
        /// Those that are over as well.
        #[arg(long, conflicts_with = "filter")]
        all: bool,
        /// Alerts read at once, 1 to 1000; all pages are printed.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(i32).range(1..=1000))]
        page_size: i32,
        /// Print at most so many alerts.
        #[arg(long)]
        limit: Option<usize>,
    },
    /// Shows one alert with its history.
    Get(Which),
    /// Follows alerts until Ctrl-C.
    Watch {
        /// Which alerts, as in `list`.
        #[arg(long, default_value = "")]
        filter: String,
        /// End after so many updates.
        #[arg(long)]
        updates: Option<u64>,
    },
    /// Says that you look after an alert.
    Ack {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// What to say to it.
        #[arg(long, default_value = "")]
        note: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Wants quiet for a while; then the alert comes back if it is still there.
    Snooze {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// For how long, such as 30m, 2h or 1d; 1 min to 7 days.
        #[arg(long = "for", value_parser = seconds)]
        seconds: i64,
        /// What to say to it.
        #[arg(long, default_value = "")]
        note: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Ends a snooze early.
    Unsnooze {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Ends an alert by hand, where its rule permits.
    Clear {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// Why; it stands in the journal.
        #[arg(long)]
        reason: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
}

/// An alert.
#[derive(Debug, Args)]
pub struct Which {
    /// The vehicle; or the alert's whole resource name.
    vehicle: String,
    /// The alert's id.
    alert: Option<String>,
}

/// What every change takes.
#[derive(Debug, Args)]
pub struct How {
    /// The etag that you saw: nothing is done when the alert was changed since.
    #[arg(long, default_value = "")]
    etag: String,
    /// Makes a repetition recognisable: the same one again changes nothing.
    #[arg(long, default_value = "")]
    request_id: String,
    /// Only say what would become of it.
    #[arg(long)]
    dry_run: bool,
}

struct Session<'a> {
    client: AlertServiceClient<Service>,
    global: Global,
    out: &'a mut dyn Write,
    colours: bool,
    widths: Vec<usize>,
    heads: bool,
}

/// Runs one of them.
pub(crate) async fn run(
    command: AlertsCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let client = AlertServiceClient::new(open(&global).await?).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut session = Session { client, global, out, colours, widths: Vec::new(), heads: true };
    match command {
        AlertsCommand::List { filter, all, page_size, limit } => {
            let filter = if all { String::new() } else { filter };
            session.list(&filter, page_size, limit).await
        }
        AlertsCommand::Get(which) => {
            let request = GetAlertRequest { name: session.name(which)? };
            let alert = session.client.get_alert(session.request(request)).await?.into_inner();
            session.one(&alert)
        }
        AlertsCommand::Watch { filter, updates } => session.watch(filter, updates).await,
        change => session.change(change).await,
    }?;
    session.out.flush()?;
    Ok(())
}

impl Session<'_> {
    fn name(&self, which: Which) -> Result<String, CtlError> {
        match which {
            Which { vehicle, alert: None } if vehicle.contains("/alerts/") => Ok(vehicle),
            Which { alert: None, .. } => {
                Err(CtlError::Usage("say which alert: its id after the vehicle, or its whole name"))
            }
            Which { vehicle, alert: Some(alert) } => {
                Ok(AlertName { organization: self.global.organization.clone(), vehicle, alert }.to_string())
            }
        }
    }

    fn parent(&self) -> String {
        OrganizationName { organization: self.global.organization.clone() }.to_string()
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(self.global.timeout));
        request
    }

    async fn list(&mut self, filter: &str, page_size: i32, limit: Option<usize>) -> Result<(), CtlError> {
        let mut left = limit.unwrap_or(usize::MAX);
        let mut documents: Vec<Value> = Vec::new();
        let (mut page_token, mut printed) = (String::new(), 0);
        while left > 0 {
            let request = self.request(ListAlertsRequest {
                parent: self.parent(),
                page_size: page_size.min(i32::try_from(left).unwrap_or(i32::MAX)),
                page_token,
                filter: filter.to_owned(),
            });
            let page = self.client.list_alerts(request).await?.into_inner();
            left -= page.alerts.len().min(left);
            printed += page.alerts.len();
            if self.global.output == OutputFormat::Json {
                documents.extend(page.alerts.iter().map(alert_json));
            } else {
                self.rows(&page.alerts)?;
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        if self.global.output == OutputFormat::Json {
            writeln!(self.out, "{:#}", json!({ "alerts": documents }))?;
        } else if printed == 0 {
            eprintln!("no alert matches");
        }
        Ok(())
    }

    /// Follows until nobody wants more; a server that restarts is waited for, and nothing is missed.
    async fn watch(&mut self, filter: String, updates: Option<u64>) -> Result<(), CtlError> {
        let (parent, client) = (self.parent(), self.client.clone());
        let known = RefCell::new(Known::default());
        let open = |resume_token| {
            known.borrow_mut().begin();
            let mut client = client.clone();
            let request = WatchAlertsRequest { parent: parent.clone(), filter: filter.clone(), resume_token };
            async move { client.watch_alerts(request).await }
        };
        let mut seen = 0;
        follow(
            String::new(),
            open,
            |response: &WatchAlertsResponse| &response.resume_token,
            |response| {
                let gone = known.borrow_mut().told(&response);
                self.told(&response.alerts, &gone)?;
                seen += u64::from(!response.resume_token.is_empty());
                let is_enough = updates.is_some_and(|most| seen >= most);
                Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            },
        )
        .await
    }

    fn told(&mut self, alerts: &[Alert], removed: &[String]) -> Result<(), CtlError> {
        if self.global.output == OutputFormat::Json {
            for alert in alerts {
                writeln!(self.out, "{}", alert_json(alert))?;
            }
            for name in removed {
                writeln!(self.out, "{}", json!({ "name": name, "removed": true }))?;
            }
        } else {
            self.rows(alerts)?;
            for name in removed {
                writeln!(self.out, "{}  no longer matches", id(name))?;
            }
        }
        self.out.flush()?;
        Ok(())
    }

    async fn change(&mut self, command: AlertsCommand) -> Result<(), CtlError> {
        let (changed, dry_run) = match command {
            AlertsCommand::Ack { which, note, how: How { etag, request_id, dry_run } } => {
                let name = self.name(which)?;
                let request =
                    AcknowledgeAlertRequest { name, note, etag, request_id, validate_only: dry_run };
                (self.client.acknowledge_alert(self.request(request)).await?, dry_run)
            }
            AlertsCommand::Snooze { which, seconds, note, how: How { etag, request_id, dry_run } } => {
                let name = self.name(which)?;
                // By the server's clock, so that a repetition is the same request.
                let duration = Some(Length { seconds, nanos: 0 });
                let request = SnoozeAlertRequest {
                    name,
                    until_time: None,
                    note,
                    etag,
                    request_id,
                    validate_only: dry_run,
                    duration,
                };
                (self.client.snooze_alert(self.request(request)).await?, dry_run)
            }
            AlertsCommand::Unsnooze { which, how: How { etag, request_id, dry_run } } => {
                let name = self.name(which)?;
                let request = UnsnoozeAlertRequest { name, etag, request_id, validate_only: dry_run };
                (self.client.unsnooze_alert(self.request(request)).await?, dry_run)
            }
            AlertsCommand::Clear { which, reason, how: How { etag, request_id, dry_run } } => {
                let name = self.name(which)?;
                let request = ClearAlertRequest { name, reason, etag, request_id, validate_only: dry_run };
                (self.client.clear_alert(self.request(request)).await?, dry_run)
            }
            // Answered elsewhere.
            AlertsCommand::List { .. } | AlertsCommand::Get(_) | AlertsCommand::Watch { .. } => return Ok(()),
        };
        if dry_run {
            eprintln!("nothing was changed; it would be:");
        }
        self.one(&changed.into_inner())
    }

    fn one(&mut self, alert: &Alert) -> Result<(), CtlError> {
        if self.global.output == OutputFormat::Json {
            writeln!(self.out, "{:#}", alert_json(alert))?;
            return Ok(());
        }
        self.rows(std::slice::from_ref(alert))?;
        if self.global.output == OutputFormat::Name {
            return Ok(());
        }
        writeln!(self.out)?;
        let rows: Vec<Vec<Cell>> = alert.history.iter().map(entry_row).collect();
        let titles = ["WHEN", "WHAT", "WHO", "NOTE"];
        write(self.out, Some(&titles[..]), &rows, &mut Vec::new(), self.colours)?;
        if alert.history_left_out > 0 {
            writeln!(self.out, "{} entries after the first are no longer kept", alert.history_left_out)?;
        }
        Ok(())
    }

    fn rows(&mut self, alerts: &[Alert]) -> Result<(), CtlError> {
        if alerts.is_empty() {
            return Ok(());
        }
        if self.global.output == OutputFormat::Name {
            for alert in alerts {
                writeln!(self.out, "{}", alert.name)?;
            }
            return Ok(());
        }
        let wide = self.global.output == OutputFormat::Wide;
        let mut titles = vec!["VEHICLE", "ALERT", "SEVERITY", "STATE", "RAISED", "BY", "NOTE"];
        if wide {
            titles.extend(["VALUE", "THRESHOLD", "TIMES", "UNTIL", "ETAG"]);
        }
        let heads = std::mem::take(&mut self.heads).then_some(&titles[..]);
        let rows: Vec<Vec<Cell>> = alerts.iter().map(|alert| row(alert, wide)).collect();
        write(self.out, heads, &rows, &mut self.widths, self.colours)?;
        Ok(())
    }
}

/// Which alerts the reader was told match: a full state does not name those that match no more.
#[derive(Default)]
struct Known {
    names: BTreeSet<String>,
    /// Those that the parts of a full state name so far.
    full: Option<BTreeSet<String>>,
}

impl Known {
    /// A stream begins: parts of a state that broke off are of another one.
    fn begin(&mut self) {
        self.full = None;
    }

    /// Takes a response; those that match no more.
    fn told(&mut self, response: &WatchAlertsResponse) -> Vec<String> {
        let alerts = response.alerts.iter().map(|alert| alert.name.clone());
        if !response.full_state {
            self.full = None;
            self.names.extend(alerts);
            for name in &response.removed {
                self.names.remove(name);
            }
            return response.removed.clone();
        }
        self.full.get_or_insert_default().extend(alerts);
        match self.full.take_if(|_| !response.resume_token.is_empty()) {
            Some(full) => {
                std::mem::replace(&mut self.names, full.clone()).difference(&full).cloned().collect()
            }
            None => Vec::new(),
        }
    }
}

fn vehicle_of(name: &str) -> &str {
    name.split('/').nth(3).unwrap_or_default()
}

fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase().replace('_', "-")
}

fn severity(alert: &Alert) -> String {
    word(alert.severity().as_str_name(), "SEVERITY_")
}

fn state(alert: &Alert) -> String {
    word(alert.state().as_str_name(), "STATE_")
}

fn row(alert: &Alert, wide: bool) -> Vec<Cell> {
    let tint = match alert.state() {
        State::Open if alert.severity() >= Severity::Warning => Tint::Warn,
        State::Cleared => Tint::Faint,
        _ => Tint::Plain,
    };
    let mut row = vec![
        cell(vehicle_of(&alert.name)),
        cell(id(&alert.name)),
        cell(severity(alert)),
        cell(state(alert)).tint(tint),
        cell(age_of(alert.raise_time.as_ref(), now_ms())).right(),
        cell(alert.changed_by.clone()),
        cell(alert.note.clone()),
    ];
    if wide {
        row.extend([
            cell(format!("{:.1}", alert.value)).right(),
            cell(format!("{:.1}", alert.threshold)).right(),
            cell(alert.occurrence_count.to_string()).right(),
            cell(alert.snooze_until_time.as_ref().map_or_else(|| "-".to_owned(), rfc3339)),
            cell(alert.etag.clone()),
        ]);
    }
    row
}

fn entry_row(entry: &Entry) -> Vec<Cell> {
    let kind = word(entry.kind().as_str_name(), "KIND_");
    let what = match (&entry.until_time, entry.kind()) {
        (Some(until), Kind::Snoozed) => format!("{kind} until {}", rfc3339(until)),
        _ => kind,
    };
    vec![
        cell(entry.time.as_ref().map_or_else(|| "-".to_owned(), rfc3339)),
        cell(what),
        cell(if entry.by.is_empty() { "-".to_owned() } else { entry.by.clone() }),
        cell(entry.note.clone()),
    ]
}

fn alert_json(alert: &Alert) -> Value {
    let time = |time: Option<&Timestamp>| time.map(rfc3339);
    let entry = |entry: &Entry| {
        json!({
            "kind": word(entry.kind().as_str_name(), "KIND_"),
            "time": time(entry.time.as_ref()),
            "by": entry.by,
            "note": entry.note,
            "untilTime": time(entry.until_time.as_ref()),
        })
    };
    json!({
        "name": alert.name,
        "etag": alert.etag,
        "rule": alert.rule,
        "severity": severity(alert),
        "state": state(alert),
        "raiseTime": time(alert.raise_time.as_ref()),
        "late": alert.late,
        "value": alert.value,
        "threshold": alert.threshold,
        "occurrenceCount": alert.occurrence_count,
        "clearsByHand": alert.clears_by_hand,
        "wantsAttention": alert.wants_attention,
        "changedBy": alert.changed_by,
        "changeTime": time(alert.change_time.as_ref()),
        "note": alert.note,
        "snoozeUntilTime": time(alert.snooze_until_time.as_ref()),
        "history": alert.history.iter().map(entry).collect::<Vec<_>>(),
        "historyLeftOut": alert.history_left_out,
        "geofence": alert.geofence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(
        names: &[&str],
        removed: &[&str],
        resume_token: &str,
        full_state: bool,
    ) -> WatchAlertsResponse {
        let alerts = names.iter().map(|name| Alert { name: (*name).into(), ..Alert::default() }).collect();
        let removed = removed.iter().map(|name| (*name).into()).collect();
        WatchAlertsResponse { alerts, removed, resume_token: resume_token.into(), full_state }
    }

    #[test]
    fn alerts_that_a_full_state_does_not_name_are_gone() {
        let mut known = Known::default();
        // The first state, in two parts.
        assert!(known.told(&response(&["a", "b"], &[], "", true)).is_empty());
        assert!(known.told(&response(&["c"], &[], "1", true)).is_empty());
        assert_eq!(known.told(&response(&["d"], &["a"], "2", false)), ["a"]);
        // The server was started anew: b and d ended meanwhile.
        assert!(known.told(&response(&["c"], &[], "", true)).is_empty(), "another part may name them");
        assert_eq!(known.told(&response(&["e"], &[], "3", true)), ["b", "d"]);
        // It went away in the middle of a state, and begins anew.
        assert!(known.told(&response(&["e"], &[], "", true)).is_empty());
        known.begin();
        assert_eq!(known.told(&response(&["c"], &[], "4", true)), ["e"]);
        assert_eq!(known.told(&response(&[], &[], "5", true)), ["c"]);
    }
}
