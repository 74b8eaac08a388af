"""Asks DuckDB what `history_figures measure` asked, of the same files: how long it takes, and that it finds the same.

history_figures.py DIR: DIR has `lake/`, `manifest.json` and `queries.json`. Prints one JSON object.
"""

import datetime
import json
import pathlib
import sys
import time

import duckdb

folder = pathlib.Path(sys.argv[1])
queries = json.loads((folder / "queries.json").read_text())
vehicles, hours, _ = json.loads((folder / "manifest.json").read_text())
files = str(folder / "lake/history/**/*.parquet")
HOUR_NS = 3_600_000_000_000

db = duckdb.connect()
db.execute("SET threads = 2")
# As kind to it as can be: footers stay in memory, and the hours' folders are named.
db.execute("SET parquet_metadata_cache = true")
db.execute(f"CREATE VIEW history AS SELECT * FROM read_parquet('{files}', hive_partitioning = true, hive_types = {{'date': VARCHAR, 'hour': VARCHAR}})")


def folder_of(ns):
    at = datetime.datetime.fromtimestamp(ns // 1_000_000_000, datetime.timezone.utc)
    return f"(date = '{at:%Y-%m-%d}' AND hour = '{at:%H}')"


times = []
found = 0
for query in queries:
    begin, end = query["from_ns"], query["from_ns"] + HOUR_NS
    folders = " OR ".join(sorted({folder_of(begin), folder_of(end - 1)}))
    text = f"""SELECT epoch_ns(sample_time), "{query['signal']}" FROM history
        WHERE ({folders}) AND vehicle = '{query['vehicle']}'
        AND sample_time >= make_timestamptz({begin // 1000}) AND sample_time < make_timestamptz({end // 1000})
        AND kind = 0 ORDER BY 1"""
    started = time.perf_counter()
    found += len(db.execute(text).fetchall())
    times.append((time.perf_counter() - started) * 1000)

first = times[0]
times.sort()
at = lambda share: times[int((len(times) - 1) * share)]

signals = [
    "Vehicle.Speed",
    "Vehicle.CurrentLocation.Latitude",
    "Vehicle.CurrentLocation.Heading",
    "Vehicle.CurrentLocation.HorizontalAccuracy",
]
columns = ", ".join(
    f'min("{s}"), max("{s}"), avg("{s}"), arg_max("{s}", sample_time), count("{s}")' for s in signals
)
started = time.perf_counter()
rows = db.execute(
    f"SELECT vehicle, epoch_ns(sample_time) // 60000000000 AS bucket, {columns}, sum(\"Vehicle.Speed\")"
    " FROM history WHERE kind = 0 GROUP BY vehicle, bucket ORDER BY vehicle, bucket"
).fetchnumpy()
took = time.perf_counter() - started
counts = rows['count("Vehicle.Speed")']
print(
    json.dumps(
        {
            "found": found,
            "first_query_ms": first,
            "history_p50_ms": at(0.5),
            "history_p95_ms": at(0.95),
            "history_scan_rows_per_second": float(counts.sum()) / took,
            "scan_seconds": took,
            "scan_buckets": len(counts),
            "scan_sum": str(int(rows['sum("Vehicle.Speed")'].sum())),
        }
    )
)
