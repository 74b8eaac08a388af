//! One message, from its request to its end: every step is durable before the next.

use aws_lc_rs::digest::{SHA256, digest};
use remuda_entities::AskError;
use remuda_model::OrganizationId;

use super::{Contact, Notifications};
use crate::channels::{Channel, Undelivered, webhook};
use crate::notification::{NotificationCommand, Request, Status};
use crate::templates::Rendered;

/// How far a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driven {
    /// Nothing is left to do.
    Done,
    /// Not before, ms since 1970 UTC.
    Later(i64),
}

/// Steps of one drive: requested, rendered, sent; more is a fault of ours.
const STEPS_MAX: usize = 6;

/// The id that the other side sees: the same at every attempt, and without what a header cannot hold.
pub(super) fn public_id(organization: &OrganizationId, id: &str) -> String {
    let hash = digest(&SHA256, format!("{organization}/{id}").as_bytes());
    let hex: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("msg_{hex}")
}

impl Notifications {
    /// Does what is due of a message. After a crash in the middle an attempt may be made again, with the same
    /// id.
    ///
    /// # Errors
    /// [`AskError`]; drive again.
    pub async fn drive(&self, organization: &OrganizationId, id: &str) -> Result<Driven, AskError> {
        for _ in 0..STEPS_MAX {
            let state = self.entities().read(organization, id).await?.state;
            let now_ms = (self.config.clock)();
            let Some(request) = &state.request else { return Ok(Driven::Done) };
            let open = matches!(state.status, Status::Requested | Status::Rendered | Status::Failed);
            if !open {
                return Ok(Driven::Done);
            }
            if state.due_ms > now_ms {
                return Ok(Driven::Later(state.due_ms));
            }
            let command = match self.next(organization, id, state.status, request, now_ms).await {
                Ok(command) => command,
                Err(Undelivered { reason, worth_a_retry, retry_after_s }) => {
                    NotificationCommand::MarkFailed { reason, worth_a_retry, retry_after_s }
                }
            };
            let (channel, outcome) = (request.channel, outcome(&command));
            match self.ask(organization, id, command, "drive", "policy/notifications").await {
                Ok(()) => {}
                // Cancelled, or driven by somebody else, in between: look again.
                Err(AskError::Refused { .. }) => continue,
                Err(error) => return Err(error),
            }
            if let Some(outcome) = outcome {
                self.config.metrics.attempted(channel, outcome);
            }
        }
        Ok(Driven::Later((self.config.clock)() + 1_000))
    }

    async fn next(
        &self,
        organization: &OrganizationId,
        id: &str,
        status: Status,
        request: &Request,
        now_ms: i64,
    ) -> Result<NotificationCommand, Undelivered> {
        if now_ms > request.expires_ms {
            return Err(Undelivered::final_("it came too late to be of use"));
        }
        let contact = self.config.directory.contact(organization, &request.recipient).await;
        let contact = contact.map_err(|_| Undelivered::for_now("the directory of people does not answer"))?;
        // The inbox of somebody unknown does no harm; elsewhere there is nobody to reach.
        let contact = match (contact, request.channel) {
            (Some(contact), _) => contact,
            (None, Channel::InApp) => Contact::default(),
            (None, _) => return Err(Undelivered::final_("the person is not known, or was erased")),
        };
        let text = self.text(request, &contact)?;
        if status == Status::Requested {
            let quiet = !request.urgent && request.channel != Channel::InApp;
            let not_before_ms = if quiet { contact.preferences.awake_from(now_ms) } else { now_ms };
            return Ok(NotificationCommand::Render { locale: text.locale, not_before_ms });
        }
        let receipt = self.deliver(organization, id, request, &contact, &text, now_ms).await?;
        Ok(NotificationCommand::MarkSent { receipt })
    }

    async fn deliver(
        &self,
        organization: &OrganizationId,
        id: &str,
        request: &Request,
        contact: &Contact,
        text: &Rendered,
        now_ms: i64,
    ) -> Result<String, Undelivered> {
        let message_id = public_id(organization, id);
        match request.channel {
            Channel::InApp => Ok("inbox".to_owned()),
            Channel::Email => {
                let mailer = self.config.mailer.as_ref();
                let mailer = mailer.ok_or_else(|| Undelivered::final_("no mail relay is configured"))?;
                let to = contact.email.as_deref();
                let to = to.ok_or_else(|| Undelivered::final_("the person has no e-mail address"))?;
                mailer.send(&message_id, to, text).await
            }
            Channel::Webhook => {
                let sender = self.config.webhooks.as_ref();
                let sender = sender.ok_or_else(|| Undelivered::final_("webhooks are not configured"))?;
                let endpoint = contact.webhook.as_ref();
                let endpoint = endpoint.ok_or_else(|| Undelivered::final_("the person has no webhook"))?;
                webhook::send(sender, endpoint, &message_id, now_ms, request, text).await
            }
        }
    }

    fn text(&self, request: &Request, contact: &Contact) -> Result<Rendered, Undelivered> {
        let template = self.config.catalogue.get(&request.kind);
        let template = template.ok_or_else(|| Undelivered::final_("its template is gone"))?;
        let name = if contact.name.is_empty() { &request.recipient } else { &contact.name };
        let rendered = template.render(&contact.preferences.locale, name, &request.parameters);
        rendered.map_err(|error| Undelivered::final_(error.to_string()))
    }

    /// A message's text as its person reads it now.
    ///
    /// # Errors
    /// A sentence, when it cannot be made.
    pub async fn read_text(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<Option<Rendered>, String> {
        let seen = self.entities().read(organization, id).await.map_err(|e| e.to_string())?;
        let Some(request) = seen.state.request else { return Ok(None) };
        let contact =
            self.config.directory.contact(organization, &request.recipient).await?.unwrap_or_default();
        self.text(&request, &contact).map(Some).map_err(|e| e.to_string())
    }
}

fn outcome(command: &NotificationCommand) -> Option<&'static str> {
    match command {
        NotificationCommand::MarkSent { .. } => Some("sent"),
        NotificationCommand::MarkFailed { worth_a_retry: true, .. } => Some("failed"),
        NotificationCommand::MarkFailed { .. } => Some("dead"),
        _ => None,
    }
}
