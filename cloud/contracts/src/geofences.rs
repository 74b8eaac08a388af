//! Geofences of an organisation: what people say to the vehicle domain about places, and what it answers.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use remuda_model::{OrganizationId, VehicleId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A geofence of an organisation: `[a-z][a-z0-9-]{0,39}`. Short, inline, copyable, since each crossing names one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GeofenceId {
    // Padded with zeros, so that the derived order is that of the text.
    bytes: [u8; Self::MAX_LEN],
    length: u8,
}

/// A text that is no geofence's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a geofence's id has 1 to 40 lower-case letters, digits and hyphens, the first one a letter")]
pub struct NoGeofenceId;

impl GeofenceId {
    /// Longest text, bytes.
    pub const MAX_LEN: usize = 40;

    /// Checks and copies a text.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(text: &str) -> Result<Self, NoGeofenceId> {
        let permitted = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=Self::MAX_LEN).contains(&text.len()) && text.as_bytes()[0].is_ascii_lowercase();
        if !fits || !text.bytes().all(permitted) {
            return Err(NoGeofenceId);
        }
        let mut bytes = [0; Self::MAX_LEN];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length: text.len() as u8 })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Checked to be ASCII, so this never takes the default.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Display for GeofenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for GeofenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for GeofenceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for GeofenceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = GeofenceId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a geofence's id")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<GeofenceId, E> {
                GeofenceId::new(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// What a geofence is for. Variants are only ever added at the end: they stand in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GeofenceKind {
    /// Whoever was in it shall stay: leaving raises an alert, coming back clears it.
    KeepIn,
    /// Nobody shall be in it: entering raises an alert, leaving clears it.
    KeepOut,
    /// Good to know: an alert of severity info as long as a vehicle is in it.
    Notify,
}

impl GeofenceKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::KeepIn, Self::KeepOut, Self::Notify];

    /// The word in ids, metrics and files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeepIn => "keep-in",
            Self::KeepOut => "keep-out",
            Self::Notify => "notify",
        }
    }
}

/// A place on the earth, 1e-7 degrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// North of the equator.
    pub latitude_e7: i32,
    /// East of Greenwich, -180 to 180 degrees.
    pub longitude_e7: i32,
}

/// Where a geofence is. Variants are only ever added at the end: they stand in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GeofenceShape {
    /// Everything within a distance of a place.
    Circle {
        /// The place.
        centre: Place,
        /// The distance, m.
        radius_m: u32,
    },
    /// Everything within a ring of straight lines on the plate carrée, as GeoJSON has them; the last place is joined to the first.
    Polygon(Vec<Place>),
}

/// Whom a geofence is for. Variants are only ever added at the end: they stand in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GeofencePart {
    /// Every vehicle of the organisation.
    Organization,
    /// The vehicles of a fleet.
    Fleet(String),
    /// The vehicles of a depot.
    Depot(String),
}

/// What people say of a geofence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeofenceSpec {
    /// What people call it, at most 100 characters.
    pub display_name: String,
    /// Whom it is for.
    pub part: GeofencePart,
    /// What it is for.
    pub kind: GeofenceKind,
    /// Where it is.
    pub shape: GeofenceShape,
    /// How long a vehicle must be in, or out, before it counts, s.
    pub dwell_s: u32,
    /// How far beyond its edge a vehicle must be to have left it, m.
    pub hysteresis_m: u32,
    /// Whether anything follows from it.
    pub enabled: bool,
}

/// A geofence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Geofence {
    /// Unique in its organisation.
    pub id: GeofenceId,
    /// What people say of it.
    pub spec: GeofenceSpec,
    /// Grows with every change, and is never given twice to fences of one name: its etag.
    pub revision: u64,
    /// When it was made, ms since 1970 UTC.
    pub created_ms: i64,
    /// When it was changed last, ms since 1970 UTC.
    pub changed_ms: i64,
    /// Who changed it last.
    pub changed_by: String,
    /// The last change's own name for itself; empty when it had none.
    pub request_id: String,
}

/// What is to change of a geofence; what is not said stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GeofencePatch {
    /// See [`GeofenceSpec`], here and below.
    pub display_name: Option<String>,
    /// Whom it is for.
    pub part: Option<GeofencePart>,
    /// What it is for.
    pub kind: Option<GeofenceKind>,
    /// Where it is.
    pub shape: Option<GeofenceShape>,
    /// Dwell, s.
    pub dwell_s: Option<u32>,
    /// Hysteresis, m.
    pub hysteresis_m: Option<u32>,
    /// Whether anything follows from it.
    pub enabled: Option<bool>,
}

/// What somebody wants of the geofences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GeofenceChange {
    /// One more.
    Create(GeofenceSpec),
    /// Another one.
    Update(GeofencePatch),
    /// None any more.
    Delete,
}

/// Whether somebody may see and change what is of a part of the organisation.
pub type Sees<'a> = &'a (dyn Fn(&GeofencePart) -> bool + Send + Sync);

/// A change as somebody asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeofenceRequest {
    /// Which geofence.
    pub id: GeofenceId,
    /// What.
    pub change: GeofenceChange,
    /// Who.
    pub by: String,
    /// Makes a repetition recognisable, at most 64 bytes; empty when nobody will repeat it.
    pub request_id: String,
    /// The revision that they saw; none when any will do.
    pub expected: Option<u64>,
    /// Only say what would become of it.
    pub validate_only: bool,
}

/// Why a change is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeofenceRefusal {
    /// There is none, or it is not theirs.
    #[error("there is no geofence `{0}`; list geofences to see which there are")]
    NoSuchGeofence(GeofenceId),
    /// The id is taken.
    #[error("there is a geofence `{0}` already, of whatever part of the organization; choose another id")]
    Exists(GeofenceId),
    /// It was changed meanwhile.
    #[error("the geofence was changed meanwhile; read it again")]
    Changed,
    /// The last change had this request id and said something else.
    #[error("another request with this id said something else; use a new request id")]
    RequestIdReused,
    /// A value that cannot be: the field and why.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Why.
        problem: String,
    },
    /// A bound is reached.
    #[error("an organization has at most {0} geofences; delete one first")]
    TooMany(usize),
    /// The part is not theirs.
    #[error("your role does not reach this part of the organization; name a fleet or depot that it is on")]
    OutOfReach,
    /// The journal did not take it, or it is not known whether it did.
    #[error("the change could not be made durable; try again with the same request id")]
    Unavailable,
}

/// A vehicle in a geofence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GeofenceVisit {
    /// Which vehicle.
    pub vehicle: VehicleId,
    /// Since when, by the samples that told of it, ms since 1970 UTC; none while it does not count yet, 0 when its clock was not known.
    pub since_ms: Option<i64>,
}

/// The vehicle domain's book of geofences.
#[async_trait]
pub trait GeofenceBook: Send + Sync + 'static {
    /// One geofence.
    fn get(&self, organization: &OrganizationId, id: &GeofenceId) -> Option<Arc<Geofence>>;

    /// Geofences by id, after one, at most `limit` that `matches` accepts.
    fn list(
        &self,
        organization: &OrganizationId,
        after: Option<&GeofenceId>,
        limit: usize,
        matches: &(dyn Fn(&Geofence) -> bool + Sync),
    ) -> Vec<Arc<Geofence>>;

    /// Makes a change durable; answers the geofence as it is then, or was when it is gone.
    ///
    /// # Errors
    /// Why it was not made.
    async fn change(
        &self,
        organization: &OrganizationId,
        request: GeofenceRequest,
        sees: Sees<'_>,
    ) -> Result<Arc<Geofence>, GeofenceRefusal>;

    /// Vehicles whose newest position is in a geofence, by id, after one, at most `limit` that `matches` accepts; none for a
    /// geofence that is not there. It may read where vehicles belong from a disk.
    fn vehicles(
        &self,
        organization: &OrganizationId,
        id: &GeofenceId,
        after: Option<&VehicleId>,
        limit: usize,
        matches: &(dyn Fn(&VehicleId) -> bool + Sync),
    ) -> Option<Vec<GeofenceVisit>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_words() {
        assert_eq!(GeofenceId::new("yard-7").map(|id| id.to_string()), Ok("yard-7".into()));
        for text in ["", "7yard", "-yard", "Yard", "yard/7", "yärd", &"y".repeat(41)] {
            assert_eq!(GeofenceId::new(text), Err(NoGeofenceId), "{text}");
        }
        assert!(GeofenceId::new("a").unwrap() < GeofenceId::new("a-").unwrap());
    }
}
