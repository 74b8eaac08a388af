//! Questions of vehicles: from their reports to a person, from the answer to a command, through restarts.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_contracts::assistance::{
    AssistanceDesk, AssistanceOutcome, AssistanceState, AssistanceView, ReportOffsets, ReportPage, Reports,
    VehicleReport,
};
use remuda_contracts::commands::{CommandDesk, CommandState};
use remuda_contracts::operations::OperationsError;
use remuda_model::VehicleId;
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
    /// From here on nothing can be read.
    ends_at: Mutex<Option<u64>>,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            reports: Mutex::default(),
            changed: watch::Sender::new(0),
            read_from: Mutex::default(),
            ends_at: Mutex::default(),
        }
    }
}

#[async_trait]
impl Reports for Said {
    async fn questions(&self, after: &ReportOffsets) -> Result<ReportPage, String> {
        let from = after.first().copied().unwrap_or(0);
        self.read_from.lock().push(from);
        if self.ends_at.lock().is_some_and(|end| from >= end) {
            return Err("the disk is broken".into());
        }
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
    /// Where the start of this number, from 0, keeps how far it has read.
    fn cursor(&self, start: i64) -> PathBuf {
        self.folder.path().join(start.to_string()).join("assistance.cursor")
    }

    fn says(&self, n: usize, event: Event) {
        self.says_as(vehicle(n), event);
    }

    fn says_as(&self, vehicle: VehicleId, event: Event) {
        let now_ms = self.now_ms.load(Ordering::SeqCst);
        let mut reports = self.said.reports.lock();
        let event_id = format!("{:032x}", reports.len());
        let organization = here();
        reports.push(VehicleReport {
            organization,
            vehicle,
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

    /// Waits until the metrics have this line: a list may be faster.
    async fn counts(&self, line: &str) {
        let mut text = String::new();
        // A thousand vehicles may have to ask first.
        for _ in 0..12_000 {
            let mut registry = prometheus_client::registry::Registry::default();
            self.metrics.register(&mut registry);
            text.clear();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            if text.lines().any(|one| one == line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{line} is not in\n{text}");
    }
}

impl Said {
    /// From where it was read first since this was asked last.
    fn first_read(&self) -> Option<u64> {
        std::mem::take(&mut *self.read_from.lock()).first().copied()
    }

    /// Waits until it is read from here.
    async fn read_up_to(&self, offset: u64) {
        for _ in 0..2_000 {
            if self.read_from.lock().contains(&offset) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it is read from {:?}", self.read_from.lock());
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

impl Stage {
    /// The only command that has no end yet ends like this, now.
    fn command_ends(&self, state: CommandState, detail: &str) {
        let mut given = self.fleet.given.lock();
        let open = given.values_mut().find(|view| !view.state.is_final()).unwrap();
        (open.state, open.detail) = (state, detail.to_owned());
        open.changed_ms = self.now_ms.load(Ordering::SeqCst);
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_given_comes_back_to_whoever_gave_it() {
    let stage = Stage::new();
    let operations = stage.start().await;
    let desk = operations.assistance();
    // The vehicles' desk takes no command for this one.
    stage.says_as(VehicleId::new("X1").unwrap(), Event::Asked(question(1)));
    let id = until(&desk, |all| all.len() == 1).await.remove(0).id;
    desk.take(&here(), &id, None, "ada").await.unwrap();
    for tries in 1..=2 {
        let back = desk.answer(&here(), &id, None, "ada", (1, "")).await.unwrap();
        assert_eq!((back.state, back.answer, back.answered_by.as_str()), (AssistanceState::Taken, None, ""));
        assert_eq!((back.not_given.as_str(), back.command.as_str()), ("too many are open", ""));
        stage.counts(&format!("remuda_operations_assistance_total{{outcome=\"not-given\"}} {tries}")).await;
    }
    stage.pass(60_000);
    until(&desk, |all| all[0].state == AssistanceState::Expired).await;
    operations.stop().await;
}

#[tokio::test]
async fn an_answer_that_does_not_arrive_can_be_given_once_more_until_the_vehicle_has_decided() {
    let stage = Stage::new();
    stage.fleet.away.lock().insert(vehicle(1));
    let operations = stage.start().await;
    let (desk, id) = asked(&stage, &operations).await;
    desk.take(&here(), &id, None, "ada").await.unwrap();
    let sent = desk.answer(&here(), &id, None, "ada", (1, "")).await.unwrap();
    assert_eq!((sent.state, sent.command.is_empty()), (AssistanceState::Answered, false));
    // Somebody takes the command back.
    stage.fleet.cancel(&here(), &vehicle(1), &sent.command, "bob", "x").await.unwrap();
    let back = until(&desk, |all| all[0].state == AssistanceState::Taken).await.remove(0);
    assert_eq!((back.taken_by.as_str(), back.command.as_str(), back.answer), ("ada", "", None));
    assert_eq!(back.not_given, "the command that brings it was taken back");
    // The next is another command; the vehicle has no such question, it says.
    let again = desk.answer(&here(), &id, None, "ada", (0, "")).await.unwrap();
    assert_eq!((again.state, again.not_given.as_str()), (AssistanceState::Answered, ""));
    assert_ne!(again.command, sent.command);
    stage.command_ends(CommandState::Refused, "question");
    stage.pass(5_000);
    let back = until(&desk, |all| all[0].state == AssistanceState::Taken).await.remove(0);
    assert_eq!(back.not_given, "the vehicle refused its command: question");
    // A third is lost with the agent. What the vehicle says of its question comes before that, and counts.
    desk.answer(&here(), &id, None, "ada", (1, "")).await.unwrap();
    stage.command_ends(CommandState::Unknown, "");
    stage.moved(1, 1, QuestionStep::Decided { option: 1, why: Decided::Answered });
    let acting = until(&desk, |all| all[0].state == AssistanceState::Acting).await.remove(0);
    stage.pass(5_000);
    stage.moved(1, 1, QuestionStep::Acted(CommandOutcome::Unknown));
    let ended = until(&desk, |all| all[0].state == AssistanceState::Ended).await.remove(0);
    assert_eq!((ended.answer, ended.answered_by.as_str(), &ended.command), (Some(1), "ada", &acting.command));
    assert_eq!(stage.fleet.given.lock().len(), 3, "each answer was one command");
    stage.counts("remuda_operations_assistance_total{outcome=\"not-given\"} 2").await;
    operations.stop().await;
}

#[tokio::test]
async fn an_answer_whose_command_ended_at_the_deadline_is_not_on_its_way_for_ever() {
    let stage = Stage::new();
    stage.fleet.away.lock().insert(vehicle(1));
    let operations = stage.start().await;
    let (desk, id) = asked(&stage, &operations).await;
    desk.take(&here(), &id, None, "ada").await.unwrap();
    desk.answer(&here(), &id, None, "ada", (1, "")).await.unwrap();
    operations.stop().await;
    stage.pass(60_000);
    stage.command_ends(CommandState::Expired, "");
    stage.pass(5_000);
    // A start looks after old ones, too.
    let operations = stage.start().await;
    let desk = operations.assistance();
    let expired = until(&desk, |all| all[0].state == AssistanceState::Expired).await.remove(0);
    assert_eq!(expired.not_given, "its command expired before the vehicle took it");
    operations.stop().await;
}

#[tokio::test]
async fn vehicles_that_are_silent_take_no_room_from_those_that_wait_and_are_all_looked_at() {
    let stage = Stage::new();
    let operations = stage.start().await;
    for n in 0..1_001 {
        stage.says(n, Event::Asked(question(1)));
    }
    stage.counts("remuda_operations_assistance_dropped_total{reason=\"too-many\"} 1").await;
    stage.counts("remuda_operations_assistance_waiting 1000").await;
    stage.pass(60_000);
    stage.counts("remuda_operations_assistance_waiting 0").await;
    // More are open by now than one page has, and the new ones come last.
    for n in 2_000..2_003 {
        stage.says(n, Event::Asked(question(1)));
    }
    stage.counts("remuda_operations_assistance_total{outcome=\"asked\"} 1003").await;
    stage.counts("remuda_operations_assistance_waiting 3").await;
    stage.pass(60_000);
    stage.counts("remuda_operations_assistance_waiting 0").await;
    let newest = operations.assistance().list(&here(), false, None, 3).await.unwrap();
    assert!(newest.iter().all(|view| view.state == AssistanceState::Expired), "{newest:?}");
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
    let changed = desk.changed_since(&here(), 1_005_000, 100, &|_| true).await.unwrap();
    assert_eq!(changed.iter().map(|view| view.id.as_str()).collect::<Vec<_>>(), [page[0].id.as_str()]);
    // Those of one vehicle, behind as many of another as are asked for.
    let sees = |asks: &VehicleId| *asks == vehicle(2);
    let changed = desk.changed_since(&here(), 0, 1, &sees).await.unwrap();
    assert_eq!(changed.iter().map(|view| view.vehicle).collect::<Vec<_>>(), [vehicle(2)]);
    operations.stop().await;
}

#[tokio::test]
async fn a_start_goes_on_where_the_last_page_ended_and_without_the_cursor_takes_nothing_up_twice() {
    let stage = Stage::new();
    for n in 0..6 {
        stage.says(n, Event::Asked(question(1)));
    }
    // The third page never comes: the node is not caught up, and ends so.
    *stage.said.ends_at.lock() = Some(4);
    let operations = stage.start().await;
    until(&operations.assistance(), |all| all.len() == 4).await;
    stage.said.read_up_to(4).await;
    operations.stop().await;
    assert_eq!(stage.said.first_read(), Some(0));
    *stage.said.ends_at.lock() = None;
    std::fs::create_dir_all(stage.cursor(1).parent().unwrap()).unwrap();
    std::fs::copy(stage.cursor(0), stage.cursor(1)).unwrap();
    let operations = stage.start().await;
    until(&operations.assistance(), |all| all.len() == 6).await;
    operations.stop().await;
    assert_eq!(stage.said.first_read(), Some(4));
    // The cursor is lost.
    let operations = stage.start().await;
    stage.says(6, Event::Asked(question(1)));
    let all = until(&operations.assistance(), |all| all.len() == 7).await;
    assert!(all.iter().all(|view| view.version == 1), "{all:?}");
    operations.stop().await;
    assert_eq!(stage.said.first_read(), Some(0));
}

#[tokio::test]
async fn what_would_be_forgotten_by_now_does_not_come_back_when_all_is_read_again() {
    let stage = Stage::new();
    let operations = stage.start().await;
    // One more than is taken up of one vehicle.
    for number in 1..=9 {
        stage.says(1, Event::Asked(question(number)));
        stage.moved(1, number, QuestionStep::Decided { option: 0, why: Decided::TimedOut });
    }
    stage.counts("remuda_operations_assistance_dropped_total{reason=\"too-many-of-vehicle\"} 1").await;
    for number in 1..=9 {
        stage.moved(1, number, QuestionStep::Acted(CommandOutcome::Done));
    }
    let ended = |all: &[AssistanceView]| all.iter().filter(|v| v.state == AssistanceState::Ended).count();
    until(&operations.assistance(), |all| ended(all) == 8).await;
    operations.stop().await;
    // A day for the vehicle's silence, and the longest that a question waits.
    stage.pass((24 + 1) * 3_600_000);
    let operations = stage.start().await;
    stage.says(2, Event::Asked(question(1)));
    let all = until(&operations.assistance(), |all| all.iter().any(|view| view.vehicle == vehicle(2))).await;
    assert_eq!((all.len(), ended(&all)), (9, 8), "the ninth of the first vehicle has not come back");
    stage.counts("remuda_operations_assistance_total{outcome=\"asked\"} 9").await;
    operations.stop().await;
}
