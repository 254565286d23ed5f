"""fsspec's HTTPFileSystem: a file over HTTP that is read at random places."""

import random

import fsspec

import checks
from checks import ALL, CACHED, FILLED, STREAMED, check, equal, holds, local, url

http = fsspec.filesystem("http", skip_instance_cache=True)


@check("60 seeks in 20 MB, from the start, the end and the place before")
def _():
    whole = local("large.bin")
    for prefix in ALL:
        for kind in ("readahead", "bytes"):
            places = random.Random(9)
            with http.open(url(prefix, "large.bin"), block_size=65_536, cache_type=kind) as file:
                equal(file.size, len(whole), "size")
                at = 0
                for _ in range(60):
                    way = places.randrange(3)
                    if way == 0:
                        at = file.seek(places.randrange(len(whole)))
                    elif way == 1:
                        at = file.seek(-places.randrange(1, 100_000), 2)
                    else:
                        at = file.seek(min(places.randrange(5000), len(whole) - at), 1)
                    length = places.choice((1, 7, 1000, 65_536, 200_000))
                    equal(
                        file.read(length),
                        whole[at : at + length],
                        f"{prefix}, {kind}: {length} bytes at {at}",
                    )
                    at = file.tell()


@check("small reads at the end of 20 MB do not download the file")
def _():
    before = checks.body_bytes()
    with http.open(url(STREAMED, "large.bin"), block_size=4096, cache_type="bytes") as file:
        file.seek(-100, 2)
        equal(file.read(), local("large.bin")[-100:], "the last 100 bytes")
        file.seek(12_345_678)
        equal(file.read(10), local("large.bin")[12_345_678:12_345_688], "10 bytes in the middle")
    sent = checks.body_bytes() - before
    holds(sent < 100_000, f"{sent} bytes were sent")


@check("info and exists: the size, the tag, and what is missing")
def _():
    for prefix in ALL:
        info = http.info(url(prefix, "large.bin"))
        equal((info["size"], info["type"]), (20_000_000, "file"), prefix)
        equal(info["mimetype"], "application/octet-stream", "type")
        equal(http.exists(url(prefix, "large.bin")), True, "exists")
        equal(http.exists(url(prefix, "fsspec/missing")), False, "missing")
        try:
            http.cat_file(url(prefix, "fsspec/missing"))
        except FileNotFoundError:
            continue
        raise AssertionError("a missing object is a FileNotFoundError")


@check("cat_file and cat_ranges: parts, also counted from the end")
def _():
    whole = local("large.bin")
    for prefix in ALL:
        where = url(prefix, "large.bin")
        equal(http.cat_file(where, start=5, end=25), whole[5:25], "start and end")
        equal(http.cat_file(where, start=-70), whole[-70:], "the end")
        equal(http.cat_file(where, start=19_999_000), whole[19_999_000:], "to the end")
        starts = [i * 190_000 for i in range(100)]
        parts = http.cat_ranges([where] * 100, starts, [i + 1000 for i in starts])
        equal(b"".join(parts), b"".join(whole[i : i + 1000] for i in starts), f"{prefix}: 100 ranges")


@check("get_file and a stream of the whole file")
def _():
    for prefix in (CACHED, FILLED, STREAMED):
        path = checks.folder() / "large.bin"
        http.get_file(url(prefix, "large.bin"), str(path))
        equal(path.read_bytes(), local("large.bin"), "get_file")
        with http.open(url(prefix, "large.bin"), block_size=0) as file:
            equal(file.read(), local("large.bin"), "stream")


@check("a key with a space, a plus and an umlaut")
def _():
    for prefix in ALL:
        equal(http.cat_file(url(prefix, "a b+c/grün.txt")), local("a b+c/grün.txt"), prefix)


checks.run("fsspec")
