//! How fast a driver dares to go, from what lies ahead.

use remuda_roads::EdgeId;

use crate::limits::BRAKE_COMFORTABLE;
use crate::streets::{Rule, Streets};

/// Speed at which one can look before crossing, m/s.
const LOOK_SPEED: f32 = 5.5;
/// Where one stands before a line, m.
pub(crate) const LINE_MARGIN_M: f32 = 1.0;
/// Braking past which a driver rather passes a signal that just turned, m/s^2.
const BRAKE_FOR_SIGNAL_MAX: f32 = 3.5;

/// What lies ahead of a vehicle.
pub(crate) struct Ahead<'a> {
    pub streets: &'a Streets,
    pub time_ms: u64,
    /// The edge it is on and those after it.
    pub edges: &'a [EdgeId],
    /// Distance driven on the first of them, m.
    pub offset: f32,
    /// Where on the last of them it wants to be, m.
    pub end_offset: f32,
    pub speed: f32,
    /// Share of the limit this driver keeps to.
    pub pace: f32,
    /// It has already stopped at the end of its edge.
    pub has_stopped: bool,
    pub dt: f32,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Advice {
    /// Fastest speed at the end of this step, m/s.
    pub speed: f32,
    /// Distance to a line that must not be passed now, m.
    pub line: Option<f32>,
}

impl Ahead<'_> {
    pub(crate) fn advise(&self) -> Advice {
        // What cannot matter before one has braked is not looked at.
        let horizon = self.speed * self.speed / (2.0 * BRAKE_COMFORTABLE) + 2.0 * self.speed * self.dt + 12.0;
        let mut advice = Advice { speed: f32::INFINITY, line: None };
        let mut passed = -self.offset;
        for (at, edge) in self.edges.iter().enumerate() {
            let street = self.streets.street(*edge);
            let limit = street.limit * self.pace;
            advice.speed = advice.speed.min(if at == 0 { limit } else { self.reach(limit, passed) });
            for bend in self.streets.bends(*edge) {
                let distance = passed + bend.along;
                if distance >= 0.0 && distance <= horizon {
                    advice.speed = advice.speed.min(self.reach(bend.speed * self.pace, distance));
                }
            }
            let Some(next) = self.edges.get(at + 1) else {
                let distance = passed + self.end_offset;
                self.stop_at(distance, &mut advice);
                return advice;
            };
            passed += street.length;
            if passed > horizon {
                return advice;
            }
            let turn = self.streets.turn_speed(*edge, *next) * self.pace;
            advice.speed = advice.speed.min(self.reach(turn, passed));
            match street.rule {
                Rule::Free => {}
                Rule::Look => advice.speed = advice.speed.min(self.reach(LOOK_SPEED, passed)),
                Rule::Stop if at == 0 && self.has_stopped => {}
                Rule::Stop => return self.stopping_at(passed, advice),
                Rule::Signal if self.must_wait(*edge, passed) => return self.stopping_at(passed, advice),
                Rule::Signal => {}
            }
        }
        advice
    }

    fn must_wait(&self, edge: EdgeId, distance: f32) -> bool {
        let distance = (distance - LINE_MARGIN_M).max(0.01);
        let can_stop = self.speed * self.speed / (2.0 * distance) < BRAKE_FOR_SIGNAL_MAX;
        can_stop && !self.streets.is_green(edge, self.time_ms)
    }

    fn stopping_at(&self, line: f32, mut advice: Advice) -> Advice {
        self.stop_at(line - LINE_MARGIN_M, &mut advice);
        advice
    }

    fn stop_at(&self, distance: f32, advice: &mut Advice) {
        advice.line = Some(distance);
        advice.speed = advice.speed.min(self.reach(0.0, distance));
    }

    /// Speed now from which one can brake to `speed` within `distance`, one step from now.
    fn reach(&self, speed: f32, distance: f32) -> f32 {
        let left = (distance - self.speed * self.dt).max(0.0);
        (speed * speed + 2.0 * BRAKE_COMFORTABLE * left).sqrt()
    }
}
