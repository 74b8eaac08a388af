"""Sizes of a lake's files, beside the same samples as JSON lines, plain and compressed.

usage: lake_bytes.py LAKE_ROOT
Prints one JSON object.
"""

import json
import pathlib
import sys

import pyarrow as arrow
import pyarrow.parquet as parquet

FIXED = {
    "organization", "vehicle", "incarnation", "seq", "row_in_frame", "kind", "boot", "mono_ns", "sample_time",
    "receive_time", "gap_to", "reason", "raw", "commit_position",
}
# JSON of so many rows is made to compare; more would only take time.
JSON_ROWS_MAX = 200_000


def json_lines(table):
    """The table's rows as JSON lines, one object a sample time, as a plain telemetry API would send them."""
    signals = [name for name in table.column_names if name not in FIXED]
    columns = table.select(["vehicle", "mono_ns", *signals]).to_pydict()
    lines = []
    for i in range(table.num_rows):
        values = {name: columns[name][i] for name in signals if columns[name][i] is not None}
        lines.append(json.dumps({"vehicle": columns["vehicle"][i], "t": columns["mono_ns"][i], **values}))
    return "\n".join(lines).encode()


def main():
    files = sorted((pathlib.Path(sys.argv[1]) / "fresh").rglob("*.parquet"))
    rows = size = compared = plain = packed = 0
    for file in files:
        metadata = parquet.read_metadata(file)
        rows += metadata.num_rows
        size += file.stat().st_size
        if compared < JSON_ROWS_MAX:
            text = json_lines(parquet.read_table(file))
            compared += metadata.num_rows
            plain += len(text)
            packed += arrow.Codec("zstd", compression_level=1).compress(text).size
    print(
        json.dumps(
            {
                "files": len(files),
                "rows": rows,
                "rows_per_file": rows / max(len(files), 1),
                "bytes_per_row": size / max(rows, 1),
                "json_bytes": plain * rows / max(compared, 1),
                "json_zstd_bytes": packed * rows / max(compared, 1),
                "json_zstd_bytes_per_row": packed / max(compared, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
