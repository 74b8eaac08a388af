//! What a trip amounted to, from the vehicle's own marks.

use remuda_contracts::trips::{DistanceSource, Mark, TripCompleted};

use crate::fences;
use crate::state::Trip;

/// The figures of a trip that ends with this mark.
pub(super) fn completed(trip: &Trip, end: Mark) -> TripCompleted {
    let start = start(trip).unwrap_or(end);
    let (distance_m, distance_source) = distance(trip, start, end);
    TripCompleted {
        trip: trip.id.clone(),
        parties: trip.parties.clone(),
        requested_ms: trip.requested_ms,
        start,
        end,
        distance_m,
        distance_source,
        duration_ms: (end.time_ms - start.time_ms).max(0),
        energy_wh: start.energy_wh.zip(end.energy_wh).map(|(before, after)| before - after),
        waiting_ms: trip.waiting_ms(),
        stops: trip.stops().len().saturating_sub(2) as u16,
        quote: trip.plan.as_ref().and_then(|plan| plan.quote.clone()),
        hold_key: trip.plan.as_ref().and_then(|plan| plan.hold_key.clone()),
    }
}

/// Leaving the pick-up. Where that was only concluded from a later report, arriving there is nearer to the truth: the vehicle
/// stood in between.
fn start(trip: &Trip) -> Option<Mark> {
    let visit = trip.visits.first()?;
    match (visit.entered, visit.left) {
        (Some(entered), Some(left)) if left.inferred => Some(entered.mark),
        (_, left) => left.map(|seen| seen.mark),
    }
}

fn distance(trip: &Trip, start: Mark, end: Mark) -> (u64, DistanceSource) {
    if let (Some(from), Some(to)) = (start.odometer_m, end.odometer_m)
        // An odometer that runs back was replaced: it says nothing about this trip.
        && to >= from
    {
        return (to - from, DistanceSource::Odometer);
    }
    if let Some(planned_m) = trip.plan.as_ref().and_then(|plan| plan.planned_distance_m) {
        return (planned_m, DistanceSource::Planned);
    }
    let between: f64 = trip
        .stops()
        .windows(2)
        .map(|pair| {
            let place = |at: usize| (pair[at].latitude_e7, pair[at].longitude_e7);
            fences::distance_m(place(0), place(1))
        })
        .sum();
    (between.round() as u64, DistanceSource::StraightLine)
}
