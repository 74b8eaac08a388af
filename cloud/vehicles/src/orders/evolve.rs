//! What a fact does to a vehicle's orders. Cannot fail.

use remuda_model::Incarnation;
use remuda_wire::frame::CommandOutcome;

use super::event::{OrderEvent, OrderId};
use super::state::{Order, OrderPhase, Orders};
use crate::limits;

/// Applies the next event of the stream.
pub fn evolve(state: &mut Orders, event: &OrderEvent) {
    state.version += 1;
    match event.clone() {
        OrderEvent::Queued {
            id,
            request_id,
            kind,
            reason,
            requested_by,
            expires_ms,
            reports_before,
            time_ms,
        } => state.open.push(Order {
            id,
            request_id,
            kind,
            reason,
            requested_by,
            queued_ms: time_ms,
            expires_ms,
            phase: OrderPhase::Queued,
            changed_ms: time_ms,
            sends: 0,
            reports_before,
        }),
        OrderEvent::Sent { id, incarnation, epoch, time_ms } => {
            if let Some(order) = state.open.iter_mut().find(|order| order.id == id) {
                order.sends += 1;
            }
            change(state, id, OrderPhase::Sent { incarnation, epoch }, time_ms);
        }
        OrderEvent::Answered { id, outcome, time_ms } => {
            let phase = match outcome {
                CommandOutcome::Accepted => {
                    let given_to = state.get(id).and_then(|order| order.phase.incarnation());
                    // It was sent: nothing else is accepted.
                    OrderPhase::Accepted { incarnation: given_to.unwrap_or(Incarnation(0)) }
                }
                CommandOutcome::Done => OrderPhase::Done,
                CommandOutcome::Failed(why) => OrderPhase::Failed(why),
                CommandOutcome::Expired => OrderPhase::Expired,
                CommandOutcome::Refused(why) => OrderPhase::Refused(why),
                CommandOutcome::Unknown => OrderPhase::Unknown,
            };
            change(state, id, phase, time_ms);
        }
        OrderEvent::Returned { id, time_ms, .. } => change(state, id, OrderPhase::Queued, time_ms),
        OrderEvent::Orphaned { id, time_ms } => change(state, id, OrderPhase::Unknown, time_ms),
        OrderEvent::Expired { id, time_ms } => change(state, id, OrderPhase::Expired, time_ms),
        OrderEvent::Cancelled { id, time_ms, .. } => change(state, id, OrderPhase::Cancelled, time_ms),
    }
}

fn change(state: &mut Orders, id: OrderId, phase: OrderPhase, time_ms: i64) {
    let Some(at) = state.open.iter().position(|order| order.id == id) else { return };
    let order = &mut state.open[at];
    order.phase = phase;
    order.changed_ms = time_ms;
    if order.phase.is_final() {
        let ended = state.open.remove(at);
        if state.finished.len() >= limits::ORDERS_FINISHED_MAX {
            state.finished.remove(0);
        }
        state.finished.push(ended);
    }
}
