"""What has to be true when the clients have left, and when the server ends."""

import asyncio
import collections
import signal

import processes
import server as gateway
from watching import Sample

# How long the server may take to let go of what clients held, in seconds: S3's connections are kept for 15 s, threads
# that purge for 10 s, and a client that takes nothing for `send_timeout`.
SETTLE_MAX = 60
# What is kept for good: up to 16 pipes for each thread and the main thread, which are two descriptors each.
PIPES_KEPT = 16 * 2 * (gateway.THREADS + 1)
# Gauges that have to be 0 at the end.
GAUGES = ["connections", "fill_bytes", "wide_socket_bytes", "response_memory_bytes",
          "requests_running", "source_requests_running", "fills_running"]
COUNTERS = ["panics_total", "log_lines_dropped_total"]
# How much more memory the last third of a run may take than the first third, as a share and in MB.
GROWTH, GROWTH_MB = 0.15, 12
# The share of a run, and the seconds, after which memory is compared.
WARM_UP, WARM_UP_MAX = 0.2, 120


async def settle(server, first, report):
    """Waits until the server has let go of everything, and reports what it has not."""
    loop = asyncio.get_running_loop()
    began, left = loop.time(), None
    while loop.time() < began + SETTLE_MAX and left != {}:
        if server.process.poll() is not None:
            for check in ("gauges", "threads", "descriptors"):
                report.complain(check, "the server has ended before")
            return
        if left is not None:
            await asyncio.sleep(0.5)
        sample = Sample(server.process, loop.time())
        left = await remaining(server, first, sample)
    for check, text in left.items():
        report.complain(check, f"{text}, {SETTLE_MAX} s after the clients have left")
    report.note("descriptors", f"{first.descriptors} at the start, and {sample.descriptors} at the end")
    report.note("gauges", f"after {loop.time() - began:.0f} s, with {sample}")


async def remaining(server, first, sample):
    """Returns what is still held, by check."""
    left = {}
    metrics = await server.metrics()
    gauges = {name: metrics.get(f"yatagarasu_{name}", "unknown") for name in GAUGES}
    if any(gauges.values()):
        left["gauges"] = f"{gauges}"
    if sample.threads != first.threads:
        left["threads"] = f"{sample.threads} threads instead of {first.threads}"
    others = [name for name in processes.descriptors(server.process) if not name.startswith("pipe:")]
    # The connection of the request for the metrics may be among them.
    if len(others) > first.others + 2 or sample.descriptors > first.others + 2 + PIPES_KEPT:
        kinds = collections.Counter(name.partition(":")[0] for name in others)
        left["descriptors"] = f"{sample.descriptors} descriptors, without pipes {dict(kinds)}, instead of {first}"
    return left


def memory(samples, first, report):
    """Compares the memory of the last third of the run with that of the first third after the warm-up."""
    begin, end = samples[0].at, samples[-1].at
    warm = [one for one in samples if one.at >= begin + min((end - begin) * WARM_UP, WARM_UP_MAX)]
    third = max(1, len(warm) // 3)
    early, late = (middle([one.resident for one in part]) for part in (warm[:third], warm[-third:]))
    bound, peak = early * (1 + GROWTH) + GROWTH_MB, max(one.resident for one in samples)
    at_most = first.resident + memory_bound(samples)
    figures = f"{first.resident:.0f} MB at the start, then {early:.0f}, at the end {late:.0f}, at most {peak:.0f}"
    report.note("memory", f"{figures}; bounds {bound:.0f} and {at_most:.0f}")
    if late > bound:
        report.complain("memory", f"it has grown: {figures}")
    if peak > at_most:
        report.complain("memory", f"it was more than {at_most:.0f} MB: {figures}")


def memory_bound(samples):
    """Returns how much memory the server may take beyond that at its start, in MB (docs/src/operations.md#memory)."""
    # The caches, `fill_memory` and `response_memory` at their largest, the pages that are kept, and 2 MiB a thread.
    budgets = 24 + 24 + 1 + 8 + 6 + 8.4 + 2.1 * gateway.THREADS
    # 53 KiB a stream; a socket is a stream at most.
    streams = max(one.descriptors for one in samples) * 0.054
    # The allocator keeps some free memory between what is used.
    return (budgets + streams) * 1.25


def middle(values):
    """Returns the median."""
    return sorted(values)[len(values) // 2]


def log(server, reloads, report):
    """Judges the log of the server."""
    lines, others = server.logged()
    for text in others:
        report.complain("log", text)
    refused = [line for line in lines if line.get("level") == "ERROR" and line.get("message") == gateway.REFUSED]
    if len(refused) != reloads.refused:
        report.complain("log", f"{len(refused)} refused configurations instead of {reloads.refused}")
    for line in lines:
        is_explained = line in refused or line.get("level") == "INFO"
        is_explained |= line.get("level") == "WARN" and line.get("message") in gateway.EXPLAINED
        if not is_explained:
            report.complain("log", f"{line}")
    levels = collections.Counter(line.get("level") for line in lines)
    report.note("log", ", ".join(f"{number} {level}" for level, number in sorted(levels.items())))


async def end(server, report):
    """Ends the server with SIGTERM."""
    if server.process.poll() is not None:
        report.complain("end", f"it has ended with status {server.process.returncode}")
        return
    settings = server.configuration["server"]
    grace = float(settings["drain"].rstrip("ms")) / 1000 + float(settings["shutdown_grace"].rstrip("s"))
    loop = asyncio.get_running_loop()
    began = loop.time()
    server.process.send_signal(signal.SIGTERM)
    # It may take a second for its last log lines.
    while server.process.poll() is None and loop.time() < began + grace + 3:
        await asyncio.sleep(0.02)
    status, took = server.process.poll(), loop.time() - began
    report.note("end", f"status {status} after {took:.1f} s")
    if status != 0:
        report.complain("end", f"status {status} {took:.1f} s after SIGTERM")
