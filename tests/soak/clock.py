"""Clock steps: the date of the server is set forward and back while it runs, and no age may follow.

libfaketime, preloaded into the server, adds an offset from a file to its date. It leaves the other clocks alone: ages
count by one that is never set (ARCHITECTURE.md, rule 24).

The date of the origin follows each step, as if NTP had set both. Otherwise a new response would be a day old on arrival
while the server is a day ahead, and rightly stale: at first, its age is the date less its `Date` (RFC 9111 4.2.3). Two
clocks are not set at the same moment, so the objects that are asked for here have no `Date`. Their age begins at 0.
"""

import asyncio
import time

import asking
import content

# To what the date is set, in seconds from now.
STEPS = [86_400, -86_400, 3_600, -3_600, 0]
# How often the objects are asked for before the next step, and the pause, in seconds: each date stays for 2 to 5 s.
LOOKS, LOOK_PAUSE = (5, 12), 0.4
# Objects of the bucket `lasting`: those that are fresh for an hour, and one that is fresh for a second.
*LASTING, BRIEF = content.keys_of("dateless")
# How far a date may be from the one that was set, in seconds: what the machine adds if it is busy.
DATE_SLACK = 3
# What a run has to meet, as in soak.py.
TRAFFIC = {"steps seen": 8, "steps back seen": 3, "hits across steps": 20, "brief objects asked for again": 20}


class Clock:
    """The date of the server."""

    def __init__(self, library, folder):
        self._file = folder / "date"
        self._offset = 0
        self._set_at = 0.0
        self.environment = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(self._file)}
        self.environment |= {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self._write()

    def _write(self):
        # The server reads the file each time it asks for the date: it may not find half of it.
        new = self._file.with_suffix(".new")
        new.write_text(f"{self._offset:+d}", encoding="ascii")
        new.replace(self._file)

    def finish(self, report):
        """Reports what the run has met."""
        counts = report.counts
        report.note("dates", f"{counts['steps seen']} steps seen, {counts['steps back seen']} of them back")
        report.note("steps", f"{counts['hits across steps']} hits across a step")

    async def stepping(self, clients, control, rng):
        """Sets the date again and again."""
        while True:
            for offset in rng.sample(STEPS, len(STEPS)):
                is_back, self._offset = offset < self._offset, offset
                await control.order(date=offset)
                self._write()
                self._set_at = time.monotonic()
                await self._see(clients, is_back)
                for _ in range(rng.randint(*LOOKS)):
                    await self._look(clients)
                    await asyncio.sleep(LOOK_PAUSE)

    async def _see(self, clients, is_back):
        """Checks that the server has the date that was set, by the `Date` of its own responses."""
        async with clients.connection() as connection:
            asked = asking.Asked("lasting", BRIEF, "OPTIONS", pace="")
            await clients.send(connection, [asked])
            late = self._lateness(await connection.head(), clients)
            if abs(late) > DATE_SLACK:
                clients.report.complain("dates", f"{late:.1f} s behind, in the answer to OPTIONS")
            await connection.send(b"no request\r\n\r\n")
            head = await connection.head()
            if abs(late := self._lateness(head, clients)) > DATE_SLACK:
                clients.report.complain("dates", f"{late:.1f} s behind, after a step to {self._offset:+d} s: {head}")
            else:
                clients.report.count("steps seen")
                clients.report.count("steps back seen", is_back)

    def _lateness(self, head, clients):
        """Returns by how many seconds the `Date` of a response is behind the date that was set, without stalls of the machine."""
        late = time.time() + self._offset - content.seconds(head.get("date"))
        now = asyncio.get_running_loop().time()
        return late - clients.judge.stalls.within(now - max(late, 0), now)

    async def _look(self, clients):
        """Asks for the objects."""
        async with clients.connection() as connection:
            for key in [*LASTING, BRIEF]:
                asked = asking.Asked("lasting", key)
                await clients.send(connection, [asked])
                head = await clients.answer(connection, asked)
                if not head:
                    return
                self._judge(clients.report, asked, head)
                if head.is_last():
                    return

    def _judge(self, report, asked, head):
        """Judges a response. How old it may be, judge.py says."""
        status = head.get("cache-status")
        if asked.key == BRIEF:
            report.count("brief objects asked for again", "fwd=stale" in status)
        elif "stale" in status:
            report.complain("steps", f"{asked}: {head}: it is fresh for an hour", asked.number)
        elif "; hit" in status:
            report.count("hits across steps", float(head.get(content.SENT)) < self._set_at)
