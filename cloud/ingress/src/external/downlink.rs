//! The way down: one bounded queue for all vehicles, one connection that publishes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use remuda_contracts::uplink::{DownlinkError, DownlinkPort};
use remuda_model::{Epoch, Incarnation, Lane, VehicleId};
use remuda_wire::{Ack, Down, LaneAck, Topic};
use rumqttc::{AsyncClient, Event, EventLoop, Outgoing, Packet, QoS};
use tokio::sync::mpsc;

use super::link::{Lost, options};
use super::state::Leg;
use super::{Shared, backoff::Backoff};
use crate::door::Mode;
use crate::metrics::DoorMetrics;
use crate::registry::DOWNLINK_MESSAGES_MAX;

/// Messages that may wait for the broker: an Ack each for a fleet's second.
const QUEUE_MESSAGES_MAX: usize = 16 * 1024;
/// Bytes that may wait for the broker.
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Messages between our queue and the socket: these are lost with the connection.
const HANDED_MAX: usize = 16;
/// How long a stop lets the queue go out.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);
/// How often a stop looks whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A message on its way.
pub(crate) struct Message {
    to: To,
    payload: Bytes,
}

enum To {
    Vehicle(Arc<Port>),
    Asked(VehicleId),
    Topic(String),
}

/// Where messages wait.
pub(crate) struct DownQueue {
    messages: mpsc::Sender<Message>,
    bytes: AtomicUsize,
    /// Nothing is queued while the broker is away: it would be old when it arrives, and the vehicles ask again.
    away: AtomicBool,
    metrics: DoorMetrics,
}

impl DownQueue {
    pub fn new(metrics: DoorMetrics) -> (Arc<Self>, mpsc::Receiver<Message>) {
        let (messages, queue) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let away = AtomicBool::new(true);
        (Arc::new(Self { messages, bytes: AtomicUsize::new(0), away, metrics }), queue)
    }

    /// The broker is reachable, whatever the truth, and nobody takes anything out.
    #[cfg(test)]
    pub fn for_tests() -> Arc<Self> {
        let (queue, messages) = Self::new(DoorMetrics::default());
        queue.away.store(false, Ordering::Relaxed);
        std::mem::forget(messages);
        queue
    }

    fn is_empty(&self) -> bool {
        self.messages.capacity() == self.messages.max_capacity()
    }

    fn push(&self, to: To, payload: Bytes) -> Result<(), DownlinkError> {
        let reason = if self.away.load(Ordering::Relaxed) {
            "broker_away"
        } else {
            let length = payload.len();
            if self.bytes.fetch_add(length, Ordering::Relaxed) + length <= QUEUE_BYTES_MAX
                && self.messages.try_send(Message { to, payload }).is_ok()
            {
                return Ok(());
            }
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            "full"
        };
        self.metrics.dropped(reason);
        Err(DownlinkError::Full)
    }

    /// Asks a vehicle to say Hello, wherever it is.
    pub fn ask(&self, vehicle: VehicleId) {
        // Numbers of an incarnation that nobody has: only the question counts.
        let ack =
            LaneAck { lane: Lane::Events, incarnation: Incarnation(0), received: 0, durable: 0, credit: 0 };
        let server_time_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        let question = Down::Ack(Ack { ack, epoch: Epoch(0), server_time_ms, missing: false, greet: true });
        // Lost is counted, and asked again.
        let _ = self.push(To::Asked(vehicle), question.encode().into());
    }

    /// Queues a message that is for the broker itself.
    pub fn publish(&self, topic: String, payload: Bytes) {
        let _ = self.push(To::Topic(topic), payload);
    }
}

/// The shards' end of a vehicle's connection.
pub(crate) struct Port {
    vehicle: VehicleId,
    queue: Arc<DownQueue>,
    waiting: AtomicUsize,
    kicked: AtomicBool,
    closed: AtomicBool,
}

impl Port {
    pub fn new(vehicle: VehicleId, queue: Arc<DownQueue>) -> Arc<Self> {
        let waiting = AtomicUsize::new(0);
        Arc::new(Self {
            vehicle,
            queue,
            waiting,
            kicked: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    pub fn is_kicked(&self) -> bool {
        self.kicked.load(Ordering::Relaxed)
    }

    /// The connection is between vehicle and broker; what can be ended is what we know of it.
    pub fn kick(&self) {
        self.kicked.store(true, Ordering::Relaxed);
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// Shares the port with the shards and with the messages that wait.
pub(crate) struct PortHandle(pub Arc<Port>);

impl DownlinkPort for PortHandle {
    fn send(&self, payload: Bytes) -> Result<(), DownlinkError> {
        let port = &self.0;
        if port.closed.load(Ordering::Relaxed) || port.is_kicked() {
            return Err(DownlinkError::Gone);
        }
        // As in our own door: a vehicle that asks much must not fill the queue of all.
        if port.waiting.fetch_add(1, Ordering::Relaxed) >= DOWNLINK_MESSAGES_MAX {
            port.waiting.fetch_sub(1, Ordering::Relaxed);
            port.queue.metrics.dropped("full");
            return Err(DownlinkError::Full);
        }
        let queued = port.queue.push(To::Vehicle(Arc::clone(port)), payload);
        if queued.is_err() {
            port.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        queued
    }

    fn kick(&self, _: &'static str) {
        self.0.kick();
    }
}

/// Publishes what is queued, connecting again and again, until the door stops.
pub(crate) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Message>) {
    let mut backoff = Backoff::default();
    let mut mode = shared.mode.subscribe();
    loop {
        shared.state.leg(0, Leg::Connecting);
        let Err(lost) = connection(&shared, &mut queue, &mut backoff).await else { return };
        shared.down.away.store(true, Ordering::Relaxed);
        shared.lost(0, &lost);
        tokio::select! {
            () = tokio::time::sleep(backoff.pause()) => {}
            // A sender that is gone is a door that is gone.
            _ = mode.wait_for(|mode| *mode == Mode::Stopping) => return,
        }
    }
}

/// One connection to its end; `Ok` when the door stops.
async fn connection(
    shared: &Shared,
    queue: &mut mpsc::Receiver<Message>,
    backoff: &mut Backoff,
) -> Result<(), Lost> {
    let (client, mut events) = options(&shared.settings, &format!("{}-down", shared.name)).open(HANDED_MAX);
    let patience = shared.settings.keep_alive * 2;
    let mut mode = shared.mode.subscribe();
    let stopping = async move { drop(mode.wait_for(|mode| *mode == Mode::Stopping).await) };
    tokio::pin!(stopping);
    loop {
        let polled = tokio::select! {
            polled = events.poll() => polled,
            () = &mut stopping => return Ok(()),
        };
        if matches!(polled.map_err(Lost::from)?, Event::Incoming(Packet::ConnAck(_))) {
            break;
        }
    }
    backoff.reset();
    shared.down.away.store(false, Ordering::Relaxed);
    shared.state.leg(0, Leg::Connected);
    let (handed, written) = (AtomicU64::new(0), AtomicU64::new(0));
    let on_the_way = || handed.load(Ordering::Relaxed).saturating_sub(written.load(Ordering::Relaxed));
    let result = tokio::select! {
        lost = drive(&mut events, patience, &written) => Err(lost),
        () = pump(shared, &client, queue, &handed) => Err(Lost::queue_closed()),
        () = async {
            stopping.await;
            // Both go on for a moment, so that what is queued goes out.
            let until = Instant::now() + LAST_WORDS_WITHIN;
            while Instant::now() < until && !(shared.down.is_empty() && on_the_way() == 0) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        } => Ok(()),
    };
    for _ in 0..on_the_way() {
        shared.door.dropped("broker_lost");
    }
    result
}

async fn drive(events: &mut EventLoop, patience: Duration, written: &AtomicU64) -> Lost {
    loop {
        // A ping is due within half of it: who says nothing for longer hangs in a write.
        match tokio::time::timeout(patience, events.poll()).await {
            Ok(Ok(Event::Outgoing(Outgoing::Publish(_)))) => {
                written.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return error.into(),
            Err(_) => return Lost::stuck(),
        }
    }
}

async fn pump(
    shared: &Shared,
    client: &AsyncClient,
    queue: &mut mpsc::Receiver<Message>,
    handed: &AtomicU64,
) {
    while let Some(Message { to, payload }) = queue.recv().await {
        shared.down.bytes.fetch_sub(payload.len(), Ordering::Relaxed);
        let topic = match to {
            To::Vehicle(port) => {
                port.waiting.fetch_sub(1, Ordering::Relaxed);
                Topic::Down { vehicle: port.vehicle }.to_string()
            }
            To::Asked(vehicle) => Topic::Down { vehicle }.to_string(),
            To::Topic(topic) => topic,
        };
        shared.door.bytes_out.inc_by(payload.len() as u64);
        handed.fetch_add(1, Ordering::Relaxed);
        if client.publish_bytes(topic, QoS::AtMostOnce, false, payload).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn van(id: &str) -> VehicleId {
        VehicleId::new(id).expect("an id")
    }

    #[test]
    fn the_queue_is_bounded_for_each_vehicle_and_for_all() {
        let metrics = DoorMetrics::default();
        let (queue, mut messages) = DownQueue::new(metrics.clone());
        let first = PortHandle(Port::new(van("A"), Arc::clone(&queue)));
        assert_eq!(first.send(Bytes::from_static(b"x")), Err(DownlinkError::Full));
        assert_eq!(metrics.downlink_drops("broker_away"), 1);
        queue.away.store(false, Ordering::Relaxed);
        let sent = (0..100).filter(|_| first.send(Bytes::from_static(b"x")).is_ok()).count();
        assert_eq!(sent, DOWNLINK_MESSAGES_MAX);
        assert_eq!(metrics.downlink_drops("full"), 100 - DOWNLINK_MESSAGES_MAX as u64);
        let large = Bytes::from(vec![0; QUEUE_BYTES_MAX / 8]);
        let others: Vec<PortHandle> =
            (0..10).map(|i| PortHandle(Port::new(van(&format!("B{i}")), Arc::clone(&queue)))).collect();
        let sent = others.iter().filter(|port| port.send(large.clone()).is_ok()).count();
        assert_eq!(sent, 7, "with what the first vehicle queued, the eighth is too much");
        let mut count = 0;
        while messages.try_recv().is_ok() {
            count += 1;
        }
        assert_eq!(count, DOWNLINK_MESSAGES_MAX + 7);
        first.0.close();
        assert_eq!(first.send(Bytes::new()), Err(DownlinkError::Gone));
    }

    #[test]
    fn a_question_asks_for_a_hello_and_says_nothing_else() {
        let (queue, mut messages) = DownQueue::new(DoorMetrics::default());
        queue.away.store(false, Ordering::Relaxed);
        queue.ask(van("A"));
        let message = messages.try_recv().expect("queued");
        match Down::decode(&message.payload) {
            Ok(Down::Ack(ack)) => assert!(ack.greet && !ack.missing && ack.ack.incarnation == Incarnation(0)),
            other => panic!("{other:?}"),
        }
    }
}
