"""The clients. Each function is one client that goes on until it is cancelled."""

import asyncio
import contextlib
import random

import asking
import content
from wire import Broken, Connection, Malformed, Secure

# How long a response may stand still for a client that reads, in seconds. The gateway gives up on S3 before.
STILL_MAX = 20
# How long a client may take nothing, in seconds: the longest `send_timeout`, two looks of the gateway, and what a busy
# machine adds.
CUT_MAX = 15
# The kinds of objects that do not fit into the buffers of two sockets.
LONG = ["medium", "large", "huge"]
# A small receive buffer, in bytes, so that a client that does not read is noticed soon.
SMALL_BUFFER = 8_192
# How long a fast client rests at most, in seconds. The gateway bears it for longer.
REST_MAX = 1.5
# How slow clients read: the receive buffer, and how many bytes each `PAUSE`. With these, the system acknowledges bytes
# at least every 0.6 s: it does not tell the gateway before a part of the buffer is free again.
PACES, PAUSE = [(2_048, 1_024), (8_192, 4_096), (8_192, 16_384)], 0.2


class Clients:
    """What all clients share."""

    def __init__(self, ports, seed, judge, log):
        self.port, self.secure_port = ports
        self.seed, self.judge, self.log = seed, judge, log
        self.versions, self.report = judge.versions, judge.report
        self._open = set()
        self._loop = asyncio.get_running_loop()

    def start(self, kind, count):
        """Starts clients of a kind. Returns their tasks."""
        rngs = [random.Random(f"{self.seed}/{kind.__name__}/{number}") for number in range(count)]
        return [asyncio.create_task(self._go_on(kind, rng)) for rng in rngs]

    async def _go_on(self, kind, rng):
        while True:
            await kind(self, rng)
            await asyncio.sleep(rng.uniform(0, 0.1))

    @contextlib.asynccontextmanager
    async def connection(self, receive_buffer=None, is_secure=False):
        """A new connection, which is closed at the end."""
        connection = (Secure if is_secure else Connection)(receive_buffer)
        self._open.add(connection)
        try:
            try:
                await connection.open(self.secure_port if is_secure else self.port)
            except OSError as error:
                self.report.complain("answers", f"there is no connection: {error!r}")
            self.report.count("connections")
            yield connection
        except (OSError, Broken) as error:
            self.report.count(f"ended: {type(error).__name__}")
        finally:
            self._open.discard(connection)
            connection.close()

    async def send(self, connection, requests):
        """Sends requests at once."""
        now = self._loop.time()
        self.report.count("requests", len(requests))
        data = b"".join(asked.begin(self.versions, now) for asked in requests)
        try:
            await connection.send(data)
        except OSError as error:
            broken = Broken("before the head", f"not sent ({error!r})")
            self.judge.broken(requests[0], None, None, broken, self._loop.time())
            raise

    async def answer(self, connection, asked, limit=None, rest=None):
        """Reads and judges the response to a request. Returns its head, or None if it is not whole.

        Awaits `rest` each time after it has received bytes, with the number of those of the body.
        """
        limits = {"limit": limit} if limit else {}
        head = expected = None
        received = taken = arrived = 0
        began = self._loop.time()
        try:
            head = await connection.head(**limits)
            self.judge.waited(asked, head, self._loop.time() - began)
            expected = self.judge.head(asked, head, self._loop.time())
            if asked.method != "HEAD" and head.status != 304:
                async for data in connection.body(head.length(), **limits):
                    received += len(data)
                    if expected:
                        expected.take(data)
                    # Many small chunks may have been received at once.
                    if rest and connection.taken > taken:
                        taken = connection.taken
                        await rest(received)
                        if connection.arrived() > arrived:
                            arrived, asked.arrived = connection.arrived(), self._loop.time()
        except Broken as error:
            self.judge.broken(asked, head, expected, error, self._loop.time())
            return None
        except (Malformed, ValueError) as error:
            self.report.complain("lengths", f"{asked}: {head}: {error}", asked.number)
            return None
        if asked.method != "HEAD":
            self.judge.body(asked, head, expected, received)
        self.log.expect(asked.number, head.status, received)
        return head

    def watch(self):
        """Ends what stands still for clients that read. Called once in a while."""
        now = self._loop.time()
        for connection in self._open:
            since = connection.waiting_since
            if since and now > since + STILL_MAX:
                connection.waiting_since = None
                self.report.complain("answers", f"nothing comes for {now - since:.0f} s on {connection.socket}")
                connection.abandon()


async def fast(clients, rng, is_secure=False):
    """Sends several requests over a connection, at times some at once, and reads as fast as it can."""
    async with clients.connection(is_secure=is_secure) as connection:
        for _ in range(rng.randint(1, 40)):
            count = rng.choice([1, 1, 1, 1, 1, 2, 3, 6])
            requests = [asking.any_request(rng, clients.versions) for _ in range(count)]
            await clients.send(connection, requests)
            for asked in requests:
                head = await clients.answer(connection, asked)
                if not head or head.is_last():
                    return
            await asyncio.sleep(rng.uniform(0.02, 0.3))


async def secure(clients, rng):
    """Does the same over TLS."""
    clients.report.count("TLS connections")
    await fast(clients, rng, is_secure=True)


async def secure_slow(clients, rng):
    """Reads a long object over TLS slowly, or leaves."""
    async with clients.connection(is_secure=True) as connection:
        asked = asking.plain(rng, LONG)
        asked.pace = f"16384 bytes every {PAUSE} s over TLS"
        await clients.send(connection, [asked])
        reading = clients.answer(connection, asked, limit=16_384, rest=lambda _: asyncio.sleep(PAUSE))
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(reading, rng.uniform(2, 20))


async def downloading(clients, rng):
    """Reads a long object as fast as it can, so that the bytes may go past the process. Rests once in a while."""
    async with clients.connection() as connection:
        asked = asking.plain(rng, ["large", "huge"])
        pauses = [rng.randrange(30_000_000) for _ in range(3)]
        asked.pace = f"fast, with rests of at most {REST_MAX} s after {sorted(pauses)} bytes"

        async def rest(received):
            if pauses and min(pauses) < received:
                pauses.remove(min(pauses))
                await asyncio.sleep(rng.uniform(0.5, REST_MAX))

        await clients.send(connection, [asked])
        await clients.answer(connection, asked, rest=rest)
    await asyncio.sleep(rng.uniform(0.5, 2))


async def slow(clients, rng):
    """Reads some KiB a second, for some seconds or to the end."""
    buffer, piece = rng.choice(PACES)
    async with clients.connection(buffer) as connection:
        asked = asking.plain(rng, ["page", "segment", "chunked"] + LONG)
        asked.pace = f"{piece} bytes every {PAUSE} s, SO_RCVBUF {buffer}"
        await clients.send(connection, [asked])
        reading = clients.answer(connection, asked, limit=piece, rest=lambda _: asyncio.sleep(PAUSE))
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(reading, rng.uniform(5, 40))


async def stalled(clients, rng):
    """Reads nothing, or the first bytes only, and waits until the gateway cuts it off."""
    async with clients.connection(SMALL_BUFFER) as connection:
        asked = asking.plain(rng, LONG)
        asked.pace = ""
        await clients.send(connection, [asked])
        if rng.random() < 0.7 and (await connection.head(limit=1_024)).status != 200:
            return
        clients.report.count("stalled")
        loop = asyncio.get_running_loop()
        unread, since = connection.unread(), loop.time()
        while not connection.is_reset():
            if connection.unread() != unread:
                unread, since = connection.unread(), loop.time()
            if loop.time() > since + CUT_MAX:
                is_short = not unread or connection.peek().startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
                if not is_short and not clients.judge.trouble.explains(asked.key, asked.begun, loop.time()):
                    text = f"{asked}: not cut off {CUT_MAX} s after its {unread} bytes"
                    clients.report.complain("stalled", text, asked.number)
                return
            await asyncio.sleep(0.1)
        clients.report.count("stalled clients cut")


async def leaving(clients, rng):
    """Leaves in the middle of a request or of a response: closes, resets, or closes one side only."""
    async with clients.connection(rng.choice([None, SMALL_BUFFER])) as connection:
        asked = asking.any_request(rng, clients.versions)
        asked.pace = ""
        where = rng.choice(["head", "request", "response", "response"])
        data = asked.begin(clients.versions, asyncio.get_running_loop().time())
        clients.report.count("requests")
        await connection.send(data[: rng.randrange(len(data))] if where == "head" else data)
        if where == "response":
            for _ in range(rng.choice([1, 2, 5, 30])):
                await connection.receive(rng.choice([1, 1_000, 65_536]))
        how = rng.choice(["close", "reset", "half"])
        clients.report.count(f"left: {how}")
        if how == "reset":
            connection.reset()
        elif how == "half":
            connection.half_close()
            while where != "head" and await connection.receive():
                pass


async def half_closed(clients, rng):
    """Closes its side after its request, and judges what it gets."""
    async with clients.connection() as connection:
        asked = asking.plain(rng, list(content.KINDS)[:4])
        # The gateway takes a client that waits for S3 like this for one that has left.
        asked.pace = ""
        await clients.send(connection, [asked])
        connection.half_close()
        await clients.answer(connection, asked)
    await asyncio.sleep(rng.uniform(0, 0.5))


async def idle(clients, rng):
    """Holds a connection on which nothing happens, longer than the gateway bears it."""
    async with clients.connection() as connection:
        if rng.random() < 0.5:
            asked = asking.plain(rng, ["tiny"])
            await clients.send(connection, [asked])
            if not await clients.answer(connection, asked):
                return
        while await connection.receive():
            pass
        clients.report.count("idle connections closed")


async def holding(clients, _):
    """Holds a connection for good. No client of the crowd does."""
    async with clients.connection() as connection:
        while True:
            asked = asking.Asked("main", "a/tiny/0")
            await clients.send(connection, [asked])
            if not await clients.answer(connection, asked):
                return
            await asyncio.sleep(1)


# How many clients of each kind there are.
CROWD = {fast: 12, secure: 4, secure_slow: 2, downloading: 2, slow: 10, stalled: 8, leaving: 4, half_closed: 1, idle: 4}
