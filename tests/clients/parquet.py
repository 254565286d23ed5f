"""Makes the Parquet file that two clients read: 200,000 rows in 10 groups, with a wide column and narrow ones."""

import io
import random

import pyarrow
import pyarrow.parquet

ROWS = 200_000


def table():
    """The table: the same in every run."""
    values = random.Random(10)
    return pyarrow.table(
        {
            "id": pyarrow.array(range(ROWS), pyarrow.int64()),
            "price": pyarrow.array([values.randrange(1_000_000) for _ in range(ROWS)], pyarrow.int32()),
            "name": pyarrow.array([f"name {i % 97} ä" for i in range(ROWS)]),
            "noise": pyarrow.array([values.randbytes(60) for _ in range(ROWS)], pyarrow.binary()),
        }
    )


def pack(rows):
    """The bytes of the file."""
    out = io.BytesIO()
    pyarrow.parquet.write_table(rows, out, row_group_size=ROWS // 10, compression="snappy")
    return out.getvalue()
