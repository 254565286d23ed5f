#!/usr/bin/env python3
"""Soaks the gateway: everything that happens to a server in weeks, within minutes and at the same time.

The real server runs with small limits in front of an S3 server of our own, whose objects follow from their keys and
versions. Clients read fast, slowly or not at all, leave, and ask for parts and with conditions. Meanwhile objects
change, purges and reloads come over the admin API and by signal, the access log is rotated, the date is set forward
and back (clock.py), and S3 makes faults.

Each response is judged when it comes: the right bytes of one version, none that is older than a purge allows, no
failure without a fault of S3. At the end, when the clients have left, the server must have let go of everything. Then
it is ended with SIGTERM. The last line is `N passed, N failed, N skipped`. The exit status is 0 only if nothing failed.

The deliberate faults: `bytes`, the origin sends a wrong byte now and then; `short`, bodies are taken to be one byte
longer; `leak`, connections are held until the end; `purge`, some purges are not made although they count; `date`, the
date of the origin does not follow that of the server.
"""

import argparse
import asyncio
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

import clock
import ending
import processes
import purging
import reloading
import watching
from accesslog import AccessLog
from clients import CROWD, Clients, holding
from judge import Judge
from report import CHECKS, Report
from server import Server
from stalls import Stalls
from truth import Control, Trouble, Versions

HERE = pathlib.Path(__file__).resolve().parent
# How often a line tells how far the run is, in seconds.
PROGRESS = 30
# What a run takes beyond its minutes at most, in seconds.
EXTRA = 180
# What a run has to meet, and how often a minute: counts of the test, and metrics of the server. Failures are not among
# them: the server heals most faults of S3.
TRAFFIC = {
    "hit": 200, "collapsed": 10, "stored": 100, "fwd=stale": 50, "fwd-status=304": 20, "fwd=partial": 1,
    "detail=too-large": 5, "detail=no-fill-memory": 0.5, "detail=stale-while-revalidate": 5,
    "detail=negative": 1, "ages of hits": 1_000,
    "status 206": 50, "status 304": 20, "status 404": 5, "status 412": 3, "status 416": 1,
    "stalled clients cut": 5, "idle connections closed": 5, "bursts of faults": 2,
    "left: close": 5, "left: reset": 5, "left: half": 5, "fast streams": 1, "reloads": 3, "bad reloads": 3,
    "rotations": 2, "admin requests": 60, "purges by key": 20, "purges by prefix": 5, "purges by tag": 5,
    "purges by all": 1, "TLS connections": 20,
}  # fmt: skip
MET = {"yatagarasu_send_timeouts_total": 3, "yatagarasu_response_memory_cuts_total": 0.5}


def arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", type=pathlib.Path, help="the program yatagarasu-server")
    parser.add_argument("--faketime", metavar="LIBRARY", help="libfaketimeMT.so.1; without it, no clock is set")
    parser.add_argument("--minutes", type=float, default=2, help="how long clients come (2)")
    parser.add_argument("--shown", type=int, default=5, help="complaints of each check that are shown (5)")
    parser.add_argument("--seed", default=str(random.randrange(10**6)), help="for other choices (a random number)")
    faults = ["bytes", "short", "leak", "purge", "date"]
    parser.add_argument("--wrong", choices=faults, help="make this fault, which has to be found")
    return parser.parse_args()


class Soak:
    """One run."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.report = Report([] if options.faketime else ["dates", "steps"])
        self.clock = clock.Clock(options.faketime, folder) if options.faketime else None
        self.versions, self.trouble, self.samples = Versions(), Trouble(), []
        self.control = Control(self.versions, self.trouble)
        self.stalls = Stalls()
        self.judge = Judge(self.versions, self.trouble, self.report, self.stalls, options.wrong)
        self.log = AccessLog(self.report)
        self.server = self.clients = self.reloads = None

    def rng(self, name):
        """Returns a source of random numbers of its own."""
        return random.Random(f"{self.options.seed}/{name}")

    async def start(self):
        """Starts the origin and the server."""
        log = self.folder / "origin.log"
        command = [sys.executable, HERE / "origin.py", self.options.seed, self.options.wrong or "-"]
        origin = processes.start(command, self.folder, log)
        port, control_port = processes.wait_for(origin, log, r"listening (\d+) (\d+)")
        await self.control.open(control_port)
        environment = self.clock.environment if self.clock else {}
        self.server = Server(self.options.server.resolve(), self.folder, port, environment)
        self.clients = Clients((self.server.port, self.server.secure_port), self.options.seed, self.judge, self.log)
        self.reloads = reloading.Reloads(self.server, self.rng("reloads"), self.report, self.log)

    async def run(self):
        """Runs everything, and judges it."""
        await self.start()
        first = watching.Sample(self.server.process, 0)
        leaking = self.clients.start(holding, 30) if self.options.wrong == "leak" else []
        await self.traffic()
        metrics = await self.server.metrics()
        await ending.settle(self.server, first, self.report)
        await cancel(leaking)
        await ending.end(self.server, self.report)
        self.judge.settle(float("inf"))
        self.reloads.finish()
        if self.clock:
            self.clock.finish(self.report)
        self.log.finish()
        ending.memory(self.samples, first, self.report)
        ending.log(self.server, self.reloads, self.report)
        self.met(metrics)
        self.control.close()

    def operators(self):
        """Starts everything that is not a client. Returns the tasks."""
        control, report, wrong = self.control, self.report, self.options.wrong
        work = [
            purging.changing(control, self.rng("changes")),
            purging.purging(self.server, control, self.rng("purges"), report, wrong),
            watching.faulting(control, self.rng("faults"), report),
            watching.probing(self.server, self.judge),
            watching.sampling(self.server, self.samples),
            self.stalls.watching(),
        ]
        if self.clock:
            work.append(self.clock.stepping(self.clients, control, self.rng("clock")))
        return [asyncio.create_task(one) for one in work]

    async def traffic(self):
        """Has everything happen at the same time, for as long as it is asked for."""
        loop = asyncio.get_running_loop()
        began, told = loop.time(), 0
        operators, reloading_on = self.operators(), asyncio.create_task(self.reloads.run())
        clients = [task for kind, count in CROWD.items() for task in self.clients.start(kind, count)]
        while loop.time() < began + self.options.minutes * 60 and self.server.process.poll() is None:
            tasks = [*operators, *clients, reloading_on]
            ended, _ = await asyncio.wait(tasks, timeout=1, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                # They go on until they are cancelled: this raises the error that has ended it.
                task.result()
            self.judge.settle(loop.time())
            self.clients.watch()
            if loop.time() >= began + told + PROGRESS:
                told += PROGRESS
                print(watching.progress(self.report, self.samples, loop.time() - began), flush=True)
        self.reloads.stop()
        await cancel(clients + operators)
        await asyncio.wait([reloading_on])
        await self.control.order(rate=0)

    def met(self, metrics):
        """Checks that the run has met what it is for."""
        counts = self.report.counts
        for found, wanted in ((counts, TRAFFIC), (counts, clock.TRAFFIC if self.clock else {}), (metrics, MET)):
            for name, each_minute in wanted.items():
                # A short run need not meet what is rare.
                if found.get(name, 0) < int(each_minute * self.options.minutes / 2):
                    self.report.complain("traffic", f"{name}: {found.get(name, 0)} only")
        faults = ", ".join(f"{number} {kind}" for kind, number in sorted(self.trouble.counts.items()))
        self.report.note("traffic", f"{counts['requests']} requests, {counts['hit']} hits; faults: {faults}")
        slowest, after_fault = (f"{seconds * 1000:.0f} ms" for seconds in self.judge.slowest)
        stalled = f"; everything stood still for up to {longest:.1f} s" if (longest := self.stalls.longest()) else ""
        hits = f"the slowest after {slowest}, and {after_fault} if the object met a fault before{stalled}"
        self.report.note("hits", hits)
        self.report.note("ages", f"{counts['ages of hits']} hits")
        cut, timeouts = counts["stalled clients cut"], metrics.get("yatagarasu_send_timeouts_total", 0)
        by_memory = metrics.get("yatagarasu_response_memory_cuts_total", 0)
        figures = f"{cut} of {counts['stalled']}; the server counts {timeouts}, and {by_memory} for their memory"
        self.report.note("stalled", figures)
        if cut > timeouts + by_memory:
            self.report.complain("stalled", figures)
        for name in ending.COUNTERS:
            if metrics.get(f"yatagarasu_{name}", 0):
                self.report.complain("log", f"yatagarasu_{name} is {metrics[f'yatagarasu_{name}']}")


async def cancel(tasks):
    """Ends tasks, and waits until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main():
    """Runs once."""
    options = arguments()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="yatagarasu-soak-"))

    def clean_up():
        processes.kill_all()
        shutil.rmtree(folder, ignore_errors=True)

    def interrupt(number, _):
        if number == signal.SIGALRM:
            print("FAILED: the test stands still", flush=True)
        clean_up()
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, interrupt)
    # A test that stands still ends, too.
    signal.alarm(int(options.minutes * 60) + EXTRA)
    print(f"seed {options.seed}, {options.minutes:g} minutes", flush=True)
    began, soak = time.monotonic(), Soak(options, folder)
    try:
        asyncio.run(soak.run())
        passed, failed, skipped = soak.report.show(options.shown)
    except RuntimeError as error:
        print(f"FAILED: preparation: {error}")
        passed, failed, skipped = 0, len(CHECKS), 0
    finally:
        clean_up()
    print(f"{time.monotonic() - began:.0f} s, seed {options.seed}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
