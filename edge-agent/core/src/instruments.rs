//! What the vehicle's instruments say now, whatever its policy collects: trip marks carry it.

use remuda_fences::{Sight, energy_wh};
use remuda_model::signal::{self, CHARGED_ENERGY, CONSUMED_ENERGY, LATITUDE, LONGITUDE, ODOMETER, SPEED};
use remuda_model::{Incarnation, Seq, SignalId};

use crate::intake::Reading;

const NS_PER_MS: u64 = 1_000_000;

/// Newest readings, raw.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Instruments {
    latitude: Option<i64>,
    longitude: Option<i64>,
    speed: Option<i64>,
    odometer: Option<i64>,
    charged: Option<i64>,
    consumed: Option<i64>,
    /// When place or speed were last told, ns of the monotonic clock.
    at_ns: u64,
}

fn physical(signal: SignalId, raw: Option<i64>) -> Option<f64> {
    Some(signal::by_id(signal)?.to_physical(raw?))
}

impl Instruments {
    /// Takes a reading. True when it says where the vehicle is, or how fast.
    pub(crate) fn take(&mut self, reading: Reading) -> bool {
        let (value, moves) = match reading.signal {
            LATITUDE => (&mut self.latitude, true),
            LONGITUDE => (&mut self.longitude, true),
            SPEED => (&mut self.speed, true),
            ODOMETER => (&mut self.odometer, false),
            CHARGED_ENERGY => (&mut self.charged, false),
            CONSUMED_ENERGY => (&mut self.consumed, false),
            _ => return false,
        };
        *value = Some(reading.raw);
        if moves {
            self.at_ns = self.at_ns.max(reading.mono_ns);
        }
        moves
    }

    /// All of it, once it is known where the vehicle is.
    pub(crate) fn sight(&self, samples: (Incarnation, Seq)) -> Option<Sight> {
        let degrees_e7 = |signal, raw| physical(signal, raw).map(|degrees| (degrees * 1e7).round() as i32);
        let energy = |signal, raw| physical(signal, raw);
        Some(Sight {
            at_ms: i64::try_from(self.at_ns / NS_PER_MS).unwrap_or(i64::MAX),
            latitude_e7: degrees_e7(LATITUDE, self.latitude)?,
            longitude_e7: degrees_e7(LONGITUDE, self.longitude)?,
            speed_e2: physical(SPEED, self.speed).map_or(0, |kmh| (kmh.abs() * 1e2).round() as u32),
            odometer_m: physical(ODOMETER, self.odometer).map(|metres| metres.max(0.0) as u64),
            energy_wh: energy_wh(
                energy(CHARGED_ENERGY, self.charged),
                energy(CONSUMED_ENERGY, self.consumed),
            ),
            samples: Some(samples),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sight_has_the_newest_of_each_instrument() {
        let mut instruments = Instruments::default();
        let mut tell = |signal, raw, ms: u64| {
            instruments.take(Reading { signal, raw, mono_ns: ms * NS_PER_MS });
            instruments.sight((Incarnation(7), 4))
        };
        assert_eq!(tell(LATITUDE, 601_699_000, 10), None, "half of a place");
        let bare = tell(LONGITUDE, -249_384_000, 10).expect("a place");
        assert_eq!((bare.latitude_e7, bare.longitude_e7, bare.at_ms), (601_699_000, -249_384_000, 10));
        assert_eq!((bare.speed_e2, bare.odometer_m, bare.energy_wh), (0, None, None));
        tell(SPEED, -5_012, 20);
        tell(ODOMETER, 1_234_567, 30);
        let full = tell(CONSUMED_ENERGY, 250, 40).expect("a place");
        assert_eq!((full.speed_e2, full.odometer_m, full.energy_wh), (5_012, Some(123_456), Some(-2_500)));
        assert_eq!((full.at_ms, full.samples), (20, Some((Incarnation(7), 4))));
        assert_eq!(tell(CHARGED_ENERGY, 1_000, 50).expect("a place").energy_wh, Some(7_500));
    }
}
