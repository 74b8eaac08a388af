//! A battery and what drains it.

use crate::dice::Dice;
use crate::limits::{CHARGE_EMPTY, CHARGE_ENOUGH};

const MASS_KG: f32 = 1_900.0;
/// Rolling resistance, N.
const ROLLING_N: f32 = 0.011 * MASS_KG * 9.81;
/// Half of air density, times drag coefficient, times front: N per (m/s)^2.
const DRAG: f32 = 0.5 * 1.2 * 0.62;
/// Heating, lights, computers, W.
const AUXILIARY_W: f32 = 650.0;

#[derive(Debug, Clone)]
pub(crate) struct Battery {
    capacity_j: f64,
    energy_j: f64,
    charger_w: f32,
    /// Positive drains.
    pub power_w: f32,
    pub temperature: f32,
}

impl Battery {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let capacity_j = f64::from(dice.between(32.0, 64.0)) * 3.6e6;
        // A few begin close to empty, so that low charge is seen at once.
        let charge = if dice.chance(0.12) { dice.between(12.0, 22.0) } else { dice.between(24.0, 92.0) };
        Self {
            capacity_j,
            energy_j: capacity_j * f64::from(charge) / 100.0,
            charger_w: dice.between(50_000.0, 120_000.0),
            power_w: 0.0,
            temperature: dice.between(14.0, 24.0),
        }
    }

    /// Percent.
    pub(crate) fn charge(&self) -> f64 {
        self.energy_j / self.capacity_j * 100.0
    }

    /// At about 160 Wh/km.
    pub(crate) fn range_m(&self) -> f64 {
        self.energy_j / 576.0
    }

    pub(crate) fn voltage(&self) -> f32 {
        330.0 + 0.8 * self.charge() as f32 - self.power_w / 4_000.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.charge() <= CHARGE_EMPTY
    }

    pub(crate) fn drive(&mut self, speed: f32, acceleration: f32, dt: f32) {
        let wheels = (MASS_KG * acceleration + ROLLING_N + DRAG * speed * speed) * speed;
        // Motor and inverter lose a tenth; braking gives back two thirds, and no more than the cells take.
        let drawn = if wheels > 0.0 { wheels / 0.9 } else { (wheels * 0.65).max(-70_000.0) };
        self.drain(drawn + AUXILIARY_W, dt);
    }

    pub(crate) fn rest(&mut self, dt: f32) {
        self.drain(0.0, dt);
    }

    /// Charges; true when it is enough.
    pub(crate) fn charge_up(&mut self, dt: f32) -> bool {
        // Above 70 percent the cells take less and less.
        let share = ((100.0 - self.charge()) as f32 / 30.0).clamp(0.1, 1.0);
        self.drain(-self.charger_w * share, dt);
        self.charge() >= CHARGE_ENOUGH
    }

    fn drain(&mut self, power_w: f32, dt: f32) {
        self.power_w = power_w;
        self.energy_j = (self.energy_j - f64::from(power_w * dt)).clamp(0.0, self.capacity_j);
        let warmed = 20.0 + power_w.abs() / 6_000.0;
        self.temperature += (warmed - self.temperature) * (dt / 600.0);
    }
}
