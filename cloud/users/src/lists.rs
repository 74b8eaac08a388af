//! Users by role and by where they stand, read off their events.

use std::collections::BTreeSet;

use remuda_entities::projection::{Poisoned, Projected, Projection, View, fact, key};
use remuda_eventsourcing::Event;
use remuda_model::OrganizationId;
use serde::{Deserialize, Serialize};

use crate::state::{Role, UserPhase};
use crate::{UserEvent, Users};

/// A user in a list. Nothing personal: names are sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserLine {
    /// Who.
    pub user: String,
    /// Where they stand.
    pub phase: UserPhase,
    /// What they are.
    pub roles: BTreeSet<Role>,
    /// Free credits, minor units.
    pub available: i64,
    /// Held credits, minor units.
    pub held: i64,
    /// Driving since, ms since 1970 UTC.
    pub driving_since_ms: Option<i64>,
    /// When they registered, ms since 1970 UTC.
    pub registered_ms: i64,
}

impl UserLine {
    fn take(&mut self, event: &UserEvent) {
        use UserEvent as E;
        match event {
            E::Registered(e) => {
                self.phase = UserPhase::Active;
                self.roles = e.roles.clone();
                self.registered_ms = e.time_ms;
            }
            E::RoleGranted(e) => {
                self.roles.insert(e.role);
            }
            E::RoleRevoked(e) => {
                self.roles.remove(&e.role);
            }
            E::Suspended(_) => self.phase = UserPhase::Suspended,
            E::Reinstated(_) => self.phase = UserPhase::Active,
            E::DrivingStarted(e) => self.driving_since_ms = Some(e.at_ms),
            E::DrivingStopped(_) => self.driving_since_ms = None,
            E::CreditsToppedUp(e) => self.available += e.amount,
            E::CreditsRefunded(e) => self.available += e.amount,
            E::CreditsHeld(e) => {
                self.available -= e.amount;
                self.held += e.amount;
            }
            E::HoldReleased(e) | E::HoldExpired(e) => {
                self.available += e.amount;
                self.held -= e.amount;
            }
            E::HoldCaptured(e) => {
                self.available += e.returned;
                self.held -= e.amount + e.returned;
            }
            E::ErasureOrdered(_) => {
                self.phase = UserPhase::Erasing;
                self.available = 0;
            }
            E::Erased(_) => self.phase = UserPhase::Erased,
            E::ProfileChanged(_)
            | E::PreferencesChanged(_)
            | E::ConsentGiven(_)
            | E::ConsentWithdrawn(_)
            | E::LicenceRecorded(_)
            | E::LicenceRemoved(_) => {}
        }
    }

    /// Under which lists it stands.
    fn places(&self, organization: &str) -> BTreeSet<Vec<u8>> {
        let of = |list: &str, value: &str| key(&[list, organization, value, &self.user]);
        let mut places: BTreeSet<_> = self.roles.iter().map(|role| of("role", role_name(*role))).collect();
        places.insert(of("phase", phase_name(self.phase)));
        places.insert(key(&["user", organization, &self.user]));
        places
    }
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Rider => "rider",
        Role::Driver => "driver",
        Role::Staff => "staff",
    }
}

const fn phase_name(phase: UserPhase) -> &'static str {
    match phase {
        UserPhase::Unknown => "unknown",
        UserPhase::Active => "active",
        UserPhase::Suspended => "suspended",
        UserPhase::Erasing => "erasing",
        UserPhase::Erased => "erased",
    }
}

/// The projection.
#[derive(Debug, Clone, Copy)]
pub struct UserLists;

impl Projection for UserLists {
    const NAME: &'static str = "user-lists";
    const VERSION: u32 = 1;
    const READS: &'static [&'static str] = &["user"];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let Some(fact) = fact::<Users>(event)? else { return Ok(()) };
        let stream = &event.event.stream;
        let (organization, user) = (stream.organization.as_str(), &stream.aggregate_id);
        let before: Option<UserLine> = view.get(&key(&["user", organization, user]))?;
        let mut line =
            before.clone().unwrap_or_else(|| UserLine { user: user.clone(), ..UserLine::default() });
        line.take(&fact);
        let places = line.places(organization);
        for gone in
            before.iter().flat_map(|line| line.places(organization)).filter(|place| !places.contains(place))
        {
            view.remove(&gone);
        }
        places.iter().try_for_each(|place| view.put(place, &line))
    }
}

/// Reads the lists.
#[derive(Clone)]
pub struct UserDirectory(Projected<UserLists>);

impl UserDirectory {
    /// Over a running projection.
    pub const fn new(lists: Projected<UserLists>) -> Self {
        Self(lists)
    }

    /// The projection beneath.
    pub const fn projected(&self) -> &Projected<UserLists> {
        &self.0
    }

    /// One user.
    ///
    /// # Errors
    /// When nothing serves yet, or the store fails.
    pub fn user(&self, organization: &OrganizationId, user: &str) -> Result<Option<UserLine>, Poisoned> {
        self.0.get(&key(&["user", organization.as_str(), user]))
    }

    /// All users of an organisation by id, after `after`, at most `limit`.
    ///
    /// # Errors
    /// As [`UserDirectory::user`].
    pub fn all(
        &self,
        organization: &OrganizationId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<UserLine>, Poisoned> {
        self.page(&["user", organization.as_str()], after, limit)
    }

    /// Users with a role.
    ///
    /// # Errors
    /// As [`UserDirectory::user`].
    pub fn with_role(
        &self,
        organization: &OrganizationId,
        role: Role,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<UserLine>, Poisoned> {
        self.page(&["role", organization.as_str(), role_name(role)], after, limit)
    }

    /// Users who stand there: those being erased have to be finished at start-up.
    ///
    /// # Errors
    /// As [`UserDirectory::user`].
    pub fn in_phase(
        &self,
        organization: &OrganizationId,
        phase: UserPhase,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<UserLine>, Poisoned> {
        self.page(&["phase", organization.as_str(), phase_name(phase)], after, limit)
    }

    fn page(&self, list: &[&str], after: Option<&str>, limit: usize) -> Result<Vec<UserLine>, Poisoned> {
        let after = after.map(|after| key(&[list, &[after]].concat()));
        let lines = self.0.scan(&key(list), after.as_deref(), limit)?;
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }
}
