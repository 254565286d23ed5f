"""Ports for programs that tests start. Prints one if it is run."""

import random
import socket

# Below those that Linux gives to outgoing connections (`net.ipv4.ip_local_port_range`): what is free now stays so until the program
# listens.
PORTS = range(10_000, 30_000)

# Tests may have seeded the usual generator, and run side by side.
_generator = random.SystemRandom()
_given = set()


def free_port():
    """Returns a port that nobody listens on, and another one each time."""
    while True:
        port = _generator.choice(PORTS)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port


if __name__ == "__main__":
    print(free_port())
