//! What follows from a command, given the state.

use remuda_model::Lane;

use crate::command::Command;
use crate::error::CommandRefusal;
use crate::event::{AlertFact, Place, Timeliness, VehicleEvent};
use crate::geofences::{self, Step};
use crate::state::VehicleState;

/// The facts that follow; none when the wish is already so.
pub fn decide(state: &VehicleState, command: Command) -> Result<Option<VehicleEvent>, CommandRefusal> {
    Ok(Some(match command {
        Command::Report { place, payload, received_ms } => {
            follows(state, place)?;
            VehicleEvent::Reported { place, payload, received_ms }
        }
        Command::Gap { place, to, reason } => {
            follows(state, place)?;
            if to < place.seq {
                return Err(CommandRefusal::OutOfSequence);
            }
            VehicleEvent::Gapped { place, to, reason: reason.to_owned() }
        }
        Command::Quarantine { place, reason, raw } => {
            follows(state, place)?;
            VehicleEvent::Quarantined { place, reason: reason.to_owned(), raw }
        }
        Command::Reprocess { lane, place } => {
            // Only what the stream has passed can have been in quarantine; of the samples lane the lake knows.
            if lane == Lane::Events && place.seq > state.events.get(place.incarnation) {
                return Err(CommandRefusal::OutOfSequence);
            }
            VehicleEvent::Reprocessed { lane, place }
        }
        // What a position says of a geofence is held against what is known: it is said again after an agent's new start.
        Command::Raise(fact) if is_known(state, &fact) => return Ok(None),
        Command::Raise(fact) if is_one_too_many(state, &fact) => return Ok(None),
        Command::Raise(fact) => VehicleEvent::AlertRaised(fact),
        Command::Clear(fact) if is_over(state, &fact) => return Ok(None),
        Command::Clear(fact) => VehicleEvent::AlertCleared(fact),
        Command::Cross(event) => {
            let is_so = state.is_inside(event.fence) == (event.step == Step::Entered);
            if is_so && event.timeliness != Timeliness::Historical {
                return Ok(None);
            }
            VehicleEvent::Crossed(event)
        }
        Command::Settle(fact) => {
            let is_open = state.open_alert(fact.cause.rule).is_some();
            if !is_open || fact.timeliness == Timeliness::Historical {
                return Ok(None);
            }
            VehicleEvent::AlertCleared(fact)
        }
    }))
}

fn is_known(state: &VehicleState, fact: &AlertFact) -> bool {
    let rule = fact.cause.rule;
    rule.geofence().is_some() && fact.timeliness != Timeliness::Historical && state.open_alert(rule).is_some()
}

fn is_over(state: &VehicleState, fact: &AlertFact) -> bool {
    let rule = fact.cause.rule;
    rule.geofence().is_some() && fact.timeliness != Timeliness::Historical && state.open_alert(rule).is_none()
}

fn is_one_too_many(state: &VehicleState, fact: &AlertFact) -> bool {
    let of_geofences =
        |facts: &[AlertFact]| facts.iter().filter(|fact| fact.cause.rule.geofence().is_some()).count();
    fact.cause.rule.geofence().is_some()
        && fact.timeliness != Timeliness::Historical
        && of_geofences(&state.alerts) >= geofences::limits::OPEN_ALERTS_MAX
}

fn follows(state: &VehicleState, place: Place) -> Result<(), CommandRefusal> {
    let mark = state.events.get(place.incarnation);
    match place.seq {
        seq if seq <= mark => Err(CommandRefusal::AlreadyRecorded),
        seq if seq == mark + 1 => Ok(()),
        _ => Err(CommandRefusal::OutOfSequence),
    }
}

#[cfg(test)]
mod tests {
    use remuda_model::Incarnation;

    use super::*;
    use crate::evolve::evolve;

    fn report(seq: u64) -> Command {
        Command::Report {
            place: Place { incarnation: Incarnation(1), seq },
            payload: vec![1],
            received_ms: 0,
        }
    }

    #[test]
    fn reports_are_recorded_once_and_in_sequence() {
        let mut state = VehicleState::default();
        assert_eq!(decide(&state, report(2)), Err(CommandRefusal::OutOfSequence));
        let event = decide(&state, report(1)).unwrap().unwrap();
        evolve(&mut state, &event);
        assert_eq!(state.version, 1);
        assert_eq!(decide(&state, report(1)), Err(CommandRefusal::AlreadyRecorded));
        let place = Place { incarnation: Incarnation(1), seq: 2 };
        let gap = decide(&state, Command::Gap { place, to: 5, reason: "shed" }).unwrap().unwrap();
        evolve(&mut state, &gap);
        assert_eq!((state.events.get(Incarnation(1)), state.events_in_gaps), (5, 4));
        assert!(decide(&state, report(6)).is_ok());
        // Another start of the agent has its own numbers.
        let place = Place { incarnation: Incarnation(2), seq: 1 };
        assert!(decide(&state, Command::Gap { place, to: 1, reason: "damaged" }).is_ok());
    }
}
