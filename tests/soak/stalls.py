"""When this process stood still, and most likely the whole machine with it: what was late then says nothing of the server."""

import asyncio

# How often it is looked at, and the delay from which it counts, in seconds.
PERIOD, DELAY_MIN = 0.1, 0.3


class Stalls:
    """The stalls of a run, by the clock of the event loop."""

    def __init__(self):
        self._stalls = []

    async def watching(self):
        """Records them until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PERIOD
            await asyncio.sleep(PERIOD)
            if (now := loop.time()) > due + DELAY_MIN:
                self._stalls.append((due, now))

    def within(self, begin, end):
        """Returns how long it stood still between two times, in seconds."""
        return sum(max(0.0, min(end, to) - max(begin, since)) for since, to in self._stalls)

    def longest(self):
        """Returns the longest stall, in seconds."""
        return max((to - since for since, to in self._stalls), default=0.0)
