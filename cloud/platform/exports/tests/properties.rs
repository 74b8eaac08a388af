//! Whatever is given, each format stays well-formed, and says the same as was given.

use proptest::prelude::*;
use remuda_exports::{
    ExportError, GeoJsonLines, GeoJsonPoints, Gpx, Kml, LongCsv, LongParquet, Mcap, Position, Sample, Series,
    Signal, Summary, Track, Tracks, Value,
};
use serde_json::Value as Json;

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -1e6..1e6_f64, 1 => any::<f64>(), 1 => Just(f64::NAN)]
}

fn position() -> impl Strategy<Value = Position> {
    let degrees =
        |most: f64| prop_oneof![8 => -most..=most, 1 => Just(most), 1 => Just(-most), 1 => any_number()];
    let optional = || proptest::option::of(any_number());
    (0..2_000_000_000_000_i64, degrees(90.0), degrees(180.0), optional(), optional(), optional(), optional())
        .prop_map(|(time_ns, latitude, longitude, altitude_m, speed_kmh, heading_deg, accuracy_m)| Position {
            time_ns,
            latitude,
            longitude,
            altitude_m,
            speed_kmh,
            heading_deg,
            accuracy_m,
        })
}

fn tracks() -> impl Strategy<Value = Vec<(Track, Vec<Position>)>> {
    let track = (any::<String>(), any::<String>(), any::<String>()).prop_map(|(vehicle, name, about)| {
        Track { vehicle, name, properties: vec![("about".to_owned(), about.into())] }
    });
    proptest::collection::vec((track, proptest::collection::vec(position(), 0..40)), 0..4)
}

fn sample() -> impl Strategy<Value = Sample> {
    let value = prop_oneof![
        4 => any_number().prop_map(Value::Number),
        1 => any::<bool>().prop_map(Value::Boolean),
        1 => any::<String>().prop_map(|text| Value::Text(text.into())),
    ];
    (any::<i64>(), proptest::option::of(value)).prop_map(|(time_ns, value)| Sample { time_ns, value })
}

fn is_on_earth(position: &Position) -> bool {
    (-90.0..=90.0).contains(&position.latitude) && (-180.0..=180.0).contains(&position.longitude)
}

/// Writes all, in pieces of odd sizes.
fn write(mut to: Box<dyn Tracks + '_>, tracks: &[(Track, Vec<Position>)]) -> Result<Summary, ExportError> {
    for (track, positions) in tracks {
        to.begin(track)?;
        for piece in positions.chunks(7) {
            to.positions(piece)?;
        }
    }
    to.finish()
}

/// The positions of a collection, with their number of elements.
fn coordinates(json: &Json, found: &mut Vec<(f64, f64)>) {
    let Some(list) = json.as_array() else { return };
    match (list.first().and_then(Json::as_f64), list.get(1).and_then(Json::as_f64)) {
        (Some(longitude), Some(latitude)) => found.push((longitude, latitude)),
        _ => list.iter().for_each(|inner| coordinates(inner, found)),
    }
}

fn texts_of(xml: &str, element: &str) -> usize {
    xml.matches(&format!("<{element}>")).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn tracks_in_every_format_have_all_their_positions(tracks in tracks()) {
        let all = tracks.iter().flat_map(|(_, positions)| positions);
        let (good, bad): (Vec<&Position>, Vec<&Position>) = all.partition(|p| is_on_earth(p));
        let with_positions = tracks.iter().filter(|(_, positions)| positions.iter().any(is_on_earth)).count();
        let (mut points, mut lines, mut gpx, mut kml, mut mcap) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let summaries = [
            write(Box::new(GeoJsonPoints::new(&mut points)?), &tracks)?,
            write(Box::new(GeoJsonLines::new(&mut lines)?), &tracks)?,
            write(Box::new(Gpx::new(&mut gpx, "all <&>")?), &tracks)?,
            write(Box::new(Kml::new(&mut kml, "all <&>")?), &tracks)?,
            write(Box::new(Mcap::new(&mut mcap)?), &tracks)?,
        ];
        for summary in summaries {
            prop_assert_eq!(summary, summaries[0]);
            prop_assert_eq!(summary.records, good.len() as u64);
            prop_assert_eq!(summary.skipped, bad.len() as u64);
            prop_assert_eq!(summary.tracks, with_positions as u64);
        }

        let points: Json = serde_json::from_slice(&points)?;
        prop_assert_eq!(points["features"].as_array().map(Vec::len), Some(good.len()));

        let lines: Json = serde_json::from_slice(&lines)?;
        let mut found = Vec::new();
        for feature in lines["features"].as_array().ok_or(TestCaseError::fail("no features"))? {
            coordinates(&feature["geometry"]["coordinates"], &mut found);
            let (lists, own) = match feature["geometry"]["type"].as_str() {
                Some("LineString") => (vec![&feature["geometry"]["coordinates"]], true),
                Some("MultiLineString") => (feature["geometry"]["coordinates"].as_array().into_iter().flatten().collect(), true),
                _ => (Vec::new(), false),
            };
            prop_assert_eq!(feature["properties"].get("coordinateProperties").is_some(), own);
            for line in lists {
                let mut points = Vec::new();
                coordinates(line, &mut points);
                prop_assert!(points.len() > 1, "a line has two ends");
                prop_assert!(points.windows(2).all(|w| (w[0].0 - w[1].0).abs() <= 180.0), "no line goes around the world");
            }
        }
        // Where the antimeridian is crossed there are two points more.
        prop_assert!(found.len() >= good.len());
        for p in &good {
            let near = |a: f64, b: f64| (a - b).abs() < 1e-7;
            prop_assert!(found.iter().any(|(lon, lat)| near(*lon, p.longitude) && near(*lat, p.latitude)));
        }

        for (text, each) in [(String::from_utf8(gpx)?, "time"), (String::from_utf8(kml)?, "when")] {
            prop_assert_eq!(texts_of(&text, each), good.len());
            let allowed = |c: char| matches!(c, '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
            prop_assert!(text.chars().all(allowed), "XML 1.0 has no such character");
        }
        let read = mcap::MessageStream::new(&mcap)?.collect::<Result<Vec<_>, _>>()?;
        prop_assert_eq!(read.len(), good.len());
    }

    #[test]
    fn series_are_read_back_as_they_were(
        vehicle in any::<String>(),
        path in any::<String>(),
        samples in proptest::collection::vec(sample(), 0..60),
        decimals in proptest::option::of(0..6_u8),
    ) {
        let signal = Signal { path: path.clone(), unit: "km/h".into(), decimals };
        let mut out = Vec::new();
        let mut csv: Box<dyn Series> = Box::new(LongCsv::new(&mut out)?);
        csv.samples(&vehicle, &signal, &samples)?;
        prop_assert_eq!(csv.finish()?.records, samples.len() as u64);
        let rows = csv::Reader::from_reader(out.as_slice()).records().collect::<Result<Vec<_>, _>>()?;
        prop_assert_eq!(rows.len(), samples.len());
        for (row, sample) in rows.iter().zip(&samples) {
            prop_assert_eq!((&row[0], &row[2], &row[4]), (vehicle.as_str(), path.as_str(), "km/h"));
            let time = chrono::DateTime::parse_from_rfc3339(&row[1])?;
            prop_assert_eq!(time.timestamp_nanos_opt(), Some(sample.time_ns));
            match &sample.value {
                Some(Value::Number(n)) if n.is_finite() => {
                    let half = decimals.map_or(0.0, |d| 0.5 * 0.1_f64.powi(i32::from(d)));
                    let read: f64 = row[3].parse()?;
                    prop_assert!((read - n).abs() <= half * 1.000_001 + n.abs() * 1e-15, "{} became {}", n, &row[3]);
                }
                Some(Value::Boolean(yes)) => prop_assert_eq!(&row[3], yes.to_string()),
                Some(Value::Text(text)) => prop_assert_eq!(&row[3], text.as_ref()),
                Some(Value::Number(_)) | None => prop_assert_eq!(&row[3], ""),
            }
        }
        let mut out = Vec::new();
        let mut parquet: Box<dyn Series + '_> = Box::new(LongParquet::new(&mut out)?);
        parquet.samples(&vehicle, &signal, &samples)?;
        prop_assert_eq!(parquet.finish()?.records, samples.len() as u64);
        prop_assert_eq!((&out[..4], &out[out.len() - 4..]), (&b"PAR1"[..], &b"PAR1"[..]));
    }
}

/// Takes so many bytes, then no more.
struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 && !bytes.is_empty() {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
        }
        Ok(taken)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

type Make<T> = fn(Full) -> Result<Box<T>, ExportError>;

#[test]
fn a_full_disk_is_an_error_wherever_it_strikes() {
    let track = Track { vehicle: "V1".into(), name: "way".into(), properties: Vec::new() };
    let positions: Vec<Position> =
        (0..50).map(|s| Position { time_ns: s * 1_000_000_000, ..Position::default() }).collect();
    let signal = Signal { path: "Vehicle.Speed".into(), unit: "km/h".into(), decimals: Some(2) };
    let samples: Vec<Sample> =
        (0..50).map(|s| Sample { time_ns: s, value: Some(Value::Number(s as f64)) }).collect();
    let as_tracks: [(&str, Make<dyn Tracks>); 5] = [
        ("points", |to| Ok(Box::new(GeoJsonPoints::new(to)?))),
        ("lines", |to| Ok(Box::new(GeoJsonLines::new(to)?))),
        ("gpx", |to| Ok(Box::new(Gpx::new(to, "")?))),
        ("kml", |to| Ok(Box::new(Kml::new(to, "")?))),
        ("mcap", |to| Ok(Box::new(Mcap::new(to)?))),
    ];
    let as_series: [(&str, Make<dyn Series>); 3] = [
        ("csv", |to| Ok(Box::new(LongCsv::new(to)?))),
        ("parquet", |to| Ok(Box::new(LongParquet::new(to)?))),
        ("mcap", |to| Ok(Box::new(Mcap::new(to)?))),
    ];
    for room in [0, 10, 200, 700] {
        for (name, make) in as_tracks {
            let done = make(Full(room)).and_then(|to| write(to, &[(track.clone(), positions.clone())]));
            assert!(matches!(done, Err(ExportError::Write(_))), "{name} with {room}: {done:?}");
        }
        for (name, make) in as_series {
            let done = make(Full(room)).and_then(|mut to| {
                to.samples("V1", &signal, &samples)?;
                to.finish()
            });
            assert!(done.is_err(), "{name} with {room}: {done:?}");
        }
    }
}
