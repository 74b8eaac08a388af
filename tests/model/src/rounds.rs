//! Rounds, owners and decisions of one shard: each frame is committed once, with exactly the decisions it demands,
//! whoever owns the shard and whenever anybody dies.
//!
//! Bounds: one sweep, one take-over from a living owner, as many files and epochs as that can need; one vehicle with two frames, both of which hold what the rule looks for (so the first one raises the alert
//! and the second one must not), two nodes, each of which may die once, and one lost answer. Frames reach whichever
//! node the vehicle talks to; the vehicle sends again from what it was told is durable.

use crate::explorer::{Model, Step};

/// Frames of the vehicle.
const FRAMES: u8 = 2;
/// Files that may be written: one for each frame, and one for everything that can go wrong.
const FILES: usize = 6;

/// Rules of docs/uplink.md, sections 4 and 5, that can be taken out one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The transaction refuses a stale epoch.
    FencedCommit,
    /// Manifest and decisions are one transaction.
    OneTransaction,
    /// An unknown answer is asked for again with the same path.
    RetrySamePath,
    /// While the answer is unknown nothing is set back.
    NothingDroppedWhileUnknown,
    /// The Ack comes after the transaction.
    AckAfterCommit,
    /// A new owner raises the epoch before it reads.
    EpochBeforeRead,
    /// Replay rebuilds the rules' state and decides nothing.
    ReplayDecidesNothing,
    /// A snapshot is taken only when nothing is pending.
    SnapshotNothingPending,
    /// The sweeper reads the epochs first, then the manifest.
    SweepEpochsFirst,
    /// Only files of superseded epochs are swept.
    SweepSuperseded,
}

impl Rule {
    /// Every rule.
    pub const ALL: &'static [Self] = &[
        Self::FencedCommit,
        Self::OneTransaction,
        Self::RetrySamePath,
        Self::NothingDroppedWhileUnknown,
        Self::AckAfterCommit,
        Self::EpochBeforeRead,
        Self::ReplayDecidesNothing,
        Self::SnapshotNothingPending,
        Self::SweepEpochsFirst,
        Self::SweepSuperseded,
    ];
}

/// The model, perhaps with one rule less.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// The rule that is taken out.
    pub without: Option<Rule>,
}

/// A file: who wrote it, under which epoch, which frames it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct File {
    node: u8,
    epoch: u8,
    from: u8,
    to: u8,
    /// The decision that its rows caused.
    decides: bool,
    listed: bool,
    gone: bool,
}

/// What a node is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    /// Not running, or fenced.
    Down,
    /// Has read before it raised the epoch (only when the rule is out).
    ReadTooEarly { durable: u8, raised: bool },
    /// Takes frames.
    Open,
    /// The round's file is written.
    Written { file: u8 },
    /// The transaction was sent; its answer is lost.
    Unknown { file: u8 },
    /// The decisions are written, the manifest is not (only when the rule is out).
    Decided { file: u8 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Node {
    phase: Phase,
    epoch: u8,
    durable: u8,
    received: u8,
    /// The rule's state, and whether the pending frames raised the alert.
    raised: bool,
    pending_decision: bool,
    deaths: u8,
    /// What its sweeper knows: the epoch it read, or the files it saw listed.
    sweeping: Option<Sweep>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Sweep {
    epoch: u8,
    /// A bit for every file that is in the manifest.
    listed: u8,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    nodes: [Node; 2],
    epoch: u8,
    files: Vec<File>,
    decisions: u8,
    /// As of this frame, the alert was raised.
    snapshot: (u8, bool),
    /// What the vehicle was told is durable; it has forgotten these frames.
    acked: u8,
    answers_to_lose: u8,
    sweeps: u8,
    robberies: u8,
}

impl Rounds {
    fn has(self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}

impl State {
    /// Frames in committed files that are there.
    fn stored(&self, frame: u8) -> usize {
        self.files.iter().filter(|f| f.listed && !f.gone && f.from <= frame && frame <= f.to).count()
    }

    fn durable(&self) -> u8 {
        self.files.iter().filter(|f| f.listed).map(|f| f.to).max().unwrap_or(0)
    }

    /// The rule's state after replaying what is committed above the snapshot.
    fn replayed(&self) -> bool {
        let (seq, raised) = self.snapshot;
        raised || self.durable() > seq
    }

    fn list(&mut self, file: u8) {
        let file = &mut self.files[file as usize];
        file.listed = true;
    }
}

struct Steps<'a> {
    from: &'a State,
    steps: Vec<Step<State>>,
}

impl Steps<'_> {
    fn add(&mut self, what: impl Into<String>, fault: bool, change: impl FnOnce(&mut State)) {
        let mut next = self.from.clone();
        change(&mut next);
        self.steps.push(Step { what: what.into(), fault, next });
    }
}

impl Model for Rounds {
    type State = State;

    fn initial(&self) -> State {
        let node = Node {
            phase: Phase::Down,
            epoch: 0,
            durable: 0,
            received: 0,
            raised: false,
            pending_decision: false,
            deaths: 1,
            sweeping: None,
        };
        State {
            nodes: [node; 2],
            epoch: 0,
            files: Vec::new(),
            decisions: 0,
            snapshot: (0, false),
            acked: 0,
            answers_to_lose: 1,
            sweeps: 1,
            robberies: 1,
        }
    }

    fn steps(&self, state: &State) -> Vec<Step<State>> {
        let mut steps = Steps { from: state, steps: Vec::new() };
        for node in 0..2 {
            self.own(state, node, &mut steps);
            self.work(state, node, &mut steps);
            self.commit(state, node, &mut steps);
            self.sweep(state, node, &mut steps);
        }
        steps.steps
    }

    fn broken(&self, state: &State) -> Option<String> {
        for frame in 1..=FRAMES {
            match state.stored(frame) {
                0 if frame <= state.acked => {
                    return Some(format!("frame {frame} was acked and is not stored"));
                }
                0 | 1 => {}
                _ => return Some(format!("frame {frame} is stored twice")),
            }
        }
        if let Some(file) = state.files.iter().position(|f| f.listed && f.gone) {
            return Some(format!("file {file} is in the manifest and was swept"));
        }
        // The first frame demands the one decision there is. Between two transactions nobody may see a difference.
        let demanded = u8::from(state.durable() >= 1);
        if state.decisions > 1 {
            return Some("a decision was made twice".into());
        }
        (state.decisions != demanded)
            .then(|| format!("the rows demand {demanded} decisions, the journal has {}", state.decisions))
    }

    fn done(&self, state: &State) -> bool {
        state.acked == FRAMES
    }
}

impl Rounds {
    /// Takes the shard: epoch first, then what is committed.
    fn own(self, state: &State, n: usize, steps: &mut Steps<'_>) {
        let node = &state.nodes[n];
        let other = &state.nodes[1 - n];
        let owned = other.phase != Phase::Down && other.epoch == state.epoch;
        // A living owner is robbed once at most; whoever finds none may always take the shard.
        let may = node.phase == Phase::Down && (!owned || state.robberies > 0);
        if may && self.has(Rule::EpochBeforeRead) {
            steps.add(format!("node {n} takes the shard and recovers"), owned, |s| {
                s.robberies -= u8::from(owned);
                s.epoch += 1;
                let (epoch, durable, raised) = (s.epoch, s.durable(), s.replayed());
                if !self.has(Rule::ReplayDecidesNothing) && durable > s.snapshot.0 && !s.snapshot.1 {
                    s.decisions += 1;
                }
                let node = &mut s.nodes[n];
                *node = Node { phase: Phase::Open, epoch, durable, received: durable, raised, ..*node };
                node.pending_decision = false;
            });
        }
        if may && !self.has(Rule::EpochBeforeRead) {
            steps.add(format!("node {n} reads what is committed"), owned, |s| {
                s.robberies -= u8::from(owned);
                s.nodes[n].phase = Phase::ReadTooEarly { durable: s.durable(), raised: s.replayed() };
            });
        }
        if let Phase::ReadTooEarly { durable, raised } = node.phase {
            steps.add(format!("node {n} raises the epoch"), false, |s| {
                s.epoch += 1;
                let node = &mut s.nodes[n];
                *node =
                    Node { phase: Phase::Open, epoch: s.epoch, durable, received: durable, raised, ..*node };
            });
        }
        if node.phase != Phase::Down && node.deaths > 0 {
            steps.add(format!("node {n} is killed"), true, |s| {
                let node = &mut s.nodes[n];
                *node = Node { phase: Phase::Down, deaths: node.deaths - 1, sweeping: None, ..*node };
            });
        }
    }

    /// Takes frames, takes snapshots, writes files.
    fn work(self, state: &State, n: usize, steps: &mut Steps<'_>) {
        let node = &state.nodes[n];
        if node.phase != Phase::Open {
            return;
        }
        // The vehicle sends what it still has, from `durable + 1` on.
        if node.received < FRAMES && node.received >= state.acked {
            steps.add(
                format!("node {n} gets frame {} and evaluates the rules", node.received + 1),
                false,
                |s| {
                    let node = &mut s.nodes[n];
                    node.received += 1;
                    node.pending_decision |= !node.raised;
                    node.raised = true;
                    if !self.has(Rule::AckAfterCommit) {
                        s.acked = s.acked.max(s.nodes[n].received);
                    }
                },
            );
        }
        if node.epoch == state.epoch && node.durable > state.acked {
            steps.add(format!("the vehicle greets node {n} and hears what is durable"), false, |s| {
                s.acked = s.nodes[n].durable
            });
        }
        let pending = node.received > node.durable;
        if (!pending || !self.has(Rule::SnapshotNothingPending)) && node.epoch == state.epoch {
            let snapshot = (node.durable, node.raised);
            if state.snapshot != snapshot && node.durable >= state.snapshot.0 {
                steps.add(format!("node {n} writes a snapshot"), false, |s| s.snapshot = snapshot);
            }
        }
        if pending && state.files.len() < FILES {
            steps.add(format!("node {n} writes the round's file"), false, |s| {
                let node = &mut s.nodes[n];
                let file = File {
                    node: n as u8,
                    epoch: node.epoch,
                    from: node.durable + 1,
                    to: node.received,
                    decides: node.pending_decision,
                    listed: false,
                    gone: false,
                };
                node.phase = Phase::Written { file: s.files.len() as u8 };
                s.files.push(file);
            });
        }
    }

    /// The transaction and its answers.
    fn commit(self, state: &State, n: usize, steps: &mut Steps<'_>) {
        let node = &state.nodes[n];
        match node.phase {
            Phase::Written { file } => {
                let fenced = node.epoch != state.epoch && self.has(Rule::FencedCommit);
                if fenced {
                    steps.add(format!("node {n} is refused: its epoch is stale"), false, |s| {
                        s.nodes[n].phase = Phase::Down
                    });
                } else if self.has(Rule::OneTransaction) {
                    steps.add(format!("node {n} commits manifest and decisions"), false, |s| {
                        transact(s, file);
                        answered(s, n, file);
                    });
                } else {
                    steps.add(format!("node {n} writes the decisions"), false, |s| {
                        s.decisions += u8::from(s.files[file as usize].decides);
                        s.nodes[n].phase = Phase::Decided { file };
                    });
                }
                if !fenced && state.answers_to_lose > 0 {
                    for made in [true, false] {
                        let what = if made { "made" } else { "not made" };
                        steps.add(format!("node {n}'s commit is {what} and the answer lost"), true, |s| {
                            s.answers_to_lose -= 1;
                            if made {
                                transact(s, file);
                            }
                            s.nodes[n].phase = Phase::Unknown { file };
                        });
                    }
                }
            }
            Phase::Decided { file } => {
                steps.add(format!("node {n} writes the manifest"), false, |s| {
                    s.list(file);
                    answered(s, n, file);
                });
            }
            Phase::Unknown { file } => self.ask_again(state, n, file, steps),
            Phase::Down | Phase::ReadTooEarly { .. } | Phase::Open => {}
        }
    }

    fn ask_again(self, state: &State, n: usize, file: u8, steps: &mut Steps<'_>) {
        if !self.has(Rule::NothingDroppedWhileUnknown) {
            steps.add(format!("node {n} takes the unknown for a refusal and sets back"), false, |s| {
                let node = &mut s.nodes[n];
                node.received = node.durable;
                node.raised &= !node.pending_decision;
                node.pending_decision = false;
                node.phase = Phase::Open;
            });
            return;
        }
        let listed = state.files[file as usize].listed;
        if listed && self.has(Rule::RetrySamePath) {
            steps.add(format!("node {n} asks again: it was committed"), false, |s| answered(s, n, file));
        } else if state.nodes[n].epoch != state.epoch && self.has(Rule::FencedCommit) {
            steps.add(format!("node {n} asks again: refused"), false, |s| s.nodes[n].phase = Phase::Down);
        } else if self.has(Rule::RetrySamePath) {
            steps.add(format!("node {n} asks again: now it is committed"), false, |s| {
                transact(s, file);
                answered(s, n, file);
            });
        } else if state.files.len() < FILES {
            steps.add(format!("node {n} writes the rows to another file and commits that"), false, |s| {
                let again = File { listed: false, ..s.files[file as usize] };
                s.files.push(again);
                let file = s.files.len() as u8 - 1;
                transact(s, file);
                answered(s, n, file);
            });
        }
    }

    /// Two looks, then the deed, with anything in between.
    fn sweep(self, state: &State, n: usize, steps: &mut Steps<'_>) {
        let node = &state.nodes[n];
        if node.phase == Phase::Down || state.files.is_empty() {
            return;
        }
        let listed =
            |s: &State| s.files.iter().enumerate().fold(0, |all, (i, f)| all | u8::from(f.listed) << i);
        let Some(sweep) = node.sweeping else {
            if state.sweeps == 0 {
                return;
            }
            steps.add(format!("node {n}'s sweeper takes its first look"), false, |s| {
                s.sweeps -= 1;
                s.nodes[n].sweeping = Some(Sweep { epoch: s.epoch, listed: listed(s) });
            });
            return;
        };
        for (i, file) in state.files.iter().enumerate() {
            // The second look is now: the manifest, or with the rule out the epochs.
            let in_manifest =
                if self.has(Rule::SweepEpochsFirst) { file.listed } else { sweep.listed >> i & 1 == 1 };
            let epoch = if self.has(Rule::SweepEpochsFirst) { sweep.epoch } else { state.epoch };
            let superseded = file.epoch < epoch || !self.has(Rule::SweepSuperseded);
            if !in_manifest && superseded && !file.gone {
                steps.add(format!("node {n}'s sweeper moves file {i} to the trash"), false, |s| {
                    s.files[i].gone = true;
                    s.nodes[n].sweeping = None;
                });
            }
        }
        steps.add(format!("node {n}'s sweeper ends"), false, |s| s.nodes[n].sweeping = None);
    }
}

fn transact(state: &mut State, file: u8) {
    state.list(file);
    state.decisions += u8::from(state.files[file as usize].decides);
}

/// The definite answer, and the Ack.
fn answered(state: &mut State, n: usize, file: u8) {
    let to = state.files[file as usize].to;
    let node = &mut state.nodes[n];
    node.durable = to;
    node.received = node.received.max(to);
    node.pending_decision = false;
    node.phase = Phase::Open;
    state.acked = state.acked.max(to);
}
