"""What the test looks at all the time: the admin API, the memory, the descriptors, and the bursts of faults."""

import asyncio
import re

import asking
import processes

# Times without and with faults, in seconds, and the share of requests that meet one.
CALM, BURST, RATES = (4, 14), (2, 7), [0.03, 0.15, 0.5]
# The object that `/ready` asks S3 for.
PROBE = ".yatagarasu-probe"


class Sample:
    """What the system said of the server at one time."""

    def __init__(self, process, at):
        self.at = at
        self.resident, self.threads = processes.resident(process)
        names = processes.descriptors(process)
        # Threads keep pipes for good.
        self.descriptors, self.others = len(names), sum(not name.startswith("pipe:") for name in names)

    def __str__(self):
        return f"{self.resident:.0f} MB, {self.descriptors} descriptors, {self.threads} threads"


async def faulting(control, rng, report):
    """Switches the faults of S3 on in bursts, and off."""
    while True:
        await asyncio.sleep(rng.uniform(*CALM))
        await control.order(rate=rng.choice(RATES))
        report.count("bursts of faults")
        await asyncio.sleep(rng.uniform(*BURST))
        await control.order(rate=0)


async def probing(server, judge):
    """Asks the admin API as a load balancer and a monitor do."""
    loop, report = asyncio.get_running_loop(), judge.report
    while True:
        for path in ("/health", "/ready", "/metrics", "/stats"):
            began = loop.time()
            status, text = await server.admin("GET", path)
            report.count("admin requests")
            report.count("fast streams", len(re.findall(r"(?m)^yatagarasu_wide_socket_bytes [1-9]", text)))
            if path == "/ready" and status == 503:
                probe = asking.Asked("all", PROBE, begun=began)
                judge.pending.append(("admin", probe, loop.time(), f"{path} answers {text}"))
            elif status != 200:
                report.complain("admin", f"{path} answers {status}: {text[:500]}")
        await asyncio.sleep(0.5)


async def sampling(server, samples):
    """Looks at the process once a second, as long as it is there."""
    loop = asyncio.get_running_loop()
    while server.process.poll() is None:
        samples.append(Sample(server.process, loop.time()))
        await asyncio.sleep(1)


def progress(report, samples, elapsed):
    """Returns a line that says how far the run is."""
    counts = report.counts
    classes = ", ".join(f"{counts[name]} {name}" for name in ("2xx", "3xx", "4xx", "5xx"))
    purges = sum(number for name, number in counts.items() if name.startswith("purges by"))
    return (
        f"{elapsed:.0f} s: {counts['requests']} requests, {classes}, {counts['cuts']} cuts, {purges} purges, "
        f"{counts['reloads']} reloads, {counts['bad reloads']} refused, {counts['rotations']} rotations; {samples[-1]}"
    )
