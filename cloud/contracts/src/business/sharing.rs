//! Trips that others follow: links with which somebody without an account sees where a trip is, and what they see.

use std::fmt;

use async_trait::async_trait;
use remuda_model::OrganizationId;

use super::{Asker, BusinessError};

/// What every token of a share link begins with, so that it is told from other tokens.
pub const SHARE_TOKEN_PREFIX: &str = "share-";
/// Code of the refusal for a token that opens nothing: wrong, run out, taken back, or of another trip; nobody is told which.
pub const SHARE_INVALID: &str = "share-invalid";

/// A link with which others may follow a trip. Its token is not known any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareView {
    /// Its id in its trip.
    pub id: String,
    /// When it ends, ms since 1970 UTC.
    pub expires_ms: i64,
}

/// A link that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewShare {
    /// The link.
    pub share: ShareView,
    /// Opens it. Said once; kept nowhere.
    pub token: String,
}

impl fmt::Debug for NewShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewShare").field("share", &self.share).finish_non_exhaustive()
    }
}

/// What a vehicle is known by in the street.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VehicleLook {
    /// Number plate.
    pub plate: Option<String>,
    /// Who made it.
    pub manufacturer: String,
    /// What they call it.
    pub model: String,
}

/// Where the vehicle of a trip is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlaceSeen {
    /// 1e-7 degrees, north positive.
    pub latitude_e7: i32,
    /// 1e-7 degrees, east positive.
    pub longitude_e7: i32,
    /// Degrees clockwise from north.
    pub heading_deg: f32,
    /// km/h.
    pub speed_kmh: f32,
    /// When it was there, ms since 1970 UTC.
    pub time_ms: i64,
    /// Nothing newer has come for a while.
    pub stale: bool,
}

/// What somebody who follows a trip sees: nothing of any person, and of no other trip.
#[derive(Debug, Clone, PartialEq)]
pub struct TripSeen {
    /// As in [`TripView::state`](super::TripView::state).
    pub state: &'static str,
    /// Nothing changes any more.
    pub ended: bool,
    /// Which vehicle comes, once one has the trip and until it has ended; none when it is not on record.
    pub vehicle: Option<VehicleLook>,
    /// Where it is, from when it sets out for the pick-up until the trip ends.
    pub position: Option<PlaceSeen>,
    /// Where it drives next: `pick-up`, `stop`, `drop-off`; empty when nowhere.
    pub next_stop: &'static str,
    /// Left to drive to there, m.
    pub remaining_m: Option<u64>,
    /// When it arrives there, ms since 1970 UTC.
    pub eta_ms: Option<i64>,
}

/// Follows one trip.
#[async_trait]
pub trait TripFollower: Send {
    /// How it stands now. Refused with [`SHARE_INVALID`] as soon as the link has ended.
    async fn look(&mut self) -> Result<TripSeen, BusinessError>;
}

/// Share links of trips.
#[async_trait]
pub trait SharingDesk: Send + Sync + 'static {
    /// Makes a link that lasts `valid_ms`, or as long as may be. Each call makes another one.
    async fn share_trip(
        &self,
        organization: &OrganizationId,
        trip: &str,
        valid_ms: Option<i64>,
        asker: Asker,
    ) -> Result<NewShare, BusinessError>;

    /// Takes a link back.
    async fn revoke_share(
        &self,
        organization: &OrganizationId,
        trip: &str,
        share: &str,
        asker: Asker,
    ) -> Result<(), BusinessError>;

    /// The links that open a trip now.
    async fn trip_shares(
        &self,
        organization: &OrganizationId,
        trip: &str,
    ) -> Result<Vec<ShareView>, BusinessError>;

    /// Follows a trip: with a link's token, or without one who may see trips anyway.
    async fn follow_trip(
        &self,
        organization: &OrganizationId,
        trip: &str,
        token: Option<&str>,
    ) -> Result<Box<dyn TripFollower>, BusinessError>;
}
