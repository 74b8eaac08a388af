//! One receiving connection. Its messages are handed over one after the other; while a shard is full nothing is read,
//! TCP pushes back, and the broker drops what it cannot keep: the vehicles send that again.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use remuda_contracts::uplink::{Arrival, DoorRefusal};
use remuda_model::{ShardId, VehicleId};
use remuda_wire::Topic;
use remuda_wire::limits::PAYLOAD_BYTES_MAX;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, Packet, Publish, QoS, SubscribeFilter,
    SubscribeReasonCode,
};
use tokio::sync::mpsc;

use super::Shared;
use super::backoff::Backoff;
use super::check::{PROBE_DOWN, PROBE_PREFIX, Probe};
use super::downlink::Port;
use super::link::{Lost, options};
use super::sessions::{Message, Out, Sessions};
use super::state::Leg;
use crate::door::Mode;
use crate::metrics::ByReason;

/// Filters in one SUBSCRIBE: a packet of a few KiB, which every broker takes.
const FILTERS_AT_ONCE: usize = 64;
/// How often silent vehicles are looked for.
const SWEEP_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// A wait for a shard that is worth counting.
const STALL_MIN: Duration = Duration::from_millis(1);
/// How long a stop lets the ends of connections be told.
const GOODBYES_WITHIN: Duration = Duration::from_secs(5);

/// A poll under way with its event loop. Kept over other events: a poll that is dropped begins to connect anew.
type Polling = Pin<Box<dyn Future<Output = (EventLoop, Result<Event, ConnectionError>)> + Send>>;

fn poll(mut events: EventLoop) -> Polling {
    Box::pin(async move {
        let event = events.poll().await;
        (events, event)
    })
}

/// Why a message is not handed over.
enum Refused {
    /// Whose it was is not known, or not worth showing.
    Somebody(&'static str),
    /// Shown on the vehicle.
    Vehicle(VehicleId, DoorRefusal),
}

/// Why a connection is no longer served.
enum End {
    Lost(Lost),
    Stopping,
}

impl From<Lost> for End {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

pub(crate) struct Uplink {
    pub shared: Arc<Shared>,
    pub connection: u16,
    pub sessions: Arc<Mutex<Sessions>>,
    pub probes: mpsc::Sender<Probe>,
}

impl Uplink {
    fn leg(&self) -> usize {
        usize::from(self.connection) + 1
    }

    /// Receives, connecting again and again, until the door stops.
    pub async fn run(self) {
        let mut mode = self.shared.mode.subscribe();
        let mut backoff = Backoff::default();
        loop {
            self.shared.state.leg(self.leg(), Leg::Connecting);
            let stopped = tokio::select! {
                biased;
                // A sender that is gone is a door that is gone.
                _ = mode.wait_for(|mode| *mode == Mode::Stopping) => End::Stopping,
                end = self.receive(&mut backoff) => end,
            };
            let End::Lost(lost) = stopped else { break };
            self.shared.lost(self.leg(), &lost);
            tokio::select! {
                biased;
                _ = mode.wait_for(|mode| *mode == Mode::Stopping) => break,
                waited = self.wait(backoff.pause()) => if waited.is_err() { break },
            }
        }
        let mut out = Out::default();
        self.sessions.lock().end_all("stopping", &mut out);
        // An intake that is closed, or full for too long, needs no goodbyes.
        let _ = tokio::time::timeout(GOODBYES_WITHIN, self.tell(&mut out)).await;
    }

    /// Between two connections the silent ones are looked after all the same.
    async fn wait(&self, pause: Duration) -> Result<(), End> {
        let until = tokio::time::sleep(pause);
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => return Ok(()),
                () = tokio::time::sleep(self.sweep_interval()) => self.sweep().await?,
            }
        }
    }

    fn sweep_interval(&self) -> Duration {
        (self.shared.settings.silence / 32).clamp(Duration::from_millis(20), SWEEP_INTERVAL_MAX)
    }

    async fn receive(&self, backoff: &mut Backoff) -> End {
        let name = format!("{}-up-{}", self.shared.name, self.connection);
        let mut filters = self.shared.settings.filters(self.connection);
        if self.connection == 0 {
            filters.push(PROBE_DOWN.to_owned());
        }
        let packets = filters.len().div_ceil(FILTERS_AT_ONCE);
        let (client, events) = options(&self.shared.settings, &name).open(packets + 1);
        subscribe(&client, &filters);
        match self.converse(events, &filters, backoff).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn converse(
        &self,
        events: EventLoop,
        filters: &[String],
        backoff: &mut Backoff,
    ) -> Result<Infallible, End> {
        let patience = self.shared.settings.keep_alive * 2;
        let mut polling = poll(events);
        let mut ticks = tokio::time::interval(self.sweep_interval());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut granted = 0;
        let mut last_event = Instant::now();
        loop {
            let event = tokio::select! {
                (events, event) = &mut polling => {
                    polling = poll(events);
                    event.map_err(Lost::from)?
                }
                _ = ticks.tick() => {
                    // A ping is due within half of it: who says nothing for longer hangs in a write.
                    if last_event.elapsed() > patience {
                        return Err(Lost::stuck().into());
                    }
                    self.sweep().await?;
                    continue;
                }
            };
            match event {
                Event::Incoming(Packet::Publish(publish)) => self.take(publish).await?,
                Event::Incoming(Packet::SubAck(ack)) => {
                    // Answered in the order in which they were asked.
                    for code in ack.return_codes {
                        if code == SubscribeReasonCode::Failure {
                            let filter = filters.get(granted).map_or("a filter", String::as_str);
                            return Err(Lost::subscription_refused(filter).into());
                        }
                        granted += 1;
                    }
                    if granted == filters.len() {
                        backoff.reset();
                        self.sessions.lock().doubt_all(Instant::now());
                        self.shared.state.leg(self.leg(), Leg::Connected);
                    }
                }
                _ => {}
            }
            // What the shards let us wait is not the broker's.
            last_event = Instant::now();
        }
    }

    async fn take(&self, publish: Publish) -> Result<(), End> {
        let shared = &self.shared;
        shared.door.bytes_in.inc_by(publish.payload.len() as u64);
        if publish.topic.starts_with(PROBE_PREFIX) {
            // One that does not fit is sent again.
            let _ = self.probes.try_send((publish.topic, publish.payload));
            return Ok(());
        }
        let mut out = Out::default();
        match self.hear(publish, &mut out) {
            Ok(()) => self.tell(&mut out).await,
            Err(Refused::Somebody(reason)) => {
                shared.door.refused(reason);
                Ok(())
            }
            Err(Refused::Vehicle(vehicle, reason)) => {
                shared.refusals.note(vehicle, reason, 1);
                Ok(())
            }
        }
    }

    fn hear(&self, publish: Publish, out: &mut Out) -> Result<(), Refused> {
        let Publish { topic, payload, retain, .. } = publish;
        if retain {
            // Said long ago; nothing of ours is retained.
            return Err(Refused::Somebody("retained"));
        }
        let Some(Topic::Up { vehicle, shard, channel }) = Topic::parse(&topic) else {
            return Err(Refused::Somebody(DoorRefusal::BadTopic.code()));
        };
        // The broker lets a vehicle write its own topics only, so it is this vehicle's doing.
        let refused = |reason| Err(Refused::Vehicle(vehicle, reason));
        if shard != ShardId::of(&vehicle) {
            return refused(DoorRefusal::WrongShard);
        }
        if payload.len() > PAYLOAD_BYTES_MAX {
            return refused(DoorRefusal::TooLarge);
        }
        let shared = &self.shared;
        if shared.is_denied(&vehicle) {
            return refused(DoorRefusal::Denied);
        }
        let open = || {
            if *shared.mode.borrow() == Mode::Paused {
                return Err("paused");
            }
            Ok(Port::new(vehicle, Arc::clone(&shared.down)))
        };
        let mut sessions = self.sessions.lock();
        let message = Message { vehicle, channel, payload, received_ms: unix_ms() };
        sessions.hear(message, Instant::now(), open, out).map_err(Refused::Somebody)
    }

    /// Hands over, in order; waits while a shard is full.
    async fn tell(&self, out: &mut Out) -> Result<(), End> {
        let Shared { intake, door, metrics, down, .. } = &*self.shared;
        for reason in out.ended.drain(..) {
            door.closes.get_or_create(&ByReason { reason }).inc();
        }
        for arrival in out.arrivals.drain(..) {
            match &arrival {
                Arrival::Connected { .. } => {
                    door.connections.inc();
                }
                Arrival::Disconnected { .. } => {
                    door.connections.dec();
                }
                Arrival::Payload { channel, .. } => door.message(*channel),
                Arrival::Refused { .. } => {}
            }
            let begun = Instant::now();
            let offered = intake.offer(ShardId::of(arrival.vehicle()), arrival).await;
            let took = begun.elapsed();
            if took >= STALL_MIN {
                metrics.stalled(took);
            }
            offered.map_err(|_| End::Stopping)?;
        }
        for vehicle in out.asks.drain(..) {
            metrics.asks.inc();
            down.ask(vehicle);
        }
        Ok(())
    }

    async fn sweep(&self) -> Result<(), End> {
        let mut out = Out::default();
        self.sessions.lock().sweep(Instant::now(), &mut out);
        self.tell(&mut out).await
    }
}

fn subscribe(client: &AsyncClient, filters: &[String]) {
    for some in filters.chunks(FILTERS_AT_ONCE) {
        let some = some.iter().map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtMostOnce));
        // The queue was made to hold them.
        let _ = client.try_subscribe_many(some);
    }
}

fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
