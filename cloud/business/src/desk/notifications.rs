//! Messages to people, for operators.

use std::collections::BTreeSet;

use async_trait::async_trait;
use remuda_contracts::business::notifications::{
    NotificationDesk, NotificationFilter, NotificationPage, NotificationView, PreferencesView, QuietView,
};
use remuda_contracts::business::{Asker, BusinessError};
use remuda_model::OrganizationId;
use remuda_notifications::desk::MessageLine;
use remuda_notifications::notification::Status;
use remuda_users::UserCommand;
use remuda_users::state::{Channel, Preferences, QuietHours, UserPhase};

use super::{Desk, refused, unavailable};
use crate::convert::ask_error;

const CHANNELS: [(Channel, &str); 3] =
    [(Channel::InApp, "in-app"), (Channel::Email, "email"), (Channel::Webhook, "webhook")];

fn view(line: MessageLine) -> NotificationView {
    NotificationView {
        id: line.id,
        recipient: line.recipient,
        channel: line.channel.name(),
        kind: line.kind,
        state: line.status.name(),
        requested_ms: line.requested_ms,
        changed_ms: line.changed_ms,
        failure: line.failure.unwrap_or_default(),
    }
}

fn wishes_view(wishes: &Preferences) -> PreferencesView {
    let wanted = CHANNELS.iter().filter(|(channel, _)| wishes.channels.contains(channel));
    PreferencesView {
        locale: wishes.locale.clone(),
        channels: wanted.map(|(_, name)| (*name).to_owned()).collect(),
        quiet: wishes.quiet_hours.map(|quiet| QuietView {
            from_minute: quiet.from_minute,
            to_minute: quiet.to_minute,
            utc_offset_minutes: quiet.utc_offset_minutes,
        }),
    }
}

fn wishes_of(view: &PreferencesView) -> Result<Preferences, BusinessError> {
    let channel = |name: &String| {
        let found = CHANNELS.iter().find(|(_, known)| known == name).map(|(channel, _)| *channel);
        let text = format!("there is no channel `{name}`; there are in-app, email and webhook");
        found.ok_or_else(|| refused("bad-channel", text))
    };
    Ok(Preferences {
        locale: view.locale.clone(),
        channels: view.channels.iter().map(channel).collect::<Result<BTreeSet<_>, _>>()?,
        quiet_hours: view.quiet.map(|quiet| QuietHours {
            from_minute: quiet.from_minute,
            to_minute: quiet.to_minute,
            utc_offset_minutes: quiet.utc_offset_minutes,
        }),
    })
}

/// Places are bytes, tokens are texts.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(text: &str) -> Result<Vec<u8>, BusinessError> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.ok_or_else(|| refused("bad-page-token", "the token is not one of a page before"))
}

impl Desk {
    async fn message(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<NotificationView, BusinessError> {
        self.0.mailbox.0.caught_up().await.map_err(unavailable)?;
        let line = self.0.mailbox.message(organization, id).map_err(unavailable)?;
        let not_found = || BusinessError::NotFound { what: "notification", id: id.to_owned() };
        line.map(view).ok_or_else(not_found)
    }
}

#[async_trait]
impl NotificationDesk for Desk {
    async fn notification(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<NotificationView, BusinessError> {
        self.check(organization)?;
        self.message(organization, id).await
    }

    async fn notifications(
        &self,
        organization: &OrganizationId,
        filter: NotificationFilter<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<NotificationPage, BusinessError> {
        self.check(organization)?;
        let mailbox = &self.0.mailbox;
        // One more than wanted tells whether there is another page.
        if filter == NotificationFilter::DeadLetters {
            let mut letters = mailbox.dead_letters(organization, after, limit + 1).map_err(unavailable)?;
            let more = letters.len() > limit;
            letters.truncate(limit);
            let next = letters.last().filter(|_| more).map(|last| last.id.clone());
            let letters = letters.into_iter().map(|letter| NotificationView {
                recipient: letter.request.recipient,
                channel: letter.request.channel.name(),
                kind: letter.request.kind,
                state: Status::DeadLetter.name(),
                requested_ms: 0,
                changed_ms: letter.time_ms,
                failure: letter.reason,
                id: letter.id,
            });
            return Ok((letters.collect(), next));
        }
        let recipient = match filter {
            NotificationFilter::Recipient(user) => Some(user),
            _ => None,
        };
        let after = after.map(unhex).transpose()?;
        let found = mailbox.messages(organization, recipient, after.as_deref(), limit + 1);
        let mut found = found.map_err(unavailable)?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(place, _)| hex(place));
        Ok((found.into_iter().map(|(_, line)| view(line)).collect(), next))
    }

    async fn resend(
        &self,
        organization: &OrganizationId,
        id: &str,
        asker: Asker,
    ) -> Result<NotificationView, BusinessError> {
        self.check(organization)?;
        let actor = format!("user/{}", asker.who);
        self.0.notifications.retry(organization, id, &actor).await.map_err(ask_error)?;
        self.message(organization, id).await
    }

    async fn preferences(
        &self,
        organization: &OrganizationId,
        user: &str,
    ) -> Result<PreferencesView, BusinessError> {
        self.check(organization)?;
        let seen = self.0.users.entities().read(organization, user).await.map_err(ask_error)?;
        if seen.state.phase == UserPhase::Unknown {
            return Err(BusinessError::NotFound { what: "user", id: user.to_owned() });
        }
        Ok(wishes_view(&seen.state.preferences))
    }

    async fn set_preferences(
        &self,
        organization: &OrganizationId,
        user: &str,
        wishes: PreferencesView,
        asker: Asker,
    ) -> Result<PreferencesView, BusinessError> {
        self.check(organization)?;
        let command = UserCommand::ChangePreferences(wishes_of(&wishes)?);
        let context = self.context(&asker, "preferences", user);
        self.0.users.entities().ask(organization, user, command, context).await.map_err(ask_error)?;
        self.preferences(organization, user).await
    }
}
