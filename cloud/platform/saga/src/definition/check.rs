//! What a definition must keep, by itself and against the services there are.

use std::collections::BTreeSet;

use super::{Call, Definition, DefinitionError, DefinitionErrors, Policy, Problem, Step, StepKind};
use crate::limits;
use crate::service::Services;

/// Collects what is wrong in one place.
pub(super) struct Findings<'a> {
    origin: &'a str,
    found: Vec<DefinitionError>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(origin: &'a str) -> Self {
        Self { origin, found: Vec::new() }
    }

    pub(super) fn add(&mut self, step: Option<&str>, problem: Problem) {
        let step = step.map(str::to_owned);
        self.found.push(DefinitionError { origin: self.origin.to_owned(), step, problem });
    }

    pub(super) fn into_errors(self) -> DefinitionErrors {
        DefinitionErrors(self.found)
    }

    pub(super) fn finish(self) -> Result<(), DefinitionErrors> {
        if self.found.is_empty() { Ok(()) } else { Err(DefinitionErrors(self.found)) }
    }
}

/// The definition by itself.
pub(super) fn check(definition: &Definition, origin: &str) -> Result<(), DefinitionErrors> {
    let mut findings = Findings::new(origin);
    name(&mut findings, None, "saga's name", &definition.name);
    if definition.version == 0 {
        findings.add(None, Problem::Version);
    }
    if definition.steps.is_empty() {
        findings.add(None, Problem::Empty(definition.name.clone()));
    }
    if definition.steps.len() > limits::STEPS_MAX {
        findings.add(None, Problem::TooManySteps(definition.steps.len()));
    }
    let mut seen = BTreeSet::new();
    for step in &definition.steps {
        if !seen.insert(step.name.as_str()) {
            findings.add(Some(&step.name), Problem::Duplicate);
        }
        one(&mut findings, step);
    }
    findings.finish()
}

fn one(findings: &mut Findings<'_>, step: &Step) {
    name(findings, Some(&step.name), "step's name", &step.name);
    match &step.kind {
        StepKind::Timer { wait_ms } => {
            if *wait_ms == 0 || *wait_ms > limits::TIMER_MS_MAX {
                findings.add(Some(&step.name), Problem::Timer { ms: *wait_ms });
            }
        }
        StepKind::Call(call) => {
            name(findings, Some(&step.name), "service", &call.service);
            name(findings, Some(&step.name), "action", &call.action);
            if let Some(compensate) = &call.compensate {
                name(findings, Some(&step.name), "compensation", compensate);
            }
            policy(findings, &step.name, ["deadline", "\"tries\"", "back-off"], call.doing);
            // Where the two are the same, it was said once and is found once.
            if call.undoing != call.doing {
                let what = ["deadline of the undo", "\"tries\" of the undo", "back-off of the undo"];
                policy(findings, &step.name, what, call.undoing);
            }
        }
    }
}

fn policy(findings: &mut Findings<'_>, step: &str, what: [&'static str; 3], policy: Policy) {
    let Policy { deadline_ms: ms, tries, back_off } = policy;
    if ms == 0 || ms > limits::DEADLINE_MS_MAX {
        findings.add(Some(step), Problem::Deadline { what: what[0], ms });
    }
    if tries == 0 || tries > limits::TRIES_MAX {
        findings.add(Some(step), Problem::Tries { what: what[1], tries: u64::from(tries) });
    }
    if back_off.first_ms == 0
        || back_off.most_ms < back_off.first_ms
        || back_off.most_ms > limits::BACK_OFF_MS_MAX
    {
        let (first_ms, most_ms) = (u64::from(back_off.first_ms), u64::from(back_off.most_ms));
        findings.add(Some(step), Problem::BackOff { what: what[2], first_ms, most_ms });
    }
}

fn name(findings: &mut Findings<'_>, step: Option<&str>, what: &'static str, name: &str) {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    if name.is_empty() || name.len() > limits::NAME_BYTES_MAX || !name.bytes().all(fits) {
        findings.add(step, Problem::Name { what, name: name.chars().take(80).collect() });
    }
}

/// The definition against the services there are.
pub(super) fn check_services(
    definition: &Definition,
    origin: &str,
    services: &Services,
) -> Result<(), DefinitionErrors> {
    let mut findings = Findings::new(origin);
    for step in &definition.steps {
        if let Some(call) = step.call() {
            call_exists(&mut findings, &step.name, call, services);
        }
    }
    findings.finish()
}

fn call_exists(findings: &mut Findings<'_>, step: &str, call: &Call, services: &Services) {
    let service = call.service.clone();
    let Some(found) = services.get(&service) else {
        let known = services.names().collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        findings.add(Some(step), Problem::UnknownService { service, known });
        return;
    };
    let actions = found.actions();
    let spec = |action: &str| actions.iter().find(|spec| spec.name == action);
    let unknown = |action: &str| {
        let known = actions.iter().map(|spec| spec.name).collect::<Vec<_>>().join(", ");
        Problem::UnknownAction { service: service.clone(), action: action.to_owned(), known }
    };
    if let Some(compensate) = &call.compensate
        && spec(compensate).is_none()
    {
        findings.add(Some(step), unknown(compensate));
    }
    let Some(action) = spec(&call.action) else {
        findings.add(Some(step), unknown(&call.action));
        return;
    };
    match (&call.compensate, action.undone_by) {
        (None, Some(by)) => {
            let (action, by) = (call.action.clone(), by.to_owned());
            findings.add(Some(step), Problem::MissingCompensation { action, by });
        }
        (Some(given), Some(by)) if given != by && spec(given).is_some() => {
            let (action, given, by) = (call.action.clone(), given.clone(), by.to_owned());
            findings.add(Some(step), Problem::WrongCompensation { action, given, by });
        }
        _ => {}
    }
}
