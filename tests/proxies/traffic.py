"""Sends messages to a proxy, each followed by a canary: a plain request over a connection of its own.

A connection tells its number by its source address, 127.1.x.y for a message and 127.2.x.y for its canary. So the log of
the proxy says which requests came over which connection.
"""

import asyncio
import dataclasses
import random
import socket

from messages import HOST, message

# Number of connections at a time.
CLIENTS = 20
# Number of keys of canaries that are likely to be stored.
CANARIES = 50
# How long a connection may take. No proxy should be that slow.
PATIENCE = 8  # s


@dataclasses.dataclass
class Exchange:
    """What was sent over one connection, and what came back."""

    address: str
    pieces: list
    message: object = None
    key: str = None  # that a canary asks for
    received: bytes = b""
    end: str = "stuck"  # or closed, reset, left


async def converse(exchange, port, leaves=False):
    """Sends the pieces over a new connection, and receives until it ends."""
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.bind((exchange.address, 0))

        async def receive():
            while data := await loop.sock_recv(connection, 65_536):
                exchange.received += data

        try:
            await loop.sock_connect(connection, ("127.0.0.1", port))
            for i, piece in enumerate(exchange.pieces):
                await asyncio.sleep(0.004 if i else 0)
                await loop.sock_sendall(connection, piece)
            if not leaves:
                await receive()
            exchange.end = "left" if leaves else "closed"
        except OSError:
            exchange.end = "reset"
            # What has arrived before may still be there.
            try:
                await receive()
            except OSError:
                pass


async def send_all(proxy, seed, numbers):
    """Sends the messages with these numbers. Returns the exchanges of the messages and of the canaries."""
    remaining = iter(numbers)
    messages, canaries = [], []

    async def patiently(exchange, port, leaves=False):
        try:
            await asyncio.wait_for(converse(exchange, port, leaves), PATIENCE)
        except asyncio.TimeoutError:
            pass

    async def client():
        for number in remaining:
            one = message(seed, number)
            rng = random.Random(f"{seed}/{number}/canary")
            port = proxy.ports[rng.choice(proxy.listeners_for(one))]
            place = f"{number >> 8 & 255}.{number & 255}"
            messages.append(Exchange(f"127.1.{place}", one.pieces, message=one))
            await patiently(messages[-1], port, one.leaves)
            # The next request over the connections to the gateway.
            key = f"canary/{rng.choice([rng.randrange(CANARIES)] * 4 + [1000 + number])}"
            method = rng.choice(["GET"] * 9 + ["HEAD"])
            head = f"{method} /{key}?{number} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
            canaries.append(Exchange(f"127.2.{place}", [head.encode()], key=key))
            await patiently(canaries[-1], port)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return messages, canaries
