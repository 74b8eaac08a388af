//! Notifications at work: asked for once, delivered at least once, each attempt durable.

mod directory;
mod drive;
mod mailbox;
mod runner;
mod saga;

use std::collections::BTreeMap;
use std::sync::Arc;

use remuda_entities::{AskError, Entities, Settings, Shards};
use remuda_eventsourcing::Context;
use remuda_model::OrganizationId;
use remuda_webhooks::Sender;

pub use directory::{Contact, Directory, StaticDirectory};
pub use drive::Driven;
pub use mailbox::{DeadLetter, InboxLine, Mailbox, MailboxProjection, MessageLine, Open};
pub use runner::Runner;
pub use saga::NotificationService;

use crate::channels::Channel;
use crate::channels::email::Mailer;
use crate::limits::LIFETIME_MS;
use crate::metrics::NotificationMetrics;
use crate::notification::{Notification, NotificationCommand, Request};
use crate::templates::Catalogue;

/// Now, ms since 1970 UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What notifications are told at start-up.
#[derive(Clone)]
pub struct NotificationsConfig {
    /// Texts.
    pub catalogue: Catalogue,
    /// Who people are.
    pub directory: Arc<dyn Directory>,
    /// E-mail, when there is a relay.
    pub mailer: Option<Mailer>,
    /// Webhooks, when they are allowed.
    pub webhooks: Option<Sender>,
    /// Figures.
    pub metrics: NotificationMetrics,
    /// The clock.
    pub clock: Clock,
}

/// What somebody wants to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The same key says the same message: it is sent once.
    pub key: String,
    /// To whom: a user's id.
    pub recipient: String,
    /// A template's kind.
    pub kind: String,
    /// For its placeholders; no personal data.
    pub parameters: BTreeMap<String, String>,
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such template.
    #[error("there is no template {0:?}")]
    UnknownKind(String),
    /// A placeholder without a value.
    #[error("the message {kind:?} needs the parameter {name:?}")]
    MissingParameter {
        /// Which template.
        kind: String,
        /// Which placeholder.
        name: String,
    },
    /// The directory does not answer.
    #[error("the directory of people does not answer: {0}")]
    Directory(String),
    /// Refused, or not known.
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// Notifications. Cheap to clone.
#[derive(Clone)]
pub struct Notifications {
    entities: Entities<Notification>,
    config: Arc<NotificationsConfig>,
}

/// The id of a key's message over a channel.
pub fn message_key(key: &str, channel: Channel) -> String {
    format!("{key}:{}", channel.name())
}

impl Notifications {
    /// Starts its entities.
    ///
    /// # Errors
    /// A sentence.
    pub async fn start(shards: &Arc<Shards>, config: NotificationsConfig) -> Result<Self, String> {
        let entities = Entities::start(shards, Settings::default()).await?;
        Ok(Self { entities, config: Arc::new(config) })
    }

    /// All messages.
    pub fn entities(&self) -> &Entities<Notification> {
        &self.entities
    }

    /// Asks for a message over every channel that the person wants and has. Durable when it returns; the
    /// runner delivers. The same key again changes nothing. Answers the ids.
    ///
    /// # Errors
    /// [`RequestError`]; after one that is transient, ask again with the same key.
    pub async fn request(
        &self,
        organization: &OrganizationId,
        ask: &Ask,
        actor: &str,
    ) -> Result<Vec<String>, RequestError> {
        let template = self.config.catalogue.get(&ask.kind);
        let template = template.ok_or_else(|| RequestError::UnknownKind(ask.kind.clone()))?;
        if let Some(name) = template.placeholders.iter().find(|name| !ask.parameters.contains_key(*name)) {
            return Err(RequestError::MissingParameter { kind: ask.kind.clone(), name: name.clone() });
        }
        let contact = self.config.directory.contact(organization, &ask.recipient).await;
        let contact = contact.map_err(RequestError::Directory)?.unwrap_or_default();
        let mut ids = Vec::new();
        for channel in contact.preferences.route(&ask.kind) {
            let reachable = match channel {
                Channel::InApp => true,
                Channel::Email => contact.email.is_some() && self.config.mailer.is_some(),
                Channel::Webhook => contact.webhook.is_some() && self.config.webhooks.is_some(),
            };
            if !reachable {
                continue;
            }
            let id = message_key(&ask.key, channel);
            let request = Request {
                recipient: ask.recipient.clone(),
                channel,
                kind: ask.kind.clone(),
                parameters: ask.parameters.clone(),
                urgent: template.urgent,
                expires_ms: (self.config.clock)().saturating_add(LIFETIME_MS),
            };
            let command = NotificationCommand::Request(request);
            self.ask(organization, &id, command, "request", actor).await?;
            ids.push(id);
        }
        Ok(ids)
    }

    /// Calls a key's messages off that have not left; bars those that were not asked for yet. Answers whether
    /// one had left.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn cancel(
        &self,
        organization: &OrganizationId,
        key: &str,
        reason: &str,
        actor: &str,
    ) -> Result<bool, AskError> {
        let mut left = false;
        for channel in Channel::ALL {
            let command = NotificationCommand::Cancel { reason: reason.to_owned() };
            let id = message_key(key, channel);
            match self.ask(organization, &id, command, "cancel", actor).await {
                Ok(()) => {}
                Err(AskError::Refused { code, .. }) if code == "already-sent" => left = true,
                Err(error) => return Err(error),
            }
        }
        Ok(left)
    }

    /// Calls one message off, by its id; one that has left stays as it is.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn call_off(
        &self,
        organization: &OrganizationId,
        id: &str,
        reason: &str,
        actor: &str,
    ) -> Result<(), AskError> {
        let command = NotificationCommand::Cancel { reason: reason.to_owned() };
        match self.ask(organization, id, command, "cancel", actor).await {
            Err(AskError::Refused { code, .. }) if code == "already-sent" => Ok(()),
            done => done,
        }
    }

    /// The person has seen a message in their inbox.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn mark_read(
        &self,
        organization: &OrganizationId,
        id: &str,
        actor: &str,
    ) -> Result<(), AskError> {
        self.ask(organization, id, NotificationCommand::MarkRead, "read", actor).await
    }

    /// The person says that they know.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn acknowledge(
        &self,
        organization: &OrganizationId,
        id: &str,
        actor: &str,
    ) -> Result<(), AskError> {
        self.ask(organization, id, NotificationCommand::Acknowledge, "acknowledge", actor).await
    }

    /// An operator gives a dead letter another life.
    ///
    /// # Errors
    /// [`AskError`]; refused when it is not one.
    pub async fn retry(&self, organization: &OrganizationId, id: &str, actor: &str) -> Result<(), AskError> {
        self.ask(organization, id, NotificationCommand::Retry, "retry", actor).await
    }

    /// Asks, under an id that holds the version: a refusal of now must not be remembered for later.
    async fn ask(
        &self,
        organization: &OrganizationId,
        id: &str,
        command: NotificationCommand,
        what: &str,
        actor: &str,
    ) -> Result<(), AskError> {
        let seen = self.entities.read(organization, id).await?;
        let context = Context {
            now_ms: (self.config.clock)(),
            command_id: format!("{what}/{}", seen.version),
            actor: actor.to_owned(),
            correlation_id: id.to_owned(),
        };
        self.entities.ask(organization, id, command, context).await.map(|_| ())
    }
}
