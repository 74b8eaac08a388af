"""What each column of history takes, as it lies there and as pco would store the same numbers.

usage: lake_columns.py LAKE_ROOT
pco packs each row group of a column by itself, at its usual level; texts count with what they take in Parquet. Prints one JSON
object: bytes a row, and the columns by size.
"""

import json
import pathlib
import sys

import numpy
import pyarrow
import pyarrow.parquet as parquet
from pcodec import ChunkConfig, standalone

LEVEL = 8


def packed(column):
    """Bytes of a column's values as pco stores them, and of which rows have one as bits."""
    present = column.drop_null()
    numbers = present.cast(pyarrow.int64()).to_numpy()
    bits = 0 if len(numbers) in (0, len(column)) else (len(column) + 7) // 8
    if not len(numbers):
        return 0
    return bits + len(standalone.simple_compress(numpy.ascontiguousarray(numbers), ChunkConfig(compression_level=LEVEL)))


def main():
    rows = files = 0
    columns = {}
    for path in pathlib.Path(sys.argv[1], "history").rglob("*.parquet"):
        files += 1
        file = parquet.ParquetFile(path)
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            rows += group.num_rows
            for place in range(group.num_columns):
                chunk = group.column(place)
                name = chunk.path_in_schema
                ours = chunk.total_compressed_size
                theirs = ours
                if chunk.physical_type == "INT64":
                    theirs = packed(file.read_row_group(number, columns=[name])[name].combine_chunks())
                before = columns.get(name, (0, 0))
                columns[name] = (before[0] + ours, before[1] + theirs)
    by_size = sorted(columns.items(), key=lambda column: -column[1][0])
    total = [sum(sizes[i] for sizes in columns.values()) / rows for i in (0, 1)]
    each = {name: [round(size / rows, 3) for size in sizes] for name, sizes in by_size}
    print(json.dumps({"rows": rows, "files": files, "parquet": total[0], "pco": total[1], "columns": each}))


if __name__ == "__main__":
    main()
