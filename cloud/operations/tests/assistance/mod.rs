//! Questions of vehicles: from their reports to a person, from the answer to a command, through restarts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_contracts::assistance::{
    AssistanceDesk, AssistanceOutcome, AssistanceState, AssistanceView, ReportOffsets, ReportPage, Reports,
    VehicleReport,
};
use remuda_contracts::operations::OperationsError;
use remuda_operations::Operations;
use remuda_wire::frame::CommandOutcome;
use remuda_wire::{CommandKind, Decided, Event, Question, QuestionStep};
use tokio::sync::watch;

use super::{Stage, here, vehicle};

/// What vehicles have said, as a journal would keep it: all in one shard.
pub(crate) struct Said {
    reports: Mutex<Vec<VehicleReport>>,
    changed: watch::Sender<u64>,
    /// From where it was read.
    read_from: Mutex<Vec<u64>>,
}

impl Default for Said {
    fn default() -> Self {
        Self { reports: Mutex::default(), changed: watch::Sender::new(0), read_from: Mutex::default() }
    }
}

#[async_trait]
impl Reports for Said {
    async fn questions(&self, after: &ReportOffsets) -> Result<ReportPage, String> {
        let from = after.first().copied().unwrap_or(0);
        self.read_from.lock().push(from);
        let reports = self.reports.lock();
        let some: Vec<_> = reports.iter().skip(from as usize).take(2).cloned().collect();
        let read = from + some.len() as u64;
        Ok(ReportPage { reports: some, offsets: vec![read], more: read < reports.len() as u64 })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

fn question(number: u8) -> Question {
    Question {
        id: [number; 16],
        text: "a cone stands in my lane".into(),
        options: vec!["wait".into(), "pass".into()],
        safe_default: 0,
        timeout_ms: 60_000,
        waited_ms: 0,
        position: None,
    }
}

impl Stage {
    fn says(&self, n: usize, event: Event) {
        let now_ms = self.now_ms.load(Ordering::SeqCst);
        let mut reports = self.said.reports.lock();
        let event_id = format!("{:032x}", reports.len());
        let organization = here();
        reports.push(VehicleReport {
            organization,
            vehicle: vehicle(n),
            event_id,
            time_ms: now_ms,
            received_ms: now_ms,
            event,
        });
        self.said.changed.send_modify(|count| *count += 1);
    }

    fn moved(&self, n: usize, number: u8, step: QuestionStep) {
        self.says(n, Event::QuestionMoved { question: [number; 16], step });
    }

    fn pass(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Waits until the metrics say so: a list may be faster.
    async fn counts(&self, line: &str) {
        let mut text = String::new();
        for _ in 0..2_000 {
            let mut registry = prometheus_client::registry::Registry::default();
            self.metrics.register(&mut registry);
            text.clear();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            if text.contains(line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{line} is not in\n{text}");
    }
}

/// The requests, once they are as wanted.
async fn until(
    desk: &Arc<dyn AssistanceDesk>,
    wanted: impl Fn(&[AssistanceView]) -> bool,
) -> Vec<AssistanceView> {
    for _ in 0..2_000 {
        let all = desk.list(&here(), false, None, 100).await.unwrap();
        if wanted(&all) {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the requests never are as wanted: {:?}", desk.list(&here(), false, None, 100).await);
}

async fn asked(stage: &Stage, operations: &Operations) -> (Arc<dyn AssistanceDesk>, String) {
    let desk = operations.assistance();
    stage.says(1, Event::Asked(question(1)));
    let all = until(&desk, |all| all.len() == 1).await;
    (desk, all[0].id.clone())
}

fn code(error: OperationsError) -> String {
    match error {
        OperationsError::Refused { code, .. } => code,
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_becomes_one_command_and_the_vehicles_word_is_what_counts() {
    let stage = Stage::new();
    let operations = stage.start().await;
    let (desk, id) = asked(&stage, &operations).await;
    let here = here();
    stage.pass(3_000);
    let seen = desk.get(&here, &id).await.unwrap();
    assert_eq!((seen.state, seen.deadline_ms), (AssistanceState::Asked, 1_060_000));
    let version = Some(seen.version);
    let taken = desk.take(&here, &id, version, "ada").await.unwrap();
    assert_eq!(
        (taken.state, taken.taken_by.as_str(), taken.taken_ms),
        (AssistanceState::Taken, "ada", 1_003_000)
    );
    // Two cannot both take it: by the etag, and by who has it.
    assert_eq!(desk.take(&here, &id, version, "bob").await, Err(OperationsError::Changed));
    assert_eq!(code(desk.take(&here, &id, None, "bob").await.unwrap_err()), "assistance-taken");
    assert_eq!(code(desk.answer(&here, &id, None, "bob", (1, "")).await.unwrap_err()), "assistance-taken");
    assert_eq!(code(desk.answer(&here, &id, None, "ada", (300, "")).await.unwrap_err()), "bad-option");
    stage.pass(4_000);
    let answered = desk.answer(&here, &id, None, "ada", (1, "the lane is free")).await.unwrap();
    assert_eq!(
        (answered.state, answered.answer, answered.outcome),
        (AssistanceState::Answered, Some(1), None)
    );
    desk.answer(&here, &id, None, "ada", (1, "")).await.expect("the same again is no second one");
    let given = stage.fleet.given.lock().values().cloned().collect::<Vec<_>>();
    assert_eq!(given.len(), 1, "one command");
    assert_eq!(given[0].kind, CommandKind::Answer { question: [1; 16], option: 1 });
    assert_eq!(
        (given[0].id.as_str(), given[0].reason.as_str()),
        (answered.command.as_str(), "the lane is free")
    );
    // No longer than the vehicle waits.
    assert_eq!(given[0].expires_ms, 1 + 53_000);
    stage.moved(1, 1, QuestionStep::Decided { option: 1, why: Decided::Answered });
    until(&desk, |all| all[0].state == AssistanceState::Acting).await;
    stage.moved(1, 1, QuestionStep::Acted(CommandOutcome::Failed("the lane is blocked".into())));
    let ended = until(&desk, |all| all[0].state == AssistanceState::Ended).await;
    assert_eq!(ended[0].outcome, Some(AssistanceOutcome::Answered));
    assert_eq!((ended[0].decided, ended[0].acted.as_str()), (Some(1), "failed: the lane is blocked"));
    for line in [
        "remuda_operations_assistance_total{outcome=\"asked\"} 1",
        "remuda_operations_assistance_total{outcome=\"answered\"} 1",
        "remuda_operations_assistance_total{outcome=\"action-failed\"} 1",
        "remuda_operations_assistance_wait_seconds_sum{step=\"taken\"} 3.0",
        "remuda_operations_assistance_wait_seconds_sum{step=\"answered\"} 7.0",
        "remuda_operations_assistance_wait_seconds_count{step=\"answered\"} 1",
    ] {
        stage.counts(line).await;
    }
    assert!(desk.list(&here, true, None, 10).await.unwrap().is_empty(), "nobody waits");
    operations.stop().await;
}

#[tokio::test]
async fn at_the_deadline_it_expires_and_an_answer_is_refused_with_a_reason() {
    let stage = Stage::new();
    let operations = stage.start().await;
    let (desk, id) = asked(&stage, &operations).await;
    desk.take(&here(), &id, None, "ada").await.unwrap();
    stage.pass(60_000);
    let late = desk.answer(&here(), &id, None, "ada", (1, "")).await.unwrap_err();
    assert!(late.to_string().contains("safe default"), "{late}");
    assert_eq!(code(late), "assistance-expired");
    until(&desk, |all| all[0].state == AssistanceState::Expired).await;
    stage.moved(1, 1, QuestionStep::Decided { option: 0, why: Decided::TimedOut });
    stage.moved(1, 1, QuestionStep::Acted(CommandOutcome::Done));
    let ended = until(&desk, |all| all[0].state == AssistanceState::Ended).await;
    assert_eq!((ended[0].outcome, ended[0].decided), (Some(AssistanceOutcome::TimedOut), Some(0)));
    assert!(stage.fleet.given.lock().is_empty(), "nothing was sent");
    operations.stop().await;
}

#[tokio::test]
async fn an_answer_that_could_not_go_out_goes_out_once_after_a_restart() {
    let stage = Stage::new();
    let operations = stage.start().await;
    let (desk, id) = asked(&stage, &operations).await;
    desk.take(&here(), &id, None, "ada").await.unwrap();
    stage.fleet.closed.store(true, Ordering::SeqCst);
    let answered = desk.answer(&here(), &id, None, "ada", (1, "")).await.unwrap();
    assert_eq!((answered.state, answered.command.as_str()), (AssistanceState::Answered, ""));
    operations.stop().await;
    // What was said is read again from the beginning: nothing is taken up twice.
    let operations = stage.start().await;
    let desk = operations.assistance();
    stage.fleet.closed.store(false, Ordering::SeqCst);
    let all = until(&desk, |all| all.len() == 1 && !all[0].command.is_empty()).await;
    assert_eq!((all[0].taken_by.as_str(), all[0].version), ("ada", 4), "asked, taken, answered, given");
    assert_eq!(stage.fleet.given.lock().len(), 1);
    operations.stop().await;
}

#[tokio::test]
async fn a_vehicle_that_asks_too_much_is_counted_and_not_taken_up() {
    let stage = Stage::new();
    let operations = stage.start().await;
    let desk = operations.assistance();
    for number in 1..=20 {
        stage.says(1, Event::Asked(question(number)));
    }
    stage.says(2, Event::Asked(question(1)));
    let all = until(&desk, |all| all.iter().any(|view| view.vehicle == vehicle(2))).await;
    assert_eq!(all.len(), 9, "8 of one vehicle, and the other's");
    stage.counts("remuda_operations_assistance_dropped_total{reason=\"too-many-of-vehicle\"} 12").await;
    // The newest first, page by page; and those that changed since.
    let page = desk.list(&here(), true, None, 4).await.unwrap();
    let rest = desk.list(&here(), true, Some(&page[3].id), 100).await.unwrap();
    assert_eq!((page.len(), rest.len()), (4, 5));
    stage.pass(5_000);
    desk.take(&here(), &page[0].id, None, "ada").await.unwrap();
    let changed = desk.changed_since(&here(), 1_005_000, 100).await.unwrap();
    assert_eq!(changed.iter().map(|view| view.id.as_str()).collect::<Vec<_>>(), [page[0].id.as_str()]);
    assert!(stage.said.read_from.lock().contains(&0));
    operations.stop().await;
}
