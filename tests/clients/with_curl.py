"""curl: resuming, conditions, HTTP/1.0, HTTP/2, compressed objects, and a client that closes its side first."""

import os
import re
import shutil
import socket
import subprocess
import time

import checks
from checks import ALL, CACHED, FILLED, STREAMED, VALIDATED, check, command, equal, folder, holds, local, url


def curl(*arguments, status=0):
    """Runs curl without a progress meter and without a configuration file."""
    return command("curl", "-q", "-sS", "--noproxy", "*", *arguments, status=status)


def fields(head):
    """The status and the fields of a head that curl has printed."""
    lines = head.decode("iso-8859-1").splitlines()
    named = [line.split(":", 1) for line in lines[1:] if ":" in line]
    return lines[0], {name.lower(): value.strip() for name, value in named}


@check("downloads 20 MB, cold and warm, from every kind of bucket")
def _():
    for prefix in ALL:
        for _ in range(2):
            body, _ = curl("-f", url(prefix, "large.bin"))
            equal(body, local("large.bin"), prefix)


@check("-C - completes a truncated file")
def _():
    for prefix in ALL:
        for have in (1, 65_536, 7_654_321, 19_999_999):
            path = folder() / "large.bin"
            path.write_bytes(local("large.bin")[:have])
            before = checks.body_bytes()
            code, _ = curl("-f", "-C", "-", "-o", path, "-w", "%{http_code}", url(prefix, "large.bin"))
            equal(path.read_bytes(), local("large.bin"), f"{prefix} from {have}")
            equal(code, b"206", "status")
            equal(checks.body_bytes() - before, 20_000_000 - have, "bytes sent")


@check("-C - of a complete file gets 416 with the length, and leaves the file as it is")
def _():
    for prefix in ALL:
        path = folder() / "medium.bin"
        path.write_bytes(local("medium.bin"))
        head = path.with_suffix(".head")
        done = subprocess.run(
            ["curl", "-q", "-sS", "-C", "-", "-D", head, "-o", path, url(prefix, "medium.bin")],
            capture_output=True,
            check=False,
        )
        line, named = fields(head.read_bytes())
        equal(line.split()[1], "416", "status")
        equal(named["content-range"], "bytes */3000000", "Content-Range")
        equal(path.read_bytes(), local("medium.bin"), prefix)
        holds(done.returncode in (0, 22), f"curl ended with {done.returncode}")


@check("-N shows the first bytes long before the last")
def _():
    for prefix in (STREAMED, CACHED):
        began = time.monotonic()
        with subprocess.Popen(
            ["curl", "-q", "-sS", "-f", "-N", "--limit-rate", "10M", url(prefix, "large.bin")],
            stdout=subprocess.PIPE,
        ) as process:
            first = process.stdout.read(16_384)
            at_first = time.monotonic() - began
            body = first + process.stdout.read()
        whole = time.monotonic() - began
        equal(process.returncode, 0, "exit status")
        equal(body, local("large.bin"), prefix)
        holds(at_first < whole / 2, f"the first bytes came after {at_first:.2f} of {whole:.2f} s")


@check("HTTP/1.0 gets the whole object, and then the end of the connection")
def _():
    for prefix in ALL:
        for key in ("large.bin", "empty.txt"):
            head = folder() / "head"
            out, _ = curl("-f", "-0", "-D", head, url(prefix, key))
            equal(out, local(key), f"{prefix}/{key}")
            line, named = fields(head.read_bytes())
            equal(line.split()[1], "200", "status")
            equal(named["content-length"], str(len(local(key))), "Content-Length")
            holds("transfer-encoding" not in named, "HTTP/1.0 knows no Transfer-Encoding")


@check("HTTP/1.0 keeps a connection only if it asks for that")
def _():
    address = ("127.0.0.1", checks.PORT)
    for keep in (False, True):
        with socket.create_connection(address, timeout=20) as peer:
            request = (
                b"GET /static/text.txt HTTP/1.0\r\n"
                + (b"Connection: keep-alive\r\n" if keep else b"")
                + b"\r\n"
            )
            peer.sendall(request)
            reader = peer.makefile("rb")
            for _ in range(2 if keep else 1):
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = reader.readline()
                    holds(line, "the connection ended within a head")
                    head += line
                _, named = fields(head)
                equal(reader.read(int(named["content-length"])), local("text.txt"), "body")
                if "keep-alive" not in named.get("connection", "").lower():
                    break
                peer.sendall(request)
            if not keep:
                equal(reader.read(1), b"", "bytes after the end")


@check("HTTP/2 with prior knowledge: 20 MB, and a range")
def _():
    if "HTTP2" not in command("curl", "--version")[0].decode():
        raise checks.Skipped("this curl has no HTTP/2")
    for prefix in ALL:
        body, _ = curl("-f", "--http2-prior-knowledge", url(prefix, "large.bin"))
        equal(body, local("large.bin"), prefix)
        body, _ = curl("-f", "--http2-prior-knowledge", "-r", "1000-1999", url(prefix, "large.bin"))
        equal(body, local("large.bin")[1000:2000], prefix)


@check("--http2 asks for an upgrade, gets HTTP/1.1, and the object")
def _():
    out, _ = curl(
        "-f",
        "--http2",
        "-o",
        folder() / "out",
        "-w",
        "%{http_version} %{size_download}",
        url(CACHED, "text.txt"),
    )
    equal(out.decode(), f"1.1 {len(local('text.txt'))}", "version and length")


@check("--compressed unpacks an object stored with Content-Encoding: gzip")
def _():
    import gzip

    for prefix in ALL:
        for _ in range(2):
            head = folder() / "head"
            out, _ = curl("-f", "--compressed", "-D", head, url(prefix, "packed.txt"))
            equal(out, gzip.decompress(local("packed.txt")), f"{prefix}, unpacked")
            equal(fields(head.read_bytes())[1]["content-encoding"], "gzip", "Content-Encoding")
            out, _ = curl("-f", url(prefix, "packed.txt"))
            equal(out, local("packed.txt"), f"{prefix}, as stored")
            out, _ = curl("-f", "--compressed", url(prefix, "text.txt"))
            equal(out, local("text.txt"), f"{prefix}, an object that is not packed")


@check("a client that closes its side after the request gets all of 20 MB")
def _():
    for prefix in (CACHED, FILLED, VALIDATED, STREAMED):
        for version in ("1.1", "1.0"):
            with socket.create_connection(("127.0.0.1", checks.PORT), timeout=30) as peer:
                peer.sendall(f"GET /{prefix}/large.bin HTTP/{version}\r\nHost: gateway\r\n\r\n".encode())
                peer.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: peer.recv(1 << 20), b""))
            head, _, body = answer.partition(b"\r\n\r\n")
            holds(head.startswith(b"HTTP/1."), f"{prefix}, HTTP/{version}: no head: {answer[:80]!r}")
            equal(head.split()[1], b"200", f"{prefix}, HTTP/{version}")
            equal(body, local("large.bin"), f"{prefix}, HTTP/{version}")


@check("the same for an object of 5 MB that is not stored yet")
def _():
    for prefix in ALL:
        key = f"curl/half-{prefix}.bin"
        whole = checks.put(key, local("large.bin")[:5_000_000])
        with socket.create_connection(("127.0.0.1", checks.PORT), timeout=30) as peer:
            peer.sendall(f"GET /{prefix}/{key} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode())
            peer.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: peer.recv(1 << 20), b""))
        equal(answer.partition(b"\r\n\r\n")[2], whole, prefix)


@check("nc -N gets all of 20 MB")
def _():
    words = subprocess.run(["nc", "-h"], capture_output=True, check=False) if shutil.which("nc") else None
    if not words or b"-N" not in words.stderr + words.stdout:
        raise checks.Skipped("there is no nc with -N")
    for prefix in (CACHED, STREAMED):
        request = f"GET /{prefix}/large.bin HTTP/1.1\r\nHost: gateway\r\n\r\n".encode()
        out, _ = command("nc", "-N", "127.0.0.1", checks.PORT, input_bytes=request)
        equal(out.partition(b"\r\n\r\n")[2], local("large.bin"), prefix)


@check("-z downloads only what is newer than a file")
def _():
    for prefix in ALL:
        path = folder() / "text.txt"
        curl("-f", "-R", "-o", path, url(prefix, "text.txt"))
        stamp = path.stat().st_mtime
        holds(stamp <= time.time(), "-R takes the time of Last-Modified")
        out, _ = curl("-f", "-z", path, "-w", "%{http_code}", url(prefix, "text.txt"))
        equal(out, b"304", f"{prefix}, unchanged")
        os.utime(path, (stamp - 10, stamp - 10))
        out, _ = curl("-f", "-z", path, url(prefix, "text.txt"))
        equal(out, local("text.txt"), f"{prefix}, newer")
        out, _ = curl(
            "-z",
            "-Sat, 01 Jan 2000 00:00:00 GMT",
            "-o",
            os.devnull,
            "-w",
            "%{http_code}",
            url(prefix, "text.txt"),
        )
        equal(out, b"412", f"{prefix}, If-Unmodified-Since")


@check("--etag-save and --etag-compare: 200, then 304 until the object changes")
def _():
    for prefix in (STREAMED, VALIDATED):
        key = f"curl/tag-{prefix}.txt"
        first = checks.put(key, b"the first version")
        tag = folder() / "tag"
        out, _ = curl("-f", "--etag-save", tag, url(prefix, key))
        equal(out, first, "the first answer")
        holds(re.fullmatch(rb'"[0-9a-f]{32}"\n?', tag.read_bytes()), f"a tag: {tag.read_bytes()!r}")
        again = ("-f", "--etag-compare", tag, "--etag-save", tag, "-w", "|%{http_code}", url(prefix, key))
        equal(curl(*again)[0], b"|304", f"{prefix}, unchanged")
        second = checks.put(key, b"the second version")
        equal(curl(*again)[0], second + b"|200", f"{prefix}, changed")
        equal(curl(*again)[0], b"|304", f"{prefix}, unchanged again")


@check("-r: first, last and middle bytes, and one beyond the end")
def _():
    whole = local("large.bin")
    for prefix in ALL:
        for spec, part in (
            ("0-0", whole[:1]),
            ("-1", whole[-1:]),
            ("-500", whole[-500:]),
            ("19999990-", whole[19_999_990:]),
            ("5000000-5999999", whole[5_000_000:6_000_000]),
            ("19999999-99999999", whole[-1:]),
        ):
            out, _ = curl("-f", "-r", spec, url(prefix, "large.bin"))
            equal(out, part, f"{prefix} {spec}")
        curl("-f", "-r", "20000000-", url(prefix, "large.bin"), status=22)


@check("-r with several ranges gets multipart/byteranges from memory")
def _():
    from email import message_from_bytes

    whole = local("text.txt")
    curl("-f", "-o", os.devnull, url(CACHED, "text.txt"))
    head = folder() / "head"
    out, _ = curl("-f", "-D", head, "-r", "0-9,5000-5019,-7", url(CACHED, "text.txt"))
    line, named = fields(head.read_bytes())
    equal(line.split()[1], "206", "status")
    message = message_from_bytes(b"Content-Type: " + named["content-type"].encode() + b"\r\n\r\n" + out)
    parts = [part.get_payload(decode=True) for part in message.get_payload()]
    equal(parts, [whole[:10], whole[5000:5020], whole[-7:]], "parts")
    ranges = [part["Content-Range"] for part in message.get_payload()]
    size = len(whole)
    equal(
        ranges,
        [f"bytes 0-9/{size}", f"bytes 5000-5019/{size}", f"bytes {size - 7}-{size - 1}/{size}"],
        "ranges",
    )


@check("-I gets the length, the tag and the type, and no body")
def _():
    for prefix in ALL:
        for options in (["-0"], [], ["--http2-prior-knowledge"]):
            out, _ = curl("-f", "-I", *options, url(prefix, "large.bin"))
            _, named = fields(out)
            equal(named["content-length"], "20000000", f"{prefix}, {options}")
            equal(named["content-type"], "application/octet-stream", "Content-Type")
            holds(named["etag"].startswith('"'), "an ETag")


@check("keys with spaces, plus signs and umlauts, escaped and as curl sends them")
def _():
    wanted = local("a b+c/grün.txt")
    for prefix in ALL:
        for path in (
            "a%20b+c/gr%C3%BCn.txt",
            "a%20b%2Bc/gr%c3%bcn.txt",
            "a%20b+c/grün.txt",
            "./x/../a%20b+c/gr%C3%BCn.txt",
        ):
            out, _ = curl("-f", url(prefix, path))
            equal(out, wanted, f"{prefix}/{path}")


@check("a missing object is a problem in JSON, with --fail and without")
def _():
    import json

    for prefix in ALL:
        out, _ = curl("-w", "\n%{http_code} %{content_type}", url(prefix, "curl/missing"))
        body, last = out.rsplit(b"\n", 1)
        equal(last, b"404 application/problem+json", "status and type")
        equal(json.loads(body)["status"], 404, "status in the body")
        curl("-f", url(prefix, "curl/missing"), status=22)


@check("-I of a missing object is a 404, as with GET")
def _():
    for prefix in ALL:
        for key in ("curl/missing", "curl/missing-too"):
            out, _ = curl("-I", "-o", os.devnull, "-w", "%{http_code}", url(prefix, key))
            equal(out, b"404", prefix)


@check("an upload of 3 MB, with Expect: 100-continue and without, is answered with 405")
def _():
    body = folder() / "upload"
    body.write_bytes(local("medium.bin"))
    for options in (
        ["-T", body],
        ["-T", body, "-H", "Expect:"],
        ["-X", "POST", "--data-binary", f"@{body}"],
        ["-X", "DELETE"],
    ):
        out, _ = curl(*options, "-o", os.devnull, "-w", "%{http_code}", url(CACHED, "curl/upload"))
        equal(out, b"405", f"{options[:2]}")


@check("one connection serves a hit, a 404, a 304, a range, a HEAD and an empty object")
def _():
    where = folder()
    target = url(CACHED, "text.txt")
    steps = (
        ["-o", where / "0", target],
        ["-o", where / "1", url(CACHED, "curl/missing")],
        ["-o", where / "2", "-H", "If-None-Match: *", target],
        ["-o", where / "3", "-r", "1-3", target],
        ["-I", "-o", where / "4", target],
        ["-o", where / "5", url(CACHED, "empty.txt")],
        ["-o", where / "6", url(STREAMED, "medium.bin")],
    )
    arguments = []
    for step in steps:
        arguments += ["-w", "%{http_code},%{num_connects} ", *step, "--next"]
    out, _ = curl(*arguments[:-1])
    equal(out, b"200,1 404,0 304,0 206,0 200,0 200,0 200,0 ", "status and new connections")
    equal((where / "0").read_bytes(), local("text.txt"), "the first body")
    equal((where / "3").read_bytes(), local("text.txt")[1:4], "the range")
    equal((where / "6").read_bytes(), local("medium.bin"), "the last body")


checks.run("curl")
