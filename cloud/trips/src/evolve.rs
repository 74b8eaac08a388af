//! What a fact does to what is known of a trip. Cannot fail.

use remuda_contracts::trips::Mark;

use crate::event::TripEvent;
use crate::limits;
use crate::state::{Rating, Seen, Share, Trip, TripPhase, Visit};

/// Takes a fact in.
pub fn evolve(trip: &mut Trip, event: &TripEvent) {
    use TripEvent as E;
    match event {
        E::Requested(e) => {
            trip.id = e.id.clone();
            trip.phase = TripPhase::Requested;
            trip.parties = e.parties.clone();
            trip.visits = vec![Visit::default(); e.plan.stops.len()];
            trip.plan = Some(e.plan.clone());
            trip.requested_ms = e.time_ms;
        }
        E::Assigned(e) => {
            trip.phase = TripPhase::Assigned;
            trip.parties.vehicle = e.vehicle.clone();
            trip.parties.driver = e.driver.clone();
            trip.assigned_ms = Some(e.time_ms);
            trip.last_mark = None;
        }
        E::Unassigned(_) => {
            trip.phase = TripPhase::Requested;
            trip.parties.vehicle.clear();
            trip.parties.driver = None;
            trip.assigned_ms = None;
            trip.last_mark = None;
        }
        E::SetOff(e) => {
            trip.phase = TripPhase::Arriving;
            heard(trip, e.mark);
        }
        E::StopReached(e) => {
            if let Some(visit) = trip.visits.get_mut(usize::from(e.stop)) {
                visit.entered = Some(Seen { mark: e.mark, inferred: e.inferred });
            }
            if e.stop == 0 {
                trip.phase = TripPhase::Boarding;
            }
            heard(trip, e.mark);
        }
        E::StopLeft(e) => {
            if let Some(visit) = trip.visits.get_mut(usize::from(e.stop)) {
                visit.left = Some(Seen { mark: e.mark, inferred: e.inferred });
            }
            trip.phase = TripPhase::UnderWay;
            heard(trip, e.mark);
        }
        E::VisitCorrected(e) => {
            if let Some(visit) = trip.visits.get_mut(usize::from(e.stop)) {
                let seen = Some(Seen { mark: e.mark, inferred: false });
                if e.entered {
                    visit.entered = seen;
                } else {
                    visit.left = seen;
                }
            }
        }
        E::StopsChanged(e) => {
            if let Some(plan) = &mut trip.plan {
                plan.stops.truncate(usize::from(e.from));
                plan.stops.extend(e.stops.iter().cloned());
                plan.planned_distance_m = e.planned_distance_m;
                trip.visits.truncate(usize::from(e.from));
                trip.visits.resize(plan.stops.len(), Visit::default());
            }
        }
        E::Concluded(_) => {}
        E::Completed(e) => {
            trip.phase = TripPhase::Completed;
            trip.ended_ms = Some(e.end.time_ms);
            let seen = Some(Seen { mark: e.end, inferred: false });
            if let Some(visit) = trip.visits.last_mut() {
                visit.entered = visit.entered.or(seen);
                visit.left = seen;
            }
            heard(trip, e.end);
        }
        E::Cancelled(e) | E::NoShow(e) => {
            let no_show = matches!(event, E::NoShow(_));
            trip.phase = if no_show { TripPhase::NoShow } else { TripPhase::Cancelled };
            trip.id = e.trip.clone();
            trip.ended_ms = Some(e.time_ms);
        }
        E::Rated(e) => {
            let rated_ms = trip.rating.as_ref().map_or(e.time_ms, |known| known.rated_ms);
            let (stars, comment) = (e.stars, e.comment.clone());
            trip.rating = Some(Rating { stars, comment, rated_ms, changed_ms: e.time_ms });
        }
        E::Shared(e) => {
            trip.shares.retain(|share| share.token_hash != e.token_hash);
            trip.shares.push(Share { token_hash: e.token_hash, expires_ms: e.expires_ms });
            if trip.shares.len() > limits::SHARES_MAX {
                // The one that ends first: decide let this one in because that one is over.
                let first = (0..trip.shares.len()).min_by_key(|&at| trip.shares[at].expires_ms);
                first.map(|at| trip.shares.remove(at));
            }
        }
        E::Unshared(e) => trip.shares.retain(|share| share.token_hash != e.token_hash),
    }
}

fn heard(trip: &mut Trip, mark: Mark) {
    if trip.last_mark.is_none_or(|last| last.time_ms <= mark.time_ms) {
        trip.last_mark = Some(mark);
    }
}
