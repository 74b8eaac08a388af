//! What vehicles are to watch of their trips, what they say that they watch, and the marks that come of it (docs/uplink.md
//! section 6). Memory only: the business says anew what it wants, and vehicles what they hold.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_contracts::fleet::Presence;
use remuda_contracts::marks::{MarkPage, MarkReport, ReportOffsets, TripMarks, WantedTrips, Watcher};
use remuda_contracts::uplink::ConnectionGeneration;
use remuda_eventsourcing::Event as Recorded;
use remuda_model::{OrganizationId, ShardId, VehicleId};
use remuda_wire::{Body, Down, Event, Frame, TripWatch, WatchedTrip, Watching, frame};
use tokio::sync::watch;
use tokio::time::Instant;

use super::node::Node;
use super::reports::read_page;
use super::shard::ShardMessage;
use super::warm::Warm;
use crate::error::Refusal;
use crate::event::VehicleEvent;
use crate::limits;

/// The trip and the version of its stops.
type Named = (String, u64);

fn name(trip: &WatchedTrip) -> Named {
    (trip.trip.clone(), trip.version)
}

/// What passed on a vehicle's present connection.
#[derive(Debug, Default)]
struct Talk {
    /// What it said it watches; none before it said anything.
    said: Option<Option<Named>>,
    /// What it was told last.
    told: Option<Option<Named>>,
    told_at: Option<Instant>,
    /// How often it was told just that.
    times: u8,
    /// Told something since, and silent.
    silent_since: Option<Instant>,
    /// How often a trip that is wanted was withdrawn from it.
    set_back: u8,
}

impl Talk {
    /// It watches newer stops of the trip than there are, so the cloud was restored. It takes no older ones for them, but anew.
    fn is_ahead_of(&self, wanted: &WatchedTrip) -> bool {
        let of_it = |(trip, version): &Named| *trip == wanted.trip && *version > wanted.version;
        self.said.as_ref().and_then(Option::as_ref).is_some_and(of_it)
            && self.set_back < limits::WATCH_TELLS_MAX
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// None until the business has spoken: nothing is withdrawn that may still be wanted.
    wanted: Option<WantedTrips>,
    /// Of vehicles that were told, or said, something on their present connection.
    talks: HashMap<VehicleId, Talk>,
}

impl Inner {
    /// What the vehicle has to be told now, if anything.
    fn due(&self, vehicle: &VehicleId) -> Option<Option<Arc<WatchedTrip>>> {
        let wanted = match self.wanted.as_ref()?.get(vehicle) {
            Some(Some(trip)) => Some(trip),
            // Nobody knows: it goes on as it is.
            Some(None) => return None,
            None => None,
        };
        let talk = self.talks.get(vehicle);
        let wanted = wanted.filter(|trip| talk.is_none_or(|talk| !talk.is_ahead_of(trip)));
        let name = wanted.map(|trip| name(trip));
        let said = talk.and_then(|talk| talk.said.as_ref());
        let holds = match said {
            Some(said) => *said == name,
            // An agent that has nothing to watch says nothing, and may be too old to be told so.
            None => name.is_none(),
        };
        let told = talk.filter(|talk| talk.told.as_ref() == Some(&name));
        let is_enough = told.is_some_and(|talk| {
            let lately = talk.told_at.is_some_and(|at| at.elapsed() < limits::WATCH_ANSWER);
            lately || talk.times >= limits::WATCH_TELLS_MAX
        });
        (!holds && !is_enough).then(|| wanted.map(Arc::clone))
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Watches(Mutex<Inner>);

impl Watches {
    /// A new connection: nothing passed on it yet.
    fn forget(&self, vehicle: &VehicleId) {
        self.0.lock().talks.remove(vehicle);
    }

    fn said(&self, vehicle: VehicleId, watching: Watching) {
        let mut inner = self.0.lock();
        let talk = inner.talks.entry(vehicle).or_default();
        (talk.said, talk.silent_since) = (Some(watching.trip), None);
    }

    /// What is to be sent now, noted as sent.
    fn tell(&self, vehicle: VehicleId) -> Option<TripWatch> {
        let mut inner = self.0.lock();
        let due = inner.due(&vehicle)?;
        let told = Some(due.as_deref().map(name));
        let is_wanted = inner.wanted.as_ref().is_some_and(|all| all.contains_key(&vehicle));
        let talk = inner.talks.entry(vehicle).or_default();
        if is_wanted && due.is_none() {
            talk.set_back = talk.set_back.saturating_add(1);
        }
        talk.times = if talk.told == told { talk.times.saturating_add(1) } else { 1 };
        let now = Instant::now();
        (talk.told, talk.told_at) = (told, Some(now));
        talk.silent_since.get_or_insert(now);
        Some(TripWatch { trip: due.map(|trip| WatchedTrip::clone(&trip)) })
    }

    fn watcher(&self, vehicle: &VehicleId, trip: &str) -> Watcher {
        let inner = self.0.lock();
        // Nobody has said yet what is wanted: the vehicle may be watching since before a restart.
        let Some(wanted) = &inner.wanted else { return Watcher::Open };
        let is_other = |wanted: &WatchedTrip| wanted.trip != trip;
        if wanted.get(vehicle).is_none_or(|wanted| wanted.as_deref().is_some_and(is_other)) {
            // The vehicle has another trip to watch.
            return Watcher::Cloud;
        }
        let Some(talk) = inner.talks.get(vehicle) else { return Watcher::Open };
        if matches!(&talk.said, Some(Some((said, _))) if said == trip) {
            return Watcher::Vehicle;
        }
        let is_mute = talk.silent_since.is_some_and(|at| at.elapsed() >= limits::WATCH_ANSWER);
        if is_mute { Watcher::Cloud } else { Watcher::Open }
    }

    /// Takes over what is wanted. Answers who has to be told something.
    fn want(&self, all: WantedTrips) -> Vec<VehicleId> {
        let mut inner = self.0.lock();
        inner.wanted = Some(all);
        let wanted = inner.wanted.iter().flat_map(HashMap::keys);
        let watching =
            inner.talks.iter().filter(|(_, talk)| matches!(talk.said, Some(Some(_)))).map(|(id, _)| id);
        let mut due: Vec<VehicleId> =
            wanted.chain(watching).filter(|vehicle| inner.due(vehicle).is_some()).copied().collect();
        due.sort_unstable();
        due.dedup();
        due
    }
}

impl Warm {
    /// It greeted: what it says from now on counts, and what it has to watch goes out.
    pub(super) fn greeted_for_watches(&mut self) {
        self.node.watches.forget(&self.id);
        self.offer_watch();
    }

    /// Its connection is gone.
    pub(super) fn left_watches(&self) {
        self.node.watches.forget(&self.id);
    }

    /// Sends what this vehicle is to watch, unless it does.
    pub(super) fn offer_watch(&mut self) {
        if self.reception.is_online()
            && let Some(watch) = self.node.watches.tell(self.id)
        {
            self.send(&Down::Watch(watch));
            self.node.metrics.watches_sent.inc();
        }
    }

    pub(super) fn watching(&mut self, generation: ConnectionGeneration, watching: Watching) {
        if !self.reception.is_current(generation) || self.reception.greeted() != Some(watching.connection) {
            return self.refuse(Refusal::StaleConnection, 1);
        }
        self.node.watches.said(self.id, watching);
        self.offer_watch();
    }
}

/// Whether a report is a trip mark.
pub(crate) const fn is_mark(frame: &Frame) -> bool {
    matches!(frame.body, Body::Event(Event::TripMarked(_)))
}

fn mark_of(recorded: &Recorded) -> Option<MarkReport> {
    let VehicleEvent::Reported { payload, received_ms, .. } = VehicleEvent::open(&recorded.event)? else {
        return None;
    };
    let Body::Event(Event::TripMarked(mark)) = frame::decode(&payload).ok()?.body else { return None };
    let stream = &recorded.event.stream;
    let vehicle = VehicleId::new(&stream.aggregate_id).ok()?;
    Some(MarkReport { organization: stream.organization, vehicle, received_ms, mark })
}

/// See [`TripMarks`].
pub(crate) struct Marks(pub Arc<Node>);

#[async_trait]
impl TripMarks for Marks {
    fn want(&self, organization: &OrganizationId, all: WantedTrips) {
        let node = &self.0;
        if *organization != node.settings.organization {
            return;
        }
        let mut shards: BTreeMap<ShardId, Vec<VehicleId>> = BTreeMap::new();
        for vehicle in node.watches.want(all) {
            let line = node.index.get(organization, &vehicle);
            if line.is_some_and(|line| line.presence == Presence::Online) {
                shards.entry(ShardId::of(&vehicle)).or_default().push(vehicle);
            }
        }
        for (shard, vehicles) in shards {
            if let Some(supervisor) = &node.slot(shard).queue.lock().supervisor {
                // One that ends just now takes its connections with it: they greet again.
                let _ = supervisor.cast(ShardMessage::OfferWatch(vehicles));
            }
        }
    }

    fn watcher(&self, vehicle: &VehicleId, trip: &str) -> Watcher {
        self.0.watches.watcher(vehicle, trip)
    }

    async fn marks(&self, after: &ReportOffsets) -> Result<MarkPage, String> {
        let (marks, offsets, more) = read_page(&self.0, after, mark_of).await?;
        Ok(MarkPage { marks, offsets, more })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.marked.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use remuda_model::{ConnectionId, Incarnation};
    use remuda_wire::{Fence, TripPlace};

    use super::*;

    fn car() -> VehicleId {
        VehicleId::new("CAR1").expect("an id")
    }

    fn trip(id: &str, version: u64) -> Arc<WatchedTrip> {
        let stop = Fence { latitude_e7: 1, longitude_e7: 2, radius_m: 50 };
        let (trip, stops, place) = (id.to_owned(), vec![stop; 2], TripPlace::default());
        Arc::new(WatchedTrip { trip, version, stops, place })
    }

    fn wanting(id: &str, version: u64) -> WantedTrips {
        HashMap::from([(car(), Some(trip(id, version)))])
    }

    fn says(watches: &Watches, trip: Option<(&str, u64)>) {
        let connection = ConnectionId { incarnation: Incarnation(1), counter: 1 };
        let trip = trip.map(|(id, version)| (id.to_owned(), version));
        watches.said(car(), Watching { connection, trip });
    }

    fn told(watches: &Watches) -> Option<Option<Named>> {
        watches.tell(car()).map(|watch| watch.trip.as_ref().map(name))
    }

    #[tokio::test(start_paused = true)]
    async fn a_vehicle_is_told_until_it_says_that_it_watches_and_one_that_cannot_only_a_few_times() {
        let watches = Watches::default();
        assert_eq!(told(&watches), None, "nobody has said what is wanted");
        assert_eq!(watches.watcher(&car(), "t1"), Watcher::Open, "it may watch since before a restart");
        assert_eq!(watches.want(wanting("t1", 1)), [car()]);
        assert_eq!(watches.watcher(&car(), "t1"), Watcher::Open, "it is away");
        assert_eq!(told(&watches), Some(Some(("t1".into(), 1))));
        assert_eq!(told(&watches), None, "it may take a while");
        assert_eq!(watches.watcher(&car(), "t1"), Watcher::Open);
        assert_eq!(watches.watcher(&car(), "t9"), Watcher::Cloud, "it has another one to watch");
        tokio::time::advance(limits::WATCH_ANSWER).await;
        assert_eq!(watches.watcher(&car(), "t1"), Watcher::Cloud, "it is too old to know");
        for _ in 1..limits::WATCH_TELLS_MAX {
            assert!(told(&watches).is_some());
            assert_eq!(watches.watcher(&car(), "t1"), Watcher::Cloud);
            tokio::time::advance(limits::WATCH_ANSWER).await;
        }
        assert_eq!(told(&watches), None, "it will not learn");
        says(&watches, Some(("t1", 1)));
        assert_eq!(watches.watcher(&car(), "t1"), Watcher::Vehicle, "it was only slow");
        watches.forget(&car());
        assert_eq!(watches.watcher(&car(), "t1"), Watcher::Open, "in a tunnel it goes on watching");
        assert!(told(&watches).is_some(), "told anew on each connection: its disk may be another");
    }

    #[tokio::test(start_paused = true)]
    async fn other_stops_go_out_and_what_nobody_wants_is_withdrawn() {
        let watches = Watches::default();
        says(&watches, Some(("t0", 4)));
        assert_eq!(told(&watches), None, "perhaps it is still wanted");
        assert_eq!(watches.want(HashMap::new()), [car()]);
        assert_eq!(told(&watches), Some(None));
        says(&watches, None);
        assert_eq!(told(&watches), None);
        watches.want(wanting("t1", 1));
        assert!(told(&watches).is_some());
        says(&watches, Some(("t1", 1)));
        assert_eq!(watches.want(wanting("t1", 1)), []);
        assert_eq!(watches.want(wanting("t1", 7)), [car()]);
        assert_eq!(told(&watches), Some(Some(("t1".into(), 7))), "at once, whatever went before");
        assert_eq!(watches.watcher(&car(), "t1"), Watcher::Vehicle);
        says(&watches, Some(("t1", 7)));
        assert_eq!(watches.want(HashMap::new()), [car()]);
    }

    #[tokio::test(start_paused = true)]
    async fn newer_stops_than_there_are_are_withdrawn_before_the_older_come() {
        let watches = Watches::default();
        watches.want(wanting("t1", 5));
        assert_eq!(told(&watches), Some(Some(("t1".into(), 5))));
        says(&watches, Some(("t1", 9)));
        assert_eq!(told(&watches), Some(None), "a cloud that was restored knows only older ones");
        says(&watches, Some(("t1", 9)));
        assert_eq!(told(&watches), None, "it may take a while");
        tokio::time::advance(limits::WATCH_ANSWER).await;
        assert_eq!(watches.want(wanting("t1", 5)), [car()]);
        assert_eq!(told(&watches), Some(None), "it may have been lost");
        says(&watches, None);
        assert_eq!(told(&watches), Some(Some(("t1".into(), 5))));
        says(&watches, Some(("t1", 5)));
        assert_eq!(told(&watches), None);
        // One that says so for ever is not told so for ever.
        let mut times = 0;
        for _ in 0..100 {
            says(&watches, Some(("t1", 9)));
            times += usize::from(told(&watches).is_some());
            says(&watches, None);
            times += usize::from(told(&watches).is_some());
            tokio::time::advance(limits::WATCH_ANSWER).await;
        }
        assert!(times <= 2 * usize::from(limits::WATCH_TELLS_MAX), "{times}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_vehicle_whose_trip_cannot_be_read_goes_on_as_it_is() {
        let watches = Watches::default();
        assert_eq!(watches.want(HashMap::from([(car(), None)])), []);
        assert_eq!(told(&watches), None);
        assert_eq!(watches.watcher(&car(), "t1"), Watcher::Open, "it is away");
        says(&watches, Some(("t1", 1)));
        assert_eq!(watches.want(HashMap::from([(car(), None)])), []);
        assert_eq!(told(&watches), None);
        assert_eq!(watches.watcher(&car(), "t1"), Watcher::Vehicle);
        assert_eq!(watches.want(HashMap::new()), [car()]);
        assert_eq!(told(&watches), Some(None), "it has ended");
    }
}
