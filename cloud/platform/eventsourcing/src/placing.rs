//! Which shard a business stream belongs to (docs/adr/0012).

use remuda_model::shard::fnv1a_64;
use remuda_model::{SHARDS, ShardId};

use crate::journal::StreamId;

/// `FNV-1a-64("{organization}/{aggregate_type}/{aggregate_id}") mod 1024`; fixed for ever, since a stream never moves.
/// The streams of vehicles lie otherwise: in the shard of their vehicle ([`ShardId::of`]).
pub fn shard_of(stream: &StreamId) -> ShardId {
    let StreamId { organization, aggregate_type, aggregate_id } = stream;
    let hash = fnv1a_64(format!("{organization}/{aggregate_type}/{aggregate_id}").as_bytes());
    ShardId::new((hash % u64::from(SHARDS)) as u16).expect("a remainder of the number of shards is a shard")
}

#[cfg(test)]
mod tests {
    use remuda_model::OrganizationId;

    use super::*;

    #[test]
    fn streams_stay_where_they_were_first_put() {
        for (organization, aggregate_type, aggregate_id, shard) in [
            ("default", "trip", "t-1", 989),
            ("default", "user", "ada", 931),
            ("acme", "saga", "booking-42", 189),
            ("default", "account", "platform:EUR", 254),
        ] {
            let stream = StreamId {
                organization: OrganizationId::new(organization).expect("an id"),
                aggregate_type: aggregate_type.into(),
                aggregate_id: aggregate_id.into(),
            };
            assert_eq!(shard_of(&stream).number(), shard, "{stream:?}");
        }
    }
}
