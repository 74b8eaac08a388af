//! What needs or needed a second person, read off the events.

use remuda_entities::projection::{Poisoned, Projected, Projection, View, fact, key};
use remuda_eventsourcing::Event;
use remuda_model::OrganizationId;
use serde::{Deserialize, Serialize};

use super::{Approval, Approvals, evolve};
use crate::groups::lists::newest_first;

/// A line of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalLine {
    /// Whose.
    pub organization: String,
    /// Its id.
    pub id: String,
    /// All of it.
    pub approval: Approval,
}

/// The projection.
#[derive(Debug, Clone, Copy)]
pub struct ApprovalLists;

impl Projection for ApprovalLists {
    const NAME: &'static str = "approvals";
    const VERSION: u32 = 1;
    const READS: &'static [&'static str] = &["approval"];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let Some(fact) = fact::<Approvals>(event)? else { return Ok(()) };
        let stream = &event.event.stream;
        let (organization, id) = (stream.organization.as_str(), &stream.aggregate_id);
        let place = key(&["approval", organization, id]);
        let mut line: ApprovalLine = view.get(&place)?.unwrap_or_else(|| ApprovalLine {
            organization: organization.to_owned(),
            id: id.clone(),
            ..ApprovalLine::default()
        });
        evolve(&mut line.approval, &fact);
        let open = key(&["open", organization, id]);
        if line.approval.is_open() {
            view.put(&open, &line)?;
        } else {
            view.remove(&open);
        }
        let asked_ms = line.approval.asked.as_ref().map_or(0, |asked| asked.time_ms);
        view.put(&newest_first("list", organization, asked_ms, id), &line.id)?;
        view.put(&place, &line)
    }
}

/// Reads the list.
#[derive(Clone)]
pub struct ApprovalDirectory(Projected<ApprovalLists>);

impl ApprovalDirectory {
    /// Over a running projection.
    pub const fn new(lists: Projected<ApprovalLists>) -> Self {
        Self(lists)
    }

    /// The projection beneath.
    pub const fn projected(&self) -> &Projected<ApprovalLists> {
        &self.0
    }

    fn approval(&self, organization: &OrganizationId, id: &str) -> Result<Option<ApprovalLine>, Poisoned> {
        self.0.get(&key(&["approval", organization.as_str(), id]))
    }

    /// The newest first, after the one with this id.
    ///
    /// # Errors
    /// When nothing serves yet, or the store fails.
    pub fn approvals(
        &self,
        organization: &OrganizationId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ApprovalLine>, Poisoned> {
        let after = match after {
            Some(id) => match self.approval(organization, id)? {
                Some(line) => {
                    let asked_ms = line.approval.asked.as_ref().map_or(0, |asked| asked.time_ms);
                    Some(newest_first("list", organization.as_str(), asked_ms, id))
                }
                None => return Ok(Vec::new()),
            },
            None => None,
        };
        let found: Vec<(Vec<u8>, String)> =
            self.0.scan(&key(&["list", organization.as_str()]), after.as_deref(), limit)?;
        let lines = found.into_iter().map(|(_, id)| self.approval(organization, &id));
        lines.filter_map(Result::transpose).collect()
    }

    /// Those that somebody must still do something about.
    ///
    /// # Errors
    /// As [`ApprovalDirectory::approvals`].
    pub fn open(&self, limit: usize) -> Result<Vec<ApprovalLine>, Poisoned> {
        Ok(self.0.scan(&key(&["open"]), None, limit)?.into_iter().map(|(_, line)| line).collect())
    }
}
