//! Group commands, read off their events: the list, and which have not ended.

use remuda_entities::projection::{Poisoned, Projected, Projection, View, fact, key};
use remuda_eventsourcing::Event;
use remuda_model::OrganizationId;
use serde::{Deserialize, Serialize};

use super::{Groups, Line};

/// A group command in the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLine {
    /// Whose.
    pub organization: String,
    /// Its id.
    pub id: String,
    /// All but its vehicles.
    pub line: Line,
    /// Version of the group.
    pub version: u64,
}

/// The projection.
#[derive(Debug, Clone, Copy)]
pub struct GroupLists;

/// The newest first.
pub(crate) fn newest_first(what: &str, organization: &str, created_ms: i64, id: &str) -> Vec<u8> {
    let age = format!("{:020}", u64::MAX - created_ms.max(0) as u64);
    key(&[what, organization, &age, id])
}

impl Projection for GroupLists {
    const NAME: &'static str = "command-groups";
    const VERSION: u32 = 1;
    const READS: &'static [&'static str] = &["command-group"];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let Some(fact) = fact::<Groups>(event)? else { return Ok(()) };
        let stream = &event.event.stream;
        let (organization, id) = (stream.organization.as_str(), &stream.aggregate_id);
        let place = key(&["group", organization, id]);
        let mut line: GroupLine = view.get(&place)?.unwrap_or_else(|| GroupLine {
            organization: organization.to_owned(),
            id: id.clone(),
            ..GroupLine::default()
        });
        line.line.take(&fact);
        line.version = event.event.version;
        let open = key(&["open", organization, id]);
        if line.line.phase.is_final() {
            view.remove(&open);
        } else {
            view.put(&open, &(line.organization.clone(), line.id.clone()))?;
        }
        view.put(&newest_first("list", organization, line.line.created_ms, id), &line.id)?;
        view.put(&place, &line)
    }
}

/// Reads the list.
#[derive(Clone)]
pub struct GroupDirectory(Projected<GroupLists>);

impl GroupDirectory {
    /// Over a running projection.
    pub const fn new(lists: Projected<GroupLists>) -> Self {
        Self(lists)
    }

    /// The projection beneath.
    pub const fn projected(&self) -> &Projected<GroupLists> {
        &self.0
    }

    /// One.
    ///
    /// # Errors
    /// When nothing serves yet, or the store fails.
    pub fn group(&self, organization: &OrganizationId, id: &str) -> Result<Option<GroupLine>, Poisoned> {
        self.0.get(&key(&["group", organization.as_str(), id]))
    }

    /// The newest first, after the one with this id.
    ///
    /// # Errors
    /// As [`GroupDirectory::group`].
    pub fn groups(
        &self,
        organization: &OrganizationId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<GroupLine>, Poisoned> {
        let after = match after {
            Some(id) => match self.group(organization, id)? {
                Some(line) => Some(newest_first("list", organization.as_str(), line.line.created_ms, id)),
                None => return Ok(Vec::new()),
            },
            None => None,
        };
        let found: Vec<(Vec<u8>, String)> =
            self.0.scan(&key(&["list", organization.as_str()]), after.as_deref(), limit)?;
        let lines = found.into_iter().map(|(_, id)| self.group(organization, &id));
        lines.filter_map(Result::transpose).collect()
    }

    /// Those that have not ended: organisation and id.
    ///
    /// # Errors
    /// As [`GroupDirectory::group`].
    pub fn open(&self, limit: usize) -> Result<Vec<(String, String)>, Poisoned> {
        let found = self.0.scan(&key(&["open"]), None, limit)?;
        Ok(found.into_iter().map(|(_, of)| of).collect())
    }
}
