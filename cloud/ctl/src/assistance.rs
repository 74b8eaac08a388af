//! `remudactl assistance`.

use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use clap::Subcommand;
use remuda_api::assistance::v1::assistance_service_client::AssistanceServiceClient;
use remuda_api::assistance::v1::{
    AnswerAssistanceRequestRequest, AssistanceOutcome, AssistanceRequest, AssistanceState,
    GetAssistanceRequestRequest, ListAssistanceRequestsRequest, ReleaseAssistanceRequestRequest,
    TakeAssistanceRequestRequest, WatchAssistanceRequestsRequest, WatchAssistanceRequestsResponse,
};
use remuda_api::{ChildName, MESSAGE_BYTES_MAX, OrganizationName};
use serde_json::{Value, json};
use tonic::Request;

use crate::args::{Global, OutputFormat};
use crate::client::{Service, open};
use crate::error::CtlError;
use crate::run::follow;
use crate::table::{Cell, Tint, cell, write};
use crate::text::{age_of, id, millis, now_ms, rfc3339};

/// What can be done with questions of vehicles.
#[derive(Debug, Subcommand)]
pub enum AssistanceCommand {
    /// Lists what vehicles asked, the newest first.
    List {
        /// Only those that wait for an answer.
        #[arg(long)]
        waiting: bool,
        /// How many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=900))]
        limit: i32,
    },
    /// Shows one, with its options.
    Get {
        /// Its id, or its whole resource name.
        request: String,
    },
    /// Follows what vehicles ask, and what becomes of it.
    Watch {
        /// Go on after what was seen under this token (`-o json` prints it).
        #[arg(long, default_value = "")]
        resume_token: String,
        /// End after so many answers.
        #[arg(long)]
        updates: Option<u64>,
    },
    /// Takes one, so that nobody else answers it.
    Take {
        /// Its id, or its whole resource name.
        request: String,
        /// Only if it has not changed since this was shown.
        #[arg(long, default_value = "")]
        etag: String,
    },
    /// Gives one back, so that somebody else can take it.
    Release {
        /// Its id, or its whole resource name.
        request: String,
        /// Why; needed when somebody else has taken it.
        #[arg(long, default_value = "")]
        reason: String,
        /// Only if it has not changed since this was shown.
        #[arg(long, default_value = "")]
        etag: String,
    },
    /// Answers one that you have taken.
    Answer {
        /// Its id, or its whole resource name.
        request: String,
        /// Number of the option, from 0, or its words.
        option: String,
        /// What to say to it; it stands in the journal.
        #[arg(long, default_value = "")]
        reason: String,
        /// Only if it has not changed since this was shown.
        #[arg(long, default_value = "")]
        etag: String,
    },
}

struct Session<'a> {
    client: AssistanceServiceClient<Service>,
    global: Global,
    out: &'a mut dyn Write,
    colours: bool,
    widths: Vec<usize>,
}

/// Runs one of them.
pub(crate) async fn run(
    command: AssistanceCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let client =
        AssistanceServiceClient::new(open(&global).await?).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut session = Session { client, global, out, colours, widths: Vec::new() };
    match command {
        AssistanceCommand::List { waiting, limit } => session.list(waiting, limit).await,
        AssistanceCommand::Get { request } => {
            let found = session.get(&request).await?;
            session.show_one(&found)
        }
        AssistanceCommand::Watch { resume_token, updates } => session.watch(resume_token, updates).await,
        AssistanceCommand::Take { request, etag } => {
            let message = TakeAssistanceRequestRequest { name: session.name(&request), etag };
            let call = session.request(message);
            let taken = session.client.take_assistance_request(call).await?.into_inner();
            session.show_one(&taken)
        }
        AssistanceCommand::Release { request, reason, etag } => {
            let message = ReleaseAssistanceRequestRequest { name: session.name(&request), etag, reason };
            let call = session.request(message);
            let released = session.client.release_assistance_request(call).await?.into_inner();
            session.show_one(&released)
        }
        AssistanceCommand::Answer { request, option, reason, etag } => {
            let option = session.option(&request, &option).await?;
            let name = session.name(&request);
            let message = AnswerAssistanceRequestRequest { name, etag, option: Some(option), reason };
            let call = session.request(message);
            let answered = session.client.answer_assistance_request(call).await?.into_inner();
            session.show_one(&answered)
        }
    }?;
    session.out.flush()?;
    Ok(())
}

impl Session<'_> {
    fn parent(&self) -> String {
        OrganizationName { organization: self.global.organization.clone() }.to_string()
    }

    fn name(&self, id: &str) -> String {
        if id.contains('/') {
            return id.to_owned();
        }
        let organization = self.global.organization.clone();
        ChildName { organization, collection: "assistanceRequests", id: id.to_owned() }.to_string()
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(self.global.timeout));
        request
    }

    async fn get(&mut self, request: &str) -> Result<AssistanceRequest, CtlError> {
        let message = GetAssistanceRequestRequest { name: self.name(request) };
        let call = self.request(message);
        Ok(self.client.get_assistance_request(call).await?.into_inner())
    }

    async fn option(&mut self, request: &str, said: &str) -> Result<i32, CtlError> {
        let options = self.get(request).await?.options;
        option_of(&options, said)
    }

    async fn list(&mut self, waiting_only: bool, page_size: i32) -> Result<(), CtlError> {
        let message = ListAssistanceRequestsRequest {
            parent: self.parent(),
            page_size,
            page_token: String::new(),
            waiting_only,
        };
        let call = self.request(message);
        let listed = self.client.list_assistance_requests(call).await?.into_inner().assistance_requests;
        if self.global.output == OutputFormat::Json {
            let documents: Vec<Value> = listed.iter().map(document).collect();
            writeln!(self.out, "{:#}", json!({ "assistanceRequests": documents }))?;
            return Ok(());
        }
        if listed.is_empty() {
            eprintln!("{}", if waiting_only { "no vehicle waits" } else { "no vehicle has asked yet" });
        }
        self.show(&listed, true)
    }

    /// Follows until Ctrl-C, also through a restart of the node: the last token goes on where it was.
    async fn watch(&mut self, resume_token: String, updates: Option<u64>) -> Result<(), CtlError> {
        let (parent, client) = (self.parent(), self.client.clone());
        let open = |resume_token| {
            let mut client = client.clone();
            let message = WatchAssistanceRequestsRequest { parent: parent.clone(), resume_token };
            async move { client.watch_assistance_requests(message).await }
        };
        let (mut heads, mut seen) = (true, 0);
        let each = |response: WatchAssistanceRequestsResponse| {
            self.told(&response, heads)?;
            heads = false;
            seen += 1;
            let enough = updates.is_some_and(|most| seen >= most);
            Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        follow(resume_token, open, |response| &response.resume_token, each).await
    }

    fn told(&mut self, response: &WatchAssistanceRequestsResponse, heads: bool) -> Result<(), CtlError> {
        if self.global.output == OutputFormat::Json {
            let documents: Vec<Value> = response.assistance_requests.iter().map(document).collect();
            let line = json!({ "assistanceRequests": documents, "resumeToken": response.resume_token });
            writeln!(self.out, "{line}")?;
        } else {
            self.show(&response.assistance_requests, heads)?;
        }
        self.out.flush()?;
        Ok(())
    }

    fn show_one(&mut self, request: &AssistanceRequest) -> Result<(), CtlError> {
        self.show(std::slice::from_ref(request), true)?;
        if matches!(self.global.output, OutputFormat::Table | OutputFormat::Wide) {
            for (number, option) in request.options.iter().enumerate() {
                let default =
                    if number as i32 == request.safe_default { " (when nobody answers)" } else { "" };
                writeln!(self.out, "    {number}: {}{default}", option.escape_debug())?;
            }
        }
        Ok(())
    }

    fn show(&mut self, requests: &[AssistanceRequest], heads: bool) -> Result<(), CtlError> {
        match self.global.output {
            OutputFormat::Json => {
                for request in requests {
                    writeln!(self.out, "{:#}", document(request))?;
                }
            }
            OutputFormat::Name => {
                for request in requests {
                    writeln!(self.out, "{}", request.name)?;
                }
            }
            OutputFormat::Table | OutputFormat::Wide => {
                let titles = [
                    "REQUEST", "VEHICLE", "STATE", "ASKED", "LEFT", "QUESTION", "TAKEN BY", "ANSWER", "TOOK",
                    "RESULT",
                ];
                let rows: Vec<Vec<Cell>> = requests.iter().map(row).collect();
                write(self.out, heads.then_some(&titles[..]), &rows, &mut self.widths, self.colours)?;
            }
        }
        Ok(())
    }
}

fn state_word(request: &AssistanceRequest) -> String {
    request.state().as_str_name().trim_start_matches("ASSISTANCE_STATE_").to_lowercase()
}

fn outcome_word(request: &AssistanceRequest) -> String {
    match request.outcome() {
        AssistanceOutcome::Unspecified => String::new(),
        known => known.as_str_name().trim_start_matches("ASSISTANCE_OUTCOME_").to_lowercase(),
    }
}

/// The words of an option.
fn words(request: &AssistanceRequest, option: Option<i32>) -> String {
    let at = option.and_then(|option| usize::try_from(option).ok());
    at.and_then(|at| request.options.get(at)).cloned().unwrap_or_default()
}

/// How long the vehicle still waits.
fn left(request: &AssistanceRequest) -> String {
    let waits = matches!(request.state(), AssistanceState::Asked | AssistanceState::Taken);
    match &request.expire_time {
        Some(deadline) if waits => format!("{} s", ((millis(deadline) - now_ms()).max(0)) / 1_000),
        _ => String::new(),
    }
}

fn row(request: &AssistanceRequest) -> Vec<Cell> {
    let tint = match request.state() {
        AssistanceState::Asked => Tint::Warn,
        AssistanceState::Ended if request.outcome() == AssistanceOutcome::Answered => Tint::Good,
        AssistanceState::Ended => Tint::Faint,
        _ => Tint::Plain,
    };
    let took = match (words(request, request.decided_option), outcome_word(request)) {
        (option, outcome) if option.is_empty() => outcome,
        (option, outcome) => format!("{option} ({outcome})"),
    };
    let result = if request.action_result.is_empty() { &request.not_given } else { &request.action_result };
    vec![
        cell(id(&request.name)),
        cell(id(&request.vehicle)),
        cell(state_word(request)).tint(tint),
        cell(age_of(request.create_time.as_ref(), now_ms())).right(),
        cell(left(request)).right(),
        cell(request.question.clone()),
        cell(request.taken_by.clone()),
        cell(words(request, request.answer)),
        cell(took),
        cell(result.clone()),
    ]
}

fn document(request: &AssistanceRequest) -> Value {
    let time = |time: Option<&prost_types::Timestamp>| time.map(rfc3339);
    json!({
        "name": request.name,
        "vehicle": request.vehicle,
        "question": request.question,
        "options": request.options,
        "safeDefault": request.safe_default,
        "position": request.position.map(|at| json!({ "latitude": at.latitude, "longitude": at.longitude })),
        "state": state_word(request),
        "takenBy": request.taken_by,
        "takeTime": time(request.take_time.as_ref()),
        "answeredBy": request.answered_by,
        "answerTime": time(request.answer_time.as_ref()),
        "answer": request.answer,
        "reason": request.reason,
        "command": request.command,
        "notGiven": request.not_given,
        "outcome": outcome_word(request),
        "decidedOption": request.decided_option,
        "actionResult": request.action_result,
        "createTime": time(request.create_time.as_ref()),
        "expireTime": time(request.expire_time.as_ref()),
        "updateTime": time(request.update_time.as_ref()),
        "etag": request.etag,
    })
}

/// A number, from 0, or the words of one of the options. A number that none has is the cloud's to refuse.
fn option_of(options: &[String], said: &str) -> Result<i32, CtlError> {
    let number: Option<i32> = said.parse().ok();
    let with_words = options.iter().enumerate().filter(|(_, option)| *option == said);
    let mut found = with_words.filter_map(|(at, _)| i32::try_from(at).ok());
    match (number, found.next(), found.next()) {
        (None, Some(at), None) => Ok(at),
        (Some(number), None, _) => Ok(number),
        (Some(number), Some(at), None) if number == at => Ok(at),
        (Some(_), Some(_), _) => Err(CtlError::Usage(
            "this is the number of one option and the words of another; say the number of the one you mean, written as `+1`",
        )),
        (None, Some(_), Some(_)) => {
            Err(CtlError::Usage("two options have these words; say the number of the one you mean"))
        }
        (None, None, _) => Err(CtlError::Usage(
            "the vehicle offers no such option; say its number, or its words as `remudactl assistance get` shows them",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_its_number_or_its_words_and_never_one_for_the_other() {
        let of = |options: &[&str], said| {
            let options: Vec<String> = options.iter().map(|&option| option.into()).collect();
            option_of(&options, said).map_err(|error| error.to_string())
        };
        let plain = ["wait", "pass on the left"];
        assert_eq!((of(&plain, "1"), of(&plain, "pass on the left")), (Ok(1), Ok(1)));
        assert_eq!(of(&plain, "7"), Ok(7), "the cloud says which there are");
        assert!(of(&plain, "go").unwrap_err().contains("no such option"));
        // Seats, say: the words of one are another's number.
        let numbers = ["1", "2", "2", "3"];
        assert!(of(&numbers, "1").unwrap_err().contains("words of another"));
        assert_eq!((of(&numbers, "0"), of(&numbers, "+1")), (Ok(0), Ok(1)));
        assert_eq!(of(&numbers, "3"), Ok(3), "both are the same option");
        assert!(of(&["a", "a"], "a").unwrap_err().contains("two options"));
    }

    #[test]
    fn a_line_says_what_was_asked_answered_and_done() {
        let mut request = AssistanceRequest {
            name: "organizations/default/assistanceRequests/ab".into(),
            vehicle: "organizations/default/vehicles/VAN1".into(),
            question: "pass?".into(),
            options: vec!["wait".into(), "pass".into()],
            state: AssistanceState::Ended.into(),
            outcome: AssistanceOutcome::TimedOut.into(),
            decided_option: Some(0),
            action_result: "done".into(),
            ..AssistanceRequest::default()
        };
        let texts: Vec<String> = row(&request).iter().map(|cell| cell.text.clone()).collect();
        assert_eq!(texts[..3], ["ab", "VAN1", "ended"]);
        assert_eq!(texts[4..], ["", "pass?", "", "", "wait (timed_out)", "done"]);
        request.not_given = "the vehicle has too many open commands".into();
        assert_eq!(row(&request).last().map(|cell| cell.text.clone()), Some("done".to_owned()));
        let again = AssistanceRequest { action_result: String::new(), ..request.clone() };
        assert_eq!(row(&again).last().map(|cell| cell.text.clone()), Some(request.not_given.clone()));
        assert_eq!(document(&request)["outcome"], "timed_out");
    }
}
