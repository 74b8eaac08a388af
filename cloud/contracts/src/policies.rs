//! Collection policies: what people say to the vehicle domain about what is collected, and what it answers.

use async_trait::async_trait;
use remuda_model::{OrganizationId, VehicleId};

/// Whom a policy is meant for. A vehicle's own assignment goes before those of its prefixes, the longest of them before
/// the shorter ones, and all of them before that of the whole fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Every vehicle of the organization.
    All,
    /// Vehicles whose id begins so.
    Prefix(String),
    /// These vehicles.
    Vehicles(Vec<VehicleId>),
}

/// A stored policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyView {
    /// Its name in the organization.
    pub name: String,
    /// The document, JSON (`remuda_policy`).
    pub document: String,
    /// Its revision: what vehicles report, and its etag. Never given twice in an organization.
    pub revision: u32,
    /// When it was set, ms since 1970 UTC.
    pub changed_ms: i64,
    /// Who set it.
    pub changed_by: String,
    /// It is that of the whole fleet.
    pub all: bool,
    /// Prefixes it is assigned to.
    pub prefixes: Vec<String>,
    /// Vehicles it is assigned to by name.
    pub vehicles: Vec<VehicleId>,
}

/// What is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyChange {
    /// Make a policy, or give it another document. With a revision it must be the present one; 0 = it must be new.
    Set {
        /// Its name.
        name: String,
        /// The document.
        document: String,
        /// The revision that was read before.
        expected: Option<u32>,
    },
    /// Assign a policy; what the target had before is replaced.
    Assign {
        /// The policy.
        name: String,
        /// Whom.
        target: Target,
    },
    /// Take an assignment away.
    Unassign {
        /// Whose.
        target: Target,
    },
    /// Remove a policy that is assigned to nobody.
    Delete {
        /// The policy.
        name: String,
        /// The revision that was read before.
        expected: Option<u32>,
    },
}

/// Vehicles whose desired policy a change makes another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Impact {
    /// How many.
    pub vehicles: u64,
    /// How many of them are online: they are told at once, the others at their next greeting.
    pub online: u64,
}

/// How far a policy has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyStatus {
    /// Vehicles that should follow it.
    pub desired: u64,
    /// Of those, vehicles that report that they do.
    pub applied: u64,
    /// Of those, vehicles that said no.
    pub refused: u64,
    /// Of those, vehicles that have not answered yet.
    pub pending: u64,
    /// The first vehicles that said no, and why.
    pub refusals: Vec<(VehicleId, String)>,
    /// The first vehicles that have not answered yet.
    pub waiting: Vec<VehicleId>,
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRefusal {
    /// There is no such policy.
    #[error("there is no policy `{0}`")]
    NoSuchPolicy(String),
    /// It was changed meanwhile.
    #[error("the policy is at revision {0} by now; read it again")]
    Changed(u32),
    /// It exists.
    #[error("the policy `{0}` exists already")]
    Exists(String),
    /// A name that cannot be one.
    #[error("a policy's name has 1 to 63 lower-case letters, digits and hyphens, the first one a letter")]
    Name,
    /// A document that vehicles could not follow.
    #[error("{0}")]
    Document(String),
    /// A target that means nothing.
    #[error("{0}")]
    Target(String),
    /// It is still assigned.
    #[error("the policy `{0}` is still assigned; unassign it first")]
    Assigned(String),
    /// A bound is reached.
    #[error("an organization has at most {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        max: usize,
    },
    /// The journal did not take it.
    #[error("the change could not be made durable; try again")]
    Unavailable,
}

/// The vehicle domain's book of policies.
#[async_trait]
pub trait PolicyBook: Send + Sync + 'static {
    /// Every policy of an organization, in order of names.
    fn list(&self, organization: &OrganizationId) -> Vec<PolicyView>;

    /// One policy.
    fn get(&self, organization: &OrganizationId, name: &str) -> Option<PolicyView> {
        self.list(organization).into_iter().find(|policy| policy.name == name)
    }

    /// Makes a change durable, or with `dry_run` only says what it would touch.
    ///
    /// # Errors
    /// Why it was not made.
    async fn change(
        &self,
        organization: &OrganizationId,
        change: PolicyChange,
        who: &str,
        dry_run: bool,
    ) -> Result<Impact, PolicyRefusal>;

    /// How far a policy has come; with no name, how far the vehicles without one are back at their built-in policy.
    fn status(&self, organization: &OrganizationId, name: Option<&str>) -> Option<PolicyStatus>;
}
