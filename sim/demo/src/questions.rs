//! Vehicles that ask a person now and then, from a seed. Nobody answers in the demo unless somebody does: then they take
//! their safe default.

use std::sync::Arc;
use std::time::Duration;

use remuda_fleet::FleetHandle;
use remuda_model::VehicleId;
use remuda_wire::Question;
use tokio::sync::watch;

/// Pause between two questions of the whole fleet: enough to see one at any time, few enough that rides are not late.
const EVERY: Duration = Duration::from_secs(30);
/// How long a vehicle waits for an answer, ms.
const TIMEOUT_MS: u32 = 45_000;

/// What vehicles ask, and what they can do; the first is the safe default.
const QUESTIONS: [(&str, [&str; 2]); 4] = [
    (
        "A delivery van stands in my lane with its lights flashing. May I pass it?",
        ["wait", "pass on the left"],
    ),
    (
        "The road ahead is closed by cones, and a worker waves me on. Shall I follow?",
        ["wait", "follow the worker"],
    ),
    ("My rider's pick-up place is blocked. Where shall I stop?", ["stop here", "stop after the junction"]),
    ("A traffic light has been dark for a minute. How shall I cross?", ["wait", "cross as at a stop sign"]),
];

/// The question of this number: the same number, seed and run, the same question of the same vehicle.
fn question(seed: u64, run: u64, number: u64, vehicles: &[VehicleId]) -> (VehicleId, Question) {
    let dice = mix(seed ^ mix(number));
    let vehicle = vehicles[(dice % vehicles.len() as u64) as usize];
    let (text, options) = QUESTIONS[(dice >> 32) as usize % QUESTIONS.len()];
    // Another run over the same data asks anew: ids are never used twice.
    let id = (u128::from(mix(run)) << 64 | u128::from(mix(seed) ^ number)).to_be_bytes();
    let options = options.map(str::to_owned).to_vec();
    let question = Question {
        id,
        text: text.to_owned(),
        options,
        safe_default: 0,
        timeout_ms: TIMEOUT_MS,
        waited_ms: 0,
        position: None,
    };
    (vehicle, question)
}

/// SplitMix64's mixing (Steele, Lea, Flood 2014).
const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Has vehicles ask until it is stopped. `run` tells this run from others over the same data.
pub(crate) async fn ask(
    fleet: Arc<FleetHandle>,
    vehicles: Vec<VehicleId>,
    (seed, run): (u64, u64),
    mut stop: watch::Receiver<bool>,
) {
    for number in 0.. {
        // The first comes soon, so that a short look shows one.
        let pause = if number == 0 { EVERY / 6 } else { EVERY };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
        let (vehicle, question) = question(seed, run, number, &vehicles);
        fleet.ask(&vehicle, question);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn questions_follow_from_the_seed_and_can_be_asked() {
        let vehicles: Vec<VehicleId> =
            ["V1", "V2", "V3"].map(|id| VehicleId::new(id).expect("an id")).to_vec();
        let mut ids = BTreeSet::new();
        for number in 0..200 {
            let (vehicle, asked) = question(7, 1, number, &vehicles);
            assert_eq!((vehicle, asked.clone()), question(7, 1, number, &vehicles));
            assert_eq!(asked.fault(), None);
            assert!(ids.insert(asked.id) && ids.insert(question(7, 2, number, &vehicles).1.id));
        }
    }
}
