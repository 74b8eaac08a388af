//! Followers: whatever is written, compacted, forgotten or dropped meanwhile, and wherever they begin again, they read
//! every row once and in order, or are told what is gone.

mod common;

use std::collections::BTreeMap;

use common::{BEGIN_MS, Fuse, HOUR_MS, World, key, vehicle};
use proptest::prelude::*;
use remuda_lake::{CompactionSettings, Follower, Gone, Place, Retention, Row};
use remuda_model::{OrganizationId, SignalClass};

const HOUR_NS: i64 = HOUR_MS * 1_000_000;

fn settings() -> CompactionSettings {
    // Without grace: what is replaced is gone by the next compaction.
    let grace_ms = 0;
    CompactionSettings { grace_ms, small_files_max: 1, erase_within_ms: 0, ..CompactionSettings::default() }
}

/// Somebody who reads, keeps their place as text, and may begin again from it at any time.
struct Reader {
    follower: Follower,
    read: Vec<Row>,
    gone: Vec<Gone>,
    window: usize,
}

impl Reader {
    fn at(world: &World, place: Place, window: usize) -> Self {
        let lake = world.lake(&Fuse::never());
        let follower = Follower::new(&lake, OrganizationId::default(), place).with_window(window);
        Self { follower, read: Vec::new(), gone: Vec::new(), window }
    }

    async fn next(&mut self, rows_max: usize) -> bool {
        let next = self.follower.next(rows_max).await.expect("read");
        assert_eq!(next.place, self.follower.place());
        assert!(next.rows.len() <= rows_max);
        self.read.extend(next.rows);
        self.gone.extend(next.gone);
        next.caught_up
    }

    fn begin_again(&mut self, world: &World) {
        let text = serde_json::to_string(&self.follower.place()).expect("encoded");
        let place = serde_json::from_str(&text).expect("decoded");
        self.follower = Self::at(world, place, self.window).follower;
    }

    async fn read_to_end(&mut self, rows_max: usize) {
        while !self.next(rows_max).await {}
    }

    /// Commits never go back, nor frames of a vehicle, and no row comes twice.
    fn check_order(&self) {
        let mut last: BTreeMap<_, (u64, u64, u32)> = BTreeMap::new();
        for row in &self.read {
            let place = (row.commit, row.seq, row.row_in_frame);
            let before = last.insert(row.vehicle, place);
            let frame = |(_, seq, row): (u64, u64, u32)| (seq, row);
            assert!(
                before.is_none_or(|before| before.0 <= place.0 && frame(before) < frame(place)),
                "{before:?} then {place:?} of {}",
                row.vehicle
            );
        }
        assert!(self.read.is_sorted_by_key(|row| row.commit));
    }

    /// Everything that was written was read, or told of as gone.
    fn check(&self, world: &World) {
        self.check_order();
        let read: BTreeMap<_, _> = self.read.iter().map(|row| (key(row), row)).collect();
        let mut missed = Vec::new();
        for row in &world.model {
            match read.get(&key(row)) {
                Some(found) if self.gone.is_empty() && world.forgotten.is_empty() => assert_eq!(*found, row),
                Some(_) => {}
                None => missed.push(row),
            }
        }
        assert!(read.len() + missed.len() == world.model.len(), "nothing is made up");
        let erased = |row: &&Row| {
            world.forgotten.iter().any(|tombstone| {
                let (from, until) = tombstone.range_ns();
                tombstone.classes.is_empty()
                    && tombstone.vehicle.is_none_or(|vehicle| vehicle == row.vehicle)
                    && (from..until).contains(&common::at(row))
            })
        };
        missed.retain(|row| !erased(row));
        let (mut told, mut until) = (0, i64::MIN);
        for gone in &self.gone {
            if let Gone::Rows { rows_max, until_ms, .. } = gone {
                (told, until) = (told + rows_max, until.max(*until_ms));
            }
        }
        assert!(missed.len() as u64 <= told, "{} rows are missing, {told} are told of", missed.len());
        assert!(missed.iter().all(|row| common::at(row) < until * 1_000_000));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write { n: u8, rows: u32, hours: i64 },
    Restart { covered: bool },
    Compact,
    Die { steps: i64, done: bool },
    Erase { n: u8, class: bool },
    Hours(i64),
    Follow { rows_max: usize },
    BeginAgain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_u8, 0..4_u32, -3..3_i64).prop_map(|(n, rows, hours)| Step::Write { n, rows: rows.max(1), hours }),
        3 => any::<bool>().prop_map(|covered| Step::Restart { covered }),
        3 => Just(Step::Compact),
        1 => (0..40_i64, any::<bool>()).prop_map(|(steps, done)| Step::Die { steps, done }),
        1 => (0..4_u8, any::<bool>()).prop_map(|(n, class)| Step::Erase { n, class }),
        1 => (1..30_i64).prop_map(Step::Hours),
        6 => (1..9_usize).prop_map(|rows_max| Step::Follow { rows_max }),
        2 => Just(Step::BeginAgain),
    ]
}

async fn run(steps: Vec<Step>, window: usize, retention: Retention, forgets: bool) {
    let mut world = World::new().await;
    let settings = CompactionSettings { retention, ..settings() };
    let mut reader = Reader::at(&world, Place::default(), window);
    for step in steps {
        match step {
            Step::Write { n, rows, hours } => {
                let at_ns = world.now_ms * 1_000_000 + hours * HOUR_NS + i64::from(n);
                world.write(n, rows, (hours != 0).then_some(at_ns)).await;
            }
            Step::Restart { covered } => world.restart(covered).await,
            Step::Compact => {
                // Later than what was replaced before, which goes now.
                world.now_ms += 60_000;
                world.compact(&settings).await;
            }
            Step::Die { steps, done } => {
                world.compact_and_die(&settings, &Fuse::after(steps, done)).await;
            }
            Step::Erase { n, class } if forgets => {
                let classes: &[SignalClass] = if class { &[SignalClass::Position] } else { &[] };
                world.erase(Some(n), (-2, 2), classes).await;
            }
            Step::Erase { .. } => {}
            Step::Hours(hours) => world.now_ms += hours * HOUR_MS,
            Step::Follow { rows_max } => {
                reader.next(rows_max).await;
            }
            Step::BeginAgain => reader.begin_again(&world),
        }
    }
    // One that read all along, one that begins now, and one that reads on after everything has moved once more.
    let mut late = Reader::at(&world, Place::default(), window);
    late.read_to_end(5).await;
    late.check(&world);
    world.restart(true).await;
    for _ in 0..2 {
        world.now_ms += 60_000;
        world.compact(&settings).await;
    }
    reader.read_to_end(3).await;
    reader.check(&world);
    let end = world.lake(&Fuse::never()).end().await.expect("read");
    let mut new = Reader::at(&world, end, window);
    world.write(1, 2, None).await;
    new.read_to_end(9).await;
    assert_eq!(new.read, world.model[world.model.len() - 2..]);
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Any interleaving with compaction, also one that dies: each row once, in order.
    #[test]
    fn every_row_comes_once_and_in_order(
        steps in prop::collection::vec(step(), 1..50),
        window in prop_oneof![Just(1), Just(600), Just(1 << 20)],
    ) {
        block_on(run(steps, window, Retention::default(), false));
    }

    /// The same with retention and erasures: what is not read is told of, or was to be forgotten.
    #[test]
    fn nothing_is_missed_in_silence(
        steps in prop::collection::vec(step(), 1..50),
        window in prop_oneof![Just(1), Just(600), Just(1 << 20)],
    ) {
        let retention = Retention { days: Some(1), ..Retention::default() };
        block_on(run(steps, window, retention, true));
    }
}

#[tokio::test]
async fn who_was_away_reads_from_history_what_they_missed() {
    let mut world = World::new().await;
    for n in 0..3 {
        world.write(n, 2, Some(BEGIN_MS * 1_000_000 + HOUR_NS * i64::from(n))).await;
    }
    let mut reader = Reader::at(&world, Place::default(), 1);
    assert!(!reader.next(3).await, "a commit");
    assert!(!reader.next(1).await);
    let place = reader.follower.place();
    assert!(place.row.is_some(), "within a commit: {place:?}");
    world.write(0, 1, None).await;
    world.restart(true).await;
    world.compact(&settings()).await;
    world.now_ms += 60_000;
    world.compact(&settings()).await;
    assert!(world.listed("replaced").await.is_empty() && world.listed("fresh").await.is_empty());
    reader.begin_again(&world);
    reader.read_to_end(100).await;
    assert_eq!(reader.read, world.model);
    reader.check(&world);
}

#[tokio::test]
async fn who_was_away_for_too_long_is_told_what_is_gone() {
    let mut world = World::new().await;
    world.write(0, 2, Some(BEGIN_MS * 1_000_000)).await;
    world.restart(true).await;
    let of = |days| CompactionSettings {
        retention: Retention { days: Some(days), ..Retention::default() },
        ..settings()
    };
    world.compact(&of(1)).await;
    let mut reader = Reader::at(&world, Place::default(), 1);
    world.now_ms += 50 * HOUR_MS;
    world.write(1, 1, None).await;
    world.compact(&of(1)).await;
    reader.read_to_end(10).await;
    assert_eq!(reader.read, world.model[2..]);
    assert_eq!(
        reader.gone,
        [Gone::Rows { commits: (1, 1), rows_max: 2, until_ms: BEGIN_MS + HOUR_MS }],
        "and nothing more"
    );
    reader.read_to_end(10).await;
    assert_eq!(reader.gone.len(), 1, "once");
}

#[tokio::test]
async fn an_organisation_is_told_nothing_of_others() {
    let mut world = World::new().await;
    world.write(0, 2, None).await;
    let lake = world.lake(&Fuse::never());
    let other = OrganizationId::new("other").expect("an id");
    let mut follower = Follower::new(&lake, other, Place::default());
    let next = follower.next(100).await.expect("read");
    assert_eq!((next.rows, next.place.commit, next.head), (vec![], 1, 1));
    assert_eq!(vehicle(0), world.model[0].vehicle);
}
