"""aiohttp: many requests at a time for one object that is not stored yet."""

import asyncio
import random

import aiohttp

import checks
from checks import CACHED, FILLED, STREAMED, check, equal, holds, url

SIZE = 20_000_000
PIECE = SIZE // 100


async def together(requests):
    """Sends all requests at once, each on a connection of its own, and returns status, fields and body of each."""
    limit = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limit) as session:

        async def one(where, fields):
            async with session.get(where, headers=fields) as answer:
                return answer.status, answer.headers, await answer.read()

        return await asyncio.gather(*(one(where, fields) for where, fields in requests))


def ranges(prefix):
    """Requests 100 ranges of a new object at a time, and compares the bytes."""
    key = f"aiohttp/ranges-{prefix}.bin"
    whole = checks.put(key, random.Random(5).randbytes(SIZE))
    order = list(range(100))
    random.Random(6).shuffle(order)
    answers = asyncio.run(
        together([(url(prefix, key), {"Range": f"bytes={i * PIECE}-{(i + 1) * PIECE - 1}"}) for i in order])
    )
    equal([status for status, _, _ in answers], [206] * 100, f"{prefix}: status")
    for i, (_, fields, _) in zip(order, answers):
        equal(fields["Content-Range"], f"bytes {i * PIECE}-{(i + 1) * PIECE - 1}/{SIZE}", "Content-Range")
    parts = {i: body for i, (_, _, body) in zip(order, answers)}
    equal(b"".join(parts[i] for i in range(100)), whole, prefix)
    return key, whole


@check("100 ranges at a time of one cold object, from a bucket without a cache")
def _():
    key, _ = ranges(STREAMED)
    equal(checks.asked(key), 100, "requests to S3")


@check("100 ranges at a time of one cold object, and then the whole from the stored parts")
def _():
    key, whole = ranges(CACHED)
    before = checks.asked(key)
    ((status, fields, body),) = asyncio.run(together([(url(CACHED, key), {})]))
    equal((status, body), (200, whole), "the whole object")
    holds("hit" in fields["Cache-Status"], f"from memory: {fields['Cache-Status']}")
    equal(checks.asked(key), before, "requests to S3")


@check("100 ranges at a time of one cold object, with range_fill: S3 is asked once")
def _():
    key, _ = ranges(FILLED)
    equal(checks.asked(key), 1, "requests to S3")


@check("100 whole requests at a time of one cold object: S3 is asked once")
def _():
    key = "aiohttp/whole.bin"
    whole = checks.put(key, random.Random(7).randbytes(2_000_000))
    before = checks.metric("yatagarasu_requests_total", bucket="static", cache="joined")
    for status, _, body in asyncio.run(together([(url(CACHED, key), {})] * 100)):
        equal(status, 200, "status")
        equal(body, whole, "body")
    equal(checks.asked(key), 1, "requests to S3")
    holds(checks.metric("yatagarasu_requests_total", bucket="static", cache="joined") > before, "some have joined")


@check("100 requests at a time for a missing object: all get 404")
def _():
    answers = asyncio.run(together([(url(CACHED, "aiohttp/missing"), {})] * 100))
    equal({status for status, _, _ in answers}, {404}, "status")


@check("clients that leave at once do not disturb the others")
def _():
    key = "aiohttp/leaving.bin"
    whole = checks.put(key, random.Random(8).randbytes(5_000_000))

    async def scene():
        limit = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limit) as session:

            async def leave():
                async with session.get(url(FILLED, key)) as answer:
                    await answer.content.read(1000)

            async def stay():
                async with session.get(url(FILLED, key)) as answer:
                    return await answer.read()

            some = await asyncio.gather(*(leave() if i % 2 == 0 else stay() for i in range(40)))
            return [body for body in some if body is not None]

    bodies = asyncio.run(scene())
    equal(len(bodies), 20, "clients that stay")
    for body in bodies:
        equal(body, whole, "body")


checks.run("aiohttp")
