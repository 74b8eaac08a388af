//! Where things lie in the store.

use remuda_entities::projection::{key, numbered};
use remuda_model::OrganizationId;

use crate::{Dimension, Granularity};

/// Times before 1970 are counted as 1970.
pub(crate) fn sortable(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or_default()
}

pub(crate) fn cells(
    organization: &OrganizationId,
    granularity: Granularity,
    dimension: Dimension,
) -> Vec<u8> {
    key(&["cell", organization.as_str(), granularity.name(), dimension.name()])
}

pub(crate) fn cell(
    organization: &OrganizationId,
    granularity: Granularity,
    dimension: Dimension,
    start_ms: i64,
    value: &str,
) -> Vec<u8> {
    let parts = ["cell", organization.as_str(), granularity.name(), dimension.name()];
    let mut place = numbered(&parts, sortable(start_ms));
    place.extend_from_slice(value.as_bytes());
    place
}

/// Bucket and value of a cell's key, given its prefix.
pub(crate) fn parse_cell<'a>(prefix: &[u8], place: &'a [u8]) -> Option<(i64, &'a str)> {
    let rest = place.strip_prefix(prefix)?;
    let (start, value) = rest.split_first_chunk::<8>()?;
    Some((i64::try_from(u64::from_be_bytes(*start)).ok()?, std::str::from_utf8(value).ok()?))
}

pub(crate) fn trip(organization: &OrganizationId, trip: &str) -> Vec<u8> {
    key(&["trip", organization.as_str(), trip])
}

pub(crate) fn session(organization: &OrganizationId, session: &str) -> Vec<u8> {
    key(&["session", organization.as_str(), session])
}

/// Trips in doubt, those whose deadline passes first first.
pub(crate) fn doubts(organization: &OrganizationId) -> Vec<u8> {
    key(&["doubt", organization.as_str()])
}

pub(crate) fn doubt(organization: &OrganizationId, deadline_ms: i64, trip: &str) -> Vec<u8> {
    let mut place = numbered(&["doubt", organization.as_str()], sortable(deadline_ms));
    place.extend_from_slice(trip.as_bytes());
    place
}
