//! A lake file's bytes, both ways, as a whole.

use bytes::Bytes;

use crate::encode::{Encoder, signals_in};
use crate::error::LakeError;
use crate::limits;
use crate::row::Row;
use crate::scan::Scan;
use crate::schema::Style;

/// Encodes rows of a round in the order given; the caller sorted them by vehicle.
///
/// # Errors
/// When Parquet refuses them, which would be a fault of ours.
pub fn encode(rows: &[Row], entry_json: String) -> Result<Vec<u8>, LakeError> {
    encode_as(rows, entry_json, Style::Fresh)
}

/// The same in either style.
pub(crate) fn encode_as(rows: &[Row], entry_json: String, style: Style) -> Result<Vec<u8>, LakeError> {
    let mut encoder = Encoder::new(&signals_in(rows), style)?;
    rows.chunks(limits::ROW_GROUP_ROWS_MAX).try_for_each(|group| encoder.group(group))?;
    encoder.finish(entry_json)
}

/// Decodes every row of a file, in order.
///
/// # Errors
/// When it is not a file of ours.
pub fn decode(bytes: Bytes) -> Result<Vec<Row>, LakeError> {
    let mut scan = Scan::open(bytes)?;
    let mut rows = Vec::new();
    while scan.read(limits::SCAN_ROWS, &mut rows)? > 0 {}
    Ok(rows)
}

/// How many rows a file has, as its footer says.
///
/// # Errors
/// When it is not a file of ours.
pub fn rows(bytes: Bytes) -> Result<u64, LakeError> {
    Ok(Scan::open(bytes)?.rows())
}

/// The manifest entry's content in a file's footer, JSON.
///
/// # Errors
/// When it is not a file of ours.
pub fn entry_json(bytes: Bytes) -> Result<String, LakeError> {
    Scan::open(bytes)?.entry_json().ok_or_else(|| LakeError::Encode("the footer has no entry".into()))
}

#[cfg(test)]
mod tests {
    use remuda_model::{Incarnation, OrganizationId, VehicleId};

    use super::*;
    use crate::row::RowBody;

    #[test]
    fn a_damaged_file_is_told_of_and_ends_nobody() {
        let row = Row {
            organization: OrganizationId::default(),
            vehicle: VehicleId::new("V1").expect("an id"),
            incarnation: Incarnation(1),
            seq: 1,
            row_in_frame: 0,
            boot: 1,
            mono_ns: 1,
            sample_time_ns: None,
            receive_time_ms: 1,
            commit: 0,
            body: RowBody::Gap { to: 3, reason: "shed".into() },
        };
        let bytes = encode(std::slice::from_ref(&row), "{}".into()).expect("encodes");
        assert_eq!(
            (decode(bytes.clone().into()).expect("decodes"), rows(bytes.clone().into()).ok()),
            (vec![row], Some(1))
        );
        // Each byte of the footer in turn: Parquet itself panics on some of them.
        let footer = bytes.len() - 600;
        for at in footer..bytes.len() {
            for bit in [0, 6, 7] {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let _ = decode(damaged.into());
            }
        }
    }
}
