//! Column by column, or row group by row group, comes what comes row by row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use remuda_model::{Incarnation, OrganizationId, SignalClass, SignalId, VehicleId};

use super::filter::{Filter, Taken};
use super::merge::{Merging, merged, merged_by_row};
use super::order::Into;
use super::regroup::Plan;
use super::splice::spliced;
use crate::commits::Commits;
use crate::describe::Description;
use crate::encode::Encoder;
use crate::erasure::{ErasureId, Tombstone, Tombstones};
use crate::file::{decode, encode};
use crate::history::{HOUR_NS, Hour, MS_NS, order};
use crate::row::{Row, RowBody};
use crate::schema::Style;

const NOW_MS: i64 = 1_700_000_000_000;
const LARGE: usize = 1 << 30;

fn body() -> impl Strategy<Value = RowBody> {
    let values = prop::collection::btree_map(1..8_u16, -1_000..1_000_i64, 0..6);
    prop_oneof![
        8 => values.prop_map(|values| RowBody::Samples(values.into_iter().map(|(id, raw)| (SignalId(id), raw)).collect())),
        1 => Just(RowBody::Marker),
        1 => (0..90_u64).prop_map(|to| RowBody::Gap { to, reason: "shed".into() }),
        1 => prop::collection::vec(any::<u8>(), 0..9)
            .prop_map(|raw| RowBody::Quarantine { reason: "signal".into(), raw }),
    ]
}

/// Rows of a few vehicles within some hours, each with a frame of its own.
fn rows(hours: i64) -> impl Strategy<Value = Vec<Row>> {
    let row = (0..5_u8, 0..hours, 0..4_i64, 0..3_u64, prop::option::weighted(0.9, Just(())), body());
    prop::collection::vec(row, 1..120).prop_map(|rows| {
        let made =
            rows.into_iter().enumerate().map(|(seq, (vehicle, hour, at, incarnation, known, body))| Row {
                organization: OrganizationId::default(),
                vehicle: VehicleId::new(&format!("V{vehicle}")).expect("an id"),
                incarnation: Incarnation(incarnation),
                seq: seq as u64,
                row_in_frame: 0,
                boot: 1,
                mono_ns: seq as u64,
                // Few different times, so that many are equal.
                sample_time_ns: known.map(|()| NOW_MS * MS_NS - hour * HOUR_NS + at),
                receive_time_ms: NOW_MS,
                commit: 0,
                body,
            });
        made.collect()
    })
}

/// Who is to be forgotten: vehicle, whether all of it, how much.
fn tombstones() -> impl Strategy<Value = Tombstones> {
    let one = (0..6_u8, any::<bool>(), any::<bool>());
    prop::collection::vec(one, 0..3).prop_map(|all| {
        let made: Vec<Tombstone> = all
            .into_iter()
            .enumerate()
            .map(|(id, (vehicle, part, class))| Tombstone {
                id: ErasureId(id as u64),
                organization: OrganizationId::default(),
                vehicle: (vehicle < 5).then(|| VehicleId::new(&format!("V{vehicle}")).expect("an id")),
                from_ns: part.then_some(NOW_MS * MS_NS - HOUR_NS + 2),
                until_ns: None,
                classes: if class { [SignalClass::Position].into() } else { BTreeSet::new() },
                requested_at_ms: NOW_MS - 1_000,
                requested_by: "ada".into(),
                reason: "asked".into(),
            })
            .collect();
        Tombstones::of(&made)
    })
}

fn how(tombstones: Tombstones, hour: Hour) -> Merging {
    let filter = Filter { tombstones: Arc::new(tombstones), gone: BTreeSet::new() };
    Merging { filter, hour, name: "0a".into(), bytes_max: LARGE, threads: 2 }
}

/// A file of history with small row groups.
fn history(mut rows: Vec<Row>, group: usize) -> Bytes {
    rows.sort_by_key(order);
    let signals = crate::encode::signals_in(&rows);
    let mut encoder = Encoder::new(&signals, Style::History).expect("an encoder");
    rows.chunks(group).for_each(|rows| encoder.group(rows).expect("encodes"));
    encoder.finish("{}".into()).expect("ends").into()
}

fn commits(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|row| row.commit).collect()
}

proptest! {
    #[test]
    fn fresh_rows_go_to_their_hours(
        all in rows(4), files in 1..5_usize, tombstones in tombstones(), threads in 1..4_usize,
    ) {
        let mut expected: BTreeMap<Hour, Vec<Row>> = BTreeMap::new();
        let filter = Filter { tombstones: Arc::new(tombstones), gone: BTreeSet::new() };
        let (mut sources, mut taken) = (Vec::new(), Vec::new());
        for (n, rows) in all.chunks(all.len().div_ceil(files)).enumerate() {
            let mut of_file = rows.to_vec();
            of_file.sort_by_key(|row| row.vehicle);
            let position = n as u64 * 3 + 1;
            sources.push((Bytes::from(encode(&of_file, "{}".into()).expect("encodes")), Some(position)));
            let mut of_this = Taken::default();
            for mut row in of_file {
                row.commit = position;
                if filter.keeps(&mut row, &mut of_this) {
                    expected.entry(Hour::of(&row)).or_default().push(row);
                }
            }
            taken.push(of_this);
        }
        let blanked = taken.iter().any(|taken| taken.blanked() > 0);
        let plan = Plan::new(&sources, &filter.tombstones, Into::Hours, LARGE).expect("reads");
        let Some(plan) = plan else {
            // Values are taken out row by row. A row may lie under such a tombstone and have none of them.
            prop_assert!(blanked || !filter.tombstones.is_empty());
            return Ok(());
        };
        prop_assert!(!blanked);
        prop_assert_eq!(plan.taken(), taken.as_slice());
        expected.values_mut().for_each(|rows| rows.sort_by_key(order));
        let hours: Vec<_> = expected.iter().map(|(hour, rows)| (*hour, Commits::of(rows))).collect();
        let planned = plan.hours();
        prop_assert_eq!(planned.iter().map(|(hour, _)| *hour).collect::<Vec<_>>(), hours.iter().map(|(hour, _)| *hour).collect::<Vec<_>>());
        prop_assert_eq!(planned.iter().map(|(_, of)| *of).collect::<Vec<_>>(), hours.iter().map(|(_, of)| *of).collect::<Vec<_>>());
        let paths = (0..hours.len()).map(|n| format!("{n}")).collect();
        let made = plan.write("0a", paths, threads).expect("writes");
        prop_assert_eq!(made.len(), expected.len());
        for (n, (made, rows)) in made.into_iter().zip(expected.into_values()).enumerate() {
            let back = decode(made.bytes.into()).expect("decodes");
            prop_assert_eq!(commits(&back), commits(&rows));
            prop_assert_eq!(made.entry, Description::of(&rows).entry(format!("{n}")));
            prop_assert_eq!(back, rows);
        }
    }

    #[test]
    fn files_of_an_hour_become_one(all in rows(4), files in 1..5_usize, group in 1..40_usize, tombstones in tombstones()) {
        let mut all = all;
        all.iter_mut().enumerate().for_each(|(n, row)| row.commit = n as u64 % 7);
        // Rows of other hours lie there too: they stay together all the same.
        let hour = Hour::of(&all[0]);
        let sources: Vec<Bytes> =
            all.chunks(all.len().div_ceil(files)).map(|rows| history(rows.to_vec(), group)).collect();
        let how = how(tombstones, hour);
        let slow = merged_by_row(sources.clone(), &how.filter, &how.name, "a".into()).expect("merges");
        let quick = merged(sources.clone(), &how, "a".into()).expect("merges");
        prop_assert_eq!(&quick.taken, &slow.taken);
        prop_assert_eq!(&quick.entry, &slow.entry);
        if !slow.entry.rows.is_empty() {
            let (quick, slow) = (decode(quick.bytes.into()).expect("decodes"), decode(slow.bytes.into()).expect("decodes"));
            prop_assert_eq!(commits(&quick), commits(&slow));
            prop_assert_eq!(quick, slow);
        }
        if let [one] = sources.as_slice() {
            prop_assert!(spliced(one, &how, "a").expect("reads").is_some(), "row groups are taken over");
        }
    }
}
