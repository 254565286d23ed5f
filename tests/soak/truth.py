"""What is true of the objects: which versions there are, which ones purges forbid, and which faults there were."""

import asyncio
import bisect
import collections
import json

import content

# How long after a fault its consequences may reach a client, in seconds: a request may join a fill that waits for S3 as
# long as the limits of the gateway allow, and that is tried again.
AFTERMATH = 25


class Versions:
    """The versions of all objects. `newest` may be at the origin already, `certain` is there."""

    def __init__(self):
        self.newest = dict.fromkeys(content.KEYS, 0)
        self.certain = dict.fromkeys(content.KEYS, 0)
        # The oldest version that a purge allows, by bucket and key. Refusals have no tags, so they have an own one.
        self._floors = {"object": collections.Counter(), "refusal": collections.Counter()}

    def begin(self, keys):
        """Records that the origin is told to change objects."""
        for key in keys:
            self.newest[key] += 1

    def end(self, keys):
        """Records that the origin has changed them."""
        for key in keys:
            self.certain[key] = self.newest[key]

    def purged(self, bucket, versions, is_by_tag):
        """Records that a purge has taken effect: nothing older than these versions by key may be seen in a bucket."""
        for key, version in versions.items():
            for what in ("object",) if is_by_tag else ("object", "refusal"):
                floors = self._floors[what]
                floors[bucket, key] = max(floors[bucket, key], version)

    def floor(self, bucket, key, what="object"):
        """Returns the oldest version that a request that begins now may get."""
        return self._floors[what][bucket, key]


class Trouble:
    """The faults of the origin, by object."""

    def __init__(self):
        self._times = collections.defaultdict(list)
        self.counts = collections.Counter()

    def add(self, kind, key, at):
        """Records a fault."""
        self.counts[kind] += 1
        # A slow drip keeps nothing from anybody.
        if kind != "drip":
            bisect.insort(self._times[key], at)

    def explains(self, key, begun, ended):
        """Returns whether a failure of a request for an object can come from a fault."""
        times = self._times[key]
        place = bisect.bisect_left(times, begun - AFTERMATH)
        return place < len(times) and times[place] <= ended


class Control:
    """The connection over which the origin takes orders and reports its faults."""

    def __init__(self, versions, trouble):
        self.versions, self.trouble = versions, trouble
        self._reader = self._writer = self._listening = None
        self._answers = asyncio.Queue()
        self._lock = asyncio.Lock()

    async def open(self, port):
        """Connects to the origin."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self):
        while line := await self._reader.readline():
            report = json.loads(line)
            if report:
                self.trouble.add(report["fault"], report["key"], report["at"])
            else:
                self._answers.put_nowait(None)

    async def order(self, **order):
        """Sends an order, and waits until it is carried out."""
        self._writer.write(json.dumps(order).encode() + b"\n")
        await self._answers.get()

    async def bump(self, keys):
        """Gives objects a new version at the origin."""
        async with self._lock:
            self.versions.begin(keys)
            await self.order(bump=keys)
            self.versions.end(keys)

    def close(self):
        """Ends the connection."""
        if self._writer:
            self._listening.cancel()
            self._writer.transport.abort()
