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

/// Reads geofences with their ids.
///
/// # Errors
/// The first feature that is none, and why.
pub(super) fn read(text: &str) -> Result<Vec<(String, Geofence)>, String> {
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

fn geofence(feature: &Value) -> Result<(String, Geofence), String> {
    let nothing = Map::new();
    let properties = feature["properties"].as_object().unwrap_or(&nothing);
    let text = |name: &str| properties.get(name).and_then(Value::as_str);
    let name = feature["id"].as_str().or(text("id")).ok_or("its `id` is missing: the geofence's")?;
    let kind = text("kind").ok_or("its property `kind` is missing: keep-in, keep-out or notify")?;
    let number = |name: &str| match properties.get(name) {
        None | Some(Value::Null) => Ok(0),
        Some(value) => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number.ok_or_else(|| format!("its property `{name}` is no whole number"))
        }
    };
    let part = match (text("fleet"), text("depot")) {
        (Some(_), Some(_)) => return Err("it is for a fleet or a depot, not for both".into()),
        (Some(fleet), None) => Some(Part::Fleet(fleet.to_owned())),
        (None, Some(depot)) => Some(Part::Depot(depot.to_owned())),
        (None, None) => None,
    };
    let kind = [Kind::KeepIn, Kind::KeepOut, Kind::Notify].into_iter().find(|known| word(*known) == kind);
    let geofence = Geofence {
        display_name: text("displayName").or(text("name")).unwrap_or(name).to_owned(),
        kind: kind.ok_or("its property `kind` is keep-in, keep-out or notify")?.into(),
        shape: Some(shape(&feature["geometry"], number("radiusM")?)?),
        part,
        dwell: Some(Duration { seconds: number("dwellS")?.into(), nanos: 0 }),
        hysteresis_m: number("hysteresisM")?,
        disabled: properties.get("disabled").is_some_and(|disabled| disabled == &Value::Bool(true)),
        ..Geofence::default()
    };
    Ok((name.to_owned(), geofence))
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
        assert_eq!(read[0], ("f0".into(), geofences[0].clone()));
        // Its ring is closed; the server takes that.
        let closed = [corners.as_slice(), &corners[..1]].concat();
        let shape = Some(Shape::Polygon(Polygon { points: closed }));
        assert_eq!(read[1], ("f1".into(), Geofence { shape, ..geofences[1].clone() }));
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
        let Some(Shape::Circle(circle)) = &all[0].1.shape else { panic!() };
        assert!((circle.center.unwrap().longitude + 170.0).abs() < 1e-9);
    }
}
