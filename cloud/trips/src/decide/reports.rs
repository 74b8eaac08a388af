//! What a vehicle's report does to a trip. Reports come late, twice, out of order, or not at all; so a report counts for what
//! it shows, not for being next: leaving a fence shows that it was entered, reaching a stop shows that the one before was
//! left. What had to be concluded is marked so, and corrected when the report itself comes.

use remuda_contracts::trips::Mark;

use super::{Decision, outcome};
use crate::command::Observation;
use crate::error::TripRefusal;
use crate::event::{AtStop, SetOff, TripEvent, VisitCorrected};
use crate::fences::{self, Fence};
use crate::limits;
use crate::state::{Seen, Trip, TripPhase};

pub(super) fn decide(
    trip: &Trip,
    vehicle: &str,
    (observation, stop): (Observation, Option<Fence>),
    mark: Mark,
    now_ms: i64,
) -> Decision {
    if trip.phase.is_final() {
        return if is_known(trip, observation, mark) { Ok(vec![]) } else { Err(TripRefusal::TripEnded) };
    }
    let Some(assigned_ms) = trip.assigned_ms else { return Err(TripRefusal::NotAssigned) };
    if trip.parties.vehicle != vehicle {
        return Err(TripRefusal::OtherVehicle(trip.parties.vehicle.clone()));
    }
    if let Some(number) = observation.stop() {
        let known = trip.stops().get(usize::from(number));
        let known = known.ok_or(TripRefusal::NoSuchStop(trip.stops().len()))?;
        if stop.is_some_and(|stop| stop != Fence::from(known)) {
            return Err(TripRefusal::StopMoved(number));
        }
    }
    if mark.time_ms > now_ms.saturating_add(limits::CLOCK_TOLERANCE_MS) {
        return Err(TripRefusal::MarkInTheFuture);
    }
    // Before it had the trip, the vehicle drove for somebody else.
    if mark.time_ms < assigned_ms - limits::CLOCK_TOLERANCE_MS {
        return Ok(vec![]);
    }
    Ok(match observation {
        Observation::SetOff => match trip.phase {
            TripPhase::Assigned => vec![TripEvent::SetOff(SetOff { mark, inferred: false })],
            _ => vec![],
        },
        Observation::Entered(stop) => entered(trip, usize::from(stop), mark),
        Observation::Left(stop) => left(trip, usize::from(stop), mark),
        Observation::AtRest => at_rest(trip, mark),
    })
}

/// The very report that made the trip what it is, or one that a later one stood in for.
fn is_known(trip: &Trip, observation: Observation, mark: Mark) -> bool {
    match observation {
        Observation::SetOff | Observation::AtRest => {
            trip.last_mark.is_some_and(|last| mark.time_ms <= last.time_ms)
        }
        Observation::Entered(stop) => {
            trip.visits.get(usize::from(stop)).is_some_and(|visit| visit.entered.is_some())
        }
        Observation::Left(stop) => {
            trip.visits.get(usize::from(stop)).is_some_and(|visit| visit.left.is_some())
        }
    }
}

fn reached(stop: usize, mark: Mark, inferred: bool) -> TripEvent {
    TripEvent::StopReached(AtStop { stop: stop as u16, mark, inferred })
}

fn gone(stop: usize, mark: Mark, inferred: bool) -> TripEvent {
    TripEvent::StopLeft(AtStop { stop: stop as u16, mark, inferred })
}

fn entered(trip: &Trip, stop: usize, mark: Mark) -> Vec<TripEvent> {
    match trip.visits[stop].entered {
        Some(Seen { inferred: true, mark: concluded }) if mark.time_ms <= concluded.time_ms => {
            return vec![correction(stop, true, mark)];
        }
        Some(_) => return vec![],
        None => {}
    }
    match trip.phase {
        // On its way to the pick-up it may cross any other fence.
        TripPhase::Assigned | TripPhase::Arriving if stop == 0 => {
            let mut events = Vec::new();
            if trip.phase == TripPhase::Assigned {
                events.push(TripEvent::SetOff(SetOff { mark, inferred: true }));
            }
            events.push(reached(0, mark, false));
            events
        }
        TripPhase::Boarding | TripPhase::UnderWay => {
            // Beyond the next stop it only passes by: a stop is given up by the rider, not by the way that is taken.
            if trip.next_stop() != Some(stop) || is_older(trip, mark) {
                return vec![];
            }
            let mut events = Vec::new();
            if let Some(standing) = trip.standing_at() {
                // One place can be in both fences: then it has not left.
                if fences::overlap(&trip.stops()[standing], &trip.stops()[stop]) {
                    return vec![];
                }
                events.push(gone(standing, mark, true));
            }
            events.push(reached(stop, mark, false));
            events
        }
        _ => vec![],
    }
}

fn left(trip: &Trip, stop: usize, mark: Mark) -> Vec<TripEvent> {
    let visit = trip.visits[stop];
    match visit.left {
        Some(Seen { inferred: true, mark: concluded }) => {
            let after_entry = visit.entered.is_none_or(|seen| seen.mark.time_ms <= mark.time_ms);
            let fits = after_entry && mark.time_ms <= concluded.time_ms;
            return if fits { vec![correction(stop, false, mark)] } else { vec![] };
        }
        Some(_) => return vec![],
        None => {}
    }
    let last = trip.stops().len() - 1;
    let mut events = Vec::new();
    match (trip.phase, visit.entered) {
        // It left earlier than it came: another visit, before this one.
        (_, Some(seen)) if mark.time_ms < seen.mark.time_ms => return vec![],
        (TripPhase::Boarding | TripPhase::UnderWay, Some(_)) if trip.standing_at() == Some(stop) => {}
        // The report of its arrival is missing.
        (TripPhase::Assigned | TripPhase::Arriving, None) if stop == 0 => {
            if trip.phase == TripPhase::Assigned {
                events.push(TripEvent::SetOff(SetOff { mark, inferred: true }));
            }
            events.push(reached(0, mark, true));
        }
        (TripPhase::UnderWay, None)
            if trip.next_stop() == Some(stop) && trip.standing_at().is_none() && !is_older(trip, mark) =>
        {
            events.push(reached(stop, mark, true));
        }
        _ => return vec![],
    }
    if stop == last {
        events.push(TripEvent::Completed(outcome::completed(trip, mark)));
    } else {
        events.push(gone(stop, mark, false));
    }
    events
}

fn at_rest(trip: &Trip, mark: Mark) -> Vec<TripEvent> {
    let last = trip.stops().len() - 1;
    let arrived = trip.visits[last].entered.is_some_and(|seen| seen.mark.time_ms <= mark.time_ms);
    if trip.phase == TripPhase::UnderWay && trip.standing_at() == Some(last) && arrived {
        return vec![TripEvent::Completed(outcome::completed(trip, mark))];
    }
    vec![]
}

fn is_older(trip: &Trip, mark: Mark) -> bool {
    trip.last_mark.is_some_and(|last| mark.time_ms < last.time_ms)
}

fn correction(stop: usize, entered: bool, mark: Mark) -> TripEvent {
    TripEvent::VisitCorrected(VisitCorrected { stop: stop as u16, entered, mark })
}
