//! What a definition may say, and what people are told when it says something else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use remuda_saga::definition::{BackOff, Policy, Problem, StepKind, from_yaml};
use remuda_saga::{
    ActionSpec, Definition, Definitions, Service, Services, StepBuilder, StepContext, StepError,
};
use serde_json::Value;

fn shipped() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../config/sagas")
}

struct Named(&'static str, &'static [ActionSpec]);

#[async_trait]
impl Service for Named {
    fn name(&self) -> &'static str {
        self.0
    }
    fn actions(&self) -> &'static [ActionSpec] {
        self.1
    }
    async fn call(&self, _: &str, _: &str, _: &StepContext) -> Result<Value, StepError> {
        Ok(Value::Null)
    }
}

const USER: &[ActionSpec] =
    &[ActionSpec::undone_by("reserve-credits", "release-credits"), ActionSpec::plain("release-credits")];
const VEHICLE: &[ActionSpec] =
    &[ActionSpec::undone_by("reserve-vehicle", "release-vehicle"), ActionSpec::plain("release-vehicle")];
const TRIP: &[ActionSpec] =
    &[ActionSpec::undone_by("create-trip", "cancel-trip"), ActionSpec::plain("cancel-trip")];
const NOTIFICATION: &[ActionSpec] = &[
    ActionSpec::undone_by("send-confirmation", "send-cancellation"),
    ActionSpec::plain("send-cancellation"),
];

fn services() -> Services {
    let all: [Arc<dyn Service>; 4] = [
        Arc::new(Named("user-service", USER)),
        Arc::new(Named("vehicle-service", VEHICLE)),
        Arc::new(Named("trip-service", TRIP)),
        Arc::new(Named("notification-service", NOTIFICATION)),
    ];
    Services::new(all)
}

#[test]
fn the_shipped_definition_is_the_issues_and_takes_the_defaults() {
    let all = Definitions::load_folder(&shipped()).expect("it loads");
    all.check_services(&services()).expect("all is there");
    let booking = all.newest("TripBookingSaga").expect("it is there");
    assert_eq!((booking.version, booking.stages()), (1, 4));
    let names: Vec<&str> = booking.steps.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["reserve-credits", "reserve-vehicle", "create-trip", "send-confirmation"]);
    for step in &booking.steps {
        let call = step.call().expect("a call");
        let policy =
            Policy { deadline_ms: 10_000, tries: 5, back_off: BackOff { first_ms: 200, most_ms: 10_000 } };
        assert_eq!((call.doing, call.undoing), (policy, policy));
        assert!(call.compensate.is_some());
    }
}

#[test]
fn every_field_has_its_effect() {
    let text = r#"
saga:
  name: Charging
  version: 3
  deadline: 2m
  tries: 7
  back-off: { first: 100ms, most: 1s }
  steps:
    - service: a
      action: look
    - parallel:
        - { name: left, service: a, action: take, compensate: give, deadline: 5 }
        - name: right
          service: b
          action: take
          compensate: give
          undo: { tries: 50, deadline: 1h, back-off: { most: 30s } }
    - timer: 15m
    - { name: pause, timer: 2d }
"#;
    let charging = from_yaml(text, "charging.yml").expect("it is valid");
    assert_eq!((charging.name.as_str(), charging.version, charging.stages()), ("Charging", 3, 4));
    let step = |name: &str| charging.step_named(name).map(|(_, step)| step.clone()).expect("it is there");
    assert_eq!((step("look").stage, step("left").stage, step("right").stage), (0, 1, 1));
    let outer =
        Policy { deadline_ms: 120_000, tries: 7, back_off: BackOff { first_ms: 100, most_ms: 1_000 } };
    assert_eq!(step("look").call().expect("a call").doing, outer);
    assert_eq!(step("left").call().expect("a call").undoing, Policy { deadline_ms: 5_000, ..outer });
    let right = step("right").call().expect("a call").clone();
    let back_off = BackOff { first_ms: 100, most_ms: 30_000 };
    assert_eq!((right.doing, right.undoing), (outer, Policy { deadline_ms: 3_600_000, tries: 50, back_off }));
    assert_eq!(step("timer-3").kind, StepKind::Timer { wait_ms: 900_000 });
    assert_eq!((step("pause").kind, step("pause").stage), (StepKind::Timer { wait_ms: 172_800_000 }, 3));
}

#[test]
fn yaml_and_code_give_the_same() {
    let text = "saga: { name: S, steps: [{ service: a, action: b, compensate: c, tries: 2, deadline: 3s }, \
                { name: w, timer: 1s }] }";
    let code = Definition::named("S")
        .step(StepBuilder::call("a", "b").undone_by("c").tries(2).deadline(Duration::from_secs(3)))
        .timer("w", Duration::from_secs(1))
        .build();
    assert_eq!(from_yaml(text, "s.yml"), code);
}

/// Each wrong definition, and what its error says: file, step, what to do.
#[test]
fn what_is_wrong_is_said_with_file_step_and_what_to_do() {
    let step = "service: a, action: b";
    for (saga, says) in [
        ("name: S".to_owned(), "bad.yml: the saga \"S\" has no steps; give it at least one"),
        ("name: S, steps: []".into(), "has no steps"),
        ("name: S, steps:".into(), "has no steps"),
        ("name: \"a/b\", steps: [{ service: a, action: b }]".into(), "the saga's name \"a/b\" is not a name"),
        ("name: S, version: 0, steps: [{ service: a, action: b }]".into(), "versions count from 1"),
        (format!("name: S, steps: [{{ {step}, deadline: 0 }}]"), "step \"b\": the deadline is 0 ms"),
        (format!("name: S, steps: [{{ {step}, deadline: 3601s }}]"), "at most an hour, such as \"10s\""),
        (
            format!("name: S, steps: [{{ {step}, undo: {{ deadline: 2h }} }}]"),
            "deadline of the undo is 7200000 ms",
        ),
        (format!("name: S, deadline: 0s, steps: [{{ {step} }}]"), "step \"b\": the deadline is 0 ms"),
        (format!("name: S, steps: [{{ {step}, deadline: soon }}]"), "a time such as 500ms"),
        (format!("name: S, steps: [{{ {step}, deadline: -4 }}]"), "a time such as 500ms"),
        (
            format!("name: S, steps: [{{ {step}, tries: 0 }}]"),
            "step \"b\": \"tries\" is 0; it must be 1 to 100",
        ),
        (format!("name: S, steps: [{{ {step}, tries: 101 }}]"), "\"tries\" is 101"),
        (
            format!("name: S, steps: [{{ {step}, back-off: {{ first: 9s, most: 1s }} }}]"),
            "back-off goes from 9000 ms to",
        ),
        (
            format!("name: S, steps: [{{ {step} }}, {{ {step} }}]"),
            "step \"b\": an earlier step has this name",
        ),
        ("name: S, steps: [{ service: a }]".into(), "step \"1\": needs either \"service\" and \"action\""),
        (format!("name: S, steps: [{{ {step}, timer: 3s }}]"), "not more than one of them"),
        ("name: S, steps: [{ timer: 0 }]".into(), "step \"timer-1\": the timer is 0 ms"),
        ("name: S, steps: [{ timer: 91d }]".into(), "at most 90 days"),
        ("name: S, steps: [{ timer: 1s, tries: 3 }]".into(), "\"tries\" does not go with \"timer\""),
        (
            format!("name: S, steps: [{{ parallel: [{{ {step} }}] }}]"),
            "step \"1\": the parallel group has 1 steps",
        ),
        (
            format!("name: S, steps: [{{ parallel: [{{ {step} }}, {{ parallel: [] }}] }}]"),
            "step \"1.2\": a parallel group cannot",
        ),
        (
            format!("name: S, steps: [{{ name: g, parallel: [{{ {step} }}, {{ timer: 1s }}] }}]"),
            "\"name\" does not go with \"parallel\"",
        ),
        (format!("name: S, steps: [{{ {step}, dead-line: 1s }}]"), "dead-line"),
        (format!("name: S, retries: 3, steps: [{{ {step} }}]"), "retries"),
    ] {
        let error = from_yaml(&format!("saga: {{ {saga} }}"), "bad.yml").expect_err(&saga).to_string();
        assert!(error.starts_with("bad.yml: ") && error.contains(says), "{saga}\n{error}\nexpected: {says}");
    }
    for text in ["", "42", "saga: [", "sagas: {}", "saga: { name: A, name: B }", "&a [*a]"] {
        let error = from_yaml(text, "bad.yml").expect_err(text).to_string();
        assert!(error.starts_with("bad.yml: is not a saga definition"), "{error}");
    }
}

#[test]
fn all_errors_come_at_once() {
    let text = "saga: { name: S, steps: [{ service: a, action: b, deadline: 0, tries: 0 }, { timer: 0 }] }";
    let errors = from_yaml(text, "bad.yml").expect_err("three");
    assert_eq!(errors.0.len(), 3, "{errors}");
}

#[test]
fn what_no_service_offers_is_found_at_start_up() {
    let check = |step: &str| {
        let mut all = Definitions::default();
        let text = format!("saga: {{ name: S, steps: [{{ {step} }}] }}");
        all.add_from(from_yaml(&text, "s.yml").expect("by itself it is valid"), "s.yml").expect("it is new");
        all.check_services(&services()).expect_err(step).0.remove(0)
    };
    for (step, says) in [
        (
            "service: user, action: reserve-credits, compensate: release-credits",
            "s.yml: step \"reserve-credits\": there is no service \"user\"; there are: notification-service, \
             trip-service, user-service, vehicle-service",
        ),
        (
            "service: user-service, action: hold, compensate: release-credits",
            "the service \"user-service\" has no action \"hold\"; it has: reserve-credits, release-credits",
        ),
        ("service: user-service, action: reserve-credits, compensate: free", "has no action \"free\""),
        (
            "service: user-service, action: reserve-credits",
            "the action \"reserve-credits\" leaves something behind and needs \"compensate: release-credits\"",
        ),
        (
            "service: user-service, action: reserve-credits, compensate: reserve-credits",
            "\"reserve-credits\" does not undo \"reserve-credits\"; say \"compensate: release-credits\"",
        ),
    ] {
        let error = check(step);
        assert!(error.to_string().contains(says), "{error}\nexpected: {says}");
        assert_eq!(error.step.as_deref(), step.split("action: ").nth(1).and_then(|s| s.split(',').next()));
    }
}

#[test]
fn versions_live_side_by_side_and_none_comes_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("it is written");
    let with = |version: u32, action: &str| {
        format!("saga: {{ name: S, version: {version}, steps: [{{ service: a, action: {action} }}] }}")
    };
    write("s-1.yml", &with(1, "old"));
    write("s-2.yaml", &with(2, "new"));
    write("notes.txt", "not a definition");
    let all = Definitions::load_folder(folder.path()).expect("both load");
    assert_eq!(all.newest("S").map(|d| d.steps[0].name.as_str()), Some("new"));
    assert_eq!(all.version("S", 1).map(|d| d.steps[0].name.as_str()), Some("old"));
    assert_eq!((all.iter().count(), all.newest("T")), (2, None));
    write("s-again.yml", &with(2, "other"));
    write("s-broken.yml", "saga: [");
    let errors = Definitions::load_folder(folder.path()).expect_err("two are wrong").0;
    assert_eq!(errors.len(), 2);
    assert!(errors.iter().any(|e| matches!(&e.problem, Problem::Repeated { version: 2, other, .. } if other.ends_with("s-2.yaml") || other.ends_with("s-again.yml"))));
    let missing = Definitions::load_folder(&folder.path().join("none")).expect_err("it is not there");
    assert!(missing.to_string().contains("cannot be read"), "{missing}");
}

#[test]
fn no_text_makes_the_reader_panic() {
    use proptest::prelude::*;
    let piece = prop::sample::select(vec![
        "saga:",
        " ",
        "\n",
        "  ",
        "- ",
        "name: S",
        "steps:",
        "service: a",
        "action: b",
        "timer: 1s",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "&a",
        "*a",
        "!!x",
        "|",
        ">",
        "\"",
        "parallel:",
        "deadline: 99999999999999999999",
        "undo:",
        "\t",
        "é",
        "?",
        "~",
    ]);
    let text = prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) }, |(text in text)| {
        let _ = from_yaml(&text, "any.yml");
    });
}
