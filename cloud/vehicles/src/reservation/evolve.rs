//! What a fact does to who has a vehicle. Cannot fail.

use super::event::ReservationEvent;
use super::limits;
use super::state::{Availability, Reservation, Service};

/// Takes a fact in.
pub fn evolve(state: &mut Availability, event: &ReservationEvent) {
    use ReservationEvent as E;
    match event {
        E::PutInService(_) => state.service = Service::InService,
        E::TakenOutOfService(e) => state.service = Service::OutOfService { reason: e.reason.clone() },
        E::WithdrawalOrdered(e) => state.service = Service::Leaving { reason: e.reason.clone() },
        E::Reserved(e) => {
            state.current = Some(Reservation {
                key: e.key.clone(),
                holder: e.holder.clone(),
                since_ms: e.time_ms,
                expires_ms: e.expires_ms,
            });
        }
        E::Extended(e) => {
            if let Some(current) = &mut state.current {
                current.expires_ms = e.expires_ms;
            }
        }
        E::Released(e) | E::Expired(e) => {
            if state.is_held_by(&e.key) {
                state.current = None;
            }
            state.ended.push(e.key.clone());
            if state.ended.len() > limits::ENDED_MAX {
                state.ended.remove(0);
            }
        }
    }
}
