"""Reads history/ with the tools that data people use, each on its own, by its hive partitions.

usage: history.py LAKE_ROOT
Prints one JSON object: what each reader found, and the signals' units as the column metadata gives them. Exit code 1 when
two readers differ.
"""

import json
import pathlib
import sys

import datafusion
import duckdb
import pandas
import polars
import pyarrow
import pyarrow.compute as compute
import pyarrow.dataset as dataset
import pyarrow.parquet as parquet

SAMPLES = 0


def found(rows, kinds, vehicles, hours, signals):
    """One reader's answer, in plain numbers."""
    return {
        "rows": int(rows),
        "kinds": {str(int(kind)): int(count) for kind, count in sorted(kinds)},
        "vehicles": int(vehicles),
        "hours": sorted(f"{organization} {str(date)[:10]} {int(hour):02}" for organization, date, hour in hours),
        "signals": {name: [int(count), int(total)] for name, count, total in sorted(signals) if count},
    }


def with_pyarrow(root, names):
    table = dataset.dataset(root, format="parquet", partitioning="hive", schema=None).to_table(
        columns=["kind", "vehicle", "organization", "date", "hour"]
    )
    kinds = [(v["values"], v["counts"]) for v in compute.value_counts(table["kind"]).to_pylist()]
    hours = {tuple(row.values()) for row in table.select(["organization", "date", "hour"]).to_pylist()}
    vehicles = len(table["vehicle"].unique())
    signals = {}
    # Files differ in their signals; each is read with its own schema.
    for file in sorted(pathlib.Path(root).rglob("*.parquet")):
        own = parquet.ParquetFile(file).read()
        for name in own.column_names:
            if name in names:
                count, total = signals.get(name, (0, 0))
                column = own[name]
                signals[name] = (count + len(column) - column.null_count, total + (compute.sum(column).as_py() or 0))
    return found(table.num_rows, kinds, vehicles, hours, [(n, *v) for n, v in signals.items()])


def with_duckdb(root, names):
    source = f"read_parquet('{root}/**/*.parquet', hive_partitioning = true, union_by_name = true)"
    ask = lambda query: duckdb.sql(query).fetchall()
    ((rows, vehicles),) = ask(f"SELECT count(*), count(DISTINCT vehicle) FROM {source}")
    kinds = ask(f"SELECT kind, count(*) FROM {source} GROUP BY kind")
    hours = ask(f"SELECT DISTINCT organization, date, hour FROM {source}")
    columns = ", ".join(f'count("{n}"), coalesce(sum("{n}"), 0)' for n in names)
    (sums,) = ask(f"SELECT {columns} FROM {source}")
    return found(rows, kinds, vehicles, hours, zip(names, sums[::2], sums[1::2]))


def with_polars(root, names):
    frame = polars.scan_parquet(
        f"{root}/**/*.parquet", hive_partitioning=True, missing_columns="insert", extra_columns="ignore",
        schema=polars_schema(root, names),
    )
    kinds = frame.group_by("kind").len().collect().rows()
    hours = frame.select("organization", "date", "hour").unique().collect().rows()
    rows, vehicles = frame.select(polars.len(), polars.col("vehicle").n_unique().alias("v")).collect().row(0)
    signals = []
    for name in names:
        count, total = frame.select(polars.col(name).count().alias("c"), polars.col(name).sum().alias("s")).collect().row(0)
        signals.append((name, count, total))
    return found(rows, kinds, vehicles, hours, signals)


def polars_schema(root, names):
    """The union of all files' columns: Polars takes a file's missing columns as null when it knows the whole."""
    schema = {}
    for file in sorted(pathlib.Path(root).rglob("*.parquet")):
        schema.update(polars.read_parquet_schema(file))
    return schema


def with_datafusion(root, names):
    context = datafusion.SessionContext()
    partitions = [(key, pyarrow.string()) for key in ("organization", "date", "hour")]
    # Files differ in their signals, so the whole is named; the folders say the organisation, as the hive way has it.
    schema = pyarrow.unify_schemas([parquet.read_schema(f).remove_metadata() for f in pathlib.Path(root).rglob("*.parquet")])
    schema = schema.remove(schema.get_field_index("organization"))
    context.register_parquet("history", root, table_partition_cols=partitions, schema=schema)
    ask = lambda query: [tuple(row.values()) for row in context.sql(query).to_pylist()]
    ((rows, vehicles),) = ask("SELECT count(*) AS r, count(DISTINCT vehicle) AS v FROM history")
    kinds = ask("SELECT kind, count(*) AS c FROM history GROUP BY kind")
    hours = ask("SELECT DISTINCT organization, date, hour FROM history")
    columns = ", ".join(f'count("{n}") AS c{i}, coalesce(sum("{n}"), 0) AS s{i}' for i, n in enumerate(names))
    (sums,) = ask(f"SELECT {columns} FROM history")
    return found(rows, kinds, vehicles, hours, zip(names, sums[::2], sums[1::2]))


def with_pandas(root, names):
    frame = pandas.concat(
        [pandas.read_parquet(f, partitioning=None, dtype_backend="numpy_nullable").assign(_path=str(f))
         for f in sorted(pathlib.Path(root).rglob("*.parquet"))]
    )
    kinds = frame["kind"].value_counts().items()
    parts = frame["_path"].unique()
    part = lambda path, key: next(p.split("=", 1)[1] for p in pathlib.Path(path).parts if p.startswith(f"{key}="))
    hours = {tuple(part(p, key) for key in ("organization", "date", "hour")) for p in parts}
    signals = [(n, frame[n].count(), frame[n].sum()) for n in names]
    return found(len(frame), kinds, frame["vehicle"].nunique(), hours, signals)


def main():
    root = str(pathlib.Path(sys.argv[1]) / "history")
    units = {}
    for file in pathlib.Path(root).rglob("*.parquet"):
        for field in parquet.read_schema(file):
            metadata = field.metadata or {}
            if b"signal_id" in metadata:
                units[field.name] = {key.decode(): metadata[key].decode() for key in (b"unit", b"scale", b"signal_id")}
    names = sorted(units)
    readers = {
        "pyarrow": with_pyarrow(root, names),
        "duckdb": with_duckdb(root, names),
        "polars": with_polars(root, names),
        "pandas": with_pandas(root, names),
        "datafusion": with_datafusion(root, names),
    }
    print(json.dumps({"readers": readers, "units": units}))
    return 0 if len({json.dumps(answer, sort_keys=True) for answer in readers.values()}) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
