//! What OpenStreetMap's tags mean for a car (<https://wiki.openstreetmap.org/wiki/Key:access>, `Key:oneway`,
//! `Key:maxspeed`, `Relation:restriction`).

use crate::limits::{LIMIT_KMH_MAX, LIMIT_KMH_MIN, TEXT_BYTES_MAX};
use crate::raw::RestrictionKind;

const KMH_PER_MPH: f64 = 1.609_344;

/// How important a road is, the most important first; the word OpenStreetMap uses, links with their road.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RoadClass {
    /// Restricted access, separated carriageways.
    Motorway,
    /// The most important of the rest.
    Trunk,
    /// Between large towns.
    Primary,
    /// Between towns.
    Secondary,
    /// Between villages, or main streets of a quarter.
    Tertiary,
    /// The rest of the public network.
    Unclassified,
    /// Streets people live on.
    Residential,
    /// Shared with people on foot, at walking speed.
    LivingStreet,
    /// Access to buildings and car parks.
    Service,
}

impl RoadClass {
    fn parse(highway: &str) -> Option<Self> {
        Some(match highway.strip_suffix("_link").unwrap_or(highway) {
            "motorway" => Self::Motorway,
            "trunk" => Self::Trunk,
            "primary" => Self::Primary,
            "secondary" => Self::Secondary,
            "tertiary" => Self::Tertiary,
            "unclassified" | "road" => Self::Unclassified,
            "residential" => Self::Residential,
            "living_street" => Self::LivingStreet,
            "service" => Self::Service,
            _ => return None,
        })
    }

    /// The word used in GeoJSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Motorway => "motorway",
            Self::Trunk => "trunk",
            Self::Primary => "primary",
            Self::Secondary => "secondary",
            Self::Tertiary => "tertiary",
            Self::Unclassified => "unclassified",
            Self::Residential => "residential",
            Self::LivingStreet => "living_street",
            Self::Service => "service",
        }
    }

    /// The limit where no sign was mapped, km/h: what is usual inside towns.
    pub(crate) fn default_limit_kmh(self, link: bool, miles: bool) -> f64 {
        let mph = |v: f64| v * KMH_PER_MPH;
        match (self, link, miles) {
            (Self::Motorway, false, false) => 100.0,
            (Self::Motorway, true, false) => 60.0,
            (Self::Trunk, false, false) => 80.0,
            (Self::Primary | Self::Secondary | Self::Trunk, _, false) => 50.0,
            (Self::Tertiary | Self::Unclassified, _, false) => 50.0,
            (Self::Residential, _, false) => 40.0,
            (Self::Service, _, false) => 20.0,
            (Self::Motorway, false, true) => mph(65.0),
            (Self::Trunk, false, true) => mph(55.0),
            (Self::Motorway, true, true) => mph(40.0),
            (Self::Primary | Self::Trunk, _, true) => mph(45.0),
            (Self::Secondary, _, true) => mph(35.0),
            (Self::Tertiary | Self::Unclassified, _, true) => mph(30.0),
            (Self::Residential, _, true) => mph(25.0),
            (Self::Service, _, true) => mph(10.0),
            (Self::LivingStreet, _, _) => 20.0,
        }
    }
}

/// Tags of one element.
pub(crate) struct Tags<'a>(pub &'a [(&'a str, &'a str)]);

impl<'a> Tags<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(k, _)| *k == key).map(|(_, v)| *v)
    }

    /// The value of the most specific of these keys, the first one given.
    fn first(&self, keys: &[&str]) -> Option<&'a str> {
        keys.iter().find_map(|key| self.get(key))
    }
}

/// A limit as mapped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limit {
    pub kmh: f64,
    pub in_miles: bool,
}

/// What a drivable way's tags say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Drivable {
    pub class: RoadClass,
    pub link: bool,
    pub along: bool,
    pub against: bool,
    pub limit_along: Option<Limit>,
    pub limit_against: Option<Limit>,
    pub name: Option<String>,
    pub roundabout: bool,
}

/// Whether a way is a road by its class, whoever may use it.
pub(crate) fn is_road(tags: &Tags<'_>) -> bool {
    tags.get("highway").and_then(RoadClass::parse).is_some()
}

/// Reads a way's tags; `None` when a car may not use it.
pub(crate) fn drivable(tags: &Tags<'_>) -> Option<Drivable> {
    let highway = tags.get("highway")?;
    let class = RoadClass::parse(highway)?;
    if tags.get("area") == Some("yes") || !car_may_enter(tags) {
        return None;
    }
    // Emergency lanes and drive-through lanes lead nowhere a fleet would drive.
    if matches!(tags.get("service"), Some("emergency_access" | "drive-through")) {
        return None;
    }
    let roundabout = matches!(tags.get("junction"), Some("roundabout" | "circular"));
    let (along, against) = directions(tags, class, highway.ends_with("_link"), roundabout)?;
    let both = tags.first(&["maxspeed:motorcar", "maxspeed"]).and_then(parse_limit);
    let limit_along = tags.get("maxspeed:forward").and_then(parse_limit).or(both);
    let limit_against = tags.get("maxspeed:backward").and_then(parse_limit).or(both);
    let name = tags.first(&["name", "ref"]).map(shortened);
    Some(Drivable {
        class,
        link: highway.ends_with("_link"),
        along,
        against,
        limit_along,
        limit_against,
        name,
        roundabout,
    })
}

fn shortened(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Access for a private car: the most specific tag decides.
fn car_may_enter(tags: &Tags<'_>) -> bool {
    let value = tags.first(&["motorcar", "motor_vehicle", "vehicle", "access"]);
    !matches!(
        value,
        Some(
            "no" | "private"
                | "agricultural"
                | "forestry"
                | "agricultural;forestry"
                | "emergency"
                | "military"
                | "psv"
                | "bus"
                | "permit"
                | "use_sidepath"
        )
    )
}

fn directions(tags: &Tags<'_>, class: RoadClass, link: bool, roundabout: bool) -> Option<(bool, bool)> {
    let implied = roundabout || (class == RoadClass::Motorway && !link);
    match tags.first(&["oneway:motorcar", "oneway:motor_vehicle", "oneway:vehicle", "oneway"]) {
        Some("yes" | "true" | "1") => Some((true, false)),
        Some("-1" | "reverse") => Some((false, true)),
        Some("no" | "false" | "0") => Some((true, true)),
        // Its direction changes with the hour, which nothing here knows.
        Some("reversible") => None,
        _ => Some((true, !implied)),
    }
}

/// Parses `maxspeed`. The slower of several values counts.
pub(crate) fn parse_limit(text: &str) -> Option<Limit> {
    text.split(';').filter_map(parse_one_limit).min_by(|a, b| a.kmh.total_cmp(&b.kmh))
}

fn parse_one_limit(text: &str) -> Option<Limit> {
    let text = text.trim();
    let metric = |kmh: f64| Some(Limit { kmh: kmh.clamp(LIMIT_KMH_MIN, LIMIT_KMH_MAX), in_miles: false });
    match text {
        "walk" => return metric(7.0),
        "none" => return metric(130.0),
        _ => {}
    }
    if let Some((_, zone)) = text.split_once(':') {
        return match zone {
            "walk" | "living_street" => metric(20.0),
            "urban" => metric(50.0),
            "rural" => metric(80.0),
            "trunk" => metric(100.0),
            "motorway" => metric(120.0),
            _ => zone.strip_prefix("zone").and_then(|z| z.trim_matches(':').parse().ok()).and_then(metric),
        };
    }
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let value: f64 = text[..number_end].parse().ok().filter(|v: &f64| v.is_finite() && *v > 0.0)?;
    match text[number_end..].trim() {
        "" | "km/h" | "kmh" | "kph" => metric(value),
        "mph" => {
            Some(Limit { kmh: (value * KMH_PER_MPH).clamp(LIMIT_KMH_MIN, LIMIT_KMH_MAX), in_miles: true })
        }
        "knots" => metric(value * 1.852),
        _ => None,
    }
}

/// What a restriction relation's tags mean for a car; `None` when nothing.
pub(crate) fn restriction_kind(tags: &Tags<'_>) -> Option<RestrictionKind> {
    let exempt = tags.get("except").unwrap_or_default();
    if exempt.split(';').any(|mode| matches!(mode.trim(), "motorcar" | "motor_vehicle" | "vehicle")) {
        return None;
    }
    match tags.first(&["restriction:motorcar", "restriction:motor_vehicle", "restriction"])? {
        "no_u_turn" => Some(RestrictionKind::NoTurnBack),
        "no_left_turn" | "no_right_turn" | "no_straight_on" | "no_entry" | "no_exit" => {
            Some(RestrictionKind::No)
        }
        "only_left_turn" | "only_right_turn" | "only_straight_on" | "only_u_turn" => {
            Some(RestrictionKind::Only)
        }
        _ => None,
    }
}

/// Whether a node's barrier stops a car.
pub(crate) fn node_is_blocked(tags: &Tags<'_>) -> bool {
    let Some(barrier) = tags.get("barrier") else { return false };
    let access = tags.first(&["motorcar", "motor_vehicle", "vehicle", "access"]);
    match access {
        Some("yes" | "permissive" | "destination" | "designated" | "customers" | "delivery") => false,
        Some(_) => !car_may_enter(tags),
        None => matches!(
            barrier,
            "bollard" | "block" | "jersey_barrier" | "log" | "debris" | "planter" | "cycle_barrier" | "chain"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn road(tags: &[(&'static str, &'static str)]) -> Option<Drivable> {
        drivable(&Tags(tags))
    }

    fn kmh(text: &str) -> Option<f64> {
        parse_limit(text).map(|l| (l.kmh * 10.0).round() / 10.0)
    }

    #[test]
    fn limits_are_read_in_every_common_spelling() {
        assert_eq!(kmh("50"), Some(50.0));
        assert_eq!(kmh("50 km/h"), Some(50.0));
        assert_eq!(kmh("30 mph"), Some(48.3));
        assert_eq!(kmh("30mph"), Some(48.3));
        assert_eq!(kmh("walk"), Some(7.0));
        assert_eq!(kmh("none"), Some(130.0));
        assert_eq!(kmh("FI:urban"), Some(50.0));
        assert_eq!(kmh("DE:zone:30"), Some(30.0));
        assert_eq!(kmh("DE:zone30"), Some(30.0));
        assert_eq!(kmh("50;30"), Some(30.0));
        assert_eq!(kmh("900"), Some(LIMIT_KMH_MAX));
        for nonsense in ["", "signals", "fast", "-5", "0", "NaN", "50 bananas"] {
            assert_eq!(kmh(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn directions_follow_oneway_and_what_is_implied() {
        let both = |tags: &[(&'static str, &'static str)]| road(tags).map(|r| (r.along, r.against));
        assert_eq!(both(&[("highway", "residential")]), Some((true, true)));
        assert_eq!(both(&[("highway", "residential"), ("oneway", "yes")]), Some((true, false)));
        assert_eq!(both(&[("highway", "residential"), ("oneway", "-1")]), Some((false, true)));
        assert_eq!(both(&[("highway", "tertiary"), ("junction", "roundabout")]), Some((true, false)));
        assert_eq!(both(&[("highway", "motorway")]), Some((true, false)));
        assert_eq!(both(&[("highway", "motorway"), ("oneway", "no")]), Some((true, true)));
        assert_eq!(both(&[("highway", "motorway_link")]), Some((true, true)));
        assert_eq!(both(&[("highway", "primary"), ("oneway", "reversible")]), None);
    }

    #[test]
    fn the_most_specific_access_tag_decides() {
        assert!(road(&[("highway", "service"), ("access", "private")]).is_none());
        assert!(road(&[("highway", "service"), ("access", "private"), ("motorcar", "yes")]).is_some());
        assert!(road(&[("highway", "residential"), ("motor_vehicle", "no")]).is_none());
        assert!(road(&[("highway", "residential"), ("access", "destination")]).is_some());
        assert!(road(&[("highway", "footway")]).is_none());
        assert!(road(&[("highway", "construction")]).is_none());
        assert!(road(&[("highway", "service"), ("area", "yes")]).is_none());
    }

    #[test]
    fn restrictions_that_exempt_cars_are_none() {
        let kind = |tags: &[(&'static str, &'static str)]| restriction_kind(&Tags(tags));
        assert_eq!(kind(&[("restriction", "no_left_turn")]), Some(RestrictionKind::No));
        assert_eq!(kind(&[("restriction", "no_left_turn"), ("except", "psv;motorcar")]), None);
        assert_eq!(kind(&[("restriction:hgv", "no_left_turn")]), None);
        assert_eq!(kind(&[("restriction", "only_straight_on")]), Some(RestrictionKind::Only));
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let long = "ä".repeat(400);
        assert_eq!(shortened(&long).len(), TEXT_BYTES_MAX);
    }
}
