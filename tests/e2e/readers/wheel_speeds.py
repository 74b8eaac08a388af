"""Reads the lake with pyarrow and compares wheel speeds with the drive's published decode.

usage: wheel_speeds.py LAKE_ROOT CAPTURE_DIR
Prints one JSON object; exit code 1 when a sample is missing, doubled, late or wrong.
"""

import array
import ast
import json
import pathlib
import struct
import sys

import pyarrow.parquet as parquet

WHEELS = [
    "Vehicle.Chassis.Axle.Row1.Wheel.Left.Speed",
    "Vehicle.Chassis.Axle.Row1.Wheel.Right.Speed",
    "Vehicle.Chassis.Axle.Row2.Wheel.Left.Speed",
    "Vehicle.Chassis.Axle.Row2.Wheel.Right.Speed",
]
SCALE_KMH = 0.01


def npy_doubles(path):
    """A little-endian float64 .npy file as (shape, values)."""
    data = path.read_bytes()
    (header_length,) = struct.unpack("<H", data[8:10])
    header = ast.literal_eval(data[10 : 10 + header_length].decode())
    assert header["descr"] == "<f8" and not header["fortran_order"], header
    return header["shape"], array.array("d", data[10 + header_length :])


def published(capture):
    """{time in ns: the four wheel speeds in km/h}"""
    folder = pathlib.Path(capture) / "processed_log" / "CAN" / "wheel_speed"
    _, times = npy_doubles(folder / "t")
    (count, wheels), values = npy_doubles(folder / "value")
    assert wheels == 4 and count == len(times)
    return {round(t * 1e9): [values[4 * i + w] * 3.6 for w in range(4)] for i, t in enumerate(times)}


def stored(root):
    """[(time in ns, the four wheel speeds as raw integers)] of every row that has them."""
    rows = []
    # Rows that were compacted meanwhile are in history/.
    files = [f for part in ("fresh", "history") for f in sorted((pathlib.Path(root) / part).rglob("*.parquet"))]
    for file in files:
        names = parquet.read_schema(file).names
        if not all(wheel in names for wheel in WHEELS):
            continue
        table = parquet.read_table(file, columns=["mono_ns", *WHEELS]).to_pydict()
        for i, time in enumerate(table["mono_ns"]):
            values = [table[wheel][i] for wheel in WHEELS]
            if any(value is not None for value in values):
                rows.append((time, values))
    return rows


def main():
    root, capture = sys.argv[1:]
    wanted = published(capture)
    rows = stored(root)
    seen = {}
    wrong = 0
    doubled = 0
    for time, raws in rows:
        if time in seen:
            doubled += 1
        seen[time] = raws
        expected = wanted.get(time)
        if expected is None or any(r is None for r in raws):
            wrong += 1
        elif any(abs(r * SCALE_KMH - e) > SCALE_KMH + 1e-9 for r, e in zip(raws, expected)):
            wrong += 1
    missing = len(set(wanted) - set(seen))
    print(json.dumps({"published": len(wanted), "stored": len(rows), "missing": missing, "doubled": doubled, "wrong": wrong}))
    return 1 if missing or doubled or wrong or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
