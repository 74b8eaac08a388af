//! The Arrow schema in a file's metadata: where Arrow-based readers (pyarrow, Polars, pandas, DataFusion) look for what
//! Parquet itself has no place for, the metadata of a single column. Ours is a signal's unit, scale and id.
//!
//! It is the encapsulated IPC message of the schema (Arrow Columnar Format, "Encapsulated message format" and
//! `Schema.fbs`), in base64. The few tables it needs are written here slot by slot: the Arrow crates would be fifty
//! times this page.

use base64::Engine as _;
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use crate::schema::{FixedKind, SignalColumn, fixed};

/// The metadata's key.
pub const KEY: &str = "ARROW:schema";

/// A slot of a flatbuffer table as its offset in the vtable.
const fn slot(n: u16) -> u16 {
    4 + 2 * n
}

/// `MetadataVersion.V5`, `MessageHeader.Schema`, and members of the union `Type` and the enum `TimeUnit`.
const V5: i16 = 4;
const HEADER_SCHEMA: u8 = 1;
const TYPE_INT: u8 = 2;
const TYPE_BINARY: u8 = 4;
const TYPE_UTF8: u8 = 5;
const TYPE_TIMESTAMP: u8 = 10;
const UNIT_MILLISECOND: i16 = 1;
const UNIT_NANOSECOND: i16 = 3;

type Offset = WIPOffset<UnionWIPOffset>;

fn table(b: &mut FlatBufferBuilder<'_>, fill: impl FnOnce(&mut FlatBufferBuilder<'_>)) -> Offset {
    let begun = b.start_table();
    fill(b);
    b.end_table(begun).as_union_value()
}

fn type_of(b: &mut FlatBufferBuilder<'_>, kind: FixedKind) -> (u8, Offset) {
    let integer = |b: &mut FlatBufferBuilder<'_>, signed: bool| {
        table(b, |b| {
            b.push_slot_always::<i32>(slot(0), 64);
            b.push_slot_always::<bool>(slot(1), signed);
        })
    };
    let time = |b: &mut FlatBufferBuilder<'_>, unit: i16| {
        let zone = b.create_string("UTC");
        table(b, |b| {
            b.push_slot_always::<i16>(slot(0), unit);
            b.push_slot_always(slot(1), zone);
        })
    };
    match kind {
        FixedKind::Text => (TYPE_UTF8, table(b, |_| ())),
        FixedKind::Bytes => (TYPE_BINARY, table(b, |_| ())),
        FixedKind::Integer => (TYPE_INT, integer(b, true)),
        FixedKind::Unsigned => (TYPE_INT, integer(b, false)),
        FixedKind::Nanoseconds => (TYPE_TIMESTAMP, time(b, UNIT_NANOSECOND)),
        FixedKind::Milliseconds => (TYPE_TIMESTAMP, time(b, UNIT_MILLISECOND)),
    }
}

fn field(
    b: &mut FlatBufferBuilder<'_>,
    name: &str,
    kind: FixedKind,
    nullable: bool,
    metadata: &[(&str, String)],
) -> Offset {
    let pairs: Vec<Offset> = metadata
        .iter()
        .map(|(key, value)| {
            let (key, value) = (b.create_string(key), b.create_string(value));
            table(b, |b| {
                b.push_slot_always(slot(0), key);
                b.push_slot_always(slot(1), value);
            })
        })
        .collect();
    let pairs = (!pairs.is_empty()).then(|| b.create_vector(&pairs));
    let no_children = b.create_vector::<Offset>(&[]);
    let name = b.create_string(name);
    let (type_type, of_type) = type_of(b, kind);
    table(b, |b| {
        b.push_slot_always(slot(0), name);
        b.push_slot_always::<bool>(slot(1), nullable);
        b.push_slot_always::<u8>(slot(2), type_type);
        b.push_slot_always(slot(3), of_type);
        b.push_slot_always(slot(5), no_children);
        if let Some(pairs) = pairs {
            b.push_slot_always(slot(6), pairs);
        }
    })
}

/// The metadata's value for a file with these signals.
pub fn value(signals: &[SignalColumn]) -> String {
    let mut b = FlatBufferBuilder::new();
    let mut fields: Vec<Offset> =
        fixed().map(|(name, kind, nullable)| field(&mut b, name, kind, nullable, &[])).collect();
    for SignalColumn { path, id, unit, scale } in signals {
        let metadata = [("unit", unit.clone()), ("scale", scale.to_string()), ("signal_id", id.to_string())];
        fields.push(field(&mut b, path, FixedKind::Integer, true, &metadata));
    }
    let fields = b.create_vector(&fields);
    let schema = table(&mut b, |b| {
        b.push_slot_always::<i16>(slot(0), 0);
        b.push_slot_always(slot(1), fields);
    });
    let message = table(&mut b, |b| {
        b.push_slot_always::<i16>(slot(0), V5);
        b.push_slot_always::<u8>(slot(1), HEADER_SCHEMA);
        b.push_slot_always(slot(2), schema);
        b.push_slot_always::<i64>(slot(3), 0);
    });
    b.finish_minimal(message);
    let message = b.finished_data();
    let padded = message.len().next_multiple_of(8);
    let mut bytes = vec![0xFF; 4];
    bytes.extend_from_slice(&(padded as u32).to_le_bytes());
    bytes.extend_from_slice(message);
    bytes.resize(8 + padded, 0);
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
