//! Resource names (AIP-122): built and parsed by one type each, whose two functions are inverses.

use std::fmt;
use std::str::FromStr;

/// A text that is not the resource name wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameError {
    /// The form it should have.
    pub expected: &'static str,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a name of the form {} is wanted", self.expected)
    }
}

impl std::error::Error for NameError {}

/// `organizations/{organization}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationName {
    /// The organization's id.
    pub organization: String,
}

impl fmt::Display for OrganizationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "organizations/{}", self.organization)
    }
}

impl FromStr for OrganizationName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match segments(text).as_slice() {
            ["organizations", organization] => Ok(Self { organization: (*organization).to_owned() }),
            _ => Err(NameError { expected: "organizations/{organization}" }),
        }
    }
}

/// `organizations/{organization}/vehicles/{vehicle}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VehicleName {
    /// The organization's id.
    pub organization: String,
    /// The vehicle's id.
    pub vehicle: String,
}

impl fmt::Display for VehicleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "organizations/{}/vehicles/{}", self.organization, self.vehicle)
    }
}

impl FromStr for VehicleName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match segments(text).as_slice() {
            ["organizations", organization, "vehicles", vehicle] => {
                Ok(Self { organization: (*organization).to_owned(), vehicle: (*vehicle).to_owned() })
            }
            _ => Err(NameError { expected: "organizations/{organization}/vehicles/{vehicle}" }),
        }
    }
}

/// `organizations/{organization}/vehicles/{vehicle}/commands/{command}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandName {
    /// The organization's id.
    pub organization: String,
    /// The vehicle's id.
    pub vehicle: String,
    /// The command's id.
    pub command: String,
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { organization, vehicle, command } = self;
        write!(f, "organizations/{organization}/vehicles/{vehicle}/commands/{command}")
    }
}

impl FromStr for CommandName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match segments(text).as_slice() {
            ["organizations", organization, "vehicles", vehicle, "commands", command] => Ok(Self {
                organization: (*organization).to_owned(),
                vehicle: (*vehicle).to_owned(),
                command: (*command).to_owned(),
            }),
            _ => Err(NameError {
                expected: "organizations/{organization}/vehicles/{vehicle}/commands/{command}",
            }),
        }
    }
}

/// `organizations/{organization}/vehicles/{vehicle}/alerts/{alert}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertName {
    /// The organization's id.
    pub organization: String,
    /// The vehicle's id.
    pub vehicle: String,
    /// The alert's id.
    pub alert: String,
}

impl fmt::Display for AlertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { organization, vehicle, alert } = self;
        write!(f, "organizations/{organization}/vehicles/{vehicle}/alerts/{alert}")
    }
}

impl FromStr for AlertName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match segments(text).as_slice() {
            ["organizations", organization, "vehicles", vehicle, "alerts", alert] => Ok(Self {
                organization: (*organization).to_owned(),
                vehicle: (*vehicle).to_owned(),
                alert: (*alert).to_owned(),
            }),
            _ => {
                Err(NameError { expected: "organizations/{organization}/vehicles/{vehicle}/alerts/{alert}" })
            }
        }
    }
}

/// `organizations/{organization}/trips/{trip}/shares/{share}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareName {
    /// The organization's id.
    pub organization: String,
    /// The trip's id.
    pub trip: String,
    /// The link's id.
    pub share: String,
}

impl fmt::Display for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { organization, trip, share } = self;
        write!(f, "organizations/{organization}/trips/{trip}/shares/{share}")
    }
}

impl FromStr for ShareName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match segments(text).as_slice() {
            ["organizations", organization, "trips", trip, "shares", share] => Ok(Self {
                organization: (*organization).to_owned(),
                trip: (*trip).to_owned(),
                share: (*share).to_owned(),
            }),
            _ => Err(NameError { expected: "organizations/{organization}/trips/{trip}/shares/{share}" }),
        }
    }
}

/// `organizations/{organization}/{collection}/{id}`, for collections that need no more than that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildName {
    /// The organization's id.
    pub organization: String,
    /// `trips`, `users`, `sagas`, `invoices`, `payments`, `notifications`, `reactors`, `geofences`.
    pub collection: &'static str,
    /// The id in it.
    pub id: String,
}

impl ChildName {
    /// Reads a name of this collection.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(collection: &'static str, text: &str) -> Result<Self, NameError> {
        match segments(text).as_slice() {
            ["organizations", organization, of, id] if *of == collection => {
                Ok(Self { organization: (*organization).to_owned(), collection, id: (*id).to_owned() })
            }
            _ => Err(NameError {
                expected: match collection {
                    "trips" => "organizations/{organization}/trips/{trip}",
                    "feedback" => "organizations/{organization}/feedback/{trip}",
                    "users" => "organizations/{organization}/users/{user}",
                    "erasures" => "organizations/{organization}/erasures/{erasure}",
                    "sagas" => "organizations/{organization}/sagas/{saga}",
                    "invoices" => "organizations/{organization}/invoices/{invoice}",
                    "payments" => "organizations/{organization}/payments/{payment}",
                    "notifications" => "organizations/{organization}/notifications/{notification}",
                    "reactors" => "organizations/{organization}/reactors/{reactor}",
                    "feeds" => "organizations/{organization}/feeds/{feed}",
                    "geofences" => "organizations/{organization}/geofences/{geofence}",
                    _ => "organizations/{organization}/{collection}/{id}",
                },
            }),
        }
    }
}

impl fmt::Display for ChildName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "organizations/{}/{}/{}", self.organization, self.collection, self.id)
    }
}

/// `organizations/{organization}/policies/{policy}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyName {
    /// The organization's id.
    pub organization: String,
    /// The policy's name in it.
    pub policy: String,
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "organizations/{}/policies/{}", self.organization, self.policy)
    }
}

impl FromStr for PolicyName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match segments(text).as_slice() {
            ["organizations", organization, "policies", policy] => {
                Ok(Self { organization: (*organization).to_owned(), policy: (*policy).to_owned() })
            }
            _ => Err(NameError { expected: "organizations/{organization}/policies/{policy}" }),
        }
    }
}

/// The parts between slashes; none when one is empty.
fn segments(text: &str) -> Vec<&str> {
    let parts: Vec<&str> = text.split('/').collect();
    if parts.iter().any(|p| p.is_empty()) { Vec::new() } else { parts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_they_were_written() {
        let name = VehicleName { organization: "north".into(), vehicle: "V0001".into() };
        assert_eq!(name.to_string(), "organizations/north/vehicles/V0001");
        assert_eq!(name.to_string().parse(), Ok(name));
        let policy = PolicyName { organization: "north".into(), policy: "vans".into() };
        assert_eq!(policy.to_string().parse(), Ok(policy));
        let command =
            CommandName { organization: "north".into(), vehicle: "V1".into(), command: "c0".into() };
        assert_eq!(command.to_string().parse(), Ok(command));
        let alert = AlertName { organization: "north".into(), vehicle: "V1".into(), alert: "a-1-2-3".into() };
        assert_eq!(alert.to_string().parse(), Ok(alert));
        let share = ShareName { organization: "north".into(), trip: "t1".into(), share: "s0".into() };
        assert_eq!(share.to_string().parse(), Ok(share));
        let parent = OrganizationName { organization: "north".into() };
        assert_eq!(parent.to_string().parse(), Ok(parent));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in
            ["", "V1", "organizations/", "organizations//vehicles/V1", "organizations/a/vehicles/", "a/b/c/d"]
        {
            assert!(text.parse::<VehicleName>().is_err(), "{text}");
        }
        for text in ["", "organizations", "organizations/a/", "organizations/a/vehicles", "/organizations/a"]
        {
            assert!(text.parse::<OrganizationName>().is_err(), "{text}");
        }
    }
}
