//! A process's door: the real session machine for each connection, on bytes as the network leaves them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use remuda_contracts::uplink::{
    Arrival, ConnectionGeneration, Downlink, DownlinkError, DownlinkPort, Intake,
};
use remuda_model::{ShardId, VehicleId};
use remuda_mqtt::{Event, Limits, Policy, Refusal, Session};
use remuda_wire::{Channel, Down, Topic};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::clock;
use crate::ground::Ground;
use crate::truth::Told;

/// Messages that may wait for one vehicle.
const QUEUE_MAX: usize = 256;

/// Names a connection in the whole world.
pub(crate) type Link = u64;

/// What a process says on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// Bytes.
    Bytes(Bytes),
    /// It closed the connection.
    End,
}

/// What a process's connections share.
pub(crate) struct Door {
    pub ground: Arc<Ground>,
    pub intake: Mutex<Option<Arc<dyn Intake>>>,
    /// What was said and the world has not taken yet, and the news that there is some.
    pub said: Mutex<Vec<(Link, Said)>>,
    pub wake: Notify,
    /// What this process must not go below any more.
    pub told: Mutex<Told>,
    /// The process is gone.
    pub gone: AtomicBool,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    generations: u64,
    newest: BTreeMap<VehicleId, Arc<Port>>,
}

/// One connection's way back.
struct Port {
    door: Arc<Door>,
    vehicle: VehicleId,
    generation: ConnectionGeneration,
    queue: mpsc::Sender<Bytes>,
    kicked: Notify,
}

impl DownlinkPort for Port {
    fn send(&self, payload: Bytes) -> Result<(), DownlinkError> {
        self.door.check(&self.vehicle, &payload);
        self.queue.try_send(payload).map_err(|_| DownlinkError::Full)
    }

    fn kick(&self, reason: &'static str) {
        // A process that is dropped drops its tasks in no order that could be repeated.
        if !self.door.gone.load(Relaxed) {
            self.door.ground.note(format_args!("door: {} is kicked ({reason})", self.vehicle));
            self.kicked.notify_one();
        }
    }
}

/// What a vehicle may do.
struct OwnTopics(VehicleId);

impl Policy for OwnTopics {
    fn publish(&self, topic: &str) -> Result<(), &'static str> {
        channel_of(&self.0, topic).map(|_| ()).ok_or("foreign")
    }

    fn subscribe(&self, filter: &str) -> bool {
        Topic::parse(filter) == Some(Topic::Down { vehicle: self.0 })
    }

    fn client_id(&self) -> String {
        self.0.to_string()
    }
}

fn channel_of(own: &VehicleId, topic: &str) -> Option<Channel> {
    match Topic::parse(topic)? {
        Topic::Up { vehicle, shard, channel } if vehicle == *own && shard == ShardId::of(own) => {
            Some(channel)
        }
        _ => None,
    }
}

impl Door {
    /// Of a process that knows what was told before it took its shards.
    pub fn new(ground: Arc<Ground>) -> Arc<Self> {
        Arc::new(Self {
            ground,
            intake: Mutex::default(),
            said: Mutex::default(),
            wake: Notify::new(),
            told: Mutex::default(),
            gone: AtomicBool::new(false),
            registry: Mutex::default(),
        })
    }

    fn say(&self, link: Link, said: Said) {
        self.said.lock().push((link, said));
        self.wake.notify_one();
    }

    /// Every word to a vehicle is compared with the truth.
    fn check(&self, vehicle: &VehicleId, payload: &[u8]) {
        let (acks, what) = match Down::decode(payload) {
            Ok(Down::Welcome(welcome)) => (welcome.acks, "welcome"),
            Ok(Down::Ack(ack)) => {
                let what = if ack.missing { "ack missing" } else { "ack" };
                (vec![ack.ack], if ack.greet { "ack greet" } else { what })
            }
            Ok(_) => return,
            Err(error) => return self.ground.broken(format!("a word nobody can read: {error}")),
        };
        for ack in acks {
            let (lane, incarnation) = (ack.lane.as_str(), ack.incarnation.0);
            self.ground.note(format_args!(
                "cloud: {what} {vehicle} {lane} {incarnation:x} {}/{} credit {}",
                ack.durable, ack.received, ack.credit
            ));
            let told = self.ground.truth.lock().tell(vehicle, &ack, &mut self.told.lock());
            if let Err(what) = told {
                self.ground.broken(what);
            }
        }
    }

    fn enter(self: &Arc<Self>, vehicle: VehicleId) -> (Arc<Port>, mpsc::Receiver<Bytes>) {
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        let mut registry = self.registry.lock();
        registry.generations += 1;
        let generation = ConnectionGeneration(registry.generations);
        let door = Arc::clone(self);
        let port = Arc::new(Port { door, vehicle, generation, queue, kicked: Notify::new() });
        if let Some(older) = registry.newest.insert(vehicle, Arc::clone(&port)) {
            older.kick("newer");
        }
        (port, messages)
    }

    fn leave(&self, port: &Port) {
        let mut registry = self.registry.lock();
        if registry.newest.get(&port.vehicle).is_some_and(|newest| newest.generation == port.generation) {
            registry.newest.remove(&port.vehicle);
        }
    }

    /// Serves a connection to its end; `None` on the way in is the peer's end.
    pub async fn serve(self: Arc<Self>, link: Link, mut bytes: mpsc::UnboundedReceiver<Option<Bytes>>) {
        let now = || Duration::from_millis(clock::now_ms());
        let mut session = Session::new(Limits::default(), now());
        let (_, mut queue) = mpsc::channel(1);
        let mut port: Option<Arc<Port>> = None;
        loop {
            let deadline = Instant::now() + session.poll_timeout().saturating_sub(now());
            let kicked = async {
                match &port {
                    Some(port) => port.kicked.notified().await,
                    None => std::future::pending().await,
                }
            };
            let goes_on = tokio::select! {
                biased;
                () = kicked => false,
                Some(message) = queue.recv(), if port.is_some() => {
                    if let Some(port) = &port {
                        // Before its SUBACK a vehicle hears nothing, and asks for nothing.
                        let _ = session.send(&Topic::Down { vehicle: port.vehicle }.to_string(), message);
                    }
                    true
                }
                read = bytes.recv() => match read.flatten() {
                    Some(read) => {
                        session.input().extend_from_slice(&read);
                        self.take(&mut session, &mut port, &mut queue).await
                    }
                    None => false,
                },
                () = sleep_until(deadline) => session.handle_timeout(now()).is_ok(),
            };
            let output = session.take_output();
            if !output.is_empty() {
                self.say(link, Said::Bytes(output));
            }
            if !goes_on {
                break;
            }
        }
        self.say(link, Said::End);
        let Some(port) = port else { return };
        self.leave(&port);
        let will = session.take_will();
        if let Some((topic, payload)) = will
            && let Some(channel) = channel_of(&port.vehicle, &topic)
        {
            self.payload(&port, channel, payload).await;
        }
        let (generation, vehicle) = (port.generation, port.vehicle);
        self.offer(Arrival::Disconnected { generation, vehicle }).await;
    }

    /// Hands over what was read; false when the connection ends.
    async fn take(
        self: &Arc<Self>,
        session: &mut Session<OwnTopics>,
        port: &mut Option<Arc<Port>>,
        queue: &mut mpsc::Receiver<Bytes>,
    ) -> bool {
        loop {
            let now = Duration::from_millis(clock::now_ms());
            match session.poll(now) {
                Ok(None) => return true,
                Ok(Some(Event::Login(login))) => {
                    let Ok(vehicle) = VehicleId::new(&login.username) else {
                        session.refuse(Refusal::NotAuthorized);
                        return false;
                    };
                    if session.accept(OwnTopics(vehicle), now).is_err() {
                        return false;
                    }
                    let (entered, messages) = self.enter(vehicle);
                    *queue = messages;
                    let (generation, downlink) = (entered.generation, Downlink::new(entered.clone()));
                    *port = Some(entered);
                    if !self.offer(Arrival::Connected { generation, vehicle, downlink }).await {
                        return false;
                    }
                }
                Ok(Some(Event::Publish { topic, payload, .. })) => {
                    let Some(port) = port else { return false };
                    let Some(channel) = channel_of(&port.vehicle, &topic) else { return false };
                    if !self.payload(port, channel, payload).await {
                        return false;
                    }
                    session.resume(Duration::from_millis(clock::now_ms()));
                }
                Err(reason) => {
                    if reason != remuda_mqtt::CloseReason::Goodbye {
                        self.ground.broken(format!("a vehicle's bytes were refused: {}", reason.code()));
                    }
                    return false;
                }
            }
        }
    }

    async fn payload(&self, port: &Port, channel: Channel, payload: Bytes) -> bool {
        let (generation, vehicle, received_ms) = (port.generation, port.vehicle, clock::wall_ms());
        self.offer(Arrival::Payload { generation, vehicle, channel, payload, received_ms, trace: None }).await
    }

    async fn offer(&self, arrival: Arrival) -> bool {
        let intake = self.intake.lock().clone();
        let Some(intake) = intake else { return false };
        intake.offer(ShardId::of(arrival.vehicle()), arrival).await.is_ok()
    }
}
