//! What follows from a wish, given how far an approval is.

use remuda_eventsourcing::Context;

use super::command::ApprovalCommand;
use super::digest;
use super::error::ApprovalRefusal;
use super::event::{ApprovalEvent, Asked, Concluded, Content, Decided, Expired};
use super::state::{Approval, ApprovalPhase};
use crate::limits;

type Decision = Result<Vec<ApprovalEvent>, ApprovalRefusal>;

/// The facts that follow; none when it is already so.
pub fn decide(state: &Approval, command: &ApprovalCommand, context: &Context) -> Decision {
    use ApprovalCommand as C;
    let time_ms = context.now_ms;
    if let C::Ask { content, because, by, ttl_ms } = command {
        if let Some(known) = &state.asked {
            let same = is_same(&known.content, content);
            return if same { Ok(vec![]) } else { Err(ApprovalRefusal::RequestIdReused) };
        }
        return Ok(vec![ApprovalEvent::Asked(Asked {
            digest: digest(content, by),
            content: content.clone(),
            because: because.clone(),
            by: by.clone(),
            time_ms,
            expires_ms: time_ms.saturating_add(*ttl_ms),
        })]);
    }
    let asked = state.asked.as_ref().ok_or(ApprovalRefusal::NoSuchApproval)?;
    match (command, &state.phase) {
        (C::Approve { digest, by, reason }, ApprovalPhase::Pending) => {
            if asked.by.is(by) {
                return Err(ApprovalRefusal::SelfApproval);
            }
            if asked.digest != *digest {
                return Err(ApprovalRefusal::ContentChanged);
            }
            // Whether or not anybody has noticed yet.
            if time_ms >= asked.expires_ms {
                return Err(ApprovalRefusal::Expired);
            }
            if reason.len() > limits::TEXT_BYTES_MAX {
                return Err(ApprovalRefusal::BadText("what you say has at most 256 bytes"));
            }
            let decided = Decided { by: by.clone(), reason: reason.clone(), time_ms };
            Ok(vec![ApprovalEvent::Approved(decided)])
        }
        (C::Deny { by, reason }, ApprovalPhase::Pending) => {
            if !(1..=limits::TEXT_BYTES_MAX).contains(&reason.len()) {
                return Err(ApprovalRefusal::BadText("say in 1 to 256 bytes why"));
            }
            let decided = Decided { by: by.clone(), reason: reason.clone(), time_ms };
            Ok(vec![ApprovalEvent::Denied(decided)])
        }
        // The same person again, whose answer was lost.
        (C::Approve { by, .. }, ApprovalPhase::Approved(known))
        | (C::Deny { by, .. }, ApprovalPhase::Denied(known))
            if known.by.is(by) =>
        {
            Ok(vec![])
        }
        (C::Approve { .. }, ApprovalPhase::Expired) => Err(ApprovalRefusal::Expired),
        (C::Approve { .. } | C::Deny { .. }, phase) => Err(ApprovalRefusal::AlreadyDecided(match phase {
            ApprovalPhase::Approved(_) => "approved",
            ApprovalPhase::Denied(_) => "denied",
            _ => "given up",
        })),
        (C::Expire, ApprovalPhase::Pending) if time_ms >= asked.expires_ms => {
            Ok(vec![ApprovalEvent::Expired(Expired { time_ms })])
        }
        (C::Conclude { result }, phase)
            if !matches!(phase, ApprovalPhase::New | ApprovalPhase::Pending) && state.result.is_none() =>
        {
            Ok(vec![ApprovalEvent::Concluded(Concluded { result: result.clone(), time_ms })])
        }
        (C::Expire | C::Conclude { .. } | C::Ask { .. }, _) => Ok(vec![]),
    }
}

/// Whether a repetition asks for the same. Which vehicles a group's filter finds may differ in it.
fn is_same(known: &Content, asked: &Content) -> bool {
    match (known, asked) {
        (
            Content::Group { kind, reason, request_id, .. },
            Content::Group { kind: k, reason: r, request_id: id, .. },
        ) => (kind, reason, request_id) == (k, r, id),
        (known, asked) => known == asked,
    }
}

#[cfg(test)]
mod tests {
    use remuda_model::VehicleId;
    use remuda_wire::CommandKind;

    use super::super::*;
    use super::*;

    fn at(now_ms: i64) -> Context {
        Context { now_ms, command_id: "c".into(), actor: "x".into(), correlation_id: String::new() }
    }

    fn person(subject: &str, identity: &str) -> Person {
        Person { subject: subject.into(), identity: identity.into() }
    }

    fn content(kind: CommandKind) -> Content {
        let vehicle = VehicleId::new("V1").unwrap();
        Content::Command { vehicle, kind, reason: "stuck".into(), request_id: "r".into(), ttl_ms: 60_000 }
    }

    fn asked() -> Approval {
        let by = person("ada@example.com", "issuer#1");
        let ask = ApprovalCommand::Ask {
            content: content(CommandKind::Reboot),
            because: "it is dangerous".into(),
            by,
            ttl_ms: 100,
        };
        let mut state = Approval::default();
        decide(&state, &ask, &at(0)).unwrap().iter().for_each(|event| evolve(&mut state, event));
        state
    }

    fn approve(by: Person, state: &Approval) -> ApprovalCommand {
        ApprovalCommand::Approve { digest: state.asked.as_ref().unwrap().digest, by, reason: String::new() }
    }

    #[test]
    fn only_somebody_else_agrees_in_time_to_what_they_saw() {
        let state = asked();
        let bob = || person("bob@example.com", "issuer#2");
        for own in [
            person("ada@example.com", "issuer#1"),
            person("ada@example.com", "issuer#9"),
            person("ada.l@example.com", "issuer#1"),
        ] {
            assert_eq!(decide(&state, &approve(own, &state), &at(1)), Err(ApprovalRefusal::SelfApproval));
        }
        let other = ApprovalCommand::Approve {
            digest: digest(&content(CommandKind::Honk), &person("ada@example.com", "issuer#1")),
            by: bob(),
            reason: String::new(),
        };
        assert_eq!(decide(&state, &other, &at(1)), Err(ApprovalRefusal::ContentChanged));
        assert_eq!(decide(&state, &approve(bob(), &state), &at(100)), Err(ApprovalRefusal::Expired));
        let mut state = state;
        let events = decide(&state, &approve(bob(), &state), &at(99)).unwrap();
        events.iter().for_each(|event| evolve(&mut state, event));
        assert!(matches!(state.phase, ApprovalPhase::Approved(_)) && state.is_open());
        assert_eq!(decide(&state, &approve(bob(), &state), &at(200)), Ok(vec![]), "their answer was lost");
        let late = ApprovalCommand::Deny { by: person("eve", "e"), reason: "no".into() };
        assert_eq!(decide(&state, &late, &at(99)), Err(ApprovalRefusal::AlreadyDecided("approved")));
        assert_eq!(decide(&state, &ApprovalCommand::Expire, &at(999)), Ok(vec![]));
        let done = ApprovalCommand::Conclude { result: "given".into() };
        let events = decide(&state, &done, &at(99)).unwrap();
        events.iter().for_each(|event| evolve(&mut state, event));
        assert!(!state.is_open());
        assert_eq!(decide(&state, &done, &at(99)), Ok(vec![]));
    }

    #[test]
    fn it_ends_by_itself_or_by_a_no() {
        let mut state = asked();
        assert_eq!(decide(&state, &ApprovalCommand::Expire, &at(99)), Ok(vec![]));
        let done = ApprovalCommand::Conclude { result: "given".into() };
        assert_eq!(decide(&state, &done, &at(99)), Ok(vec![]), "nobody agreed");
        // Whoever asked may take it back.
        let own = ApprovalCommand::Deny { by: person("ada@example.com", "issuer#1"), reason: "no".into() };
        assert!(matches!(decide(&state, &own, &at(1)).unwrap()[..], [ApprovalEvent::Denied(_)]));
        for event in decide(&state, &ApprovalCommand::Expire, &at(100)).unwrap() {
            evolve(&mut state, &event);
        }
        let bob = person("bob", "2");
        assert_eq!(decide(&state, &approve(bob, &state), &at(100)), Err(ApprovalRefusal::Expired));
        assert_eq!(
            decide(&Approval::default(), &ApprovalCommand::Expire, &at(0)),
            Err(ApprovalRefusal::NoSuchApproval)
        );
    }

    #[test]
    fn a_repetition_is_the_same_and_what_is_stored_comes_back() {
        let state = asked();
        let ask = |kind| ApprovalCommand::Ask {
            content: content(kind),
            because: "b".into(),
            by: person("ada", "a"),
            ttl_ms: 1,
        };
        assert_eq!(decide(&state, &ask(CommandKind::Reboot), &at(1)), Ok(vec![]));
        assert_eq!(decide(&state, &ask(CommandKind::Honk), &at(1)), Err(ApprovalRefusal::RequestIdReused));
        let event = ApprovalEvent::Asked(state.asked.unwrap());
        let stored = event.encode();
        assert_eq!(ApprovalEvent::decode(stored.event_type, 1, &stored.payload), Ok(event));
    }
}
