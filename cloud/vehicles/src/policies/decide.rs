//! What follows from a wish, given the state.

use remuda_model::VehicleId;

use super::event::PolicyEvent;
use super::state::PoliciesState;
use super::{Command, Refusal, Target};
use crate::limits;

/// The fact that follows; none when the wish is already so.
pub fn decide(state: &PoliciesState, command: Command) -> Result<Option<PolicyEvent>, Refusal> {
    Ok(Some(match command {
        Command::Set { name, document, expected } => {
            if !is_name(&name) {
                return Err(Refusal::Name);
            }
            // The vehicle's own parser: what is stored here can be followed there.
            remuda_policy::Policy::parse(&document).map_err(|e| Refusal::Document(e.to_string()))?;
            let present = state.policies.get(&name);
            match (present.map(|entry| entry.sent.revision), expected) {
                (Some(_), Some(0)) => return Err(Refusal::Exists(name)),
                (Some(revision), Some(expected)) if revision != expected => {
                    return Err(Refusal::Changed(revision));
                }
                (None, Some(expected)) if expected != 0 => return Err(Refusal::NoSuchPolicy(name)),
                (None, _) if state.policies.len() >= limits::POLICIES_MAX => {
                    return Err(Refusal::TooMany { what: "policies", max: limits::POLICIES_MAX });
                }
                _ => {}
            }
            if present.is_some_and(|entry| entry.sent.document == document) {
                return Ok(None);
            }
            PolicyEvent::Set { name, document }
        }
        Command::Assign { name, target } => {
            if !state.policies.contains_key(&name) {
                return Err(Refusal::NoSuchPolicy(name));
            }
            let target = checked(state, target)?;
            if has_already(state, &target, Some(&name)) {
                return Ok(None);
            }
            PolicyEvent::Assigned { name, target: target.into() }
        }
        Command::Unassign { target } => {
            let target = checked(state, target)?;
            if has_already(state, &target, None) {
                return Ok(None);
            }
            PolicyEvent::Unassigned { target: target.into() }
        }
        Command::Delete { name, expected } => {
            let Some(entry) = state.policies.get(&name) else { return Err(Refusal::NoSuchPolicy(name)) };
            if expected.is_some_and(|expected| expected != entry.sent.revision) {
                return Err(Refusal::Changed(entry.sent.revision));
            }
            if state.is_assigned(&name) {
                return Err(Refusal::Assigned(name));
            }
            PolicyEvent::Deleted { name }
        }
    }))
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(fits)
}

/// The target, each vehicle once, if it means anything and fits.
fn checked(state: &PoliciesState, target: Target) -> Result<Target, Refusal> {
    match target {
        Target::All => Ok(Target::All),
        Target::Prefix(prefix) => {
            // What begins an id is one itself.
            if VehicleId::new(&prefix).is_err() {
                return Err(Refusal::Target(format!(
                    "`{prefix}` begins no vehicle's id; a prefix has 1 to 48 letters and digits"
                )));
            }
            let new = !state.prefixes.contains_key(&prefix);
            if new && state.prefixes.len() >= limits::POLICY_PREFIXES_MAX {
                return Err(Refusal::TooMany { what: "prefixes", max: limits::POLICY_PREFIXES_MAX });
            }
            Ok(Target::Prefix(prefix))
        }
        Target::Vehicles(mut vehicles) => {
            vehicles.sort_unstable();
            vehicles.dedup();
            if vehicles.is_empty() || vehicles.len() > limits::POLICY_TARGET_VEHICLES_MAX {
                let max = limits::POLICY_TARGET_VEHICLES_MAX;
                return Err(Refusal::Target(format!("name 1 to {max} vehicles at once, or use a prefix")));
            }
            let new = vehicles.iter().filter(|vehicle| !state.vehicles.contains_key(vehicle)).count();
            if state.vehicles.len() + new > limits::POLICY_VEHICLES_MAX {
                let max = limits::POLICY_VEHICLES_MAX;
                return Err(Refusal::TooMany { what: "vehicles with a policy of their own", max });
            }
            Ok(Target::Vehicles(vehicles))
        }
    }
}

fn has_already(state: &PoliciesState, target: &Target, name: Option<&str>) -> bool {
    match target {
        Target::All => state.all.as_deref() == name,
        Target::Prefix(prefix) => state.prefixes.get(prefix).map(String::as_str) == name,
        Target::Vehicles(vehicles) => {
            vehicles.iter().all(|vehicle| state.vehicles.get(vehicle).map(String::as_str) == name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::evolve::evolve;
    use super::*;

    fn vehicle(name: &str) -> VehicleId {
        VehicleId::new(name).unwrap()
    }

    fn set(name: &str, document: &str, expected: Option<u32>) -> Command {
        Command::Set { name: name.into(), document: document.into(), expected }
    }

    fn assign(name: &str, target: Target) -> Command {
        Command::Assign { name: name.into(), target }
    }

    fn given(commands: Vec<Command>) -> PoliciesState {
        let mut state = PoliciesState::default();
        for command in commands {
            let event = decide(&state, command).unwrap().unwrap();
            evolve(&mut state, &event, 5, "me");
        }
        state
    }

    const A: &str = r#"{"others":{}}"#;
    const B: &str = r#"{"signals":{"Vehicle.Speed":{}}}"#;

    #[test]
    fn the_nearest_assignment_counts() {
        let state = given(vec![
            set("fleet", A, Some(0)),
            set("vans", B, None),
            set("one", A, None),
            assign("fleet", Target::All),
            assign("vans", Target::Prefix("VAN".into())),
            assign("one", Target::Prefix("VAN00".into())),
            assign("vans", Target::Vehicles(vec![vehicle("CAR1"), vehicle("CAR1")])),
        ]);
        let name = |id| state.desired(&vehicle(id)).name;
        assert_eq!(name("CAR2").as_deref(), Some("fleet"));
        assert_eq!(name("VAN17").as_deref(), Some("vans"));
        assert_eq!(name("VAN001").as_deref(), Some("one"));
        assert_eq!(name("CAR1").as_deref(), Some("vans"));
        assert_eq!(state.desired(&vehicle("CAR1")).sent.revision, 2);
        assert_eq!(PoliciesState::default().desired(&vehicle("CAR1")), super::super::Desired::built_in());
        let views = state.views();
        assert_eq!(views.len(), 3);
        assert_eq!((views[2].vehicles.len(), views[2].changed_by.as_str()), (1, "me"));
    }

    #[test]
    fn who_read_an_older_revision_is_told_so() {
        let state = given(vec![set("a", A, None)]);
        assert_eq!(decide(&state, set("a", B, Some(9))), Err(Refusal::Changed(1)));
        assert_eq!(decide(&state, set("a", B, Some(0))), Err(Refusal::Exists("a".into())));
        assert_eq!(decide(&state, set("b", B, Some(1))), Err(Refusal::NoSuchPolicy("b".into())));
        assert!(decide(&state, set("a", B, Some(1))).unwrap().is_some());
        assert_eq!(decide(&state, set("a", A, Some(1))), Ok(None), "nothing changes");
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let state = given(vec![set("a", A, None), assign("a", Target::All)]);
        let refused = |command| decide(&state, command).unwrap_err();
        assert_eq!(refused(set("A b", A, None)), Refusal::Name);
        assert!(matches!(
            refused(set("b", r#"{"signals":{"Vehicle.Spede":{}}}"#, None)),
            Refusal::Document(_)
        ));
        assert!(matches!(refused(assign("a", Target::Prefix("V-".into()))), Refusal::Target(_)));
        assert!(matches!(refused(assign("a", Target::Vehicles(vec![]))), Refusal::Target(_)));
        assert_eq!(refused(assign("b", Target::All)), Refusal::NoSuchPolicy("b".into()));
        let delete = |name: &str| Command::Delete { name: name.into(), expected: None };
        assert_eq!(refused(delete("a")), Refusal::Assigned("a".into()));
        let state = given(vec![
            set("a", A, None),
            assign("a", Target::All),
            Command::Unassign { target: Target::All },
        ]);
        assert!(decide(&state, delete("a")).unwrap().is_some());
    }
}
