//! Roles and what they permit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What somebody may be, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees vehicles, history and what goes on; changes nothing. Positions are coarse.
    Viewer,
    /// A viewer who also books and moves trips and answers vehicles' questions.
    Dispatcher,
    /// A dispatcher who also commands vehicles, sets what they collect and handles alerts.
    Operator,
    /// A viewer who also ships firmware.
    Firmware,
    /// Everything, identities, erasure and the audit log included.
    Admin,
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no role `{0}`; roles are viewer, dispatcher, operator, firmware and admin")]
pub struct UnknownRole(pub String);

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Dispatcher, Self::Operator, Self::Firmware, Self::Admin];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Dispatcher => "dispatcher",
            Self::Operator => "operator",
            Self::Firmware => "firmware",
            Self::Admin => "admin",
        }
    }

    /// Whether it includes a permission.
    pub fn permits(self, permission: Permission) -> bool {
        permission.roles().contains(&self)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal for $roles:expr;)*) => {
        /// One thing that one may do. Methods of the API name these (`remuda.options.v1.access`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission {
            $($(#[$doc])* $variant,)*
        }

        impl Permission {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// `{what}.{verb}`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The roles that include it.
            pub const fn roles(self) -> &'static [Role] {
                match self { $(Self::$variant => $roles),* }
            }
        }
    };
}

use Role::{Admin, Dispatcher, Firmware, Operator};

const EVERYONE: &[Role] = &Role::ALL;

permissions! {
    /// See vehicles, their twins and registrations.
    VehiclesRead = "vehicles.read" for EVERYONE;
    /// Register vehicles, give enrolment tokens, revoke.
    VehiclesRegister = "vehicles.register" for &[Admin];
    /// Ask for history, positions and journeys.
    HistoryRead = "history.read" for EVERYONE;
    /// See exact positions, live and in history; without it they are the middle of a cell of 0.01 degrees.
    HistoryExact = "history.exact" for &[Dispatcher, Operator, Admin];
    /// Have history erased.
    HistoryErase = "history.erase" for &[Admin];
    /// See collection policies.
    PoliciesRead = "policies.read" for EVERYONE;
    /// Change collection policies and who they apply to.
    PoliciesChange = "policies.change" for &[Operator, Admin];
    /// See commands and what became of them.
    CommandsRead = "commands.read" for EVERYONE;
    /// Command vehicles.
    CommandsGive = "commands.give" for &[Operator, Admin];
    /// Be the second person for what one may not do alone.
    CommandsApprove = "commands.approve" for &[Operator, Admin];
    /// See alerts on vehicles.
    AlertsRead = "alerts.read" for EVERYONE;
    /// Acknowledge, snooze and clear alerts.
    AlertsHandle = "alerts.handle" for &[Operator, Admin];
    /// See geofences, and which vehicles are in them: that tells exact positions.
    GeofencesRead = "geofences.read" for &[Dispatcher, Operator, Admin];
    /// Make, change and delete geofences.
    GeofencesChange = "geofences.change" for &[Operator, Admin];
    /// See trips.
    TripsRead = "trips.read" for EVERYONE;
    /// Book, change and cancel trips.
    TripsChange = "trips.change" for &[Dispatcher, Operator, Admin];
    /// See what riders say of their trips.
    FeedbackRead = "feedback.read" for &[Dispatcher, Operator, Admin];
    /// Write down what a rider says.
    FeedbackGive = "feedback.give" for &[Dispatcher, Operator, Admin];
    /// See users.
    UsersRead = "users.read" for &[Dispatcher, Operator, Admin];
    /// Change users, their credits and consents; erase their data.
    UsersChange = "users.change" for &[Admin];
    /// See sagas and their timelines.
    SagasRead = "sagas.read" for &[Dispatcher, Operator, Admin];
    /// Resolve stuck sagas.
    SagasResolve = "sagas.resolve" for &[Operator, Admin];
    /// See what reads the business journal, and where it stopped.
    ReactorsRead = "reactors.read" for &[Dispatcher, Operator, Admin];
    /// Let readers go on that stopped at an event, or pass it over.
    ReactorsResolve = "reactors.resolve" for &[Operator, Admin];
    /// See messages to people and dead letters.
    NotificationsRead = "notifications.read" for &[Dispatcher, Operator, Admin];
    /// Send dead letters again.
    NotificationsChange = "notifications.change" for &[Operator, Admin];
    /// See trouble codes.
    DiagnosticsRead = "diagnostics.read" for EVERYONE;
    /// Report and acknowledge trouble codes.
    DiagnosticsChange = "diagnostics.change" for &[Operator, Admin];
    /// Say how often vehicles must be serviced, and that they were.
    VehiclesService = "vehicles.service" for &[Operator, Admin];
    /// See money: ledger, invoices, payments.
    BillingRead = "billing.read" for &[Dispatcher, Operator, Admin];
    /// Move money: refunds, voids.
    BillingChange = "billing.change" for &[Admin];
    /// Read analytics.
    AnalyticsRead = "analytics.read" for EVERYONE;
    /// Follow the firehose of events.
    FeedsRead = "feeds.read" for &[Operator, Admin];
    /// Register feeds to customers' systems, pause and delete them, send dead letters again.
    FeedsChange = "feeds.change" for &[Admin];
    /// Ship firmware.
    UpdatesChange = "updates.change" for &[Firmware, Admin];
    /// See how the node itself is.
    SystemRead = "system.read" for &[Operator, Admin];
    /// Read and check the audit log.
    AuditRead = "audit.read" for &[Admin];
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Permission {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|permission| permission.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::Role::Viewer;
    use super::*;

    #[test]
    fn an_admin_may_do_everything_and_a_viewer_changes_nothing() {
        for &permission in Permission::ALL {
            assert!(Admin.permits(permission), "{permission}");
            let reads = permission.as_str().ends_with(".read");
            assert!(reads || !Viewer.permits(permission), "{permission}");
            assert_eq!(Permission::named(permission.as_str()), Some(permission));
        }
    }

    #[test]
    fn a_higher_role_includes_the_lower_ones() {
        for &permission in Permission::ALL {
            assert!(!Viewer.permits(permission) || Dispatcher.permits(permission), "{permission}");
            assert!(!Dispatcher.permits(permission) || Operator.permits(permission), "{permission}");
            assert!(!Viewer.permits(permission) || Firmware.permits(permission), "{permission}");
        }
        assert!(!Firmware.permits(Permission::CommandsGive) && !Operator.permits(Permission::UpdatesChange));
    }

    #[test]
    fn roles_are_read_by_name() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().unwrap_err().to_string().contains("viewer"));
    }
}
