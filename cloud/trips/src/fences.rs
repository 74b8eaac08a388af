//! Fences around stops: what a trip gives its vehicle to watch, or the cloud where the vehicle cannot. Pure; how a fence counts
//! stands in `remuda-fences`, which the vehicle uses too.

use remuda_contracts::trips::{Mark, SamplesAt};
pub(crate) use remuda_fences::offset_m;
pub use remuda_fences::{Fence, Sight, TripPlace, Watch, distance_m, energy_wh};

use crate::state::{Stop, Trip, TripPhase};

impl From<&Stop> for Fence {
    fn from(stop: &Stop) -> Self {
        let Stop { latitude_e7, longitude_e7, radius_m, .. } = *stop;
        Self { latitude_e7, longitude_e7, radius_m }
    }
}

/// Can one place be in both fences?
pub fn overlap(a: &Stop, b: &Stop) -> bool {
    remuda_fences::overlap(&a.into(), &b.into())
}

/// The fences of a trip's stops.
pub fn fences_of(trip: &Trip) -> Vec<Fence> {
    trip.stops().iter().map(Fence::from).collect()
}

/// How far its vehicle has come, as far as the trip knows.
pub fn place_of(trip: &Trip) -> TripPlace {
    let stop = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
    TripPlace {
        next: trip.next_stop().map_or_else(|| stop(trip.stops().len()), stop),
        inside: trip.standing_at().map(stop),
        moving: matches!(trip.phase, TripPhase::UnderWay | TripPhase::Arriving),
    }
}

/// Goes on with a trip that was watched before: after a restart, or by somebody else.
pub fn resuming(trip: &Trip) -> Watch {
    Watch::from(place_of(trip), trip.last_mark.map(|mark| mark.time_ms))
}

/// What a vehicle said of itself at a moment whose time is server time.
pub fn mark_of(sight: &Sight) -> Mark {
    Mark {
        time_ms: sight.at_ms,
        latitude_e7: sight.latitude_e7,
        longitude_e7: sight.longitude_e7,
        odometer_m: sight.odometer_m,
        energy_wh: sight.energy_wh,
        samples: sight.samples.map(|(incarnation, seq)| SamplesAt { incarnation: incarnation.0, seq }),
    }
}
