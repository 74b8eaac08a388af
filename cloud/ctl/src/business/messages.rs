//! `remudactl notifications`.

use std::io::Write;

use clap::Subcommand;
use remuda_api::MESSAGE_BYTES_MAX;
use remuda_api::notifications::v1::notification_service_client::NotificationServiceClient;
use remuda_api::notifications::v1::{
    GetNotificationRequest, GetPreferencesRequest, ListNotificationsRequest, Notification, Preferences,
    QuietHours, ResendNotificationRequest, SetPreferencesRequest,
};
use serde_json::{Value, json};

use super::{PAGE, Session};
use crate::args::{Global, OutputFormat};
use crate::error::CtlError;
use crate::table::{Cell, Tint, cell};
use crate::text::{id, rfc3339};

/// What can be done with messages to people.
#[derive(Debug, Subcommand)]
pub enum NotificationsCommand {
    /// Lists messages, the newest first.
    List {
        /// Only those to this user.
        #[arg(long, conflicts_with = "dead_letters")]
        recipient: Option<String>,
        /// Only those that were given up.
        #[arg(long)]
        dead_letters: bool,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Shows one message.
    Get {
        /// Its id, as the list shows it.
        notification: String,
    },
    /// Gives a dead letter another life.
    Resend {
        /// Its id, as the list shows it.
        notification: String,
        /// Why; it stands in the audit log.
        #[arg(long)]
        reason: String,
    },
    /// Shows how a user wants to be told.
    Preferences {
        /// Who.
        user: String,
    },
    /// Changes how a user wants to be told: all of it.
    SetPreferences {
        /// Who.
        user: String,
        /// Language, BCP 47.
        #[arg(long)]
        locale: String,
        /// in-app, email or webhook; several may be given.
        #[arg(long = "channel")]
        channels: Vec<String>,
        /// Hours of the local day in which nothing rings, such as 22:00-07:00.
        #[arg(long, value_parser = quiet)]
        quiet: Option<(u32, u32)>,
        /// Minutes that the local time is ahead of UTC.
        #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
        utc_offset_minutes: i32,
    },
}

/// `HH:MM-HH:MM`, as minutes of the day.
fn quiet(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("{text} is no span of hours; write it as 22:00-07:00");
    let minute = |text: &str| {
        let (hours, minutes) = text.trim().split_once(':').ok_or_else(wrong)?;
        let (hours, minutes): (u32, u32) =
            (hours.parse().map_err(|_| wrong())?, minutes.parse().map_err(|_| wrong())?);
        if hours < 24 && minutes < 60 { Ok(hours * 60 + minutes) } else { Err(wrong()) }
    };
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    Ok((minute(from)?, minute(to)?))
}

fn document(message: &Notification) -> Value {
    json!({
        "name": message.name,
        "recipient": message.recipient,
        "channel": message.channel,
        "kind": message.kind,
        "state": message.state,
        "createTime": message.create_time.as_ref().map(rfc3339),
        "updateTime": message.update_time.as_ref().map(rfc3339),
        "failure": message.failure,
    })
}

fn row(message: &Notification) -> Vec<Cell> {
    let tint = match message.state.as_str() {
        "dead-letter" | "failed" => Tint::Warn,
        _ => Tint::Plain,
    };
    vec![
        cell(id(&message.name)),
        cell(message.state.clone()).tint(tint),
        cell(message.recipient.clone()),
        cell(message.channel.clone()),
        cell(message.kind.clone()),
        cell(message.update_time.as_ref().map_or_else(String::new, rfc3339)),
        cell(message.failure.clone()),
    ]
}

impl Session<'_> {
    fn messages(&mut self, messages: &[Notification]) -> Result<(), CtlError> {
        let names: Vec<&str> = messages.iter().map(|message| message.name.as_str()).collect();
        let documents = messages.iter().map(document).collect();
        let rows: Vec<Vec<Cell>> = messages.iter().map(row).collect();
        let heads = ["NOTIFICATION", "STATE", "RECIPIENT", "CHANNEL", "KIND", "CHANGED", "FAILURE"];
        self.print(("notifications", &heads), &names, documents, &rows)
    }

    fn preferences(&mut self, wishes: &Preferences) -> Result<(), CtlError> {
        let clock = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        if self.global.output == OutputFormat::Json {
            let quiet = wishes.quiet_hours.as_ref().map(|quiet| {
                json!({
                    "from": clock(quiet.from_minute),
                    "to": clock(quiet.to_minute),
                    "utcOffsetMinutes": quiet.utc_offset_minutes,
                })
            });
            let document = json!({
                "locale": wishes.locale, "channels": wishes.channels, "quietHours": quiet,
            });
            writeln!(self.out, "{document:#}")?;
            return Ok(());
        }
        let quiet = wishes.quiet_hours.as_ref().map_or_else(String::new, |quiet| {
            format!("{}-{}", clock(quiet.from_minute), clock(quiet.to_minute))
        });
        let rows = [vec![cell(wishes.locale.clone()), cell(wishes.channels.join(", ")), cell(quiet)]];
        self.print(("preferences", &["LOCALE", "CHANNELS", "QUIET"]), &[], Vec::new(), &rows)
    }
}

/// Runs a command about messages.
pub(crate) async fn run(
    command: NotificationsCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let mut session = Session::open(global, out, colours).await?;
    let mut client =
        NotificationServiceClient::new(session.service.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let message = match command {
        NotificationsCommand::List { recipient, dead_letters, limit } => {
            let (mut messages, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = session.request(ListNotificationsRequest {
                    parent: session.parent(),
                    page_size: PAGE.min(i32::try_from(limit).unwrap_or(PAGE)).max(1),
                    page_token,
                    recipient: recipient.clone().unwrap_or_default(),
                    dead_letters,
                });
                let page = client.list_notifications(request).await?.into_inner();
                messages.extend(page.notifications);
                page_token = page.next_page_token;
                if page_token.is_empty() || messages.len() >= limit {
                    break;
                }
            }
            messages.truncate(limit);
            return session.messages(&messages);
        }
        NotificationsCommand::Get { notification } => {
            let name = session.name("notifications", &notification);
            let request = session.request(GetNotificationRequest { name });
            client.get_notification(request).await?.into_inner()
        }
        NotificationsCommand::Resend { notification, reason } => {
            let name = session.name("notifications", &notification);
            let request = session.request(ResendNotificationRequest { name, reason });
            client.resend_notification(request).await?.into_inner()
        }
        NotificationsCommand::Preferences { user } => {
            let request = session.request(GetPreferencesRequest { name: session.name("users", &user) });
            let wishes = client.get_preferences(request).await?.into_inner();
            return session.preferences(&wishes);
        }
        NotificationsCommand::SetPreferences { user, locale, channels, quiet, utc_offset_minutes } => {
            let quiet_hours = quiet.map(|(from_minute, to_minute)| QuietHours {
                from_minute,
                to_minute,
                utc_offset_minutes,
            });
            let request = session.request(SetPreferencesRequest {
                name: session.name("users", &user),
                preferences: Some(Preferences { locale, channels, quiet_hours }),
                request_id: String::new(),
            });
            let wishes = client.set_preferences(request).await?.into_inner();
            return session.preferences(&wishes);
        }
    };
    session.messages(std::slice::from_ref(&message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_are_read() {
        assert_eq!(quiet("22:00-07:30"), Ok((1_320, 450)));
        for wrong in ["22-7", "24:00-01:00", "22:00", "a:b-c:d", "10:60-11:00"] {
            assert!(quiet(wrong).is_err(), "{wrong}");
        }
    }
}
