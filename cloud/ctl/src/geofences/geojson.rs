//! Geofences as GeoJSON (RFC 7946): a polygon as a Polygon of one ring, a circle as a Point with `radiusM`.

use prost_types::Duration;
use remuda_api::geofences::v1::geofence::{Part, Shape};
use remuda_api::geofences::v1::{Circle, Geofence, Kind, Point, Polygon};
use serde_json::{Map, Value, json};

use super::word;
use crate::text::id;

/// Writes them.
pub(super) fn write(geofences: &[Geofence]) -> Value {
    let features: Vec<Value> = geofences.iter().map(feature).collect();
    json!({ "type": "FeatureCollection", "features": features })
}

fn feature(geofence: &Geofence) -> Value {
    let at = |point: &Point| json!([point.longitude, point.latitude]);
    let mut properties = json!({
        "displayName": geofence.display_name,
        "kind": word(geofence.kind()),
        "dwellS": super::dwell(geofence),
        "hysteresisM": geofence.hysteresis_m,
        "disabled": geofence.disabled,
    });
    match &geofence.part {
        Some(Part::Fleet(fleet)) => properties["fleet"] = json!(fleet),
        Some(Part::Depot(depot)) => properties["depot"] = json!(depot),
        None => {}
    }
    let geometry = match &geofence.shape {
        Some(Shape::Circle(circle)) => {
            properties["radiusM"] = json!(circle.radius_m);
            json!({ "type": "Point", "coordinates": circle.center.as_ref().map(at) })
        }
        Some(Shape::Polygon(polygon)) => {
            let ring: Vec<Value> = polygon.points.iter().chain(polygon.points.first()).map(at).collect();
            json!({ "type": "Polygon", "coordinates": [ring] })
        }
        None => Value::Null,
    };
    json!({ "type": "Feature", "id": id(&geofence.name), "geometry": geometry, "properties": properties })
}

/// A geofence as a file tells of it.
#[derive(Debug, PartialEq)]
pub(super) struct Feature {
    /// Its id.
    pub id: String,
    /// What is not said of it has its default.
    pub geofence: Geofence,
    /// The fields that are said, as in an update mask.
    pub said: Vec<&'static str>,
}

/// Reads geofences.
///
/// # Errors
/// The first feature that is none, and why.
pub(super) fn read(text: &str) -> Result<Vec<Feature>, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if document["type"] != "FeatureCollection" {
        return Err("this is no GeoJSON FeatureCollection".into());
    }
    let features = document["features"].as_array().ok_or("the collection has no features")?;
    let read = |(n, feature): (usize, &Value)| {
        geofence(feature).map_err(|problem| format!("feature {}: {problem}", n + 1))
    };
    features.iter().enumerate().map(read).collect()
}

/// What a feature says besides its place. Other programs write null for what is not said.
struct Properties<'a>(Option<&'a Map<String, Value>>);

impl<'a> Properties<'a> {
    fn of(feature: &'a Value) -> Result<Self, String> {
        match &feature["properties"] {
            Value::Null => Ok(Self(None)),
            Value::Object(properties) => Ok(Self(Some(properties))),
            _ => Err("its `properties` are no object".into()),
        }
    }

    fn said<T>(
        &self,
        name: &str,
        what: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let value = self.0.and_then(|properties| properties.get(name)).filter(|value| !value.is_null());
        let read = value.map(|value| read(value).ok_or_else(|| format!("its property `{name}` is {what}")));
        read.transpose()
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        self.said(name, "no text", Value::as_str)
    }

    fn number(&self, name: &str) -> Result<Option<u32>, String> {
        self.said(name, "no whole number", |value| value.as_u64().and_then(|n| u32::try_from(n).ok()))
    }

    fn switch(&self, name: &str) -> Result<Option<bool>, String> {
        self.said(name, "neither true nor false", Value::as_bool)
    }
}

fn geofence(feature: &Value) -> Result<Feature, String> {
    let properties = Properties::of(feature)?;
    let id = feature["id"].as_str().or(properties.text("id")?);
    let id = id.ok_or("its `id` is missing: the geofence's")?.to_owned();
    let kind = properties.text("kind")?;
    let kind = kind.ok_or("its property `kind` is missing: keep-in, keep-out or notify")?;
    let kind = [Kind::KeepIn, Kind::KeepOut, Kind::Notify].into_iter().find(|known| word(*known) == kind);
    let part = match (properties.text("fleet")?, properties.text("depot")?) {
        (Some(_), Some(_)) => return Err("it is for a fleet or a depot, not for both".into()),
        (Some(fleet), None) => Some(Part::Fleet(fleet.to_owned())),
        (None, Some(depot)) => Some(Part::Depot(depot.to_owned())),
        (None, None) => None,
    };
    let name = properties.text("displayName")?.or(properties.text("name")?);
    let (dwell_s, hysteresis_m) = (properties.number("dwellS")?, properties.number("hysteresisM")?);
    let (disabled, radius_m) = (properties.switch("disabled")?, properties.number("radiusM")?);
    let said = [
        ("display_name", name.is_some()),
        ("kind", true),
        ("shape", true),
        ("part", part.is_some()),
        ("dwell", dwell_s.is_some()),
        ("hysteresis_m", hysteresis_m.is_some()),
        ("disabled", disabled.is_some()),
    ];
    let geofence = Geofence {
        display_name: name.unwrap_or(&id).to_owned(),
        kind: kind.ok_or("its property `kind` is keep-in, keep-out or notify")?.into(),
        shape: Some(shape(&feature["geometry"], radius_m.unwrap_or_default())?),
        part,
        dwell: Some(Duration { seconds: dwell_s.unwrap_or_default().into(), nanos: 0 }),
        hysteresis_m: hysteresis_m.unwrap_or_default(),
        disabled: disabled.unwrap_or_default(),
        ..Geofence::default()
    };
    let said = said.into_iter().filter(|(_, said)| *said).map(|(field, _)| field).collect();
    Ok(Feature { id, geofence, said })
}

fn shape(geometry: &Value, radius_m: u32) -> Result<Shape, String> {
    let coordinates = &geometry["coordinates"];
    match geometry["type"].as_str() {
        Some("Point") if radius_m == 0 => Err("a Point is a circle and has a property `radiusM`".into()),
        Some("Point") => Ok(Shape::Circle(Circle { center: Some(point(coordinates)?), radius_m })),
        Some("Polygon") => match coordinates.as_array().map(Vec::as_slice) {
            Some([ring]) => {
                let ring = ring.as_array().ok_or("a ring is a list of positions")?;
                let points = ring.iter().map(point).collect::<Result<_, _>>()?;
                Ok(Shape::Polygon(Polygon { points }))
            }
            Some([_, ..]) => Err("a geofence has no holes; give its outline alone".into()),
            _ => Err("a Polygon has a ring".into()),
        },
        Some(other) => Err(format!("a geofence is a Polygon, or a Point with `radiusM`, and no {other}")),
        None => Err("its geometry is missing".into()),
    }
}

fn point(position: &Value) -> Result<Point, String> {
    let of = |at: usize| position.get(at).and_then(Value::as_f64);
    let (Some(longitude), Some(latitude)) = (of(0), of(1)) else {
        return Err("a position is a longitude and a latitude".into());
    };
    // Some programs go on beyond the date line.
    let longitude =
        if longitude.abs() > 180.0 { (longitude + 180.0).rem_euclid(360.0) - 180.0 } else { longitude };
    Ok(Point { latitude, longitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let point = |latitude, longitude| Point { latitude, longitude };
        let plain = Geofence {
            display_name: "Hof".into(),
            kind: Kind::KeepIn.into(),
            dwell: Some(Duration { seconds: 30, nanos: 0 }),
            hysteresis_m: 20,
            ..Geofence::default()
        };
        let circle = Circle { center: Some(point(60.1, -179.5)), radius_m: 250 };
        let corners = vec![point(1.0, 2.0), point(1.0, 3.0), point(2.0, 3.0)];
        let geofences = [
            Geofence { shape: Some(Shape::Circle(circle)), disabled: true, ..plain.clone() },
            Geofence {
                shape: Some(Shape::Polygon(Polygon { points: corners.clone() })),
                part: Some(Part::Depot("quay".into())),
                ..plain
            },
        ];
        let named = |n: usize| format!("organizations/o/geofences/f{n}");
        let named: Vec<Geofence> =
            geofences.iter().enumerate().map(|(n, g)| Geofence { name: named(n), ..g.clone() }).collect();
        let read = read(&write(&named).to_string()).unwrap();
        let whole = ["display_name", "kind", "shape", "part", "dwell", "hysteresis_m", "disabled"];
        let said = whole.into_iter().filter(|field| *field != "part").collect();
        assert_eq!(read[0], Feature { id: "f0".into(), geofence: geofences[0].clone(), said });
        // Its ring is closed; the server takes that.
        let closed = [corners.as_slice(), &corners[..1]].concat();
        let shape = Some(Shape::Polygon(Polygon { points: closed }));
        let geofence = Geofence { shape, ..geofences[1].clone() };
        assert_eq!(read[1], Feature { id: "f1".into(), geofence, said: whole.into() });
    }

    #[test]
    fn what_is_not_said_stays_and_what_is_of_another_type_is_refused() {
        let here = json!({ "type": "Point", "coordinates": [1, 2] });
        let read_with = |name: &str, value: Value| {
            let mut properties = json!({ "kind": "notify", "radiusM": 50 });
            properties[name] = value;
            let feature = json!({ "id": "f", "geometry": here, "properties": properties });
            read(&json!({ "type": "FeatureCollection", "features": [feature] }).to_string())
        };
        for (name, value, field) in [
            ("displayName", json!("Hof"), "display_name"),
            ("name", json!("Hof"), "display_name"),
            ("fleet", json!("north"), "part"),
            ("depot", json!("quay"), "part"),
            ("dwellS", json!(0), "dwell"),
            ("hysteresisM", json!(0), "hysteresis_m"),
            ("disabled", json!(false), "disabled"),
        ] {
            let said = read_with(name, value).unwrap().remove(0).said;
            assert!(said.len() == 3 && said.contains(&field), "{name}: {said:?}");
            let said = read_with(name, Value::Null).unwrap().remove(0).said;
            assert_eq!(said, ["kind", "shape"], "{name}");
            let refused = read_with(name, json!(["north"])).unwrap_err();
            assert!(refused.starts_with(&format!("feature 1: its property `{name}` is ")), "{refused}");
        }
        assert!(read_with("fleet", json!(7)).unwrap_err().contains("no text"));
        assert!(read_with("disabled", json!("true")).unwrap_err().contains("neither true nor false"));
        assert!(read_with("dwellS", json!("30")).unwrap_err().contains("no whole number"));
    }

    #[test]
    fn what_is_no_geofence_is_said_with_its_place() {
        let refused = |geometry: Value, properties: Value| {
            let feature =
                json!({ "type": "Feature", "id": "f", "geometry": geometry, "properties": properties });
            read(&json!({ "type": "FeatureCollection", "features": [feature] }).to_string()).unwrap_err()
        };
        let here = || json!({ "type": "Point", "coordinates": [1, 2] });
        let kind = || json!({ "kind": "keep-in" });
        assert!(refused(here(), kind()).starts_with("feature 1: a Point is a circle"));
        assert!(refused(here(), json!({ "radiusM": 5 })).contains("`kind`"));
        assert!(refused(here(), json!({ "kind": "x", "radiusM": 5 })).contains("`kind`"));
        assert!(refused(json!({ "type": "MultiPolygon" }), kind()).contains("no MultiPolygon"));
        assert!(refused(json!({ "type": "Polygon", "coordinates": [[], []] }), kind()).contains("holes"));
        assert!(refused(json!({ "type": "Polygon", "coordinates": [[[1]]] }), kind()).contains("position"));
        assert!(read("{}").unwrap_err().contains("FeatureCollection"));
        let beyond = json!({ "type": "Point", "coordinates": [190.0, 2.0] });
        let feature =
            json!({ "id": "f", "geometry": beyond, "properties": { "kind": "notify", "radiusM": 50 } });
        let all = read(&json!({ "type": "FeatureCollection", "features": [feature] }).to_string()).unwrap();
        let Some(Shape::Circle(circle)) = &all[0].geofence.shape else { panic!() };
        assert!((circle.center.unwrap().longitude + 170.0).abs() < 1e-9);
    }
}
