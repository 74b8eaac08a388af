//! What a round does, made from its seed alone.

use rand::prelude::*;

use crate::disk::{Fault, FaultKind, SURVIVALS, Survival};
use crate::proxy::Weather;

/// What can happen to a fleet and its cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// SIGKILL of the cloud.
    KillCloud,
    /// SIGKILL of the vehicles' process.
    KillVehicles,
    /// The cloud's machine loses power.
    PowerCutCloud,
    /// The vehicles lose power.
    PowerCutVehicles,
    /// Both at once.
    PowerCutBoth,
    /// The cloud ends by its own hand between two steps of a round, a commit, an append or a checkpoint.
    CrashPoint,
    /// Commits are made and their answers lost.
    LostAnswer,
    /// The cloud dies with a file written and not committed; its successor finds it.
    OldFile,
    /// The cloud ends by its own hand between two steps of a compaction.
    CompactionCrash,
    /// A vehicle's history is erased while it drives.
    Erasure,
    /// Retention takes history away, and the cloud ends by its own hand in it or dies after it.
    Retention,
    /// The cloud and its disk are lost, and it goes on from a backup that was taken while it ran.
    Restore,
    /// A second node is started on the data of one that is paused, which then wakes.
    SecondNode,
    /// A disk has no room left.
    DiskFull,
    /// A disk answers EIO to writes or syncs.
    IoError,
    /// A disk is read-only.
    ReadOnly,
    /// Syncs take 1 to 50 ms.
    SlowDisk,
    /// The wall clock jumps.
    ClockJump,
    /// SIGSTOP and SIGCONT.
    Pause,
    /// An earlier copy of the outboxes is put back.
    RestoredOutbox,
    /// A copy of the outboxes runs beside them.
    ClonedOutbox,
    /// Connections are refused and cut.
    Drop,
    /// Traffic is delayed.
    Delay,
    /// Nothing passes and nothing is closed.
    HalfOpen,
    /// What an old connection sent arrives beside the next one.
    LateDelivery,
    /// Connections are cut in the middle of a packet.
    CutMidPacket,
    /// Garbage where a packet should begin.
    Garbage,
}

/// All of them, in the order in which consecutive seeds put them first.
pub const KINDS: [Kind; 27] = [
    Kind::KillCloud,
    Kind::PowerCutCloud,
    Kind::DiskFull,
    Kind::HalfOpen,
    Kind::RestoredOutbox,
    Kind::CrashPoint,
    Kind::KillVehicles,
    Kind::PowerCutVehicles,
    Kind::IoError,
    Kind::CutMidPacket,
    Kind::ClonedOutbox,
    Kind::LostAnswer,
    Kind::Pause,
    Kind::PowerCutBoth,
    Kind::ReadOnly,
    Kind::LateDelivery,
    Kind::SecondNode,
    Kind::OldFile,
    Kind::ClockJump,
    Kind::SlowDisk,
    Kind::Drop,
    Kind::Garbage,
    Kind::Delay,
    Kind::CompactionCrash,
    Kind::Erasure,
    Kind::Retention,
    Kind::Restore,
];

impl Kind {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillCloud => "kill-cloud",
            Self::KillVehicles => "kill-vehicles",
            Self::PowerCutCloud => "power-cut-cloud",
            Self::PowerCutVehicles => "power-cut-vehicles",
            Self::PowerCutBoth => "power-cut-both",
            Self::CrashPoint => "crash-point",
            Self::LostAnswer => "lost-answer",
            Self::OldFile => "old-file",
            Self::CompactionCrash => "compaction-crash",
            Self::Erasure => "erasure",
            Self::Retention => "retention",
            Self::Restore => "restore",
            Self::SecondNode => "second-node",
            Self::DiskFull => "disk-full",
            Self::IoError => "io-error",
            Self::ReadOnly => "read-only",
            Self::SlowDisk => "slow-disk",
            Self::ClockJump => "clock-jump",
            Self::Pause => "pause",
            Self::RestoredOutbox => "restored-outbox",
            Self::ClonedOutbox => "cloned-outbox",
            Self::Drop => "drop",
            Self::Delay => "delay",
            Self::HalfOpen => "half-open",
            Self::LateDelivery => "late-delivery",
            Self::CutMidPacket => "cut-mid-packet",
            Self::Garbage => "garbage",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        KINDS.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names: Vec<&str> = KINDS.into_iter().map(Self::name).collect();
            format!("no fault is called {text}; there are: {}", names.join(", "))
        })
    }
}

/// Whom an act meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The node.
    Cloud,
    /// The process of all vehicles.
    Vehicles,
}

/// One thing that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// SIGKILL, then a new start.
    Kill(Side),
    /// SIGKILL, what was not synced goes, then a new start.
    PowerCut(Vec<Side>, Survival, u64),
    /// The cloud is started with this crash point and runs into it; with a survival its machine loses power there.
    Crash(&'static str, Option<(Survival, u64)>),
    /// One vehicle's history is erased, of those that there are; up to 2.5 s later the cloud is killed, or its machine loses power.
    Erase(u64, Option<(Survival, u64)>),
    /// The cloud's clock is right again and retention takes what is over age; the cloud ends by its own hand at a point of a
    /// compaction, passed so many times before, or is killed when all of it is gone. With a survival it loses power there.
    Expire(Option<(&'static str, u32)>, Option<(Survival, u64)>),
    /// A backup of the running cloud.
    BackUp,
    /// The cloud and its disk are lost; it is restored from the newest backup onto an empty disk, with a survival loses power
    /// there, and is started.
    LoseNode(Option<(Survival, u64)>),
    /// The cloud is started anew and loses this share of its commits' answers, %.
    LoseAnswers(u32),
    /// A second node on the same data, while the first is paused.
    SecondNode,
    /// A disk fails for so many ms; then its process is started anew, after a power cut with a survival.
    Fail(Side, Fault, u64, Option<(Survival, u64)>),
    /// A disk is slow from now on.
    Slow(Side, Fault),
    /// A wall clock goes wrong by so many ns.
    Clock(Side, i64),
    /// Stands still for so many ms.
    Pause(Side, u64),
    /// Copies the outboxes.
    CopyOutboxes,
    /// Kills the vehicles and puts the copy back.
    RestoreOutboxes,
    /// Copies the outboxes and starts a second process on the copy.
    CloneOutboxes,
    /// The network changes.
    Weather(Weather),
}

/// One act, and when: after so many more frames are durable, or so many ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Frames.
    pub frames: u64,
    /// The longest wait, ms.
    pub ms: u64,
    /// As which kind it counts.
    pub kind: Kind,
    /// What is done.
    pub act: Act,
}

/// What the vehicles do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// A simulated world: samples, events, and what makes rules decide.
    World {
        /// How many.
        vehicles: usize,
        /// Readings per second each.
        rate: u64,
    },
    /// Many small frames.
    Synthetic {
        /// How many.
        vehicles: usize,
        /// Frames per second over all.
        rate: u64,
    },
}

/// What leaves the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Hours that ended a day ago.
    Age,
    /// Values of a class of signals in such hours.
    Class(&'static str),
    /// The oldest hours, when history has more bytes than this.
    Bytes(u64),
}

/// How a round ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything stops as an operator would stop it, and is counted.
    Clean,
    /// Power goes everywhere at once, and what is left is counted.
    PowerCut(Survival, u64),
}

/// A round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Made from this.
    pub seed: u64,
    /// What it is about; other faults come with it.
    pub kind: Kind,
    /// What the vehicles do.
    pub load: Load,
    /// Lake's rounds, ms.
    pub round_ms: u64,
    /// Lake's checkpoints, ms.
    pub checkpoint_ms: u64,
    /// Lake's sweeps, ms.
    pub sweep_ms: u64,
    /// What leaves the lake; in most rounds nothing does.
    pub retention: Option<Retention>,
    /// In order.
    pub steps: Vec<Step>,
    /// At the end.
    pub end: End,
}

/// Where the cloud may end by its own hand.
const CRASH_POINTS: [&str; 10] = [
    "round-before-files",
    "round-after-files",
    "commit-before-sync",
    "commit-after-sync",
    "round-before-answers",
    "round-after-answers",
    "effects-before-ack",
    "append-after-sync",
    "checkpoint-before",
    "checkpoint-after",
];
/// Where it may end by its own hand in a compaction, which every round has once a second.
pub(crate) const COMPACTION_POINTS: [&str; 6] = [
    "compact-after-staging",
    "compact-before-moves",
    "compact-between-moves",
    "compact-after-moves",
    "compact-before-forgetting",
    "erase-after-rewriting",
];
/// What may hold on while other things happen.
const CONDITIONS: [Kind; 5] =
    [Kind::SlowDisk, Kind::Delay, Kind::ClockJump, Kind::CutMidPacket, Kind::LateDelivery];
/// What may hold on where retention is at work: it goes by the wall clock, so a wrong one takes what it likes.
const CONDITIONS_OF_RETENTION: [Kind; 4] =
    [Kind::SlowDisk, Kind::Delay, Kind::CutMidPacket, Kind::LateDelivery];
/// What may hold on where a node is lost: a backup's moment is of the wall clock, and every vehicle must come back.
const CONDITIONS_OF_RESTORE: [Kind; 2] = [Kind::SlowDisk, Kind::Delay];
/// What may happen beside any fault.
const BESIDE: [Kind; 4] = [Kind::KillCloud, Kind::KillVehicles, Kind::PowerCutCloud, Kind::PowerCutVehicles];
/// More than come in the time that a disk stays slow.
const SLOW_FRAMES: u64 = 10_000;
/// Syncs take no time.
pub(crate) const QUICK: FaultKind = FaultKind::Slow(0, 0);
const SECOND_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * SECOND_NS;
/// Bytes of history beyond which its oldest hours go; few, so that every round gets there.
const HISTORY_BYTES: std::ops::Range<u64> = 2_000..20_000;

impl Plan {
    /// The round of a seed; with `kind` it is about that.
    pub fn new(seed: u64, kind: Option<Kind>) -> Self {
        let kind = kind.unwrap_or(KINDS[(seed % KINDS.len() as u64) as usize]);
        let mut random = StdRng::seed_from_u64(seed);
        let random = &mut random;
        let load = if random.random_bool(0.5) {
            Load::World { vehicles: random.random_range(20..40), rate: random.random_range(5..11) }
        } else {
            Load::Synthetic { vehicles: random.random_range(20..50), rate: random.random_range(200..500) }
        };
        // A wait ends by its frames or by its time, whichever comes first: neither may be the rule.
        let dense = if matches!(load, Load::Synthetic { .. }) { 6 } else { 1 };
        let mut steps: Vec<Step> = Vec::new();
        let retention = (kind == Kind::Retention).then(|| retention(random));
        let conditions: &[Kind] = match kind {
            Kind::Retention => &CONDITIONS_OF_RETENTION,
            Kind::Restore => &CONDITIONS_OF_RESTORE,
            _ => &CONDITIONS,
        };
        // A condition that begins first and ends last, so that everything else happens under it.
        let mut at_the_end = None;
        if random.random_bool(0.5) {
            let condition = conditions.choose(random).copied().unwrap_or(Kind::Delay);
            steps.extend(steps_of(condition, random));
            at_the_end = steps.pop();
        }
        let once = matches!(kind, Kind::Retention | Kind::Restore);
        let times = if once { 1 } else { random.random_range(1..3) };
        for _ in 0..times {
            steps.extend(steps_of(kind, random));
            if random.random_bool(0.5) {
                let other = BESIDE.choose(random).copied().unwrap_or(Kind::KillCloud);
                steps.extend(steps_of(other, random));
            }
        }
        steps.extend(at_the_end);
        if matches!(retention, Some(Retention::Bytes(_))) {
            // Nothing goes by the clock.
            steps.retain(|step| !matches!(step.act, Act::Clock(..)));
        }
        steps.iter_mut().for_each(|step| step.frames *= dense);
        let end = if random.random_bool(0.5) {
            End::Clean
        } else {
            let (survival, seed) = survival(random);
            End::PowerCut(survival, seed)
        };
        Self {
            seed,
            kind,
            load,
            round_ms: random.random_range(50..300),
            checkpoint_ms: random.random_range(300..1_000),
            sweep_ms: random.random_range(100..500),
            retention,
            steps,
            end,
        }
    }
}

/// Nothing surviving is what finds a missing sync; the others find a wrong order.
fn survival(random: &mut StdRng) -> (Survival, u64) {
    let nothing = random.random_bool(0.3);
    let any = *SURVIVALS.choose(random).unwrap_or(&Survival::Nothing);
    (if nothing { Survival::Nothing } else { any }, random.random())
}

fn retention(random: &mut StdRng) -> Retention {
    match random.random_range(0..6) {
        0 => Retention::Bytes(random.random_range(HISTORY_BYTES)),
        1 => Retention::Class("position"),
        2 => Retention::Class("technical"),
        _ => Retention::Age,
    }
}

fn side(random: &mut StdRng) -> Side {
    if random.random_bool(0.5) { Side::Cloud } else { Side::Vehicles }
}

/// The acts of a kind; those of a condition begin and end it.
fn steps_of(kind: Kind, random: &mut StdRng) -> Vec<Step> {
    let cut = |random: &mut StdRng| random.random_bool(0.5).then(|| survival(random));
    let weather = |weather: Weather, random: &mut StdRng| {
        vec![(5, Act::Weather(weather)), (random.random_range(10..60), Act::Weather(Weather::Clear))]
    };
    let acts = match kind {
        Kind::KillCloud => vec![(random.random_range(5..60), Act::Kill(Side::Cloud))],
        Kind::KillVehicles => vec![(random.random_range(5..60), Act::Kill(Side::Vehicles))],
        Kind::PowerCutCloud => power_cut(vec![Side::Cloud], random),
        Kind::PowerCutVehicles => power_cut(vec![Side::Vehicles], random),
        Kind::PowerCutBoth => power_cut(vec![Side::Cloud, Side::Vehicles], random),
        Kind::CrashPoint => {
            let point = CRASH_POINTS.choose(random).copied().unwrap_or_default();
            vec![(random.random_range(5..40), Act::Crash(point, cut(random)))]
        }
        Kind::CompactionCrash => {
            // The last one needs an erasure.
            let point = COMPACTION_POINTS[..5].choose(random).copied().unwrap_or_default();
            vec![(random.random_range(5..40), Act::Crash(point, cut(random)))]
        }
        Kind::Erasure => {
            let mut acts = vec![(random.random_range(20..80), Act::Erase(random.random(), cut(random)))];
            if random.random_bool(0.5) {
                acts.push((5, Act::Crash(COMPACTION_POINTS[5], cut(random))));
                acts.insert(0, (random.random_range(5..40), Act::Erase(random.random(), None)));
            }
            acts
        }
        Kind::Retention => {
            let days = random.random_range(2..10);
            let point = random.random_bool(0.7).then(|| {
                let point = COMPACTION_POINTS[..4].choose(random).copied().unwrap_or_default();
                (point, random.random_range(0..3))
            });
            vec![
                (5, Act::Clock(Side::Cloud, -days * DAY_NS)),
                (random.random_range(10..40), Act::Expire(point, cut(random))),
            ]
        }
        Kind::Restore => {
            let mut acts = vec![(random.random_range(5..40), Act::BackUp)];
            if random.random_bool(0.3) {
                acts.push((random.random_range(5..40), Act::BackUp));
            }
            // Vehicles then see epochs that the backup does not know.
            for _ in 0..random.random_range(1..3) {
                acts.push((random.random_range(5..30), Act::Kill(Side::Cloud)));
            }
            if random.random_bool(0.2) {
                acts.push((random.random_range(5..30), Act::Kill(Side::Vehicles)));
            }
            acts.push((random.random_range(5..30), Act::LoseNode(cut(random))));
            acts
        }
        Kind::OldFile => vec![(random.random_range(5..40), Act::Crash("round-after-files", cut(random)))],
        Kind::LostAnswer => vec![(random.random_range(5..40), Act::LoseAnswers(random.random_range(10..60)))],
        Kind::SecondNode => vec![(random.random_range(5..40), Act::SecondNode)],
        Kind::DiskFull => fail(FaultKind::Full(random.random_range(0..60_000)), random),
        Kind::IoError if random.random_bool(0.5) => fail(FaultKind::WriteError, random),
        Kind::IoError => fail(FaultKind::SyncError, random),
        Kind::ReadOnly => fail(FaultKind::ReadOnly, random),
        Kind::SlowDisk => {
            let slow = FaultKind::Slow(1_000, random.random_range(20_000..=50_000));
            let side = if random.random_bool(0.8) { Side::Cloud } else { Side::Vehicles };
            let act = |kind| Act::Slow(side, Fault { kind, only: "" });
            vec![(0, act(slow)), (SLOW_FRAMES, act(QUICK))]
        }
        Kind::ClockJump => {
            let far =
                *[5 * SECOND_NS, 3_600 * SECOND_NS, DAY_NS, 40 * DAY_NS].choose(random).unwrap_or(&DAY_NS);
            let by = if random.random_bool(0.5) { far } else { -far };
            let side = side(random);
            vec![(5, Act::Clock(side, by)), (random.random_range(5..40), Act::Clock(side, 0))]
        }
        Kind::Pause => {
            vec![(random.random_range(5..40), Act::Pause(side(random), random.random_range(100..1_000)))]
        }
        Kind::RestoredOutbox => vec![
            (random.random_range(5..40), Act::CopyOutboxes),
            (random.random_range(20..60), Act::RestoreOutboxes),
        ],
        Kind::ClonedOutbox => vec![(random.random_range(10..60), Act::CloneOutboxes)],
        Kind::Drop => weather(Weather::Refuse, random),
        Kind::Delay => weather(Weather::Delay(random.random_range(5..150)), random),
        Kind::HalfOpen if random.random_bool(0.5) => weather(Weather::Deaf, random),
        Kind::HalfOpen => weather(Weather::HalfOpen, random),
        Kind::LateDelivery => weather(Weather::Late(random.random_range(50..1_500)), random),
        Kind::CutMidPacket => weather(Weather::CutMidPacket, random),
        Kind::Garbage => weather(Weather::Garbage, random),
    };
    let step = |(frames, act)| {
        // Many rounds of the lake and several sweeps should come while the disk is slow.
        let ms = if frames == SLOW_FRAMES { 1_200..2_500 } else { 300..1_000 };
        // What leads up to a fault counts as what it is.
        let kind = match act {
            Act::Clock(..) => Kind::ClockJump,
            Act::Kill(Side::Cloud) => Kind::KillCloud,
            Act::Kill(Side::Vehicles) => Kind::KillVehicles,
            _ => kind,
        };
        Step { frames, ms: random.random_range(ms), kind, act }
    };
    acts.into_iter().map(step).collect()
}

fn power_cut(sides: Vec<Side>, random: &mut StdRng) -> Vec<(u64, Act)> {
    let (survival, seed) = survival(random);
    vec![(random.random_range(5..60), Act::PowerCut(sides, survival, seed))]
}

fn fail(kind: FaultKind, random: &mut StdRng) -> Vec<(u64, Act)> {
    let side = side(random);
    let only = match side {
        Side::Cloud => *["", "journal", "lake"].choose(random).unwrap_or(&""),
        Side::Vehicles => "",
    };
    let cut = random.random_bool(0.5).then(|| survival(random));
    vec![(
        random.random_range(5..60),
        Act::Fail(side, Fault { kind, only }, random.random_range(200..700), cut),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_plan_and_consecutive_seeds_give_every_kind() {
        assert_eq!(Plan::new(7, None), Plan::new(7, None));
        let mut kinds: Vec<Kind> =
            (100..100 + KINDS.len() as u64).map(|seed| Plan::new(seed, None).kind).collect();
        kinds.sort_unstable();
        let mut all = KINDS.to_vec();
        all.sort_unstable();
        assert_eq!(kinds, all);
        for kind in KINDS {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert!(Plan::new(3, Some(kind)).steps.iter().any(|step| step.kind == kind));
        }
        assert!("power".parse::<Kind>().is_err_and(|e| e.contains("power-cut-cloud")));
    }
}
