//! What can be read off the messages: those under way by when they are due, dead letters, and people's inboxes.

use remuda_entities::projection::{Poisoned, Projected, Projection, View, fact, key, numbered};
use remuda_eventsourcing::Event;
use remuda_model::OrganizationId;
use serde::{Deserialize, Serialize};

use crate::channels::Channel;
use crate::limits::PAGE_MAX;
use crate::notification::{Notification, NotificationEvent, Request, Status};

/// A message under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Whose.
    pub organization: OrganizationId,
    /// Its id.
    pub id: String,
    /// Not before, ms since 1970 UTC.
    pub due_ms: i64,
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its id.
    pub id: String,
    /// What it was.
    pub request: Request,
    /// Why.
    pub reason: String,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// A line of an inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxLine {
    /// Its id.
    pub id: String,
    /// What kind.
    pub kind: String,
    /// When it came, ms since 1970 UTC.
    pub time_ms: i64,
    /// Seen?
    pub read: bool,
    /// Acknowledged?
    pub acknowledged: bool,
}

/// A message in a list, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageLine {
    /// Its id.
    pub id: String,
    /// To whom: a user's id.
    pub recipient: String,
    /// How.
    pub channel: Channel,
    /// What kind.
    pub kind: String,
    /// Where it is.
    pub status: Status,
    /// When it was asked for, ms since 1970 UTC.
    pub requested_ms: i64,
    /// When it last changed, ms since 1970 UTC.
    pub changed_ms: i64,
    /// Why the last attempt failed.
    pub failure: Option<String>,
}

impl MessageLine {
    fn take(&mut self, fact: &NotificationEvent, time_ms: i64) {
        self.changed_ms = time_ms;
        self.status = match fact {
            NotificationEvent::Requested(_) | NotificationEvent::Retried(_) => Status::Requested,
            NotificationEvent::Rendered(_) => Status::Rendered,
            NotificationEvent::Sent(_) => Status::Sent,
            NotificationEvent::Failed(e) => {
                self.failure = Some(e.reason.clone());
                Status::Failed
            }
            NotificationEvent::DeadLettered(e) => {
                self.failure = Some(e.reason.clone());
                Status::DeadLetter
            }
            NotificationEvent::Read(_) => Status::Read,
            NotificationEvent::Acknowledged(_) => Status::Acknowledged,
            NotificationEvent::Cancelled(_) => Status::Cancelled,
        };
    }
}

/// What is kept of each message until it ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    request: Request,
    /// Where it stands in the list of what is due.
    due_ms: Option<i64>,
    /// Where it stands in an inbox.
    came_ms: Option<i64>,
}

/// The projection.
#[derive(Debug, Clone, Copy, Default)]
pub struct MailboxProjection;

fn sortable(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or_default()
}

fn due_key(organization: &OrganizationId, id: &str, due_ms: i64) -> Vec<u8> {
    let mut place = numbered(&["due"], sortable(due_ms));
    place.extend(key(&[organization.as_str(), id]));
    place
}

fn inbox_prefix(organization: &OrganizationId, recipient: &str) -> Vec<u8> {
    key(&["inbox", organization.as_str(), recipient])
}

/// Newest first.
fn inbox_key(organization: &OrganizationId, recipient: &str, came_ms: i64, id: &str) -> Vec<u8> {
    let mut place = numbered(&["inbox", organization.as_str(), recipient], u64::MAX - sortable(came_ms));
    place.extend_from_slice(id.as_bytes());
    place
}

/// Messages of an organisation, the newest first; of one recipient, when one is named.
fn lists(organization: &OrganizationId, recipient: Option<&str>) -> Vec<u8> {
    match recipient {
        None => key(&["all", organization.as_str()]),
        Some(recipient) => key(&["of", organization.as_str(), recipient]),
    }
}

/// Keeps the lines of a message, in all lists.
fn note(
    organization: &OrganizationId,
    id: &str,
    fact: &NotificationEvent,
    time_ms: i64,
    view: &mut View<'_>,
) -> Result<(), Poisoned> {
    let place = key(&["line", organization.as_str(), id]);
    let mut line = match (fact, view.get::<MessageLine>(&place)?) {
        (_, Some(line)) => line,
        (NotificationEvent::Requested(e), None) => MessageLine {
            id: id.to_owned(),
            recipient: e.request.recipient.clone(),
            channel: e.request.channel,
            kind: e.request.kind.clone(),
            status: Status::Requested,
            requested_ms: e.time_ms,
            changed_ms: e.time_ms,
            failure: None,
        },
        // Cancelled before it was requested: nothing was ever here.
        (_, None) => return Ok(()),
    };
    line.take(fact, time_ms);
    let newest_first = (u64::MAX - sortable(line.requested_ms)).to_be_bytes();
    for list in [lists(organization, None), lists(organization, Some(&line.recipient))] {
        view.put(&[&list[..], &newest_first, id.as_bytes()].concat(), &line)?;
    }
    view.put(&place, &line)
}

impl Projection for MailboxProjection {
    const NAME: &'static str = "notifications-mailbox";
    const VERSION: u32 = 2;
    const READS: &'static [&'static str] = &["notification"];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let Some(fact) = fact::<Notification>(event)? else { return Ok(()) };
        let stream = &event.event.stream;
        let (organization, id) = (stream.organization, stream.aggregate_id.as_str());
        note(&organization, id, &fact, event.event.time_ms, view)?;
        let place = key(&["known", organization.as_str(), id]);
        let dead_place = key(&["dead", organization.as_str(), id]);
        let known: Option<Known> = view.get(&place)?;
        let mut known = match (&fact, known) {
            (NotificationEvent::Requested(e), _) => {
                Known { request: e.request.clone(), due_ms: None, came_ms: None }
            }
            (_, Some(known)) => known,
            // Cancelled before it was requested: nothing was ever here.
            (_, None) => return Ok(()),
        };
        if let Some(due_ms) = known.due_ms.take() {
            view.remove(&due_key(&organization, id, due_ms));
        }
        let due_ms = match &fact {
            NotificationEvent::Requested(e) => Some(e.time_ms),
            NotificationEvent::Rendered(e) => Some(e.not_before_ms),
            NotificationEvent::Failed(e) => Some(e.retry_at_ms),
            NotificationEvent::Retried(e) => Some(e.time_ms),
            _ => None,
        };
        if let Some(due_ms) = due_ms {
            view.put(&due_key(&organization, id, due_ms), &Open { organization, id: id.to_owned(), due_ms })?;
            known.due_ms = Some(due_ms);
        }
        let recipient = known.request.recipient.clone();
        match &fact {
            NotificationEvent::DeadLettered(e) => {
                let (request, reason, time_ms) = (known.request.clone(), e.reason.clone(), e.time_ms);
                view.put(&dead_place, &DeadLetter { id: id.to_owned(), request, reason, time_ms })?;
            }
            NotificationEvent::Retried(_) => view.remove(&dead_place),
            NotificationEvent::Cancelled(_) => {
                view.remove(&dead_place);
                view.remove(&place);
                return Ok(());
            }
            NotificationEvent::Sent(e) if known.request.channel == Channel::InApp => {
                known.came_ms = Some(e.time_ms);
                let line = InboxLine {
                    id: id.to_owned(),
                    kind: known.request.kind.clone(),
                    time_ms: e.time_ms,
                    read: false,
                    acknowledged: false,
                };
                view.put(&inbox_key(&organization, &recipient, e.time_ms, id), &line)?;
            }
            NotificationEvent::Sent(_) => {
                // It has left for good: nothing of it is looked for any more.
                view.remove(&place);
                return Ok(());
            }
            NotificationEvent::Read(_) | NotificationEvent::Acknowledged(_) => {
                let line_place = inbox_key(&organization, &recipient, known.came_ms.unwrap_or_default(), id);
                if let Some(mut line) = view.get::<InboxLine>(&line_place)? {
                    line.read = true;
                    line.acknowledged |= matches!(fact, NotificationEvent::Acknowledged(_));
                    view.put(&line_place, &line)?;
                }
            }
            _ => {}
        }
        view.put(&place, &known)
    }
}

/// Reads the projection.
#[derive(Clone)]
pub struct Mailbox(pub Projected<MailboxProjection>);

impl Mailbox {
    /// Messages under way, the most urgent first.
    ///
    /// # Errors
    /// When the projection does not serve.
    pub fn open(&self, limit: usize) -> Result<Vec<Open>, Poisoned> {
        let lines = self.0.scan(&key(&["due"]), None, limit.min(PAGE_MAX))?;
        Ok(lines.into_iter().map(|(_, open)| open).collect())
    }

    /// Dead letters of an organisation, by id, after one.
    ///
    /// # Errors
    /// When the projection does not serve.
    pub fn dead_letters(
        &self,
        organization: &OrganizationId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Poisoned> {
        let after = after.map(|id| key(&["dead", organization.as_str(), id]));
        let prefix = key(&["dead", organization.as_str()]);
        let lines = self.0.scan(&prefix, after.as_deref(), limit.min(PAGE_MAX))?;
        Ok(lines.into_iter().map(|(_, letter)| letter).collect())
    }

    /// Messages, the newest first, after the place of the last of the page before; of one recipient, when one is named.
    ///
    /// # Errors
    /// When the projection does not serve.
    pub fn messages(
        &self,
        organization: &OrganizationId,
        recipient: Option<&str>,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, MessageLine)>, Poisoned> {
        let list = lists(organization, recipient);
        let place = after.map(|after| [&list[..], after].concat());
        let lines = self.0.scan(&list, place.as_deref(), limit.min(PAGE_MAX))?;
        Ok(lines.into_iter().map(|(place, line)| (place[list.len()..].to_vec(), line)).collect())
    }

    /// One message.
    ///
    /// # Errors
    /// When the projection does not serve.
    pub fn message(&self, organization: &OrganizationId, id: &str) -> Result<Option<MessageLine>, Poisoned> {
        self.0.get(&key(&["line", organization.as_str(), id]))
    }

    /// Somebody's inbox, the newest first.
    ///
    /// # Errors
    /// When the projection does not serve.
    pub fn inbox(
        &self,
        organization: &OrganizationId,
        recipient: &str,
        limit: usize,
    ) -> Result<Vec<InboxLine>, Poisoned> {
        let lines = self.0.scan(&inbox_prefix(organization, recipient), None, limit.min(PAGE_MAX))?;
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }
}
