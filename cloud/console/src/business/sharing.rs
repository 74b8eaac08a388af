//! Share links of trips, and the streams of those who follow.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use remuda_api::ShareName;
use remuda_api::trips::v1::{
    ListSharesRequest, ListSharesResponse, RevokeShareRequest, RevokeShareResponse, Share, ShareTripRequest,
    ShareTripResponse, TrackTripRequest, TrackTripResponse, TrackedPosition, TrackedVehicle,
};
use remuda_contracts::business::BusinessError;
use remuda_contracts::business::sharing::{PlaceSeen, ShareView, TripFollower, TripSeen};
use remuda_model::OrganizationId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::{Business, asker};
use crate::connection::{Place, Shares};
use crate::convert::timestamp_of;
use crate::gate::ShareToken;
use crate::limits;
use crate::precision::Precision;
use crate::refusal::Refusal;
use crate::scope::{field, sight};
use crate::sight::Sight;
use crate::time::now_ms;
use crate::tls::Peer;
use crate::watch::stopped;

const MINUTE_MS: i64 = 60_000;

/// What somebody who follows a trip gets.
pub(crate) type Tracks = Pin<Box<dyn Stream<Item = Result<TrackTripResponse, Status>> + Send>>;

/// Who follows, and how many they are. Strangers take no place of callers with accounts.
#[derive(Clone)]
pub(crate) struct Following {
    strangers: Places,
    known: Places,
    stopping: watch::Receiver<bool>,
}

impl Following {
    pub fn new(stopping: watch::Receiver<bool>) -> Self {
        Self { strangers: Places::new(), known: Places::new(), stopping }
    }

    fn places(&self, caller: &Caller) -> &Places {
        if caller.token.is_some() { &self.strangers } else { &self.known }
    }
}

#[derive(Clone)]
struct Places {
    all: Arc<Semaphore>,
    addresses: Arc<Shares>,
}

impl Places {
    fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits::FOLLOWERS_MAX)),
            addresses: Arc::new(Shares::new(limits::FOLLOWERS_PER_ADDRESS_MAX)),
        }
    }

    /// One, until it is dropped.
    fn take(&self, address: Option<IpAddr>) -> Result<(Place, OwnedSemaphorePermit), Refusal> {
        let too_many = Refusal::TooManyOfCaller(limits::FOLLOWERS_PER_ADDRESS_MAX);
        let place = self.addresses.take(address).ok_or(too_many)?;
        let all = Arc::clone(&self.all).try_acquire_owned();
        Ok((place, all.map_err(|_| Refusal::TooManyWatchers(limits::FOLLOWERS_MAX))?))
    }
}

/// Somebody who wants to follow.
pub(crate) struct Caller {
    /// What they show, when they have no account.
    token: Option<String>,
    sight: Sight,
    precision: Precision,
    address: Option<IpAddr>,
}

impl Caller {
    pub fn of<T>(request: &Request<T>, organization: OrganizationId) -> Self {
        let token = request.extensions().get::<ShareToken>().map(|token| token.0.clone());
        let peer = request.extensions().get::<Peer>().and_then(|peer| peer.address);
        // To see where it is is what a link is for.
        let precision = if token.is_some() { Precision::Exact } else { Precision::of(request, organization) };
        Self { token, sight: sight(request), precision, address: peer.map(|peer| peer.ip()) }
    }

    /// Whoever has no account is told nothing but that their token does not open this.
    fn refusal(&self, refusal: Refusal) -> Refusal {
        match &refusal {
            _ if self.token.is_none() => refusal,
            Refusal::Business { code: tonic::Code::Unavailable, .. } => refusal,
            _ => Refusal::Unauthenticated,
        }
    }

    fn said(&self, error: BusinessError) -> Refusal {
        self.refusal(Refusal::business(error))
    }
}

impl Business {
    pub(super) async fn share(
        &self,
        request: ShareTripRequest,
        who: String,
        sight: &Sight,
    ) -> Result<ShareTripResponse, Refusal> {
        let id = self.scope.child("trips", &request.name)?;
        self.check_trip(&id, sight).await?;
        let valid_ms = request
            .time_to_live
            .map(|time| time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000));
        if valid_ms.is_some_and(|ms| ms <= 0) {
            return Err(field("time_to_live", "it is not above 0"));
        }
        let asker = asker(who, String::new())?;
        let made = self.desk.share_trip(&self.scope.organization, &id, valid_ms, asker).await;
        let made = made.map_err(Refusal::business)?;
        let path = format!("/tracking/{id}?share_token={}", made.token);
        Ok(ShareTripResponse { share: Some(self.share_of(&id, &made.share)), token: made.token, path })
    }

    pub(super) async fn shares(
        &self,
        request: ListSharesRequest,
        sight: &Sight,
    ) -> Result<ListSharesResponse, Refusal> {
        let id = self.scope.child("trips", &request.parent).map_err(|refusal| match refusal {
            Refusal::Field { problem, .. } => Refusal::Field { field: "parent", problem },
            other => other,
        })?;
        self.check_trip(&id, sight).await?;
        let found = self.desk.trip_shares(&self.scope.organization, &id).await.map_err(Refusal::business)?;
        Ok(ListSharesResponse { shares: found.iter().map(|share| self.share_of(&id, share)).collect() })
    }

    pub(super) async fn unshare(
        &self,
        request: RevokeShareRequest,
        who: String,
        sight: &Sight,
    ) -> Result<RevokeShareResponse, Refusal> {
        let name: ShareName = request.name.parse().map_err(|e| field("name", e))?;
        self.scope.check(&name.organization)?;
        self.check_trip(&name.trip, sight).await?;
        let asker = asker(who, String::new())?;
        let done = self.desk.revoke_share(&self.scope.organization, &name.trip, &name.share, asker).await;
        done.map(|()| RevokeShareResponse {}).map_err(Refusal::business)
    }

    pub(super) async fn track(&self, request: TrackTripRequest, caller: Caller) -> Result<Tracks, Refusal> {
        let id = self.scope.child("trips", &request.name).map_err(|refusal| caller.refusal(refusal))?;
        if caller.token.is_none() {
            self.check_trip(&id, &caller.sight).await?;
        }
        let held = self.following.places(&caller).take(caller.address)?;
        let token = caller.token.as_deref();
        let follower = self.desk.follow_trip(&self.scope.organization, &id, token).await;
        let mut follower = follower.map_err(|error| caller.said(error))?;
        if caller.token.is_none() && !caller.sight.is_whole() {
            let (business, sight) = (self.clone(), caller.sight.clone());
            follower = Box::new(Within { follower, business, trip: id, sight });
        }
        let first = follower.look().await.map_err(|error| caller.said(error))?;
        let (to, from) = mpsc::channel(limits::WATCH_AHEAD_MAX);
        let told = Told { to, stopping: self.following.stopping.clone(), patience: limits::WATCH_HEARTBEAT };
        tokio::spawn(async move {
            let _held = held;
            follow(follower.as_mut(), first, &caller, told).await;
        });
        Ok(Box::pin(ReceiverStream::new(from)))
    }

    fn share_of(&self, trip: &str, share: &ShareView) -> Share {
        let organization = self.scope.organization.to_string();
        let name = ShareName { organization, trip: trip.to_owned(), share: share.id.clone() };
        Share { name: name.to_string(), expire_time: timestamp_of(share.expires_ms) }
    }
}

/// A trip that is followed for as long as its vehicle is the caller's to see.
struct Within {
    follower: Box<dyn TripFollower>,
    business: Business,
    trip: String,
    sight: Sight,
}

#[tonic::async_trait]
impl TripFollower for Within {
    async fn look(&mut self) -> Result<TripSeen, BusinessError> {
        let seen = self.follower.look().await?;
        // Behind the look: what was seen before the vehicle went to another fleet is theirs.
        self.business.trip_within(&self.trip, &self.sight).await?;
        Ok(seen)
    }
}

/// The way to who follows.
struct Told {
    to: mpsc::Sender<Result<TrackTripResponse, Status>>,
    stopping: watch::Receiver<bool>,
    /// How long somebody may not read before their place is another's.
    patience: Duration,
}

impl Told {
    /// Whether it was taken.
    async fn say(&mut self, what: Result<TrackTripResponse, Status>) -> bool {
        tokio::select! {
            biased;
            sent = timeout(self.patience, self.to.send(what)) => matches!(sent, Ok(Ok(()))),
            () = stopped(&mut self.stopping) => false,
        }
    }
}

/// Tells how a trip goes on until it ends, or nobody reads.
async fn follow(follower: &mut dyn TripFollower, first: TripSeen, caller: &Caller, mut told: Told) {
    let mut seen = first;
    loop {
        if !told.say(Ok(shown(&seen, caller.precision))).await || seen.ended {
            return;
        }
        let next = tokio::select! {
            next = changed(follower, &seen) => next.map_err(|error| caller.said(error)),
            () = told.to.closed() => return,
            () = stopped(&mut told.stopping) => Err(Refusal::Stopping),
        };
        seen = match next {
            Ok(next) => next,
            Err(refusal) => {
                // Nobody may be there any more to hear it.
                let _ = timeout(told.patience, told.to.send(Err(refusal.into()))).await;
                return;
            }
        };
    }
}

/// The next that is worth telling: a change, or a sign of life.
async fn changed(follower: &mut dyn TripFollower, before: &TripSeen) -> Result<TripSeen, BusinessError> {
    let begun = Instant::now();
    loop {
        sleep(limits::FOLLOW_EVERY).await;
        match follower.look().await {
            Ok(now) if now != *before || begun.elapsed() >= limits::WATCH_HEARTBEAT => return Ok(now),
            Ok(_) => {}
            // It may be answered the next time.
            Err(BusinessError::Unavailable(_)) if begun.elapsed() < limits::WATCH_HEARTBEAT => {}
            Err(error) => return Err(error),
        }
    }
}

fn shown(seen: &TripSeen, precision: Precision) -> TrackTripResponse {
    // How far it is to a known stop says where it is; so do how soon and how fast it gets there.
    let exact = precision == Precision::Exact;
    let arrival_ms = seen
        .eta_ms
        .map(|ms| if exact { ms } else { ms.saturating_add(MINUTE_MS / 2) / MINUTE_MS * MINUTE_MS });
    let degrees = |e7: i32| f64::from(precision.e7(e7)) / 1e7;
    let position = |at: &PlaceSeen| TrackedPosition {
        latitude: degrees(at.latitude_e7),
        longitude: degrees(at.longitude_e7),
        heading_deg: at.heading_deg,
        speed_kmh: if exact { at.speed_kmh } else { 0.0 },
        time: timestamp_of(at.time_ms),
        stale: at.stale,
    };
    TrackTripResponse {
        state: seen.state.to_owned(),
        vehicle: seen.vehicle.as_ref().map(|vehicle| TrackedVehicle {
            plate: vehicle.plate.clone().unwrap_or_default(),
            manufacturer: vehicle.manufacturer.clone(),
            model: vehicle.model.clone(),
        }),
        position: seen.position.as_ref().map(position),
        next_stop: seen.next_stop.to_owned(),
        arrival_time: arrival_ms.and_then(timestamp_of),
        remaining_m: seen.remaining_m.filter(|_| exact),
        server_time: timestamp_of(now_ms()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use remuda_access::Reach;

    use super::*;
    use crate::sight::Homes;

    fn caller(token: Option<&str>) -> Caller {
        let homes = Arc::new(Homes::new(None, OrganizationId::default()));
        let sight = Sight::new(Reach::Everywhere, homes);
        Caller { token: token.map(str::to_owned), sight, precision: Precision::Exact, address: None }
    }

    #[test]
    fn strangers_take_no_place_of_those_who_are_known() {
        let following = Following::new(watch::channel(false).1);
        let address = |n: usize| Some(IpAddr::from(Ipv4Addr::from(u32::try_from(n).unwrap())));
        let strangers = following.places(&caller(Some("share-x")));
        let of_one = |n: usize| n / limits::FOLLOWERS_PER_ADDRESS_MAX;
        let held: Vec<_> =
            (0..limits::FOLLOWERS_MAX).map(|n| strangers.take(address(of_one(n))).unwrap()).collect();
        assert!(strangers.take(address(0)).is_err() && strangers.take(address(99_999)).is_err());
        assert!(following.places(&caller(None)).take(address(0)).is_ok());
        drop(held);
        assert!(strangers.take(address(0)).is_ok());
    }

    /// Drives on with each look.
    struct Drives(u64);

    #[tonic::async_trait]
    impl TripFollower for Drives {
        async fn look(&mut self) -> Result<TripSeen, BusinessError> {
            self.0 += 1;
            Ok(TripSeen {
                state: "under-way",
                ended: false,
                vehicle: None,
                position: None,
                next_stop: "",
                remaining_m: Some(self.0),
                eta_ms: None,
            })
        }
    }

    #[tokio::test]
    async fn who_does_not_read_is_left() {
        let (to, from) = mpsc::channel(1);
        let stop = watch::channel(false);
        let told = Told { to, stopping: stop.1, patience: Duration::from_millis(50) };
        let first = Drives(0).look().await.unwrap();
        let task = tokio::spawn(async move { follow(&mut Drives(1), first, &caller(None), told).await });
        // The channel stays open, and what is in it is not taken.
        timeout(Duration::from_secs(20), task).await.expect("it ends").unwrap();
        drop(from);
    }
}
