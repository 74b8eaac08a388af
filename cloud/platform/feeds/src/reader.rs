//! Reads on from a cursor.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use remuda_lake::{Followed, Follower, Place, RowKey};
use remuda_model::{OrganizationId, SHARDS, ShardId};

use crate::batch::{Batch, Lag};
use crate::cursor::Cursor;
use crate::error::FeedError;
use crate::filter::{Filter, Sieve};
use crate::item::Item;
use crate::limits;
use crate::source::Source;

pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// A cursor that reads. Pulled, so that a slow reader costs no memory and misses nothing.
pub struct Reader {
    source: Arc<Source>,
    organization: OrganizationId,
    sieve: Sieve,
    cursor: Cursor,
    follower: Follower,
    /// Reads no further: for what is told again.
    until: Option<Cursor>,
    /// The shard to look at first, so that a busy one does not keep the others waiting.
    next_shard: u16,
    since_ms: Option<i64>,
    /// Rows that were read and not answered.
    held: Option<Followed>,
}

/// Events on their way into a batch.
struct Events {
    items: Vec<Item>,
    cursor: Cursor,
    next_shard: u16,
    left: u64,
}

impl Reader {
    /// After a cursor.
    pub fn new(source: &Arc<Source>, organization: OrganizationId, filter: &Filter, cursor: Cursor) -> Self {
        let follower = Follower::new(&source.lake, organization, cursor.lake);
        let (source, sieve) = (Arc::clone(source), Sieve::of(filter));
        Self {
            source,
            organization,
            sieve,
            cursor,
            follower,
            until: None,
            next_shard: 0,
            since_ms: None,
            held: None,
        }
    }

    /// Up to another cursor, and no further.
    #[must_use]
    pub(crate) fn until(self, until: Cursor) -> Self {
        Self { until: Some(until), ..self }
    }

    /// Where it stands.
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The next items, `items_max` at most, events first; at once, also when there are none. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// When journal or lake cannot be read; ask again then.
    pub async fn next(&mut self, items_max: usize) -> Result<Batch, FeedError> {
        self.look().await?;
        // Half of it: neither waits for the other, however much there is.
        let of_events = if self.sieve.telemetry { items_max.div_ceil(2) } else { items_max };
        let events = self.events(of_events).await?;
        let room = items_max.saturating_sub(events.items.len());
        if self.sieve.telemetry && room > 0 && !self.is_past_lake() {
            self.rows(room).await?;
        }
        // From here on nothing waits: what was read is taken in as a whole.
        let rows = self.held.take();
        Ok(self.take(events, rows))
    }

    /// Rows of as many commits as there is room for; they are held here, so that nothing is lost when nobody waits for them
    /// any more.
    async fn rows(&mut self, room: usize) -> Result<(), FeedError> {
        for _ in 0..limits::COMMITS_MAX {
            let has = self.held.as_ref().map_or(0, |held| held.rows.len());
            if has >= room || self.held.as_ref().is_some_and(|held| self.is_past_lake_at(&held.place)) {
                break;
            }
            let more = self.follower.next(room - has).await?;
            let ended = more.caught_up;
            match &mut self.held {
                Some(held) => {
                    held.rows.extend(more.rows);
                    held.gone.extend(more.gone);
                    (held.place, held.head, held.caught_up) = (more.place, more.head, more.caught_up);
                }
                None => self.held = Some(more),
            }
            if ended {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, events: Events, rows: Option<Followed>) -> Batch {
        let Events { mut items, mut cursor, next_shard, left } = events;
        let (mut caught_up, mut missed) = (left == 0, 0);
        let mut had_ms = items.last().map(|item| item.had_ms);
        match rows {
            Some(followed) => {
                for gone in &followed.gone {
                    items.push(Item::of_gone(&self.organization, gone, now_ms()));
                    missed += 1;
                }
                had_ms = followed.rows.last().map_or(had_ms, |row| Some(row.receive_time_ms));
                for mut row in followed.rows {
                    let past = self
                        .until
                        .as_ref()
                        .is_some_and(|until| is_past(&until.lake, row.commit, &RowKey::of(&row)));
                    if !past && self.sieve.takes_row(&mut row) {
                        items.push(Item::of_row(&row));
                    }
                }
                caught_up &= followed.caught_up;
                cursor.lake = followed.place;
            }
            None if self.sieve.telemetry && !self.is_past_lake() => caught_up = false,
            None => {}
        }
        if self.until.is_some() {
            caught_up = left == 0 && (!self.sieve.telemetry || self.is_past_lake_at(&cursor.lake));
        }
        self.since_ms = if caught_up { None } else { had_ms.or(self.since_ms) };
        let lag = Lag { positions: self.after(&cursor), since_ms: self.since_ms };
        self.cursor = cursor;
        self.next_shard = next_shard;
        Batch { items, cursor: self.cursor.clone(), lag, caught_up, missed }
    }

    fn is_past_lake(&self) -> bool {
        self.is_past_lake_at(&self.cursor.lake)
    }

    fn is_past_lake_at(&self, place: &Place) -> bool {
        self.until.as_ref().is_some_and(|until| order(place) >= order(&until.lake))
    }

    /// Events after the cursor, of each journal, a shard after the other.
    async fn events(&self, items_max: usize) -> Result<Events, FeedError> {
        let mut events =
            Events { items: Vec::new(), cursor: self.cursor.clone(), next_shard: self.next_shard, left: 0 };
        if !self.sieve.events {
            return Ok(events);
        }
        let mut looked_at = 0;
        for named in &self.source.journals {
            let heads = named.heads();
            for step in 0..SHARDS {
                let Some(shard) = ShardId::new((self.next_shard + step) % SHARDS) else { continue };
                let mut head = heads[usize::from(shard.number())];
                if let Some(until) = &self.until {
                    head = head.min(until.event(named.name, shard.number()));
                }
                let mut after = events.cursor.event(named.name, shard.number());
                while after < head
                    && events.items.len() < items_max
                    && looked_at < limits::EVENTS_LOOKED_AT_MAX
                {
                    let page = named.journal.read_feed(shard, after, limits::EVENTS_PAGE).await?;
                    let before = after;
                    for event in page.iter().take_while(|event| event.position <= head) {
                        if events.items.len() == items_max {
                            break;
                        }
                        (after, looked_at) = (event.position, looked_at + 1);
                        let ours = event.event.stream.organization == self.organization;
                        if ours && self.sieve.takes_event(&event.event) {
                            events.items.push(Item::of_event(event, &self.source.payload));
                        }
                    }
                    if after == before {
                        break;
                    }
                    events.cursor.set_event(named.name, shard.number(), after);
                    events.next_shard = (shard.number() + 1) % SHARDS;
                }
                events.left += head.saturating_sub(after);
            }
        }
        Ok(events)
    }

    /// Looks how far what it reads has come.
    pub(crate) async fn look(&self) -> Result<(), FeedError> {
        self.source.look(self.sieve.events, self.sieve.telemetry).await
    }

    /// How many events and commits of the lake lie after a cursor, of what it reads, as was seen last.
    pub(crate) fn after(&self, cursor: &Cursor) -> u64 {
        self.source.after(cursor, self.sieve.events, self.sieve.telemetry)
    }
}

/// Places in order.
fn order(place: &Place) -> (u64, bool, Option<RowKey>) {
    // All of a commit comes after any row of it.
    (place.commit, place.row.is_none(), place.row)
}

fn is_past(until: &Place, commit: u64, row: &RowKey) -> bool {
    commit > until.commit || (commit == until.commit && until.row.is_some_and(|last| *row > last))
}
