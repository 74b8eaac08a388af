//! Readers of the journal, for operators.

use std::sync::Arc;

use async_trait::async_trait;
use remuda_contracts::business::reactors::{ReactorDesk, ReactorView, SkipView, StopView};
use remuda_contracts::business::{Asker, BusinessError};
use remuda_entities::operate::Operated;
use remuda_model::{OrganizationId, ShardId};

use super::{Desk, refused, unavailable};
use crate::limits;

fn view(reader: &dyn Operated, skipped: Vec<SkipView>) -> ReactorView {
    let standing = reader.standing();
    let stop = |at: remuda_entities::projection::StoppedAt| StopView {
        shard: at.shard.number(),
        position: at.position,
        event_type: at.event_type,
        reason: at.reason,
    };
    ReactorView {
        name: standing.name,
        kind: standing.kind,
        lag_events: standing.lag_events,
        stopped: standing.stopped.into_iter().map(stop).collect(),
        retrying: standing.retrying as u64,
        detail: standing.reason.unwrap_or_default(),
        skipped,
    }
}

fn shard(number: u16) -> Result<ShardId, BusinessError> {
    ShardId::new(number).ok_or_else(|| refused("bad-shard", "a shard is a number from 0 to 1023"))
}

impl Desk {
    fn reader(&self, organization: &OrganizationId, name: &str) -> Result<&Arc<dyn Operated>, BusinessError> {
        self.check(organization)?;
        let found = self.0.readers.iter().find(|reader| reader.standing().name == name);
        found.ok_or_else(|| BusinessError::NotFound { what: "reactor", id: name.to_owned() })
    }

    fn whole(reader: &Arc<dyn Operated>) -> Result<ReactorView, BusinessError> {
        let skipped = reader.skipped(limits::SKIPS_SHOWN).map_err(unavailable)?;
        let skipped = skipped.into_iter().map(|skip| SkipView {
            shard: skip.shard.number(),
            position: skip.position,
            reason: skip.reason,
        });
        Ok(view(&**reader, skipped.collect()))
    }
}

const NOT_STOPPED: &str = "it did not stop there; list the reactors to see where they stopped";

#[async_trait]
impl ReactorDesk for Desk {
    async fn reactors(&self, organization: &OrganizationId) -> Result<Vec<ReactorView>, BusinessError> {
        self.check(organization)?;
        let mut all: Vec<_> = self.0.readers.iter().map(|reader| view(&**reader, Vec::new())).collect();
        all.sort_by_key(|reader| reader.name);
        Ok(all)
    }

    async fn reactor(&self, organization: &OrganizationId, name: &str) -> Result<ReactorView, BusinessError> {
        Self::whole(self.reader(organization, name)?)
    }

    async fn retry_reactor(
        &self,
        organization: &OrganizationId,
        name: &str,
        only: Option<u16>,
        reason: &str,
        asker: Asker,
    ) -> Result<ReactorView, BusinessError> {
        let reader = self.reader(organization, name)?;
        let only = only.map(shard).transpose()?;
        if reader.retry(only) == 0 {
            return Err(refused("reactor-not-stopped", NOT_STOPPED));
        }
        tracing::warn!(reader = name, by = asker.who, reason, "a reader tries again what it stopped at");
        Self::whole(reader)
    }

    async fn skip_event(
        &self,
        organization: &OrganizationId,
        name: &str,
        number: u16,
        position: u64,
        reason: &str,
        asker: Asker,
    ) -> Result<ReactorView, BusinessError> {
        let reader = self.reader(organization, name)?;
        let note = format!("{}: {reason}", asker.who);
        if !reader.skip(shard(number)?, position, &note).await.map_err(unavailable)? {
            return Err(refused("reactor-not-stopped", NOT_STOPPED));
        }
        Self::whole(reader)
    }
}
