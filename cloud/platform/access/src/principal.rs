//! Who calls.

use std::fmt;
use std::str::FromStr;

use remuda_model::OrganizationId;

use crate::limits;
use crate::reach::{Part, Reach};
use crate::role::{Permission, Role};

/// How somebody proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The node's own token, printed at start-up.
    NodeToken,
    /// An account of the configuration.
    Account,
    /// A client certificate that belongs to an account.
    Certificate,
    /// A token of an OIDC issuer.
    Oidc,
}

/// A role, and where it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which role.
    pub role: Role,
    /// In which organisation.
    pub organization: OrganizationId,
    /// In which part of it.
    pub part: Part,
}

/// Why a text is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` grants nothing ({problem}); write ROLE, ORGANIZATION:ROLE, ORGANIZATION/fleets/FLEET:ROLE or \
     ORGANIZATION/depots/DEPOT:ROLE, such as default:operator"
)]
pub struct GrantError {
    text: String,
    problem: String,
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let problem = |problem: String| GrantError { text: text.to_owned(), problem };
        // A role has no colon; a fleet's name may.
        let (place, role) = match text.rsplit_once(':') {
            Some((place, role)) => (Some(place), role),
            None => (None, text),
        };
        let (organization, part) = match place {
            None => (OrganizationId::default(), Part::Whole),
            Some(place) => {
                let (organization, part) =
                    place.split_once('/').map_or((place, None), |(o, part)| (o, Some(part)));
                let organization = OrganizationId::new(organization).map_err(|e| problem(e.to_string()))?;
                (organization, part.map_or(Ok(Part::Whole), part_of).map_err(|e| problem(e.to_owned()))?)
            }
        };
        let role = role.parse().map_err(|e: crate::UnknownRole| problem(e.to_string()))?;
        Ok(Self { role, organization, part })
    }
}

/// `fleets/FLEET` or `depots/DEPOT`.
fn part_of(text: &str) -> Result<Part, &'static str> {
    let (kind, name) = text.split_once('/').unwrap_or((text, ""));
    if name.is_empty() || name.len() > limits::PART_NAME_BYTES_MAX || name.trim() != name {
        return Err("the name of a fleet or depot has 1 to 256 bytes, without spaces around them");
    }
    match kind {
        "fleets" => Ok(Part::Fleet(name.to_owned())),
        "depots" => Ok(Part::Depot(name.to_owned())),
        _ => Err("behind an organisation stands /fleets/ or /depots/"),
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:{}", self.organization, self.part, self.role)
    }
}

/// Somebody who proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Stands in journals and in the audit log, such as `ada@example.com` or `account/night-shift`.
    pub subject: String,
    /// What stays the same of them whatever their tokens call them: the issuer's own name for somebody, an account's name.
    pub identity: String,
    /// What they may do, and where.
    pub grants: Vec<Grant>,
    /// How they proved it.
    pub via: Via,
}

impl Principal {
    /// Whoever shows the node's own token: its administrator.
    pub fn node(organization: OrganizationId) -> Self {
        let grants = vec![Grant { role: Role::Admin, organization, part: Part::Whole }];
        Self { subject: "console".into(), identity: "console".into(), grants, via: Via::NodeToken }
    }

    /// A principal with at most [`limits::GRANTS_MAX`] grants; what is over is dropped.
    pub fn new(subject: String, mut grants: Vec<Grant>, via: Via) -> Self {
        grants.truncate(limits::GRANTS_MAX);
        Self { identity: subject.clone(), subject, grants, via }
    }

    /// The same, who stays the same as `identity` whatever their tokens call them.
    #[must_use]
    pub fn identified(self, identity: String) -> Self {
        Self { identity, ..self }
    }

    /// Whether they may do something in all of an organisation.
    pub fn may(&self, permission: Permission, organization: OrganizationId) -> bool {
        self.reach(permission, organization) == Reach::Everywhere
    }

    /// Up to where they may do something in an organisation.
    pub fn reach(&self, permission: Permission, organization: OrganizationId) -> Reach {
        let permits = |grant: &&Grant| grant.organization == organization && grant.role.permits(permission);
        Reach::of(self.grants.iter().filter(permits).map(|grant| &grant.part))
    }

    /// Whether they reach an organisation at all.
    pub fn reaches(&self, organization: OrganizationId) -> bool {
        self.grants.iter().any(|grant| grant.organization == organization)
    }

    /// Their roles in an organisation, for a sentence.
    pub fn roles_in(&self, organization: OrganizationId) -> Vec<Role> {
        let here = self.grants.iter().filter(|grant| grant.organization == organization);
        here.map(|grant| grant.role).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_holds_in_its_organization_only() {
        let (here, there) = (OrganizationId::default(), OrganizationId::new("other").unwrap());
        let grants = vec!["operator".parse().unwrap(), "other:viewer".parse().unwrap()];
        let ada = Principal::new("ada".into(), grants, Via::Account);
        assert!(ada.may(Permission::CommandsGive, here) && !ada.may(Permission::CommandsGive, there));
        assert!(ada.may(Permission::VehiclesRead, there) && ada.reaches(there));
        assert!(!ada.reaches(OrganizationId::new("third").unwrap()));
    }

    #[test]
    fn a_role_on_a_fleet_reaches_its_vehicles_only() {
        let here = OrganizationId::default();
        let grants = ["default/fleets/north:operator", "default/depots/quay:viewer", "other:admin"];
        let ada = Principal::new("ada".into(), grants.map(|text| text.parse().unwrap()).into(), Via::Account);
        let (gives, reads) =
            (ada.reach(Permission::CommandsGive, here), ada.reach(Permission::VehiclesRead, here));
        assert!(gives.covers(Some("north"), None) && !gives.covers(Some("south"), Some("quay")));
        assert!(reads.covers(Some("south"), Some("quay")) && !reads.covers(Some("south"), None));
        assert!(reads.includes(&gives) && !gives.includes(&reads));
        assert!(!ada.may(Permission::VehiclesRead, here) && ada.reaches(here));
        assert!(ada.reach(Permission::AuditRead, here).is_nowhere());
    }

    #[test]
    fn grants_are_read_and_written() {
        for text in ["acme:firmware", "acme/fleets/north: 2:viewer", "acme/depots/a/b:admin"] {
            let grant: Grant = text.parse().unwrap();
            assert_eq!(grant.to_string(), text);
        }
        let grant: Grant = "acme/fleets/north: 2:viewer".parse().unwrap();
        assert_eq!(grant.part, Part::Fleet("north: 2".into()));
        for wrong in [
            "acme:root",
            "",
            ":viewer",
            "a/b:viewer",
            "a/fleets:viewer",
            "a/fleets/:viewer",
            "a/fleets/ x:viewer",
            "a/vehicles/V1:viewer",
            "fleets/north:viewer",
            "/fleets/north:viewer",
        ] {
            let error = wrong.parse::<Grant>().unwrap_err().to_string();
            assert!(error.contains("ORGANIZATION:ROLE"), "{error}");
        }
    }
}
