"""wget: resuming, timestamping and mirroring."""

import os
import re
import time

import checks
from checks import ALL, CACHED, SITE, STREAMED, VALIDATED, check, command, equal, folder, holds, local, url


def wget(*arguments, status=0, where=None):
    """Runs wget without a configuration file, and returns its messages."""
    return command("wget", "--no-config", "--no-proxy", "-nv", *arguments, status=status, folder=where)[1]


@check("downloads 20 MB, cold and warm")
def _():
    for prefix in ALL:
        where = folder()
        wget(url(prefix, "large.bin"), where=where)
        equal((where / "large.bin").read_bytes(), local("large.bin"), prefix)


@check("-c completes a truncated file, and sends only what is missing")
def _():
    for prefix in ALL:
        for have in (1, 8_000_001, 19_999_999):
            where = folder()
            (where / "large.bin").write_bytes(local("large.bin")[:have])
            before = checks.body_bytes()
            wget("-c", url(prefix, "large.bin"), where=where)
            equal((where / "large.bin").read_bytes(), local("large.bin"), f"{prefix} from {have}")
            equal(checks.body_bytes() - before, 20_000_000 - have, "bytes sent")


@check("-c of a complete file has nothing to do")
def _():
    for prefix in ALL:
        where = folder()
        (where / "medium.bin").write_bytes(local("medium.bin"))
        words = command("wget", "--no-config", "--no-proxy", "-c", url(prefix, "medium.bin"), folder=where)[1]
        holds("416" in words and "fully retrieved" in words, f"wget says so: {words[-300:]!r}")
        equal((where / "medium.bin").read_bytes(), local("medium.bin"), prefix)


@check("--start-pos takes the rest of an object")
def _():
    for prefix in ALL:
        where = folder()
        wget("--start-pos=19000000", url(prefix, "large.bin"), where=where)
        equal((where / "large.bin").read_bytes(), local("large.bin")[19_000_000:], prefix)


@check("-N downloads again only if the object has changed")
def _():
    for prefix in (STREAMED, VALIDATED):
        key = f"wget/stamp-{prefix}.txt"
        checks.put(key, b"the first version")
        where = folder()
        path = where / key.rsplit("/", 1)[1]
        wget("-N", url(prefix, key), where=where)
        equal(path.read_bytes(), b"the first version", "the first download")
        stored = checks.s3().head_object(Bucket=checks.BUCKET, Key=key)["LastModified"].timestamp()
        equal(path.stat().st_mtime, stored, "the time of the file")
        before = checks.answers("3xx")
        bytes_before = checks.body_bytes()
        words = command("wget", "--no-config", "--no-proxy", "-N", url(prefix, key), folder=where)[1]
        holds("304 Not Modified" in words, f"wget got a 304: {words[-300:]!r}")
        equal(checks.answers("3xx") - before, 1, "304s")
        equal(checks.body_bytes(), bytes_before, "bytes sent")
        time.sleep(1.1)  # Last-Modified counts whole seconds
        checks.put(key, b"the second version!")
        wget("-N", url(prefix, key), where=where)
        equal(path.read_bytes(), b"the second version!", "after the change")


@check("--mirror fetches a small site, and the second time nothing of it")
def _():
    pages = {
        "wget/site/index.html": b'<a href="one.html">1</a> <a href="sub%20folder/two.html?x=1">2</a> <img src="i/p.png">',
        "wget/site/one.html": b'<a href="index.html">back</a> <a href="missing.html">missing</a>',
        "wget/site/sub folder/two.html": b'<link rel=stylesheet href="../s+t.css"> <a href="../one.html#x">1</a>',
        "wget/site/s+t.css": b'body { background: url("i/p.png") }',
        "wget/site/i/p.png": os.urandom(50_000),
    }
    types = {"html": "text/html", "css": "text/css", "png": "image/png"}
    for key, body in pages.items():
        checks.put(key, body, ContentType=types[key.rsplit(".", 1)[1]])
    for prefix in (STREAMED, CACHED):
        where = folder()
        arguments = ("--mirror", "-np", "-nH", "-p", "--cut-dirs=3", url(prefix, "wget/site/index.html"))
        wget(*arguments, where=where, status=8)  # 8: the missing page
        for key, body in pages.items():
            name = key.removeprefix("wget/site/").replace("two.html", "two.html?x=1")
            equal((where / name).read_bytes(), body, f"{prefix} {name}")
        before = checks.body_bytes()
        # With If-Modified-Since, wget follows no links of a page that gets a 304. So it asks with HEAD here.
        words = wget("--no-if-modified-since", *arguments, where=where, status=8)
        holds(checks.body_bytes() - before < 1000, "only the error has a body the second time")
        holds(not re.search(r"->", words), f"nothing was saved: {words!r}")


@check("--mirror of a list of a folder fetches all that is below it")
def _():
    files = {"a.txt": b"a", "sub folder/b+c.txt": b"b", "sub folder/deep/100%.bin": os.urandom(30_000), "\u00fc & 'x'.txt": b"u"}
    for name, body in files.items():
        checks.put(f"wget/list/{name}", body)
    for _ in range(2):
        where = folder()
        wget("--mirror", "-np", "-nH", "--cut-dirs=3", url(SITE, "wget/list/"), where=where)
        found = {path.relative_to(where).as_posix() for path in where.rglob("*") if path.is_file()}
        equal(found - {"index.html", "sub folder/index.html", "sub folder/deep/index.html"}, set(files), "the files")
        for name, body in files.items():
            equal((where / name).read_bytes(), body, name)


@check("--spider tells what is there and what is missing")
def _():
    for prefix in ALL:
        wget("--spider", url(prefix, "large.bin"))
        words = wget("--spider", url(prefix, "wget/missing"), status=8)
        holds("broken link" in words, f"{prefix}: the words for a 404: {words!r}")


@check("--compression=auto unpacks an object stored with Content-Encoding: gzip")
def _():
    import gzip

    for prefix in ALL:
        where = folder()
        out = where / "out"
        wget("--compression=auto", "-O", out, url(prefix, "packed.txt"))
        equal(out.read_bytes(), gzip.decompress(local("packed.txt")), f"{prefix}, unpacked")
        wget("-O", out, url(prefix, "packed.txt"))
        equal(out.read_bytes(), local("packed.txt"), f"{prefix}, as stored")


checks.run("wget")
