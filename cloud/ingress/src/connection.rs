//! One vehicle's connection, on a task of its own, from the first byte on.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use remuda_contracts::uplink::{Arrival, ConnectionGeneration, Downlink};
use remuda_model::{ShardId, VehicleId};
use remuda_mqtt::{CloseReason, Event, Login, Policy, Session};
use remuda_wire::{Channel, Topic};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::door::{Mode, Shared};
use crate::metrics::ByReason;
use crate::registry::{Port, STOPPING};

/// What a vehicle may do: publish to its own `up` topics in its own shard, subscribe to its own `down`.
pub(crate) struct OwnTopics(VehicleId);

impl Policy for OwnTopics {
    fn publish(&self, topic: &str) -> Result<(), &'static str> {
        own_channel(&self.0, topic).map(|_| ())
    }

    fn subscribe(&self, filter: &str) -> bool {
        Topic::parse(filter) == Some(Topic::Down { vehicle: self.0 })
    }
}

fn own_channel(own: &VehicleId, topic: &str) -> Result<Channel, &'static str> {
    match Topic::parse(topic) {
        Some(Topic::Up { vehicle, .. } | Topic::Down { vehicle }) if vehicle != *own => Err("foreign_topic"),
        Some(Topic::Up { shard, .. }) if shard != ShardId::of(own) => Err("wrong_shard"),
        Some(Topic::Up { channel, .. }) => Ok(channel),
        Some(Topic::Down { .. }) | None => Err("bad_topic"),
    }
}

/// A logged-in vehicle.
pub(crate) struct Entered {
    vehicle: VehicleId,
    shard: ShardId,
    generation: ConnectionGeneration,
    port: Arc<Port>,
    queue: mpsc::Receiver<Bytes>,
    down_topic: String,
}

/// Why the connection ended, beyond what the session knows.
enum End {
    Session(CloseReason),
    /// The peer closed or the socket failed.
    Broken(&'static str),
    /// We ended it.
    Kicked(&'static str),
    /// The node takes nothing any more.
    Stopping,
}

impl End {
    const fn code(&self) -> &'static str {
        match self {
            Self::Session(reason) => reason.code(),
            Self::Broken(code) | Self::Kicked(code) => code,
            Self::Stopping => STOPPING,
        }
    }
}

impl From<CloseReason> for End {
    fn from(reason: CloseReason) -> Self {
        Self::Session(reason)
    }
}

/// How long the last bytes of a connection that we end may take.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);
/// Space for one read of a connection that says little, bytes: most of what an idle connection costs is this.
const READ_BYTES_MIN: usize = 512;
/// Space for one read of a connection that says much, bytes.
const READ_BYTES_MAX: usize = 16 * 1024;

/// Serves a connection to its end.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    shared: Arc<Shared>,
    stream: S,
    peer: SocketAddr,
) {
    let mut connection = Connection::new(Arc::clone(&shared), stream);
    let mut mode = shared.mode.clone();
    let entered = tokio::select! {
        biased;
        // A sender that is gone is a door that is gone.
        _ = mode.wait_for(|mode| *mode == Mode::Stopping) => None,
        entered = Box::pin(connection.handshake(peer)) => entered,
    };
    let Some(mut entered) = entered else { return };
    shared.metrics.connections.inc();
    let end = Box::pin(connection.run(&mut entered)).await;
    shared.metrics.connections.dec();
    shared.metrics.closes.get_or_create(&ByReason { reason: end.code() }).inc();
    if let End::Session(CloseReason::Forbidden(reason)) = end {
        shared.metrics.refused(reason);
        tracing::warn!(vehicle_id = %entered.vehicle, reason, "a vehicle published where it may not");
    }
    shared.registry.leave(&entered.vehicle, entered.generation);
    connection.say_goodbye(&mut entered, &end).await;
}

struct Connection<S> {
    shared: Arc<Shared>,
    stream: S,
    session: Session<OwnTopics>,
    /// What the session said and the socket has not taken yet. Kept apart, so that a write that was interrupted
    /// goes on where it was.
    unsent: Bytes,
    read_bytes: usize,
    begun: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    fn new(shared: Arc<Shared>, stream: S) -> Self {
        let session = Session::new(shared.settings.session, Duration::ZERO);
        Self {
            shared,
            stream,
            session,
            unsent: Bytes::new(),
            read_bytes: READ_BYTES_MIN,
            begun: Instant::now(),
        }
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// From the first byte to the CONNACK, which is written by whoever goes on.
    async fn handshake(&mut self, peer: SocketAddr) -> Option<Entered> {
        let within = tokio::time::timeout(self.shared.settings.session.connect_within, self.login());
        let refused = match within.await {
            Err(_) => CloseReason::ConnectTimeout.code(),
            Ok(Err(code)) => code,
            Ok(Ok(login)) => match self.admit(&login, peer) {
                Ok(entered) => return Some(entered),
                Err(code) => {
                    tracing::info!(%peer, reason = code, "a login was refused");
                    self.session.refuse();
                    code
                }
            },
        };
        self.shared.metrics.refused(refused);
        self.last_words().await;
        None
    }

    async fn login(&mut self) -> Result<Login, &'static str> {
        let gone = "gone_before_connect";
        // A permit is for who has begun to speak: the silent ones hold a socket, and nobody up.
        self.read().await.map_err(|_| gone)?;
        let _permit = Arc::clone(&self.shared.handshakes).acquire_owned().await.map_err(|_| STOPPING)?;
        loop {
            match self.session.poll(self.now()).map_err(CloseReason::code)? {
                Some(Event::Login(login)) => return Ok(login),
                Some(Event::Publish { .. }) => return Err(CloseReason::Malformed.code()),
                None => self.read().await.map_err(|_| gone)?,
            }
        }
    }

    fn admit(&mut self, login: &Login, peer: SocketAddr) -> Result<Entered, &'static str> {
        let vehicle = self.shared.authenticator.authenticate(&login.username, &login.password, peer)?;
        let (port, queue) = Port::new(self.shared.metrics.clone());
        let generation = self.shared.registry.enter(vehicle, Arc::clone(&port))?;
        self.session.accept(OwnTopics(vehicle), self.now());
        let down_topic = Topic::Down { vehicle }.to_string();
        Ok(Entered { vehicle, shard: ShardId::of(&vehicle), generation, port, queue, down_topic })
    }

    /// Announces the vehicle, then reads, writes and waits until something ends it.
    async fn run(&mut self, entered: &mut Entered) -> End {
        let Entered { vehicle, generation, shard, .. } = *entered;
        let port = Arc::clone(&entered.port);
        // Not interrupted by a kick: the shard hears of every connection, so that each end has its beginning.
        let arrival = Arrival::Connected { generation, vehicle, downlink: Downlink::new(port.clone()) };
        if self.shared.intake.offer(shard, arrival).await.is_err() {
            return End::Stopping;
        }
        let now = self.now();
        self.session.resume(now);
        tokio::select! {
            biased;
            // Whatever it waits for, a full shard or a slow reader.
            () = port.kicked.notified() => match port.kick_reason() {
                Some(STOPPING) => End::Stopping,
                reason => End::Kicked(reason.unwrap_or("kicked")),
            },
            ended = self.converse(entered) => match ended {
                Err(end) => end,
                Ok(never) => match never {},
            },
        }
    }

    async fn converse(&mut self, entered: &mut Entered) -> Result<Infallible, End> {
        loop {
            self.take_events(entered).await?;
            self.flush().await.map_err(End::Broken)?;
            self.session.release_buffers();
            let deadline = self.begun + self.session.poll_timeout();
            tokio::select! {
                biased;
                Some(message) = entered.queue.recv() => {
                    self.queue_down(entered, message);
                    self.queue_all_down(entered);
                }
                read = self.read() => read.map_err(End::Broken)?,
                () = tokio::time::sleep_until(deadline.into()) => {
                    let now = self.now();
                    self.session.handle_timeout(now)?;
                }
            }
        }
    }

    /// Waits for bytes; may be interrupted without loss.
    async fn read(&mut self) -> Result<(), &'static str> {
        let buffer = self.session.input();
        buffer.reserve(self.read_bytes);
        let space = buffer.capacity() - buffer.len();
        let count = match self.stream.read_buf(buffer).await {
            Ok(0) => return Err("peer_closed"),
            Ok(count) => count,
            Err(_) => return Err("peer_reset"),
        };
        if count >= space {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        } else if count < self.read_bytes / 4 {
            self.read_bytes = READ_BYTES_MIN;
        }
        self.shared.metrics.bytes_in.inc_by(count as u64);
        Ok(())
    }

    /// Hands over everything that was read; while the intake waits, the socket is not read and TCP pushes back.
    async fn take_events(&mut self, entered: &Entered) -> Result<(), End> {
        let Entered { generation, vehicle, shard, .. } = *entered;
        let received_ms = unix_ms();
        let mut offered = false;
        loop {
            let now = self.begun.elapsed();
            let Some(event) = self.session.poll(now)? else { break };
            let Event::Publish { topic, payload, packet_id } = event else { continue };
            let channel = own_channel(&vehicle, &topic).map_err(CloseReason::Forbidden)?;
            let arrival = Arrival::Payload { generation, vehicle, channel, payload, received_ms };
            self.shared.intake.offer(shard, arrival).await.map_err(|_| End::Stopping)?;
            self.shared.metrics.message(channel);
            if let Some(id) = packet_id {
                self.session.acknowledge(id);
            }
            offered = true;
        }
        if offered {
            let now = self.now();
            self.session.resume(now);
        }
        Ok(())
    }

    fn queue_down(&mut self, entered: &Entered, payload: Bytes) {
        entered.port.taken(payload.len());
        if !self.session.send(&entered.down_topic, payload) {
            self.shared.metrics.dropped("not_subscribed");
        }
    }

    fn queue_all_down(&mut self, entered: &mut Entered) {
        while let Ok(message) = entered.queue.try_recv() {
            self.queue_down(entered, message);
        }
    }

    /// Writes all there is to write; may be interrupted and called again.
    async fn flush(&mut self) -> Result<(), &'static str> {
        if self.unsent.is_empty() {
            self.unsent = self.session.take_output();
        }
        if self.unsent.is_empty() {
            return Ok(());
        }
        let within = self.shared.settings.write_within;
        tokio::time::timeout(within, self.write()).await.map_err(|_| "slow_reader")?
    }

    async fn write(&mut self) -> Result<(), &'static str> {
        while !self.unsent.is_empty() {
            match self.stream.write_buf(&mut self.unsent).await {
                Ok(0) | Err(_) => return Err("peer_reset"),
                Ok(count) => self.shared.metrics.bytes_out.inc_by(count as u64),
            };
            if self.unsent.is_empty() {
                self.unsent = self.session.take_output();
            }
        }
        Ok(())
    }

    /// Lets what is queued go out, for a short while, and closes the socket.
    async fn last_words(&mut self) {
        let closing = async {
            // The connection ends either way.
            let _ = self.flush().await;
            let _ = self.stream.shutdown().await;
        };
        let _ = tokio::time::timeout(LAST_WORDS_WITHIN, closing).await;
    }

    /// Closes the socket, delivers the will where one is due, and says that the connection is gone.
    async fn say_goodbye(mut self, entered: &mut Entered, end: &End) {
        let Entered { vehicle, generation, shard, .. } = *entered;
        entered.queue.close();
        // Who does not read, or is not there, hears no last words either.
        if !matches!(end, End::Broken(_)) {
            self.queue_all_down(entered);
            self.last_words().await;
        }
        let will = self.session.take_will();
        let Self { shared, stream, .. } = self;
        // The shard may let us wait; the socket need not.
        drop(stream);
        // A node that stops is no news of the vehicle.
        if let (Some((topic, payload)), false) = (will, matches!(end, End::Stopping))
            && let Ok(channel) = own_channel(&vehicle, &topic)
        {
            let arrival = Arrival::Payload { generation, vehicle, channel, payload, received_ms: unix_ms() };
            let _ = shared.intake.offer(shard, arrival).await;
        }
        // An intake that is closed needs no goodbyes.
        let _ = shared.intake.offer(shard, Arrival::Disconnected { generation, vehicle }).await;
    }
}

fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vehicle_reaches_its_own_topics_only() {
        let own = VehicleId::new("VAN1").expect("an id");
        let other = VehicleId::new("VAN2").expect("an id");
        let policy = OwnTopics(own);
        assert_eq!(policy.publish(&Topic::up(own, Channel::Live).to_string()), Ok(()));
        assert_eq!(policy.publish(&Topic::up(other, Channel::Live).to_string()), Err("foreign_topic"));
        let shard = (ShardId::of(&own).number() + 1) % 1024;
        assert_eq!(policy.publish(&format!("remuda/v1/VAN1/up/{shard}/live")), Err("wrong_shard"));
        for bad in [
            "remuda/v1/VAN1/down",
            "remuda/v1/VAN1/up/#",
            "é/x",
            "",
            "$SYS/x",
            "$share/g/remuda/v1/VAN1/down",
        ] {
            assert_eq!(policy.publish(bad), Err("bad_topic"), "{bad}");
            assert_eq!(policy.subscribe(bad), bad == "remuda/v1/VAN1/down", "{bad}");
        }
        for bad in ["remuda/v1/+/down", "remuda/v1/VAN2/down", "#", "remuda/v1/VAN1/#"] {
            assert!(!policy.subscribe(bad), "{bad}");
        }
    }
}
