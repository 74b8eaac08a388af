//! Definitions from YAML, such as `config/sagas/trip-booking.yml`.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::check::{Findings, check};
use super::{BackOff, Call, Definition, DefinitionErrors, Policy, Problem, Step, StepKind};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    saga: RawSaga,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSaga {
    name: String,
    version: Option<u32>,
    deadline: Option<Millis>,
    tries: Option<u64>,
    back_off: Option<RawBackOff>,
    steps: Option<Vec<RawStep>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawStep {
    name: Option<String>,
    service: Option<String>,
    action: Option<String>,
    compensate: Option<String>,
    deadline: Option<Millis>,
    tries: Option<u64>,
    back_off: Option<RawBackOff>,
    undo: Option<RawPolicy>,
    timer: Option<Millis>,
    parallel: Option<Vec<RawStep>>,
}

#[derive(Default, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawPolicy {
    deadline: Option<Millis>,
    tries: Option<u64>,
    back_off: Option<RawBackOff>,
}

#[derive(Default, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawBackOff {
    first: Option<Millis>,
    most: Option<Millis>,
}

/// `10s`, `500ms`, `15m`, `1h`, `2d`, or a whole number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Millis(u64);

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MillisVisitor)
    }
}

struct MillisVisitor;

impl Visitor<'_> for MillisVisitor {
    type Value = Millis;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as 500ms, 10s, 15m, 1h or 2d, or a whole number of seconds")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Millis, E> {
        Ok(Millis(seconds.saturating_mul(1_000)))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Millis, E> {
        let seconds =
            u64::try_from(seconds).map_err(|_| E::invalid_value(de::Unexpected::Signed(seconds), &self))?;
        self.visit_u64(seconds)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Millis, E> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim() {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        };
        let number: u64 = number.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
        Ok(Millis(number.saturating_mul(factor)))
    }
}

impl RawPolicy {
    /// Where this is silent, the other speaks.
    fn or(self, other: Self) -> Self {
        let back_off = match (self.back_off, other.back_off) {
            (Some(own), Some(outer)) => {
                Some(RawBackOff { first: own.first.or(outer.first), most: own.most.or(outer.most) })
            }
            (own, outer) => own.or(outer),
        };
        Self { deadline: self.deadline.or(other.deadline), tries: self.tries.or(other.tries), back_off }
    }

    /// Where all are silent, the defaults speak. Numbers too large for their field are taken as the largest: the check
    /// refuses them.
    fn settled(self) -> Policy {
        let fallback = Policy::default();
        let short = |ms: Option<Millis>, or: u32| ms.map_or(or, |ms| u32::try_from(ms.0).unwrap_or(u32::MAX));
        let back_off = self.back_off.unwrap_or_default();
        let first_ms = short(back_off.first, fallback.back_off.first_ms);
        // A first pause over the default's longest moves that too: only one of the two was said.
        let most_ms = short(back_off.most, fallback.back_off.most_ms.max(first_ms));
        Policy {
            deadline_ms: self.deadline.map_or(fallback.deadline_ms, |ms| ms.0),
            tries: self.tries.map_or(fallback.tries, |n| u16::try_from(n).unwrap_or(u16::MAX)),
            back_off: BackOff { first_ms, most_ms },
        }
    }
}

/// A definition from YAML. `origin` is the file's name, for errors.
///
/// # Errors
/// All that is wrong with it.
pub fn from_yaml(text: &str, origin: &str) -> Result<Definition, DefinitionErrors> {
    let mut findings = Findings::new(origin);
    let saga = match serde_saphyr::from_str::<File>(text) {
        Ok(File { saga }) => saga,
        Err(error) => {
            findings.add(None, Problem::Form(error.without_snippet().to_string()));
            return Err(findings.into_errors());
        }
    };
    let defaults = RawPolicy { deadline: saga.deadline, tries: saga.tries, back_off: saga.back_off };
    let mut steps = Vec::new();
    for (stage, mut raw) in (0u16..).zip(saga.steps.unwrap_or_default()) {
        let place = format!("{}", u32::from(stage) + 1);
        let Some(group) = raw.parallel.take() else {
            steps.extend(step(&mut findings, &place, stage, raw, defaults));
            continue;
        };
        group_alone(&mut findings, &place, &raw);
        if group.len() < 2 {
            findings.add(Some(&place), Problem::Group(group.len()));
        }
        for (inner, raw) in (1..).zip(group) {
            let place = format!("{place}.{inner}");
            if raw.parallel.is_some() {
                findings.add(Some(&place), Problem::Nested);
            } else {
                steps.extend(step(&mut findings, &place, stage, raw, defaults));
            }
        }
    }
    let definition = Definition { name: saga.name, version: saga.version.unwrap_or(1), steps };
    findings.finish()?;
    check(&definition, origin)?;
    Ok(definition)
}

fn step(
    findings: &mut Findings<'_>,
    place: &str,
    stage: u16,
    raw: RawStep,
    defaults: RawPolicy,
) -> Option<Step> {
    let label = raw.name.clone().or_else(|| raw.action.clone()).unwrap_or_else(|| place.to_owned());
    match (raw.service, raw.action, raw.timer) {
        (Some(service), Some(action), None) => {
            let own =
                RawPolicy { deadline: raw.deadline, tries: raw.tries, back_off: raw.back_off }.or(defaults);
            let undo = raw.undo.unwrap_or_default().or(own);
            let (doing, undoing) = (own.settled(), undo.settled());
            let name = raw.name.unwrap_or_else(|| action.clone());
            let call = Call { service, action, compensate: raw.compensate, doing, undoing };
            Some(Step { name, stage, kind: StepKind::Call(call) })
        }
        (None, None, Some(Millis(wait_ms))) => {
            let extra = [
                ("compensate", raw.compensate.is_some()),
                ("deadline", raw.deadline.is_some()),
                ("tries", raw.tries.is_some()),
                ("back-off", raw.back_off.is_some()),
                ("undo", raw.undo.is_some()),
            ];
            for (field, _) in extra.into_iter().filter(|(_, there)| *there) {
                findings.add(Some(&label), Problem::Misplaced { field, kind: "timer" });
            }
            let name = raw.name.unwrap_or_else(|| format!("timer-{place}"));
            Some(Step { name, stage, kind: StepKind::Timer { wait_ms } })
        }
        _ => {
            findings.add(Some(&label), Problem::Kind);
            None
        }
    }
}

/// A group says nothing but what is in it.
fn group_alone(findings: &mut Findings<'_>, place: &str, raw: &RawStep) {
    if raw.service.is_some() || raw.action.is_some() || raw.timer.is_some() {
        findings.add(Some(place), Problem::Kind);
    }
    let extra = [
        ("name", raw.name.is_some()),
        ("compensate", raw.compensate.is_some()),
        ("deadline", raw.deadline.is_some()),
        ("tries", raw.tries.is_some()),
        ("back-off", raw.back_off.is_some()),
        ("undo", raw.undo.is_some()),
    ];
    for (field, _) in extra.into_iter().filter(|(_, there)| *there) {
        findings.add(Some(place), Problem::Misplaced { field, kind: "parallel" });
    }
}
