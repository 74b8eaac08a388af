//! `remudactl audit`.

use std::io::Write;
use std::time::Duration;

use clap::Subcommand;
use remuda_api::audit::v1::audit_service_client::AuditServiceClient;
use remuda_api::audit::v1::{Entry, ListEntriesRequest, Outcome, VerifyLogRequest};
use remuda_api::{MESSAGE_BYTES_MAX, OrganizationName};
use serde_json::{Value, json};
use tonic::Request;

use crate::args::{Global, OutputFormat};
use crate::client::{Service, open};
use crate::error::CtlError;
use crate::table::{Cell, cell, write};
use crate::text::rfc3339;

/// What can be asked of the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Lists who changed what, newest first.
    List {
        /// Only this person's.
        #[arg(long)]
        who: Option<String>,
        /// Only methods that contain this, such as `Command`.
        #[arg(long)]
        method: Option<String>,
        /// Only what names this resource, or something below it.
        #[arg(long)]
        resource: Option<String>,
        /// How many entries, the newest.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Checks that no line was changed or taken out, and prints the newest hash: keep it elsewhere.
    Verify {
        /// Fail when there are fewer: a log that was cut at its end holds too.
        #[arg(long)]
        entries_at_least: Option<u64>,
        /// A hash that an earlier check printed: fail when no line ends in it, so when the log was rewritten since.
        #[arg(long, value_name = "HASH")]
        against: Option<String>,
    },
}

/// Most entries that one call answers.
const PAGE: u32 = 1_000;

/// Runs one command.
///
/// # Errors
/// When the console says no or cannot be reached.
pub(crate) async fn run(
    command: AuditCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let client = AuditServiceClient::new(open(&global).await?).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut session = Session { client, global, out, colours };
    match command {
        AuditCommand::List { who, method, resource, limit } => {
            let asked = ListEntriesRequest {
                parent: session.parent(),
                who: who.unwrap_or_default(),
                method: method.unwrap_or_default(),
                resource: resource.unwrap_or_default(),
                ..ListEntriesRequest::default()
            };
            session.list(asked, limit).await
        }
        AuditCommand::Verify { entries_at_least, against } => {
            session.verify(entries_at_least, against.unwrap_or_default()).await
        }
    }?;
    session.out.flush()?;
    Ok(())
}

struct Session<'a> {
    client: AuditServiceClient<Service>,
    global: Global,
    out: &'a mut dyn Write,
    colours: bool,
}

impl Session<'_> {
    fn parent(&self) -> String {
        OrganizationName { organization: self.global.organization.clone() }.to_string()
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(self.global.timeout));
        request
    }

    async fn list(&mut self, asked: ListEntriesRequest, limit: u32) -> Result<(), CtlError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut page_token = String::new();
        while entries.len() < limit as usize {
            let left = limit - entries.len() as u32;
            let page_size = left.min(PAGE) as i32;
            let request = self.request(ListEntriesRequest { page_size, page_token, ..asked.clone() });
            let page = self.client.list_entries(request).await?.into_inner();
            entries.extend(page.entries);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        match self.global.output {
            OutputFormat::Json => {
                let documents: Vec<Value> = entries.iter().map(document).collect();
                writeln!(self.out, "{:#}", json!({ "entries": documents }))?;
            }
            OutputFormat::Name => {
                for entry in &entries {
                    writeln!(self.out, "{}", entry.number)?;
                }
            }
            OutputFormat::Table | OutputFormat::Wide => {
                let wide = self.global.output == OutputFormat::Wide;
                let mut heads = vec!["ENTRY", "TIME", "WHO", "METHOD", "RESOURCE", "OUTCOME", "REASON"];
                if wide {
                    heads.extend(["FROM", "REQUEST"]);
                }
                let rows: Vec<Vec<Cell>> = entries.iter().map(|entry| row(entry, wide)).collect();
                write(self.out, Some(&heads), &rows, &mut Vec::new(), self.colours)?;
            }
        }
        Ok(())
    }

    async fn verify(&mut self, at_least: Option<u64>, kept_hash: String) -> Result<(), CtlError> {
        let compares = !kept_hash.is_empty();
        let request = self.request(VerifyLogRequest { parent: self.parent(), kept_hash });
        let checked = self.client.verify_log(request).await?.into_inner();
        if let Some(wanted) = at_least.filter(|wanted| checked.entries < *wanted) {
            return Err(CtlError::AuditShort { entries: checked.entries, wanted });
        }
        match self.global.output {
            OutputFormat::Json => {
                let kept = compares.then_some(checked.kept_entry);
                let document = json!({ "entries": checked.entries, "head": checked.head, "keptEntry": kept });
                writeln!(self.out, "{document:#}")?;
            }
            _ => {
                writeln!(self.out, "{} entries hold; the newest hash is {}", checked.entries, checked.head)?;
                if compares {
                    writeln!(self.out, "entry {} ends in the kept hash", checked.kept_entry)?;
                }
            }
        }
        Ok(())
    }
}

fn when(entry: &Entry) -> String {
    entry.time.as_ref().map_or_else(String::new, rfc3339)
}

fn outcome(entry: &Entry) -> String {
    match entry.outcome() {
        Outcome::Begun => "begun".into(),
        Outcome::Ended => format!("{} (of {})", entry.status, entry.begun),
        Outcome::Denied => format!("denied: {}", entry.status),
        Outcome::Unspecified => "?".into(),
    }
}

/// `/remuda.commands.v1.CommandService/CreateCommand` without what repeats in every line.
fn short(method: &str) -> &str {
    method.rsplit_once('/').map_or(method, |(_, name)| name)
}

fn row(entry: &Entry, wide: bool) -> Vec<Cell> {
    let mut row = vec![
        cell(entry.number.to_string()).right(),
        cell(when(entry)),
        cell(entry.who.clone()),
        cell(short(&entry.method)),
        cell(entry.resource.clone()),
        cell(outcome(entry)),
        cell(entry.reason.clone()),
    ];
    if wide {
        row.extend([cell(entry.from.clone()), cell(entry.detail.clone())]);
    }
    row
}

fn document(entry: &Entry) -> Value {
    json!({
        "number": entry.number,
        "time": when(entry),
        "who": entry.who,
        "from": entry.from,
        "via": entry.via,
        "method": entry.method,
        "resource": entry.resource,
        "reason": entry.reason,
        "request": serde_json::from_str(&entry.detail).unwrap_or(Value::Null),
        "outcome": outcome(entry),
    })
}
