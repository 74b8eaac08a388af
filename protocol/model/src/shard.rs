//! Virtual shards (DESIGN D2): fixed for ever, part of every topic, easy to compute in any language.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::VehicleId;

/// How many shards there are. Burnt into vehicles, so it never changes.
pub const SHARDS: u16 = 1024;

/// One of the 1,024 shards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardId(u16);

impl ShardId {
    /// The shard with this number, if there is one.
    pub const fn new(number: u16) -> Option<Self> {
        if number < SHARDS { Some(Self(number)) } else { None }
    }

    /// `FNV-1a-64(vehicle id) mod 1024`.
    pub fn of(vehicle: &VehicleId) -> Self {
        Self((fnv1a_64(vehicle.as_str().as_bytes()) % u64::from(SHARDS)) as u16)
    }

    /// 0 to 1,023.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard-{:04}", self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>).
pub const fn fnv1a_64(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // From the test vectors of the FNV page (test_fnv.c).
        for (text, hash) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("b", 0xaf63_df4c_8601_f1a5),
            ("c", 0xaf63_de4c_8601_eff2),
            ("foo", 0xdcb2_7518_fed9_d577),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(fnv1a_64(text.as_bytes()), hash, "{text:?}");
        }
    }

    #[test]
    fn shards_of_vehicles_never_change() {
        for (vehicle, shard) in PINNED {
            assert_eq!(ShardId::of(&VehicleId::new(vehicle).expect("an id")).number(), shard, "{vehicle}");
        }
        assert_eq!(ShardId::new(SHARDS - 1).map(ShardId::number), Some(1023));
        assert_eq!(ShardId::new(SHARDS), None);
    }

    const PINNED: [(&str, u16); 6] = [
        ("A", 748),
        ("v1", 296),
        ("V000001", 430),
        ("vehicle7", 840),
        ("WAGON2Ab9", 843),
        ("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", 421),
    ];
}
