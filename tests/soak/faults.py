"""The faults that the S3 server makes on purpose, and how likely each is."""

import asyncio
import random
import socket
import struct

# The kinds and their weights. Each kind but `drip` keeps the gateway from getting the object.
WEIGHTS = {"error": 4, "throttle": 2, "reset": 3, "cut": 5, "stall": 1, "mute": 1, "drip": 3}
# How long a server that has stalled keeps its connection, in seconds. The gateway gives up before.
STALL = 8
# How many bytes come one by one, and the pause between two, in seconds.
DRIPS, DRIP_PAUSE = 80, 0.005


class Faults:
    """Decides which requests meet a fault. None do before a rate is set."""

    def __init__(self, seed):
        self.rate = 0.0
        self._rng = random.Random(f"{seed}/faults")

    def choose(self):
        """Returns the kind of fault that the next request meets, or None."""
        if self._rng.random() >= self.rate:
            return None
        return self._rng.choices(list(WEIGHTS), WEIGHTS.values())[0]

    def place(self, length):
        """Returns how many bytes of a body come before it breaks off."""
        return self._rng.choice([0, length - 1, self._rng.randrange(length)])

    def is_abrupt(self):
        """Returns whether a connection ends with a reset."""
        return self._rng.random() < 0.5


def reset(writer):
    """Ends a connection with a reset. Bytes that the other side has not read are lost."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def stall(reader):
    """Sends nothing until the other side gives up, or for some time."""
    try:
        await asyncio.wait_for(reader.read(1), STALL)
    except asyncio.TimeoutError:
        pass
