//! Links with which others follow a trip, and what they see.

use std::sync::Arc;

use async_trait::async_trait;
use rand::TryRngCore;
use rand::rngs::OsRng;
use remuda_contracts::business::sharing::{
    NewShare, PlaceSeen, SHARE_INVALID, SHARE_TOKEN_PREFIX, ShareView, SharingDesk, TripFollower, TripSeen,
    VehicleLook,
};
use remuda_contracts::business::{Asker, BusinessError, Place};
use remuda_contracts::fleet::TwinView;
use remuda_contracts::trips::Mark;
use remuda_model::{OrganizationId, VehicleId, signal};
use remuda_trips::TripCommand;
use remuda_trips::share;
use remuda_trips::state::{Stop, Trip, TripPhase};
use remuda_trips::tracking::Tracking;

use super::{Desk, refused, unavailable};
use crate::convert::ask_error;
use crate::limits;
use crate::start::Parts;

/// Whatever is wrong with a token: nobody learns whether the trip is there.
fn invalid() -> BusinessError {
    refused(SHARE_INVALID, "this link opens nothing; ask for a new one")
}

/// A token that nobody guesses.
fn new_token() -> Result<String, BusinessError> {
    let mut bytes = [0_u8; limits::SHARE_TOKEN_BYTES];
    OsRng.try_fill_bytes(&mut bytes).map_err(unavailable)?;
    let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
    Ok(SHARE_TOKEN_PREFIX.chars().map(String::from).chain(hex).collect())
}

impl Desk {
    /// A trip that somebody has asked for.
    pub(super) async fn known_trip(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<Trip, BusinessError> {
        self.check(organization)?;
        let trip = self.0.trips.entities().read(organization, id).await.map_err(ask_error)?.state;
        if trip.phase == TripPhase::Unknown {
            return Err(BusinessError::NotFound { what: "trip", id: id.to_owned() });
        }
        Ok(trip)
    }
}

#[async_trait]
impl SharingDesk for Desk {
    async fn share_trip(
        &self,
        organization: &OrganizationId,
        trip: &str,
        valid_ms: Option<i64>,
        asker: Asker,
    ) -> Result<NewShare, BusinessError> {
        self.known_trip(organization, trip).await?;
        let token = new_token()?;
        let context = self.context(&asker, "share", trip);
        let expires_ms = context.now_ms.saturating_add(valid_ms.unwrap_or(limits::SHARE_VALID_MS));
        let token_hash = share::hash(token.as_bytes());
        let command = TripCommand::Share { token_hash, expires_ms };
        self.0.trips.entities().ask(organization, trip, command, context).await.map_err(ask_error)?;
        // Lists that are late, or stopped, only make a stranger wait.
        let listed = self.0.lists.projected().caught_up();
        let _ = tokio::time::timeout(limits::SHARE_LISTED_PATIENCE, listed).await;
        Ok(NewShare { share: ShareView { id: share::id_of(&token_hash), expires_ms }, token })
    }

    async fn revoke_share(
        &self,
        organization: &OrganizationId,
        trip: &str,
        share: &str,
        asker: Asker,
    ) -> Result<(), BusinessError> {
        let known = self.known_trip(organization, trip).await?;
        let Some(share) = share::find(&known, share) else {
            return Err(BusinessError::NotFound { what: "share", id: share.to_owned() });
        };
        let command = TripCommand::Unshare { token_hash: share.token_hash };
        let context = self.context(&asker, "unshare", trip);
        let asked = self.0.trips.entities().ask(organization, trip, command, context).await;
        asked.map(|_| ()).map_err(ask_error)
    }

    async fn trip_shares(
        &self,
        organization: &OrganizationId,
        trip: &str,
    ) -> Result<Vec<ShareView>, BusinessError> {
        let trip = self.known_trip(organization, trip).await?;
        let now_ms = (self.0.clock)();
        let open = trip.shares.iter().map(|share| ShareView {
            id: share::id_of(&share.token_hash),
            expires_ms: share::ends_ms(&trip, share),
        });
        Ok(open.filter(|share| now_ms < share.expires_ms).collect())
    }

    async fn follow_trip(
        &self,
        organization: &OrganizationId,
        trip: &str,
        token: Option<&str>,
    ) -> Result<Box<dyn TripFollower>, BusinessError> {
        match token {
            None => drop(self.known_trip(organization, trip).await?),
            // From the lists: a stranger who tries ids must not make the node wake what is not there.
            Some(_) if *organization != self.0.organization => return Err(invalid()),
            Some(_) => {
                let listed = self.0.lists.trip(organization, trip).map_err(unavailable)?;
                listed.ok_or_else(invalid)?;
            }
        }
        Ok(Box::new(Follower {
            parts: Arc::clone(&self.0),
            organization: *organization,
            trip: trip.to_owned(),
            token: token.map(str::to_owned),
            tracking: Tracking::default(),
            leg: None,
            routed_ms: 0,
        }))
    }
}

struct Follower {
    parts: Arc<Parts>,
    organization: OrganizationId,
    trip: String,
    /// Shown with each look: a link may be taken back meanwhile.
    token: Option<String>,
    tracking: Tracking,
    /// Which vehicle drives to which stop.
    leg: Option<(VehicleId, Option<usize>)>,
    routed_ms: i64,
}

#[async_trait]
impl TripFollower for Follower {
    async fn look(&mut self) -> Result<TripSeen, BusinessError> {
        let entities = self.parts.trips.entities();
        let trip = entities.read(&self.organization, &self.trip).await.map_err(ask_error)?.state;
        let now_ms = (self.parts.clock)();
        if let Some(token) = &self.token
            && !share::may_follow(&trip, token.as_bytes(), now_ms)
        {
            return Err(invalid());
        }
        let ended = trip.phase.is_final();
        let mut seen = TripSeen {
            state: trip.phase.name(),
            ended,
            vehicle: None,
            position: None,
            next_stop: "",
            remaining_m: None,
            eta_ms: None,
        };
        if !ended {
            seen.vehicle = self.look_of(&trip.parties.vehicle)?;
        }
        if matches!(trip.phase, TripPhase::Arriving | TripPhase::Boarding | TripPhase::UnderWay) {
            self.place(&trip, now_ms, &mut seen).await;
        }
        Ok(seen)
    }
}

impl Follower {
    fn look_of(&self, vehicle: &str) -> Result<Option<VehicleLook>, BusinessError> {
        let record = self.parts.record_lists.record(&self.organization, vehicle).map_err(unavailable)?;
        Ok(record.and_then(|line| line.record.details).map(|details| VehicleLook {
            plate: details.plate,
            manufacturer: details.manufacturer,
            model: details.model,
        }))
    }

    async fn place(&mut self, trip: &Trip, now_ms: i64, seen: &mut TripSeen) {
        let Ok(vehicle) = VehicleId::new(&trip.parties.vehicle) else { return };
        let Some(twin) = self.parts.view.twin(&self.organization, &vehicle).await else { return };
        let Some((mark, position)) = mark_of(&twin) else { return };
        let next = trip.next_stop();
        let stops = trip.stops();
        self.follow(vehicle, next, next.and_then(|at| stops.get(at)), &mark, now_ms);
        self.tracking.observe(mark, position.speed_kmh);
        let Some(at) = self.tracking.seen(now_ms) else { return };
        seen.position = Some(PlaceSeen {
            latitude_e7: at.latitude_e7,
            longitude_e7: at.longitude_e7,
            heading_deg: position.heading_deg,
            speed_kmh: position.speed_kmh,
            time_ms: at.time_ms,
            stale: at.stale,
        });
        seen.next_stop = match next {
            None => "",
            Some(0) => "pick-up",
            Some(at) if at + 1 == stops.len() => "drop-off",
            Some(_) => "stop",
        };
        seen.remaining_m = at.remaining_m.map(|metres| metres.round() as u64);
        seen.eta_ms = at.eta_ms;
    }

    /// Works the way out, when it drives to another stop, or has driven for a while.
    fn follow(
        &mut self,
        vehicle: VehicleId,
        next: Option<usize>,
        stop: Option<&Stop>,
        at: &Mark,
        now_ms: i64,
    ) {
        let leg = Some((vehicle, next));
        if self.leg == leg && now_ms - self.routed_ms < limits::REROUTE_EVERY_MS {
            return;
        }
        if self.leg.is_none_or(|(before, _)| before != vehicle) {
            // What another vehicle did says nothing about this one.
            self.tracking = Tracking::default();
        }
        let here = Place { latitude_e7: at.latitude_e7, longitude_e7: at.longitude_e7 };
        let there = stop.map(|stop| Place { latitude_e7: stop.latitude_e7, longitude_e7: stop.longitude_e7 });
        self.tracking.reroute(there.and_then(|there| self.parts.dispatch.line(here, there)));
        (self.leg, self.routed_ms) = (leg, now_ms);
    }
}

/// Where a vehicle is, as a mark of which only time and place mean something, and how it moves.
fn mark_of(twin: &TwinView) -> Option<(Mark, remuda_contracts::fleet::Position)> {
    let at = twin.summary.position?;
    let sampled = twin.values.iter().find(|value| value.signal == signal::LATITUDE);
    let sampled = sampled.map(|value| value.sampled_ms).filter(|ms| *ms > 0);
    let mark = Mark {
        time_ms: sampled.unwrap_or(twin.summary.last_seen_ms),
        latitude_e7: at.latitude_e7,
        longitude_e7: at.longitude_e7,
        odometer_m: None,
        energy_wh: None,
        samples: None,
    };
    Some((mark, at))
}
