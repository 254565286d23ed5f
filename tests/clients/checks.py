"""What the tests of all clients share: a list of checks, the addresses, and objects in the bucket.

`run` starts the S3 server and the gateway and sets the variables that are read here. Each client's file names
its checks with `@check`, and ends with `checks.run(NAME)`. A check fails if it raises anything but `Skipped`.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

GATEWAY = os.environ["CLIENTS_GATEWAY"]
ADMIN = os.environ["CLIENTS_ADMIN"]
S3 = os.environ["CLIENTS_S3"]
S3_LOG = pathlib.Path(os.environ["CLIENTS_S3_LOG"])
FILES = pathlib.Path(os.environ["CLIENTS_FILES"])  # the objects of fill.py, under their keys
BUCKET = "clients"
PORT = int(GATEWAY.rsplit(":", 1)[1])
TLS_PORT = int(os.environ["CLIENTS_TLS_PORT"])  # of the listener with TLS
QUIC_PORT = int(os.environ["CLIENTS_QUIC_PORT"])  # of the one with HTTP/3

# The prefixes of the gateway. All of them show the same bucket of S3.
STREAMED = "media"  # no cache
CACHED = "static"  # stored; ranges of what is not stored are forwarded
FILLED = "fill"  # stored; a range fetches the whole object
VALIDATED = "fresh"  # stored, and validated each time
OPEN = "open"  # stored, with rules for CORS
CLOSED = "closed"  # stored, without CORS
SITE = "site"  # a website with lists of folders
ALL = (STREAMED, CACHED, FILLED, VALIDATED)

_checks = []


class Skipped(Exception):
    """The check cannot be made here; the message says why."""


def check(name):
    """Adds a function to the checks of this client."""

    def add(function):
        _checks.append((name, function))
        return function

    return add


def run(client, before=None):
    """Runs the checks and prints a line for each. `before` makes what they share."""
    failed = False
    try:
        if before:
            before()
    except Skipped as why:
        print(f"skipped: {client} ({why})", flush=True)
        sys.exit(0)
    except Exception as error:  # pylint: disable=broad-except
        traceback.print_exc()
        print(f"FAILED: {client}: preparation: {_line(error)}", flush=True)
        sys.exit(1)
    for name, function in _checks:
        began = time.monotonic()
        try:
            function()
        except Skipped as why:
            print(f"skipped: {client}: {name} ({why})", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed = True
            traceback.print_exc()
            print(f"FAILED: {client}: {name}: {_line(error)}", flush=True)
        else:
            print(f"ok: {client}: {name} ({time.monotonic() - began:.1f} s)", flush=True)
    sys.exit(1 if failed else 0)


def _line(error):
    return " ".join(f"{type(error).__name__}: {error}".split())[:1000]


def url(prefix, key):
    """The address of an object. The key is escaped already."""
    return f"{GATEWAY}/{prefix}/{key}"


def local(key):
    """The bytes of an object that fill.py has made."""
    return (FILES / key).read_bytes()


def equal(got, wanted, what="value"):
    """Compares two values; of long ones it shows where they differ."""
    if got == wanted:
        return
    if isinstance(wanted, bytes) and isinstance(got, bytes) and max(len(wanted), len(got)) > 200:
        at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
        raise AssertionError(f"{what}: {len(got)} bytes instead of {len(wanted)}; they differ at {at}")
    raise AssertionError(f"{what}: {got!r} instead of {wanted!r}")


def holds(condition, what):
    """Fails with `what` if the condition does not hold."""
    if not condition:
        raise AssertionError(what)


_s3 = None


def s3():
    """A client of the S3 server itself."""
    global _s3  # pylint: disable=global-statement
    if _s3 is None:
        import boto3  # pylint: disable=import-outside-toplevel

        _s3 = boto3.client(
            "s3",
            endpoint_url=S3,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
    return _s3


def put(key, body, **fields):
    """Stores an object in S3, past the gateway."""
    s3().put_object(Bucket=BUCKET, Key=key, Body=body, **fields)
    return body


def asked(key, method="GET"):
    """How often S3 was asked for the key, from its log."""
    log = re.sub("\x1b\\[[0-9;]*m", "", S3_LOG.read_text(errors="replace"))
    return len(re.findall(f'"{method} /{BUCKET}/{re.escape(key)}[ ?]', log))


def metric(name, **labels):
    """A metric of the gateway, summed over the labels that are not given."""
    with urllib.request.urlopen(f"{ADMIN}/metrics") as response:
        text = response.read().decode()
    total = 0.0
    for line in text.splitlines():
        match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if not match or match[1] != name:
            continue
        have = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
        if all(have.get(k) == v for k, v in labels.items()):
            total += float(match[3])
    return total


def body_bytes():
    """The bytes of all bodies that the gateway has sent, once no more are added."""
    last = -1.0
    for _ in range(50):
        now = metric("yatagarasu_response_body_bytes_total")
        if now == last:
            break
        last = now
        time.sleep(0.1)
    return int(last)


def answers(status_class):
    """The answers of a class, such as `3xx`, that the gateway has given."""
    body_bytes()
    return int(metric("yatagarasu_requests_total", status=status_class))


def command(*arguments, status=0, folder=None, input_bytes=None, timeout=120):
    """Runs a program and returns what it printed and its messages. Another exit status is a failure."""
    done = subprocess.run(
        [str(a) for a in arguments],
        cwd=folder,
        input=input_bytes,
        stdin=subprocess.DEVNULL if input_bytes is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=timeout,
        check=False,
    )
    if status is not None and done.returncode != status:
        words = done.stderr.decode(errors="replace")[-400:]
        raise AssertionError(f"{arguments[0]} ended with {done.returncode} instead of {status}: {words}")
    return done.stdout, done.stderr.decode(errors="replace")


def folder():
    """A new folder for the files of one check."""
    return pathlib.Path(tempfile.mkdtemp(dir=os.environ["CLIENTS_TMP"]))
