//! Users as others ask for them: the saga's `user-service`, and what needs the keys of personal data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use remuda_contracts::booking::{Booking, USER_SERVICE};
use remuda_contracts::money::Currency;
use remuda_contracts::sealed::Sealed;
use remuda_entities::projection::Poisoned;
use remuda_entities::{AskError, Entities, Outcome};
use remuda_eventsourcing::Context;
use remuda_model::OrganizationId;
use remuda_saga::{ActionSpec, Service, StepContext, StepError};
use serde_json::{Value, json};

use crate::privacy::{Retained, Retention, UserRef, Vault, VaultError, export, licence_field};
use crate::state::{Licence, PersonalField, Preferences, Role, UserPhase};
use crate::{UserCommand, UserDirectory, Users, limits};

/// Now, ms since 1970 UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Why a request about a user did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The id is none.
    #[error("{0}")]
    BadId(&'static str),
    /// The aggregate said no, or could not be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The keys.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The lists.
    #[error("the lists of users cannot be read: {0}")]
    Lists(#[from] Poisoned),
    /// A task of ours was stopped.
    #[error("the node is stopping; ask again")]
    Stopping,
}

/// What became of an erasure.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ErasureReport {
    /// Credits that were given up, minor units.
    pub forfeited: i64,
    /// What stays, on what ground, for how long.
    pub retained: Vec<Retained>,
}

/// Asks users. Cheap to clone.
#[derive(Clone)]
pub struct UserService {
    users: Entities<Users>,
    vault: Vault,
    retention: Arc<Retention>,
    clock: Clock,
}

impl UserService {
    /// Over these entities and keys.
    pub fn new(users: Entities<Users>, vault: Vault, retention: Retention, clock: Clock) -> Self {
        Self { users, vault, retention: Arc::new(retention), clock }
    }

    /// The aggregates beneath, for commands that carry nothing personal.
    pub const fn entities(&self) -> &Entities<Users> {
        &self.users
    }

    /// Runs what blocks on the key store where it may block.
    async fn with_vault<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Vault) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, UserError> {
        let vault = self.vault.clone();
        match tokio::task::spawn_blocking(move || work(&vault)).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(UserError::Stopping),
        }
    }

    async fn sealed(
        &self,
        user: &UserRef,
        plain: BTreeMap<PersonalField, Option<String>>,
    ) -> Result<BTreeMap<PersonalField, Option<Sealed>>, UserError> {
        let user = user.clone();
        self.with_vault(move |vault| {
            let seal = |(field, text): (PersonalField, Option<String>)| {
                let sealed = text.map(|text| vault.seal(&user, field.name(), &text)).transpose()?;
                Ok((field, sealed))
            };
            plain.into_iter().map(seal).collect()
        })
        .await
    }

    async fn ask(
        &self,
        user: &UserRef,
        command: UserCommand,
        context: Context,
    ) -> Result<Outcome<Users>, UserError> {
        Ok(self.users.ask(user.organization(), user.user(), command, context).await?)
    }

    /// Registers somebody; what is plain here is sealed before it goes anywhere.
    ///
    /// # Errors
    /// [`UserError`].
    pub async fn register(
        &self,
        user: &UserRef,
        roles: BTreeSet<Role>,
        profile: BTreeMap<PersonalField, String>,
        preferences: Preferences,
        currency: Currency,
        context: Context,
    ) -> Result<Outcome<Users>, UserError> {
        let plain = profile.into_iter().map(|(field, text)| (field, Some(text))).collect();
        let sealed = self.sealed(user, plain).await?;
        let profile = sealed.into_iter().filter_map(|(field, sealed)| Some((field, sealed?))).collect();
        self.ask(user, UserCommand::Register { roles, profile, preferences, currency }, context).await
    }

    /// Sets fields, or takes them away.
    ///
    /// # Errors
    /// [`UserError`].
    pub async fn change_profile(
        &self,
        user: &UserRef,
        changes: BTreeMap<PersonalField, Option<String>>,
        context: Context,
    ) -> Result<Outcome<Users>, UserError> {
        let changes = self.sealed(user, changes).await?;
        self.ask(user, UserCommand::ChangeProfile(changes), context).await
    }

    /// Records a licence.
    ///
    /// # Errors
    /// [`UserError`].
    pub async fn record_licence(
        &self,
        user: &UserRef,
        id: String,
        number: String,
        classes: BTreeSet<String>,
        valid_until_ms: i64,
        context: Context,
    ) -> Result<Outcome<Users>, UserError> {
        let (owner, field) = (user.clone(), licence_field(&id));
        let number = self.with_vault(move |vault| vault.seal(&owner, &field, &number)).await?;
        let licence = Licence { id, number, classes, valid_until_ms };
        self.ask(user, UserCommand::RecordLicence(licence), context).await
    }

    /// What is known of a person, as JSON.
    ///
    /// # Errors
    /// [`UserError`].
    pub async fn export(&self, user: &UserRef) -> Result<Value, UserError> {
        let state = self.users.read(user.organization(), user.user()).await?.state;
        if state.phase == UserPhase::Unknown {
            return Err(UserError::Ask(AskError::Refused {
                code: "no-such-user".into(),
                text: "there is no such user".into(),
            }));
        }
        let user = user.clone();
        self.with_vault(move |vault| export(&user, &state, vault)).await
    }

    /// Erases a person: orders it, deletes the key, confirms it. After a crash in between, the same again goes on, and so does
    /// [`UserService::finish_erasure`]. `running_trips` are those that the lists of trips know.
    ///
    /// # Errors
    /// [`UserError`]; a refusal says what has to end first.
    pub async fn erase(
        &self,
        user: &UserRef,
        running_trips: Vec<String>,
        forfeit: bool,
        context: Context,
    ) -> Result<ErasureReport, UserError> {
        let order = UserCommand::OrderErasure { running_trips, forfeit };
        let ordered = self.ask(user, order, context.clone()).await?;
        let forfeited = ordered.events.iter().map(|event| match event {
            crate::UserEvent::ErasureOrdered(ordered) => ordered.forfeited,
            _ => 0,
        });
        let forfeited = forfeited.sum();
        self.finish_erasure(user, context).await?;
        Ok(ErasureReport { forfeited, retained: self.retention.notice() })
    }

    /// Deletes the key of a user whose erasure was ordered, and says so. Again is the same.
    ///
    /// # Errors
    /// [`UserError`].
    pub async fn finish_erasure(&self, user: &UserRef, context: Context) -> Result<(), UserError> {
        let owner = user.clone();
        self.with_vault(move |vault| vault.shred(&owner)).await?;
        let command_id = format!("{}/confirm-erased", context.command_id);
        self.ask(user, UserCommand::ConfirmErased, Context { command_id, ..context }).await?;
        Ok(())
    }

    /// At start-up, before anything personal is read: finishes erasures that a crash cut short, and deletes again the keys of
    /// erased users, which a key store that came from a backup may have brought back. Answers how many users it looked at.
    ///
    /// # Errors
    /// [`UserError`]: do not start.
    pub async fn settle(
        &self,
        organization: &OrganizationId,
        lists: &UserDirectory,
    ) -> Result<usize, UserError> {
        let mut looked_at = 0;
        for phase in [UserPhase::Erasing, UserPhase::Erased] {
            let mut after: Option<String> = None;
            loop {
                let page = lists.in_phase(organization, phase, after.as_deref(), SETTLE_PAGE)?;
                let Some(last) = page.last() else { break };
                after = Some(last.user.clone());
                looked_at += page.len();
                if phase == UserPhase::Erased {
                    // Only the keys: nobody who is gone need be woken for that.
                    let users = page.iter().map(|line| UserRef::new(*organization, &line.user));
                    let users: Vec<UserRef> = users.collect::<Result<_, _>>().map_err(UserError::BadId)?;
                    self.with_vault(move |vault| vault.settle(&users)).await?;
                    continue;
                }
                for line in page {
                    let user = UserRef::new(*organization, &line.user).map_err(UserError::BadId)?;
                    let context = Context {
                        now_ms: (self.clock)(),
                        command_id: format!("settle/{}", line.user),
                        actor: "policy/settle-erasures".into(),
                        correlation_id: line.user,
                    };
                    self.finish_erasure(&user, context).await?;
                }
            }
        }
        Ok(looked_at)
    }

    /// Pays from a hold, in minor units; what is left of it goes back. For who charges a ride: `context.command_id` is the charge's
    /// own key.
    ///
    /// # Errors
    /// [`AskError`]; `capture-exceeds-hold`, `hold-ended` and the like are final.
    pub async fn capture(
        &self,
        organization: &OrganizationId,
        user: &str,
        hold: &str,
        amount: i64,
        context: Context,
    ) -> Result<Outcome<Users>, AskError> {
        self.users
            .ask(organization, user, UserCommand::Capture { key: hold.to_owned(), amount }, context)
            .await
    }

    /// Gives back from what was captured, in minor units. `reference` is the refund's own name.
    ///
    /// # Errors
    /// [`AskError`]; `refund-exceeds-capture` and the like are final.
    pub async fn refund(
        &self,
        organization: &OrganizationId,
        user: &str,
        hold: &str,
        amount: i64,
        reference: &str,
        context: Context,
    ) -> Result<Outcome<Users>, AskError> {
        let command = UserCommand::Refund { key: hold.to_owned(), amount, reference: reference.to_owned() };
        self.users.ask(organization, user, command, context).await
    }

    fn context(&self, key: &str, step: &StepContext) -> Context {
        Context {
            now_ms: (self.clock)(),
            command_id: key.to_owned(),
            actor: format!("saga/{}", step.saga_id),
            correlation_id: step.saga_id.clone(),
        }
    }
}

/// Users looked at together when erasures are settled.
const SETTLE_PAGE: usize = 256;

/// How long credits stay held when nobody captures or releases them, ms.
const HOLD_MS: i64 = 24 * limits::HOUR_MS;

#[async_trait]
impl Service for UserService {
    fn name(&self) -> &'static str {
        USER_SERVICE
    }

    fn actions(&self) -> &'static [ActionSpec] {
        const {
            &[
                ActionSpec::undone_by("reserve-credits", "release-credits"),
                ActionSpec::plain("release-credits"),
            ]
        }
    }

    async fn call(&self, action: &str, key: &str, step: &StepContext) -> Result<Value, StepError> {
        let booking: Booking = serde_json::from_value(step.data.clone())
            .map_err(|error| StepError::refused("bad-booking", error.to_string()))?;
        // The hold is the booking's, not the step's: who ends the trip captures it by the same name.
        let hold = step.saga_id.clone();
        let context = self.context(key, step);
        let command = match action {
            "reserve-credits" => UserCommand::Hold {
                key: hold.clone(),
                amount: booking.price,
                expires_ms: context.now_ms + HOLD_MS,
            },
            "release-credits" => UserCommand::Release { key: hold.clone() },
            _ => {
                return Err(StepError::refused("no-such-action", format!("user-service offers no {action}")));
            }
        };
        ask(&self.users, &step.organization, &booking.rider, command, context).await?;
        Ok(
            json!({ "hold": hold, "minor_units": booking.price.minor_units, "currency": booking.price.currency }),
        )
    }
}

async fn ask(
    users: &Entities<Users>,
    organization: &OrganizationId,
    user: &str,
    command: UserCommand,
    context: Context,
) -> Result<(), StepError> {
    users.ask(organization, user, command, context).await.map(|_| ()).map_err(StepError::from)
}
