//! Columns of a lake file.
//!
//! Eleven fixed columns, then one nullable INT64 a signal that occurs, named by its VSS path and holding raw scaled
//! integers. Units, scales and ids are in the file's key-value metadata under `remuda.signals` (JSON).

use std::fmt::Write as _;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};
use remuda_model::{SignalId, signal};
use serde::{Deserialize, Serialize};

use crate::error::LakeError;

/// Text columns; nullable ones last.
pub const ORGANIZATION: &str = "organization";
pub const VEHICLE: &str = "vehicle";
pub const INCARNATION: &str = "incarnation";
pub const SEQ: &str = "seq";
pub const ROW_IN_FRAME: &str = "row_in_frame";
pub const KIND: &str = "kind";
pub const BOOT: &str = "boot";
pub const MONO_NS: &str = "mono_ns";
pub const SAMPLE_TIME: &str = "sample_time";
pub const RECEIVE_TIME: &str = "receive_time";
pub const GAP_TO: &str = "gap_to";
pub const REASON: &str = "reason";
pub const RAW: &str = "raw";

/// The fixed columns as the Parquet schema language writes them.
const FIXED: &[(&str, &str)] = &[
    (ORGANIZATION, "required binary organization (STRING);"),
    (VEHICLE, "required binary vehicle (STRING);"),
    (INCARNATION, "required int64 incarnation (INTEGER(64,false));"),
    (SEQ, "required int64 seq;"),
    (ROW_IN_FRAME, "required int64 row_in_frame;"),
    (KIND, "required int64 kind;"),
    (BOOT, "required int64 boot;"),
    (MONO_NS, "required int64 mono_ns;"),
    (SAMPLE_TIME, "optional int64 sample_time (TIMESTAMP(NANOS,true));"),
    (RECEIVE_TIME, "required int64 receive_time (TIMESTAMP(MILLIS,true));"),
    (GAP_TO, "optional int64 gap_to;"),
    (REASON, "optional binary reason (STRING);"),
    (RAW, "optional binary raw;"),
];

/// Key of the signals' description in the file's metadata.
pub const SIGNALS_KEY: &str = "remuda.signals";
/// Key of the manifest entry's content in the file's metadata.
pub const ENTRY_KEY: &str = "remuda.entry";

/// What a file says of a column.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignalColumn {
    /// Column name.
    pub path: String,
    /// Id in the registry.
    pub id: u16,
    /// Unit of `raw * scale`.
    pub unit: String,
    /// Physical value of one raw step.
    pub scale: f64,
}

/// The column of a signal.
pub fn column_of(id: SignalId) -> SignalColumn {
    match signal::by_id(id) {
        Some(def) => {
            SignalColumn { path: def.path.into(), id: id.0, unit: def.unit.into(), scale: def.scale }
        }
        // A customer's own: its file has the name, its id is what we know for sure.
        None => SignalColumn { path: format!("signal-{}", id.0), id: id.0, unit: String::new(), scale: 1.0 },
    }
}

/// The schema of a file with these signals.
pub fn schema(signals: &[SignalColumn]) -> Result<TypePtr, LakeError> {
    let mut text = String::from("message remuda {\n");
    for (_, line) in FIXED {
        let _ = writeln!(text, "  {line}");
    }
    for column in signals {
        let _ = writeln!(text, "  optional int64 {};", column.path);
    }
    text.push('}');
    Ok(Arc::new(parse_message_type(&text)?))
}

/// How the columns are written: integers delta-packed, repeated texts as dictionaries, zstd 1 over it.
pub fn properties(signals: &[SignalColumn], entry_json: String) -> Result<WriterProperties, LakeError> {
    let described = serde_json::to_string(signals).map_err(|e| LakeError::Encode(e.to_string()))?;
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_dictionary_enabled(false)
        .set_created_by(concat!("remuda ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(vec![
            KeyValue::new(SIGNALS_KEY.to_owned(), described),
            KeyValue::new(ENTRY_KEY.to_owned(), entry_json),
        ]));
    let texts = [ORGANIZATION, VEHICLE, REASON, RAW];
    for text in [ORGANIZATION, VEHICLE, REASON] {
        builder = builder.set_column_dictionary_enabled(path(text), true);
    }
    let integers = FIXED.iter().map(|(name, _)| *name).filter(|name| !texts.contains(name));
    for name in integers.chain(signals.iter().map(|column| column.path.as_str())) {
        builder = builder.set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED);
    }
    Ok(builder.build())
}

/// A column's path; our names have dots and are one part all the same.
fn path(name: &str) -> ColumnPath {
    ColumnPath::new(vec![name.to_owned()])
}
