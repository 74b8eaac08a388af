//! Topics: built and parsed by one type whose two functions are inverses.
//!
//! `remuda/v1/{vehicle}/up/{shard}/{channel}` and `remuda/v1/{vehicle}/down`. Vehicle first, so that a broker's
//! `pattern readwrite remuda/v1/%u/#` confines it.

use std::fmt;

use remuda_model::{Lane, ShardId, VehicleId};

/// The last level of an `up` topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Hello and Farewell.
    Session,
    /// Frames of a durable lane.
    Lane(Lane),
    /// Newest values, lossy.
    Live,
}

/// A topic of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// From the vehicle.
    Up {
        /// Who speaks.
        vehicle: VehicleId,
        /// Its shard as the vehicle computed it; the door checks it.
        shard: ShardId,
        /// Which channel.
        channel: Channel,
    },
    /// To the vehicle.
    Down {
        /// Who is spoken to.
        vehicle: VehicleId,
    },
}

impl Topic {
    /// The `up` topic of a vehicle, in its own shard.
    pub fn up(vehicle: VehicleId, channel: Channel) -> Self {
        Self::Up { vehicle, shard: ShardId::of(&vehicle), channel }
    }

    /// Parses what `Display` writes; `None` for anything else, also for a shard with leading zeros.
    pub fn parse(text: &str) -> Option<Self> {
        let mut levels = text.strip_prefix("remuda/v1/")?.split('/');
        let vehicle = VehicleId::new(levels.next()?).ok()?;
        let topic = match levels.next()? {
            "down" => Self::Down { vehicle },
            "up" => {
                let number = levels.next()?;
                let shard = ShardId::new(number.parse().ok()?)?;
                if shard.to_string() != number {
                    return None;
                }
                let channel = match levels.next()? {
                    "session" => Channel::Session,
                    "events" => Channel::Lane(Lane::Events),
                    "samples" => Channel::Lane(Lane::Samples),
                    "live" => Channel::Live,
                    _ => return None,
                };
                Self::Up { vehicle, shard, channel }
            }
            _ => return None,
        };
        levels.next().is_none().then_some(topic)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up { vehicle, shard, channel } => {
                let channel = match channel {
                    Channel::Session => "session",
                    Channel::Lane(lane) => lane.as_str(),
                    Channel::Live => "live",
                };
                write!(f, "remuda/v1/{vehicle}/up/{shard}/{channel}")
            }
            Self::Down { vehicle } => write!(f, "remuda/v1/{vehicle}/down"),
        }
    }
}
