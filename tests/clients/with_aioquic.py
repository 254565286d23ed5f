"""aioquic over HTTP/3: many streams at a time, clients that leave or change their network, and heads that are too long."""

import asyncio
import contextlib
import random
import ssl

import checks
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset
from checks import ALL, CACHED, STREAMED, check, equal, holds, local

SECONDS = 60  # for one response


class Answer:
    """The response on one stream, as far as it has arrived."""

    def __init__(self):
        self.fields = {}
        self.body = bytearray()
        self.reset = None
        self.more = asyncio.Event()
        self.is_whole = False

    @property
    def status(self):
        """The status of the response."""
        return int(self.fields[":status"])


class Client(QuicConnectionProtocol):
    """A connection of HTTP/3."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.http = H3Connection(self._quic)
        self.answers = {}
        self.lost = None

    def quic_event_received(self, event):
        """Takes what has arrived."""
        if isinstance(event, StreamReset) and event.stream_id in self.answers:
            answer = self.answers[event.stream_id]
            answer.reset = event.error_code
            answer.more.set()
        if isinstance(event, ConnectionTerminated):
            self.lost = event.reason_phrase or f"error {event.error_code}"
            for answer in self.answers.values():
                answer.more.set()
        for one in self.http.handle_event(event):
            answer = self.answers.get(getattr(one, "stream_id", None))
            if answer is None:
                continue
            if isinstance(one, HeadersReceived):
                answer.fields.update((name.decode(), value.decode()) for name, value in one.headers)
            elif isinstance(one, DataReceived):
                answer.body += one.data
            answer.is_whole = answer.is_whole or one.stream_ended
            answer.more.set()

    def begin(self, path, fields=()):
        """Sends a GET."""
        stream = self._quic.get_next_available_stream_id()
        self.answers[stream] = Answer()
        pseudo = {":method": "GET", ":scheme": "https", ":authority": "localhost", ":path": path}
        head = [(name.encode(), value.encode()) for name, value in (*pseudo.items(), *fields)]
        self.http.send_headers(stream, head, end_stream=True)
        self.transmit()
        return stream

    async def until(self, stream, enough):
        """Waits until enough of a response is there."""
        answer = self.answers[stream]
        async with asyncio.timeout(SECONDS):
            while not (answer.is_whole or answer.reset is not None or enough(answer)):
                holds(self.lost is None, f"the connection is lost: {self.lost}")
                answer.more.clear()
                await answer.more.wait()
        return answer

    async def get(self, path, fields=()):
        """Sends a GET and waits for the whole response."""
        answer = await self.until(self.begin(path, fields), lambda answer: False)
        equal(answer.reset, None, path)
        return answer

    def leave(self, stream):
        """Gives a response up."""
        self._quic.stop_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
        self.transmit()


@contextlib.asynccontextmanager
async def client(**settings):
    """A connection to the gateway."""
    configuration = QuicConfiguration(
        alpn_protocols=H3_ALPN, is_client=True, verify_mode=ssl.CERT_NONE, server_name="localhost"
    )
    ticket = settings.pop("session_ticket", None)
    if ticket is not None:
        configuration.session_ticket = ticket
    arguments = {"configuration": configuration, "create_protocol": Client, **settings}
    async with connect("127.0.0.1", checks.QUIC_PORT, **arguments) as connection:
        yield connection


@check("objects of all prefixes are the same, stored or streamed, over HTTP/3")
def _():
    async def scene():
        async with client() as session:
            for prefix in ALL:
                for key in ("text.txt", "medium.bin"):
                    for _ in range(2):
                        answer = await session.get(f"/{prefix}/{key}")
                        equal(answer.status, 200, key)
                        equal(bytes(answer.body), local(key), f"{prefix}/{key}")
                        equal(answer.fields["content-length"], str(len(local(key))), key)

    asyncio.run(scene())


# No HEADs: aioquic takes the length of what they do not send for a mistake.
@check("hits, 404s, 304s, ranges and streams, mixed on one connection")
def _():
    text = local("text.txt")

    async def scene():
        async with client() as session:
            await session.get(f"/{CACHED}/text.txt")
            return await asyncio.gather(
                *(
                    one
                    for i in range(20)
                    for one in (
                        session.get(f"/{CACHED}/text.txt"),
                        session.get(f"/{CACHED}/aioquic/missing"),
                        session.get(f"/{CACHED}/text.txt", fields=[("if-none-match", "*")]),
                        session.get(f"/{CACHED}/text.txt", fields=[("range", f"bytes={i}-{i + 9}")]),
                        session.get(f"/{STREAMED}/medium.bin"),
                    )
                )
            )

    answers = asyncio.run(scene())
    for i in range(20):
        hit, missing, unchanged, part, stream = answers[i * 5 : i * 5 + 5]
        equal((hit.status, bytes(hit.body)), (200, text), "hit")
        equal(missing.status, 404, "missing")
        equal((unchanged.status, bytes(unchanged.body)), (304, b""), "unchanged")
        equal((part.status, bytes(part.body)), (206, text[i : i + 10]), "part")
        equal((stream.status, bytes(stream.body)), (200, local("medium.bin")), "stream")


@check("a stream that is left at half ends at S3, and the others on its connection go on")
def _():
    async def scene():
        async with client() as session:
            left = session.begin(f"/{STREAMED}/large.bin")
            await session.until(left, lambda answer: len(answer.body) > 1000)
            session.leave(left)
            for _ in range(4):
                answer = await session.get(f"/{STREAMED}/medium.bin")
                equal(bytes(answer.body), local("medium.bin"), "the others")
            end = await session.until(left, lambda answer: False)
            holds(end.reset is not None or not end.is_whole, "the one that was left")

    asyncio.run(scene())


@check("a client that changes its port in the middle of a download gets all of it")
def _():
    async def scene():
        async with client() as session:
            stream = session.begin(f"/{STREAMED}/large.bin")
            await session.until(stream, lambda answer: len(answer.body) > 1_000_000)
            # As a router does that forgets its clients, or a telephone that leaves the house.
            loop = asyncio.get_running_loop()
            before = session._transport  # pylint: disable=protected-access
            after, _ = await loop.create_datagram_endpoint(lambda: session, local_addr=("::", 0))
            before.close()
            holds(after is not before, "another port")
            session.transmit()
            answer = await session.until(stream, lambda answer: False)
            equal(bytes(answer.body), local("large.bin"), "the download")

    asyncio.run(scene())


@check("a client that comes back resumes its session")
def _():
    async def scene():
        tickets = []
        async with client(session_ticket_handler=tickets.append) as session:
            await session.get(f"/{CACHED}/text.txt")
            while not tickets:
                await session.ping()
        async with client(session_ticket=tickets[0]) as session:
            answer = await session.get(f"/{CACHED}/text.txt")
            equal(bytes(answer.body), local("text.txt"), "the text")
            holds(session._quic.tls.session_resumed, "the session is resumed")  # pylint: disable=protected-access

    asyncio.run(scene())


@check("a head that is too long gets 431, and its connection goes on")
def _():
    async def scene():
        async with client() as session:
            answer = await session.get(f"/{CACHED}/text.txt", fields=[("cookie", "c" * 20_000)])
            equal(answer.status, 431, "status")
            answer = await session.get(f"/{CACHED}/text.txt", fields=[("cookie", "c" * 10_000)])
            equal(answer.status, 200, "status")

    asyncio.run(scene())


@check("a hundred clients at a time, each with objects of its own")
def _():
    bodies = {i: random.Random(i).randbytes(i * 1_777) for i in range(100)}
    for i, body in bodies.items():
        checks.put(f"aioquic/{i}.bin", body)

    async def one(i):
        async with client() as session:
            for prefix in (STREAMED, CACHED, CACHED):
                answer = await session.get(f"/{prefix}/aioquic/{i}.bin")
                equal((answer.status, bytes(answer.body)), (200, bodies[i]), f"{prefix} {i}")

    async def scene():
        await asyncio.gather(*(one(i) for i in range(100)))

    asyncio.run(scene())


checks.run("aioquic")
