//! What follows from a wish, given how far a group command is.

use remuda_eventsourcing::Context;
use remuda_model::VehicleId;
use remuda_wire::CommandKind;

use super::command::{Ending, GroupCommand};
use super::digest;
use super::error::GroupRefusal;
use super::event::{Completed, Created, Dispatched, GroupEvent, Settled, Spec, Steered, VehiclesNamed};
use super::evolve::evolve;
use super::state::{Group, Outcome, Phase};
use crate::limits;

type Decision = Result<Vec<GroupEvent>, GroupRefusal>;

/// The facts that follow; none when it is already so.
pub fn decide(state: &Group, command: &GroupCommand, context: &Context) -> Decision {
    use GroupCommand as C;
    let time_ms = context.now_ms;
    let steered = |by: &str, reason: &str| Steered { by: by.into(), reason: reason.into(), time_ms };
    if let C::Create { spec, vehicles, because } = command {
        return create(state, spec, vehicles, because.as_ref(), context);
    }
    let line = &state.line;
    match (command, line.phase) {
        (_, Phase::New) => Err(GroupRefusal::NoSuchGroup),
        (C::Create { .. }, _) => Ok(vec![]),
        (C::Start { by, digest }, Phase::AwaitingApproval) => {
            if *digest != line.digest {
                return Err(GroupRefusal::OtherContent);
            }
            Ok(vec![GroupEvent::Approved(steered(by, "approved"))])
        }
        (C::Deny { by, reason }, Phase::AwaitingApproval) => {
            Ok(vec![GroupEvent::Denied(steered(by, reason))])
        }
        (C::Start { .. } | C::Deny { .. }, phase) => Err(wrong(phase)),
        (C::Dispatch { from, count }, Phase::Running) => {
            let count = (*count).min(line.vehicles.saturating_sub(*from));
            // From an earlier place: it was done already. From a later one: nobody may be left out.
            let next = *from == line.dispatched && count > 0;
            let dispatched = GroupEvent::Dispatched(Dispatched { from: *from, count, time_ms });
            Ok(if next { vec![dispatched] } else { vec![] })
        }
        // Somebody paused it meanwhile.
        (C::Dispatch { .. }, _) => Ok(vec![]),
        (C::Settle(endings), _) => Ok(settle(state, endings, time_ms)),
        (C::Pause { reason }, Phase::Running) => {
            text(reason)?;
            Ok(vec![GroupEvent::Paused(steered(&context.actor, reason))])
        }
        (C::Pause { .. }, Phase::Paused)
        | (C::Resume { .. }, Phase::Running)
        | (C::Abort { .. }, Phase::Aborting | Phase::Aborted) => Ok(vec![]),
        (C::Resume { reason }, Phase::Paused) => {
            text(reason)?;
            Ok(vec![GroupEvent::Resumed(steered(&context.actor, reason))])
        }
        (C::Abort { reason }, Phase::Running | Phase::Paused | Phase::AwaitingApproval) => {
            text(reason)?;
            Ok(with_end(state, vec![GroupEvent::Aborted(steered(&context.actor, reason))], time_ms))
        }
        (C::Pause { .. } | C::Resume { .. } | C::Abort { .. }, phase) => Err(wrong(phase)),
    }
}

const fn wrong(phase: Phase) -> GroupRefusal {
    GroupRefusal::WrongPhase(match phase {
        Phase::New => "not there",
        Phase::AwaitingApproval => "waiting for a second person",
        Phase::Running => "running",
        Phase::Paused => "paused",
        Phase::Aborting | Phase::Aborted => "called off",
        Phase::Completed => "completed",
        Phase::Denied => "denied",
    })
}

fn text(text: &str) -> Result<(), GroupRefusal> {
    let fits = (1..=limits::TEXT_BYTES_MAX).contains(&text.len());
    if fits { Ok(()) } else { Err(GroupRefusal::BadValue("say in 1 to 256 bytes why")) }
}

fn check(spec: &Spec) -> Result<(), GroupRefusal> {
    text(&spec.reason)?;
    if let CommandKind::SpeedLimit(kmh) = spec.kind
        && !(5..=250).contains(&kmh)
    {
        return Err(GroupRefusal::BadValue("a speed limit is from 5 to 250 km/h"));
    }
    let rate = limits::VEHICLES_PER_1000_S_MIN..=limits::VEHICLES_PER_1000_S_MAX;
    for (fits, advice) in [
        ((1..=64).contains(&spec.request_id.len()), "a request id has 1 to 64 bytes"),
        (rate.contains(&spec.vehicles_per_1000_s), "a rate is from 0.01 to 1000 vehicles a second"),
        (
            (1..=limits::UNDER_WAY_MAX).contains(&spec.under_way_max),
            "1 to 1000 commands can be under way at once",
        ),
        ((1_000..=604_800_000).contains(&spec.ttl_ms), "a command expires from 1 s to 7 days from now"),
        (
            spec.threshold.is_none_or(|t| (1..=100).contains(&t.percent) && t.after_vehicles >= 1),
            "a failure threshold is from 1 to 100 percent, after 1 vehicle or more",
        ),
    ] {
        if !fits {
            return Err(GroupRefusal::BadValue(advice));
        }
    }
    Ok(())
}

fn create(
    state: &Group,
    spec: &Spec,
    vehicles: &[VehicleId],
    because: Option<&String>,
    context: &Context,
) -> Decision {
    if let Some(known) = &state.line.spec {
        // Which vehicles match may differ in a repetition; what is to be done may not.
        let same = known.kind == spec.kind && known.reason == spec.reason && known.filter == spec.filter;
        return if same { Ok(vec![]) } else { Err(GroupRefusal::RequestIdReused) };
    }
    check(spec)?;
    if vehicles.is_empty() {
        return Err(GroupRefusal::NoVehicles);
    }
    if vehicles.len() > limits::VEHICLES_MAX {
        return Err(GroupRefusal::TooManyVehicles(vehicles.len()));
    }
    if !vehicles.is_sorted_by(|a, b| a < b) {
        return Err(GroupRefusal::BadValue("vehicles are named in order, each once"));
    }
    let mut events = vec![GroupEvent::Created(Created {
        digest: digest(spec, vehicles),
        spec: spec.clone(),
        vehicles: vehicles.len() as u32,
        because: because.cloned(),
        time_ms: context.now_ms,
    })];
    let named = |chunk: &[VehicleId]| GroupEvent::VehiclesNamed(VehiclesNamed { vehicles: chunk.to_vec() });
    events.extend(vehicles.chunks(limits::VEHICLES_PER_EVENT).map(named));
    Ok(events)
}

/// Only what was given and has not ended can end; the first end counts.
fn settle(state: &Group, endings: &[Ending], time_ms: i64) -> Vec<GroupEvent> {
    let mut fresh: Vec<(u32, Outcome, String)> = Vec::new();
    for Ending { index, outcome, detail } in endings {
        let open = state.members.get(*index as usize).is_some_and(|m| m.outcome == Outcome::Given);
        if open && outcome.is_final() && !fresh.iter().any(|(known, ..)| known == index) {
            let mut detail = detail.clone();
            let end =
                (0..=detail.len().min(limits::TEXT_BYTES_MAX)).rev().find(|n| detail.is_char_boundary(*n));
            detail.truncate(end.unwrap_or_default());
            fresh.push((*index, *outcome, detail));
        }
    }
    if fresh.is_empty() {
        return vec![];
    }
    let mut events = vec![GroupEvent::Settled(Settled { endings: fresh, time_ms })];
    let mut after = state.clone();
    evolve(&mut after, &events[0]);
    if let Some(reason) = exceeded(&after) {
        events.push(GroupEvent::Paused(Steered { by: "threshold".into(), reason, time_ms }));
    }
    with_end(state, events, time_ms)
}

/// Why it must pause by itself, if it must.
fn exceeded(state: &Group) -> Option<String> {
    let line = &state.line;
    let threshold = line.spec.as_ref()?.threshold?;
    let (answers, failures) = line.answers();
    let (answers, failures) = (answers - line.base.0, failures - line.base.1);
    let over = u64::from(failures) * 100 >= u64::from(answers) * u64::from(threshold.percent);
    let more = line.dispatched < line.vehicles;
    (line.phase == Phase::Running && more && failures > 0 && answers >= threshold.after_vehicles && over)
        .then(|| {
            format!("{failures} of {answers} vehicles failed, {} percent are too many", threshold.percent)
        })
}

/// What was decided, and the group's end if nothing is left to do.
fn with_end(state: &Group, mut events: Vec<GroupEvent>, time_ms: i64) -> Vec<GroupEvent> {
    let mut line = state.line.clone();
    events.iter().for_each(|event| line.take(event));
    let last = line.dispatched == line.vehicles || line.phase == Phase::Aborting;
    if last && line.open() == 0 && !line.phase.is_final() {
        events.push(GroupEvent::Completed(Completed { time_ms }));
    }
    events
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
