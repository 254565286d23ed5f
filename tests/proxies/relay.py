#!/usr/bin/env python3
"""A TCP relay between a proxy and the gateway. It records what passes, and can do wrong to show that the test can fail.

usage: relay.py PORT RECORD (split | double | late | -)

PORT is the gateway's. RECORD is the file for what passes: lines of the form `CONNECTION > BYTES` for what the proxy
sends, `CONNECTION < BYTES` for what the gateway sends, and `CONNECTION ! b''` for a reset by the gateway. The relay
prints `listening PORT`.

split      of every 20th request with content, the gateway does not see the length, so that the content is a request
double     every 500th request reaches the gateway twice
late       every 500th response has the body of another object
"""

import ast
import asyncio
import itertools
import re
import sys

_counts = {"split": itertools.count(1), "double": itertools.count(1), "late": itertools.count(1)}


def read(record):
    """Yields what passed as (connection, direction, bytes)."""
    for line in record.read_text(encoding="ascii").splitlines():
        connection, direction, data = line.split(" ", 2)
        yield int(connection), direction, ast.literal_eval(data)


def spoil(data, direction, wrong):
    """Returns what arrives instead of what was sent."""
    head, end, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\n(content-length|transfer-encoding):", head)

    def is_due(kind, condition, every):
        return wrong == kind and condition and next(_counts[kind]) % every == 0

    if direction == ">" and is_due("split", length and end, 20):
        return data[: length.start(1)] + b"x-" + data[length.start(1) :]
    if direction == ">" and is_due("double", data.startswith(b"GET ") and end and not body, 500):
        return data + data
    if direction == "<" and is_due("late", data.startswith(b"HTTP/1.1 200 ") and body.startswith(b"<"), 500):
        return head + end + b"<another object>"[: len(body)].ljust(len(body), b"-")
    return data


async def main(port, record, wrong):
    """Relays until the process is ended."""
    numbers = itertools.count(1)
    running = set()  # asyncio itself would let the tasks be collected as garbage

    async def pump(number, direction, reader, writer):
        try:
            while data := await reader.read(65_536):
                print(number, direction, data, file=file, flush=True)
                writer.write(spoil(data, direction, wrong))
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            if direction == "<" and reader.exception():
                print(number, "!", b"", file=file, flush=True)
            writer.transport.abort()

    async def serve(proxy_reader, proxy_writer):
        number, task = next(numbers), asyncio.current_task()
        running.add(task)
        task.add_done_callback(running.discard)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        except OSError:
            proxy_writer.transport.abort()
            return
        await asyncio.gather(pump(number, ">", proxy_reader, writer), pump(number, "<", reader, proxy_writer))
        writer.close()
        proxy_writer.close()

    with open(record, "w", encoding="ascii") as file:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
