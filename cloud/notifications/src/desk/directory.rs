//! Who people are: asked for when a message is sent, and never written into the journal.

use std::collections::BTreeMap;

use async_trait::async_trait;
use remuda_model::OrganizationId;

use crate::channels::webhook::Endpoint;
use crate::preferences::Preferences;

/// What is known of a person.
#[derive(Debug, Clone, Default)]
pub struct Contact {
    /// Their name, for the greeting.
    pub name: String,
    /// Their e-mail address.
    pub email: Option<String>,
    /// Their own system.
    pub webhook: Option<Endpoint>,
    /// Their wishes.
    pub preferences: Preferences,
}

/// Knows people. The users' domain in a node; a list in small installations and tests.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Somebody; nothing when they are not known, or erased.
    ///
    /// # Errors
    /// A sentence, when it cannot be said now.
    async fn contact(&self, organization: &OrganizationId, user: &str) -> Result<Option<Contact>, String>;
}

/// A list.
#[derive(Debug, Clone, Default)]
pub struct StaticDirectory {
    /// By organisation and user.
    pub people: BTreeMap<(OrganizationId, String), Contact>,
}

#[async_trait]
impl Directory for StaticDirectory {
    async fn contact(&self, organization: &OrganizationId, user: &str) -> Result<Option<Contact>, String> {
        Ok(self.people.get(&(*organization, user.to_owned())).cloned())
    }
}
