//! Who riders are, for who writes to them: opened when a message is sent, kept nowhere.

use async_trait::async_trait;
use remuda_entities::Entities;
use remuda_model::OrganizationId;
use remuda_notifications::channels::Channel;
use remuda_notifications::preferences::{Preferences, QuietHours};
use remuda_notifications::{Contact, Directory};
use remuda_users::Users;
use remuda_users::privacy::{Opened, UserRef, Vault};
use remuda_users::state::{self, PersonalField, UserPhase};

/// The users' domain as a directory.
pub(crate) struct Riders {
    pub users: Entities<Users>,
    pub vault: Vault,
}

const MINUTES: i32 = 24 * 60;

/// The users' domain knows an offset, notifications a time zone: quiet hours are handed over in UTC.
fn quiet(hours: &state::QuietHours) -> QuietHours {
    let utc = |minute: u16| {
        let minute = i32::from(minute) - i32::from(hours.utc_offset_minutes);
        u16::try_from(minute.rem_euclid(MINUTES)).unwrap_or(0)
    };
    QuietHours { from_min: utc(hours.from_minute), to_min: utc(hours.to_minute) }
}

fn preferences(wishes: &state::Preferences) -> Preferences {
    let channel = |channel: &state::Channel| match channel {
        state::Channel::InApp => Channel::InApp,
        state::Channel::Email => Channel::Email,
        state::Channel::Webhook => Channel::Webhook,
    };
    Preferences {
        locale: wishes.locale.clone(),
        otherwise: wishes.channels.iter().map(channel).collect(),
        quiet: wishes.quiet_hours.as_ref().map(quiet),
        ..Preferences::default()
    }
}

#[async_trait]
impl Directory for Riders {
    async fn contact(&self, organization: &OrganizationId, user: &str) -> Result<Option<Contact>, String> {
        let seen = self.users.read(organization, user).await.map_err(|error| error.to_string())?;
        let rider = seen.state;
        if matches!(rider.phase, UserPhase::Unknown | UserPhase::Erasing | UserPhase::Erased) {
            return Ok(None);
        }
        let Ok(owner) = UserRef::new(*organization, user) else { return Ok(None) };
        let vault = self.vault.clone();
        let sealed = rider.profile.clone();
        // The key store waits for a disk.
        let opened = tokio::task::spawn_blocking(move || {
            let open = |field: PersonalField| {
                let Some(sealed) = sealed.get(&field) else { return Ok(None) };
                match vault.open(&owner, field.name(), sealed) {
                    Ok(Opened::Text(text)) => Ok(Some(text)),
                    Ok(Opened::Erased) => Ok(None),
                    Err(error) => Err(error.to_string()),
                }
            };
            Ok::<_, String>((open(PersonalField::Name)?, open(PersonalField::Email)?))
        });
        let (name, email) = opened.await.map_err(|error| error.to_string())??;
        let preferences = preferences(&rider.preferences);
        Ok(Some(Contact { name: name.unwrap_or_default(), email, webhook: None, preferences }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_are_the_same_hours_in_utc() {
        let night = state::QuietHours { from_minute: 22 * 60, to_minute: 6 * 60, utc_offset_minutes: 60 };
        assert_eq!(quiet(&night), QuietHours { from_min: 21 * 60, to_min: 5 * 60 });
        let west = state::QuietHours { utc_offset_minutes: -5 * 60, ..night };
        assert_eq!(quiet(&west), QuietHours { from_min: 3 * 60, to_min: 11 * 60 });
    }
}
