//! One vehicle: where it is, what it does, what wears.

use remuda_model::VehicleId;
use remuda_roads::{EdgeId, Place, Position, Route};

use crate::battery::Battery;
use crate::dice::Dice;
use crate::driver::{Ahead, LINE_MARGIN_M};
use crate::limits::{
    ACCELERATION_MAX, BRAKE_COMFORTABLE, BRAKE_HARSH, CHARGE_LOW, HARSH_PER_SECOND, HARSH_SPEED_MIN,
};
use crate::streets::{Rule, Streets};

/// What a vehicle does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Stands, nobody in it.
    Parked,
    /// Its driver looks for the way.
    Planning,
    /// Under way, also while it waits at a signal.
    Driving,
    /// Stands at a charger.
    Charging,
}

/// A simulated vehicle.
#[derive(Debug, Clone)]
pub struct Vehicle {
    pub(crate) id: VehicleId,
    pub(crate) number: u64,
    pub(crate) dice: Dice,
    pub(crate) activity: Activity,
    /// Time until something else is done, ms.
    wait_ms: u64,
    /// It goes to a charger, or asks for the way to one.
    pub(crate) wants_charge: bool,
    route: Vec<EdgeId>,
    leg: usize,
    end_offset: f32,
    edge: EdgeId,
    offset: f64,
    /// Straight piece of the edge it is on; only ever searched forwards.
    piece: usize,
    pub(crate) speed: f32,
    pub(crate) acceleration: f32,
    pub(crate) yaw_rate: f32,
    heading: f32,
    pub(crate) position: Position,
    pace: f32,
    vigour: f32,
    /// Set by a command, m/s.
    speed_cap: f32,
    /// Where its driver was sent to, until the way there is found.
    pub(crate) errand: Option<Place>,
    /// Its driver goes where somebody says, and waits there.
    held: bool,
    stood_ms: u64,
    has_stopped: bool,
    harsh_ms: u64,
    pub(crate) battery: Battery,
    pub(crate) odometer_m: f64,
    pub(crate) ambient: f32,
    pub(crate) tyre_temperature: f32,
    pub(crate) tyre_pressure: [f32; 4],
    pub(crate) motor_temperature: f32,
}

/// How long one stands at a stop sign, ms.
const STOP_SIGN_MS: u64 = 1_500;

impl Vehicle {
    pub(crate) fn new(number: usize, id: VehicleId, seed: u64, place: Place, streets: &Streets) -> Self {
        let mut dice = Dice::new(seed, number as u64);
        let battery = Battery::new(&mut dice);
        let wait_ms =
            if dice.chance(0.8) { dice.between(0.0, 3_000.0) } else { dice.between(3_000.0, 60_000.0) };
        let position = streets.network.position(place.edge, place.offset_m);
        let tyre_pressure = [(); 4].map(|()| dice.between(228.0, 262.0));
        Self {
            id,
            number: number as u64,
            activity: Activity::Parked,
            wait_ms: wait_ms as u64,
            wants_charge: false,
            route: Vec::new(),
            leg: 0,
            end_offset: 0.0,
            edge: place.edge,
            offset: place.offset_m,
            piece: 0,
            speed: 0.0,
            acceleration: 0.0,
            yaw_rate: 0.0,
            heading: position.heading as f32,
            position,
            pace: dice.between(0.84, 0.97),
            vigour: dice.between(1.1, ACCELERATION_MAX),
            speed_cap: f32::INFINITY,
            errand: None,
            held: false,
            stood_ms: 0,
            has_stopped: false,
            harsh_ms: 0,
            battery,
            odometer_m: f64::from(dice.between(1_000.0, 90_000.0)) * 1_000.0,
            ambient: 14.0,
            tyre_temperature: 15.0,
            tyre_pressure,
            motor_temperature: 18.0,
            dice,
        }
    }

    /// Its id.
    pub fn id(&self) -> VehicleId {
        self.id
    }

    pub(crate) fn limit_speed(&mut self, kmh: Option<u16>) {
        self.speed_cap = kmh.map_or(f32::INFINITY, |kmh| f32::from(kmh) / 3.6);
    }

    /// Sends its driver somewhere, from whatever they do; true when a way must be looked for at once.
    pub(crate) fn send(&mut self, place: Place) -> bool {
        (self.errand, self.held, self.wants_charge) = (Some(place), true, false);
        match self.activity {
            Activity::Parked | Activity::Charging => {
                self.activity = Activity::Parked;
                self.wait_ms = 0;
                false
            }
            Activity::Driving => true,
            Activity::Planning => false,
        }
    }

    /// Lets its driver do as they like again.
    pub(crate) fn release(&mut self) {
        (self.errand, self.held) = (None, false);
        if self.activity == Activity::Parked {
            self.park();
        }
    }

    /// What it does.
    pub fn activity(&self) -> Activity {
        self.activity
    }

    /// Where it is and where its road points.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Where on the network it is.
    pub fn place(&self) -> Place {
        Place { edge: self.edge, offset_m: self.offset }
    }

    /// True speed, km/h.
    pub fn speed_kmh(&self) -> f64 {
        f64::from(self.speed) * 3.6
    }

    /// True acceleration along the road, m/s^2.
    pub fn acceleration(&self) -> f64 {
        f64::from(self.acceleration)
    }

    /// State of charge, percent.
    pub fn charge(&self) -> f64 {
        self.battery.charge()
    }

    /// Sets off.
    pub(crate) fn depart(&mut self, route: Route) {
        self.end_offset = route.end_offset_m as f32;
        self.route = route.edges;
        self.leg = 0;
        self.has_stopped = false;
        self.activity = Activity::Driving;
    }

    /// Lives for `dt_ms`; true when it has begun to look for a way.
    pub(crate) fn step(&mut self, streets: &Streets, time_ms: u64, dt_ms: u64) -> bool {
        let dt = dt_ms as f32 / 1_000.0;
        match self.activity {
            Activity::Driving => self.drive(streets, time_ms, dt_ms),
            Activity::Charging => {
                if self.battery.charge_up(dt) {
                    self.park();
                }
            }
            Activity::Planning => self.battery.rest(dt),
            Activity::Parked => {
                self.battery.rest(dt);
                self.wait_ms = self.wait_ms.saturating_sub(dt_ms);
                if self.wait_ms == 0 {
                    return self.get_in();
                }
            }
        }
        let warmed = self.ambient + self.speed * 0.9;
        self.tyre_temperature += (warmed - self.tyre_temperature) * (dt / 400.0);
        let motor = self.ambient + 8.0 + self.battery.power_w.abs() / 900.0;
        self.motor_temperature += (motor - self.motor_temperature) * (dt / 300.0);
        false
    }

    fn get_in(&mut self) -> bool {
        if self.battery.is_empty() {
            self.activity = Activity::Charging;
            return false;
        }
        self.wants_charge = !self.held && self.battery.charge() < CHARGE_LOW;
        self.activity = Activity::Planning;
        true
    }

    fn park(&mut self) {
        self.activity = Activity::Parked;
        // Whoever was sent waits until told what next.
        self.wait_ms = if self.held { u64::MAX } else { self.dice.between(4_000.0, 45_000.0) as u64 };
    }

    fn arrive(&mut self) {
        self.speed = 0.0;
        self.acceleration = 0.0;
        self.yaw_rate = 0.0;
        self.route.clear();
        if std::mem::take(&mut self.wants_charge) {
            self.activity = Activity::Charging;
        } else {
            self.park();
        }
    }

    fn drive(&mut self, streets: &Streets, time_ms: u64, dt_ms: u64) {
        let dt = dt_ms as f32 / 1_000.0;
        let ahead = Ahead {
            streets,
            time_ms,
            edges: &self.route[self.leg..],
            offset: self.offset as f32,
            end_offset: self.end_offset,
            speed: self.speed,
            pace: self.pace,
            has_stopped: self.has_stopped,
            dt,
        };
        let advice = ahead.advise();
        let frightened = self.is_frightened(dt, dt_ms);
        let wanted = (advice.speed.min(self.speed_cap) - self.speed) / dt;
        // A limit is no reason to brake hard.
        let wanted = if advice.speed > self.speed { wanted.max(-BRAKE_COMFORTABLE) } else { wanted };
        let acceleration = if frightened { -BRAKE_HARSH } else { wanted.clamp(-BRAKE_HARSH, self.vigour) };
        let speed = (self.speed + acceleration * dt).max(0.0);
        let mut distance = f64::from((self.speed + speed) / 2.0 * dt);
        let mut new_speed = speed;
        if let Some(line) = advice.line {
            // At the line one stands, whatever rounding says.
            if distance >= f64::from(line) || (speed < 0.5 && line < LINE_MARGIN_M) {
                distance = distance.min(f64::from(line.max(0.0)));
                new_speed = 0.0;
            }
        }
        self.acceleration = (new_speed - self.speed) / dt;
        self.speed = new_speed;
        self.odometer_m += distance;
        self.battery.drive(self.speed, self.acceleration, dt);
        self.advance(streets, distance);
        self.look_around(streets, dt);
        self.wait_at_the_end(streets, dt_ms);
    }

    /// Something runs into the road, now and then.
    fn is_frightened(&mut self, dt: f32, dt_ms: u64) -> bool {
        if self.harsh_ms == 0 && self.speed > HARSH_SPEED_MIN && self.dice.chance(HARSH_PER_SECOND * dt) {
            self.harsh_ms = 1_000 + self.dice.below(600) as u64;
        }
        let frightened = self.harsh_ms > 0 && self.speed > 0.5;
        self.harsh_ms = if frightened { self.harsh_ms.saturating_sub(dt_ms) } else { 0 };
        frightened
    }

    fn advance(&mut self, streets: &Streets, distance: f64) {
        self.offset += distance;
        loop {
            let length = streets.network.edge(self.edge).length_m;
            if self.offset <= length || self.leg + 1 >= self.route.len() {
                self.offset = self.offset.min(length);
                return;
            }
            self.offset -= length;
            self.leg += 1;
            self.edge = self.route[self.leg];
            self.piece = 0;
            self.has_stopped = false;
            self.stood_ms = 0;
        }
    }

    /// Position and heading after a move.
    fn look_around(&mut self, streets: &Streets, dt: f32) {
        let line = streets.network.vertices(self.edge);
        self.piece = self.piece.min(line.len() - 2);
        while self.piece + 2 < line.len() && line[self.piece + 1].along_m <= self.offset {
            self.piece += 1;
        }
        let (a, b) = (&line[self.piece], &line[self.piece + 1]);
        let share = ((self.offset - a.along_m) / (b.along_m - a.along_m).max(1e-9)).clamp(0.0, 1.0);
        let east = (b.longitude - a.longitude) * a.latitude.to_radians().cos();
        let heading = east.atan2(b.latitude - a.latitude).to_degrees().rem_euclid(360.0);
        self.position = Position {
            latitude: a.latitude + (b.latitude - a.latitude) * share,
            longitude: a.longitude + (b.longitude - a.longitude) * share,
            heading,
        };
        // The body turns over some metres, not at a corner of the map; that is what gyroscope and steering feel.
        let turn = (heading as f32 - self.heading + 540.0).rem_euclid(360.0) - 180.0;
        let fastest = (self.speed * 12.0).min(45.0);
        self.yaw_rate = (turn * 1.5).clamp(-fastest, fastest);
        self.heading = (self.heading + self.yaw_rate * dt).rem_euclid(360.0);
    }

    fn wait_at_the_end(&mut self, streets: &Streets, dt_ms: u64) {
        if self.speed > 0.0 {
            self.stood_ms = 0;
            return;
        }
        self.stood_ms += dt_ms;
        if self.leg + 1 == self.route.len() {
            let left = f64::from(self.end_offset) - self.offset;
            if left < 2.0 {
                self.arrive();
            }
            return;
        }
        let street = streets.street(self.edge);
        let left = f64::from(street.length) - self.offset;
        if street.rule == Rule::Stop && left < 3.0 && self.stood_ms >= STOP_SIGN_MS {
            self.has_stopped = true;
        }
    }
}
