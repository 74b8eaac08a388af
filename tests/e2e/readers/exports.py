"""Counts what exports hold, each read by an independent library.

usage: exports.py FOLDER
FOLDER has samples.csv, wide.csv, samples.parquet, all.mcap, tracks.geojson, points.geojson, tracks.gpx, tracks.kml.
Prints one JSON object: of samples, by signal, how many there are and their sum; of positions, by vehicle, how many.
"""

import collections
import csv
import json
import pathlib
import sys

import fastkml
import geojson
import gpxpy
import mcap.reader
import pyarrow.parquet
import shapely.geometry

FOLDER = pathlib.Path(sys.argv[1])


def summed(pairs):
    """How many values of each name there are, and their sum."""
    found = collections.defaultdict(lambda: [0, 0.0])
    for name, value in pairs:
        found[name][0] += 1
        found[name][1] += value
    return dict(found)


def rows(name):
    with open(FOLDER / name, newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file, strict=True)


def wide():
    for row in rows("wide.csv"):
        for head, cell in row.items():
            if head not in ("vehicle", "time") and cell:
                yield head.partition(" [")[0], float(cell)


def messages():
    samples, positions = [], []
    with open(FOLDER / "all.mcap", "rb") as file:
        for _, channel, message in mcap.reader.make_reader(file, validate_crcs=True).iter_messages():
            body = json.loads(message.data)
            _, _, vehicle, name = channel.topic.split("/")
            if name == "position":
                positions.append(vehicle)
            else:
                samples.append((name, body["value"]))
    return summed(samples), collections.Counter(positions)


def lines():
    """Positions of the lines of each vehicle, and those that stand alone."""
    for feature in geojson.loads((FOLDER / "tracks.geojson").read_text()).features:
        shape = shapely.geometry.shape(feature.geometry)
        parts = getattr(shape, "geoms", [shape])
        yield from [feature.properties["vehicle"]] * sum(len(part.coords) for part in parts)


def points():
    collection = geojson.loads((FOLDER / "points.geojson").read_text())
    assert collection.is_valid
    return (feature.properties["vehicle"] for feature in collection.features)


def gpx():
    for track in gpxpy.parse((FOLDER / "tracks.gpx").read_text()).tracks:
        yield from [track.name] * sum(len(segment.points) for segment in track.segments)


def kml():
    for placemark in fastkml.KML.parse(FOLDER / "tracks.kml").features[0].features:
        yield from [placemark.name] * sum(len(t.track_items) for t in placemark.kml_geometry.tracks)


def main():
    table = pyarrow.parquet.read_table(FOLDER / "samples.parquet").to_pydict()
    of_mcap, positions_of_mcap = messages()
    print(
        json.dumps(
            {
                "samples": {
                    "csv": summed((row["signal"], float(row["value"])) for row in rows("samples.csv")),
                    "csv-wide": summed(wide()),
                    "parquet": summed(zip(table["signal"], table["value"])),
                    "mcap": of_mcap,
                },
                "positions": {
                    "mcap": positions_of_mcap,
                    "geojson": collections.Counter(lines()),
                    "geojson-points": collections.Counter(points()),
                    "gpx": collections.Counter(gpx()),
                    "kml": collections.Counter(kml()),
                },
            }
        )
    )


if __name__ == "__main__":
    main()
