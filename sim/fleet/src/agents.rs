//! The agents of a process: one log for all outboxes, one task and one connection each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use remuda_edge_agent::{
    AgentRunner, Clock, Controls, Input, LinkSettings, Profile, Reading, RunError, Stop, Store, ThinMqtt,
};
use remuda_edge_agent_core::{self as core, Policy, Settings};
use remuda_model::{Incarnation, SignalId, VehicleId};
use remuda_roads::Position;
use remuda_wire::{Event, Question};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::controls::{Simulated, Told};
use crate::error::FleetError;
use crate::figures::{Figures, round};
use crate::histogram::Histogram;
use crate::latency;
use crate::limits::{CONNECT_PAUSE, CONNECTS_AT_ONCE, INPUTS_MAX, VEHICLES_MAX};
use crate::settings::FleetSettings;
use crate::sockets;

const NS_PER_MS: u64 = 1_000_000;

/// What an agent collects, and whether the cloud may change that.
pub(crate) enum Collect {
    /// The product's default policy, until the cloud sends another.
    AsTheProduct,
    /// Every reading is a sample.
    Everything,
}

fn link_of(settings: &FleetSettings, vehicle: VehicleId) -> Result<LinkSettings, FleetError> {
    let door = settings.door.clone();
    // A plain door trusts what comes from this machine; there is no secret to show.
    let Some(certificates) = &settings.certificates else { return Ok(LinkSettings::new(door, vehicle, "")) };
    let credentials = certificates.of(vehicle).ok_or(FleetError::NoCertificate { vehicle })?;
    Ok(LinkSettings::over_tls(door, vehicle, credentials))
}

fn controls_of(
    settings: &FleetSettings,
    vehicle: VehicleId,
    sensors: mpsc::WeakSender<Input>,
    told: &Arc<Told>,
    clock: Clock,
) -> Controls {
    // Who did not enrol knows no key, and obeys nobody.
    let key = settings.certificates.as_ref().and_then(|certificates| certificates.command_key(vehicle));
    let Some(key) = key else { return Controls::default() };
    let actuators = Arc::new(Simulated::new(sensors, Arc::clone(told), clock));
    Controls { verifier: Arc::new(key), actuators }
}

/// Running agents.
#[derive(Debug)]
pub(crate) struct Agents {
    clock: Clock,
    /// Empty once stopped: an agent ends when nobody can tell it anything any more.
    inputs: Mutex<Vec<mpsc::Sender<Input>>>,
    figures: Vec<watch::Receiver<core::Figures>>,
    /// What commands have changed, by vehicle.
    told_commands: Vec<Arc<Told>>,
    /// Frames that were in the outboxes at the start.
    held_before: u64,
    latency: Arc<Histogram>,
    dropped: AtomicU64,
    stop: watch::Sender<Stop>,
    running: tokio::sync::Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    tasks: JoinSet<Result<(core::Figures, u64), RunError>>,
    sampler: tokio::task::JoinHandle<()>,
    store: Store,
}

impl Agents {
    /// Opens the log, begins a new start of every agent and lets them connect.
    pub(crate) async fn start(
        settings: &FleetSettings,
        ids: Vec<VehicleId>,
        collect: Collect,
    ) -> Result<Self, FleetError> {
        if ids.is_empty() || ids.len() > VEHICLES_MAX {
            return Err(FleetError::Vehicles { vehicles: ids.len() });
        }
        sockets::reserve(ids.len(), 1)?;
        let folder = settings.data.clone();
        // Opening reads every segment there is.
        let opening = tokio::task::spawn_blocking(move || Store::open(&folder, Profile::fleet()));
        let store = opening.await.map_err(|_| FleetError::Broken)??;
        let (follow_policy, policy) = match collect {
            Collect::AsTheProduct => (true, Policy::default()),
            Collect::Everything => (false, Policy::everything()),
        };
        let policy = Arc::new(policy);
        let clock = Clock::starting_at(NS_PER_MS);
        let (stop, stopped) = watch::channel(Stop::No);
        let (mut inputs, mut figures, mut held_before) = (Vec::new(), Vec::new(), 0);
        let mut told_commands = Vec::new();
        let mut tasks = JoinSet::new();
        for (number, id) in ids.into_iter().enumerate() {
            let (sender, receiver) = mpsc::channel(INPUTS_MAX);
            let (tell, told) = watch::channel(core::Figures::default());
            let made = Settings::new(id, Incarnation(rand::random()), rand::random());
            let agent_settings = Settings { policy: Arc::clone(&policy), follow_policy, ..made };
            let link = ThinMqtt::new(link_of(settings, id)?);
            let told_by_commands = Arc::new(Told::default());
            let controls = controls_of(settings, id, sender.downgrade(), &told_by_commands, clock);
            told_commands.push(told_by_commands);
            let runner =
                AgentRunner::open(agent_settings, &store, link, clock, receiver, stopped.clone(), controls)?;
            held_before += runner.frames_held();
            tasks.spawn(runner.with_figures(tell).run());
            inputs.push(sender);
            figures.push(told);
            if number % CONNECTS_AT_ONCE == CONNECTS_AT_ONCE - 1 {
                tokio::time::sleep(CONNECT_PAUSE).await;
            }
        }
        let latency = Arc::new(Histogram::default());
        let sampler = tokio::spawn(latency::sample(figures.clone(), Arc::clone(&latency)));
        Ok(Self {
            clock,
            inputs: Mutex::new(inputs),
            figures,
            told_commands,
            held_before,
            latency,
            dropped: AtomicU64::new(0),
            stop,
            running: tokio::sync::Mutex::new(Some(Running { tasks, sampler, store })),
        })
    }

    /// What a vehicle's sensors read now. Dropped and counted when the vehicle has too many waiting.
    pub(crate) fn sample(&self, number: usize, values: &[(SignalId, i64)]) {
        // Whole milliseconds: the times of a frame's rows then take a byte or two.
        self.hand_over(number, self.clock.now() / NS_PER_MS * NS_PER_MS, values);
    }

    /// A row that becomes a frame of its own: its time is a batch's span after the row before.
    pub(crate) fn frame(&self, number: usize, row: u64, values: &[(SignalId, i64)]) {
        self.hand_over(number, row * core::limits::BATCH_SPAN_MS * NS_PER_MS, values);
    }

    /// The same as [`Self::frame`], but waits until the vehicle has taken what it was given before.
    pub(crate) async fn frame_in_turn(&self, number: usize, row: u64, values: &[(SignalId, i64)]) {
        let mono_ns = row * core::limits::BATCH_SPAN_MS * NS_PER_MS;
        let readings = values.iter().map(|(signal, raw)| Reading { signal: *signal, raw: *raw, mono_ns });
        let input = Input::Readings(readings.collect());
        let sender = self.inputs.lock().get(number).cloned();
        let sent = match sender {
            Some(sender) => sender.send(input).await.is_ok(),
            None => false,
        };
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn hand_over(&self, number: usize, mono_ns: u64, values: &[(SignalId, i64)]) {
        let readings = values.iter().map(|(signal, raw)| Reading { signal: *signal, raw: *raw, mono_ns });
        self.send(number, Input::Readings(readings.collect()));
    }

    /// The speed limit that a command has set, km/h.
    pub(crate) fn speed_limit_kmh(&self, number: usize) -> Option<u16> {
        self.told_commands.get(number).and_then(|told| told.speed_limit_kmh(self.clock.now()))
    }

    /// A vehicle asks a person, and creeps while it waits.
    pub(crate) fn ask(&self, number: usize, question: Question) {
        let until_ns = self.clock.now() + u64::from(question.timeout_ms) * NS_PER_MS;
        if self.send(number, Input::Question(question))
            && let Some(told) = self.told_commands.get(number)
        {
            told.waits_until(until_ns);
        }
    }

    /// A vehicle set off or came to rest.
    pub(crate) fn trip_mark(&self, number: usize, departed: bool, position: Position) {
        let e7 = |degrees: f64| (degrees * 1e7).round() as i32;
        let (latitude_e7, longitude_e7) = (e7(position.latitude), e7(position.longitude));
        self.send(number, Input::Event(Event::TripMark { departed, latitude_e7, longitude_e7 }));
    }

    /// Whether its agent will hear of it.
    fn send(&self, number: usize, input: Input) -> bool {
        let sent = self.inputs.lock().get(number).is_some_and(|sender| sender.try_send(input).is_ok());
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    /// Waits until so many have been connected, or the time is over, or `stop` says so. Not all at once: of two fleets
    /// with the same ids each throws the other's vehicles out.
    pub(crate) async fn wait_connected(
        &self,
        wanted: usize,
        patience: Duration,
        stop: &mut watch::Receiver<bool>,
    ) {
        let connected = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            let mut met = vec![false; self.figures.len()];
            while met.iter().filter(|met| **met).count() < wanted {
                ticks.tick().await;
                met.iter_mut().zip(&self.figures).for_each(|(met, told)| *met |= told.borrow().online);
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(patience, connected) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Whether an agent ended by itself, which only a failing outbox or a fault makes it do.
    pub(crate) fn has_failed(&self) -> bool {
        self.figures.iter().any(|told| told.has_changed().is_err())
    }

    /// Counters so far; what follows from them is left to `Figures::finish`.
    pub(crate) fn figures(&self) -> Figures {
        let mut sum = Figures { vehicles: self.figures.len(), ..Figures::default() };
        for told in &self.figures {
            let one = *told.borrow();
            sum.connected += usize::from(one.online);
            sum.frames_made += one.frames_made;
            sum.frames_acked += one.frames_acked;
            sum.frames_shed += one.frames_shed;
            sum.samples += one.samples_taken;
            sum.wire_bytes += one.bytes_sent;
        }
        sum.backlog = (self.held_before + sum.frames_made).saturating_sub(sum.frames_acked + sum.frames_shed);
        let ms = |share: f64| round(self.latency.quantile(share).as_secs_f64() * 1_000.0);
        (sum.ack_p50_ms, sum.ack_p95_ms, sum.ack_p99_ms) = (ms(0.5), ms(0.95), ms(0.99));
        sum.readings_dropped = self.dropped.load(Ordering::Relaxed);
        sum
    }

    /// Closes what is open, waits up to `patience` for acks, says farewell, closes the log.
    pub(crate) async fn stop(&self, patience: Duration) -> Result<Figures, FleetError> {
        let Some(Running { mut tasks, sampler, store }) = self.running.lock().await.take() else {
            return Ok(self.figures());
        };
        self.inputs.lock().clear();
        self.stop.send_replace(Stop::Drained);
        let mut failed = None;
        let mut wire_bytes = 0;
        let mut ended = |result: Result<Result<(core::Figures, u64), RunError>, _>| match result {
            Ok(Ok((_, bytes))) => wire_bytes += bytes,
            Ok(Err(error)) => failed = Some(FleetError::Agent(error)),
            Err(_) => failed = Some(FleetError::Broken),
        };
        let drained = async {
            while let Some(result) = tasks.join_next().await {
                ended(result);
            }
        };
        if tokio::time::timeout(patience, drained).await.is_err() {
            self.stop.send_replace(Stop::Now);
            // Bounded: an agent gives its farewell a few seconds and no more.
            while let Some(result) = tasks.join_next().await {
                ended(result);
            }
        }
        sampler.abort();
        let closing = tokio::task::spawn_blocking(move || store.close());
        closing.await.map_err(|_| FleetError::Broken)??;
        let figures = Figures { tcp_bytes: wire_bytes, ..self.figures() };
        failed.map_or(Ok(figures), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vehicle_creeps_only_for_a_question_that_its_agent_hears_of() {
        let (sender, _receiver) = mpsc::channel(1);
        let mut agents = Agents {
            clock: Clock::starting_at(NS_PER_MS),
            inputs: Mutex::new(vec![sender]),
            figures: vec![],
            told_commands: vec![Arc::default(), Arc::default()],
            held_before: 0,
            latency: Arc::default(),
            dropped: AtomicU64::new(0),
            stop: watch::Sender::new(Stop::No),
            running: tokio::sync::Mutex::default(),
        };
        let question = Question {
            id: [1; 16],
            text: "pass?".into(),
            options: vec!["wait".into(), "pass".into()],
            safe_default: 0,
            timeout_ms: 60_000,
            waited_ms: 0,
            position: None,
        };
        agents.ask(0, question.clone());
        assert!(agents.speed_limit_kmh(0).is_some(), "it waits");
        agents.told_commands[0] = Arc::default();
        // No room any more; and one that has no agent.
        agents.ask(0, question.clone());
        agents.ask(1, question);
        assert_eq!((agents.speed_limit_kmh(0), agents.speed_limit_kmh(1)), (None, None));
        assert_eq!(agents.dropped.load(Ordering::Relaxed), 2);
    }
}
