//! Columns of a lake file.
//!
//! Fourteen fixed columns, then one nullable INT64 a signal that occurs, named by its VSS path and holding raw scaled
//! integers. Units, scales and ids are in the file's key-value metadata under `remuda.signals` (JSON); a history file
//! has them as metadata of the single column too, where Arrow-based readers look.

use std::fmt::Write as _;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};
use remuda_model::{SignalId, signal};
use serde::{Deserialize, Serialize};

use crate::error::LakeError;
use crate::{arrow_schema, limits};

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
/// Files that were written before there was this column do without.
pub const COMMIT: &str = "commit_position";

/// What a fixed column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixedKind {
    Text,
    Bytes,
    Integer,
    Unsigned,
    /// UTC.
    Nanoseconds,
    /// UTC.
    Milliseconds,
}

/// The fixed columns: name, what it holds, whether a row may have none.
const FIXED: &[(&str, FixedKind, bool)] = &[
    (ORGANIZATION, FixedKind::Text, false),
    (VEHICLE, FixedKind::Text, false),
    (INCARNATION, FixedKind::Unsigned, false),
    (SEQ, FixedKind::Integer, false),
    (ROW_IN_FRAME, FixedKind::Integer, false),
    (KIND, FixedKind::Integer, false),
    (BOOT, FixedKind::Integer, false),
    (MONO_NS, FixedKind::Integer, false),
    (SAMPLE_TIME, FixedKind::Nanoseconds, true),
    (RECEIVE_TIME, FixedKind::Milliseconds, false),
    (GAP_TO, FixedKind::Integer, true),
    (REASON, FixedKind::Text, true),
    (RAW, FixedKind::Bytes, true),
    (COMMIT, FixedKind::Integer, true),
];
/// How many fixed columns there are.
pub const FIXED_COUNT: usize = FIXED.len();
/// Place of the column `vehicle`, by which a file is sorted.
const VEHICLE_PLACE: i32 = 1;

/// The fixed columns: name, what it holds, whether a row may have none.
pub fn fixed() -> impl Iterator<Item = (&'static str, FixedKind, bool)> {
    FIXED.iter().copied()
}

/// A fixed column as the Parquet schema language writes it.
fn line(name: &str, kind: FixedKind, nullable: bool) -> String {
    let repetition = if nullable { "optional" } else { "required" };
    let (physical, logical) = match kind {
        FixedKind::Text => ("binary", " (STRING)"),
        FixedKind::Bytes => ("binary", ""),
        FixedKind::Integer => ("int64", ""),
        FixedKind::Unsigned => ("int64", " (INTEGER(64,false))"),
        FixedKind::Nanoseconds => ("int64", " (TIMESTAMP(NANOS,true))"),
        FixedKind::Milliseconds => ("int64", " (TIMESTAMP(MILLIS,true))"),
    };
    format!("{repetition} {physical} {name}{logical};")
}

/// Who a file is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A round: made at once, read by us, soon replaced.
    Fresh,
    /// For years and for everybody's tools.
    History,
}

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
    for (name, kind, nullable) in fixed() {
        let _ = writeln!(text, "  {}", line(name, kind, nullable));
    }
    for column in signals {
        let _ = writeln!(text, "  optional int64 {};", column.path);
    }
    text.push('}');
    Ok(Arc::new(parse_message_type(&text)?))
}

/// How the columns are written: integers delta-packed, repeated texts as dictionaries, zstd over it, statistics of row
/// groups and pages. The caller appends the manifest entry's content.
pub fn properties(signals: &[SignalColumn], style: Style) -> Result<WriterProperties, LakeError> {
    let described = serde_json::to_string(signals).map_err(|e| LakeError::Encode(e.to_string()))?;
    let mut metadata = vec![KeyValue::new(SIGNALS_KEY.to_owned(), described)];
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_dictionary_enabled(false)
        .set_created_by(concat!("remuda ", env!("CARGO_PKG_VERSION")).to_owned());
    let level = match style {
        Style::Fresh => 1,
        Style::History => {
            metadata.push(KeyValue::new(arrow_schema::KEY.to_owned(), arrow_schema::value(signals)));
            let by_vehicle =
                SortingColumn { column_idx: VEHICLE_PLACE, descending: false, nulls_first: false };
            builder = builder
                .set_sorting_columns(Some(vec![by_vehicle]))
                .set_data_page_row_count_limit(limits::HISTORY_PAGE_ROWS)
                .set_write_batch_size(limits::HISTORY_PAGE_ROWS);
            3
        }
    };
    builder = builder
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(level)?))
        .set_key_value_metadata(Some(metadata));
    for text in [ORGANIZATION, VEHICLE, REASON] {
        builder = builder.set_column_dictionary_enabled(path(text), true);
    }
    let integers = fixed().filter(|(_, kind, _)| !matches!(kind, FixedKind::Text | FixedKind::Bytes));
    for name in integers.map(|(name, ..)| name).chain(signals.iter().map(|column| column.path.as_str())) {
        builder = builder.set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED);
    }
    Ok(builder.build())
}

/// The same with a dictionary of each signal's values: smaller for those that have few.
pub fn with_dictionaries(properties: &WriterProperties, signals: &[SignalColumn]) -> WriterProperties {
    let builder = properties.clone().into_builder();
    let enabled = |builder: WriterPropertiesBuilder, column: &SignalColumn| {
        builder.set_column_dictionary_enabled(path(&column.path), true)
    };
    signals.iter().fold(builder, enabled).build()
}

/// A column's path; our names have dots and are one part all the same.
fn path(name: &str) -> ColumnPath {
    ColumnPath::new(vec![name.to_owned()])
}
