"""h2load: many streams on many connections, over HTTP/2 and HTTP/1.1, with TLS and without."""

import re

import checks
from checks import CACHED, STREAMED, check, command, equal, holds, local, url

REQUESTS = 2000


def load(*arguments):
    """Sends the requests. Returns the counts that it prints, by their names."""
    out = command("h2load", "-n", REQUESTS, "-c", 20, "-m", 10, "-T", 30, *arguments)[0].decode()
    line = next(line for line in out.splitlines() if line.startswith("requests: "))
    codes = next(line for line in out.splitlines() if line.startswith("status codes: "))
    counts = {name: int(count) for count, name in re.findall(r"(\d+) (\w+)", f"{line} {codes}")}
    traffic = next(line for line in out.splitlines() if line.startswith("traffic: "))
    counts["data"] = int(re.search(r"\((\d+)\) data", traffic)[1])
    return counts


def secure(prefix, key):
    """The address of an object over TLS."""
    return f"https://localhost:{checks.TLS_PORT}/{prefix}/{key}"


def whole(counts, body, protocol):
    """Checks that each request was answered with the whole object."""
    equal([counts[name] for name in ("total", "done", "succeeded", "2xx")], [REQUESTS] * 4, protocol)
    equal([counts[name] for name in ("failed", "errored", "timeout")], [0] * 3, protocol)
    holds(counts["data"] == REQUESTS * len(body), f"{protocol}: {counts['data']} bytes of content")


@check("2,000 hits over 20 connections: HTTP/2 and HTTP/1.1, with TLS and without")
def _():
    body = local("text.txt")[:10_000]
    checks.put("h2load/text.txt", body)
    for target, *more in [
        (secure(CACHED, "h2load/text.txt"),),
        (secure(CACHED, "h2load/text.txt"), "--h1"),
        (url(CACHED, "h2load/text.txt"), "--no-tls-proto=h2c"),
        (url(CACHED, "h2load/text.txt"), "--h1"),
    ]:
        whole(load(*more, target), body, f"{target} {more}")


@check("2,000 streams over 20 connections, through windows of one frame")
def _():
    body = local("medium.bin")[:60_000]
    checks.put("h2load/part.bin", body)
    whole(load("-w", 14, "-W", 16, secure(STREAMED, "h2load/part.bin")), body, "narrow")


checks.run("h2load")
