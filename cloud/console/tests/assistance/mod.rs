//! Questions of vehicles over the port: taken by one, answered, watched through a broken connection.

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_api::assistance::v1::assistance_service_client::AssistanceServiceClient;
use remuda_api::assistance::v1::{
    AnswerAssistanceRequestRequest, AssistanceOutcome, AssistanceState, GetAssistanceRequestRequest,
    ListAssistanceRequestsRequest, ReleaseAssistanceRequestRequest, TakeAssistanceRequestRequest,
    WatchAssistanceRequestsRequest,
};
use remuda_contracts::assistance::{ReportOffsets, ReportPage, Reports, VehicleReport};
use remuda_model::{OrganizationId, VehicleId};
use remuda_wire::{CommandKind, Decided, Event, PositionE7, Question, QuestionStep};
use tokio::sync::watch;
use tonic::{Code, Request};

use super::support::now_ms;
use super::{PARENT, reason_of, stage};

/// What vehicles have said.
pub(crate) struct Said {
    reports: Mutex<Vec<VehicleReport>>,
    changed: watch::Sender<u64>,
}

impl Default for Said {
    fn default() -> Self {
        Self { reports: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Said {
    pub(crate) fn say(&self, vehicle: &str, event: Event) {
        let mut reports = self.reports.lock();
        let event_id = format!("{:032x}", reports.len());
        let vehicle = VehicleId::new(vehicle).unwrap();
        let (organization, time_ms) = (OrganizationId::default(), now_ms());
        reports.push(VehicleReport { organization, vehicle, event_id, time_ms, received_ms: time_ms, event });
        self.changed.send_modify(|count| *count += 1);
    }
}

#[async_trait]
impl Reports for Said {
    async fn questions(&self, after: &ReportOffsets) -> Result<ReportPage, String> {
        let from = after.first().copied().unwrap_or(0);
        let reports: Vec<_> = self.reports.lock().iter().skip(from as usize).cloned().collect();
        let offsets = vec![from + reports.len() as u64];
        Ok(ReportPage { reports, offsets, more: false })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

pub(crate) fn asked() -> Event {
    Event::Asked(Question {
        id: [7; 16],
        text: "a cone stands in my lane".into(),
        options: vec!["wait".into(), "pass".into()],
        safe_default: 0,
        timeout_ms: 600_000,
        waited_ms: 0,
        position: Some(PositionE7 { latitude_e7: 601_699_123, longitude_e7: 249_384_123 }),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_taken_by_one_person_answered_and_followed() {
    let stage = stage().await;
    let mut ada = AssistanceServiceClient::new(stage.called_as("ada").await);
    let mut bob = AssistanceServiceClient::new(stage.called_as("bob").await);
    let mut dora = AssistanceServiceClient::new(stage.called_as("dora").await);
    let mut vera = AssistanceServiceClient::new(stage.called_as("vera").await);
    let watch =
        |token: &str| WatchAssistanceRequestsRequest { parent: PARENT.into(), resume_token: token.into() };
    let mut changes = ada.watch_assistance_requests(watch("")).await.unwrap().into_inner();
    let first = changes.message().await.unwrap().unwrap();
    assert!(first.assistance_requests.is_empty(), "nobody waits, and the token is there all the same");
    stage.said.say("V000001", asked());
    let mut told = changes.message().await.unwrap().unwrap();
    let request = told.assistance_requests.remove(0);
    assert_eq!(request.state(), AssistanceState::Asked);
    assert_eq!((request.options.len(), request.safe_default), (2, 0));
    assert_eq!(request.vehicle, format!("{PARENT}/vehicles/V000001"));
    drop(changes);

    let (name, token) = (request.name.clone(), told.resume_token);
    let take = |etag: &str| TakeAssistanceRequestRequest { name: name.clone(), etag: etag.into() };
    let answer = |option: Option<i32>| AnswerAssistanceRequestRequest {
        name: name.clone(),
        etag: String::new(),
        option,
        reason: "the lane is free".into(),
    };
    let early = ada.answer_assistance_request(answer(Some(1))).await.unwrap_err();
    assert_eq!(reason_of(&early), (Code::FailedPrecondition, "ASSISTANCE_NOT_TAKEN".into()));
    let dispatcher = dora.take_assistance_request(take("")).await.unwrap_err();
    assert_eq!(dispatcher.code(), Code::PermissionDenied);
    let taken = ada.take_assistance_request(take(&request.etag)).await.unwrap().into_inner();
    assert_eq!((taken.state(), taken.taken_by.as_str()), (AssistanceState::Taken, "account/ada"));
    let stale = bob.take_assistance_request(take(&request.etag)).await.unwrap_err();
    assert_eq!(reason_of(&stale), (Code::Aborted, "ETAG_MISMATCH".into()));
    let second = bob.take_assistance_request(take("")).await.unwrap_err();
    assert_eq!(reason_of(&second), (Code::Aborted, "ASSISTANCE_TAKEN".into()));
    assert!(second.message().contains("account/ada"), "{}", second.message());
    let other = bob.answer_assistance_request(answer(Some(0))).await.unwrap_err();
    assert_eq!(reason_of(&other), (Code::Aborted, "ASSISTANCE_TAKEN".into()));
    // Another's is released with a reason only.
    let release = |reason: &str| ReleaseAssistanceRequestRequest {
        name: name.clone(),
        etag: String::new(),
        reason: reason.into(),
    };
    let silent = bob.release_assistance_request(release(" ")).await.unwrap_err();
    assert_eq!(reason_of(&silent), (Code::InvalidArgument, "BAD_VALUE".into()));
    bob.release_assistance_request(release("ada has left")).await.unwrap();
    bob.take_assistance_request(take("")).await.unwrap();
    for (option, code, reason) in [
        (None, Code::InvalidArgument, "FIELD_INVALID"),
        (Some(-1), Code::InvalidArgument, "FIELD_INVALID"),
        (Some(2), Code::InvalidArgument, "BAD_OPTION"),
    ] {
        let wrong = bob.answer_assistance_request(answer(option)).await.unwrap_err();
        assert_eq!(reason_of(&wrong), (code, reason.to_owned()), "{wrong:?}");
    }
    let answered = bob.answer_assistance_request(answer(Some(1))).await.unwrap().into_inner();
    assert_eq!((answered.state(), answered.answer), (AssistanceState::Answered, Some(1)));
    assert!(answered.command.starts_with(&format!("{PARENT}/vehicles/V000001/commands/")));
    let given = stage.desk.given.lock()[0].clone();
    assert_eq!(given.kind, CommandKind::Answer { question: [7; 16], option: 1 });
    assert_eq!(given.requested_by, "account/bob");
    let step = QuestionStep::Decided { option: 1, why: Decided::Answered };
    stage.said.say("V000001", Event::QuestionMoved { question: [7; 16], step });

    // Who comes back with their token misses nothing.
    let mut changes = ada.watch_assistance_requests(watch(&token)).await.unwrap().into_inner();
    loop {
        let told = changes.message().await.unwrap().unwrap();
        if told.assistance_requests.iter().any(|r| r.outcome() == AssistanceOutcome::Answered) {
            break;
        }
    }
    let get = GetAssistanceRequestRequest { name: name.clone() };
    let ended = ada.get_assistance_request(get.clone()).await.unwrap().into_inner();
    assert_eq!((ended.state(), ended.decided_option), (AssistanceState::Acting, Some(1)));
    let late = bob.release_assistance_request(release("x")).await.unwrap_err();
    assert_eq!(reason_of(&late), (Code::FailedPrecondition, "ASSISTANCE_DECIDED".into()));

    // Lists, and who sees what.
    let list = |waiting_only| ListAssistanceRequestsRequest {
        parent: PARENT.into(),
        waiting_only,
        ..ListAssistanceRequestsRequest::default()
    };
    let all = dora.list_assistance_requests(list(false)).await.unwrap().into_inner().assistance_requests;
    assert_eq!(all.len(), 1);
    let (exact, shown) = (ended.position.unwrap(), all[0].position.unwrap());
    assert!((exact.latitude - 60.169_912_3).abs() < 1e-9, "{exact:?}");
    assert_eq!(shown, exact, "a dispatcher sees where it is");
    let coarse = vera.get_assistance_request(get).await.unwrap().into_inner().position.unwrap();
    assert!((coarse.latitude - 60.165).abs() < 1e-9, "a viewer sees the middle of its cell: {coarse:?}");
    assert!(
        dora.list_assistance_requests(list(true)).await.unwrap().into_inner().assistance_requests.is_empty()
    );
    let mut nobody = Request::new(GetAssistanceRequestRequest {
        name: format!("{PARENT}/assistanceRequests/{}", "0".repeat(32)),
    });
    nobody.set_timeout(std::time::Duration::from_secs(10));
    let missing = ada.get_assistance_request(nobody).await.unwrap_err();
    assert_eq!(reason_of(&missing), (Code::NotFound, "ASSISTANCE_REQUEST_NOT_FOUND".into()));
    let foreign = ada.watch_assistance_requests(watch("x.1")).await.unwrap_err();
    assert_eq!(reason_of(&foreign), (Code::InvalidArgument, "FIELD_INVALID".into()));
    stage.stop().await;
}
