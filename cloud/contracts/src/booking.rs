//! The input of a booking saga (`config/sagas/trip-booking.yml`), as JSON: what each of its services needs to know. Each takes
//! its own part and passes the rest over.

use serde::{Deserialize, Serialize};

use crate::money::Money;
use crate::sealed::Sealed;

/// A place to halt at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookingStop {
    /// 1e-7 degrees, north positive.
    pub latitude_e7: i32,
    /// 1e-7 degrees, east positive.
    pub longitude_e7: i32,
    /// Radius of the fence around it, m.
    #[serde(default = "radius_m")]
    pub radius_m: u16,
    /// What the rider calls it, sealed under their key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Sealed>,
}

const fn radius_m() -> u16 {
    50
}

/// Somebody books a ride.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// Who rides.
    pub rider: String,
    /// What is set aside of their credits.
    pub price: Money,
    /// Vehicles that may take it, the best first; the first that is free gets it.
    pub vehicles: Vec<String>,
    /// Pick-up first, drop-off last.
    pub stops: Vec<BookingStop>,
    /// Length of the route as planned, m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_distance_m: Option<u64>,
    /// The quote that the price comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote_id: Option<String>,
    /// Who drives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    /// Depot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depot: Option<String>,
}

/// The service that holds credits.
pub const USER_SERVICE: &str = "user-service";
/// The service that holds vehicles.
pub const VEHICLE_SERVICE: &str = "vehicle-service";
/// The service that makes trips.
pub const TRIP_SERVICE: &str = "trip-service";
/// The step, and the action, by which a vehicle is reserved; its answer is `{"vehicle": id}`.
pub const RESERVE_VEHICLE: &str = "reserve-vehicle";
