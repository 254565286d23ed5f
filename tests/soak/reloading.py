"""Reloads with good and bad configurations, and log rotations."""

import asyncio
import contextlib
import copy
import json
import signal

import server as gateway

# How long a reload by signal may take, in seconds.
RELOAD_MAX = 10


def _limits(configuration, rng):
    configuration["server"] |= {
        "fill_memory": rng.choice(["3MB", "5MB", "8MB"]),
        "response_memory": rng.choice(["2MB", "4MB", "6MB"]),
        "socket_memory": rng.choice([0, "8MiB", "16MiB"]),
        "send_timeout": rng.choice(["3s", "4s", "9s"]),
        "requests_per_connection": rng.choice([0, 7, 100]),
    }


def _log(configuration, rng):
    name = rng.choice(["access.log", "access-2.log"])
    configuration["log"] = {"access_output": name, "access_format": rng.choice(gateway.FORMATS)}


def _policy(configuration, rng):
    cache = configuration["buckets"][rng.randrange(2)]["cache"]
    cache["ttl"] = rng.choice(["1s", "2s", "3s", "4s"])
    cache["max_size"] = rng.choice(["12MB", "24MB"])


def _source(configuration, rng):
    for bucket in configuration["buckets"]:
        bucket["s3"]["response_timeout"] = rng.choice(["1500ms", "2s"])
        bucket["s3"]["receive_buffer"] = rng.choice(["64KiB", "128KiB"])


def _bucket(configuration, _):
    buckets = configuration["buckets"]
    if buckets[-1]["name"] == "extra":
        buckets.pop()
    else:
        buckets.append({**buckets[0], "name": "extra", "path_prefix": "/extra"})


GOOD = [_limits, _limits, _log, _policy, _source, _bucket]
# What makes a configuration bad: the way to a value, and the value.
BAD = [
    ("server", "threads", 3),
    ("server", "address", "127.0.0.1:1"),
    ("server", "send_timeuot", "3s"),
    ("server", "header_timeout", "1ms"),
    ("admin", "token", "two words"),
    ("log", "access_output", "no/such/folder/access.log"),
    ("log", "access_format", "{nothing}"),
    ("buckets", 1, "name", "main"),
    ("buckets", 0, "cache", "max_item_size", "1GB"),
    ("buckets", 0, "s3", "endpoint", "ftp://127.0.0.1"),
    ("buckets", []),
]


def broken(configuration, way, value):
    """Returns the configuration with another value at the end of a way."""
    changed = copy.deepcopy(configuration)
    inner = changed
    for step in way[:-1]:
        inner = inner[step]
    inner[way[-1]] = value
    return changed


def fates(before, after):
    """Returns what a reload has to answer about the caches of the buckets."""
    before, after = ({one["name"]: one for one in configuration["buckets"]} for configuration in (before, after))
    now = {
        name: "added" if name not in before else "kept" if before[name]["cache"] == one["cache"] else "emptied"
        for name, one in after.items()
    }
    gone = {name: "removed" for name in before if name not in after}
    return [{"bucket": name, "cache": fate} for name, fate in {**now, **gone}.items()]


class Reloads:
    """Reloads and rotates, one at a time, and keeps account of what has to be in the log."""

    def __init__(self, server, rng, report, log):
        self.server, self.rng, self.report, self.log = server, rng, report, log
        self.refused = 0
        self._over = asyncio.Event()
        # Renamed log files. The server may still write to the newest.
        self._rotated = []

    async def run(self):
        """Goes on until it is told to stop. What it has begun is brought to its end."""
        for number in range(10**9):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._over.wait(), self.rng.uniform(0.5, 3))
                return
            if number % 3 == 0:
                await self.good()
            elif number % 3 == 1:
                await self.bad()
            else:
                await self.rotate(number)

    def stop(self):
        """Begins no other reload."""
        self._over.set()

    async def good(self):
        """Reloads with another configuration, which has to take effect."""
        before, changed = self.server.configuration, copy.deepcopy(self.server.configuration)
        self.rng.choice(GOOD)(changed, self.rng)
        self.server.configuration = changed
        status, text = await self.reload(json.dumps(changed), True)
        if status != 200:
            self.report.complain("reloads", f"a good configuration is answered with {status}: {text}: {changed}")
        elif text and json.loads(text)["buckets"] != fates(before, changed):
            self.report.complain("reloads", f"{text} instead of {fates(before, changed)}")
        _, running = await self.server.admin("GET", "/config")
        for value in (changed["server"]["send_timeout"], changed["log"]["access_output"]):
            if str(value) not in running:
                self.report.complain("reloads", f"`{value}` is not in the configuration that runs: {running}")
        self.report.count("reloads")

    async def bad(self):
        """Reloads with a configuration that is wrong, which has to change nothing."""
        _, before = await self.server.admin("GET", "/config")
        *way, value = self.rng.choice(BAD)
        text = json.dumps(broken(self.server.configuration, way, value))
        text = self.rng.choices([text, text[:-20], ""], [8, 1, 1])[0]
        status, answer = await self.reload(text, False)
        _, after = await self.server.admin("GET", "/config")
        if status != 422 or before != after:
            self.report.complain("reloads", f"{text} is answered with {status}: {answer}; then {after}")
        self.server.write(json.dumps(self.server.configuration))
        self.refused += 1
        self.report.count("bad reloads")

    async def rotate(self, number):
        """Renames the access log and has the server open it anew. Reads the one that was renamed before."""
        path = self.server.folder / self.server.configuration["log"]["access_output"]
        renamed = path.with_name(f"rotated-{number}.log")
        path.rename(renamed)
        await self.by_signal(True)
        if not path.exists():
            self.report.complain("reloads", f"{path.name} was not opened anew")
        for rotated in self._rotated:
            self.log.read(rotated)
        self._rotated = [renamed]
        self.report.count("rotations")

    async def reload(self, text, is_good):
        """Reloads by signal or over the admin API. Returns the status, or the one that would be that of a signal."""
        self.server.write(text)
        if self.rng.random() < 0.5:
            return await self.server.admin("POST", "/reload", {})
        return await self.by_signal(is_good)

    async def by_signal(self, is_good):
        """Sends SIGHUP and waits until it is counted, as the success or the failure that it has to be."""
        name = 'yatagarasu_config_reloads_total{result="%s"}'
        before = await self.server.metrics()
        self.server.process.send_signal(signal.SIGHUP)
        until = asyncio.get_running_loop().time() + RELOAD_MAX
        while asyncio.get_running_loop().time() < until:
            now = await self.server.metrics()
            good, bad = (now.get(name % one, 0) - before.get(name % one, 0) for one in ("success", "failure"))
            if good or bad:
                if bool(good) != is_good:
                    self.report.complain("reloads", f"SIGHUP: success {good}, failure {bad}")
                return (200, "") if good else (422, "")
            await asyncio.sleep(0.02)
        self.report.complain("reloads", f"SIGHUP has no effect within {RELOAD_MAX} s")
        return 0, ""

    def finish(self):
        """Reads the logs that are left, once the server has ended."""
        names = ["access.log", "access-2.log"]
        for path in [*self._rotated, *(self.server.folder / name for name in names)]:
            if path.exists():
                self.log.read(path)
