//! One vehicle's connection, on a task of its own, from the first byte on.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use remuda_contracts::uplink::{Arrival, ConnectionGeneration, DoorRefusal, Downlink};
use remuda_identity::{Certified, vehicle_of};
use remuda_model::{ShardId, VehicleId};
use remuda_mqtt::{CloseReason, Event, Login, Parting, Policy, Refusal, Session};
use remuda_wire::{Channel, Topic};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::door::{Mode, Shared};
use crate::identity::{Authenticator, Credentials, unix_ms};
use crate::metrics::ByReason;
use crate::pace::Bucket;
use crate::registry::{DENIED, Port, STOPPING, TAKEN_OVER};
use crate::tls::VehicleTls;
use crate::trace;
use crate::verifier::reason_of;

/// What a vehicle may do: publish to its own `up` topics in its own shard, subscribe to its own `down`.
pub(crate) struct OwnTopics(VehicleId);

impl Policy for OwnTopics {
    fn publish(&self, topic: &str) -> Result<(), &'static str> {
        own_channel(&self.0, topic).map(|_| ())
    }

    fn subscribe(&self, filter: &str) -> bool {
        Topic::parse(filter) == Some(Topic::Down { vehicle: self.0 })
    }

    fn client_id(&self) -> String {
        self.0.to_string()
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

/// Why a login is turned down of a vehicle that came too often.
const CONNECT_RATE: &str = DoorRefusal::ConnectRate.code();
/// How long the last bytes of a connection that we end may take.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);
/// Space for one read of a connection that says little, bytes: most of what an idle connection costs is this.
const READ_BYTES_MIN: usize = 512;
/// Space for one read of a connection that says much, bytes.
const READ_BYTES_MAX: usize = 16 * 1024;

/// From where somebody comes, and what the certificate says that they showed.
pub(crate) struct Caller {
    pub peer: SocketAddr,
    pub certified: Option<Certified>,
}

/// Serves a connection over TLS to its end.
pub(crate) async fn serve_tls(
    shared: Arc<Shared>,
    tls: Arc<VehicleTls>,
    gate: Arc<dyn Authenticator>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let mut mode = shared.mode.clone();
    let secured = tokio::select! {
        biased;
        _ = mode.wait_for(|mode| *mode == Mode::Stopping) => return,
        secured = Box::pin(secure(&shared, &tls, stream)) => secured,
    };
    drop((mode, tls));
    match secured {
        Ok((stream, certified)) => {
            serve(shared, gate, stream, Caller { peer, certified: Some(certified) }).await;
        }
        Err(reason) => {
            tracing::info!(%peer, reason, "a TLS handshake failed");
            shared.attempts.failed(peer.ip(), reason);
            shared.metrics.refused(reason);
        }
    }
}

/// The TLS handshake. Boxed, so that it is moved about and kept in one place only.
async fn secure(
    shared: &Shared,
    tls: &VehicleTls,
    stream: TcpStream,
) -> Result<(Box<TlsStream<TcpStream>>, Certified), &'static str> {
    let handshake = async {
        // A permit is for who has begun to speak: the silent ones hold a socket, and nobody up.
        stream.readable().await.map_err(|_| "tls_gone")?;
        let _permit = Arc::clone(&shared.handshakes).acquire_owned().await.map_err(|_| STOPPING)?;
        TlsAcceptor::from(tls.door()).accept(stream).await.map_err(|error| reason_of(&error))
    };
    let within = shared.settings.tls_within;
    let stream = tokio::time::timeout(within, handshake).await.map_err(|_| "tls_timeout")??;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certified = vehicle_of(certificate.ok_or("certificate_missing")?).map_err(|no| no.code())?;
    Ok((Box::new(stream), certified))
}

/// Serves a connection to its end.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    shared: Arc<Shared>,
    gate: Arc<dyn Authenticator>,
    stream: S,
    caller: Caller,
) {
    let mut connection = Connection::new(Arc::clone(&shared), stream);
    let mut mode = shared.mode.clone();
    let entered = tokio::select! {
        biased;
        // A sender that is gone is a door that is gone.
        _ = mode.wait_for(|mode| *mode == Mode::Stopping) => None,
        entered = Box::pin(connection.handshake(gate, caller)) => entered,
    };
    let Some(mut entered) = entered else { return };
    shared.metrics.connections.inc();
    let end = Box::pin(connection.run(&mut entered)).await;
    shared.metrics.connections.dec();
    shared.metrics.closes.get_or_create(&ByReason { reason: end.code() }).inc();
    if let Some(reason) = refused(&end) {
        shared.refusals.note(entered.vehicle, reason, 1);
        tracing::warn!(vehicle_id = %entered.vehicle, reason = end.code(), "a vehicle's connection was ended for what it did");
    }
    connection.tell_denied(Some(entered.vehicle), end.code());
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
    messages: Bucket,
    bytes: Bucket,
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
            messages: Bucket::default(),
            bytes: Bucket::default(),
            begun: Instant::now(),
        }
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// From the first byte to the CONNACK, which is written by whoever goes on.
    async fn handshake(&mut self, gate: Arc<dyn Authenticator>, caller: Caller) -> Option<Entered> {
        let peer = caller.peer;
        let within = tokio::time::timeout(self.shared.settings.session.connect_within, self.login());
        let refused = match within.await {
            Err(_) => CloseReason::ConnectTimeout.code(),
            Ok(Err(code)) => code,
            Ok(Ok(login)) => match self.admit(&*gate, &login, caller) {
                Ok(entered) => return Some(entered),
                Err(code) => {
                    tracing::info!(%peer, reason = code, "a login was refused");
                    self.session.refuse(refusal(code));
                    code
                }
            },
        };
        self.shared.metrics.refused(refused);
        self.shared.attempts.failed(peer.ip(), refused);
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

    fn admit(
        &mut self,
        gate: &dyn Authenticator,
        login: &Login,
        caller: Caller,
    ) -> Result<Entered, &'static str> {
        let Caller { peer, certified } = caller;
        let vehicle = gate.identity(&Credentials {
            client_id: &login.client_id,
            username: &login.username,
            password: &login.password,
            peer,
            certified: certified.as_ref(),
        });
        let certain = certified.as_ref().map(|certified| certified.identity.vehicle);
        let vehicle = vehicle.inspect_err(|code| self.tell_denied(certain, code))?;
        if !self.shared.attempts.may_login(vehicle) {
            self.shared.refusals.tell_later(vehicle, DoorRefusal::ConnectRate);
            return Err(CONNECT_RATE);
        }
        let (port, queue) = Port::new(self.shared.metrics.clone(), certified.clone());
        let generation = self.shared.registry.enter(vehicle, Arc::clone(&port)).inspect_err(|code| {
            self.tell_denied(Some(vehicle), code);
        })?;
        // Asked once it is entered: a revocation before that did not find it, one after that does.
        let refused = self.shared.refuses(&vehicle, certified.as_ref()).map_or(Ok(()), Err);
        let accepted = refused
            .and_then(|()| self.session.accept(OwnTopics(vehicle), self.now()).map_err(CloseReason::code));
        accepted.inspect_err(|code| {
            self.shared.registry.leave(&vehicle, generation);
            self.tell_denied(Some(vehicle), code);
        })?;
        let down_topic = Topic::Down { vehicle }.to_string();
        Ok(Entered { vehicle, shard: ShardId::of(&vehicle), generation, port, queue, down_topic })
    }

    /// Lets it be seen on a vehicle that has shown who it is that it is kept out.
    fn tell_denied(&self, vehicle: Option<VehicleId>, code: &str) {
        if let Some(vehicle) = vehicle.filter(|_| refusal(code) == Refusal::Banned) {
            self.shared.refusals.tell_later(vehicle, DoorRefusal::Denied);
        }
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
        let mut paused_until = Duration::ZERO;
        loop {
            self.take_events(entered).await?;
            self.flush().await.map_err(End::Broken)?;
            self.session.release_buffers();
            let even_at = self.messages.even_at().max(self.bytes.even_at());
            let paused = even_at > self.now();
            if paused && even_at > paused_until {
                let by_messages = even_at == self.messages.even_at();
                let reason = if by_messages { DoorRefusal::MessageRate } else { DoorRefusal::ByteRate };
                self.shared.refusals.note(entered.vehicle, reason, 1);
                paused_until = even_at;
            }
            let wake_at = self.begun + if paused { even_at } else { self.session.poll_timeout() };
            tokio::select! {
                biased;
                Some(message) = entered.queue.recv() => {
                    self.queue_down(entered, message);
                    self.queue_all_down(entered);
                }
                // Who is too fast waits in the socket; TCP tells it to slow down.
                read = self.read(), if !paused => read.map_err(End::Broken)?,
                () = tokio::time::sleep_until(wake_at.into()) => {
                    let now = self.now();
                    if paused {
                        self.session.resume(now);
                    } else {
                        self.session.handle_timeout(now)?;
                    }
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
        let now = self.now();
        self.bytes.take(count as u64, self.shared.settings.vehicle.bytes_per_second, now);
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
            let Event::Publish { topic, payload, packet_id, trace_parent } = event else { continue };
            let channel = own_channel(&vehicle, &topic).map_err(CloseReason::Forbidden)?;
            let trace = trace_parent.and_then(|text| trace::parse(&text)).map(Box::new);
            let arrival = Arrival::Payload { generation, vehicle, channel, payload, received_ms, trace };
            self.messages.take(1, self.shared.settings.vehicle.messages_per_second, now);
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
        match self.session.take_filters_refused() {
            0 => {}
            count => self.shared.refusals.note(vehicle, DoorRefusal::ForeignFilter, count.into()),
        }
        Ok(())
    }

    fn queue_down(&mut self, entered: &Entered, payload: Bytes) {
        entered.port.taken(payload.len());
        if let Err(reason) = self.session.send(&entered.down_topic, payload) {
            self.shared.metrics.dropped(reason.code());
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
        // TLS keeps what the socket did not take.
        self.stream.flush().await.map_err(|_| "peer_reset")
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
            if let Some(parting) = parting(end) {
                self.session.part(parting);
            }
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
            let arrival = Arrival::Payload {
                generation,
                vehicle,
                channel,
                payload,
                received_ms: unix_ms(),
                trace: None,
            };
            let _ = shared.intake.offer(shard, arrival).await;
        }
        // An intake that is closed needs no goodbyes.
        let _ = shared.intake.offer(shard, Arrival::Disconnected { generation, vehicle }).await;
    }
}

/// What a login that was refused for this reason is told.
fn refusal(code: &str) -> Refusal {
    match code {
        STOPPING => Refusal::Unavailable,
        DENIED | "vehicle_revoked" | "certificate_revoked" => Refusal::Banned,
        CONNECT_RATE => Refusal::RateExceeded,
        _ => Refusal::NotAuthorized,
    }
}

/// What a connection's end says of its vehicle, where it says something.
fn refused(end: &End) -> Option<DoorRefusal> {
    match end {
        End::Session(CloseReason::Forbidden("foreign_topic")) => Some(DoorRefusal::ForeignTopic),
        End::Session(CloseReason::Forbidden("wrong_shard")) => Some(DoorRefusal::WrongShard),
        End::Session(CloseReason::Forbidden(_)) => Some(DoorRefusal::BadTopic),
        End::Session(CloseReason::TooLarge) => Some(DoorRefusal::TooLarge),
        End::Session(
            CloseReason::Malformed
            | CloseReason::Protocol
            | CloseReason::Unsupported
            | CloseReason::TopicAlias
            | CloseReason::ReceiveMaximum
            | CloseReason::NoRoomForAnswer,
        ) => Some(DoorRefusal::Protocol),
        _ => None,
    }
}

/// What a vehicle is told whose connection we end.
fn parting(end: &End) -> Option<Parting> {
    match end {
        End::Stopping => Some(Parting::ShuttingDown),
        End::Kicked(TAKEN_OVER) => Some(Parting::TakenOver),
        End::Kicked("shard-lost" | "shard-restart") => Some(Parting::Busy),
        End::Kicked(_) => Some(Parting::Administrative),
        End::Session(_) | End::Broken(_) => None,
    }
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
