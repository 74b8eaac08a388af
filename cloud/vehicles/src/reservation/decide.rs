//! What follows from a wish, given who has the vehicle.

use remuda_eventsourcing::Context;

use super::command::ReservationCommand;
use super::error::ReservationRefusal;
use super::event::{Ended, Extended, PutInService, ReservationEvent, Reserved, TakenOutOfService};
use super::limits;
use super::state::{Availability, Reservation, Service};

type Decision = Result<Vec<ReservationEvent>, ReservationRefusal>;

/// The facts that follow; none when it is already so.
///
/// # Errors
/// When the rules of [`ReservationRefusal`] forbid it.
pub fn decide(state: &Availability, command: &ReservationCommand, context: &Context) -> Decision {
    let now_ms = context.now_ms;
    match command {
        ReservationCommand::PutInService => Ok(match state.service {
            Service::InService => vec![],
            _ => vec![ReservationEvent::PutInService(PutInService {})],
        }),
        ReservationCommand::TakeOutOfService { reason, when_free } => {
            withdraw(state, reason, *when_free, now_ms)
        }
        ReservationCommand::Reserve { key, holder, expires_ms } => {
            reserve(state, key, holder, *expires_ms, now_ms)
        }
        ReservationCommand::Extend { key, expires_ms } => {
            check_expiry(*expires_ms, now_ms)?;
            match &state.current {
                Some(current) if current.key == *key && current.expires_ms == *expires_ms => Ok(vec![]),
                Some(current) if current.key == *key => Ok(vec![ReservationEvent::Extended(Extended {
                    key: key.clone(),
                    expires_ms: *expires_ms,
                })]),
                _ if state.ended.contains(key) => Err(ReservationRefusal::ReservationEnded),
                _ => Err(ReservationRefusal::NoSuchReservation),
            }
        }
        ReservationCommand::Release { key } => {
            text(key, "a key has 1 to 256 bytes")?;
            if state.is_held_by(key) {
                return Ok(ending(state, ReservationEvent::Released(Ended { key: key.clone(), held: true })));
            }
            if state.ended.contains(key) {
                return Ok(vec![]);
            }
            Ok(vec![ReservationEvent::Released(Ended { key: key.clone(), held: false })])
        }
        ReservationCommand::Expire => Ok(expire(state, now_ms)),
    }
}

fn reserve(state: &Availability, key: &str, holder: &str, expires_ms: i64, now_ms: i64) -> Decision {
    text(key, "a key has 1 to 256 bytes")?;
    text(holder, "say in 1 to 256 bytes what the vehicle is reserved for")?;
    if let Some(current) = state.current.as_ref().filter(|current| current.key == key) {
        // When it ends may differ in a repetition; what it is for may not.
        return if current.holder == holder { Ok(vec![]) } else { Err(ReservationRefusal::KeyReused) };
    }
    if state.ended.iter().any(|ended| ended == key) {
        return Err(ReservationRefusal::ReservationEnded);
    }
    check_expiry(expires_ms, now_ms)?;
    // What has run out ends first, whether somebody has swept or not.
    let mut events = expire(state, now_ms);
    if let Some(current) = &state.current
        && events.is_empty()
    {
        return Err(ReservationRefusal::VehicleReserved { holder: current.holder.clone() });
    }
    match &state.service {
        Service::InService => {}
        Service::New => return Err(ReservationRefusal::NotInService("it was never put in service".into())),
        Service::Leaving { reason } | Service::OutOfService { reason } => {
            return Err(ReservationRefusal::NotInService(reason.clone()));
        }
    }
    events.push(ReservationEvent::Reserved(Reserved {
        key: key.into(),
        holder: holder.into(),
        time_ms: now_ms,
        expires_ms,
    }));
    Ok(events)
}

fn withdraw(state: &Availability, reason: &str, when_free: bool, now_ms: i64) -> Decision {
    text(reason, "say in 1 to 256 bytes why")?;
    if matches!(state.service, Service::OutOfService { .. }) {
        return Ok(vec![]);
    }
    let order = TakenOutOfService { reason: reason.into() };
    let mut events = expire(state, now_ms);
    if matches!(events.last(), Some(ReservationEvent::TakenOutOfService(_))) {
        return Ok(events);
    }
    match &state.current {
        Some(_) if events.is_empty() && matches!(state.service, Service::Leaving { .. }) => {
            return Ok(vec![]);
        }
        Some(_) if events.is_empty() && when_free => events.push(ReservationEvent::WithdrawalOrdered(order)),
        Some(Reservation { holder, .. }) if events.is_empty() => {
            return Err(ReservationRefusal::VehicleReserved { holder: holder.clone() });
        }
        _ => events.push(ReservationEvent::TakenOutOfService(order)),
    }
    Ok(events)
}

fn expire(state: &Availability, now_ms: i64) -> Vec<ReservationEvent> {
    match &state.current {
        Some(current) if current.expires_ms <= now_ms => {
            ending(state, ReservationEvent::Expired(Ended { key: current.key.clone(), held: true }))
        }
        _ => vec![],
    }
}

/// The end of the present reservation, and what was waiting for it.
fn ending(state: &Availability, end: ReservationEvent) -> Vec<ReservationEvent> {
    let mut events = vec![end];
    if let Service::Leaving { reason } = &state.service {
        events.push(ReservationEvent::TakenOutOfService(TakenOutOfService { reason: reason.clone() }));
    }
    events
}

fn check_expiry(expires_ms: i64, now_ms: i64) -> Result<(), ReservationRefusal> {
    if expires_ms <= now_ms || expires_ms > now_ms.saturating_add(limits::RESERVATION_MS_MAX) {
        return Err(ReservationRefusal::BadValue("a reservation ends within 7 days from now"));
    }
    Ok(())
}

fn text(text: &str, advice: &'static str) -> Result<(), ReservationRefusal> {
    let fits = (1..=limits::TEXT_BYTES_MAX).contains(&text.len());
    if fits { Ok(()) } else { Err(ReservationRefusal::BadValue(advice)) }
}
