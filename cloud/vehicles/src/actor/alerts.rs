//! What people ask of a vehicle's alerts: appended to its stream, shown in the index, then answered.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use remuda_contracts::alerts::{
    AlertDesk, AlertError, AlertLine, AlertPlace, AlertPoint, AlertRecord, AlertRequest,
};
use remuda_model::{OrganizationId, VehicleId};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::fault::Fault;
use super::node::Node;
use super::orders::OrderAsk;
use super::warm::Warm;
use crate::alert_index::record_of;
use crate::alerts::{self, AlertCommand, AlertEvent, AlertId, AlertPhase, AlertRefusal, AlertStep, decide};
use crate::event::VehicleEvent;
use crate::evolve::evolve;
use crate::metrics::{AlertLabel, SeverityLabel};

// How long an asker waits for the vehicle's actor, which may have to wait for a round.
const ASK: Duration = Duration::from_secs(10);
// How often it is looked whether a snooze is over.
const SWEEP: Duration = Duration::from_secs(1);

/// What is asked of a vehicle's alerts.
pub(crate) enum AlertAsk {
    /// Somebody acts on one.
    Act { alert: AlertId, request: AlertRequest, reply: oneshot::Sender<Result<AlertRecord, AlertRefusal>> },
    /// A snooze may be over.
    EndSnoozes,
    /// Geofences are gone.
    LetGo(oneshot::Sender<()>),
}

impl Warm {
    /// Takes an ask; it is done at once, or when the decisions in flight are committed. The permit counts until then.
    pub(super) async fn alert_ask(
        &mut self,
        ask: AlertAsk,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), Fault> {
        self.alert_asks.push_back((ask, permit));
        self.work_alerts().await
    }

    /// Does what was asked, unless decisions are in flight: versions are given when submitted, so an append behind them
    /// must know whether they were committed.
    pub(super) async fn work_alerts(&mut self) -> Result<(), Fault> {
        while !self.decisions_in_flight() {
            let Some((ask, _permit)) = self.alert_asks.pop_front() else { break };
            match ask {
                AlertAsk::Act { alert, request, reply } => {
                    let done = self.act(alert, request).await?;
                    // Whoever asked may have given up waiting; what was done stays done.
                    let _ = reply.send(done);
                }
                AlertAsk::EndSnoozes => self.end_snoozes().await?,
                AlertAsk::LetGo(done) => {
                    self.let_go().await?;
                    // Whoever asked may have given up waiting.
                    let _ = done.send(());
                }
            }
        }
        Ok(())
    }

    async fn act(
        &mut self,
        alert: AlertId,
        request: AlertRequest,
    ) -> Result<Result<AlertRecord, AlertRefusal>, Fault> {
        let AlertRequest { act, by, request_id, expected, validate_only } = request;
        let now_ms = self.node.now_ms();
        let command = AlertCommand::Act { alert, act, by, request_id, expected, now_ms };
        let event = match decide(&self.vehicle.state.book, command) {
            Ok(event) => event,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if validate_only {
            let mut book = Arc::clone(&self.vehicle.state.book);
            if let Some(event) = &event {
                alerts::evolve::stepped(Arc::make_mut(&mut book), event);
            }
            return Ok(self.shown(&book, alert));
        }
        if let Some(event) = event {
            self.alert_step(event).await?;
        }
        Ok(self.shown(&self.vehicle.state.book, alert))
    }

    fn shown(&self, book: &alerts::AlertBook, alert: AlertId) -> Result<AlertRecord, AlertRefusal> {
        let found = book.get(alert).ok_or(AlertRefusal::NoSuchAlert)?;
        Ok(record_of(self.node.settings.organization, self.id, found))
    }

    async fn end_snoozes(&mut self) -> Result<(), Fault> {
        let now_ms = self.node.now_ms();
        let snoozed = self.vehicle.state.book.open.iter();
        let snoozed = snoozed.filter(|alert| matches!(alert.phase, AlertPhase::Snoozed { .. }));
        for alert in snoozed.map(alerts::Alert::id).collect::<Vec<_>>() {
            let command = AlertCommand::EndSnooze { alert, now_ms };
            if let Ok(Some(event)) = decide(&self.vehicle.state.book, command) {
                self.alert_step(event).await?;
            }
        }
        Ok(())
    }

    /// Appends, evolves, shows, counts.
    async fn alert_step(&mut self, event: AlertEvent) -> Result<(), Fault> {
        let now_ms = event.time_ms;
        let fact = VehicleEvent::Alert(event);
        self.append(std::slice::from_ref(&fact), now_ms).await?;
        evolve(&mut self.vehicle.state, &fact);
        self.changed = true;
        self.publish();
        self.show_alerts();
        self.count_alert(&fact);
        Ok(())
    }

    /// Shows the alerts in the index.
    pub(super) fn show_alerts(&self) {
        self.node.alerts.update(self.id, &self.vehicle.state.book);
        self.node.atlas.hold(self.id, &self.vehicle.state);
    }

    /// Counts what became of an alert, after it is durable.
    pub(super) fn count_alert(&self, fact: &VehicleEvent) {
        let (id, begins_to_call) = match fact {
            // One that somebody looks after, or does not want to hear of, calls nobody when it is found again.
            VehicleEvent::AlertRaised(fact) => (AlertId(fact.cause), true),
            VehicleEvent::Alert(event) => {
                let label = AlertLabel { event: event.event_type() };
                self.node.metrics.alert_steps.get_or_create(&label).inc();
                if matches!(event.step, AlertStep::Acknowledged { .. }) {
                    self.count_acknowledged(event);
                }
                (event.alert, matches!(event.step, AlertStep::Unsnoozed | AlertStep::SnoozeEnded))
            }
            _ => return,
        };
        let Some(alert) = self.vehicle.state.book.get(id) else { return };
        if begins_to_call && alert.wants_attention() {
            let (rule, severity) = (alert.rule().as_str(), alert.rule().severity().as_str());
            self.node.metrics.alert_calls.get_or_create(&SeverityLabel { severity }).inc();
            tracing::info!(vehicle_id = %self.id, alert = %id, rule, severity, "an alert wants attention");
        }
    }

    fn count_acknowledged(&self, event: &AlertEvent) {
        let raised_ms = self.vehicle.state.book.get(event.alert).map_or(0, |alert| alert.fact.sampled_ms);
        if raised_ms > 0 {
            let seconds = (event.time_ms - raised_ms).max(0) as f64 / 1e3;
            self.node.metrics.alert_acknowledge_seconds.observe(seconds);
        }
    }
}

/// Ends snoozes whose time has come, until it is aborted.
pub(crate) async fn sweep(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        for vehicle in node.alerts.take_due(node.now_ms(), alerts::limits::DUE_AT_ONCE_MAX) {
            // No room, or the shard is stopped: it is due again in some seconds.
            let _ = node.ask(vehicle, OrderAsk::Alert(AlertAsk::EndSnoozes));
        }
    }
}

/// The alerts of every vehicle, for others.
pub(crate) struct Watchful(pub Arc<Node>);

#[async_trait]
impl AlertDesk for Watchful {
    fn get(&self, organization: &OrganizationId, vehicle: &VehicleId, id: &str) -> Option<Arc<AlertRecord>> {
        self.0.alerts.get(organization, vehicle, id)
    }

    fn list(
        &self,
        organization: &OrganizationId,
        after: Option<&AlertPlace>,
        limit: usize,
        matches: &(dyn Fn(&AlertRecord) -> bool + Sync),
    ) -> Vec<Arc<AlertRecord>> {
        self.0.alerts.list(organization, after, limit, matches)
    }

    fn visit(
        &self,
        organization: &OrganizationId,
        each: &mut (dyn FnMut(AlertLine<'_>) + Send),
    ) -> AlertPoint {
        self.0.alerts.visit(organization, each)
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.0.alerts.changed()
    }

    async fn act(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
        id: &str,
        request: AlertRequest,
    ) -> Result<Arc<AlertRecord>, AlertError> {
        // Only what is listed can be acted on: a name that somebody made up wakes no actor.
        let known = self.0.alerts.get(organization, vehicle, id);
        let alert = known.and_then(|_| id.parse().ok()).ok_or(AlertError::NoSuchAlert)?;
        let (reply, answer) = oneshot::channel();
        let ask = OrderAsk::Alert(AlertAsk::Act { alert, request, reply });
        self.0.ask(*vehicle, ask).map_err(AlertError::Unavailable)?;
        let answer = tokio::time::timeout(ASK, answer).await;
        let answer = answer.map_err(|_| AlertError::Unavailable("it takes too long"))?;
        let answer = answer.map_err(|_| AlertError::Unavailable("its actor was started again"))?;
        answer.map(Arc::new).map_err(|refusal| match refusal {
            AlertRefusal::NoSuchAlert => AlertError::NoSuchAlert,
            refusal => AlertError::Refused { code: refusal.code(), sentence: refusal.to_string() },
        })
    }
}
