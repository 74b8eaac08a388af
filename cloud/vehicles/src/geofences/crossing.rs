//! From positions to crossings: dwell and hysteresis. Pure and deterministic.
//!
//! A vehicle has one track for the start of its agent that greeted last, and one for each earlier start whose samples come
//! late; late ones never touch the live one. What has been decided stands in the vehicle's stream ([`Inside`]); a track only
//! remembers it while decisions are in flight, and agrees with the stream again when the vehicle is loaded.

use std::sync::Arc;

use remuda_contracts::business::vehicles::Home;
use remuda_contracts::geofences::{GeofenceId, GeofenceKind, Place};
use remuda_model::{Incarnation, SignalId};
use serde::{Deserialize, Serialize};

use super::event::{CrossingEvent, Step};
use super::index::{Fence, Fences};
use super::{Inside, limits};
use crate::event::{AlertFact, RuleId, Timeliness, VehicleEvent};
use crate::rules::Sample;
use crate::signals;
use crate::state::VehicleState;

const NS_PER_S: u64 = 1_000_000_000;

/// The fences, and where a vehicle belongs: what positions are held against.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The fences.
    pub fences: &'a Fences,
    /// Where the vehicle belongs; none when that is not known.
    pub home: Option<&'a Home>,
}

impl Surroundings<'_> {
    /// Whether a vehicle stands to a geofence as one of this kind no more: it is gone, another one, or not for the vehicle.
    fn is_gone(&self, id: GeofenceId, kind: GeofenceKind) -> bool {
        let fence = self.fences.get(&id).filter(|fence| fence.is_for(self.home) != Some(false));
        fence.is_none_or(|fence| fence.geofence.spec.kind != kind)
    }
}

/// A crossing that counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crossing {
    /// Which geofence.
    pub fence: GeofenceId,
    /// What it is for, or was when it was entered.
    pub kind: GeofenceKind,
    /// What happened.
    pub step: Step,
    /// How far beyond the edge the vehicle was found, m; negative inside.
    pub beyond_m: f64,
    /// How far beyond the edge it had to be, m.
    pub threshold_m: f64,
}

/// One start of the agent, followed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Track {
    incarnation: Option<Incarnation>,
    boot: u32,
    /// Raw values; each is told when it changes.
    latitude: Option<i64>,
    longitude: Option<i64>,
    inside: Vec<(GeofenceId, GeofenceKind)>,
    pending: Vec<Pending>,
}

/// A side that a vehicle is on and that does not count yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pending {
    fence: GeofenceId,
    since_ns: u64,
}

/// What is remembered of a vehicle's way between fences.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    rank: u32,
    live: Track,
    late: Vec<Track>,
}

impl Watch {
    /// Takes a row of a start of the agent that greeted as the `rank`th; crossings in order of the fences' ids, those of what is
    /// no longer there first.
    pub fn step(&mut self, around: Surroundings<'_>, rank: u32, sample: &Sample<'_>) -> Vec<Crossing> {
        if around.fences.is_empty() && self.live.inside.is_empty() {
            // Most organisations have none.
            self.pass(rank, sample);
            return Vec::new();
        }
        self.track(rank, sample.incarnation).step(around, sample)
    }

    /// Takes a row whose crossings were decided before, by fences that nobody knows any more.
    pub fn pass(&mut self, rank: u32, sample: &Sample<'_>) {
        let track = self.track(rank, sample.incarnation);
        track.look(sample);
        track.pending.clear();
    }

    /// Agrees with what the stream says.
    pub fn agree(&mut self, inside: &[Inside]) {
        self.live.inside = inside.iter().map(|inside| (inside.fence, inside.kind)).collect();
    }

    /// Drops where the vehicle was, but for what is `known` to be kept elsewhere; whether there was any. Which fences it is in
    /// stays: that stands in the stream.
    pub fn forget(&mut self, is_known: impl Fn(SignalId, i64) -> bool) -> bool {
        let live = &mut self.live;
        let is_gone = |signal: SignalId, raw: Option<i64>| raw.is_some_and(|raw| !is_known(signal, raw));
        let moved = is_gone(signals::LATITUDE, live.latitude) || is_gone(signals::LONGITUDE, live.longitude);
        if moved {
            (live.latitude, live.longitude) = (None, None);
            live.pending.clear();
        }
        let told_late = !self.late.is_empty();
        self.late.clear();
        moved || told_late
    }

    fn track(&mut self, rank: u32, incarnation: Incarnation) -> &mut Track {
        if self.live.incarnation == Some(incarnation) {
            return &mut self.live;
        }
        if rank >= self.rank {
            // It drives on from where it was.
            let inside = self.live.inside.clone();
            let next = Track { incarnation: Some(incarnation), inside, ..Track::default() };
            let before = std::mem::replace(&mut self.live, next);
            if before.incarnation.is_some() {
                self.remember(before);
            }
            self.rank = rank;
            return &mut self.live;
        }
        let known = self.late.iter().position(|track| track.incarnation == Some(incarnation));
        let at = known.unwrap_or_else(|| {
            self.remember(Track { incarnation: Some(incarnation), ..Track::default() });
            self.late.len() - 1
        });
        &mut self.late[at]
    }

    fn remember(&mut self, track: Track) {
        if self.late.len() >= limits::LATE_MAX {
            self.late.remove(0);
        }
        self.late.push(track);
    }
}

impl Track {
    /// Notes where the vehicle is; whether that is news.
    fn look(&mut self, sample: &Sample<'_>) -> bool {
        if sample.boot != self.boot {
            // The monotonic clock began again: what was timed by it is timed anew.
            self.boot = sample.boot;
            self.pending.iter_mut().for_each(|pending| pending.since_ns = sample.mono_ns);
        }
        let value = |signal: SignalId| {
            let found = sample.values.binary_search_by_key(&signal, |(signal, _)| *signal);
            found.ok().map(|at| sample.values[at].1)
        };
        let (latitude, longitude) = (value(signals::LATITUDE), value(signals::LONGITUDE));
        self.latitude = latitude.or(self.latitude);
        self.longitude = longitude.or(self.longitude);
        latitude.is_some() || longitude.is_some()
    }

    fn place(&self) -> Option<Place> {
        let e7 =
            |signal, raw: Option<i64>| raw.map(|raw| (signals::physical(signal, raw) * 1e7).round() as i32);
        Some(Place {
            latitude_e7: e7(signals::LATITUDE, self.latitude)?,
            longitude_e7: e7(signals::LONGITUDE, self.longitude)?,
        })
    }

    fn step(&mut self, around: Surroundings<'_>, sample: &Sample<'_>) -> Vec<Crossing> {
        let moved = self.look(sample);
        if !moved && self.pending.is_empty() {
            return Vec::new();
        }
        let Some(place) = self.place() else { return Vec::new() };
        let mut crossings = self.let_go(around);
        let mut seen: Vec<&Arc<Fence>> = around
            .fences
            .near(place)
            .filter(|fence| fence.is_for(around.home) == Some(true))
            .chain(self.inside.iter().filter_map(|(id, _)| around.fences.get(id)))
            .filter(|fence| fence.is_for(around.home).is_some())
            .collect();
        seen.sort_unstable_by_key(|fence| fence.id());
        seen.dedup_by_key(|fence| fence.id());
        self.pending.retain(|pending| seen.iter().any(|fence| fence.id() == pending.fence));
        for fence in seen {
            crossings.extend(self.hold(fence, place, sample.mono_ns));
        }
        crossings
    }

    /// Leaves what is not there any more, or not for this vehicle.
    fn let_go(&mut self, around: Surroundings<'_>) -> Vec<Crossing> {
        let is_gone = |(fence, kind): &mut (GeofenceId, GeofenceKind)| around.is_gone(*fence, *kind);
        let gone = self.inside.extract_if(.., is_gone);
        let released = |(fence, kind)| {
            let (beyond_m, threshold_m) = (0.0, 0.0);
            Crossing { fence, kind, step: Step::Released, beyond_m, threshold_m }
        };
        gone.map(released).collect()
    }

    /// Holds the vehicle against one fence.
    fn hold(&mut self, fence: &Fence, place: Place, now_ns: u64) -> Option<Crossing> {
        let (id, spec) = (fence.id(), &fence.geofence.spec);
        let was = self.inside.iter().any(|(inside, _)| *inside == id);
        let beyond_m = fence.area.beyond_m(place);
        let threshold_m = if was { f64::from(spec.hysteresis_m) } else { 0.0 };
        let is = beyond_m <= threshold_m;
        let waiting = self.pending.iter().position(|pending| pending.fence == id);
        if is == was {
            if let Some(at) = waiting {
                self.pending.swap_remove(at);
            }
            return None;
        }
        let since_ns = waiting.map_or(now_ns, |at| self.pending[at].since_ns);
        if now_ns.saturating_sub(since_ns) < u64::from(spec.dwell_s) * NS_PER_S {
            if waiting.is_none() && self.pending.len() < limits::INSIDE_MAX {
                self.pending.push(Pending { fence: id, since_ns });
            }
            return None;
        }
        if is && self.inside.len() >= limits::INSIDE_MAX {
            return None;
        }
        if let Some(at) = waiting {
            self.pending.swap_remove(at);
        }
        let step = if is { Step::Entered } else { Step::Left };
        if is {
            self.inside.push((id, spec.kind));
        } else {
            self.inside.retain(|(inside, _)| *inside != id);
        }
        Some(Crossing { fence: id, kind: spec.kind, step, beyond_m, threshold_m })
    }
}

/// The facts that follow from a change of the fences for a vehicle that says nothing: what is gone is left, and its alerts end.
pub fn let_go(state: &VehicleState, around: Surroundings<'_>, now_ms: i64) -> Vec<VehicleEvent> {
    let gone = state.inside.iter().filter(|inside| around.is_gone(inside.fence, inside.kind));
    let released = gone.map(|inside| {
        VehicleEvent::Crossed(CrossingEvent {
            fence: inside.fence,
            kind: inside.kind,
            step: Step::Released,
            incarnation: Incarnation(0),
            seq: 0,
            row: 0,
            sampled_ms: now_ms,
            timeliness: Timeliness::Timely,
        })
    });
    let ended = state.alerts.iter().filter(|fact| {
        let of =
            |kind| fact.cause.rule.geofence().filter(|id| fact.cause.rule == RuleId::of_geofence(kind, *id));
        let its = GeofenceKind::ALL.into_iter().find_map(|kind| Some((of(kind)?, kind)));
        its.is_some_and(|(fence, kind)| around.is_gone(fence, kind))
    });
    let ended = ended.map(|fact| {
        let (value, threshold, timeliness) = (0.0, 0.0, Timeliness::Timely);
        VehicleEvent::AlertCleared(AlertFact { value, threshold, sampled_ms: now_ms, timeliness, ..*fact })
    });
    released.chain(ended).collect()
}
