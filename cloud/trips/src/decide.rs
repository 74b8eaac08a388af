//! What follows from a wish or a report, given what is known of a trip.

use remuda_contracts::sealed::Sealed;
use remuda_contracts::trips::{CancellationFee, CancelledBy, Mark, TripCancelled, TripParties};
use remuda_eventsourcing::Context;

use crate::command::TripCommand;
use crate::error::TripRefusal;
use crate::event::{
    Assigned, Concluded, Rated, Requested, Shared, StopsChanged, TripEvent, Unassigned, Unshared,
};
use crate::limits;
use crate::state::{Plan, Stop, Terms, Trip, TripPhase};

mod outcome;
mod reports;

type Decision = Result<Vec<TripEvent>, TripRefusal>;

/// The facts that follow; none when it is already so, or when a report says nothing about the trip.
///
/// # Errors
/// When the rules of [`TripRefusal`] forbid it.
pub fn decide(trip: &Trip, command: &TripCommand, context: &Context) -> Decision {
    let now_ms = context.now_ms;
    match command {
        TripCommand::Request { id, parties, plan } => request(trip, id, parties, plan, now_ms),
        TripCommand::Cancel { id, by, reason } => cancel(trip, id, *by, reason, context),
        _ if trip.phase == TripPhase::Unknown => Err(TripRefusal::NoSuchTrip),
        TripCommand::Assign { vehicle, driver } => assign(trip, vehicle, driver.as_deref(), now_ms),
        TripCommand::Unassign { reason } => unassign(trip, reason),
        TripCommand::Report { vehicle, observation, stop, mark } => {
            reports::decide(trip, vehicle, (*observation, *stop), *mark, now_ms)
        }
        TripCommand::ChangeStops { from, stops, planned_distance_m } => {
            change_stops(trip, *from, stops, *planned_distance_m)
        }
        TripCommand::Conclude { reason, mark } => conclude(trip, reason, *mark, context),
        TripCommand::Sweep => Ok(sweep(trip, context)),
        TripCommand::Rate { rider, stars, comment } => rate(trip, rider, *stars, comment.as_ref(), now_ms),
        TripCommand::Share { token_hash, expires_ms } => share(trip, *token_hash, *expires_ms, now_ms),
        TripCommand::Unshare { token_hash } => {
            let known = trip.shares.iter().any(|share| share.token_hash == *token_hash);
            Ok(if known { vec![TripEvent::Unshared(Unshared { token_hash: *token_hash })] } else { vec![] })
        }
    }
}

fn request(trip: &Trip, id: &str, parties: &TripParties, plan: &Plan, now_ms: i64) -> Decision {
    if trip.phase != TripPhase::Unknown {
        let Some(known) = &trip.plan else { return Err(TripRefusal::TripCancelled) };
        let same = trip.id == id && trip.parties.rider == parties.rider && known == plan;
        return if same { Ok(vec![]) } else { Err(TripRefusal::TripExists) };
    }
    text(id, "a trip's id has 1 to 256 bytes")?;
    text(&parties.rider, "a trip has a rider")?;
    check_parties(parties)?;
    check_stops(&plan.stops, 0)?;
    check_terms(&plan.terms)?;
    check_distance(plan.planned_distance_m)?;
    if plan.hold_key.as_ref().is_some_and(|key| key.is_empty() || key.len() > limits::TEXT_BYTES_MAX) {
        return Err(TripRefusal::BadValue("a hold's key has 1 to 256 bytes"));
    }
    if plan.quote.as_ref().is_some_and(|quote| quote.quote_id.len() > limits::TEXT_BYTES_MAX) {
        return Err(TripRefusal::BadValue("a quote's id has at most 256 bytes"));
    }
    let nobody_yet = TripParties { vehicle: String::new(), driver: None, ..parties.clone() };
    let mut events = vec![TripEvent::Requested(Requested {
        id: id.into(),
        parties: nobody_yet,
        plan: plan.clone(),
        time_ms: now_ms,
    })];
    if !parties.vehicle.is_empty() {
        events.push(TripEvent::Assigned(Assigned {
            vehicle: parties.vehicle.clone(),
            driver: parties.driver.clone(),
            time_ms: now_ms,
        }));
    }
    Ok(events)
}

fn assign(trip: &Trip, vehicle: &str, driver: Option<&str>, now_ms: i64) -> Decision {
    open(trip)?;
    text(vehicle, "a vehicle's id has 1 to 256 bytes")?;
    if driver.is_some_and(|driver| driver.is_empty() || driver.len() > limits::TEXT_BYTES_MAX) {
        return Err(TripRefusal::BadValue("a driver's id has 1 to 256 bytes"));
    }
    if trip.parties.vehicle == vehicle && trip.parties.driver.as_deref() == driver {
        return Ok(vec![]);
    }
    if trip.phase >= TripPhase::Boarding {
        return Err(TripRefusal::AlreadyBoarding);
    }
    Ok(vec![TripEvent::Assigned(Assigned {
        vehicle: vehicle.into(),
        driver: driver.map(str::to_owned),
        time_ms: now_ms,
    })])
}

fn unassign(trip: &Trip, reason: &str) -> Decision {
    open(trip)?;
    text(reason, "say in 1 to 256 bytes why")?;
    match trip.phase {
        TripPhase::Requested => Ok(vec![]),
        TripPhase::Assigned | TripPhase::Arriving => Ok(vec![TripEvent::Unassigned(Unassigned {
            vehicle: trip.parties.vehicle.clone(),
            reason: reason.into(),
        })]),
        _ => Err(TripRefusal::AlreadyBoarding),
    }
}

fn change_stops(trip: &Trip, from: u16, stops: &[Stop], planned_distance_m: Option<u64>) -> Decision {
    open(trip)?;
    let from = usize::from(from);
    let known = trip.stops();
    if from > known.len() {
        return Err(TripRefusal::NoSuchStop(known.len()));
    }
    match trip.next_stop() {
        Some(next) if from >= next => {}
        _ => return Err(TripRefusal::StopPassed(from)),
    }
    check_stops(stops, from)?;
    check_distance(planned_distance_m)?;
    if known[from..] == *stops {
        return Ok(vec![]);
    }
    Ok(vec![TripEvent::StopsChanged(StopsChanged {
        from: from as u16,
        stops: stops.to_vec(),
        planned_distance_m,
    })])
}

fn cancel(trip: &Trip, id: &str, by: CancelledBy, reason: &str, context: &Context) -> Decision {
    text(id, "a trip's id has 1 to 256 bytes")?;
    text(reason, "say in 1 to 256 bytes why")?;
    match (trip.phase, by) {
        // Its request may still come: this bars it.
        (TripPhase::Unknown, CancelledBy::System) => {}
        (TripPhase::Unknown, _) => return Err(TripRefusal::NoSuchTrip),
        (TripPhase::Cancelled, _) | (TripPhase::NoShow, CancelledBy::System) => return Ok(vec![]),
        (TripPhase::Completed | TripPhase::NoShow, _) => return Err(TripRefusal::TripEnded),
        (TripPhase::UnderWay, CancelledBy::Rider | CancelledBy::Driver) => return Err(TripRefusal::UnderWay),
        _ => {}
    }
    let since_assigned_ms = trip.assigned_ms.map(|assigned_ms| (context.now_ms - assigned_ms).max(0));
    let late = since_assigned_ms.is_some_and(|since_ms| since_ms > trip.terms().free_cancellation_ms);
    let fee = match by {
        CancelledBy::Rider if late => CancellationFee::LateCancellation,
        _ => CancellationFee::None,
    };
    let facts = cancelled(trip, by, reason, fee, context.now_ms);
    Ok(vec![TripEvent::Cancelled(TripCancelled { trip: id.into(), ..facts })])
}

fn cancelled(trip: &Trip, by: CancelledBy, reason: &str, fee: CancellationFee, now_ms: i64) -> TripCancelled {
    let start = trip.visits.first().and_then(|visit| visit.left);
    let waited_ms = match trip.visits.first().and_then(|visit| visit.entered) {
        Some(entered) => start.map_or(now_ms, |left| left.mark.time_ms) - entered.mark.time_ms,
        None => 0,
    };
    let driven_m = match (
        start.and_then(|seen| seen.mark.odometer_m),
        trip.last_mark.and_then(|mark| mark.odometer_m),
    ) {
        (Some(from), Some(to)) => to.saturating_sub(from),
        _ => 0,
    };
    TripCancelled {
        trip: trip.id.clone(),
        parties: trip.parties.clone(),
        by,
        reason: reason.into(),
        fee,
        time_ms: now_ms,
        since_assigned_ms: trip.assigned_ms.map(|assigned_ms| (now_ms - assigned_ms).max(0)),
        waited_ms: waited_ms.max(0),
        driven_m,
        quote: trip.plan.as_ref().and_then(|plan| plan.quote.clone()),
        hold_key: trip.plan.as_ref().and_then(|plan| plan.hold_key.clone()),
    }
}

fn conclude(trip: &Trip, reason: &str, mark: Option<Mark>, context: &Context) -> Decision {
    open(trip)?;
    text(reason, "say in 1 to 256 bytes why")?;
    if trip.phase != TripPhase::UnderWay {
        return Err(TripRefusal::NotUnderWay);
    }
    let end = mark.or(trip.last_mark).ok_or(TripRefusal::NotUnderWay)?;
    if end.time_ms > context.now_ms + limits::CLOCK_TOLERANCE_MS {
        return Err(TripRefusal::MarkInTheFuture);
    }
    Ok(vec![
        TripEvent::Concluded(Concluded { by: context.actor.clone(), reason: reason.into() }),
        TripEvent::Completed(outcome::completed(trip, end)),
    ])
}

/// Time has passed: what waits too long ends. A vehicle that vanished must not keep rider and credits for ever.
fn sweep(trip: &Trip, context: &Context) -> Vec<TripEvent> {
    let now_ms = context.now_ms;
    let Some(due_ms) = trip.due_ms().filter(|due_ms| *due_ms <= now_ms) else { return vec![] };
    let called_off = |reason: &str, fee| cancelled(trip, CancelledBy::System, reason, fee, now_ms);
    let none = CancellationFee::None;
    match (trip.phase, trip.last_mark) {
        (TripPhase::Requested, _) => vec![TripEvent::Cancelled(called_off("no-vehicle-in-time", none))],
        // Its vehicle was out of reach all that time: nobody knows whether it or the rider came, so nobody pays for that.
        (TripPhase::Assigned | TripPhase::Arriving | TripPhase::Boarding, _)
            if now_ms >= due_ms + trip.phase.away_ms() =>
        {
            vec![TripEvent::Cancelled(called_off("vehicle-fell-silent", none))]
        }
        (TripPhase::Assigned | TripPhase::Arriving, _) => {
            vec![TripEvent::Cancelled(called_off("vehicle-did-not-come", none))]
        }
        (TripPhase::Boarding, _) => {
            vec![TripEvent::NoShow(called_off("no-show", CancellationFee::NoShow))]
        }
        // As far as the vehicle told: that is what can be asked money for.
        (TripPhase::UnderWay, Some(mark)) => vec![
            TripEvent::Concluded(Concluded {
                by: context.actor.clone(),
                reason: "vehicle-fell-silent".into(),
            }),
            TripEvent::Completed(outcome::completed(trip, mark)),
        ],
        _ => vec![],
    }
}

fn rate(trip: &Trip, rider: &str, stars: u8, comment: Option<&Sealed>, now_ms: i64) -> Decision {
    let ended_ms = match trip.phase {
        TripPhase::Completed => trip.ended_ms.unwrap_or(now_ms),
        _ => return Err(TripRefusal::NotCompleted),
    };
    if *rider != trip.parties.rider {
        return Err(TripRefusal::NotTheRider);
    }
    if !(1..=5).contains(&stars) {
        return Err(TripRefusal::BadValue("a rating has 1 to 5 stars"));
    }
    if comment.is_some_and(|comment| comment.as_bytes().len() > limits::SEALED_BYTES_MAX) {
        return Err(TripRefusal::BadValue("a comment has at most 1024 bytes when sealed"));
    }
    match &trip.rating {
        Some(known) if known.stars == stars && known.comment.as_ref() == comment => return Ok(vec![]),
        Some(known) if now_ms > known.rated_ms + limits::RATING_CHANGE_MS => {
            return Err(TripRefusal::AlreadyRated);
        }
        None if now_ms > ended_ms + trip.terms().rating_ms => return Err(TripRefusal::RatingClosed),
        Some(_) | None => {}
    }
    Ok(vec![TripEvent::Rated(Rated { stars, comment: comment.cloned(), time_ms: now_ms })])
}

fn share(trip: &Trip, token_hash: [u8; 32], expires_ms: i64, now_ms: i64) -> Decision {
    open(trip)?;
    if expires_ms <= now_ms || expires_ms > now_ms.saturating_add(limits::SHARE_MS_MAX) {
        return Err(TripRefusal::BadValue("a share link ends within 24 hours from now"));
    }
    if trip.shares.contains(&crate::state::Share { token_hash, expires_ms }) {
        return Ok(vec![]);
    }
    let others =
        trip.shares.iter().filter(|share| share.expires_ms > now_ms && share.token_hash != token_hash);
    if others.count() >= limits::SHARES_MAX {
        return Err(TripRefusal::TooManyShares(limits::SHARES_MAX));
    }
    Ok(vec![TripEvent::Shared(Shared { token_hash, expires_ms })])
}

fn open(trip: &Trip) -> Result<(), TripRefusal> {
    if trip.phase.is_final() { Err(TripRefusal::TripEnded) } else { Ok(()) }
}

fn text(text: &str, advice: &'static str) -> Result<(), TripRefusal> {
    if text.is_empty() || text.len() > limits::TEXT_BYTES_MAX {
        Err(TripRefusal::BadValue(advice))
    } else {
        Ok(())
    }
}

fn check_parties(parties: &TripParties) -> Result<(), TripRefusal> {
    let optional = [&parties.driver, &parties.fleet, &parties.depot];
    let too_long = |text: &String| text.is_empty() || text.len() > limits::TEXT_BYTES_MAX;
    if parties.vehicle.len() > limits::TEXT_BYTES_MAX || optional.into_iter().flatten().any(too_long) {
        return Err(TripRefusal::BadValue("ids of vehicle, driver, fleet and depot have 1 to 256 bytes"));
    }
    Ok(())
}

/// `before` stops stand already.
fn check_stops(stops: &[Stop], before: usize) -> Result<(), TripRefusal> {
    if before + stops.len() < 2 || before + stops.len() > limits::STOPS_MAX || stops.is_empty() {
        return Err(TripRefusal::BadValue("a trip has 2 to 12 stops, with pick-up and drop-off"));
    }
    for stop in stops {
        if stop.latitude_e7.unsigned_abs() > 900_000_000 || stop.longitude_e7.unsigned_abs() > 1_800_000_000 {
            return Err(TripRefusal::BadValue(
                "a stop lies within 90 degrees of latitude and 180 of longitude",
            ));
        }
        if !(limits::RADIUS_M_MIN..=limits::RADIUS_M_MAX).contains(&stop.radius_m) {
            return Err(TripRefusal::BadValue("the fence of a stop has a radius from 20 to 1000 m"));
        }
        if stop.label.as_ref().is_some_and(|label| label.as_bytes().len() > limits::SEALED_BYTES_MAX) {
            return Err(TripRefusal::BadValue("a stop's label has at most 1024 bytes when sealed"));
        }
    }
    Ok(())
}

fn check_terms(terms: &Terms) -> Result<(), TripRefusal> {
    let must_pass = [terms.assign_within_ms, terms.no_show_after_ms];
    let may_pass = [terms.free_cancellation_ms, terms.free_waiting_ms, terms.rating_ms];
    let good = must_pass.iter().all(|ms| (1..=limits::TERM_MS_MAX).contains(ms))
        && may_pass.iter().all(|ms| (0..=limits::TERM_MS_MAX).contains(ms));
    if good {
        Ok(())
    } else {
        Err(TripRefusal::BadValue("times in the terms of a trip are 0 to 30 days, waits not 0"))
    }
}

fn check_distance(distance_m: Option<u64>) -> Result<(), TripRefusal> {
    match distance_m {
        Some(distance_m) if distance_m > limits::DISTANCE_M_MAX => {
            Err(TripRefusal::BadValue("a planned distance is at most 10000000 m"))
        }
        _ => Ok(()),
    }
}
