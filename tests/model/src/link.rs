//! Vehicle, link and cloud under one owner: what is made is stored, given up visibly, or still held; never twice.
//!
//! Bounds: two incarnations with two frames and one, messages of one frame, one in flight each way and one more of an
//! older connection, one lost message, one broken connection, and one fault of one further kind. Times are left out: a timer may fire whenever it is set.

use crate::explorer::{Model, Step};

/// Incarnations in the model.
const INCARNATIONS: usize = 2;
/// Frames that each may make.
const FRAMES: [u8; INCARNATIONS] = [2, 1];
/// Messages in flight, each way, of the present connection; and of older ones.
const IN_FLIGHT: usize = 1;

/// Rules of docs/uplink.md, section 3, that can be taken out one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// An Ack says durable only what is committed.
    AckAfterCommit,
    /// Only `received + 1` is accepted.
    OnlyTheNext,
    /// Every start of the agent is a new incarnation.
    NewIncarnation,
    /// The shed record is durable before the frames go.
    ShedRecordFirst,
    /// Frames below the floor become a gap.
    GapBelowFloor,
    /// A damaged record is told, so that the sequence goes on.
    TellDamaged,
    /// An Ack above the last seq means that all of it is durable.
    AckAboveLast,
    /// A Hello is repeated until its Welcome.
    RepeatHello,
    /// Frames out and no progress: greet again.
    StalledHello,
    /// With nothing in flight one frame may be sent, whatever the credit.
    Probe,
    /// What was dropped sets `received` back to `durable`.
    ReceivedReset,
    /// An incarnation not in the table is looked up among the closed ones.
    LookUpClosed,
    /// Welcome of an older connection is ignored.
    WelcomeOfThisConnection,
}

impl Rule {
    /// Every rule without which something goes wrong.
    pub const NEEDED: &'static [Self] = &[
        Self::AckAfterCommit,
        Self::OnlyTheNext,
        Self::NewIncarnation,
        Self::ShedRecordFirst,
        Self::GapBelowFloor,
        Self::TellDamaged,
        Self::AckAboveLast,
        Self::RepeatHello,
        Self::StalledHello,
        Self::Probe,
        Self::ReceivedReset,
        Self::LookUpClosed,
    ];

    /// Rules that only save traffic: without them all is as safe, since every number is cumulative.
    pub const THRIFTY: &'static [Self] = &[Self::WelcomeOfThisConnection];
}

/// The one further kind of fault that a run of the model permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The agent is killed.
    VehicleCrash,
    /// The agent is killed and started on an old copy of its outbox.
    RestoredOutbox,
    /// The cloud is killed.
    CloudCrash,
    /// The vehicle's actor restarts alone.
    ActorRestart,
    /// The outbox is full.
    Shedding,
    /// The disk damages a record.
    Damage,
    /// The cloud may grant no credit.
    NoCredit,
}

impl Fault {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::VehicleCrash,
        Self::RestoredOutbox,
        Self::CloudCrash,
        Self::ActorRestart,
        Self::Shedding,
        Self::Damage,
        Self::NoCredit,
    ];
}

/// The model: one kind of fault, and perhaps one rule less.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// The further kind of fault.
    pub fault: Fault,
    /// The rule that is taken out.
    pub without: Option<Rule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Up {
    Hello,
    Frame { incarnation: u8, seq: u8, floor: u8, content: u8 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Down {
    Welcome { durable: [u8; INCARNATIONS], credit: bool },
    Ack { incarnation: u8, received: u8, durable: u8, missing: bool, credit: bool },
    Greet,
}

/// A message; `old`: of a connection that is gone.
type Sent<M> = (M, bool);

/// One incarnation as the vehicle's disk and memory have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Stream {
    made: u8,
    floor: u8,
    acked: u8,
    sent: u8,
    shed_record: u8,
    damaged: u8,
    /// Distinguishes frames that were given the same number: the start that made each.
    content: [u8; 3],
}

/// One incarnation as the cloud has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Reception {
    received: u8,
    durable: u8,
    /// Of what is received and not durable: which are gaps (a bit a seq), and what the others contain.
    pending_gaps: u8,
    pending_content: [u8; 3],
    /// The table has forgotten it and the list of closed incarnations says this.
    closed: Option<u8>,
    /// On disk: how often each frame is stored, with what; which are gaps.
    rows: [u8; 3],
    row_content: [u8; 3],
    gaps: u8,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    streams: [Stream; INCARNATIONS],
    /// Frames that were durable in the outbox once, beyond what a restored copy knows.
    ever_made: [[u8; 3]; INCARNATIONS],
    died: [u8; INCARNATIONS],
    current: u8,
    starts: u8,
    unsynced: bool,
    /// Frames are dropped and their record is not durable yet (only when the rule is out).
    unrecorded: Option<(u8, u8)>,
    copy: Option<[Stream; INCARNATIONS]>,
    connected: bool,
    welcomed: bool,
    credit: bool,
    up: Vec<Sent<Up>>,
    down: Vec<Sent<Down>>,
    cloud: [Reception; INCARNATIONS],
    greeted: bool,
    losses: u8,
    breaks: u8,
    faults: u8,
}

/// Whether the present connection takes another message.
fn room<M>(messages: &[Sent<M>]) -> bool {
    messages.iter().filter(|m| !m.1).count() < IN_FLIGHT
}

fn bit(seq: u8) -> u8 {
    1 << seq
}

impl Link {
    fn has(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    fn credits(&self) -> &'static [bool] {
        if self.fault == Fault::NoCredit { &[false, true] } else { &[true] }
    }

    fn may(&self, state: &State, fault: Fault) -> bool {
        self.fault == fault && state.faults > 0
    }
}

impl State {
    /// The incarnation that is drained now: the oldest with frames not acked.
    fn draining(&self) -> Option<usize> {
        (0..INCARNATIONS).find(|i| {
            self.streams[*i].acked < self.streams[*i].made && self.streams[*i].floor <= self.streams[*i].made
        })
    }

    fn outstanding(&self) -> bool {
        self.streams.iter().any(|s| s.sent > s.acked)
    }

    fn hello_in_flight(&self) -> bool {
        self.up.iter().any(|(m, old)| *m == Up::Hello && !old)
    }

    fn disconnect(&mut self) {
        self.connected = false;
        self.welcomed = false;
        self.greeted = false;
        // Of older connections only the newest late message is kept: the others are lost.
        self.up.retain(|m| !m.1);
        self.down.retain(|m| !m.1);
        self.up.iter_mut().for_each(|m| m.1 = true);
        self.down.iter_mut().for_each(|m| m.1 = true);
    }

    /// A new start of the agent on the disk as it is.
    fn restart(&mut self, new_incarnation: bool) {
        self.disconnect();
        self.unsynced = false;
        self.unrecorded = None;
        self.starts += 1;
        if new_incarnation {
            self.current = (self.current + 1).min(INCARNATIONS as u8 - 1);
        }
        for stream in &mut self.streams {
            stream.sent = stream.acked;
        }
    }

    fn say(&mut self, down: Down) {
        // A full link loses what is said; every answer can be lost anyway.
        if self.connected && room(&self.down) {
            self.down.push((down, false));
        }
    }
}

struct Steps {
    steps: Vec<Step<State>>,
}

impl Steps {
    fn add(&mut self, what: impl Into<String>, fault: bool, state: &State, change: impl FnOnce(&mut State)) {
        let mut next = state.clone();
        change(&mut next);
        self.steps.push(Step { what: what.into(), fault, next });
    }
}

impl Model for Link {
    type State = State;

    fn initial(&self) -> State {
        let stream = Stream { floor: 1, ..Stream::default() };
        State {
            streams: [stream; INCARNATIONS],
            ever_made: [[0; 3]; INCARNATIONS],
            died: [0; INCARNATIONS],
            current: 0,
            starts: 1,
            unsynced: false,
            unrecorded: None,
            copy: None,
            connected: false,
            welcomed: false,
            credit: false,
            up: Vec::new(),
            down: Vec::new(),
            cloud: [Reception::default(); INCARNATIONS],
            greeted: false,
            losses: 1,
            breaks: 1,
            faults: 1,
        }
    }

    fn steps(&self, state: &State) -> Vec<Step<State>> {
        let mut steps = Steps { steps: Vec::new() };
        self.vehicle_steps(state, &mut steps);
        self.cloud_steps(state, &mut steps);
        self.fault_steps(state, &mut steps);
        steps.steps
    }

    fn broken(&self, state: &State) -> Option<String> {
        for (i, frames) in FRAMES.into_iter().enumerate() {
            let (stream, cloud) = (&state.streams[i], &state.cloud[i]);
            for seq in 1..=frames {
                let at = seq as usize;
                let frame = format!("frame {seq} of incarnation {i}");
                if cloud.rows[at] > 1 {
                    return Some(format!("{frame} is stored twice"));
                }
                if cloud.rows[at] > 0 && cloud.gaps & bit(seq) > 0 {
                    return Some(format!("{frame} is stored and in a gap"));
                }
                let made = state.ever_made[i][at];
                let held = stream.floor <= seq && seq <= stream.made && stream.content[at] == made;
                let stored = cloud.rows[at] > 0 && cloud.row_content[at] == made;
                let given_up =
                    cloud.gaps & bit(seq) > 0 || seq <= stream.shed_record || state.died[i] & bit(seq) > 0;
                // Between dropping and recording the vehicle still knows; what a crash makes of it counts.
                let about_to = state.unrecorded.is_some_and(|(inc, to)| usize::from(inc) == i && seq <= to);
                if made > 0 && !held && !stored && !given_up && !about_to {
                    return Some(format!("{frame} is lost"));
                }
            }
        }
        None
    }

    fn done(&self, state: &State) -> bool {
        !state.unsynced && state.unrecorded.is_none() && state.streams.iter().all(|s| s.floor > s.made)
    }
}

impl Link {
    fn vehicle_steps(&self, state: &State, steps: &mut Steps) {
        let current = state.current as usize;
        let stream = &state.streams[current];
        // With the same incarnation after a restart the numbers of the first go on.
        if !state.unsynced && stream.made < FRAMES[current] {
            steps.add("the vehicle senses a frame", false, state, |s| s.unsynced = true);
        }
        if state.unsynced {
            steps.add("the group commit makes it durable", false, state, |s| {
                let seq = s.streams[current].made + 1;
                s.unsynced = false;
                s.streams[current].made = seq;
                s.streams[current].content[seq as usize] = s.starts;
                s.ever_made[current][seq as usize] = s.starts;
            });
        }
        if !state.connected {
            steps.add("the vehicle connects", false, state, |s| {
                s.connected = true;
                s.welcomed = false;
                s.credit = false;
                if room(&s.up) {
                    s.up.push((Up::Hello, false));
                }
            });
        }
        let quiet = state.connected && room(&state.up) && !state.hello_in_flight();
        if quiet && !state.welcomed && self.has(Rule::RepeatHello) {
            steps.add("it says Hello again", false, state, |s| s.up.push((Up::Hello, false)));
        }
        if quiet && state.welcomed && state.outstanding() && self.has(Rule::StalledHello) {
            steps.add("no progress: it says Hello again", false, state, |s| s.up.push((Up::Hello, false)));
        }
        self.send_steps(state, steps);
        if let Some((incarnation, to)) = state.unrecorded {
            steps.add("the shed record is synced", false, state, |s| {
                s.streams[incarnation as usize].shed_record = to;
                s.unrecorded = None;
            });
        }
    }

    fn send_steps(&self, state: &State, steps: &mut Steps) {
        let Some(i) = state.draining() else { return };
        let stream = &state.streams[i];
        let seq = stream.sent.max(stream.floor - 1) + 1;
        let probe = !state.outstanding() && self.has(Rule::Probe);
        if !state.connected || !state.welcomed || !room(&state.up) || seq > stream.made {
            return;
        }
        if !state.credit && !probe {
            return;
        }
        if stream.damaged & bit(seq) > 0 && !self.has(Rule::TellDamaged) {
            steps.add(format!("it skips its damaged frame {seq}"), false, state, |s| s.streams[i].sent = seq);
            return;
        }
        steps.add(format!("it sends frame {seq} of incarnation {i}"), false, state, |s| {
            let stream = &mut s.streams[i];
            stream.sent = seq;
            let content = if stream.damaged & bit(seq) > 0 { 0 } else { stream.content[seq as usize] };
            let floor = stream.floor;
            s.up.push((Up::Frame { incarnation: i as u8, seq, floor, content }, false));
        });
    }

    fn cloud_steps(&self, state: &State, steps: &mut Steps) {
        for old in [false, true] {
            // A connection keeps the order of what it carries; an older one may be late.
            if let Some(at) = state.up.iter().position(|m| m.1 == old) {
                for &credit in self.credits() {
                    let message = state.up[at].0;
                    let what = format!(
                        "the cloud gets {message:?}{}",
                        if old { " of an older connection" } else { "" }
                    );
                    steps.add(what, false, state, |s| {
                        s.up.remove(at);
                        self.handle_up(s, message, old, credit);
                    });
                }
            }
            if let Some(at) = state.down.iter().position(|m| m.1 == old) {
                let message = state.down[at].0;
                let what = format!(
                    "the vehicle gets {message:?}{}",
                    if old { " of an older connection" } else { "" }
                );
                steps.add(what, false, state, |s| {
                    s.down.remove(at);
                    self.handle_down(s, message, old);
                });
            }
        }
        if state.cloud.iter().any(|c| c.received > c.durable) {
            for &credit in self.credits() {
                steps.add("the round is committed and acked", false, state, |s| commit(s, credit));
            }
        }
        if state.cloud[0].closed.is_none()
            && state.cloud[0].durable > 0
            && state.cloud[0].received == state.cloud[0].durable
            && state.current > 0
        {
            steps.add("the checkpoint closes incarnation 0", false, state, |s| {
                let cloud = &mut s.cloud[0];
                cloud.closed = Some(cloud.durable);
                (cloud.received, cloud.durable) = (0, 0);
            });
        }
    }

    fn look_up(&self, state: &mut State) {
        for (cloud, stream) in state.cloud.iter_mut().zip(&state.streams) {
            let greeted_about = stream.made > 0;
            if greeted_about
                && self.has(Rule::LookUpClosed)
                && let Some(durable) = cloud.closed.take()
            {
                (cloud.received, cloud.durable) = (durable, durable);
            }
        }
    }

    fn handle_up(&self, state: &mut State, message: Up, old: bool, credit: bool) {
        match message {
            Up::Hello => {
                self.look_up(state);
                let durable =
                    state.cloud.map(|c| if self.has(Rule::AckAfterCommit) { c.durable } else { c.received });
                if old {
                    // Answered, on the connection it came by, which is gone: the answer may still arrive late.
                    if !state.down.iter().any(|m| m.1) {
                        state.down.push((Down::Welcome { durable, credit }, true));
                    }
                    return;
                }
                state.greeted = true;
                state.say(Down::Welcome { durable, credit });
            }
            Up::Frame { .. } if old => {}
            Up::Frame { .. } if !state.greeted => state.say(Down::Greet),
            Up::Frame { incarnation, seq, floor, content } => {
                self.accept(state, incarnation, seq, floor, content, credit);
            }
        }
    }

    fn accept(&self, state: &mut State, incarnation: u8, seq: u8, floor: u8, content: u8, credit: bool) {
        // Closed since the Hello: looked up again before its next frame is accepted.
        self.look_up(state);
        let cloud = &mut state.cloud[incarnation as usize];
        if floor > cloud.received + 1 && self.has(Rule::GapBelowFloor) {
            (cloud.received + 1..floor).for_each(|gone| cloud.pending_gaps |= bit(gone));
            cloud.received = floor - 1;
        }
        let next = cloud.received + 1;
        if seq == next || (seq > next && !self.has(Rule::OnlyTheNext)) {
            cloud.received = seq;
            if content == 0 {
                cloud.pending_gaps |= bit(seq);
            }
            cloud.pending_content[seq as usize] = content;
            if !self.has(Rule::AckAfterCommit) {
                let (received, durable) = (cloud.received, cloud.received);
                state.say(Down::Ack { incarnation, received, durable, missing: false, credit });
            }
            return;
        }
        let (received, durable) = (cloud.received, cloud.durable);
        state.say(Down::Ack { incarnation, received, durable, missing: seq > next, credit });
    }

    fn handle_down(&self, state: &mut State, message: Down, old: bool) {
        match message {
            Down::Welcome { durable, credit } => {
                if (old && self.has(Rule::WelcomeOfThisConnection)) || !state.connected {
                    return;
                }
                state.welcomed = true;
                state.credit = credit;
                for (i, durable) in durable.into_iter().enumerate() {
                    self.take_durable(state, i, durable);
                    state.streams[i].sent = state.streams[i].acked;
                }
            }
            Down::Greet if !old => state.welcomed = false,
            Down::Greet => {}
            Down::Ack { incarnation, received, durable, missing, credit } => {
                let i = incarnation as usize;
                // Cumulative: what is durable stays durable, whichever connection says so.
                self.take_durable(state, i, durable);
                if !old {
                    state.credit = credit;
                    if missing {
                        state.streams[i].sent =
                            received.max(state.streams[i].acked).min(state.streams[i].sent);
                    }
                }
            }
        }
    }

    fn take_durable(&self, state: &mut State, i: usize, durable: u8) {
        let stream = &mut state.streams[i];
        if durable > stream.made && !self.has(Rule::AckAboveLast) {
            return;
        }
        stream.acked = stream.acked.max(durable.min(stream.made));
        stream.floor = stream.floor.max(stream.acked + 1);
        stream.sent = stream.sent.max(stream.acked);
    }

    fn fault_steps(&self, state: &State, steps: &mut Steps) {
        if state.losses > 0 {
            for at in 0..state.up.len() {
                steps.add(format!("{:?} is lost", state.up[at].0), true, state, |s| {
                    s.up.remove(at);
                    s.losses -= 1;
                });
            }
            for at in 0..state.down.len() {
                steps.add(format!("{:?} is lost", state.down[at].0), true, state, |s| {
                    s.down.remove(at);
                    s.losses -= 1;
                });
            }
        }
        if state.connected && state.breaks > 0 {
            steps.add("the connection breaks", true, state, |s| {
                s.disconnect();
                s.breaks -= 1;
            });
        }
        self.vehicle_faults(state, steps);
        if self.may(state, Fault::CloudCrash) {
            steps.add("the cloud is killed and recovers from its disk", true, state, |s| {
                s.disconnect();
                forget_pending(s);
                s.faults -= 1;
            });
        }
        if self.may(state, Fault::ActorRestart) {
            steps.add("the vehicle's actor restarts alone", true, state, |s| {
                if self.has(Rule::ReceivedReset) {
                    forget_pending(s);
                } else {
                    // What was pending is gone, yet the numbers go on as if it were durable.
                    s.cloud.iter_mut().for_each(|c| c.durable = c.received);
                }
                s.greeted = false;
                s.faults -= 1;
            });
        }
    }

    fn vehicle_faults(&self, state: &State, steps: &mut Steps) {
        let new = self.has(Rule::NewIncarnation);
        let can_restart = usize::from(state.current) + 1 < INCARNATIONS || !new;
        if self.may(state, Fault::VehicleCrash) && can_restart
            || self.may(state, Fault::Shedding) && state.unrecorded.is_some()
        {
            steps.add("the agent is killed and starts again", true, state, |s| {
                s.restart(new);
                s.faults = s.faults.saturating_sub(1);
            });
        }
        if self.may(state, Fault::RestoredOutbox) && can_restart {
            match state.copy {
                None => steps.add("somebody copies the outbox", true, state, |s| s.copy = Some(s.streams)),
                Some(copy) => steps.add("the agent is killed and starts on the old copy", true, state, |s| {
                    for (i, old) in copy.iter().enumerate() {
                        let gone = s.streams[i].floor.max(old.made + 1)..=s.streams[i].made;
                        gone.for_each(|seq| s.died[i] |= bit(seq));
                    }
                    s.streams = copy;
                    s.copy = None;
                    s.restart(new);
                    s.faults -= 1;
                }),
            }
        }
        let oldest = (0..INCARNATIONS).find(|i| state.streams[*i].floor <= state.streams[*i].made);
        let Some(i) = oldest else { return };
        let floor = state.streams[i].floor;
        if self.may(state, Fault::Shedding)
            && state.unrecorded.is_none()
            && state.streams[i].shed_record < floor
        {
            if self.has(Rule::ShedRecordFirst) {
                steps.add(format!("frame {floor} is shed, its record first"), true, state, |s| {
                    s.streams[i].shed_record = floor;
                    s.streams[i].floor += 1;
                    s.streams[i].sent = s.streams[i].sent.max(floor);
                    s.streams[i].acked = s.streams[i].acked.max(if s.streams[i].floor > s.streams[i].made {
                        floor
                    } else {
                        0
                    });
                    s.faults -= 1;
                });
            } else {
                steps.add(format!("frame {floor} is dropped, its record comes later"), true, state, |s| {
                    s.streams[i].floor += 1;
                    s.streams[i].sent = s.streams[i].sent.max(floor);
                    s.unrecorded = Some((i as u8, floor));
                });
            }
        }
        if self.may(state, Fault::Damage) {
            steps.add(format!("the disk damages frame {floor}"), true, state, |s| {
                s.streams[i].damaged |= bit(floor);
                s.faults -= 1;
            });
        }
    }
}

fn forget_pending(state: &mut State) {
    for cloud in &mut state.cloud {
        cloud.received = cloud.durable;
        cloud.pending_gaps = 0;
        cloud.pending_content = [0; 3];
    }
}

/// Rows and gaps become true at once; then the Acks.
fn commit(state: &mut State, credit: bool) {
    for i in 0..INCARNATIONS {
        let cloud = &mut state.cloud[i];
        if cloud.received == cloud.durable {
            continue;
        }
        for seq in cloud.durable + 1..=cloud.received {
            let at = seq as usize;
            if cloud.pending_gaps & bit(seq) > 0 {
                cloud.gaps |= bit(seq);
            } else if cloud.pending_content[at] > 0 {
                cloud.rows[at] += 1;
                cloud.row_content[at] = cloud.pending_content[at];
            }
        }
        cloud.durable = cloud.received;
        cloud.pending_gaps = 0;
        cloud.pending_content = [0; 3];
        let (received, durable) = (cloud.received, cloud.durable);
        state.say(Down::Ack { incarnation: i as u8, received, durable, missing: false, credit });
    }
}
