"""Python requests: ranges, streams, conditions, compressed objects and connections that are kept."""

import gzip
import io
import random

import requests

import checks
from checks import ALL, CACHED, FILLED, STREAMED, VALIDATED, check, equal, holds, local, url

session = requests.Session()
session.trust_env = False  # no proxy of the environment
PLAIN = {"Accept-Encoding": "identity"}


def get(where, **options):
    """A GET that waits for 30 s at most."""
    return session.get(where, timeout=30, **options)


@check("ranges at random places, cold and warm")
def _():
    whole = local("large.bin")
    places = random.Random(2)
    for prefix in ALL:
        for _ in range(40):
            first = places.randrange(len(whole))
            last = min(first + places.choice((0, 1, 99, 4095, 65_535, 999_999)), len(whole) - 1)
            answer = get(url(prefix, "large.bin"), headers={"Range": f"bytes={first}-{last}"})
            equal(answer.status_code, 206, "status")
            equal(answer.headers["Content-Range"], f"bytes {first}-{last}/{len(whole)}", "Content-Range")
            equal(answer.content, whole[first : last + 1], f"{prefix} {first}-{last}")


@check("a stream in pieces of 10,000 bytes, and one that is left at half")
def _():
    whole = local("large.bin")
    for prefix in ALL:
        with get(url(prefix, "large.bin"), stream=True) as answer:
            equal(answer.headers["Content-Length"], str(len(whole)), "Content-Length")
            body = io.BytesIO()
            for piece in answer.iter_content(10_000):
                body.write(piece)
        equal(body.getvalue(), whole, prefix)
        with get(url(prefix, "large.bin"), stream=True) as answer:
            equal(answer.raw.read(1_000_000), whole[:1_000_000], "the first million")
        equal(get(url(prefix, "text.txt")).content, local("text.txt"), "the request after it")


def conditions(prefix, table):
    """Sends conditions with a tag, a date, and an old date, and compares the status and the body."""
    answer = get(url(prefix, "text.txt"))
    tag, date = answer.headers["ETag"], answer.headers["Last-Modified"]
    old = "Sat, 01 Jan 2000 00:00:00 GMT"
    for fields, status in table:
        fields = {
            name: value.format(tag=tag, bare=tag.strip('"'), date=date, old=old)
            for name, value in fields.items()
        }
        answer = get(url(prefix, "text.txt"), headers=fields)
        equal(answer.status_code, status, f"{prefix} {fields}")
        if status == 200:
            equal(answer.content, local("text.txt"), f"{prefix} {fields}")
        if status == 304:
            equal((answer.content, answer.headers["ETag"]), (b"", tag), f"{prefix} {fields}")


SINGLE = (
    ({"If-None-Match": "{tag}"}, 304),
    ({"If-None-Match": '"x"'}, 200),
    ({"If-Modified-Since": "{date}"}, 304),
    ({"If-Modified-Since": "{old}"}, 200),
    ({"If-Match": "{tag}"}, 200),
    ({"If-Match": '"x"'}, 412),
    ({"If-Unmodified-Since": "{date}"}, 200),
    ({"If-Unmodified-Since": "{old}"}, 412),
)
COMPOUND = (
    ({"If-None-Match": '"x", {tag}'}, 304),
    ({"If-None-Match": "W/{tag}"}, 304),
    ({"If-None-Match": "{bare}"}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"x"', "If-Modified-Since": "{date}"}, 200),
    ({"If-None-Match": "{tag}", "If-Modified-Since": "{old}"}, 304),
    ({"If-Match": "*"}, 200),
    ({"If-Match": '"x", {tag}'}, 200),
    ({"If-Match": "{tag}", "If-Unmodified-Since": "{old}"}, 200),
)


@check("conditions: 304 and 412")
def _():
    for prefix in ALL:
        conditions(prefix, SINGLE)


@check("lists of tags, weak tags, the star, and two conditions, from memory")
def _():
    for prefix in (CACHED, FILLED, VALIDATED):
        conditions(prefix, COMPOUND)


@check("the same without a cache, though the S3 server compares a single tag only")
def _():
    wrong = []
    for row in COMPOUND:
        try:
            conditions(STREAMED, [row])
        except AssertionError as error:
            wrong.append(str(error))
    equal(wrong, [], "other answers")


@check("If-Range: a part of the same version, the whole of another")
def _():
    whole = local("text.txt")
    for prefix in ALL:
        tag = get(url(prefix, "text.txt")).headers["ETag"]
        answer = get(url(prefix, "text.txt"), headers={"Range": "bytes=10-19", "If-Range": tag})
        equal((answer.status_code, answer.content), (206, whole[10:20]), f"{prefix}, the same")
        answer = get(url(prefix, "text.txt"), headers={"Range": "bytes=10-19", "If-Range": '"x"'})
        equal((answer.status_code, answer.content), (200, whole), f"{prefix}, another")


@check("a download that breaks off and goes on with If-Range gets no mixture of two versions")
def _():
    for prefix in (STREAMED, VALIDATED):
        key = f"requests/mixture-{prefix}.bin"
        first = checks.put(key, random.Random(3).randbytes(500_000))
        with get(url(prefix, key), stream=True) as answer:
            tag = answer.headers["ETag"]
            have = answer.raw.read(100_000)
        equal(have, first[:100_000], "the first version")
        rest = get(url(prefix, key), headers={"Range": "bytes=100000-", "If-Range": tag})
        equal((rest.status_code, have + rest.content), (206, first), f"{prefix}, unchanged")
        second = checks.put(key, random.Random(4).randbytes(400_000))
        rest = get(url(prefix, key), headers={"Range": "bytes=100000-", "If-Range": tag})
        equal((rest.status_code, rest.content), (200, second), f"{prefix}, changed")


@check("an object stored with Content-Encoding: gzip is unpacked by the client, and parts of it are not")
def _():
    packed = local("packed.txt")
    for prefix in ALL:
        for _ in range(2):
            answer = get(url(prefix, "packed.txt"))
            equal(answer.content, gzip.decompress(packed), f"{prefix}, unpacked")
            equal(answer.headers["Content-Length"], str(len(packed)), "Content-Length")
            with get(url(prefix, "packed.txt"), stream=True, headers=PLAIN) as answer:
                equal(answer.raw.read(decode_content=False), packed, f"{prefix}, as stored")
            fields = {"Range": "bytes=100-299", **PLAIN}
            with get(url(prefix, "packed.txt"), stream=True, headers=fields) as answer:
                equal(answer.raw.read(decode_content=False), packed[100:300], f"{prefix}, a part")


@check("200 requests of every kind use one connection")
def _():
    own = requests.Session()
    own.trust_env = False
    target = url(CACHED, "text.txt")
    for i in range(25):
        equal(own.get(target).content, local("text.txt"), "GET")
        equal(own.head(target).headers["Content-Length"], str(len(local("text.txt"))), "HEAD")
        equal(own.get(target, headers={"If-None-Match": "*"}).status_code, 304, "304")
        equal(own.get(url(CACHED, "requests/missing")).json()["status"], 404, "404")
        equal(
            own.get(target, headers={"Range": f"bytes={i}-{i}"}).content, local("text.txt")[i : i + 1], "206"
        )
        equal(own.options(target).status_code, 204, "OPTIONS")
        equal(own.post(target, data=b"x" * 100).status_code, 405, "POST")
        equal(own.get(url(STREAMED, "text.txt")).content, local("text.txt"), "stream")
    pools = own.get_adapter(target).poolmanager.pools
    counts = [(pools[key].num_requests, pools[key].num_connections) for key in pools.keys()]
    equal(counts, [(200, 1)], "requests and connections")


@check("pages of S3's own errors do not reach the client")
def _():
    for prefix in ALL:
        answer = get(url(prefix, "requests/missing"))
        equal(answer.headers["Content-Type"], "application/problem+json", "Content-Type")
        equal(answer.json()["request_id"], answer.headers["X-Request-Id"], "the id of the request")
        holds(b"NoSuchKey" not in answer.content, "S3's words are not passed on")


checks.run("requests")
