"""DuckDB with httpfs: SQL over a Parquet file and a CSV file behind the gateway."""

import glob
import os

import duckdb
import pyarrow.compute

import checks
import parquet
from checks import ALL, STREAMED, check, equal, holds, url

KEY = "duckdb/table.parquet"
rows = parquet.table()
packed = parquet.pack(rows)
database = duckdb.connect()


def prepare():
    """Loads httpfs: from the Python package that has it, or else as DuckDB installs it."""
    try:
        import duckdb_extension_httpfs as package

        folder = os.path.join(os.path.dirname(package.__file__), "extensions", f"v{duckdb.__version__}")
        for path in glob.glob(os.path.join(folder, "httpfs.duckdb_extension")):
            database.execute(f"LOAD '{path}'")
    except ImportError:
        pass
    if not database.execute(
        "SELECT loaded FROM duckdb_extensions() WHERE extension_name = 'httpfs'"
    ).fetchone()[0]:
        try:
            database.execute("INSTALL httpfs")
            database.execute("LOAD httpfs")
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            raise checks.Skipped(
                f"httpfs is not in DuckDB's package and cannot be installed: {first}"
            ) from error
    checks.put(KEY, packed)
    text = "id,word\n" + "".join(f"{i},word {i % 7}\n" for i in range(50_000))
    checks.put("duckdb/words.csv", text.encode(), ContentType="text/csv")


def ask(query, *values):
    """The rows of an answer."""
    return database.execute(query, list(values)).fetchall()


@check("sums and groups are those of the table, from every kind of bucket, cold and warm")
def _():
    prices = rows["price"].to_pylist()
    for prefix in ALL:
        for _ in range(2):
            got = ask(
                "SELECT sum(price), min(price), max(price), count(*) FROM read_parquet(?)", url(prefix, KEY)
            )
            equal(got, [(sum(prices), min(prices), max(prices), parquet.ROWS)], prefix)
            got = ask(
                "SELECT name, count(*) FROM read_parquet(?) GROUP BY name ORDER BY name LIMIT 2",
                url(prefix, KEY),
            )
            counts = {}
            for name in rows["name"].to_pylist():
                counts[name] = counts.get(name, 0) + 1
            equal(got, sorted(counts.items())[:2], prefix)


@check("a sum over one column costs a small part of the file, and count(*) only the end of it")
def _():
    for query, part in (("SELECT sum(price)", 4), ("SELECT count(*)", 20)):
        before = checks.body_bytes()
        ask(f"{query} FROM read_parquet(?)", url(STREAMED, KEY))
        sent = checks.body_bytes() - before
        holds(sent < len(packed) // part, f"{query}: {sent} of {len(packed)} bytes were sent")


@check("single rows of a wide column have the right bytes")
def _():
    noise = rows["noise"]
    wanted = [(i, noise[i].as_py()) for i in (0, 77_777, parquet.ROWS - 1)]
    for prefix in ALL:
        got = ask(
            "SELECT id, noise FROM read_parquet(?) WHERE id IN (0, 77777, ?) ORDER BY id",
            url(prefix, KEY),
            parquet.ROWS - 1,
        )
        equal([(i, bytes(b)) for i, b in got], wanted, prefix)


@check("a join of a Parquet file and a CSV file")
def _():
    for prefix in ALL:
        got = ask(
            "SELECT word, sum(price) FROM read_parquet(?) JOIN read_csv(?) USING (id) GROUP BY word ORDER BY word",
            url(prefix, KEY),
            url(prefix, "duckdb/words.csv"),
        )
        sums = {}
        for i, price in enumerate(rows["price"].to_pylist()[:50_000]):
            sums[f"word {i % 7}"] = sums.get(f"word {i % 7}", 0) + price
        equal(got, sorted(sums.items()), prefix)


@check("a file that is replaced between two queries gives the new rows")
def _():
    for prefix in (STREAMED, checks.VALIDATED):
        key = f"duckdb/replaced-{prefix}.parquet"
        for count in (1000, 2000):
            checks.put(key, parquet.pack(rows.slice(0, count)))
            got = ask("SELECT count(*), sum(price) FROM read_parquet(?)", url(prefix, key))
            total = pyarrow.compute.sum(rows["price"].slice(0, count)).as_py()
            equal(got, [(count, total)], f"{prefix}, {count} rows")


@check("a missing file is an error that says 404")
def _():
    try:
        ask("SELECT * FROM read_parquet(?)", url(STREAMED, "duckdb/missing.parquet"))
    except duckdb.Error as error:
        holds("404" in str(error), f"the message: {error}")
    else:
        raise AssertionError("a missing file is an error")


checks.run("duckdb", prepare)
