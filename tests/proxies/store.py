#!/usr/bin/env python3
"""A tiny S3 server: it serves objects whose bytes follow from their keys.

Whoever has a key also has the bytes of its object, so a test can check every answer. The server knows `GET` and `HEAD`
of /BUCKET/KEY and neither ranges nor signatures. It prints `listening PORT`.
"""

import asyncio
import re
import urllib.parse
import zlib

# The keys that exist.
KEYS = re.compile(r"(o|hot|canary|end|smuggled)/[0-9]{1,9}")


def content(key):
    """Returns the bytes of an object: its key in angle brackets, again and again. A few objects are longer."""
    check = zlib.crc32(key.encode())
    length = 20_000 + check % 70_000 if check % 16 == 0 else 100 + check % 900
    mark = f"<{key}>".encode()
    return (mark * (length // len(mark) + 1))[:length]


class Connection(asyncio.Protocol):
    """One connection of the gateway. The gateway sends its requests one by one and without content."""

    def __init__(self):
        self.received = b""
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            self.transport.write(answer(*head.decode("latin-1").split(" ")[:2]))


def answer(method, target):
    """Returns the response to a request."""
    key = urllib.parse.unquote(target.partition("?")[0].lstrip("/").partition("/")[2])
    status, kind, body, tag = "404 Not Found", "application/xml", b"<Error><Code>NoSuchKey</Code></Error>", ""
    if KEYS.fullmatch(key):
        status, kind, body, tag = "200 OK", "text/plain", content(key), f'ETag: "{zlib.crc32(key.encode()):08x}"\r\n'
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{tag}\r\n"
    return head.encode() + (b"" if method == "HEAD" else body)


async def main():
    """Serves until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
