//! What follows from a wish, given the orders there are.

use remuda_wire::CommandKind;
use remuda_wire::frame::CommandOutcome;

use super::command::{NewOrder, OrderCommand};
use super::error::OrderRefusal;
use super::event::{OrderEvent, OrderId};
use super::state::{Order, OrderPhase, Orders};
use crate::limits;

/// May be sent again when nobody knows whether it was obeyed: twice is the same as once.
const fn is_idempotent(kind: &CommandKind) -> bool {
    match kind {
        // A vehicle takes an answer to a question once, whoever brings it.
        CommandKind::Lock(_) | CommandKind::SpeedLimit(_) | CommandKind::Answer { .. } => true,
        CommandKind::Honk | CommandKind::Reboot => false,
    }
}

/// Reasons with which a vehicle says: not as you sent it, but perhaps later. It has not remembered the id.
const TRANSIENT: &[&str] = &["clock", "incarnation"];

/// The fact that follows; none when the wish is already so.
pub fn decide(state: &Orders, command: OrderCommand) -> Result<Option<OrderEvent>, OrderRefusal> {
    match command {
        OrderCommand::Queue { id, order, reports_before, now_ms } => {
            queue(state, id, order, reports_before, now_ms)
        }
        OrderCommand::Send { id, incarnation, epoch, now_ms } => {
            let order = open(state, id)?;
            Ok(match order.phase {
                OrderPhase::Queued if now_ms < order.expires_ms => {
                    Some(OrderEvent::Sent { id, incarnation, epoch, time_ms: now_ms })
                }
                // On its way, or begun: the vehicle knows it by its id.
                _ => None,
            })
        }
        OrderCommand::Answer { id, outcome, now_ms } => answer(state, id, outcome, now_ms),
        OrderCommand::Orphan { id, now_ms } => {
            let order = open(state, id)?;
            Ok(match order.phase {
                OrderPhase::Queued => None,
                _ if is_idempotent(&order.kind) && order.sends < limits::ORDER_SENDS_MAX => {
                    Some(OrderEvent::Returned { id, reason: "agent-restarted".into(), time_ms: now_ms })
                }
                _ => Some(OrderEvent::Orphaned { id, time_ms: now_ms }),
            })
        }
        OrderCommand::Cancel { id, by, reason, now_ms } => {
            let order = state.get(id).ok_or(OrderRefusal::NoSuchOrder)?;
            text(&reason, limits::ORDER_REASON_BYTES, "say in 1 to 256 bytes why")?;
            match order.phase {
                OrderPhase::Queued => Ok(Some(OrderEvent::Cancelled { id, by, reason, time_ms: now_ms })),
                OrderPhase::Cancelled => Ok(None),
                OrderPhase::Sent { .. } | OrderPhase::Accepted { .. } => Err(OrderRefusal::AlreadySent),
                _ => Err(OrderRefusal::AlreadyFinal),
            }
        }
        OrderCommand::Sweep { id, now_ms } => {
            let order = open(state, id)?;
            Ok(match order.phase {
                OrderPhase::Queued if now_ms >= order.expires_ms => {
                    Some(OrderEvent::Expired { id, time_ms: now_ms })
                }
                // It will not be obeyed any more, but may have been: the vehicle has a while to come back and tell.
                OrderPhase::Sent { .. } | OrderPhase::Accepted { .. }
                    if now_ms >= order.expires_ms.saturating_add(limits::ORDER_ANSWER_MS_MAX) =>
                {
                    Some(OrderEvent::Orphaned { id, time_ms: now_ms })
                }
                _ => None,
            })
        }
    }
}

fn open(state: &Orders, id: OrderId) -> Result<&Order, OrderRefusal> {
    let order = state.get(id).ok_or(OrderRefusal::NoSuchOrder)?;
    if order.phase.is_final() { Err(OrderRefusal::AlreadyFinal) } else { Ok(order) }
}

fn text(text: &str, bytes_max: usize, advice: &'static str) -> Result<(), OrderRefusal> {
    if text.is_empty() || text.len() > bytes_max { Err(OrderRefusal::BadText(advice)) } else { Ok(()) }
}

fn queue(
    state: &Orders,
    id: OrderId,
    order: NewOrder,
    reports_before: u64,
    now_ms: i64,
) -> Result<Option<OrderEvent>, OrderRefusal> {
    let NewOrder { request_id, kind, reason, requested_by, ttl_ms } = order;
    if let Some(known) = state.get(id) {
        // Whose it is, and until when, may differ in a repetition; what is to be done may not.
        let same = known.kind == kind && known.reason == reason;
        return if same { Ok(None) } else { Err(OrderRefusal::RequestIdReused) };
    }
    text(&request_id, limits::ORDER_REQUEST_ID_BYTES, "a request id has 1 to 64 bytes")?;
    text(&reason, limits::ORDER_REASON_BYTES, "say in 1 to 256 bytes why")?;
    text(&requested_by, limits::ORDER_REASON_BYTES, "say in 1 to 256 bytes who wants it")?;
    if let CommandKind::SpeedLimit(kmh) = kind
        && !(5..=250).contains(&kmh)
    {
        return Err(OrderRefusal::BadSpeedLimit);
    }
    if !(limits::ORDER_TTL_MS_MIN..=limits::ORDER_TTL_MS_MAX).contains(&ttl_ms) {
        return Err(OrderRefusal::BadExpiry);
    }
    if state.open.len() >= limits::ORDERS_OPEN_MAX {
        return Err(OrderRefusal::TooManyOpen(state.open.len()));
    }
    Ok(Some(OrderEvent::Queued {
        id,
        request_id,
        kind,
        reason,
        requested_by,
        expires_ms: now_ms.saturating_add(ttl_ms),
        reports_before,
        time_ms: now_ms,
    }))
}

fn answer(
    state: &Orders,
    id: OrderId,
    outcome: CommandOutcome,
    time_ms: i64,
) -> Result<Option<OrderEvent>, OrderRefusal> {
    let order = open(state, id)?;
    Ok(match (&order.phase, &outcome) {
        // Nobody sent it yet: an answer to an earlier life of the journal.
        (OrderPhase::Queued, _) | (OrderPhase::Accepted { .. }, CommandOutcome::Accepted) => None,
        (_, CommandOutcome::Refused(reason))
            if TRANSIENT.contains(&reason.as_str()) && order.sends < limits::ORDER_SENDS_MAX =>
        {
            Some(OrderEvent::Returned { id, reason: reason.clone(), time_ms })
        }
        _ => Some(OrderEvent::Answered { id, outcome, time_ms }),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use remuda_model::{Epoch, Incarnation};

    use super::*;
    use crate::orders::evolve;

    const ID: OrderId = OrderId([1; 16]);

    fn queue_of(kind: CommandKind) -> OrderCommand {
        let order = NewOrder {
            request_id: "r".into(),
            kind,
            reason: "lost key".into(),
            requested_by: "dora".into(),
            ttl_ms: 60_000,
        };
        OrderCommand::Queue { id: ID, order, reports_before: 3, now_ms: 0 }
    }

    fn send(incarnation: u64, now_ms: i64) -> OrderCommand {
        OrderCommand::Send { id: ID, incarnation: Incarnation(incarnation), epoch: Epoch(1), now_ms }
    }

    fn answered(outcome: CommandOutcome) -> OrderCommand {
        OrderCommand::Answer { id: ID, outcome, now_ms: 9 }
    }

    fn refused(reason: &str) -> CommandOutcome {
        CommandOutcome::Refused(reason.into())
    }

    /// Does what is wished; answers whether anything followed.
    fn apply(state: &mut Orders, command: OrderCommand) -> Result<bool, OrderRefusal> {
        let event = decide(state, command)?;
        if let Some(event) = &event {
            evolve(state, event);
        }
        Ok(event.is_some())
    }

    fn phase(state: &Orders) -> OrderPhase {
        state.get(ID).expect("known").phase.clone()
    }

    #[test]
    fn an_order_goes_its_way() {
        let mut state = Orders::default();
        assert_eq!(apply(&mut state, queue_of(CommandKind::Honk)), Ok(true));
        assert_eq!(apply(&mut state, queue_of(CommandKind::Honk)), Ok(false), "the same request again");
        assert_eq!(apply(&mut state, queue_of(CommandKind::Reboot)), Err(OrderRefusal::RequestIdReused));
        assert_eq!((state.reports_from(), phase(&state)), (Some(4), OrderPhase::Queued));
        assert_eq!(apply(&mut state, answered(CommandOutcome::Done)), Ok(false), "nobody sent it");
        assert_eq!(apply(&mut state, send(5, 1)), Ok(true));
        assert_eq!(apply(&mut state, send(5, 2)), Ok(false), "it is on its way");
        let cancel = OrderCommand::Cancel { id: ID, by: "d".into(), reason: "no".into(), now_ms: 3 };
        assert_eq!(apply(&mut state, cancel.clone()), Err(OrderRefusal::AlreadySent));
        assert_eq!(apply(&mut state, answered(CommandOutcome::Accepted)), Ok(true));
        assert_eq!(apply(&mut state, answered(CommandOutcome::Accepted)), Ok(false));
        assert_eq!(apply(&mut state, answered(CommandOutcome::Done)), Ok(true));
        assert_eq!((phase(&state), state.open.len()), (OrderPhase::Done, 0));
        let late = answered(CommandOutcome::Failed("late".into()));
        assert_eq!(apply(&mut state, late), Err(OrderRefusal::AlreadyFinal), "the first final one counts");
        assert_eq!(apply(&mut state, cancel), Err(OrderRefusal::AlreadyFinal));
    }

    #[test]
    fn what_is_not_sent_can_be_taken_back_or_expires() {
        let mut state = Orders::default();
        apply(&mut state, queue_of(CommandKind::Honk)).unwrap();
        assert_eq!(apply(&mut state, OrderCommand::Sweep { id: ID, now_ms: 59_999 }), Ok(false));
        assert_eq!(apply(&mut state, send(5, 60_000)), Ok(false), "too late to be sent");
        let mut other = state.clone();
        assert_eq!(apply(&mut state, OrderCommand::Sweep { id: ID, now_ms: 60_000 }), Ok(true));
        assert_eq!(phase(&state), OrderPhase::Expired);
        let cancel =
            |reason: &str| OrderCommand::Cancel { id: ID, by: "d".into(), reason: reason.into(), now_ms: 3 };
        assert!(matches!(apply(&mut other, cancel("")), Err(OrderRefusal::BadText(_))));
        assert_eq!(apply(&mut other, cancel("no")), Ok(true));
        assert_eq!(apply(&mut other, cancel("no")), Ok(false));
        assert_eq!(phase(&other), OrderPhase::Cancelled);
    }

    #[test]
    fn a_restarted_agent_leaves_an_order_unknown_unless_twice_is_once() {
        for (kind, expected) in [
            (CommandKind::Honk, OrderPhase::Unknown),
            (CommandKind::Reboot, OrderPhase::Unknown),
            (CommandKind::Lock(true), OrderPhase::Queued),
        ] {
            let mut state = Orders::default();
            apply(&mut state, queue_of(kind)).unwrap();
            assert_eq!(apply(&mut state, OrderCommand::Orphan { id: ID, now_ms: 1 }), Ok(false), "not sent");
            apply(&mut state, send(5, 1)).unwrap();
            assert_eq!(apply(&mut state, OrderCommand::Orphan { id: ID, now_ms: 1 }), Ok(true));
            assert_eq!(phase(&state), expected);
        }
    }

    #[test]
    fn what_the_vehicle_could_not_consider_waits_but_not_for_ever() {
        let mut state = Orders::default();
        apply(&mut state, queue_of(CommandKind::Honk)).unwrap();
        for turn in 1..limits::ORDER_SENDS_MAX {
            apply(&mut state, send(u64::from(turn), 1)).unwrap();
            assert_eq!(apply(&mut state, answered(refused("incarnation"))), Ok(true));
            assert_eq!(phase(&state), OrderPhase::Queued);
        }
        apply(&mut state, send(99, 1)).unwrap();
        apply(&mut state, answered(refused("incarnation"))).unwrap();
        assert_eq!(phase(&state), OrderPhase::Refused("incarnation".into()));
        let mut state = Orders::default();
        apply(&mut state, queue_of(CommandKind::Honk)).unwrap();
        apply(&mut state, send(1, 1)).unwrap();
        apply(&mut state, answered(refused("signature"))).unwrap();
        assert_eq!(phase(&state), OrderPhase::Refused("signature".into()));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let with = |change: &dyn Fn(&mut NewOrder)| {
            let OrderCommand::Queue { id, mut order, reports_before, now_ms } = queue_of(CommandKind::Honk)
            else {
                unreachable!("it queues")
            };
            change(&mut order);
            decide(&Orders::default(), OrderCommand::Queue { id, order, reports_before, now_ms })
                .expect_err("refused")
                .code()
        };
        assert_eq!(with(&|o| o.ttl_ms = 999), "bad_expiry");
        assert_eq!(with(&|o| o.ttl_ms = i64::MAX), "bad_expiry");
        assert_eq!(with(&|o| o.reason.clear()), "bad_text");
        assert_eq!(with(&|o| o.request_id = "r".repeat(65)), "bad_text");
        assert_eq!(with(&|o| o.kind = CommandKind::SpeedLimit(4)), "bad_speed_limit");
        let mut state = Orders::default();
        for number in 0..limits::ORDERS_OPEN_MAX {
            let OrderCommand::Queue { order, .. } = queue_of(CommandKind::Honk) else { unreachable!() };
            let id = OrderId([number as u8 + 2; 16]);
            apply(&mut state, OrderCommand::Queue { id, order, reports_before: 0, now_ms: 0 }).unwrap();
        }
        assert!(matches!(decide(&state, queue_of(CommandKind::Honk)), Err(OrderRefusal::TooManyOpen(_))));
        assert_eq!(decide(&state, send(1, 1)), Err(OrderRefusal::NoSuchOrder));
    }

    proptest! {
        /// Whatever happens in whatever order: a final phase stays, lists stay bounded, a non-idempotent order goes
        /// out under one start of the agent only.
        #[test]
        fn an_order_ends_once_and_is_never_obeyed_twice(
            steps in proptest::collection::vec((0..7u8, 0..4u64, 0..200_000i64), 1..60),
            honk in any::<bool>(),
        ) {
            let kind = if honk { CommandKind::Honk } else { CommandKind::Lock(false) };
            let mut state = Orders::default();
            apply(&mut state, queue_of(kind)).unwrap();
            let (mut ended, mut obeying): (Option<OrderPhase>, Option<Incarnation>) = (None, None);
            for (step, incarnation, now_ms) in steps {
                let command = match step {
                    0 => send(incarnation, now_ms),
                    1 => answered(CommandOutcome::Accepted),
                    2 => answered(CommandOutcome::Done),
                    3 => answered(refused("incarnation")),
                    4 => OrderCommand::Orphan { id: ID, now_ms },
                    5 => OrderCommand::Cancel { id: ID, by: "d".into(), reason: "no".into(), now_ms },
                    _ => OrderCommand::Sweep { id: ID, now_ms },
                };
                let was_begun = matches!(phase(&state), OrderPhase::Accepted { .. });
                let _ = apply(&mut state, command);
                let is = phase(&state);
                if let OrderPhase::Accepted { incarnation } = is {
                    prop_assert!(!honk || obeying.is_none_or(|before| before == incarnation || !was_begun));
                    obeying = Some(incarnation);
                }
                if honk && was_begun {
                    prop_assert!(!matches!(is, OrderPhase::Sent { .. }), "begun, and sent again");
                }
                if let Some(before) = &ended {
                    prop_assert_eq!(before, &is);
                }
                ended = is.is_final().then_some(is);
                prop_assert!(state.open.len() + state.finished.len() == 1);
            }
        }
    }
}
