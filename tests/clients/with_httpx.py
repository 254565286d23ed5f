"""httpx over HTTP/2: many streams at a time on one connection."""

import asyncio
import random

import httpx

import checks
from checks import CACHED, FILLED, STREAMED, VALIDATED, check, equal, local, url

LIMIT = httpx.Limits(max_connections=1)


def client():
    """A client that speaks HTTP/2 with prior knowledge, on one connection."""
    return httpx.AsyncClient(http1=False, http2=True, limits=LIMIT, timeout=60, trust_env=False)


async def together(requests):
    """Sends all requests at once on one connection."""
    async with client() as session:
        return await asyncio.gather(*(session.get(where, headers=fields) for where, fields in requests))


@check("100 ranges at a time of one cold object, on one connection")
def _():
    for prefix in (STREAMED, CACHED, FILLED, VALIDATED):
        key = f"httpx/ranges-{prefix}.bin"
        whole = checks.put(key, random.Random(11).randbytes(4_000_000))
        fields = [{"Range": f"bytes={i * 40_000}-{i * 40_000 + 39_999}"} for i in range(100)]
        answers = asyncio.run(together([(url(prefix, key), one) for one in fields]))
        equal({(a.status_code, a.http_version) for a in answers}, {(206, "HTTP/2")}, prefix)
        equal(b"".join(a.content for a in answers), whole, prefix)


@check("hits, 404s, 304s, ranges, HEADs and streams, mixed on one connection")
def _():
    text = local("text.txt")
    target = url(CACHED, "text.txt")

    async def scene():
        async with client() as session:
            await session.get(target)
            return await asyncio.gather(
                *(
                    one
                    for i in range(20)
                    for one in (
                        session.get(target),
                        session.get(url(CACHED, "httpx/missing")),
                        session.get(target, headers={"If-None-Match": "*"}),
                        session.get(target, headers={"Range": f"bytes={i}-{i + 9}"}),
                        session.head(target),
                        session.get(url(STREAMED, "medium.bin")),
                    )
                )
            )

    answers = asyncio.run(scene())
    for i in range(20):
        hit, missing, unchanged, part, head, stream = answers[i * 6 : i * 6 + 6]
        equal((hit.status_code, hit.content), (200, text), "hit")
        equal((missing.status_code, missing.json()["status"]), (404, 404), "missing")
        equal((unchanged.status_code, unchanged.content), (304, b""), "unchanged")
        equal((part.status_code, part.content), (206, text[i : i + 10]), "part")
        equal((head.status_code, head.headers["Content-Length"]), (200, str(len(text))), "head")
        equal((stream.status_code, stream.content), (200, local("medium.bin")), "stream")


@check("a stream that is left at half does not disturb the others on its connection")
def _():
    async def leave(session):
        async with session.stream("GET", url(STREAMED, "large.bin")) as answer:
            async for piece in answer.aiter_bytes(1000):
                return piece

    async def scene():
        async with client() as session:
            whole = [session.get(url(STREAMED, "medium.bin")) for _ in range(4)]
            return await asyncio.gather(leave(session), *whole, leave(session))

    first, *whole, last = asyncio.run(scene())
    equal((first, last), (local("large.bin")[:1000],) * 2, "the pieces")
    for answer in whole:
        equal(answer.content, local("medium.bin"), "the others")


checks.run("httpx")
