//! Who calls.

use std::fmt;
use std::str::FromStr;

use remuda_model::OrganizationId;

use crate::limits;
use crate::role::{Permission, Role};

/// How somebody proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The node's own token, printed at start-up.
    NodeToken,
    /// An account of the configuration.
    Account,
    /// A token of an OIDC issuer.
    /// A client certificate that belongs to an account.
    Certificate,
    Oidc,
}

/// A role, and where it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Which role.
    pub role: Role,
    /// In which organisation.
    pub organization: OrganizationId,
}

/// Why a text is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` grants nothing ({problem}); write ROLE or ORGANIZATION:ROLE, such as default:operator")]
pub struct GrantError {
    text: String,
    problem: String,
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let problem = |problem: String| GrantError { text: text.to_owned(), problem };
        let (organization, role) = match text.split_once(':') {
            Some((organization, role)) => {
                let organization = OrganizationId::new(organization).map_err(|e| problem(e.to_string()))?;
                (organization, role)
            }
            None => (OrganizationId::default(), text),
        };
        Ok(Self { role: role.parse().map_err(|e: crate::UnknownRole| problem(e.to_string()))?, organization })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.organization, self.role)
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
        let grants = vec![Grant { role: Role::Admin, organization }];
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

    /// Whether they may do something in an organisation.
    pub fn may(&self, permission: Permission, organization: OrganizationId) -> bool {
        self.grants.iter().any(|grant| grant.organization == organization && grant.role.permits(permission))
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
    fn grants_are_read_and_written() {
        let grant: Grant = "acme:firmware".parse().unwrap();
        assert_eq!(grant.to_string(), "acme:firmware");
        for wrong in ["acme:root", "", ":viewer", "a/b:viewer"] {
            let error = wrong.parse::<Grant>().unwrap_err().to_string();
            assert!(error.contains("ORGANIZATION:ROLE"), "{error}");
        }
    }
}
