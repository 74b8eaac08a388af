//! How a booking becomes a trip: two ways, and a flag that routes a share of the riders to the second, and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use remuda_contracts::booking::{Booking, BookingStop};
use remuda_contracts::trips::{QuoteReference, TripParties};
use remuda_flags::{EvaluationContext, FlagFile};

use crate::TripCommand;
use crate::fences;
use crate::state::{Plan, Stop, Terms};

/// Makes a trip's request out of a booking.
pub trait MakeTrip: Send + Sync + 'static {
    /// The command; `vehicle` is reserved already.
    ///
    /// # Errors
    /// A sentence that says what of the booking cannot be.
    fn make(&self, id: &str, booking: Booking, vehicle: String) -> Result<TripCommand, String>;
}

/// As it was booked.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainTrip {
    /// What is agreed on.
    pub terms: Terms,
}

impl MakeTrip for PlainTrip {
    fn make(&self, id: &str, booking: Booking, vehicle: String) -> Result<TripCommand, String> {
        let quote = booking.quote_id.map(|quote_id| QuoteReference { quote_id, price: booking.price });
        Ok(TripCommand::Request {
            id: id.to_owned(),
            parties: TripParties {
                rider: booking.rider,
                vehicle,
                driver: booking.driver,
                fleet: booking.fleet,
                depot: booking.depot,
            },
            plan: Plan {
                stops: booking.stops.into_iter().map(stop).collect(),
                planned_distance_m: booking.planned_distance_m,
                terms: self.terms,
                quote,
                hold_key: Some(id.to_owned()),
            },
        })
    }
}

fn stop(stop: BookingStop) -> Stop {
    let BookingStop { latitude_e7, longitude_e7, radius_m, label } = stop;
    Stop { latitude_e7, longitude_e7, radius_m, label }
}

/// Without stops in between that lie in the fence of the one before: the vehicle would have to leave and come back for them.
#[derive(Debug, Clone, Copy, Default)]
pub struct MergingTrip(pub PlainTrip);

impl MakeTrip for MergingTrip {
    fn make(&self, id: &str, mut booking: Booking, vehicle: String) -> Result<TripCommand, String> {
        let all = std::mem::take(&mut booking.stops);
        let last = all.len().saturating_sub(1);
        for (at, next) in all.into_iter().enumerate() {
            let inside = booking.stops.last().is_some_and(|before: &BookingStop| {
                let apart = fences::distance_m(
                    (before.latitude_e7, before.longitude_e7),
                    (next.latitude_e7, next.longitude_e7),
                );
                apart <= f64::from(before.radius_m)
            });
            if at == 0 || at == last || !inside {
                booking.stops.push(next);
            }
        }
        self.0.make(id, booking, vehicle)
    }
}

/// The flag's name; its variants name the ways. It may decide by the rider (`targetingKey`), `fleet` and `depot`.
pub const TRIP_CREATION: &str = "trip-creation";

/// One way or another, as the flag says for the rider. A saga's step that is tried again may find the flag changed: the first
/// try counts, since a trip's request is idempotent by its key.
pub struct FlaggedTrip {
    flags: Arc<FlagFile>,
    ways: BTreeMap<&'static str, Arc<dyn MakeTrip>>,
    otherwise: Arc<dyn MakeTrip>,
}

impl FlaggedTrip {
    /// `plain` and `merging`; `plain` where the flag says nothing, or nothing that is known.
    pub fn new(flags: Arc<FlagFile>, terms: Terms) -> Self {
        let plain: Arc<dyn MakeTrip> = Arc::new(PlainTrip { terms });
        let merging: Arc<dyn MakeTrip> = Arc::new(MergingTrip(PlainTrip { terms }));
        Self {
            flags,
            ways: BTreeMap::from([("plain", Arc::clone(&plain)), ("merging", merging)]),
            otherwise: plain,
        }
    }
}

impl MakeTrip for FlaggedTrip {
    fn make(&self, id: &str, booking: Booking, vehicle: String) -> Result<TripCommand, String> {
        let mut about = EvaluationContext::about(&booking.rider);
        for (name, value) in [("fleet", &booking.fleet), ("depot", &booking.depot)] {
            if let Some(value) = value {
                about = about.with(name, value.as_str());
            }
        }
        let way = self.flags.flags().string(TRIP_CREATION, "plain", &about);
        tracing::debug!(trip_id = id, way = way.value, reason = ?way.reason, "how a trip is made");
        self.ways.get(way.value.as_str()).unwrap_or(&self.otherwise).make(id, booking, vehicle)
    }
}
