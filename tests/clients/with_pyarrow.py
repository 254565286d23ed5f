"""pyarrow: reads a Parquet file through fsspec, and downloads only what it needs."""

import fsspec
import pyarrow.compute
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet

import checks
import parquet
from checks import ALL, CACHED, FILLED, STREAMED, check, equal, holds, url

KEY = "pyarrow/table.parquet"
http = fsspec.filesystem("http", skip_instance_cache=True)
rows = parquet.table()
packed = parquet.pack(rows)


class Counted:
    """A file that counts the bytes that are read from it."""

    def __init__(self, file):
        self.file = file
        self.count = 0

    def read(self, *size):
        """Reads, and counts."""
        data = self.file.read(*size)
        self.count += len(data)
        return data

    def __getattr__(self, name):
        return getattr(self.file, name)


def prepare():
    """Stores the table."""
    checks.put(KEY, packed)


@check("one narrow column has the right values, and costs a small part of the file")
def _():
    for prefix in (STREAMED, CACHED):
        before = checks.body_bytes()
        with http.open(url(prefix, KEY), block_size=65_536, cache_type="none") as file:
            counted = Counted(file)
            column = pyarrow.parquet.read_table(counted, columns=["price"], pre_buffer=False)
        sent = checks.body_bytes() - before
        equal(column.num_columns, 1, "columns")
        holds(column["price"].equals(rows["price"]), "the values of the column")
        holds(sent < len(packed) // 5, f"{prefix}: {sent} of {len(packed)} bytes were sent")
        equal(sent, counted.count, f"{prefix}: bytes sent, and bytes that pyarrow has read")


@check("one row group has the right values, and costs about a tenth of the file")
def _():
    before = checks.body_bytes()
    with http.open(url(STREAMED, KEY), block_size=65_536, cache_type="none") as file:
        group = pyarrow.parquet.ParquetFile(file, pre_buffer=False).read_row_group(7)
    sent = checks.body_bytes() - before
    holds(group.equals(rows.slice(7 * parquet.ROWS // 10, parquet.ROWS // 10)), "the values of the group")
    holds(sent < len(packed) // 6, f"{sent} of {len(packed)} bytes were sent")


@check("the whole table is the same, from every kind of bucket, cold and warm")
def _():
    for prefix in ALL:
        for _ in range(2):
            with http.open(url(prefix, KEY)) as file:
                holds(pyarrow.parquet.read_table(file).equals(rows), prefix)


@check("with range_fill, the first column fetches the object once, and the next one is in memory")
def _():
    key = "pyarrow/once.parquet"
    checks.put(key, packed)
    for name in ("price", "name"):
        with http.open(url(FILLED, key), cache_type="none") as file:
            column = pyarrow.parquet.read_table(file, columns=[name], pre_buffer=True)
        holds(column[name].equals(rows[name]), f"the values of {name}")
    equal(checks.asked(key), 1, "GETs to S3")


@check("a dataset with a filter reads only the groups that may match")
def _():
    files = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(http))
    before = checks.body_bytes()
    source = pyarrow.dataset.dataset(url(STREAMED, KEY), filesystem=files, format="parquet")
    some = source.to_table(columns=["id", "price"], filter=pyarrow.compute.field("id") >= parquet.ROWS - 5)
    sent = checks.body_bytes() - before
    wanted = rows.slice(parquet.ROWS - 5).select(["id", "price"])
    equal(some.to_pydict(), wanted.to_pydict(), "the rows")
    holds(sent < len(packed), f"{sent} of {len(packed)} bytes were sent")


checks.run("pyarrow", prepare)
