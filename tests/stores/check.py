#!/usr/bin/env python3
"""Checks the gateway in front of one S3 store.

The script fills buckets at the store, starts the gateway in front of them, and compares answers. Every request is
sent three times: `cold` (cache on, nothing stored), `warm` (cache on, the object stored) and `plain` (cache off).
Status, body and the fields that matter must be what HTTP says, and the same all three times.

Where an answer is wrong because the store itself answers so, the check is skipped, and the reason says what the
store answers. A check that the store does not support is skipped, too. Everything else that is wrong is a failure.

Needs boto3. The last line is `N passed, N failed, N skipped`. The exit status is 0 only if nothing failed.
"""

import argparse
import gzip
import hashlib
import hmac
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime

import boto3
import botocore.config
import botocore.exceptions

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # pylint: disable=wrong-import-position

# The fields that must be the same with and without a cache.
FIELDS = [
    "accept-ranges", "cache-control", "content-disposition", "content-encoding", "content-language", "content-length",
    "content-range", "content-type", "etag", "expires", "last-modified", "x-amz-version-id",
    "x-amz-website-redirect-location",
]
# What no client may see.
HIDDEN = re.compile(r"x-amz-(request-id|id-2|bucket-region|server-side-encryption.*|object-lock-.*|tagging-count)$")
# What is a request id by its meaning. It has a check of its own.
REQUEST_ID = re.compile(r"x-amzn?-?(request-?id|trace-id|id-2)$|x-trans-id$|x-openstack-request-id$")
# The fields that are the gateway's own, or differ from one answer to the next.
OWN = {"date", "age", "via", "x-cache", "x-request-id", "cache-status", "connection", "server", "server-timing",
       "vary"}

# Hand-picked keys that encoders, decoders and signers often get wrong; those of yatagarasu-testing/src/odd_keys.rs.
AWKWARD = [
    "a b", "a+b", "a%20b", "a%2Bb", "100%", "%", "%%", "a(b)", "it's", "!*'()", "a//b", "//", "/lead", "trail/",
    ".hidden", "..two", "a/.b/..c", "...", "a=b&c=d", "a;b,c", "q?x=1", "h#x", "a\\b", '"quoted"', "<a>", "[1]", "{x}",
    "a|b", "a^b", "a`b", "a~b", "a@b", "a:b", "a$b", "\u00e9", "e\u0301", "\u65e5\u672c", "\U0001f98a/\U0001f426",
    "\u202ex", "\ufeffbom", " ", " a ", "a\tb", "a\nb", "\x7f", "A", "a", "_", "-", "index.html", "?acl", "a?uploads",
    "%2e%2e/x", "%2F", "con", "x.metadata",
]


def odd_keys():
    """Returns 100 valid keys that are easy to mishandle."""
    keys = AWKWARD + ["k" * 1024, "\u00e9" * 512, "d/" * 511 + "x", "/".join(["s" * 200] * 5)]
    source = random.Random(1)
    while len(keys) < 100:
        key = "".join(source.choice(" +%/?#&='\"()[]~\u00fc\u65e5\U0001f98aaB0.-_") for _ in range(12))
        if not {".", ".."} & set(key.split("/")) and key not in keys:
            keys.append(key)
    return keys


def quote(text):
    """Escapes a key as S3 expects it."""
    return urllib.parse.quote(text, safe="/-._~")


class Answer:
    """A response: status, fields in order with names in lower case, and body."""

    def __init__(self, raw, method):
        head, found, rest = raw.partition(b"\r\n\r\n")
        if not found:
            raise OSError("no response head, but %r" % raw[:200])
        first, *lines = head.split(b"\r\n")
        self.status = int(first.split()[1])
        self.fields = []
        for line in lines:
            name, _, value = line.partition(b":")
            self.fields.append((name.decode("latin-1").lower(), value.strip(b" \t").decode("latin-1")))
        if (self.get("transfer-encoding") or "").lower() == "chunked" and rest:
            rest = unchunk(rest)
        self.body = rest
        length = self.get("content-length")
        self.whole = method == "HEAD" or self.status == 304 or length is None or int(length) == len(rest)

    def get(self, name):
        """The value of a field, several of one name as a list; None if it is absent."""
        values = [value for field, value in self.fields if field == name]
        return ", ".join(values) if values else None

    def metadata(self):
        return {name: self.get(name) for name, _ in self.fields if name.startswith("x-amz-meta-")}

    def that_matter(self):
        fields = {name: self.get(name) for name in FIELDS}
        fields.update(self.metadata())
        return fields

    def brief(self):
        code = re.search(rb"<Code>(.*?)</Code>", self.body)
        part = self.get("content-range")
        return "%d%s%s, %d bytes" % (self.status, " " + code[1].decode("latin-1") if code else "",
                                     ", Content-Range: " + part if part else "", len(self.body))

    def __str__(self):
        shown = ["%s: %s" % field for field in self.fields if field[0] not in OWN or field[0] in ("x-cache", "vary")]
        body = "%d bytes" % len(self.body) if len(self.body) > 300 else repr(self.body.decode("latin-1"))
        return "%d, %s, body %s" % (self.status, "; ".join(shown), body)


def unchunk(data):
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        size = int(size.split(b";")[0], 16)
        if size == 0:
            return body
        body += data[:size]
        if len(data) < size + 2:
            raise OSError("a chunked body that is cut short")
        data = data[size + 2:]


def ask(address, method, target, fields=(), body=b"", host=None):
    """Sends one request exactly as given, on a connection of its own, and reads all that comes back."""
    head = b"%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n" % (
        method.encode(), target.encode(), (host or "%s:%d" % address).encode())
    for name, value in fields:
        head += name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    if body or method == "PUT":
        head += b"Content-Length: %d\r\n" % len(body)
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(head + b"\r\n" + body)
        raw = bytearray()
        # A store may ignore `Connection: close`: stop where the length says so.
        length = None
        while True:
            piece = connection.recv(1 << 18)
            if not piece:
                break
            raw += piece
            if length is None and b"\r\n\r\n" in raw:
                start = raw.index(b"\r\n\r\n") + 4
                found = re.search(rb"(?i)\r\nconnection: *keep-alive", raw[:start])
                sized = re.search(rb"(?i)\r\ncontent-length: *(\d+)", raw[:start])
                length = start + int(sized[1]) if found and sized else -1
                if found and (method == "HEAD" or raw.split(None, 2)[1] in (b"204", b"304")):
                    length = start
            if length is not None and 0 <= length <= len(raw):
                break
    return Answer(bytes(raw), method)


class Store:
    """The store: a client of boto3 to fill it, and requests signed by hand to see what it answers itself."""

    def __init__(self, options):
        self.name = options.store
        self.endpoint = options.endpoint
        parts = urllib.parse.urlsplit(options.endpoint)
        self.address = (parts.hostname, parts.port or 80)
        self.path = parts.path.rstrip("/")
        self.region = options.region
        self.access = options.access_key
        self.secret = options.secret_key
        self.client = boto3.client(
            "s3", endpoint_url=self.endpoint, region_name=self.region, aws_access_key_id=self.access,
            aws_secret_access_key=self.secret,
            config=botocore.config.Config(
                s3={"addressing_style": "path"}, retries={"max_attempts": 1}, connect_timeout=10, read_timeout=60,
                request_checksum_calculation="when_required", response_checksum_validation="when_required",
                parameter_validation=False))

    def direct(self, method, bucket, key="", fields=(), query="", body=b"", secret=None, region=None, sign=True):
        """Sends a request to the store itself (AWS Signature Version 4)."""
        path = "%s/%s" % (self.path, bucket) + ("/" + quote(key) if key else "")
        region = region or self.region
        now = datetime.now(timezone.utc)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        host = "%s:%d" % self.address
        digest = hashlib.sha256(body).hexdigest()
        fields = [(name, value if isinstance(value, bytes) else value.encode()) for name, value in fields]
        if sign:
            fields += [("x-amz-content-sha256", digest.encode()), ("x-amz-date", stamp.encode())]
            signed = {"host": host.encode()}
            signed.update({name.lower(): value for name, value in fields if name.lower().startswith("x-amz-")})
            names = ";".join(sorted(signed))
            canonical = ("%s\n%s\n%s\n" % (method, path, query)).encode()
            for name in sorted(signed):
                canonical += name.encode() + b":" + b" ".join(signed[name].split()) + b"\n"
            canonical += ("\n%s\n%s" % (names, digest)).encode()
            scope = "%s/%s/s3/aws4_request" % (day, region)
            text = "AWS4-HMAC-SHA256\n%s\n%s\n%s" % (stamp, scope, hashlib.sha256(canonical).hexdigest())
            signing = ("AWS4" + (secret or self.secret)).encode()
            for part in (day, region, "s3", "aws4_request"):
                signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
            signature = hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
            fields.append(("Authorization", "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
                self.access, scope, names, signature)))
        return ask(self.address, method, path + ("?" + query if query else ""), fields, body, host)

    def put(self, bucket, key, body, fields=(), query=""):
        """Stores an object, or raises OSError."""
        answer = self.direct("PUT", bucket, key, fields, query, body)
        if answer.status != 200:
            raise OSError("the store answers %d to the PUT" % answer.status)
        return answer


class Gateway:
    """A running gateway."""

    def __init__(self, program, folder, name, store, buckets, events=None):
        """`buckets`: for each prefix, what differs from the common configuration. `events`: the section of that name."""
        self.address = ("127.0.0.1", free_port())
        self.admin = ("127.0.0.1", free_port())
        config = {
            "server": {"address": "%s:%d" % self.address, "shutdown_grace": 0},
            "admin": {"address": "%s:%d" % self.admin},
            "events": events or {},
            "buckets": [],
        }
        for prefix, own in buckets.items():
            s3 = {"endpoint": store.endpoint, "access_key": store.access, "secret_key": store.secret,
                  "region": store.region, "forward_query": ["partNumber", "versionId"]}
            s3.update(own.get("s3", {}))
            config["buckets"].append({
                "name": prefix, "path_prefix": "/" + prefix, "cors": own.get("cors", "pass"),
                "s3": {key: value for key, value in s3.items() if value is not None}, "cache": own.get("cache", {})})
        path = os.path.join(folder, name + ".json")
        with open(path, "w") as file:
            json.dump(config, file)
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith(("AWS_", "YATAGARASU_")) and not key.lower().endswith("_proxy")}
        self.log = open(os.path.join(folder, name + ".log"), "wb")
        self.process = subprocess.Popen([program, "--config", path], stdout=self.log, stderr=self.log, env=environment)
        for _ in range(200):
            try:
                if ask(self.admin, "GET", "/health").status == 200:
                    return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        sys.exit("check.py: the gateway does not start; see %s" % self.log.name)

    def get(self, prefix, key, fields=(), query="", method="GET"):
        return ask(self.address, method, "/%s/%s" % (prefix, quote(key)) + ("?" + query if query else ""), fields)

    def purge(self, **selection):
        body = json.dumps(selection).encode()
        answer = ask(self.admin, "POST", "/purge", [("Content-Type", "application/json")], body)
        if answer.status != 200:
            raise OSError("the purge is answered with %s" % answer)
        return json.loads(answer.body)["purged"]

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


class Skip(Exception):
    """The store cannot do what the check needs."""


class Wrong(Exception):
    """The gateway's answer is wrong."""


def must(condition, what, *answers):
    if not condition:
        raise Wrong(what + "".join("\n      " + str(answer) for answer in answers))


class Checks:
    """All checks of one store."""

    MODES = ("cold", "warm", "plain")

    def __init__(self, store, program, folder, options):
        self.store = store
        self.program = program
        self.folder = folder
        self.options = options
        self.passed = self.failed = self.skipped = 0
        tag = "%06x" % random.SystemRandom().randrange(1 << 24)
        self.bucket = "yata-%s-main" % tag
        self.cors_bucket = "yata-%s-cors" % tag
        self.versions_bucket = "yata-%s-versions" % tag
        self.absent_bucket = "yata-%s-absent" % tag

    # Results.

    def note(self, outcome, name, reason=""):
        if outcome == "ok":
            self.passed += 1
        elif outcome == "skipped":
            self.skipped += 1
        else:
            self.failed += 1
        if outcome != "ok" or self.options.verbose:
            print("%s: %s: %s%s" % (outcome, self.store.name, name, " (%s)" % reason if reason else ""), flush=True)

    def run(self, name, check, *arguments):
        """Runs a check that stands for itself."""
        try:
            check(*arguments)
            self.note("ok", name)
        except Skip as reason:
            self.note("skipped", name, str(reason))
        except Wrong as reason:
            self.note("FAILED", name, str(reason))
        except (OSError, ValueError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            self.note("FAILED", name, "%s: %s" % (type(error).__name__, error))

    # Requests in the three modes.

    def in_mode(self, mode, key, fields=(), query="", method="GET", buckets=("cached", "plain")):
        """Sends the request in a mode. `buckets` are the gateway's, with and without a cache."""
        cached, plain = buckets
        if mode == "plain":
            return self.gateway.get(plain, key, fields, query, method)
        self.gateway.purge(bucket=cached, all=True)
        if mode == "warm":
            first = self.gateway.get(cached, key, [f for f in fields if f[0] == "Origin"], query)
            must(first.status < 400 or method != "GET", "the whole object is not to be had", first)
        return self.gateway.get(cached, key, fields, query, method)

    def three(self, name, key, fields=(), query="", method="GET", status=200, body=None, extra=None, plain=None,
              bucket=None, buckets=("cached", "plain"), agree=True):
        """Checks one request in all three modes.

        `plain` is the status without a cache, if it is another. `extra` gets each answer and raises `Wrong` or
        `Skip`.
        """
        bucket = bucket or self.bucket
        answers = {}
        direct = None

        def itself():
            nonlocal direct
            if direct is None:
                direct = self.store.direct(method, bucket, key, fields, query)
            return direct

        for mode in self.MODES:
            title = "%s [%s]" % (name, mode)
            try:
                answer = self.in_mode(mode, key, fields, query, method, buckets)
            except Wrong as reason:
                self.note("FAILED", title, str(reason))
                continue
            except (OSError, ValueError) as error:
                self.note("FAILED", title, "%s: %s" % (type(error).__name__, error))
                continue
            expected = plain if plain and mode == "plain" else status
            try:
                must(answer.status == expected, "expected %d" % expected, answer)
                must(answer.whole, "the body is not as long as its Content-Length", answer)
                if method == "HEAD" or answer.status == 304:
                    must(answer.body == b"", "a body where none may be", answer)
                elif body is not None and answer.status == status:
                    must(answer.body == body, "the body is wrong", answer)
                shown = [field for field, _ in answer.fields if HIDDEN.match(field)]
                must(not shown, "fields that no client may see: %s" % shown, answer)
                if extra:
                    extra(answer)
                if answer.status == status:
                    answers[mode] = answer
                else:
                    self.note("ok", title)
            except Skip as reason:
                self.note("skipped", title, str(reason))
            except Wrong as reason:
                same = itself().status == answer.status and (itself().body == answer.body or answer.status >= 400)
                # The gateway answers 502 or 503 when the store fails.
                same = same or itself().status >= 500 and answer.status in (502, 503)
                # What is too large to be stored is the store's answer, warm or cold.
                if same and (mode != "warm" or answer.get("x-cache") == "MISS"):
                    self.note("skipped", title, "the store itself answers %s: %s" % (
                        itself().brief(), str(reason).split("\n")[0]))
                else:
                    self.note("FAILED", title, "%s\n      the store itself: %s" % (reason, itself()))
        whole = None
        for mode, answer in answers.items():
            title = "%s [%s]" % (name, mode)
            first = answers.get("cold", answer)
            ours, others = answer.that_matter(), first.that_matter()
            differ = [n for n in set(ours) | set(others) if ours.get(n) != others.get(n)]
            if answer.status in (304, 412, 416):
                # Such an answer need not name them all.
                differ = [n for n in differ if ours.get(n) and others.get(n)]
            if answer.status >= 400:
                differ = [n for n in differ if n != "content-length"]
            if not agree or not differ:
                self.note("ok", title)
                continue
            whole = whole or self.store.direct("GET", bucket, key, (), query)
            said = [{n: source.that_matter().get(n) for n in differ} for source in (itself(), whole)]
            mine = [{n: source.that_matter().get(n) for n in differ} for source in (first, answer)]
            if all(fields in said for fields in mine):
                self.note("skipped", title, "the store itself answers differently: %s" % said)
            else:
                self.note("FAILED", title, "the fields %s differ: cold %s, %s %s; the store itself %s, whole %s" % (
                    differ, mine[0], mode, mine[1], said[0], said[1]))

    # The checks.

    def all(self):
        self.fill()
        cached = {"cache": {"ttl": "1h"}}
        off = {"cache": {"enabled": False}}
        s3 = {"bucket": self.bucket}
        buckets = {
            "cached": dict(cached, s3=s3), "plain": dict(off, s3=s3), "zero": {"cache": {"ttl": 0}, "s3": s3},
            "fill": {"cache": {"ttl": "1h", "range_fill": True}, "s3": s3},
            "cors-cached": dict(cached, s3={"bucket": self.cors_bucket}),
            "cors-plain": dict(off, s3={"bucket": self.cors_bucket}),
            "versions-cached": dict(cached, s3={"bucket": self.versions_bucket}),
            "versions-plain": dict(off, s3={"bucket": self.versions_bucket}),
        }
        self.gateway = Gateway(self.program, self.folder, "gateway", self.store, buckets)
        try:
            groups = [self.whole_objects, self.keys, self.ranges, self.conditions, self.heads, self.metadata,
                      self.errors, self.cors, self.versions, self.revalidation, self.parts, self.purges, self.events,
                      self.crowd]
            for group in groups:
                if self.options.only and group.__name__ not in self.options.only:
                    continue
                start = time.monotonic()
                try:
                    group()
                except (OSError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
                    self.note("FAILED", group.__name__, "%s: %s" % (type(error).__name__, error))
                if self.options.verbose:
                    print("-- %s: %.1f s" % (group.__name__, time.monotonic() - start))
        finally:
            self.gateway.stop()

    def fill(self):
        # All of them, so that the gateway can be ready.
        for bucket in (self.bucket, self.cors_bucket, self.versions_bucket):
            self.store.client.create_bucket(Bucket=bucket)
        source = random.Random(7)
        self.small = source.randbytes(100_000)
        self.large = source.randbytes(12_000_000)
        self.objects = {"o/empty": b"", "o/one": b"1", "o/small": self.small, "o/large": self.large}
        for key, body in self.objects.items():
            self.store.put(self.bucket, key, body, [("Content-Type", "application/x-test")])
        # What is stored must be older than a second: validators with dates are weak before.
        time.sleep(1.1)
        answer = self.store.direct("GET", self.bucket, "o/small")
        if answer.status != 200 or answer.body != self.small:
            sys.exit("check.py: the store does not return what was stored: %s" % answer)
        self.tag = answer.get("etag")
        self.date = answer.get("last-modified")

    def whole_objects(self):
        for key, body in self.objects.items():
            self.three("whole object of %d bytes" % len(body), key, body=body)

        def stored(key, expected):
            self.gateway.purge(bucket="cached", all=True)
            first, second = (self.gateway.get("cached", key) for _ in range(2))
            must(first.get("x-cache") == "MISS" and second.get("x-cache") == expected,
                 "expected MISS, then %s" % expected, first, second)

        for mode in self.MODES:
            def no_ids(mode=mode):
                answer = self.in_mode(mode, "o/one")
                ids = [name for name, _ in answer.fields if REQUEST_ID.match(name)]
                must(not ids, "a client sees the store's request ids %s" % ids, answer)
            self.run("request ids of the store stay in [%s]" % mode, no_ids)
        for key in ("o/empty", "o/one", "o/small"):
            self.run("stored after the first request: %s" % key, stored, key, "HIT")
        self.run("too large to be stored: o/large", stored, "o/large", "MISS")

    def keys(self):
        for number, key in enumerate(odd_keys()):
            shown = repr(key if len(key) < 40 else key[:20] + "... (%d bytes)" % len(key.encode()))
            self.run("key %s" % shown, self.one_key, key, number)

    def one_key(self, key, number):
        body = ("%d %s" % (number, key)).encode()
        if max(len(part.encode()) for part in key.split("/")) > self.options.longest_name:
            raise Skip("the store itself breaks down: a name in the path is longer than %d bytes" %
                       self.options.longest_name)
        try:
            put = self.store.direct("PUT", self.bucket, key, body=body)
            direct = self.store.direct("GET", self.bucket, key)
        except OSError as error:
            raise Skip("the store breaks off: %s" % error)
        if put.status != 200 or direct.status != 200 or direct.body != body:
            code = re.search(rb"<Code>(.*?)</Code>", put.body if put.status != 200 else direct.body)
            raise Skip("the store itself answers %d to the PUT and %d to the GET%s" % (
                put.status, direct.status, ", " + code[1].decode("latin-1") if code else ""))
        try:
            for mode in self.MODES:
                for method in ("GET", "HEAD"):
                    answer = self.in_mode(mode, key, method=method)
                    must(answer.status == 200 and (method == "HEAD" or answer.body == body),
                         "%s %s: expected 200 and its %d bytes" % (mode, method, len(body)), answer)
        finally:
            self.store.direct("DELETE", self.bucket, key)

    def ranges(self):
        def part(first, last, size):
            def extra(answer):
                must(answer.get("content-range") == "bytes %d-%d/%d" % (first, last, size),
                     "Content-Range is wrong", answer)
            return extra

        size = len(self.small)
        for spec, first, last in [
            ("0-0", 0, 0), ("0-99", 0, 99), ("500-1499", 500, 1499), ("99999-99999", size - 1, size - 1),
            ("-100", size - 100, size - 1), ("99900-", 99900, size - 1), ("0-", 0, size - 1),
            ("99990-200000", 99990, size - 1), ("-200000", 0, size - 1),
        ]:
            self.three("range %s" % spec, "o/small", [("Range", "bytes=" + spec)], status=206,
                       body=self.small[first:last + 1], extra=part(first, last, size))
        size = len(self.large)
        for spec, first, last in [("0-9", 0, 9), ("6000000-6999999", 6000000, 6999999), ("-10", size - 10, size - 1),
                                  ("11999990-", size - 10, size - 1)]:
            self.three("range %s of 12 MB" % spec, "o/large", [("Range", "bytes=" + spec)], status=206,
                       body=self.large[first:last + 1], extra=part(first, last, size))

        def beyond(length):
            def extra(answer):
                must(answer.get("content-range") == "bytes */%d" % length, "Content-Range is wrong", answer)
            return extra

        self.three("range beyond the end", "o/small", [("Range", "bytes=100000-")], status=416, extra=beyond(100000))
        self.three("range far beyond the end", "o/small", [("Range", "bytes=200000-300000")], status=416,
                   extra=beyond(100000))
        self.three("range of an empty object", "o/empty", [("Range", "bytes=0-")], status=416, extra=beyond(0))
        self.three("range of the last 0 bytes", "o/small", [("Range", "bytes=-0")], status=416, extra=beyond(100000))
        for spec in ("bytes=abc", "bytes=9-1", "items=0-1", "bytes="):
            self.three("what is no range: %s" % spec, "o/small", [("Range", spec)], body=self.small)

        def several(answer):
            if answer.status == 200:
                must(answer.body == self.small, "the body is wrong", answer)
                return
            kind = answer.get("content-type") or ""
            must(kind.startswith("multipart/byteranges; boundary="), "no multipart/byteranges", answer)
            boundary = kind.split("boundary=")[1].strip('"').encode()
            parts = answer.body.split(b"--" + boundary)[1:-1]
            bodies = [piece.partition(b"\r\n\r\n")[2][:-2] for piece in parts]
            must(bodies == [self.small[:10], self.small[50000:50010]], "the parts are wrong", answer)

        # Without a cache, the gateway ignores several ranges: the whole object is right.
        self.three("several ranges", "o/small", [("Range", "bytes=0-9,50000-50009")], status=206, plain=200,
                   extra=several, agree=False)
        self.three("If-Range with the tag", "o/small", [("Range", "bytes=0-9"), ("If-Range", self.tag)], status=206,
                   body=self.small[:10])
        self.three("If-Range with another tag", "o/small", [("Range", "bytes=0-9"), ("If-Range", '"other"')],
                   body=self.small)

        def filled():
            self.gateway.purge(bucket="fill", all=True)
            # The last bytes come with the end of the whole, which is stored by then.
            for spec, first, last in (("-10", 99990, 99999), ("10-19", 10, 19)):
                answer = self.gateway.get("fill", "o/small", [("Range", "bytes=" + spec)])
                must(answer.status == 206 and answer.body == self.small[first:last + 1], "expected the part", answer)
            must(answer.get("x-cache") == "HIT", "expected a HIT", answer)

        self.run("range_fill", filled)

        def put_together():
            self.gateway.purge(bucket="cached", all=True)
            for spec in ("0-49999", "50000-"):
                self.gateway.get("cached", "o/small", [("Range", "bytes=" + spec)])
            answer = self.gateway.get("cached", "o/small")
            must(answer.status == 200 and answer.body == self.small, "expected the whole", answer)
            must(answer.get("x-cache") == "HIT", "expected a HIT of both parts", answer)

        self.run("parts make a whole", put_together)

    def conditions(self):
        tag, date = self.tag, self.date
        if not tag or not date:
            self.note("skipped", "conditions", "the store sends no ETag or no Last-Modified")
            return
        day = timedelta(days=1)
        moment = parsedate_to_datetime(date)
        earlier = format_datetime(moment - day, usegmt=True)
        later = format_datetime(min(moment + day, datetime.now(timezone.utc)), usegmt=True)
        bare = tag.strip('"')
        cases = [
            ("If-None-Match", [("If-None-Match", tag)], 304),
            ("If-None-Match, weak", [("If-None-Match", "W/" + tag)], 304),
            ("If-None-Match, a list", [("If-None-Match", '"x", %s' % tag)], 304),
            ("If-None-Match, any", [("If-None-Match", "*")], 304),
            ("If-None-Match, no quotes", [("If-None-Match", bare)], 304),
            ("If-None-Match, another", [("If-None-Match", '"other"')], 200),
            ("If-Match", [("If-Match", tag)], 200),
            ("If-Match, a list", [("If-Match", '"x", %s' % tag)], 200),
            ("If-Match, any", [("If-Match", "*")], 200),
            ("If-Match, no quotes", [("If-Match", bare)], 200),
            ("If-Match, another", [("If-Match", '"other"')], 412),
            ("If-Modified-Since", [("If-Modified-Since", date)], 304),
            ("If-Modified-Since, later", [("If-Modified-Since", later)], 304),
            ("If-Modified-Since, earlier", [("If-Modified-Since", earlier)], 200),
            ("If-Modified-Since, no date", [("If-Modified-Since", "yesterday")], 200),
            ("If-Unmodified-Since", [("If-Unmodified-Since", date)], 200),
            ("If-Unmodified-Since, earlier", [("If-Unmodified-Since", earlier)], 412),
            ("another tag counts before the date", [("If-None-Match", '"other"'), ("If-Modified-Since", date)], 200),
            ("the tag counts before an earlier date", [("If-None-Match", tag), ("If-Modified-Since", earlier)], 304),
            ("the tag counts before If-Unmodified-Since", [("If-Match", tag), ("If-Unmodified-Since", earlier)], 200),
        ]
        for name, fields, status in cases:
            for method in ("GET", "HEAD"):
                self.three("%s: %s" % (method, name), "o/small", fields, method=method, status=status,
                           body=self.small if status == 200 else None)
        self.three("a condition and a range", "o/small", [("If-None-Match", tag), ("Range", "bytes=0-9")], status=304)

    def heads(self):
        for key in self.objects:
            self.three("HEAD of %s" % key, key, method="HEAD")
            for mode in self.MODES:
                self.run("HEAD has the fields of GET: %s [%s]" % (key, mode), self.head_like_get, key, mode)

    def head_like_get(self, key, mode):
        def fields(answer):
            return {n: answer.get(n) for n, _ in answer.fields
                    if n not in OWN and n != "transfer-encoding" and not REQUEST_ID.match(n)}

        head, get = (fields(self.in_mode(mode, key, method=method)) for method in ("HEAD", "GET"))
        differ = {n: (head.get(n), get.get(n)) for n in set(head) | set(get) if head.get(n) != get.get(n)}
        if differ:
            itself = [fields(self.store.direct(method, self.bucket, key)) for method in ("HEAD", "GET")]
            if all(itself[0].get(n) == pair[0] and itself[1].get(n) == pair[1] for n, pair in differ.items()):
                raise Skip("the store itself answers differently, HEAD and GET: %s" % differ)
            raise Wrong("HEAD and GET differ: %s" % differ)

    def metadata(self):
        packed = gzip.compress(b"hello " * 1000, mtime=0)
        cases = [
            ("common fields", "m/common", packed, [
                ("Content-Type", "text/html; charset=utf-8"), ("Content-Encoding", "gzip"),
                ("Content-Disposition", 'attachment; filename="a b.html"'), ("Content-Language", "de, en"),
                ("Cache-Control", "public, max-age=600"), ("Expires", "Thu, 01 Dec 2050 16:00:00 GMT"),
                ("x-amz-meta-title", "A, B; C=\"d\""), ("x-amz-meta-Upper", "Case")]),
            ("no type", "m/bare", b"bare", []),
            ("an empty value", "m/blank", b"blank", [("x-amz-meta-blank", "")]),
            ("2 KB of metadata", "m/much", b"much", [("x-amz-meta-%02d" % n, "v" * 90) for n in range(20)]),
            ("metadata in UTF-8", "m/utf8", b"utf8", [("x-amz-meta-title", "F\u00fc\u00dfe \u65e5\u672c")]),
            ("metadata in Latin-1", "m/latin1", b"latin1", [("x-amz-meta-title", b"F\xfc\xdfe")]),
            ("metadata in RFC 2047", "m/2047", b"2047", [("x-amz-meta-title", "=?UTF-8?B?RsO8w59l?=")]),
            ("Content-Disposition in UTF-8", "m/name", b"name",
             [("Content-Disposition", "attachment; filename*=UTF-8''F%C3%BC.txt; filename=\"F\u00fc.txt\"")]),
            ("an Expires that is no date", "m/expires", b"expires", [("Expires", "never")]),
            ("no-store", "m/no-store", b"no-store", [("Cache-Control", "no-store")]),
            ("several encodings", "m/codings", packed, [("Content-Encoding", "gzip, aws-chunked")]),
        ]
        for name, key, body, fields in cases:
            try:
                self.store.put(self.bucket, key, body, fields)
                direct = self.store.direct("GET", self.bucket, key)
                if direct.status != 200 or direct.body != body:
                    raise OSError("the store itself answers %s" % direct)
            except (OSError, ValueError) as error:
                self.note("skipped", "metadata: %s" % name, str(error))
                continue
            for field, value in fields:
                sent = value.decode("latin-1") if isinstance(value, bytes) else value.encode().decode("latin-1")
                if direct.get(field.lower()) != sent and self.options.verbose:
                    print("   the store turns %s: %r into %r" % (field, sent, direct.get(field.lower())))

            def like_the_store(answer, direct=direct):
                for field in list(direct.metadata()) + FIELDS:
                    ours, theirs = answer.get(field), direct.get(field)
                    if field == "content-encoding" and theirs:
                        # The gateway takes it out: it is the coding of the upload.
                        theirs = ", ".join(c.strip() for c in theirs.split(",") if c.strip() != "aws-chunked") or None
                    if field == "etag" and theirs and not theirs.endswith('"'):
                        theirs = '"%s"' % theirs
                    if field == "content-length" and theirs is None:
                        continue
                    must(ours == theirs, "%s is %r, and the store's %r" % (field, ours, theirs), answer)

            self.three("metadata: %s" % name, key, body=body, extra=like_the_store)

        def not_stored():
            answers = [self.gateway.get("cached", "m/no-store") for _ in range(2)]
            if self.store.direct("GET", self.bucket, "m/no-store").get("cache-control") != "no-store":
                raise Skip("the store drops Cache-Control")
            must(all(a.get("x-cache") == "MISS" for a in answers), "expected MISS twice", *answers)

        self.run("no-store is obeyed", not_stored)

        def own_life():
            own = self.store.direct("GET", self.bucket, "m/common")
            if not (own.get("cache-control") or "").endswith("max-age=600"):
                raise Skip("the store drops Cache-Control")
            self.gateway.purge(bucket="zero", all=True)
            answers = [self.gateway.get("zero", "m/common") for _ in range(2)]
            must(answers[1].get("x-cache") == "HIT", "expected a HIT", *answers)

        self.run("max-age counts before the ttl", own_life)

    def errors(self):
        def problem(answer):
            must(answer.get("content-type") == "application/problem+json", "expected a problem", answer)
            must(answer.get("cache-control") == "no-store", "expected no-store", answer)

        for method in ("GET", "HEAD"):
            for key in ("missing", "o/small/below", "o", "o/", "missing/\u00e9 +%"):
                direct = self.store.direct(method, self.bucket, key)
                if direct.status != 404:
                    self.note("skipped", "%s of the missing key %r" % (method, key), "the store itself answers %s" %
                              direct.brief())
                    continue
                for mode in ("cold", "plain"):
                    def missing(mode=mode):
                        answer = self.in_mode(mode, key, method=method)
                        must(answer.status == 404, "expected 404", answer)
                        must(method == "GET" or not answer.body, "a body of a HEAD", answer)
                        problem(answer)
                    self.run("%s of the missing key %r [%s]" % (method, key, mode), missing)

        self.run("/ready", lambda: must(self.ready(self.gateway)[0] == 200, "expected 200: %s" % (
            self.ready(self.gateway),)))
        s3 = {"bucket": self.bucket}
        other = "eu-north-1" if self.store.region != "eu-north-1" else "eu-west-3"
        cases = {
            "secret": {"s3": dict(s3, secret_key="wrong-secret")},
            "key": {"s3": dict(s3, access_key="wrongkey", secret_key="wrong-secret")},
            "region": {"s3": dict(s3, region=other)},
            "absent": {"s3": {"bucket": self.absent_bucket}},
            "nobody": {"s3": dict(s3, anonymous=True, access_key=None, secret_key=None)},
            "found-region": {"s3": dict(s3, region=None)},
        }
        buckets = {}
        for name, own in cases.items():
            buckets[name + "-cached"] = dict(own, cache={"ttl": "1h"})
            buckets[name + "-plain"] = dict(own, cache={"enabled": False})
        gateway = Gateway(self.program, self.folder, "errors", self.store, buckets)
        try:
            ready = self.ready(gateway)[1]
            self.run("wrong secret", self.refused, gateway, ready, "secret", self.store.direct(
                "GET", self.bucket, "o/one", secret="wrong-secret"), 502, False)
            access, self.store.access = self.store.access, "wrongkey"
            direct = self.store.direct("GET", self.bucket, "o/one", secret="wrong-secret")
            self.store.access = access
            self.run("unknown access key", self.refused, gateway, ready, "key", direct, 502, False)
            self.run("wrong region", self.refused, gateway, ready, "region", self.store.direct(
                "GET", self.bucket, "o/one", region=other), 502, False)
            self.run("missing bucket", self.refused, gateway, ready, "absent", self.store.direct(
                "GET", self.absent_bucket, "o/one"), 404, False)
            self.run("without a signature", self.refused, gateway, ready, "nobody", self.store.direct(
                "GET", self.bucket, "o/one", sign=False), 403, True)

            def found():
                for mode in ("cached", "plain"):
                    answer = gateway.get("found-region-" + mode, "o/one")
                    must(answer.status == 200 and answer.body == b"1", "expected the object", answer)
            self.run("no region configured", found)
        finally:
            gateway.stop()

    def ready(self, gateway):
        answer = ask(gateway.admin, "GET", "/ready")
        return answer.status, {b["bucket"]: b for b in json.loads(answer.body).get("buckets", [])}

    def refused(self, gateway, ready, name, direct, status, is_ready):
        """A configuration that the store refuses: clients get `status`, and `/ready` says why."""
        if name == "nobody" and direct.status not in (200, 401, 403):
            raise Skip("the store itself answers not as S3 does: %s" % direct.brief())
        if direct.status == 200:
            for mode in ("cached", "plain"):
                answer = gateway.get("%s-%s" % (name, mode), "o/one")
                must(answer.status == 200, "the store itself takes it", answer)
            raise Skip("the store itself takes it")
        for mode in ("cached", "plain"):
            prefix = "%s-%s" % (name, mode)
            for _ in range(2):
                answer = gateway.get(prefix, "o/one")
                must(answer.status == status, "expected %d" % status, answer, direct)
            head = gateway.get(prefix, "o/one", method="HEAD")
            # A HEAD has no document: a bare 403 may not say whose fault it is.
            must(head.status in (status, 403) and not head.body, "HEAD: expected %d or 403" % status, head)
            if name == "absent" and b"NoSuchBucket" not in direct.body:
                raise Skip("the store itself does not say NoSuchBucket, but %s" % direct.brief())
            must(ready[prefix]["ready"] == is_ready, "/ready says %s" % ready[prefix], direct)

    def cors(self):
        store = self.store
        allowed, refused = "https://app.example", "https://evil.example"
        rules = {"CORSRules": [{
            "AllowedOrigins": [allowed, "https://*.maps.example"], "AllowedMethods": ["GET", "HEAD"],
            "AllowedHeaders": ["*"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 300}]}
        try:
            store.put(self.cors_bucket, "page", b"page")
            store.client.put_bucket_cors(Bucket=self.cors_bucket, CORSConfiguration=rules)
            direct = store.direct("GET", self.cors_bucket, "page", [("Origin", allowed)])
            unasked = store.direct("GET", self.cors_bucket, "page", [("Origin", refused)])
        except (OSError, botocore.exceptions.ClientError) as error:
            self.note("skipped", "cors", "PutBucketCors: %s" % error)
            return
        if not direct.get("access-control-allow-origin"):
            self.note("skipped", "cors", "the store itself sends no CORS fields to an allowed origin")
            return
        if unasked.get("access-control-allow-origin"):
            self.note("skipped", "cors: its rules", "the store itself allows every origin, whatever the rules say: %s"
                      % unasked.get("access-control-allow-origin"))
            allowed_by_store = True
        else:
            allowed_by_store = False

        where = {"bucket": self.cors_bucket, "buckets": ("cors-cached", "cors-plain")}

        def granted(answer):
            value = answer.get("access-control-allow-origin")
            must(value == direct.get("access-control-allow-origin"), "the store's grant is missing", answer, direct)
            must("origin" in (answer.get("vary") or "").lower(), "Vary without Origin", answer)
            must(answer.get("access-control-expose-headers") == direct.get("access-control-expose-headers"),
                 "the exposed fields are not the store's", answer, direct)

        def denied(answer):
            must(not answer.get("access-control-allow-origin"), "a grant for nobody", answer)

        self.three("cors: an allowed origin", "page", [("Origin", allowed)], body=b"page", extra=granted, **where)
        self.three("cors: HEAD of an allowed origin", "page", [("Origin", allowed)], method="HEAD", extra=granted,
                   **where)
        if not allowed_by_store:
            self.three("cors: a refused origin", "page", [("Origin", refused)], body=b"page", extra=denied, **where)

        def mixed():
            self.gateway.purge(bucket="cors-cached", all=True)
            for _ in range(2):
                for origin, check in (
                        (None, None), (allowed, granted), (refused, denied), ("https://a.maps.example", None)):
                    if allowed_by_store and origin == refused:
                        continue
                    fields = [("Origin", origin)] if origin else []
                    answer = self.gateway.get("cors-cached", "page", fields)
                    must(answer.status == 200 and answer.body == b"page", "expected the page", answer)
                    if check:
                        check(answer)
                    if origin and "maps" in origin:
                        own = store.direct("GET", self.cors_bucket, "page", fields)
                        must(answer.get("access-control-allow-origin") == own.get("access-control-allow-origin"),
                             "the store answers otherwise", answer, own)
            must(answer.get("x-cache") == "HIT", "expected a HIT", answer)

        self.run("cors: many origins of one stored object", mixed)

        for origin, method, good in ((allowed, "GET", True), (refused, "GET", False), (allowed, "DELETE", False)):
            fields = [("Origin", origin), ("Access-Control-Request-Method", method),
                      ("Access-Control-Request-Headers", "range")]
            # Browsers send no signature with a preflight.
            own = store.direct("OPTIONS", self.cors_bucket, "page", fields, sign=False)
            for prefix in ("cors-cached", "cors-plain"):
                def preflight(prefix=prefix):
                    answer = self.gateway.get(prefix, "page", fields, method="OPTIONS")
                    value = own.get("access-control-allow-origin")
                    if bool(value) != good or (good and own.status >= 400):
                        must(answer.get("access-control-allow-origin") == value, "the store answers otherwise",
                             answer, own)
                        raise Skip("the store itself answers %s, allowed origin: %s" % (own.brief(), value))
                    if good:
                        must(answer.status == 200, "expected 200", answer, own)
                        must(answer.get("access-control-allow-origin") == value, "the grant is missing", answer, own)
                        must("GET" in (answer.get("access-control-allow-methods") or ""), "no methods", answer, own)
                    else:
                        must(answer.status == 403, "expected 403", answer, own)
                        denied(answer)
                self.run("cors: preflight of %s for %s [%s]" % (origin, method, prefix), preflight)

        missing = store.direct("GET", self.cors_bucket, "missing", [("Origin", allowed)])
        for prefix in ("cors-cached", "cors-plain"):
            def error(prefix=prefix):
                answer = self.gateway.get(prefix, "missing", [("Origin", allowed)])
                must(answer.status == 404, "expected 404", answer)
                if not missing.get("access-control-allow-origin"):
                    raise Skip("the store itself sends no CORS fields with a 404")
                must(answer.get("access-control-allow-origin") == missing.get("access-control-allow-origin"),
                     "the grant is missing", answer)
            self.run("cors: a 404 has the fields [%s]" % prefix, error)

    def versions(self):
        store, bucket = self.store, self.versions_bucket
        try:
            store.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
            first, second = (store.put(bucket, "v", body).get("x-amz-version-id") for body in (b"first", b"second!"))
        except (OSError, botocore.exceptions.ClientError) as error:
            self.note("skipped", "versions", "PutBucketVersioning: %s" % error)
            return
        if not first or store.direct("GET", bucket, "v", query="versionId=" + quote(first)).body != b"first":
            self.note("skipped", "versions", "the store itself keeps no versions")
            return
        where = {"bucket": bucket, "buckets": ("versions-cached", "versions-plain")}

        def is_version(version):
            def extra(answer):
                must(answer.get("x-amz-version-id") == version, "x-amz-version-id is not %s" % version, answer)
            return extra

        self.three("version: the first", "v", query="versionId=" + quote(first), body=b"first",
                   extra=is_version(first), **where)
        self.three("version: the second", "v", query="versionId=" + quote(second), body=b"second!",
                   extra=is_version(second), **where)
        self.three("version: the latest", "v", body=b"second!", extra=is_version(second), **where)
        self.three("version: HEAD", "v", query="versionId=" + quote(first), method="HEAD", extra=is_version(first),
                   **where)
        for wrong in ("no-such-version", "00000000000000000000000000000000"):
            own = store.direct("GET", bucket, "v", query="versionId=" + wrong)
            for prefix in where["buckets"]:
                def unknown(prefix=prefix):
                    answer = self.gateway.get(prefix, "v", query="versionId=" + wrong)
                    if own.status not in (400, 404):
                        must(answer.status in (own.status, 502), "the store itself", own, answer)
                        raise Skip("the store itself answers %s" % own.brief())
                    must(answer.status == own.status, "expected %d" % own.status, answer)
                self.run("version: unknown %s [%s]" % (wrong, prefix), unknown)
        marker = store.direct("DELETE", bucket, "v")
        for prefix in where["buckets"]:
            def deleted(prefix=prefix):
                self.gateway.purge(bucket="versions-cached", all=True)
                answer = self.gateway.get(prefix, "v")
                must(answer.status == 404, "expected 404 for a deleted object", answer)
                answer = self.gateway.get(prefix, "v", query="versionId=" + quote(first))
                must(answer.status == 200 and answer.body == b"first", "expected the first version", answer)
                version = marker.get("x-amz-version-id")
                if not version:
                    raise Skip("the store itself does not name the delete marker")
                own = store.direct("GET", bucket, "v", query="versionId=" + quote(version))
                answer = self.gateway.get(prefix, "v", query="versionId=" + quote(version))
                must(answer.status == 404, "expected 404 for a delete marker", answer, own)
            self.run("version: a delete marker [%s]" % prefix, deleted)

    def revalidation(self):
        store, gateway = self.store, self.gateway

        def confirmed(key, body):
            first, second = (gateway.get("zero", key) for _ in range(2))
            must(first.body == body and second.body == body, "the body is wrong", first, second)
            if second.get("x-cache") != "REVALIDATED":
                own = store.direct("GET", self.bucket, key, [("If-None-Match", first.get("etag") or "?")])
                if own.status != 304:
                    raise Skip("the store itself answers %d to the stored object's tag" % own.status)
                must(False, "expected REVALIDATED", first, second, own)
            must(second.get("content-type") == first.get("content-type"), "the type changed", first, second)
            must(second.get("content-length") == first.get("content-length"), "the length changed", first, second)

        for key in ("o/empty", "o/one", "o/small"):
            self.run("revalidated: %s" % key, confirmed, key, self.objects[key])

        def changed():
            # Several times within a second: dates tell nothing, and only the tag does.
            for number in range(5):
                body = b"body %d" % number
                store.put(self.bucket, "r/changed", body)
                answer = gateway.get("zero", "r/changed")
                own = store.direct("GET", self.bucket, "r/changed", [
                    ("If-None-Match", '"other"'), ("If-Modified-Since", answer.get("last-modified") or "")])
                must(answer.body == body, "expected %r" % body, answer,
                     "the store itself, to another tag and this date: %s" % own)

        self.run("changed objects are fetched", changed)

        def gone():
            store.put(self.bucket, "r/gone", b"here")
            gateway.get("zero", "r/gone")
            store.direct("DELETE", self.bucket, "r/gone")
            answer = gateway.get("zero", "r/gone")
            must(answer.status == 404, "expected 404", answer)

        self.run("deleted objects are missing", gone)

        def mended(method, wait):
            key = "r/mended-%s-%s" % (method, wait)
            store.put(self.bucket, key, b"same", [("Content-Type", "text/plain"), ("x-amz-meta-a", "old")])
            old = self.store.direct("GET", self.bucket, key)
            time.sleep(1.1 if wait else 0)
            must(gateway.get("zero", key).get("content-type") == "text/plain", "expected text/plain")
            copied = store.direct("PUT", self.bucket, key, [
                ("x-amz-copy-source", "/%s/%s" % (self.bucket, key)), ("x-amz-metadata-directive", "REPLACE"),
                ("Content-Type", "text/css"), ("x-amz-meta-a", "new")])
            own = store.direct("GET", self.bucket, key)
            if copied.status != 200 or own.get("content-type") != "text/css":
                raise Skip("the store itself does not replace metadata: %s" % own.brief())
            answer = gateway.get("zero", key, method=method)
            if own.get("last-modified") == old.get("last-modified"):
                raise Skip("the store itself changes neither the tag nor Last-Modified")
            if answer.get("content-type") != "text/css" and not wait:
                raise Skip("within a second, the store's 304 shows no difference")
            must(answer.get("content-type") == "text/css" and answer.get("x-amz-meta-a") == "new",
                 "expected the new metadata", answer, own, "to the tag: %s" % store.direct(
                     "GET", self.bucket, key, [("If-None-Match", own.get("etag"))]),
                 "to tag and date: %s" % store.direct("GET", self.bucket, key, [
                     ("If-None-Match", own.get("etag")), ("If-Modified-Since", own.get("last-modified"))]))

        self.run("metadata replaced in place, GET", mended, "GET", True)
        self.run("metadata replaced in place, HEAD", mended, "HEAD", True)
        self.run("metadata replaced within a second", mended, "GET", False)

        def ranged():
            gateway.purge(bucket="zero", all=True)
            for _ in range(3):
                answer = gateway.get("zero", "o/small", [("Range", "bytes=5-9")])
                must(answer.status == 206 and answer.body == self.small[5:10], "expected the part", answer)

        self.run("ranges with ttl 0", ranged)

        def condition():
            gateway.get("zero", "o/small")
            answer = gateway.get("zero", "o/small", [("If-None-Match", self.tag)])
            must(answer.status == 304, "expected 304", answer)
            answer = gateway.get("zero", "o/small", [("If-None-Match", '"other"')])
            must(answer.status == 200 and answer.body == self.small, "expected the object", answer)

        self.run("conditions with ttl 0", condition)

    def parts(self):
        client, key = self.store.client, "p/parts"
        first, second = self.large[:5 * 1024 * 1024], self.large[-1_000_000:]
        try:
            upload = client.create_multipart_upload(Bucket=self.bucket, Key=key, ContentType="video/mp4")["UploadId"]
            done = []
            for number, body in ((1, first), (2, second)):
                part = client.upload_part(
                    Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)
                done.append({"PartNumber": number, "ETag": part["ETag"]})
            client.complete_multipart_upload(
                Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done})
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            self.note("skipped", "parts", "the multipart upload: %s" % error)
            return
        self.three("an object of two parts", key, body=first + second)
        total = len(first) + len(second)
        self.three("a range over both parts", key, [("Range", "bytes=5242870-5242889")], status=206,
                   body=(first + second)[5242870:5242890])
        tag = self.store.direct("GET", self.bucket, key, [("Range", "bytes=0-0")]).get("etag")
        if tag:
            self.three("the tag of two parts", key, [("If-None-Match", tag)], status=304)
        for number, body, start in ((1, first, 0), (2, second, len(first))):
            own = self.store.direct("GET", self.bucket, key, query="partNumber=%d" % number)
            if own.status != 206:
                self.note("skipped", "part number %d" % number, "the store itself answers %s" % own.brief())
                continue

            def part(answer, start=start, body=body):
                must(answer.get("content-range") == "bytes %d-%d/%d" % (start, start + len(body) - 1, total),
                     "Content-Range is wrong", answer)

            self.three("part number %d" % number, key, query="partNumber=%d" % number, status=206, body=body,
                       extra=part)
        own = self.store.direct("GET", self.bucket, key, query="partNumber=9")
        for prefix in ("cached", "plain"):
            def beyond(prefix=prefix):
                answer = self.gateway.get(prefix, key, query="partNumber=9")
                if own.status not in (400, 404, 416):
                    raise Skip("the store itself answers %s" % own.brief())
                must(answer.status == own.status, "expected %d" % own.status, answer, own)
            self.run("part number 9 of 2 [%s]" % prefix, beyond)

    def purges(self):
        store, gateway = self.store, self.gateway

        def purged(key, selection, soft=False):
            store.put(self.bucket, key, b"old", [("x-amz-meta-cache-tag", "red, blue")])
            gateway.get("cached", key)
            time.sleep(0.01)
            store.put(self.bucket, key, b"newer", [("x-amz-meta-cache-tag", "red, blue")])
            kept = gateway.get("cached", key)
            must(kept.body == b"old" and kept.get("x-cache") == "HIT", "expected a HIT of the old object", kept)
            if "tag" in selection and not store.direct("GET", self.bucket, key).get("x-amz-meta-cache-tag"):
                raise Skip("the store drops the metadata")
            count = gateway.purge(bucket="cached", soft=soft, **selection)
            must(count >= 1, "expected at least one, and not %d" % count)
            answer = gateway.get("cached", key)
            must(answer.body == b"newer", "expected the new object", answer)

        self.run("purge by key", purged, "u/one", {"key": "u/one"})
        odd = "u/\u00e9 +%&\u65e5.css"
        self.run("purge by an odd key", purged, odd, {"key": odd})
        self.run("purge by prefix", purged, "u/two", {"prefix": "u/t"})
        self.run("purge by tag", purged, "u/three", {"tag": "blue"})
        self.run("purge of all", purged, "u/four", {"all": True})
        self.run("soft purge", purged, "u/five", {"key": "u/five"}, True)

        def method():
            gateway.get("cached", "o/one")
            answer = ask(gateway.admin, "PURGE", "/cached/o/one")
            must(answer.status == 200 and json.loads(answer.body)["purged"] == 1, "expected one", answer)
            must(gateway.get("cached", "o/one").get("x-cache") == "MISS", "expected a MISS")

        self.run("the method PURGE", method)

    def events(self):
        """The store tells a queue of changes, and the gateway reads it."""
        if not self.options.queue:
            return
        store = self.store
        queues = boto3.client("sqs", endpoint_url=store.endpoint, region_name=store.region,
                              aws_access_key_id=store.access, aws_secret_access_key=store.secret)
        url = queues.create_queue(QueueName=self.bucket)["QueueUrl"]
        arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        store.client.put_bucket_notification_configuration(Bucket=self.bucket, NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}]})
        sqs = {"url": url, "region": store.region, "access_key": store.access, "secret_key": store.secret}
        cache = {"ttl": 3600, "negative_ttl": 3600, "stale_if_error": 0}
        buckets = {"cached": {"s3": {"bucket": self.bucket}, "cache": cache}}
        gateway = Gateway(self.program, self.folder, "events", store, buckets, {"sqs": sqs})

        def until(what, key, is_right):
            for _ in range(200):
                answer = gateway.get("cached", key)
                if is_right(answer):
                    return
                time.sleep(0.05)
            raise Wrong(what, answer)

        def stored(key, body):
            store.put(self.bucket, key, body)
            until("the object is not to be had", key, lambda answer: answer.body == body)
            until("it is not stored", key, lambda answer: answer.get("x-cache") == "HIT")

        def changed(key):
            stored(key, b"old")
            store.put(self.bucket, key, b"new")
            until("the change did not arrive", key, lambda answer: answer.body == b"new")

        def removed():
            stored("e/gone", b"old")
            store.client.delete_object(Bucket=self.bucket, Key="e/gone")
            until("the removal did not arrive", "e/gone", lambda answer: answer.status == 404)

        def made():
            must(gateway.get("cached", "e/later").status == 404, "it is not there yet")
            store.put(self.bucket, "e/later", b"new")
            until("it is still missing", "e/later", lambda answer: answer.body == b"new")

        def deleted():
            names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            for _ in range(200):
                left = queues.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
                if all(left[name] == "0" for name in names):
                    return
                time.sleep(0.05)
            raise Wrong("messages are left in the queue: %s" % left)

        try:
            self.run("an event for a changed object", changed, "e/one")
            self.run("an event for an odd key", changed, "e/\u00e9 +%&\u65e5.css")
            self.run("an event for a removed object", removed)
            self.run("an event for a new object", made)
            self.run("messages are deleted", deleted)
        finally:
            gateway.stop()

    def crowd(self):
        def together(prefix, key):
            if prefix == "cached":
                self.gateway.purge(bucket="cached", all=True)
            answers = []

            def one():
                try:
                    answers.append(self.gateway.get(prefix, key))
                except OSError as error:
                    answers.append(error)

            threads = [threading.Thread(target=one) for _ in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for answer in answers:
                must(isinstance(answer, Answer) and answer.status == 200 and answer.body == self.objects[key],
                     "expected the object", answer)

        for prefix in ("cached", "plain"):
            for key in ("o/small", "o/large"):
                self.run("16 clients at once: %s [%s]" % (key, prefix), together, prefix, key)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--store", required=True, help="the store's name in the output")
    parser.add_argument("--endpoint", required=True, help="the store's URL, http://HOST:PORT[/PATH]")
    parser.add_argument("--access-key", required=True)
    parser.add_argument("--secret-key", required=True)
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--server", required=True, help="the program yatagarasu-server")
    parser.add_argument("--folder", help="where configurations and logs of the gateway are kept")
    parser.add_argument("--only", action="append", help="one group of checks: a method of `Checks.all`")
    parser.add_argument("--longest-name", type=int, default=1024, metavar="BYTES",
                        help="do not store keys with a longer name between slashes: the store breaks down")
    parser.add_argument("--queue", action="store_true", help="the store puts notifications into a queue of SQS")
    parser.add_argument("-v", "--verbose", action="store_true", help="print passed checks, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        checks = Checks(Store(options), options.server, options.folder or temporary, options)
        try:
            checks.all()
        except (OSError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            sys.exit("check.py: the store %s cannot be filled: %s" % (options.store, error))
    print("%d passed, %d failed, %d skipped" % (checks.passed, checks.failed, checks.skipped))
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
