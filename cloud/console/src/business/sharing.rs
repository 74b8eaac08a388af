//! Share links of trips, and the streams of those who follow.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use remuda_api::ShareName;
use remuda_api::trips::v1::{
    ListSharesRequest, ListSharesResponse, RevokeShareRequest, RevokeShareResponse, Share, ShareTripRequest,
    ShareTripResponse, TrackTripRequest, TrackTripResponse, TrackedPosition, TrackedVehicle,
};
use remuda_contracts::business::BusinessError;
use remuda_contracts::business::sharing::{PlaceSeen, ShareView, TripFollower, TripSeen};
use remuda_model::OrganizationId;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::{Business, asker};
use crate::connection::Shares;
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

/// What somebody who follows a trip gets.
pub(crate) type Tracks = Pin<Box<dyn Stream<Item = Result<TrackTripResponse, Status>> + Send>>;

/// Who follows, and how many they are.
#[derive(Clone)]
pub(crate) struct Following {
    places: Arc<Semaphore>,
    addresses: Arc<Shares>,
    stopping: watch::Receiver<bool>,
}

impl Following {
    pub fn new(stopping: watch::Receiver<bool>) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits::FOLLOWERS_MAX)),
            addresses: Arc::new(Shares::new(limits::FOLLOWERS_PER_ADDRESS_MAX)),
            stopping,
        }
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
        let Following { places, addresses, mut stopping } = self.following.clone();
        let too_many = Refusal::TooManyWatchers;
        let place = addresses.take(caller.address);
        let place = place.ok_or(too_many(limits::FOLLOWERS_PER_ADDRESS_MAX))?;
        let slot = places.try_acquire_owned().map_err(|_| too_many(limits::FOLLOWERS_MAX))?;
        let token = caller.token.as_deref();
        let follower = self.desk.follow_trip(&self.scope.organization, &id, token).await;
        let mut follower = follower.map_err(|error| caller.said(error))?;
        let mut seen = follower.look().await.map_err(|error| caller.said(error))?;
        let (to, from) = mpsc::channel(limits::WATCH_AHEAD_MAX);
        tokio::spawn(async move {
            let _held = (place, slot);
            loop {
                let ended = seen.ended;
                if to.send(Ok(shown(&seen, caller.precision))).await.is_err() || ended {
                    return;
                }
                let next = tokio::select! {
                    next = changed(follower.as_mut(), &seen) => next,
                    () = to.closed() => return,
                    () = stopped(&mut stopping) => Err(Refusal::Stopping),
                };
                seen = match next {
                    Ok(next) => next,
                    Err(refusal) => {
                        // Nobody may be there any more to hear it.
                        let _ = to.send(Err(refusal.into())).await;
                        return;
                    }
                };
            }
        });
        Ok(Box::pin(ReceiverStream::new(from)))
    }

    fn share_of(&self, trip: &str, share: &ShareView) -> Share {
        let organization = self.scope.organization.to_string();
        let name = ShareName { organization, trip: trip.to_owned(), share: share.id.clone() };
        Share { name: name.to_string(), expire_time: timestamp_of(share.expires_ms) }
    }
}

/// The next that is worth telling: a change, or a sign of life.
async fn changed(follower: &mut dyn TripFollower, before: &TripSeen) -> Result<TripSeen, Refusal> {
    let begun = Instant::now();
    loop {
        sleep(limits::FOLLOW_EVERY).await;
        match follower.look().await {
            Ok(now) if now != *before || begun.elapsed() >= limits::WATCH_HEARTBEAT => return Ok(now),
            Ok(_) => {}
            // It may be answered the next time.
            Err(BusinessError::Unavailable(_)) if begun.elapsed() < limits::WATCH_HEARTBEAT => {}
            Err(error @ BusinessError::Unavailable(_)) => return Err(Refusal::business(error)),
            // The link was taken back, or has run out.
            Err(_) => return Err(Refusal::Unauthenticated),
        }
    }
}

fn shown(seen: &TripSeen, precision: Precision) -> TrackTripResponse {
    let degrees = |e7: i32| f64::from(precision.e7(e7)) / 1e7;
    let position = |at: &PlaceSeen| TrackedPosition {
        latitude: degrees(at.latitude_e7),
        longitude: degrees(at.longitude_e7),
        heading_deg: at.heading_deg,
        speed_kmh: at.speed_kmh,
        time: timestamp_of(at.time_ms),
        stale: at.stale,
    };
    // How far it is to a known stop says where it is.
    let exact = precision == Precision::Exact;
    TrackTripResponse {
        state: seen.state.to_owned(),
        vehicle: seen.vehicle.as_ref().map(|vehicle| TrackedVehicle {
            plate: vehicle.plate.clone().unwrap_or_default(),
            manufacturer: vehicle.manufacturer.clone(),
            model: vehicle.model.clone(),
        }),
        position: seen.position.as_ref().map(position),
        next_stop: seen.next_stop.to_owned(),
        arrival_time: seen.eta_ms.and_then(timestamp_of),
        remaining_m: seen.remaining_m.filter(|_| exact),
        server_time: timestamp_of(now_ms()),
    }
}
