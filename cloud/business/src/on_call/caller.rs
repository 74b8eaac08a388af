//! Asks for the messages, and calls off what nobody need be told any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};
use remuda_contracts::alerts::{AlertCall, AlertDesk, AlertRecord, AlertSeverity};
use remuda_entities::AskError;
use remuda_model::{OrganizationId, VehicleId};
use remuda_notifications::desk::RequestError;
use remuda_notifications::{Ask, Mailbox, Notifications};
use remuda_vehicles::registry::RecordDirectory;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Person;
use crate::limits;
use crate::start::{Clock, pause};

/// Who asks, as it stands in the journal.
const ACTOR: &str = "policy/on-call";
const OVER: &str = "nobody need be told any more: the alert is looked after, snoozed, or over";

/// See the module.
pub(crate) struct Caller {
    pub alerts: Arc<dyn AlertDesk>,
    pub people: Vec<Person>,
    pub records: RecordDirectory,
    pub notifications: Notifications,
    pub mailbox: Mailbox,
    pub organization: OrganizationId,
    pub clock: Clock,
}

/// Which call of which alert a message is for; its text is what the message's key begins with.
struct Which<'a> {
    vehicle: VehicleId,
    alert: &'a str,
    number: i64,
}

impl<'a> Which<'a> {
    fn of(alert: &'a AlertRecord, call: AlertCall) -> Self {
        Self { vehicle: alert.vehicle, alert: &alert.id, number: call.number }
    }

    fn key(&self, person: &Person) -> String {
        format!("alert/{}/{}/{}/{}", self.vehicle, self.alert, self.number, person.name)
    }

    /// From a message's id.
    fn read(id: &'a str) -> Option<Self> {
        let (vehicle, rest) = id.strip_prefix("alert/")?.split_once('/')?;
        let (rest, _) = rest.rsplit_once('/')?;
        let (alert, number) = rest.rsplit_once('/')?;
        Some(Self { vehicle: VehicleId::new(vehicle).ok()?, alert, number: number.parse().ok()? })
    }
}

/// Which of the alerts' changes need not be looked at again.
#[derive(Debug, Default)]
struct Told {
    /// All up to this one,
    up_to: u64,
    /// but for these, of which somebody could not be told.
    failed: BTreeSet<u64>,
}

impl Told {
    fn has(&self, change: u64) -> bool {
        change <= self.up_to && !self.failed.contains(&change)
    }

    /// Takes a change out. Those before come first.
    fn without(&mut self, change: u64) {
        if self.failed.len() < limits::CALLS_FAILED_MAX {
            self.failed.insert(change);
        } else {
            self.up_to = self.up_to.min(change.saturating_sub(1));
        }
    }
}

impl Caller {
    /// Runs until the node stops.
    pub async fn run(self, mut stops: watch::Receiver<bool>) {
        let mut changed = self.alerts.changed();
        let mut told = Told::default();
        loop {
            changed.mark_unchanged();
            if let Err(error) = self.call(&mut told).await {
                tracing::warn!(%error, "not everybody could be told of an alert; they are told again soon");
            }
            if let Err(error) = self.call_off().await {
                tracing::warn!(%error, "messages about alerts could not be called off; they are looked at again soon");
            }
            // One look for many that come at once.
            if !pause(&mut stops, limits::CALLS_PAUSE).await {
                return;
            }
            tokio::select! {
                // One that is gone has nothing more to say, and the node is about to stop.
                Ok(()) = changed.changed() => {}
                () = sleep(limits::CALL_AGAIN) => {}
                _ = stops.wait_for(|stops| *stops) => return,
            }
        }
    }

    /// Asks for the messages about all that call and were not told yet. Answers the last that went wrong.
    async fn call(&self, told: &mut Told) -> Result<(), RequestError> {
        // By the change that brought them, the oldest first.
        let mut calls = BTreeMap::new();
        let point = self.alerts.visit(&self.organization, &mut |line| {
            if !told.has(line.change) && line.record.call().is_some() {
                calls.insert(line.change, Arc::clone(line.record));
            }
        });
        *told = Told { up_to: point.change, failed: BTreeSet::new() };
        let mut done = Ok(());
        for (change, alert) in calls {
            if let Err(error) = self.tell(&alert).await {
                told.without(change);
                done = Err(error);
            }
        }
        done
    }

    async fn tell(&self, alert: &AlertRecord) -> Result<(), RequestError> {
        let Some(call) = alert.call() else { return Ok(()) };
        if (self.clock)() - call.time_ms > limits::CALL_AGE_MS_MAX {
            return Ok(());
        }
        let mut failed = Ok(());
        for person in self.people.iter().filter(|person| alert.severity >= person.severity) {
            let told = match self.is_for(person, alert) {
                Ok(true) => self.ask(person, alert, call).await,
                Ok(false) => Ok(()),
                Err(error) => Err(error),
            };
            match told {
                // Asked for before, in other words: its text has changed, or it was called off.
                Err(RequestError::Ask(AskError::Refused { code, .. })) => {
                    tracing::debug!(vehicle_id = %alert.vehicle, alert = alert.id, code, "a message stays as it is");
                }
                // The others hear of it all the same.
                Err(error) => failed = Err(error),
                Ok(()) => {}
            }
        }
        failed
    }

    /// Whether the vehicle is one of theirs.
    fn is_for(&self, person: &Person, alert: &AlertRecord) -> Result<bool, RequestError> {
        if person.reach.covers(None, None) {
            return Ok(true);
        }
        let line = self.records.record(&self.organization, alert.vehicle.as_str());
        let line = line.map_err(|error| RequestError::Directory(error.to_string()))?;
        let details = line.and_then(|line| line.record.details);
        Ok(details.is_some_and(|home| person.reach.covers(home.fleet.as_deref(), home.depot.as_deref())))
    }

    async fn ask(&self, person: &Person, alert: &AlertRecord, call: AlertCall) -> Result<(), RequestError> {
        let kind = match (alert.severity, call.number) {
            (AlertSeverity::Critical, _) => "alert-critical",
            (_, 0) => "alert-raised",
            _ => "alert-back",
        };
        let raised = DateTime::from_timestamp_millis(alert.raised_ms).unwrap_or_default();
        let parameters = [
            ("vehicle", alert.vehicle.to_string()),
            ("alert", alert.id.clone()),
            ("rule", alert.rule.clone()),
            ("severity", alert.severity.as_str().to_owned()),
            ("value", format!("{:.1}", alert.value)),
            ("threshold", format!("{:.1}", alert.threshold)),
            ("raised", raised.to_rfc3339_opts(SecondsFormat::Secs, true)),
        ];
        let ask = Ask {
            key: Which::of(alert, call).key(person),
            recipient: person.recipient(),
            kind: kind.to_owned(),
            parameters: parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        };
        self.notifications.request(&self.organization, &ask, ACTOR).await.map(|_| ())
    }

    /// Calls off the most urgent messages whose alert does not call any more, or calls anew. Answers the last that went wrong.
    async fn call_off(&self) -> Result<(), String> {
        let open = self.mailbox.open(limits::CALLS_LOOKED_AT).map_err(|error| error.to_string())?;
        let mut done = Ok(());
        for message in open {
            let Some(which) = Which::read(&message.id) else { continue };
            let alert = self.alerts.get(&message.organization, &which.vehicle, which.alert);
            let now = alert.and_then(|alert| alert.call());
            if now.is_some_and(|call| call.number == which.number) {
                continue;
            }
            let called_off =
                self.notifications.call_off(&message.organization, &message.id, OVER, ACTOR).await;
            if let Err(error) = called_off {
                done = Err(error.to_string());
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_cannot_be_told_makes_no_other_be_told_again() {
        let mut told = Told { up_to: 9, failed: BTreeSet::new() };
        told.without(3);
        let again = |told: &Told| (1..=11).filter(|change| !told.has(*change)).collect::<Vec<u64>>();
        assert_eq!(again(&told), [3, 10, 11]);
        // What is remembered of them has a bound; behind it all are gone through again.
        let max = limits::CALLS_FAILED_MAX as u64;
        let mut told = Told { up_to: 2 * max, failed: BTreeSet::new() };
        (1..=max + 2).for_each(|change| told.without(change));
        assert_eq!((told.failed.len(), told.up_to), (limits::CALLS_FAILED_MAX, max));
        assert!(!told.has(1) && !told.has(max) && !told.has(max + 1) && !told.has(2 * max));
    }
}
