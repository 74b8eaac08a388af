//! Who is told of vehicles' alerts, out of the configuration.

use std::collections::BTreeSet;
use std::fmt;

use remuda_access::{Grant, Permission, Principal, Via};
use remuda_business::on_call::Person;
use remuda_contracts::alerts::AlertSeverity;
use remuda_model::OrganizationId;
use remuda_notifications::Contact;
use remuda_notifications::channels::Channel;
use remuda_notifications::channels::email::is_address;
use remuda_notifications::channels::webhook::Endpoint;
use remuda_notifications::preferences::Preferences;
use remuda_webhooks::{SigningKeys, Target};
use serde::Deserialize;

/// People: each alert is a message to each of them.
const PEOPLE_MAX: usize = 100;
/// The kinds of messages that they get.
const KINDS: [&str; 3] = ["alert-raised", "alert-back", "alert-critical"];

/// Somebody who is told of vehicles' alerts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnCallConfig {
    /// 1 to 64 characters out of a-z, 0-9 and `-`; messages are to `staff/NAME`.
    pub name: String,
    /// Of which vehicles they are told: grants as those of `console.accounts`, of roles that may handle alerts.
    pub grants: Vec<String>,
    /// Alerts that matter less are not told: `info`, `warning` or `critical`.
    #[serde(default = "warning")]
    pub severity: String,
    /// Their address, such as `Ada <ada@example.com>`. Mails go through `business.mail`, which must be there for it.
    #[serde(default)]
    pub email: Option<String>,
    /// Their own system.
    #[serde(default)]
    pub webhook: Option<WebhookConfig>,
    /// Language, time zone, channels by kind of message, quiet hours. Without it: everything they have, in English, at any time.
    #[serde(default)]
    pub preferences: Option<Preferences>,
}

/// A system that is called.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Its address.
    pub url: String,
    /// What calls are signed with, as Standard Webhooks write it: `whsec_...`.
    pub secret: String,
}

impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookConfig").field("url", &self.url).finish_non_exhaustive()
    }
}

fn warning() -> String {
    AlertSeverity::Warning.as_str().to_owned()
}

fn everything() -> Preferences {
    Preferences { otherwise: Channel::ALL.to_vec(), ..Preferences::default() }
}

/// Who they are. Webhooks over plain HTTP are for networks that are allowed, mails for nodes that have a relay.
///
/// # Errors
/// A sentence about the first that cannot be told what they shall be told.
pub(crate) fn people(config: &[OnCallConfig], plain_http: bool, mail: bool) -> Result<Vec<Person>, String> {
    if config.len() > PEOPLE_MAX {
        return Err(format!("there are {}, at most {PEOPLE_MAX}", config.len()));
    }
    let mut names = BTreeSet::new();
    config
        .iter()
        .map(|one| {
            let person = person(one, plain_http, mail).map_err(|why| format!("`{}`: {why}", one.name))?;
            if names.insert(&one.name) { Ok(person) } else { Err(format!("there are two `{}`", one.name)) }
        })
        .collect()
}

fn person(config: &OnCallConfig, plain_http: bool, mail: bool) -> Result<Person, String> {
    let permitted = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !(1..=64).contains(&config.name.len()) || !config.name.bytes().all(permitted) {
        return Err("it is no name; use 1 to 64 characters out of a-z, 0-9 and -".into());
    }
    let severity = AlertSeverity::ALL.into_iter().find(|one| one.as_str() == config.severity);
    let severity = severity.ok_or_else(|| {
        format!("there is no severity `{}`; there are info, warning and critical", config.severity)
    })?;
    let grants = config.grants.iter().map(|text| text.parse::<Grant>().map_err(|e| e.to_string()));
    let grants = grants.collect::<Result<Vec<_>, _>>()?;
    let permission = Permission::AlertsHandle;
    if let Some(grant) = grants.iter().find(|grant| !grant.role.permits(permission)) {
        let roles = permission.roles().iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
        return Err(format!("the role in `{grant}` may not handle alerts; {roles} may"));
    }
    let caller = Principal::new(config.name.clone(), grants, Via::Account);
    let reach = caller.reach(permission, OrganizationId::default());
    if reach.is_nowhere() {
        return Err("no grant of theirs is in this organisation; give them one, such as operator".into());
    }
    if let Some(email) = &config.email {
        if !is_address(email) {
            return Err(format!("`{email}` is no address; write one such as Ada <ada@example.com>"));
        }
        if !mail {
            return Err(
                "no mail can be sent to their `email`: give a relay in [business.mail], or leave it out"
                    .into(),
            );
        }
    }
    if let Some(wishes) = &config.preferences {
        wishes.check().map_err(|e| e.to_string())?;
        can_be_kept(wishes, config)?;
    }
    let webhook = config.webhook.as_ref().map(|webhook| endpoint(webhook, plain_http)).transpose()?;
    let contact = Contact {
        name: config.name.clone(),
        email: config.email.clone(),
        webhook,
        preferences: config.preferences.clone().unwrap_or_else(everything),
    };
    Ok(Person { name: config.name.clone(), reach, severity, contact })
}

/// Refuses wishes for ways to somebody that are not there: nothing would be said over them, and nobody told so.
fn can_be_kept(wishes: &Preferences, config: &OnCallConfig) -> Result<(), String> {
    if let Some(kind) = wishes.channels.keys().find(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(format!("no message to them is of the kind `{kind}`; there are {}", KINDS.join(", ")));
    }
    let kinds = wishes.channels.iter().map(|(kind, channels)| (kind.as_str(), channels));
    for (wish, channels) in kinds.chain([("otherwise", &wishes.otherwise)]) {
        let is_missing = |channel: &Channel| match channel {
            Channel::InApp => false,
            Channel::Email => config.email.is_none(),
            Channel::Webhook => config.webhook.is_none(),
        };
        if let Some(channel) = channels.iter().find(|channel| is_missing(channel)) {
            let channel = channel.name();
            return Err(format!(
                "their `{wish}` wishes for the channel {channel}, and they have no `{channel}`; give it, or say `{wish}` without \
                 it (`otherwise` is in-app and email when it is not said)"
            ));
        }
    }
    Ok(())
}

fn endpoint(config: &WebhookConfig, plain_http: bool) -> Result<Endpoint, String> {
    let target = Target::parse(&config.url, plain_http).map_err(|e| format!("webhook: {e}"))?;
    let keys = SigningKeys::parse(&[&config.secret]).map_err(|e| format!("webhook: {e}"))?;
    Ok(Endpoint { target, keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        on_call: Vec<OnCallConfig>,
    }

    fn read(text: &str) -> Result<Vec<Person>, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        people(&file.on_call, false, true)
    }

    const ADA: &str = r#"
        [[on_call]]
        name = "ada"
        grants = ["default/fleets/north:operator", "default/depots/quay:admin"]
        email = "Ada <ada@example.com>"
        webhook = { url = "https://hooks.example.com/ada", secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }
        preferences = { locale = "de", time_zone = "Europe/Vienna", otherwise = ["email"], quiet = { from_min = 1320, to_min = 360 } }
    "#;

    #[test]
    fn people_are_read_and_what_cannot_be_used_is_named() {
        let all = read(&format!(
            "{ADA}\n[[on_call]]\nname = \"otto\"\ngrants = [\"operator\"]\nseverity = \"info\""
        ))
        .unwrap();
        let [ada, otto] = &all[..] else { panic!("{all:?}") };
        assert!(ada.reach.covers(Some("north"), None) && !ada.reach.covers(Some("south"), None));
        assert_eq!(
            (ada.severity, &ada.contact.preferences.otherwise[..]),
            (AlertSeverity::Warning, &[Channel::Email][..])
        );
        assert!(otto.reach.covers(None, None) && otto.contact.preferences.otherwise == Channel::ALL);
        assert_eq!(otto.severity, AlertSeverity::Info);
        for (from, to, says) in [
            ("name = \"ada\"", "name = \"Ada\"", "no name"),
            ("quay:admin", "quay:viewer", "operator, admin may"),
            ("default/depots/quay:admin", "nonsense", "grants nothing"),
            ("Europe/Vienna", "Mars/Olympus", "no time zone"),
            ("name = \"ada\"", "name = \"ada\"\nseverity = \"grave\"", "no severity `grave`"),
            ("https://hooks", "http://hooks", "webhook"),
            ("whsec_MfKQ", "secret_MfKQ", "webhook"),
            (
                "grants = [\"default/fleets/north:operator\", \"default/depots/quay:admin\"]",
                "grants = []",
                "no grant",
            ),
        ] {
            let sentence = read(&ADA.replace(from, to)).expect_err(says);
            assert!(sentence.contains(says), "{sentence}");
        }
    }

    #[test]
    fn who_could_never_be_reached_as_they_wish_is_refused() {
        let email = "email = \"Ada <ada@example.com>\"";
        for (from, to, says) in [
            (email, "email = \"Ada\"", "`Ada` is no address"),
            (email, "email = \"\"", "is no address"),
            (email, "", "no `email`; give it"),
            (
                "otherwise = [\"email\"]",
                "otherwise = [\"in-app\"], channels = { alert-critical = [\"sms\"] }",
                "sms",
            ),
            (
                "otherwise",
                "channels = { critical = [\"email\"] }, otherwise",
                "the kind `critical`; there are alert-",
            ),
        ] {
            let sentence = read(&ADA.replace(from, to)).expect_err(says);
            assert!(sentence.contains(says), "{sentence}");
        }
        // Without a webhook one may not be wished for, and a default wish is one too.
        let otto =
            |rest: &str| read(&format!("[[on_call]]\nname = \"otto\"\ngrants = [\"operator\"]\n{rest}"));
        for (wishes, says) in [
            (
                "channels = { alert-critical = [\"webhook\"] }, otherwise = []",
                "their `alert-critical` wishes for the channel webhook",
            ),
            ("locale = \"de\"", "`otherwise` is in-app and email"),
        ] {
            let sentence = otto(&format!("preferences = {{ {wishes} }}")).expect_err(says);
            assert!(sentence.contains(says), "{sentence}");
        }
        assert!(otto("preferences = { otherwise = [\"in-app\"] }").is_ok() && otto("").is_ok());
        // Mails want a relay.
        let file: File = toml::from_str(ADA).unwrap();
        let sentence = people(&file.on_call, false, false).expect_err("no relay");
        assert!(sentence.contains("`ada`") && sentence.contains("[business.mail]"), "{sentence}");
    }

    #[test]
    fn they_have_different_names_and_their_secrets_are_not_shown() {
        assert!(read(&format!("{ADA}{ADA}")).expect_err("twice").contains("two `ada`"));
        let shown = format!("{:?}", toml::from_str::<File>(ADA).unwrap().on_call);
        assert!(!shown.contains("whsec_"), "{shown}");
    }
}
