//! One vehicle's connection, on a task of its own, from the first byte on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use remuda_contracts::uplink::{Arrival, ConnectionGeneration, Downlink};
use remuda_model::{ShardId, VehicleId};
use remuda_mqtt::{CloseReason, Event, Login, Policy, Session};
use remuda_wire::{Channel, Topic};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::door::Shared;
use crate::metrics::ByReason;
use crate::registry::Port;

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
struct Entered {
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
            Self::Stopping => "stopping",
        }
    }
}

impl From<CloseReason> for End {
    fn from(reason: CloseReason) -> Self {
        Self::Session(reason)
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    shared: Arc<Shared>,
    stream: S,
    peer: SocketAddr,
) {
    let mut connection = Connection { begun: Instant::now(), stream, session: None, shared };
    let Some(mut entered) = connection.handshake(peer).await else { return };
    let shared = Arc::clone(&connection.shared);
    shared.metrics.connections.inc();
    let end = Box::pin(connection.run(&mut entered)).await;
    shared.metrics.connections.dec();
    shared.metrics.closes.get_or_create(&ByReason { reason: end.code() }).inc();
    if let End::Session(CloseReason::Forbidden(reason)) = end {
        shared.metrics.refused(reason);
        tracing::warn!(vehicle_id = %entered.vehicle, reason, "a vehicle published where it may not");
    }
    shared.registry.leave(&entered.vehicle, entered.generation);
    connection.say_goodbye(&entered, &end).await;
}

struct Connection<S> {
    shared: Arc<Shared>,
    stream: S,
    session: Option<Session<OwnTopics>>,
    begun: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// From the first byte to the CONNACK.
    async fn handshake(&mut self, peer: SocketAddr) -> Option<Entered> {
        let limits = self.shared.settings.session;
        // Those that wait for a permit are within the same time limit: a flood of silent sockets fails by itself.
        let permit =
            tokio::time::timeout(limits.connect_within, Arc::clone(&self.shared.handshakes).acquire_owned());
        let _permit = permit.await.ok()?.ok()?;
        let mut session = Session::new(limits, self.now());
        let within = tokio::time::timeout(limits.connect_within, self.login(&mut session));
        match within.await {
            Err(_) => self.shared.metrics.refused(CloseReason::ConnectTimeout.code()),
            Ok(Err(code)) => self.shared.metrics.refused(code),
            Ok(Ok(login)) => return self.admit(session, login, peer).await,
        }
        let output = session.take_output();
        let _ = self.write(&output).await;
        None
    }

    async fn login(&mut self, session: &mut Session<OwnTopics>) -> Result<Login, &'static str> {
        loop {
            match session.poll(self.now()).map_err(CloseReason::code)? {
                Some(Event::Login(login)) => return Ok(login),
                Some(Event::Publish { .. }) => return Err("malformed"),
                None => {}
            }
            match self.stream.read_buf(session.input()).await {
                Ok(0) | Err(_) => return Err("gone_before_connect"),
                Ok(count) => self.shared.metrics.bytes_in.inc_by(count as u64),
            };
        }
    }

    async fn admit(
        &mut self,
        mut session: Session<OwnTopics>,
        login: Login,
        peer: SocketAddr,
    ) -> Option<Entered> {
        let vehicle = match self.shared.authenticator.authenticate(&login.username, &login.password, peer) {
            Ok(vehicle) => vehicle,
            Err(reason) => {
                self.shared.metrics.refused(reason);
                tracing::warn!(%peer, reason, "a login was refused");
                session.refuse();
                let output = session.take_output();
                let _ = self.write(&output).await;
                return None;
            }
        };
        session.accept(OwnTopics(vehicle), self.now());
        let output = session.take_output();
        self.write(&output).await.ok()?;
        let (port, queue) = Port::new(self.shared.metrics.clone());
        let generation = self.shared.registry.enter(vehicle, Arc::clone(&port));
        let shard = ShardId::of(&vehicle);
        let downlink = Downlink::new(port.clone());
        self.session = Some(session);
        let arrival = Arrival::Connected { generation, vehicle, downlink };
        let entered = Entered {
            vehicle,
            shard,
            generation,
            port,
            queue,
            down_topic: Topic::Down { vehicle }.to_string(),
        };
        if self.shared.intake.offer(shard, arrival).await.is_err() {
            self.shared.registry.leave(&vehicle, generation);
            return None;
        }
        Some(entered)
    }

    /// Reads, writes and waits until something ends it.
    async fn run(&mut self, entered: &mut Entered) -> End {
        loop {
            if let Err(end) = self.take_events(entered).await {
                self.flush().await;
                return end;
            }
            let Some(session) = self.session.as_mut() else { return End::Stopping };
            session.release_buffers();
            let deadline = self.begun + session.poll_timeout();
            tokio::select! {
                biased;
                () = entered.port.kicked.notified() => {
                    self.drain_downlink(entered).await;
                    return End::Kicked(entered.port.kick_reason().unwrap_or("kicked"));
                }
                message = entered.queue.recv() => {
                    let Some(message) = message else { return End::Stopping };
                    self.queue_down(entered, message);
                    while let Ok(message) = entered.queue.try_recv() {
                        self.queue_down(entered, message);
                    }
                    if let Err(code) = self.flush_or_fail().await {
                        return End::Broken(code);
                    }
                }
                read = self.stream.read_buf(session.input()) => match read {
                    Ok(0) => return End::Broken("peer_closed"),
                    Ok(count) => { self.shared.metrics.bytes_in.inc_by(count as u64); }
                    Err(_) => return End::Broken("peer_reset"),
                },
                () = tokio::time::sleep_until(deadline.into()) => {
                    let now = self.begun.elapsed();
                    if let Some(Err(reason)) = self.session.as_mut().map(|s| s.handle_timeout(now)) {
                        return reason.into();
                    }
                }
            }
        }
    }

    /// Hands over everything that was read; while the intake waits, the socket is not read and TCP pushes back.
    async fn take_events(&mut self, entered: &Entered) -> Result<(), End> {
        let received_ms = unix_ms();
        loop {
            let now = self.begun.elapsed();
            let Some(session) = self.session.as_mut() else { return Err(End::Stopping) };
            let Some(event) = session.poll(now)? else { break };
            let Event::Publish { topic, payload, packet_id } = event else { continue };
            let channel = own_channel(&entered.vehicle, &topic).map_err(CloseReason::Forbidden)?;
            self.shared.metrics.message(channel);
            let Entered { generation, vehicle, shard, .. } = *entered;
            let arrival = Arrival::Payload { generation, vehicle, channel, payload, received_ms };
            self.shared.intake.offer(shard, arrival).await.map_err(|_| End::Stopping)?;
            if let Some(id) = packet_id {
                session.acknowledge(id);
            }
        }
        self.flush_or_fail().await.map_err(End::Broken)
    }

    fn queue_down(&mut self, entered: &Entered, payload: Bytes) {
        entered.port.queued_bytes.fetch_sub(payload.len(), Ordering::Relaxed);
        if let Some(session) = self.session.as_mut() {
            session.send(&entered.down_topic, payload);
        }
    }

    async fn drain_downlink(&mut self, entered: &mut Entered) {
        while let Ok(message) = entered.queue.try_recv() {
            self.queue_down(entered, message);
        }
        self.flush().await;
    }

    async fn flush(&mut self) {
        // The connection ends either way.
        let _ = self.flush_or_fail().await;
    }

    async fn flush_or_fail(&mut self) -> Result<(), &'static str> {
        let Some(session) = self.session.as_mut() else { return Ok(()) };
        let output = session.take_output();
        self.write(&output).await
    }

    async fn write(&mut self, output: &[u8]) -> Result<(), &'static str> {
        if output.is_empty() {
            return Ok(());
        }
        let within = self.shared.settings.write_within;
        match tokio::time::timeout(within, self.stream.write_all(output)).await {
            Err(_) => Err("slow_reader"),
            Ok(Err(_)) => Err("peer_reset"),
            Ok(Ok(())) => {
                self.shared.metrics.bytes_out.inc_by(output.len() as u64);
                Ok(())
            }
        }
    }

    /// Delivers the will, where one is due, and says that the connection is gone.
    async fn say_goodbye(&mut self, entered: &Entered, end: &End) {
        let Entered { vehicle, generation, shard, .. } = *entered;
        let will = self.session.as_mut().and_then(Session::take_will);
        if let (Some((topic, payload)), false) = (will, matches!(end, End::Stopping))
            && let Ok(channel) = own_channel(&vehicle, &topic)
        {
            let arrival = Arrival::Payload { generation, vehicle, channel, payload, received_ms: unix_ms() };
            let _ = self.shared.intake.offer(shard, arrival).await;
        }
        // An intake that is closed needs no goodbyes.
        let _ = self.shared.intake.offer(shard, Arrival::Disconnected { generation, vehicle }).await;
        let _ = self.stream.shutdown().await;
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
