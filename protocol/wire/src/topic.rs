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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use remuda_model::SHARDS;

    use super::*;

    fn topic() -> impl Strategy<Value = Topic> {
        let channel = prop_oneof![
            Just(Channel::Session),
            Just(Channel::Lane(Lane::Events)),
            Just(Channel::Lane(Lane::Samples)),
            Just(Channel::Live),
        ];
        ("[A-Za-z0-9]{1,48}", 0..SHARDS, channel, any::<bool>()).prop_map(|(vehicle, shard, channel, up)| {
            let vehicle = VehicleId::new(&vehicle).expect("an id");
            let shard = ShardId::new(shard).expect("below SHARDS");
            if up { Topic::Up { vehicle, shard, channel } } else { Topic::Down { vehicle } }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_parsed(topic in topic()) {
            prop_assert_eq!(Topic::parse(&topic.to_string()), Some(topic));
        }

        #[test]
        fn what_is_parsed_is_written(
            head in prop_oneof![Just("remuda/v1/"), Just("remuda/v2/"), Just("/remuda/v1/"), Just("")],
            levels in proptest::collection::vec(
                prop_oneof![
                    Just("up".to_owned()), Just("down".to_owned()), Just("live".to_owned()), Just("events".to_owned()),
                    Just("session".to_owned()), "[A-Za-z0-9]{0,50}", "[0-9+]{1,5}", any::<String>(),
                ],
                0..6,
            ),
        ) {
            let text = format!("{head}{}", levels.join("/"));
            if let Some(topic) = Topic::parse(&text) {
                prop_assert_eq!(topic.to_string(), text);
            }
        }

        #[test]
        fn a_changed_topic_is_another_or_none(topic in topic(), at in any::<prop::sample::Index>(), with in any::<char>()) {
            let mut text: Vec<char> = topic.to_string().chars().collect();
            let at = at.index(text.len());
            text[at] = with;
            let text: String = text.into_iter().collect();
            if let Some(other) = Topic::parse(&text) {
                prop_assert_eq!(other.to_string(), text);
            }
        }
    }

    #[test]
    fn hostile_topics_are_refused() {
        for text in [
            "",
            "/",
            "remuda/v1",
            "remuda/v1/",
            "remuda/v1//down",
            "remuda/v1/car1",
            "remuda/v1/car1/",
            "remuda/v1/car1/down/",
            "remuda/v1/car1/down/x",
            "remuda/v1/car1/up",
            "remuda/v1/car1/up/1",
            "remuda/v1/car1/up/1/",
            "remuda/v1/car1/up/1/events/",
            "remuda/v1/car1/up/01/events",
            "remuda/v1/car1/up/+1/events",
            "remuda/v1/car1/up/-1/events",
            "remuda/v1/car1/up/1024/events",
            "remuda/v1/car1/up/65536/events",
            "remuda/v1/car1/up/99999999999999999999/events",
            "remuda/v1/car1/up/+/events",
            "remuda/v1/car1/up/1/Events",
            "remuda/v1/car1/up/1/#",
            "remuda/v1/+/down",
            "remuda/v1/#",
            "remuda/v1/car 1/down",
            "remuda/v1/car\u{0}/down",
            "remuda/v1/c\u{e4}r/down",
            "remuda/v1/../down",
            "Remuda/v1/car1/down",
            "remuda/v2/car1/down",
            "$SYS/remuda/v1/car1/down",
            " remuda/v1/car1/down",
            "remuda/v1/car1/down\n",
            "$share/g/remuda/v1/car1/down",
        ] {
            assert_eq!(Topic::parse(text), None, "{text:?}");
        }
        let long = "x".repeat(VehicleId::MAX_LEN + 1);
        assert_eq!(Topic::parse(&format!("remuda/v1/{long}/down")), None);
    }

    #[test]
    fn topics_are_pinned() {
        let vehicle = VehicleId::new("car1").expect("an id");
        let shard = ShardId::of(&vehicle);
        assert_eq!(Topic::Down { vehicle }.to_string(), "remuda/v1/car1/down");
        for (channel, text) in [
            (Channel::Session, "session"),
            (Channel::Lane(Lane::Events), "events"),
            (Channel::Lane(Lane::Samples), "samples"),
            (Channel::Live, "live"),
        ] {
            assert_eq!(Topic::up(vehicle, channel).to_string(), format!("remuda/v1/car1/up/{shard}/{text}"));
        }
    }
}
