//! What a seed makes of a world: how many, how slow, and what goes wrong how often.

use std::ops::Range;

use rand::prelude::*;

/// A rule taken out on purpose, to show that it is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The agent's outbox says that a frame is safe before it is synced.
    SentBeforeSynced,
    /// The outbox trims one frame more than is durable.
    TrimBeyondDurable,
    /// The journal answers *committed* and may forget it in a crash.
    CommitNotDurable,
}

/// See the module. Chances are in a million, per tick of 100 ms unless said otherwise.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where everything comes from.
    pub seed: u64,
    /// A rule taken out.
    pub sabotage: Option<Sabotage>,
    /// Vehicles.
    pub vehicles: u64,
    /// How long things go wrong, ms.
    pub chaos_ms: u64,
    /// How long everything may take to drain afterwards, ms.
    pub drain_ms: u64,
    /// Between two readings of a vehicle, ms.
    pub reading_ms: Range<u64>,
    /// An outbox's size, bytes.
    pub outbox_bytes: u64,
    /// One way on the link, ms.
    pub link_ms: Range<u64>,
    /// A sync of an agent's disk, ms.
    pub sync_ms: Range<u64>,
    /// A call of the journal, ms.
    pub journal_ms: Range<u64>,
    /// A call of the store, ms.
    pub store_ms: Range<u64>,
    /// Rounds, ms.
    pub round_ms: u64,
    /// Checkpoints, ms.
    pub checkpoint_ms: u64,
    /// An actor is idle after, ms.
    pub idle_ms: u64,
    /// Between snapshots of a vehicle, ms.
    pub snapshot_ms: u64,
    /// What a node may hold in flight, bytes.
    pub rows_bytes: usize,
    /// A connection is cut.
    pub cut: u32,
    /// A connection attempt fails, per attempt.
    pub connect_fails: u32,
    /// The agent crashes.
    pub agent_crash: u32,
    /// The agent crashes at an output, per output.
    pub agent_crash_at_output: u32,
    /// A copy of an outbox is put aside.
    pub copy: u32,
    /// A copy replaces its outbox.
    pub restore: u32,
    /// A copy wakes up as a second agent.
    pub clone: u32,
    /// A record is damaged.
    pub damage: u32,
    /// The cloud crashes.
    pub cloud_crash: u32,
    /// The cloud stops as planned.
    pub cloud_stop: u32,
    /// A new owner takes over while the old one lives.
    pub takeover: u32,
    /// A cloud process stands still for a while.
    pub pause: u32,
    /// The servers' clocks jump.
    pub clock_jump: u32,
    /// Per call: a commit is refused.
    pub commit_refused: u32,
    /// Per call: a commit's answer, or the commit, is lost.
    pub commit_unknown: u32,
    /// Per call: a commit is answered *unknown* and comes true later.
    pub commit_late: u32,
    /// Per call: the journal fails, before or after the deed.
    pub journal_fails: u32,
    /// Per call: the store fails, before or after the deed.
    pub store_fails: u32,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> Self {
        // Apart from the world's own dice, so that a new kind of fault here does not change every run there.
        let mut dice = StdRng::seed_from_u64(seed ^ 0x706c_616e);
        let mut often = |most: u32| if dice.random_bool(0.5) { 0 } else { dice.random_range(1..=most) };
        let [cut, connect_fails, agent_crash, agent_crash_at_output] =
            [often(30_000), often(400_000), often(6_000), often(1_500)];
        let [copy, restore, clone, damage] = [often(30_000), often(4_000), often(2_500), often(15_000)];
        let [cloud_crash, cloud_stop, takeover, pause] =
            [often(8_000), often(3_000), often(4_000), often(5_000)];
        let clock_jump = often(8_000);
        let [commit_refused, commit_unknown, commit_late] = [often(80_000), often(150_000), often(80_000)];
        let [journal_fails, store_fails] = [often(10_000), often(50_000)];
        let mut pick = |of: &[u64]| of.choose(&mut dice).copied().unwrap_or_default();
        let link = pick(&[5, 20, 80, 400]);
        let slow_disk = pick(&[2, 20, 60, 500]);
        let slow_journal = pick(&[1, 3, 20, 120]);
        let slow_store = pick(&[1, 10, 50, 700]);
        let reading = pick(&[120, 300, 900]);
        Self {
            seed,
            sabotage: None,
            vehicles: pick(&[1, 1, 2, 3, 5]),
            chaos_ms: pick(&[10_000, 16_000, 28_000]),
            drain_ms: 240_000,
            reading_ms: reading / 2..reading,
            outbox_bytes: pick(&[1 << 30, 1 << 30, 6_000, 2_000]),
            link_ms: 1..link,
            sync_ms: 1..slow_disk,
            journal_ms: 0..slow_journal,
            store_ms: 0..slow_store,
            round_ms: pick(&[200, 1_000, 1_000, 2_500]),
            checkpoint_ms: pick(&[3_000, 8_000, 60_000]),
            idle_ms: pick(&[800, 3_000, 120_000]),
            snapshot_ms: pick(&[300, 3_000, 60_000]),
            rows_bytes: usize::try_from(pick(&[3_000, 20_000, 48 << 20, 48 << 20])).unwrap_or(usize::MAX),
            cut,
            connect_fails,
            agent_crash,
            agent_crash_at_output,
            copy,
            restore,
            clone,
            damage,
            cloud_crash,
            cloud_stop,
            takeover,
            pause,
            clock_jump,
            commit_refused,
            commit_unknown,
            commit_late,
            journal_fails,
            store_fails,
        }
    }

    /// A node with too little room for its vehicles, whose disks stand still now and then, and nothing else: it must
    /// drain without a stall.
    pub fn crowded(seed: u64) -> Self {
        let calm = Self {
            cut: 0,
            connect_fails: 0,
            agent_crash: 0,
            agent_crash_at_output: 0,
            copy: 0,
            restore: 0,
            clone: 0,
            damage: 0,
            cloud_crash: 0,
            cloud_stop: 0,
            takeover: 0,
            pause: 0,
            clock_jump: 0,
            commit_refused: 0,
            commit_unknown: 0,
            commit_late: 0,
            journal_fails: 0,
            store_fails: 0,
            ..Self::new(seed)
        };
        Self {
            vehicles: 4,
            chaos_ms: 20_000,
            drain_ms: 8_000,
            reading_ms: 60..120,
            outbox_bytes: 1 << 30,
            link_ms: 1..20,
            sync_ms: 1..20,
            store_ms: 0..10,
            journal_ms: 0..3,
            round_ms: 1_000,
            rows_bytes: 20_000,
            pause: 10_000,
            ..calm
        }
    }

    /// The same with a rule taken out.
    #[must_use]
    pub fn sabotaged(mut self, sabotage: Sabotage) -> Self {
        self.sabotage = Some(sabotage);
        self
    }
}
