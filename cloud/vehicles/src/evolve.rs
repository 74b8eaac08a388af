//! What a fact does to the state. Cannot fail.

use std::sync::Arc;

use remuda_model::Lane;

use crate::alerts::{self, AlertStep};
use crate::event::{AlertFact, Timeliness, VehicleEvent};
use crate::geofences::{CrossingEvent, Inside, Step};
use crate::state::VehicleState;

/// Applies the next event of the stream.
pub fn evolve(state: &mut VehicleState, event: &VehicleEvent) {
    state.version += 1;
    match event {
        VehicleEvent::Reported { place, .. } => state.events.raise(place.incarnation, place.seq),
        VehicleEvent::Gapped { place, to, .. } => {
            state.events.raise(place.incarnation, *to);
            state.events_in_gaps += (to + 1).saturating_sub(place.seq);
        }
        VehicleEvent::Quarantined { place, .. } => {
            state.events.raise(place.incarnation, place.seq);
            state.events_quarantined += 1;
        }
        VehicleEvent::Reprocessed { lane: Lane::Events, .. } => state.reprocessed.events += 1,
        VehicleEvent::Reprocessed { lane: Lane::Samples, .. } => state.reprocessed.samples += 1,
        VehicleEvent::AlertRaised(fact) => {
            raised(state, fact);
            alerts::evolve::raised(Arc::make_mut(&mut state.book), fact);
        }
        VehicleEvent::AlertCleared(fact) => {
            alerts::evolve::cleared(Arc::make_mut(&mut state.book), fact);
            if fact.timeliness != Timeliness::Historical {
                state.alerts.retain(|open| open.cause.rule != fact.cause.rule);
            }
        }
        VehicleEvent::Alert(event) => {
            alerts::evolve::stepped(Arc::make_mut(&mut state.book), event);
            if matches!(event.step, AlertStep::ClearedByHand { .. }) {
                state.alerts.retain(|open| open.cause != event.alert.0);
            }
        }
        VehicleEvent::Crossed(event) => crossed(state, event),
    }
}

fn crossed(state: &mut VehicleState, event: &CrossingEvent) {
    if event.timeliness == Timeliness::Historical {
        return;
    }
    let inside = Arc::make_mut(&mut state.inside);
    inside.retain(|inside| inside.fence != event.fence);
    if event.step == Step::Entered {
        inside.push(Inside { fence: event.fence, kind: event.kind, since_ms: event.sampled_ms });
    }
}

fn raised(state: &mut VehicleState, fact: &AlertFact) {
    // One open alert a rule: a restarted agent that finds the same again does not raise a second one.
    if fact.timeliness != Timeliness::Historical && state.open_alert(fact.cause.rule).is_none() {
        state.alerts.push(*fact);
    }
}

#[cfg(test)]
mod tests {
    use remuda_model::Incarnation;

    use super::*;
    use crate::event::{Cause, Place, RuleId};

    #[test]
    fn a_copy_of_the_state_shares_its_alerts_until_one_of_them_changes() {
        let cause = Cause { rule: RuleId::LowCharge, incarnation: Incarnation(1), seq: 1, row: 0 };
        let timeliness = Timeliness::Timely;
        let fact = AlertFact { cause, value: 10.0, threshold: 15.0, sampled_ms: 0, timeliness };
        let mut state = VehicleState::default();
        evolve(&mut state, &VehicleEvent::AlertRaised(fact));
        let mut copy = state.clone();
        let place = Place { incarnation: Incarnation(1), seq: 1 };
        evolve(&mut copy, &VehicleEvent::Reported { place, payload: Vec::new(), received_ms: 0 });
        assert!(Arc::ptr_eq(&state.book, &copy.book));
        evolve(&mut copy, &VehicleEvent::AlertCleared(fact));
        assert_eq!((state.book.open.len(), copy.book.open.len()), (1, 0));
    }

    #[test]
    fn a_historical_alert_changes_nothing_that_is_open() {
        let fact = |seq, timeliness| AlertFact {
            cause: Cause { rule: RuleId::LowCharge, incarnation: Incarnation(1), seq, row: 0 },
            value: 10.0,
            threshold: 15.0,
            sampled_ms: 0,
            timeliness,
        };
        let mut state = VehicleState::default();
        evolve(&mut state, &VehicleEvent::AlertRaised(fact(1, Timeliness::Historical)));
        assert!(state.alerts.is_empty());
        evolve(&mut state, &VehicleEvent::AlertRaised(fact(2, Timeliness::Late)));
        evolve(&mut state, &VehicleEvent::AlertRaised(fact(3, Timeliness::Timely)));
        evolve(&mut state, &VehicleEvent::AlertCleared(fact(4, Timeliness::Historical)));
        assert_eq!(state.alerts, [fact(2, Timeliness::Late)]);
        evolve(&mut state, &VehicleEvent::AlertCleared(fact(5, Timeliness::Timely)));
        assert!(state.alerts.is_empty());
        assert_eq!(state.version, 5);
    }
}
