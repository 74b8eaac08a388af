//! Riders and staff as one directory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use remuda_model::OrganizationId;
use remuda_notifications::{Contact, Directory};

use super::Person;
use crate::directory::Riders;

/// What a message to staff is to, before the name.
pub(super) const STAFF: &str = "staff/";

/// See the module.
pub(crate) struct People {
    riders: Arc<Riders>,
    staff: BTreeMap<String, Contact>,
}

impl People {
    pub fn new(riders: Arc<Riders>, staff: &[Person]) -> Self {
        let staff = staff.iter().map(|person| (person.name.clone(), person.contact.clone()));
        Self { riders, staff: staff.collect() }
    }
}

#[async_trait]
impl Directory for People {
    async fn contact(&self, organization: &OrganizationId, user: &str) -> Result<Option<Contact>, String> {
        match user.strip_prefix(STAFF) {
            Some(name) => Ok(self.staff.get(name).cloned()),
            None => self.riders.contact(organization, user).await,
        }
    }
}
