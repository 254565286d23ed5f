#!/usr/bin/env python3
"""An S3 server whose objects follow from their keys and versions. It makes faults when it is told to.

usage: origin.py SEED WRONG

It knows `GET` and `HEAD` of /BUCKET/KEY, one range, and one condition; it does not check signatures. It prints
`listening PORT CONTROL`. At the port CONTROL it takes orders, one JSON object a line, and answers each with `{}`:

{"bump": [KEY, ...]}    the next request for each of these gets the next version
{"rate": NUMBER}        this share of the requests meets a fault
{"date": SECONDS}       this is added to the date of its responses

To the same connection it reports each fault when it makes it: {"fault": KIND, "key": KEY, "at": SECONDS}.
With WRONG `bytes`, one of 50 bodies has a wrong byte. With `date`, all objects have the date of the system.
"""

import asyncio
import dataclasses
import email.utils
import itertools
import json
import sys
import time
import typing
import urllib.parse

import content
import faults

REASONS = {200: "OK", 206: "Partial Content", 304: "Not Modified", 404: "Not Found", 412: "Precondition Failed"}
REASONS |= {416: "Range Not Satisfiable", 500: "Internal Server Error", 503: "Slow Down"}
# Every so many bodies, one is wrong.
WRONG_EVERY = 50


@dataclasses.dataclass
class Answer:
    """A response: the head, and which bytes of which version are its body."""

    status: int
    fields: dict
    start: int = 0  # place of the version in the block
    first: int = 0  # byte of the version
    length: int = 0
    text: bytes = b""  # a body that is no object
    is_chunked: bool = False
    wrong_at: typing.Optional[int] = None

    def head(self):
        """Returns the bytes of the head."""
        length = self.length or len(self.text)
        framing = {"Transfer-Encoding": "chunked"} if self.is_chunked else {"Content-Length": length}
        if self.status == 304:
            framing = {}
        fields = {"Server": "soak", content.SENT: f"{time.monotonic():.3f}", **self.fields, **framing}
        lines = [f"HTTP/1.1 {self.status} {REASONS[self.status]}", *(f"{name}: {fields[name]}" for name in fields)]
        return "\r\n".join(lines + ["", ""]).encode()

    def bytes_at(self, offset, length):
        """Returns bytes of the body."""
        if self.text:
            return self.text[offset : offset + length]
        data = content.piece(self.start, self.first + offset, length)
        if self.wrong_at is not None and offset <= self.wrong_at < offset + len(data):
            data = bytearray(data)
            data[self.wrong_at - offset] ^= 255
        return data


def refusal(status, code):
    """Returns an error as S3 words it."""
    text = f"<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>on purpose</Message></Error>"
    return Answer(status, {"Content-Type": "application/xml", "x-amz-request-id": "SOAK"}, text=text.encode())


def whole_or_part(key, version, asked):
    """Returns the object, or the part that is asked for."""
    fields, length = content.fields_of(key, version), content.length_of(key, version)
    answer = Answer(200, fields, content.start_of(key, version), 0, length)
    names = (fields["ETag"], fields["Last-Modified"])
    if content.RANGE.fullmatch(asked.get("range", "")) and asked.get("if-range", names[0]) in names:
        part = content.selected(asked["range"], length)
        if not part:
            answer = refusal(416, "InvalidRange")
            answer.fields["Content-Range"] = f"bytes */{length}"
            return answer
        start, end = part
        answer.status, answer.first, answer.length = 206, start, end - start
        answer.fields = {**fields, "Content-Range": f"bytes {start}-{end - 1}/{length}"}
    answer.is_chunked = answer.status == 200 and content.kind_of(key) == "chunked"
    return answer


def answer_of(key, version, asked):
    """Returns the response to a request: the conditions come first (RFC 9110 13.2.2)."""
    if key not in content.KEYS or not content.exists(key, version):
        return refusal(404, "NoSuchKey")
    fields = content.fields_of(key, version)
    dates = {name: content.seconds(value) for name, value in asked.items() if name.endswith("modified-since")}
    modified = content.modified_at(version)
    if "if-match" in asked:
        if fields["ETag"] not in asked["if-match"] and asked["if-match"] != "*":
            return refusal(412, "PreconditionFailed")
    elif "if-unmodified-since" in dates and modified > dates["if-unmodified-since"]:
        return refusal(412, "PreconditionFailed")
    if "if-none-match" in asked:
        if fields["ETag"] in asked["if-none-match"] or asked["if-none-match"] == "*":
            return Answer(304, fields)
    elif "if-modified-since" in dates and modified <= dates["if-modified-since"]:
        return Answer(304, fields)
    return whole_or_part(key, version, asked)


class Origin:
    """The S3 server: the versions, the faults, and who hears of them."""

    def __init__(self, seed, wrong):
        self.versions = dict.fromkeys(content.KEYS, 0)
        self.faults = faults.Faults(seed)
        # What is added to the date, in seconds.
        self.offset = 0
        self._is_date_fixed = wrong == "date"
        self.listeners = set()
        self._bodies = itertools.count(1) if wrong == "bytes" else None

    async def serve(self, reader, writer):
        """Answers the requests of one connection."""
        try:
            while await self.answer(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def answer(self, reader, writer):
        """Answers one request. Returns whether the connection goes on."""
        request, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        method, target, _ = request.split(" ")
        asked = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        key = urllib.parse.unquote(target.partition("?")[0].lstrip("/").partition("/")[2])
        fault = self.faults.choose()
        if fault in ("error", "throttle", "reset", "mute"):
            self.tell(fault, key)
        if fault == "reset":
            if self.faults.is_abrupt():
                faults.reset(writer)
            return False
        if fault == "mute":
            await faults.stall(reader)
            return False
        answer = answer_of(key, self.versions.get(key, 0), asked)
        if fault in ("error", "throttle"):
            answer = refusal(500, "InternalError") if fault == "error" else refusal(503, "SlowDown")
        if "/dateless/" not in key or self._is_date_fixed:
            answer.fields["Date"] = email.utils.formatdate(time.time() + self.offset, usegmt=True)
        writer.write(answer.head())
        if method == "HEAD" or answer.status == 304:
            await writer.drain()
            return True
        if self._bodies and answer.length and next(self._bodies) % WRONG_EVERY == 0:
            answer.wrong_at = answer.length // 2
        return await self.send_body(answer, key, fault, reader, writer)

    async def send_body(self, answer, key, fault, reader, writer):
        """Sends a body, or a part of it if there is a fault. Returns whether the connection goes on."""
        length = answer.length or len(answer.text)
        breaks = fault in ("cut", "stall") and length > 0
        end = self.faults.place(length) if breaks else length
        offset = 0
        if fault == "drip":
            while offset < min(end, faults.DRIPS):
                self.send(answer, offset, 1, writer)
                offset += 1
                await asyncio.sleep(faults.DRIP_PAUSE)
        while offset < end:
            sent = self.send(answer, offset, min(end - offset, 65_536), writer)
            offset += sent
            await writer.drain()
        if breaks:
            self.tell(fault, key)
            if fault == "stall":
                await faults.stall(reader)
            elif self.faults.is_abrupt():
                faults.reset(writer)
            else:
                writer.close()
                await writer.wait_closed()
            return False
        if answer.is_chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    @staticmethod
    def send(answer, offset, length, writer):
        """Sends bytes of a body. Returns how many."""
        data = answer.bytes_at(offset, length)
        if answer.is_chunked:
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            writer.write(data)
        return len(data)

    def tell(self, fault, key):
        """Reports a fault."""
        report = json.dumps({"fault": fault, "key": key, "at": time.monotonic()})
        for listener in self.listeners:
            listener.write(report.encode() + b"\n")

    async def obey(self, reader, writer):
        """Takes orders from one connection."""
        self.listeners.add(writer)
        while line := await reader.readline():
            order = json.loads(line)
            for key in order.get("bump", []):
                self.versions[key] += 1
            self.faults.rate = order.get("rate", self.faults.rate)
            if not self._is_date_fixed:
                self.offset = order.get("date", self.offset)
            writer.write(b"{}\n")
            await writer.drain()
        self.listeners.discard(writer)


async def main(seed, wrong):
    """Serves until the process is ended."""
    origin = Origin(seed, wrong)
    serving = await asyncio.start_server(origin.serve, "127.0.0.1", 0, limit=65_536)
    obeying = await asyncio.start_server(origin.obey, "127.0.0.1", 0, limit=2**20)
    ports = [server.sockets[0].getsockname()[1] for server in (serving, obeying)]
    print("listening", *ports, flush=True)
    await asyncio.gather(serving.serve_forever(), obeying.serve_forever())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
