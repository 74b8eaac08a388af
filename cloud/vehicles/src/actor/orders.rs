//! A vehicle's orders at work: loaded when they are needed, appended before they are sent, answered by reports.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_contracts::commands::{CommandDesk, CommandError, CommandRequest, CommandState, CommandView};
use remuda_eventsourcing::{Appended, Journal, JournalError, Snapshot, StreamId};
use remuda_model::{Incarnation, Lane, OrganizationId, Seq, VehicleId};
use remuda_wire::frame::CommandOutcome;
use remuda_wire::{Body, Command, Down, Event, LaneState, frame, signing};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, oneshot};

use super::alerts::AlertAsk;
use super::fault::Fault;
use super::node::Node;
use super::warm::Warm;
use crate::event::{VehicleEvent, stream_of};
use crate::limits;
use crate::orders::event::AGGREGATE;
use crate::orders::{
    NewOrder, Order, OrderCommand, OrderEvent, OrderId, OrderPhase, OrderRefusal, Orders, decide, evolve,
    orders_stream_of,
};

// Events read at a time.
const PAGE: usize = 1_000;
// Changes that a slow watcher may be behind.
const CHANGES_MAX: usize = 1_024;
// How long an asker waits for the vehicle's actor.
const ASK: Duration = Duration::from_secs(10);
// How often it is looked whether an order's time ran out.
const SWEEP: Duration = Duration::from_secs(1);

/// Signs what goes out to vehicles.
pub trait CommandSigner: Send + Sync + 'static {
    /// ed25519 over these bytes, 64 bytes.
    fn sign(&self, bytes: &[u8]) -> Vec<u8>;
}

/// What is asked of a vehicle's orders.
pub(crate) enum OrderAsk {
    Queue {
        order: NewOrder,
        validate_only: bool,
        reply: Reply<Order>,
    },
    Cancel {
        id: OrderId,
        by: String,
        reason: String,
        reply: Reply<Order>,
    },
    List {
        reply: Reply<Vec<Order>>,
    },
    /// Time has passed.
    Sweep,
    /// Not of its orders: erasures cover some of what it has.
    Forget {
        reply: oneshot::Sender<()>,
    },
    /// Not of its orders: something about its alerts.
    Alert(AlertAsk),
}

type Reply<T> = oneshot::Sender<Result<T, OrderRefusal>>;

/// An ask on its way, with its share of the bound.
pub(crate) struct Asked {
    pub vehicle: VehicleId,
    pub ask: OrderAsk,
    _permit: OwnedSemaphorePermit,
}

/// What all vehicles' orders of a node share.
pub(crate) struct Desks {
    signer: Option<Arc<dyn CommandSigner>>,
    asks: Arc<Semaphore>,
    changes: broadcast::Sender<CommandView>,
    /// When to look at a vehicle's orders again.
    due: Mutex<BTreeSet<(i64, VehicleId)>>,
}

impl Desks {
    /// Without a signer nothing can be sent: every order is refused.
    pub fn new(signer: Option<Arc<dyn CommandSigner>>) -> Self {
        Self {
            signer,
            asks: Arc::new(Semaphore::new(limits::ORDER_ASKS_MAX)),
            changes: broadcast::Sender::new(CHANGES_MAX),
            due: Mutex::default(),
        }
    }

    /// Notes when each open order must be looked at.
    fn watch(&self, vehicle: VehicleId, orders: &Orders, now_ms: i64) {
        let mut due = self.due.lock();
        for order in &orders.open {
            let at = match order.phase {
                OrderPhase::Queued => order.expires_ms,
                _ => order.expires_ms.saturating_add(limits::ORDER_ANSWER_MS_MAX),
            };
            // An order whose time has come may not be looked at in a busy loop.
            due.insert((at.max(now_ms + 1), vehicle));
        }
    }

    fn take_due(&self, now_ms: i64) -> Vec<VehicleId> {
        let mut due = self.due.lock();
        let mut vehicles = Vec::new();
        while due.first().is_some_and(|(at, _)| *at <= now_ms) {
            vehicles.extend(due.pop_first().map(|(_, vehicle)| vehicle));
        }
        vehicles.dedup();
        vehicles
    }
}

/// One vehicle's orders in memory.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    orders: Orders,
    snapshot_version: u64,
    /// Whether the last snapshot has open orders: what a restart finds by.
    snapshot_open: bool,
}

impl Warm {
    fn orders_stream(&self) -> StreamId {
        orders_stream_of(self.node.settings.organization, &self.id)
    }

    /// The orders, loaded if they are not; what the vehicle reported meanwhile is caught up with.
    async fn desk(&mut self) -> Result<&mut Desk, Fault> {
        if self.desk.is_none() {
            let journal = self.node.journal.as_ref();
            let read = |error| Fault::Journal("reading a vehicle's commands", error);
            let desk = load(journal, &self.orders_stream()).await.map_err(read)?;
            self.node.desks.watch(self.id, &desk.orders, self.node.now_ms());
            self.desk = Some(Box::new(desk));
            self.catch_up().await?;
        }
        Ok(self.desk.get_or_insert_default())
    }

    /// Answers open orders from reports that were recorded when nobody was there to do so.
    async fn catch_up(&mut self) -> Result<(), Fault> {
        let Some(mut from) = self.desk.as_ref().and_then(|desk| desk.orders.reports_from()) else {
            return Ok(());
        };
        let stream = stream_of(self.node.settings.organization, &self.id);
        loop {
            let page = self.node.journal.read_stream(&stream, from, PAGE).await;
            let page = page.map_err(|error| Fault::Journal("reading a vehicle's reports", error))?;
            let facts: Vec<VehicleEvent> =
                page.iter().filter_map(|event| VehicleEvent::open(&event.event)).collect();
            self.answer_orders(&facts).await?;
            match page.last() {
                Some(last) if page.len() == PAGE => from = last.event.version + 1,
                _ => return Ok(()),
            }
        }
    }

    /// Decides, appends, evolves, tells; `Ok(Ok(false))` when nothing followed.
    async fn order(&mut self, command: OrderCommand) -> Result<Result<bool, OrderRefusal>, Fault> {
        let stream = self.orders_stream();
        let desk = self.desk.get_or_insert_default();
        let event = match decide(&desk.orders, command) {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(Ok(false)),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let envelope = event.envelope(stream, desk.orders.version + 1);
        let appended = self.slot().append(self.node.journal.as_ref(), vec![envelope]).await;
        match appended.map_err(|error| Fault::Journal("appending a command", error))? {
            Appended::Committed { .. } => {}
            Appended::Fenced { .. } => {
                self.node.shard_lost(self.shard);
                return Err(Fault::Lost);
            }
            Appended::Conflict { .. } => return Err(Fault::Conflict("a command was refused by the journal")),
        }
        let (id, now_ms) = (event.id(), event.time_ms());
        let desk = self.desk.get_or_insert_default();
        evolve(&mut desk.orders, &event);
        let node = &self.node;
        node.desks.watch(self.id, &desk.orders, now_ms);
        node.metrics.orders.get_or_create(&crate::metrics::OrderLabel { event: event.event_type() }).inc();
        if let Some(order) = desk.orders.get(id) {
            tracing::info!(vehicle_id = %self.id, command_id = %id, phase = ?order.phase, "a command moved on");
            // Nobody may be watching.
            let _ = node.desks.changes.send(view_of(self.id, order));
        }
        Ok(Ok(true))
    }

    /// Does what somebody asks.
    pub async fn order_ask(&mut self, asked: Asked) -> Result<(), Fault> {
        // The permit counts until the ask is done.
        let Asked { ask, _permit: permit, .. } = asked;
        if let OrderAsk::Forget { reply } = ask {
            self.forget().await?;
            // Who asked may have given up waiting.
            let _ = reply.send(());
            return Ok(());
        }
        if let OrderAsk::Alert(ask) = ask {
            return self.alert_ask(ask, permit).await;
        }
        self.desk().await?;
        let now_ms = self.node.now_ms();
        // Whoever asked may have given up waiting; what was done stays done.
        match ask {
            OrderAsk::Queue { order, validate_only, reply } => {
                let id = OrderId::of(&self.node.settings.organization, &self.id, &order.request_id);
                let reports_before = self.vehicle.state.version;
                let command = OrderCommand::Queue { id, order, reports_before, now_ms };
                let done = if validate_only {
                    self.preview(command, id)
                } else {
                    let done = self.order(command).await?;
                    self.send_orders(false).await?;
                    done.and_then(|_| self.remembered(id))
                };
                let _ = reply.send(done);
            }
            OrderAsk::Cancel { id, by, reason, reply } => {
                let done = self.order(OrderCommand::Cancel { id, by, reason, now_ms }).await?;
                let _ = reply.send(done.and_then(|_| self.remembered(id)));
            }
            OrderAsk::List { reply } => {
                let orders = &self.desk.get_or_insert_default().orders;
                let newest_first = orders.open.iter().rev().chain(orders.finished.iter().rev());
                let _ = reply.send(Ok(newest_first.cloned().collect()));
            }
            // Answered above.
            OrderAsk::Forget { .. } | OrderAsk::Alert(_) => {}
            OrderAsk::Sweep => {
                for id in self.open_orders() {
                    // A refusal says that it has ended meanwhile.
                    let _ = self.order(OrderCommand::Sweep { id, now_ms }).await?;
                }
            }
        }
        self.put_desk_away().await
    }

    /// The order as it would be taken, with nothing written.
    fn preview(&mut self, command: OrderCommand, id: OrderId) -> Result<Order, OrderRefusal> {
        let mut orders = self.desk.get_or_insert_default().orders.clone();
        if let Some(event) = decide(&orders, command)? {
            evolve(&mut orders, &event);
        }
        orders.get(id).cloned().ok_or(OrderRefusal::NoSuchOrder)
    }

    fn remembered(&self, id: OrderId) -> Result<Order, OrderRefusal> {
        let found = self.desk.as_ref().and_then(|desk| desk.orders.get(id));
        found.cloned().ok_or(OrderRefusal::NoSuchOrder)
    }

    fn open_orders(&self) -> Vec<OrderId> {
        self.desk.iter().flat_map(|desk| desk.orders.open.iter().map(|order| order.id)).collect()
    }

    /// The vehicle has greeted: `lanes` is what it still holds of earlier starts.
    pub fn greeted_for_orders(&mut self, lanes: &[LaneState]) {
        let behind = lanes.iter().filter(|lane| lane.lane == Lane::Events);
        self.lanes_behind = behind.map(|lane| (lane.incarnation, lane.next_seq.saturating_sub(1))).collect();
        self.orders_due = true;
    }

    /// After a greeting, or after reports: what can be said of orders that an earlier start was given, and what can go
    /// out.
    pub async fn work_orders(&mut self) -> Result<(), Fault> {
        if !self.orders_due && self.desk.is_none() {
            return Ok(());
        }
        let greeting = std::mem::take(&mut self.orders_due);
        self.desk().await?;
        self.settle_orphans().await?;
        self.send_orders(greeting).await?;
        self.put_desk_away().await
    }

    /// Orders that were given to an earlier start whose reports have all been heard.
    async fn settle_orphans(&mut self) -> Result<(), Fault> {
        let Some(current) = self.reception.greeted().map(|connection| connection.incarnation) else {
            return Ok(());
        };
        for id in self.open_orders() {
            let given_to = self.remembered(id).ok().and_then(|order| order.phase.incarnation());
            let Some(given_to) = given_to.filter(|incarnation| *incarnation != current) else { continue };
            if self.may_still_speak(given_to) {
                continue;
            }
            let now_ms = self.node.now_ms();
            // A refusal says that it has ended meanwhile.
            let _ = self.order(OrderCommand::Orphan { id, now_ms }).await?;
        }
        Ok(())
    }

    /// Whether reports of this start are still in the vehicle's outbox.
    fn may_still_speak(&self, incarnation: Incarnation) -> bool {
        let held: Option<&(Incarnation, Seq)> = self.lanes_behind.iter().find(|(i, _)| *i == incarnation);
        held.is_some_and(|(_, last)| self.vehicle.durable(Lane::Events, incarnation) < *last)
    }

    /// Sends what waits; after a greeting also what is under way, under the same id: the vehicle knows what it obeyed.
    async fn send_orders(&mut self, greeting: bool) -> Result<(), Fault> {
        let Some(connection) = self.reception.greeted().filter(|_| self.downlink.is_some()) else {
            return Ok(());
        };
        let Some(signer) = self.node.desks.signer.clone() else { return Ok(()) };
        let (incarnation, owner_epoch) = (connection.incarnation, self.slot().owner().epoch);
        for id in self.open_orders() {
            let now_ms = self.node.now_ms();
            let send = OrderCommand::Send { id, incarnation, epoch: owner_epoch, now_ms };
            let sent = self.order(send).await?.unwrap_or_default();
            let Ok(order) = self.remembered(id) else { continue };
            let OrderPhase::Sent { incarnation: given_to, .. } = order.phase else { continue };
            if given_to != incarnation || !(sent || greeting) || now_ms >= order.expires_ms {
                continue;
            }
            let mut command = Command {
                id: id.0,
                // The present owner's, also for what an earlier one sent first.
                epoch: owner_epoch,
                expires_ms: order.expires_ms,
                incarnation,
                kind: order.kind,
                signature: Vec::new(),
            };
            command.signature = signer.sign(&signing::signed_bytes(&self.id, &command));
            self.send(&Down::Command(command));
        }
        Ok(())
    }

    /// What the vehicle reported of its orders.
    pub async fn answer_orders(&mut self, facts: &[VehicleEvent]) -> Result<(), Fault> {
        for (id, outcome) in facts.iter().filter_map(result_of) {
            lose_answer()?;
            if self.desk.is_none() {
                // Catches up with everything that is recorded, this report too.
                Box::pin(self.desk()).await?;
            }
            let now_ms = self.node.now_ms();
            if let Err(refusal) = self.order(OrderCommand::Answer { id, outcome, now_ms }).await? {
                let code = refusal.code();
                tracing::debug!(vehicle_id = %self.id, command_id = %id, code, "a report changes no command");
            }
        }
        Ok(())
    }

    /// Snapshots where a restart needs it, and forgets orders that are all ended.
    async fn put_desk_away(&mut self) -> Result<(), Fault> {
        let stream = self.orders_stream();
        let owner = self.slot().owner();
        let Some(desk) = &mut self.desk else { return Ok(()) };
        let has_open = !desk.orders.open.is_empty();
        let many = desk.orders.version >= desk.snapshot_version + limits::ORDER_SNAPSHOT_EVENTS;
        if desk.orders.version > 0 && (has_open != desk.snapshot_open || many) {
            // Plain data always encodes.
            let state = postcard::to_allocvec(&(FORM, &desk.orders)).unwrap_or_default();
            let snapshot = Snapshot { version: desk.orders.version, state };
            let written = self.node.journal.put_snapshots(owner, vec![(stream, snapshot)]).await;
            match written {
                Ok(_) => (desk.snapshot_version, desk.snapshot_open) = (desk.orders.version, has_open),
                // The stream has everything; only a restart would find these orders later.
                Err(error) => {
                    tracing::warn!(vehicle_id = %self.id, %error, "a vehicle's commands were not snapshotted");
                }
            }
        }
        if !has_open {
            self.desk = None;
        }
        Ok(())
    }
}

/// Lets a test end the actor between a report and its effect.
fn lose_answer() -> Result<(), Fault> {
    fail::fail_point!("order-answer", |_| Err(Fault::Conflict("a test lost the answer")));
    Ok(())
}

/// What a report says of an order.
fn result_of(fact: &VehicleEvent) -> Option<(OrderId, CommandOutcome)> {
    let VehicleEvent::Reported { payload, .. } = fact else { return None };
    match frame::decode(payload).ok()?.body {
        Body::Event(Event::CommandResult { command, outcome }) => Some((OrderId(command), outcome)),
        _ => None,
    }
}

/// First field of a snapshot.
const FORM: u8 = 1;

fn restore(snapshot: &Snapshot) -> Option<Orders> {
    let (form, orders): (u8, Orders) = postcard::from_bytes(&snapshot.state).ok()?;
    (form == FORM).then_some(orders)
}

async fn load(journal: &dyn Journal, stream: &StreamId) -> Result<Desk, JournalError> {
    let mut desk = Desk::default();
    if let Some(orders) = journal.snapshot(stream).await?.as_ref().and_then(restore) {
        desk.snapshot_version = orders.version;
        desk.snapshot_open = !orders.open.is_empty();
        desk.orders = orders;
    }
    loop {
        let page = journal.read_stream(stream, desk.orders.version + 1, PAGE).await?;
        for event in &page {
            match OrderEvent::open(&event.event) {
                Some(fact) => evolve(&mut desk.orders, &fact),
                None => {
                    let kind = &event.event.event_type;
                    tracing::error!(vehicle_id = %stream.aggregate_id, kind, "an event of an unknown kind was passed over");
                    desk.orders.version = event.event.version;
                }
            }
        }
        if page.len() < PAGE {
            return Ok(desk);
        }
    }
}

/// Finds the vehicles that had open orders at their last snapshot.
pub(crate) async fn recover(node: &Node) -> Result<(), JournalError> {
    let mut after: Option<StreamId> = None;
    loop {
        let page = node.journal.snapshots(AGGREGATE, after.as_ref(), PAGE).await?;
        for (stream, snapshot) in &page {
            let Ok(vehicle) = VehicleId::new(&stream.aggregate_id) else { continue };
            if let Some(orders) = restore(snapshot) {
                node.desks.watch(vehicle, &orders, node.now_ms());
            }
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE => after = Some(last.clone()),
            _ => return Ok(()),
        }
    }
}

/// Looks at orders whose time has come, until it is aborted.
pub(crate) async fn sweep(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        let now_ms = node.now_ms();
        for vehicle in node.desks.take_due(now_ms) {
            if node.ask(vehicle, OrderAsk::Sweep).is_err() {
                // Later, when there is room.
                node.desks.due.lock().insert((now_ms + SWEEP.as_millis() as i64, vehicle));
            }
        }
    }
}

impl Node {
    /// Hands an ask to the vehicle's actor.
    pub fn ask(&self, vehicle: VehicleId, ask: OrderAsk) -> Result<(), &'static str> {
        if self.stopping.load(Relaxed) {
            return Err("the node is stopping");
        }
        let permit = Arc::clone(&self.desks.asks).try_acquire_owned();
        let permit = permit.map_err(|_| "too many commands wait on this node")?;
        self.push_ask(Asked { vehicle, ask, _permit: permit })
    }
}

/// The orders of every vehicle, for others.
pub(crate) struct Orderly(pub Arc<Node>);

impl Orderly {
    async fn ask<T>(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
        make: impl FnOnce(Reply<T>) -> OrderAsk,
    ) -> Result<T, CommandError> {
        if self.0.index.get(organization, vehicle).is_none() {
            return Err(CommandError::NoSuchVehicle);
        }
        let (reply, answer) = oneshot::channel();
        self.0.ask(*vehicle, make(reply)).map_err(CommandError::Unavailable)?;
        let answer = tokio::time::timeout(ASK, answer).await;
        let answer = answer.map_err(|_| CommandError::Unavailable("it takes too long"))?;
        let answer = answer.map_err(|_| CommandError::Unavailable("its actor was started again"))?;
        answer.map_err(|refusal| match refusal {
            OrderRefusal::NoSuchOrder => CommandError::NoSuchCommand,
            refusal => CommandError::Refused { code: refusal.code(), sentence: refusal.to_string() },
        })
    }
}

#[async_trait]
impl CommandDesk for Orderly {
    async fn queue(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
        request: CommandRequest,
    ) -> Result<CommandView, CommandError> {
        if self.0.desks.signer.is_none() {
            return Err(CommandError::Unavailable("this node has no key to sign commands with"));
        }
        let CommandRequest { request_id, kind, reason, requested_by, ttl_ms, validate_only } = request;
        let order = NewOrder { request_id, kind, reason, requested_by, ttl_ms };
        let make = |reply| OrderAsk::Queue { order, validate_only, reply };
        self.ask(organization, vehicle, make).await.map(|order| view_of(*vehicle, &order))
    }

    async fn cancel(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
        id: &str,
        by: &str,
        reason: &str,
    ) -> Result<CommandView, CommandError> {
        let id = id.parse().map_err(|_| CommandError::NoSuchCommand)?;
        let (by, reason) = (by.to_owned(), reason.to_owned());
        let make = |reply| OrderAsk::Cancel { id, by, reason, reply };
        self.ask(organization, vehicle, make).await.map(|order| view_of(*vehicle, &order))
    }

    async fn list(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
    ) -> Result<Vec<CommandView>, CommandError> {
        let orders = self.ask(organization, vehicle, |reply| OrderAsk::List { reply }).await?;
        Ok(orders.iter().map(|order| view_of(*vehicle, order)).collect())
    }

    fn changes(&self) -> broadcast::Receiver<CommandView> {
        self.0.desks.changes.subscribe()
    }
}

fn view_of(vehicle: VehicleId, order: &Order) -> CommandView {
    let (state, detail) = match &order.phase {
        OrderPhase::Queued => (CommandState::Queued, ""),
        OrderPhase::Sent { .. } => (CommandState::Sent, ""),
        OrderPhase::Accepted { .. } => (CommandState::Accepted, ""),
        OrderPhase::Done => (CommandState::Done, ""),
        OrderPhase::Failed(why) => (CommandState::Failed, why.as_str()),
        OrderPhase::Expired => (CommandState::Expired, ""),
        OrderPhase::Refused(why) => (CommandState::Refused, why.as_str()),
        OrderPhase::Unknown => (CommandState::Unknown, ""),
        OrderPhase::Cancelled => (CommandState::Cancelled, ""),
    };
    CommandView {
        id: order.id.to_string(),
        vehicle,
        kind: order.kind.clone(),
        reason: order.reason.clone(),
        requested_by: order.requested_by.clone(),
        request_id: order.request_id.clone(),
        queued_ms: order.queued_ms,
        expires_ms: order.expires_ms,
        state,
        detail: detail.to_owned(),
        changed_ms: order.changed_ms,
        sends: order.sends,
    }
}
