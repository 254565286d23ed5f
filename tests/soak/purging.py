"""Changes of objects, and purges."""

import asyncio
import urllib.parse

import asking
import content

# Every so many purges, one is not made although it counts, if that is the deliberate fault.
WRONG_EVERY = 8
CACHED = ["main", "whole"]


async def changing(control, rng):
    """Changes objects now and then, without a purge."""
    while True:
        await asyncio.sleep(rng.uniform(0.1, 0.6))
        await control.bump([asking.some_key(rng, list(content.KINDS))])


async def purging(server, control, rng, report, wrong):
    """Changes objects and purges them."""
    for number in range(1, 10**9):
        await asyncio.sleep(rng.uniform(0.05, 0.5))
        how, buckets, body, keys = order(rng)
        # In the bucket `whole`, what is only marked stale may be served while S3 is silent. In `lasting`, nothing is marked.
        if "bucket" in body and rng.random() < 0.2:
            body["soft"] = True
            buckets = [bucket for bucket in buckets if bucket == "main"]
        # The purge begins when its body has arrived, not with its head.
        wait = rng.uniform(0, 0.5) if rng.random() < 0.1 else None
        change = asyncio.create_task(changed(control, rng, keys, wait or 0))
        if wait is None:
            await change
        if wrong == "purge" and number % WRONG_EVERY == 0:
            status, answer = 200, "not sent"
        elif wait is None:
            status, answer = await send(server, rng, how, body)
        else:
            status, answer = await server.admin("POST", "/purge", body, change)
        versions = await change
        report.count(f"purges by {how}")
        if status != 200:
            report.complain("admin", f"a purge of {body} is answered with {status}: {answer}")
            continue
        for bucket in buckets:
            control.versions.purged(bucket, versions, how == "tag")


async def changed(control, rng, keys, wait):
    """Changes some of these objects after some time, or none. Returns which version of each there is then."""
    some = rng.sample(keys, min(len(keys), 12)) if rng.random() < 0.7 else []
    await asyncio.sleep(wait)
    await control.bump(some)
    return {key: control.versions.certain[key] for key in keys}


def order(rng):
    """Returns what to purge: by what, from which buckets, the order, and the keys that it selects."""
    how = rng.choices(["key", "prefix", "tag", "all"], [60, 15, 15, 4])[0]
    bucket, key = rng.choice(CACHED), asking.some_key(rng, list(content.KINDS))
    if how == "key":
        return how, [bucket], {"bucket": bucket, "key": key}, [key]
    if how == "prefix":
        prefix = key[: rng.choice([2, key.rindex("/") + 1, key.rindex("/") + 2])]
        keys = [one for one in content.KEYS if one.startswith(prefix)]
        return how, [bucket], {"bucket": bucket, "prefix": prefix}, keys
    body, keys = {"all": True}, content.KEYS
    if how == "tag":
        tag = content.tag_of(key)
        body, keys = {"tag": tag}, [one for one in content.KEYS if content.tag_of(one) == tag]
    if rng.random() < 0.5:
        return how, [bucket], {"bucket": bucket, **body}, keys
    return how, CACHED, body, keys


async def send(server, rng, how, body):
    """Sends a purge: as JSON, or with the method PURGE."""
    if how == "key" and "soft" not in body and rng.random() < 0.3:
        return await server.admin("PURGE", f"/{body['bucket']}/{urllib.parse.quote(body['key'])}")
    return await server.admin("POST", "/purge", body)
